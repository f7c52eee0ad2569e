//! What is decided about a notice: just before it is sent, and by what came of it. Pure.

use std::time::Duration;

use crate::db::{ClaimedNotice, Recorded};
use crate::ids::TelegramId;
use crate::money::Kopecks;
use crate::ports::MessengerError;
use crate::time::{Timestamp, micros};

/// Kinds that are sent again when nobody knows whether they were: a receipt or an ending twice is better than never.
pub const AT_LEAST_ONCE: &[&str] =
    &["renewed", "trial_over", "subscription_over", "alert_parked", "alert_brake", "alert_dead"];
/// After so many attempts a notice is dead; a person may retry it.
pub const MAX_ATTEMPTS: i32 = 20;
/// From so many attempts on the pause grows no longer. What was certainly not sent counts no further: a messenger that
/// is away for days must not cost anybody a receipt.
const LONGEST_PAUSE_FROM: i32 = 8;
/// Params that name the end of the subscription that a notice is about.
const ABOUT_END: [&str; 2] = ["deadline", "ends"];

/// What is done with a claimed notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is sent now.
    Send,
    /// It will not be sent.
    Drop(&'static str),
    /// It waits for the end of quiet hours.
    PutOff(Timestamp),
}

/// Decides about a claimed notice at `now`.
#[must_use]
pub fn decide(notice: &ClaimedNotice, now: Timestamp) -> Fate {
    if notice.useless_after.is_some_and(|useless| useless <= now) {
        return Fate::Drop("too late");
    }
    if notice.unreachable {
        return Fate::Drop("receiver unreachable");
    }
    let amount = |param: &str| notice.params.get(param).and_then(serde_json::Value::as_i64);
    let about_end = ABOUT_END.iter().find_map(|param| amount(param));
    // About a certain end of a subscription: pointless once that end has moved. A kind that names none needs a right.
    let is_over = match (notice.active_until, about_end) {
        (None, _) => true,
        (Some(until), about) => about.is_some_and(|about| about != micros(until)),
    };
    let covers = notice.balance.zip(amount("price_kopecks")).is_some_and(|(balance, price)| balance.0 >= price);
    match notice.kind.as_str() {
        "balance_short" | "charge_ahead" if is_over => return Fate::Drop("renewed or over"),
        // Switched off or parked meanwhile: nothing will be charged, and topping up would not help.
        "balance_short" | "charge_ahead" if !notice.renews => return Fate::Drop("will not be charged"),
        // The next pass of `renew` will charge it; "so much is missing" has become untrue.
        "balance_short" if covers => return Fate::Drop("topped up"),
        "trial_reminder" if notice.paid => return Fate::Drop("paid"),
        "trial_reminder" if is_over => return Fate::Drop("over or moved"),
        "trial_over" | "subscription_over" if notice.paid => return Fate::Drop("paid"),
        // Several waited (the messenger was down, or the night quiet): only the newest says the truth.
        "trial_reminder" | "balance_short" if notice.superseded => return Fate::Drop("a newer one follows"),
        _ => {}
    }
    match notice.quiet_until {
        Some(until) if !notice.urgent && !is_at_least_once(&notice.kind) => Fate::PutOff(until),
        _ => Fate::Send,
    }
}

/// Writes today's balance into a notice that speaks of one: a customer may have topped up while it waited.
pub(super) fn refresh(notice: &mut ClaimedNotice) {
    let price = match notice.kind.as_str() {
        "balance_short" => "price_kopecks",
        "charge_ahead" => "amount_kopecks",
        _ => return,
    };
    let price = notice.params.get(price).and_then(serde_json::Value::as_i64);
    let (Some(Kopecks(balance)), Some(price)) = (notice.balance, price) else { return };
    if let Some(params) = notice.params.as_object_mut() {
        params.insert("balance_kopecks".to_owned(), balance.into());
        params.insert("missing_kopecks".to_owned(), price.saturating_sub(balance).max(0).into());
    }
}

/// Whether a kind is sent again when nobody knows whether it was.
pub(super) fn is_at_least_once(kind: &str) -> bool {
    AT_LEAST_ONCE.contains(&kind)
}

/// The messenger did not work, as far as this attempt tells.
pub(super) fn is_down(result: &Result<i64, MessengerError>) -> bool {
    matches!(result, Err(MessengerError::Transient { .. } | MessengerError::Unknown { .. }))
}

/// What is written down of an attempt, by the kind's policy.
pub(super) fn recorded(notice: &ClaimedNotice, result: &Result<i64, MessengerError>, now: Timestamp) -> Recorded {
    let attempts = notice.attempts + 1;
    let base = Recorded {
        status: "pending",
        attempts,
        error: result.as_ref().err().map(ToString::to_string),
        message_id: None,
        not_before: None,
        moved_to: None,
    };
    let later = |base: Recorded, not_before: Option<Timestamp>| {
        if attempts >= MAX_ATTEMPTS { Recorded { status: "dead", ..base } } else { Recorded { not_before, ..base } }
    };
    let not_sent = attempts.min(notice.attempts.max(LONGEST_PAUSE_FROM));
    let backing_off = Some(now + backoff(attempts));
    match result {
        Ok(message_id) => Recorded { status: "sent", message_id: Some(*message_id), ..base },
        Err(MessengerError::Throttled { wait }) => {
            Recorded { attempts: notice.attempts, not_before: Some(now + *wait), ..base }
        }
        Err(MessengerError::Unauthorised { .. }) => Recorded { attempts: notice.attempts, ..base },
        // It is known where to send it: at once. The limit ends two chats that point at each other.
        Err(MessengerError::ChatMoved { to }) => Recorded { moved_to: Some(TelegramId(*to)), ..later(base, None) },
        Err(MessengerError::Unreachable { .. }) => Recorded { status: "dropped", ..base },
        Err(MessengerError::Refused { .. }) => Recorded { status: "dead", ..base },
        Err(MessengerError::Transient { .. }) => Recorded { attempts: not_sent, not_before: backing_off, ..base },
        Err(MessengerError::Unknown { .. }) if is_at_least_once(&notice.kind) => later(base, backing_off),
        Err(MessengerError::Unknown { .. }) => Recorded { status: "dropped", ..base },
    }
}

/// 30 s, doubled with each attempt up to an hour.
pub(super) fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, LONGEST_PAUSE_FROM) - 1).unwrap_or(0);
    Duration::from_secs(30 << doublings).min(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests;
