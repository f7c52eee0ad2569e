//! The decision: which reminder of a trial is due. Pure.
//!
//! A stage is *due since* its moment, so a late pass still sends; of several that came due since the last look only the
//! newest is sent, the older ones are superseded. Nothing is due at or after the end, and nothing to somebody who pays.
//! A trial too short for every stage, but longer than half an hour, gets one reminder in its middle.

use std::time::Duration;

use perennial_core::db::{DueReminder, NewAudit, NewNotice};
use perennial_core::time::{Timestamp, micros};
use serde_json::json;

/// Trials up to this length are not reminded at all.
pub const SHORTEST: Duration = Duration::from_secs(30 * 60);
/// Name of the reminder of a trial too short for every stage.
pub const MIDDLE: &str = "middle";

/// A reminder by its place in a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Names it in keys and texts.
    pub name: String,
    /// When.
    pub moment: Moment,
}

/// When a stage becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long after the start.
    AfterStart(Duration),
    /// So long before the end.
    BeforeEnd(Duration),
}

/// What is done with a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The reminder to write.
    pub remind: Option<Reminder>,
    /// Reminders that came due and are not sent: older than the one that is, or to somebody who pays.
    pub superseded: u64,
    /// When the trial is looked at next; none: no reminder is left.
    pub next: Option<Timestamp>,
}

/// A reminder to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    /// Name of the stage.
    pub stage: String,
    /// `trial_reminder:<subscription>:<stage>`, and for stages before the end, the end: an extended trial is reminded
    /// of its new end, but not of its start again.
    pub dedupe_key: String,
    /// No other follows before the end: quiet hours do not put it off.
    pub is_last: bool,
}

/// Decides about a claimed trial at `now`.
#[must_use]
pub fn decide(trial: &DueReminder, stages: &[Stage], now: Timestamp) -> Decision {
    let moments = moments(trial, stages);
    let next = moments.iter().map(|(at, ..)| *at).find(|at| *at > now);
    let mut due: Vec<_> = moments.iter().filter(|(at, ..)| *at >= trial.next_reminder_at && *at <= now).collect();
    let newest = due.pop();
    let older = due.len() as u64;
    match newest {
        Some((_, stage, key)) if now < trial.expires_at && !trial.paid => Decision {
            remind: Some(Reminder { stage: (*stage).to_owned(), dedupe_key: key.clone(), is_last: next.is_none() }),
            superseded: older,
            next,
        },
        Some(_) => Decision { remind: None, superseded: older + 1, next },
        None => Decision { remind: None, superseded: 0, next },
    }
}

/// The reminders of this trial in order of time, each with its key.
fn moments<'a>(trial: &DueReminder, stages: &'a [Stage]) -> Vec<(Timestamp, &'a str, String)> {
    let end = micros(trial.expires_at);
    let within = |at: Timestamp| trial.starts_at < at && at < trial.expires_at;
    let mut moments: Vec<_> = stages
        .iter()
        .map(|stage| {
            let name = stage.name.as_str();
            match stage.moment {
                Moment::AfterStart(after) => {
                    (trial.starts_at + after, name, format!("trial_reminder:{}:{name}", trial.id))
                }
                Moment::BeforeEnd(before) => {
                    (trial.expires_at - before, name, format!("trial_reminder:{}:{name}:{end}", trial.id))
                }
            }
        })
        .filter(|(at, ..)| within(*at))
        .collect();
    moments.sort_by_key(|(at, ..)| *at);
    let length = trial.expires_at - trial.starts_at;
    if moments.is_empty() && length > SHORTEST {
        let key = format!("trial_reminder:{}:{MIDDLE}:{end}", trial.id);
        moments.push((trial.starts_at + length / 2, MIDDLE, key));
    }
    moments
}

/// The notice of a reminder.
#[must_use]
pub fn notice(trial: &DueReminder, reminder: &Reminder) -> NewNotice {
    NewNotice {
        telegram_id: trial.telegram_id,
        kind: "trial_reminder",
        dedupe_key: reminder.dedupe_key.clone(),
        params: json!({
            "tariff": trial.tariff,
            "stage": reminder.stage,
            "ends": micros(trial.expires_at),
        }),
        subscription_id: Some(trial.id),
        useless_after: Some(trial.expires_at),
        urgent: reminder.is_last,
    }
}

/// The audit row of a reminder.
#[must_use]
pub fn audit(trial: &DueReminder, reminder: &Reminder) -> NewAudit {
    NewAudit {
        action: "reminded",
        telegram_id: Some(trial.telegram_id),
        subscription_id: Some(trial.id),
        before: None,
        after: Some(json!({ "stage": reminder.stage })),
        reason: None,
    }
}

#[cfg(test)]
mod tests;
