//! `notify-trials` on a database: reminders by stage, catch-up, and the end of trials.
#![allow(clippy::unwrap_used)]

#[path = "../delivery_support/mod.rs"]
mod delivery_support;
#[path = "../support/holder.rs"]
mod holder;
mod troubles;

use std::cell::RefCell;
use std::time::Duration;

use delivery_support::{DAY, HOUR, MINUTE, NOW, Outbox, budget};
use notify_trials::plan::{Moment, Stage};
use notify_trials::{Reminded, Settings, Summary};
use perennial_core::db::{Actor, DatabaseOptions, DbError};
use perennial_core::ending::{Brake, EndSettings, Ended};
use perennial_core::ids::{RunId, SubscriptionId};
use perennial_core::share::Share;
use perennial_core::time::{Deadline, Timestamp, micros};
use perennial_testkit::builders::{Subscription, User};
use perennial_testkit::db_test;

const NO_BRAKE: Brake = Brake { max_ends: None, max_share: Share::WHOLE };

fn stages() -> Vec<Stage> {
    let stage = |name: &str, moment| Stage { name: name.to_owned(), moment };
    vec![
        stage("6h", Moment::AfterStart(HOUR * 6)),
        stage("60h", Moment::BeforeEnd(HOUR * 12)),
        stage("71h", Moment::BeforeEnd(HOUR)),
    ]
}

/// How to run the pass.
#[derive(Clone, Copy)]
struct Pass<'a> {
    brake: Brake,
    dry_run: bool,
    batch_rows: usize,
    limit: Option<u64>,
    /// Told of each reminder and end, after its commit.
    at: &'a dyn Fn(&str),
}

const PASS: Pass<'static> = Pass { brake: NO_BRAKE, dry_run: false, batch_rows: 200, limit: None, at: &|_| {} };

impl Pass<'_> {
    /// Runs it; answers its summary and what it told its observers.
    async fn run(self, outbox: &Outbox) -> (Summary, Vec<String>) {
        self.run_until(&budget(), outbox).await
    }

    async fn run_until(self, deadline: &Deadline, outbox: &Outbox) -> (Summary, Vec<String>) {
        let (summary, told, outcome) = self.try_run_until(deadline, outbox).await;
        outcome.unwrap();
        (summary, told)
    }

    async fn try_run_until(self, deadline: &Deadline, outbox: &Outbox) -> (Summary, Vec<String>, Result<(), DbError>) {
        let actor = Actor { name: "notify-trials", run_id: RunId::new() };
        let options = DatabaseOptions { dry_run: self.dry_run, ..DatabaseOptions::of(actor) };
        let db = outbox.db.database(options, outbox.clock.clone(), budget());
        let told = RefCell::new(Vec::new());
        let tell = |what: String| {
            (self.at)(&what);
            told.borrow_mut().push(what);
        };
        let reminded = |row: &Reminded| tell(format!("{} {}", row.telegram_id, row.stage));
        let ended = |row: &Ended| tell(format!("{} ended", row.telegram_id));
        let end = EndSettings {
            limit: None,
            sources: &["trial"],
            grace: Duration::ZERO,
            batch_rows: self.batch_rows,
            brake: self.brake,
            observer: &ended,
            progress: &|_| {},
        };
        let settings = Settings {
            limit: self.limit,
            stages: &stages(),
            batch_rows: self.batch_rows,
            max_tries: 3,
            observer: &reminded,
            progress: &|_| {},
            end: Some(end),
        };
        let mut summary = Summary::default();
        let outcome = notify_trials::run(&db, deadline, &settings, &mut summary).await;
        let mut told = told.into_inner();
        told.sort();
        (summary, told, outcome)
    }
}

async fn run(outbox: &Outbox) -> (Summary, Vec<String>) {
    PASS.run(outbox).await
}

/// User `n` with a trial of so long that began so long ago.
async fn trial(outbox: &Outbox, user: i64, began: Duration, length: Duration) -> SubscriptionId {
    User::new(user, 0).put(&outbox.client).await;
    let starts_at = outbox.now() - began;
    let trial = Subscription {
        source: "trial",
        starts_at,
        auto_renew: false,
        ..Subscription::paid(user, "basic_1m", starts_at + length)
    };
    trial.put(&outbox.client).await
}

async fn pays(outbox: &Outbox, user: i64, until: Timestamp) -> SubscriptionId {
    let paid = Subscription { starts_at: outbox.now(), ..Subscription::paid(user, "basic_1m", until) };
    paid.put(&outbox.client).await
}

async fn column(outbox: &Outbox, sql: &str) -> Vec<String> {
    outbox.client.query_typed(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

const KEYS: &str = "SELECT dedupe_key FROM notices ORDER BY id";
const STAGES: &str =
    "SELECT concat_ws(' ', telegram_id, kind, params ->> 'stage') FROM notices ORDER BY telegram_id, id";

#[test]
fn a_trial_of_three_days_is_reminded_three_times_and_ended_once() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = trial(&outbox, 1, Duration::ZERO, HOUR * 72).await;
        let end = micros(NOW + HOUR * 72);
        let mut told = Vec::new();
        for _ in 0..(80 * 12) {
            let (summary, now_told) = run(&outbox).await;
            assert_eq!(summary.notices_written, now_told.len() as u64);
            told.extend(now_told.into_iter().map(|what| (what, (outbox.now() - NOW).whole_hours())));
            outbox.advance(MINUTE * 5).await;
        }
        let expected = [("1 6h", 6), ("1 60h", 60), ("1 71h", 71), ("1 ended", 72)];
        assert_eq!(told, expected.map(|(what, hour)| (what.to_owned(), hour)));
        let expected = [
            format!("trial_reminder:{id}:6h"),
            format!("trial_reminder:{id}:60h:{end}"),
            format!("trial_reminder:{id}:71h:{end}"),
            format!("trial_over:{id}:{end}"),
        ];
        assert_eq!(column(&outbox, KEYS).await, expected);
        let audit = "SELECT action FROM audit_log WHERE subscription_id IS NOT NULL ORDER BY id";
        assert_eq!(column(&outbox, audit).await, ["reminded", "reminded", "reminded", "ended"]);
        let state = "SELECT status || ' ' || (closed_at IS NOT NULL) FROM subscriptions s JOIN credentials c \
                     ON c.id = s.credential_id";
        assert_eq!(column(&outbox, state).await, ["expiring true"]);
    });
}

#[test]
fn short_trials_are_reminded_once_before_their_end() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for (user, minutes) in [(1, 20), (2, 31), (3, 60), (4, 90), (5, 10 * 60)] {
            trial(&outbox, user, Duration::ZERO, MINUTE * minutes).await;
        }
        for _ in 0..(11 * 12) {
            drop(run(&outbox).await);
            outbox.advance(MINUTE * 5).await;
        }
        let expected = [
            "1 trial_over",
            "2 trial_reminder middle",
            "2 trial_over",
            "3 trial_reminder middle",
            "3 trial_over",
            "4 trial_reminder 71h",
            "4 trial_over",
            "5 trial_reminder 6h",
            "5 trial_reminder 71h",
            "5 trial_over",
        ];
        assert_eq!(column(&outbox, STAGES).await, expected);
    });
}

#[test]
fn an_extended_trial_is_reminded_of_its_new_end_and_not_of_its_start_again() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        assert_eq!(run(&outbox).await.1, ["1 60h"]);
        assert_eq!(outbox.deliver().await.sent, 1);
        outbox.execute(&format!("UPDATE subscriptions SET expires_at = expires_at + '48 h' WHERE id = {id}")).await;
        outbox.advance(MINUTE).await;
        // 62 hours after the start only the first stage is due, and it is told for the first time.
        assert_eq!(run(&outbox).await.1, ["1 6h"]);
        outbox.execute(&format!("UPDATE subscriptions SET expires_at = expires_at + '1 h' WHERE id = {id}")).await;
        let (summary, told) = run(&outbox).await;
        assert_eq!((told.len(), summary.reminded), (0, 0), "what was told once is no new deed");
        assert_eq!(outbox.number("SELECT count(*) FROM audit_log WHERE action = 'reminded'").await, 2);
        outbox.advance(HOUR * 48).await;
        assert_eq!(run(&outbox).await.1, ["1 60h"]);
        outbox.advance(HOUR * 11).await;
        assert_eq!(run(&outbox).await.1, ["1 71h"]);
        outbox.advance(HOUR).await;
        assert_eq!(run(&outbox).await.1, ["1 ended"]);
    });
}

#[test]
fn off_for_36_hours_each_user_gets_one_message_the_right_one_and_who_paid_gets_none() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        // By user: hours since the start when the program goes off, and what is told when it is back, 36 h later.
        for (user, began) in [(1, 4), (2, 29), (3, 35), (4, 44), (5, 29), (6, 44), (7, 0)] {
            trial(&outbox, user, HOUR * began, HOUR * 72).await;
        }
        let (_, told) = run(&outbox).await;
        assert_eq!(told, ["2 6h", "3 6h", "4 6h", "5 6h", "6 6h"]);
        assert_eq!(outbox.deliver().await.sent, 5);
        outbox.advance(HOUR * 36).await;
        // Two have paid in the meantime; the trial of one of them is over by now.
        pays(&outbox, 5, NOW + DAY * 40).await;
        pays(&outbox, 6, NOW + DAY * 40).await;
        let before = outbox.messenger.messages().len();
        let (summary, _) = run(&outbox).await;
        drop(outbox.deliver().await);
        let kinds = "SELECT concat_ws(' ', telegram_id, kind, params ->> 'stage') FROM notices \
                     WHERE id > 5 AND status = 'sent' ORDER BY telegram_id";
        let expected = [
            "1 trial_reminder 6h",
            "2 trial_reminder 60h",
            "3 trial_reminder 71h",
            "4 trial_over",
            "7 trial_reminder 6h",
        ];
        assert_eq!(column(&outbox, kinds).await, expected);
        let mut chats = outbox.chats()[before..].to_vec();
        chats.sort_unstable();
        assert_eq!(chats, [1, 2, 3, 4, 7], "one message a user");
        assert_eq!((summary.ended, summary.left), (2, 0));
    });
}

#[test]
fn a_trial_over_while_paid_ends_without_a_word_and_keeps_the_shared_credential() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let trial = trial(&outbox, 1, HOUR * 72, HOUR * 72).await;
        let paid = pays(&outbox, 1, NOW + DAY * 30).await;
        let (summary, told) = run(&outbox).await;
        assert_eq!((summary.ended, summary.notices_written), (1, 0));
        assert_eq!(told, ["1 ended"]);
        let rows = "SELECT concat_ws(' ', s.id, s.status, c.closed_at IS NULL) FROM subscriptions s \
                    LEFT JOIN credentials c ON c.id = s.credential_id ORDER BY s.id";
        assert_eq!(
            column(&outbox, rows).await,
            [format!("{trial} expired f"), format!("{paid} active t")].map(|row| {
                // Without a credential there is nothing that could be open.
                row.replace(" f", " t")
            })
        );
        assert_eq!(outbox.number("SELECT count(*) FROM credentials WHERE closed_at IS NOT NULL").await, 0);
    });
}

#[test]
fn who_pays_between_pass_and_delivery_is_told_nothing() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        trial(&outbox, 2, HOUR * 73, HOUR * 72).await;
        assert_eq!(run(&outbox).await.1, ["1 60h", "2 ended"]);
        pays(&outbox, 1, NOW + DAY * 30).await;
        pays(&outbox, 2, NOW + DAY * 30).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dropped), (0, 2));
    });
}

#[test]
fn the_brake_ends_nobody_and_still_reminds() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for user in 1..=5 {
            trial(&outbox, user, HOUR * 73, HOUR * 72).await;
        }
        trial(&outbox, 6, HOUR * 61, HOUR * 72).await;
        let braked = Pass { brake: Brake { max_ends: Some(4), ..NO_BRAKE }, ..PASS };
        let (summary, told) = braked.run(&outbox).await;
        assert_eq!(told, ["6 60h"]);
        assert_eq!((summary.ended, summary.left), (0, 5));
        assert!(summary.refused.unwrap().contains("max_ends = 4"));
        assert_eq!(run(&outbox).await.0.ended, 5);
    });
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        trial(&outbox, 2, HOUR * 73, HOUR * 72).await;
        let dry = Pass { dry_run: true, ..PASS };
        assert_eq!(dry.run(&outbox).await.1, ["1 60h", "2 ended"]);
        let rows = "SELECT count(*) FROM (SELECT id FROM notices UNION ALL SELECT id FROM audit_log) r";
        assert_eq!(outbox.number(rows).await, 0);
        assert_eq!(run(&outbox).await.1, ["1 60h", "2 ended"]);
    });
}

#[test]
fn a_limited_pass_reminds_and_ends_so_many_together() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for user in 1..=5 {
            trial(&outbox, user, HOUR * 7, HOUR * 72).await;
            trial(&outbox, 10 + user, HOUR * 73, HOUR * 72).await;
        }
        let effects = "SELECT (SELECT count(*) FROM notices WHERE kind = 'trial_reminder')
            + (SELECT count(*) FROM subscriptions WHERE status <> 'active')";
        let limited = Pass { limit: Some(4), batch_rows: 3, ..PASS };
        for (pass, reminded, ended, left) in [(1, 4, 0, 6), (2, 1, 3, 2), (3, 0, 2, 0)] {
            let (summary, told) = limited.run(&outbox).await;
            assert_eq!((summary.reminded, summary.ended, summary.left), (reminded, ended, left), "pass {pass}");
            assert_eq!((told.len() as u64, summary.at_limit), (reminded + ended, left > 0), "pass {pass}");
        }
        assert_eq!(outbox.number(effects).await, 10);
    });
}
