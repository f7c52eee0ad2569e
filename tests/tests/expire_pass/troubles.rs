//! What stands in the way of an end: rows that others hold, rows that break, time that is over.

use std::rc::Rc;

use super::{over, served};
use crate::access_support::{TAG, World, end_sql};
use crate::holder::Holder;
use perennial_core::db::DbError;
use perennial_testkit::builders::Status;
use perennial_testkit::db_test;
use time::Duration;

#[test]
fn a_row_that_somebody_holds_is_skipped_and_said_and_ends_the_next_time() {
    for held in ["subscriptions WHERE telegram_id = 2", "credentials WHERE telegram_id = 2"] {
        db_test(async |db| {
            let world = World::new(db.clone()).await;
            for n in 1..=3 {
                over(&world, n).await;
            }
            let [one, other] = served(&world).await;
            let holder = db.client().await;
            holder.batch_execute(&format!("BEGIN; SELECT FROM {held} FOR UPDATE")).await.unwrap();
            let ran = world.run_expire(&[&one, &other]).await;
            let mut ended = ran.ended.clone();
            ended.sort_unstable();
            assert_eq!((ended, ran.count("busy"), ran.count("left")), (vec![1, 3], 1, 1), "{held}: {ran:?}");
            assert_eq!(ran.code(), 0, "{held}: waiting for nobody is no failure");
            holder.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(world.run_expire(&[&one, &other]).await.ended, [2]);
        });
    }
}

/// Listed but unclaimed is tried once more at the end (ARCHITECTURE.md, "How a pass works").
#[test]
fn a_row_released_before_its_second_try_ends_in_the_same_pass() {
    for (held, batch_rows) in [("subscriptions", 1), ("subscriptions", 200), ("credentials", 1), ("credentials", 200)] {
        db_test(async |db| {
            let world = World::new(db.clone()).await;
            for n in 1..=3 {
                over(&world, n).await;
            }
            let [one, other] = served(&world).await;
            let hold = format!("BEGIN; SELECT FROM {held} WHERE telegram_id = 1 FOR UPDATE");
            let holder = Holder::begin(&db, &hold);
            let mut pass = world.expire();
            pass.batch_rows = batch_rows;
            pass.told = Rc::new(move |user| {
                if user == 3 {
                    holder.run("COMMIT");
                }
            });
            let ran = pass.run(&[&one, &other]).await;
            assert_eq!(ran.ended.last(), Some(&1), "{held}: {ran:?}");
            let counts = ["listed", "ended", "expired", "busy", "left"].map(|name| ran.count(name));
            assert_eq!(counts, [3, 3, 3, 0, 0], "{held}: {ran:?}");
        });
    }
}

#[test]
fn a_row_that_its_holder_has_dealt_with_is_neither_busy_nor_left() {
    for ends in [false, true] {
        db_test(async |db| {
            let world = World::new(db.clone()).await;
            let held = over(&world, 1).await;
            over(&world, 2).await;
            let [one, other] = served(&world).await;
            let moves = format!("UPDATE subscriptions SET expires_at = '2026-04-10Z' WHERE id = {}", held.subscription);
            let holder = Holder::begin(&db, &format!("BEGIN; {}", if ends { end_sql(&held) } else { moves }));
            let mut pass = world.expire();
            pass.told = Rc::new(move |_| holder.run("COMMIT"));
            let ran = pass.run(&[&one, &other]).await;
            let counts = ["listed", "ended", "busy", "left"].map(|name| ran.count(name));
            assert_eq!((ran.code(), counts), (0, [2, 1, 0, 0]), "{ends}: {ran:?}");
        });
    }
}

#[test]
fn a_row_that_breaks_its_batch_costs_one_row_and_is_never_parked() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=9 {
            over(&world, n).await;
        }
        let [one, other] = served(&world).await;
        world
            .execute(
                "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.telegram_id = 5 AND NEW.status = 'expiring' THEN RAISE EXCEPTION 'poison'; END IF;
                     RETURN NEW; END $$;
                 CREATE TRIGGER poison BEFORE UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION poison()",
            )
            .await;
        for _ in 0..4 {
            let ran = world.run_expire(&[&one, &other]).await;
            assert_eq!((ran.code(), ran.count("failed"), ran.count("left")), (3, 1, 1), "{ran:?}");
        }
        assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'expired'").await, 8);
        assert_eq!(world.number("SELECT count(*) FROM parked").await, 0);
        assert_eq!(one.emails(TAG).len(), 1);
        world.execute("DROP TRIGGER poison ON subscriptions").await;
        assert_eq!(world.run_expire(&[&one, &other]).await.ended, [5]);
    });
}

#[test]
fn what_is_closed_is_removed_also_when_nothing_can_be_ended() {
    db_test(async |db| {
        let world = World::new(db).await;
        let gone = world.subscriber(1, Status::Expiring, Duration::minutes(-2)).await;
        over(&world, 2).await;
        let [one, other] = served(&world).await;
        world
            .execute(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     PERFORM no_such_function(1); RETURN NEW; END $$;
                 CREATE TRIGGER broken BEFORE INSERT ON notices FOR EACH ROW EXECUTE FUNCTION broken()",
            )
            .await;
        let ran = world.expire().try_run(&[one.node(), other.node()]).await;
        assert!(ran.error.as_ref().is_some_and(DbError::is_configuration), "{ran:?}");
        assert_eq!(world.rows().await, ["1 payment expired none", "2 payment active open"]);
        assert!(!one.lets_in(TAG, gone.uuid) && !other.lets_in(TAG, gone.uuid));
    });
}

#[test]
fn a_budget_that_is_over_ends_nothing_and_says_what_is_left() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=3 {
            over(&world, n).await;
        }
        let [one, other] = served(&world).await;
        let pass = world.expire();
        pass.deadline.stop();
        let ran = pass.run(&[&one, &other]).await;
        assert_eq!((ran.code(), ran.count("ended"), ran.count("left")), (75, 0, 3), "{ran:?}");
        assert_eq!(ran.summary.report().oldest_due_seconds, 60);
        assert!(one.calls().is_empty());
    });
}
