//! What stands in the way: time that is over, rows that others hold, rows that break.

use std::sync::Arc;
use std::time::Duration;

use super::{PASS, Pass, column, run, trial};
use crate::delivery_support::{HOUR, Outbox, budget};
use crate::holder::Holder;
use notify_trials::Summary;
use perennial_core::db::DbError;
use perennial_core::time::Deadline;
use perennial_testkit::db_test;

#[test]
fn a_budget_that_is_over_leaves_reminders_and_endings_and_says_how_many() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for (user, began) in [(1, 7), (2, 61), (3, 73)] {
            trial(&outbox, user, HOUR * began, HOUR * 72).await;
        }
        let (summary, told) = PASS.run_until(&Deadline::after(Duration::ZERO), &outbox).await;
        assert!(summary.cut_short && summary.left >= 3, "{summary:?}");
        assert_eq!((told, summary.notices_written), (Vec::<String>::new(), 0));
        let (summary, told) = run(&outbox).await;
        assert_eq!((told, summary.left), (vec!["1 6h".to_owned(), "2 60h".to_owned(), "3 ended".to_owned()], 0));
    });
}

/// Listed but unclaimed is tried once more at the end (ARCHITECTURE.md, "How a pass works").
#[test]
fn a_trial_released_before_its_second_try_is_reminded_or_ended_in_the_same_pass() {
    for (batch_rows, lasted, does) in [(1, 7, "6h"), (200, 7, "6h"), (1, 73, "ended"), (200, 73, "ended")] {
        db_test(async |db| {
            let outbox = Outbox::new(db.clone()).await;
            for user in 1..=3 {
                trial(&outbox, user, HOUR * lasted, HOUR * 72).await;
            }
            if does == "ended" {
                // There is nothing to remind of any more.
                outbox.client.batch_execute("UPDATE subscriptions SET next_reminder_at = NULL").await.unwrap();
            }
            let holder = Holder::begin(&db, "BEGIN; SELECT FROM subscriptions WHERE telegram_id = 1 FOR UPDATE");
            let at = |what: &str| {
                if what.starts_with("3 ") {
                    holder.run("COMMIT");
                }
            };
            let (summary, told) = Pass { batch_rows, at: &at, ..PASS }.run(&outbox).await;
            assert_eq!(told, [1, 2, 3].map(|user| format!("{user} {does}")), "{summary:?}");
            assert_eq!((summary.listed, summary.busy, summary.left), (3, 0, 0), "{summary:?}");
        });
    }
}

#[test]
fn a_trial_that_somebody_holds_is_left_said_and_reminded_the_next_time() {
    db_test(async |db| {
        let outbox = Outbox::new(db.clone()).await;
        for user in 1..=3 {
            trial(&outbox, user, HOUR * 7, HOUR * 72).await;
        }
        let holder = Holder::begin(&db, "BEGIN; SELECT FROM subscriptions WHERE telegram_id = 1 FOR UPDATE");
        let (summary, told) = run(&outbox).await;
        assert_eq!((told.len(), summary.busy, summary.left), (2, 1, 1), "{summary:?}");
        holder.run("ROLLBACK");
        assert_eq!(run(&outbox).await.1, ["1 6h"]);
    });
}

#[test]
fn two_copies_at_once_do_everything_once() {
    db_test(async |db| {
        let outbox = Arc::new(Outbox::new(db).await);
        for user in 1..=60 {
            trial(&outbox, user, HOUR * if user % 2 == 0 { 61 } else { 73 }, HOUR * 72).await;
        }
        let pass = Pass { batch_rows: 7, ..PASS };
        let ((one, _), (other, _)) = tokio::join!(pass.run(&outbox), pass.run(&outbox));
        assert_eq!((one.reminded + other.reminded, one.ended + other.ended), (30, 30), "{one:?} {other:?}");
        assert_eq!(outbox.number("SELECT count(*) FROM notices").await, 60);
        assert_eq!(outbox.number("SELECT count(*) FROM audit_log WHERE action IN ('reminded', 'ended')").await, 60);
        assert_eq!(run(&outbox).await.0, Summary::default(), "nothing is left");
    });
}

#[test]
fn a_row_that_breaks_its_reminder_is_parked_costs_no_other_and_still_ends() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let bad = trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        trial(&outbox, 2, HOUR * 61, HOUR * 72).await;
        outbox
            .execute(&format!(
                "CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
                 CREATE TRIGGER failing BEFORE UPDATE OF next_reminder_at ON subscriptions FOR EACH ROW
                     WHEN (NEW.id = {bad}) EXECUTE FUNCTION failing()"
            ))
            .await;
        let (summary, told) = run(&outbox).await;
        assert_eq!((summary.failed, told), (1, vec!["2 60h".to_owned()]));
        for _ in 0..2 {
            assert_eq!(run(&outbox).await.0.failed, 1);
        }
        let (summary, _) = run(&outbox).await;
        assert_eq!((summary.failed, summary.listed), (0, 0), "parked after three tries");
        let parked = "SELECT pass || ' ' || tries FROM parked WHERE next_try_at IS NULL";
        assert_eq!(column(&outbox, parked).await, ["notify-trials 3"]);
        outbox.advance(HOUR * 12).await;
        assert_eq!(run(&outbox).await.1, ["1 ended", "2 ended"]);
    });
}

#[test]
fn trials_end_also_when_nobody_can_be_reminded() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        trial(&outbox, 2, HOUR * 73, HOUR * 72).await;
        outbox
            .execute(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     PERFORM no_such_function(1); RETURN NEW; END $$;
                 CREATE TRIGGER broken BEFORE UPDATE OF next_reminder_at ON subscriptions FOR EACH ROW
                     EXECUTE FUNCTION broken()",
            )
            .await;
        let (summary, told, outcome) = PASS.try_run_until(&budget(), &outbox).await;
        assert!(outcome.as_ref().is_err_and(DbError::is_configuration), "{outcome:?}");
        assert_eq!((summary.ended, told), (1, vec!["2 ended".to_owned()]));
        assert_eq!(outbox.number("SELECT count(*) FROM parked").await, 0);
    });
}

#[test]
fn failed_tries_of_a_row_that_came_through_are_forgotten() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let id = trial(&outbox, 1, HOUR * 61, HOUR * 72).await;
        outbox
            .execute(&format!(
                "INSERT INTO parked (pass, subscription, tries, reason, next_try_at)
                 VALUES ('notify-trials', {id}, 2, 'twice before', '2026-01-01')"
            ))
            .await;
        assert_eq!(run(&outbox).await.1, ["1 60h"]);
        assert_eq!(outbox.number("SELECT count(*) FROM parked").await, 0);
    });
}

#[test]
fn who_cannot_be_reached_is_ended_like_everybody() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        trial(&outbox, 1, HOUR * 73, HOUR * 72).await;
        outbox.execute("UPDATE users SET telegram_unreachable_since = now()").await;
        assert_eq!(run(&outbox).await.0.ended, 1);
        assert_eq!(outbox.deliver().await.dropped, 1);
    });
}
