use super::*;

use perennial_core::ids::{SubscriptionId, TelegramId};
use time::macros::datetime;

const START: Timestamp = datetime!(2026-03-01 12:00 UTC);

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn stages() -> Vec<Stage> {
    let stage = |name: &str, moment| Stage { name: name.to_owned(), moment };
    vec![
        stage("6h", Moment::AfterStart(hours(6))),
        stage("60h", Moment::BeforeEnd(hours(12))),
        stage("71h", Moment::BeforeEnd(hours(1))),
    ]
}

fn trial(length: Duration) -> DueReminder {
    DueReminder {
        id: SubscriptionId(7),
        telegram_id: TelegramId(70),
        tariff: "basic_1m".to_owned(),
        starts_at: START,
        expires_at: START + length,
        next_reminder_at: START,
        paid: false,
    }
}

/// The stage sent at `now`, how many were superseded, and when the trial is looked at next, in minutes from the start.
fn at(trial: &DueReminder, now: Timestamp) -> (Option<String>, u64, Option<i64>) {
    let decision = decide(trial, &stages(), now);
    let next = decision.next.map(|next| (next - START).whole_minutes());
    (decision.remind.map(|reminder| reminder.stage), decision.superseded, next)
}

#[test]
fn each_stage_is_due_since_its_moment_and_older_ones_collapse_into_the_newest() {
    let trial = trial(hours(72));
    let stage = |name: &str| Some(name.to_owned());
    for (after, expected) in [
        (hours(0), (None, 0, Some(6 * 60))),
        (hours(6) - Duration::from_micros(1), (None, 0, Some(6 * 60))),
        (hours(6), (stage("6h"), 0, Some(60 * 60))),
        (hours(59), (stage("6h"), 0, Some(60 * 60))),
        (hours(60), (stage("60h"), 1, Some(71 * 60))),
        (hours(71), (stage("71h"), 2, None)),
        (hours(72) - Duration::from_micros(1), (stage("71h"), 2, None)),
        (hours(72), (None, 3, None)),
        (hours(100), (None, 3, None)),
    ] {
        assert_eq!(at(&trial, START + after), expected, "{after:?} after the start");
    }
}

#[test]
fn stages_looked_at_before_are_not_due_again() {
    let seen = DueReminder { next_reminder_at: START + hours(60), ..trial(hours(72)) };
    assert_eq!(at(&seen, START + hours(60)), (Some("60h".to_owned()), 0, Some(71 * 60)));
    assert_eq!(at(&seen, START + hours(59)), (None, 0, Some(60 * 60)));
}

#[test]
fn who_pays_is_not_reminded() {
    let paid = DueReminder { paid: true, ..trial(hours(72)) };
    assert_eq!(at(&paid, START + hours(61)), (None, 2, Some(71 * 60)));
}

#[test]
fn a_trial_of_any_length_over_half_an_hour_gets_a_reminder_before_its_end() {
    for minutes in (31..200).chain((200..5000).step_by(97)) {
        let length = Duration::from_secs(minutes * 60);
        let trial = trial(length);
        let reminded = (0..minutes).any(|minute| {
            let now = START + Duration::from_secs(minute * 60);
            decide(&trial, &stages(), now).remind.is_some()
        });
        assert!(reminded, "{minutes} minutes");
    }
    let short = trial(SHORTEST);
    assert_eq!(at(&short, START + SHORTEST / 2), (None, 0, None));
}

#[test]
fn the_last_reminder_is_marked_and_an_extended_trial_is_reminded_of_its_new_end_only() {
    let trial = trial(hours(72));
    let reminder = |trial: &DueReminder, after| decide(trial, &stages(), START + after).remind.unwrap();
    assert!(!reminder(&trial, hours(6)).is_last);
    assert!(!reminder(&trial, hours(60)).is_last);
    let last = reminder(&trial, hours(71));
    assert!(last.is_last);

    let extended = DueReminder { expires_at: trial.expires_at + hours(24), ..trial.clone() };
    assert_eq!(reminder(&extended, hours(6)).dedupe_key, reminder(&trial, hours(6)).dedupe_key);
    assert_ne!(reminder(&extended, hours(95)).dedupe_key, last.dedupe_key);
}

#[test]
fn a_reminder_is_useless_from_the_end_on() {
    let trial = trial(hours(72));
    let reminder = decide(&trial, &stages(), START + hours(71)).remind.unwrap();
    let notice = notice(&trial, &reminder);
    assert_eq!(notice.useless_after, Some(trial.expires_at));
    assert!(notice.urgent);
    assert_eq!(notice.params["ends"], micros(trial.expires_at));
}
