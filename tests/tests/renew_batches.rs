//! However a pass cuts its work into transactions, and whatever holds it up, the work is the same.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

use perennial_core::money::Kopecks;
use perennial_core::time::Deadline;
use perennial_testkit::builders::Crowd;
use perennial_testkit::db_test;
use renew::Outcome;
use support::books::{assert_sound, digest, effects};
use support::holder::Holder;
use support::mixed::{DUE, put_mixed};
use support::sabotage::Sabotage;
use support::{BASIC, HOUR, NOW, PRICE, WINDOW, World};

/// The effects of one pass over the mixed book, with its summary.
fn one_pass(batch_rows: usize, workers: usize) -> (Vec<String>, renew::Summary) {
    let result = Mutex::new(None);
    db_test(async |db| {
        let world = World::new(db).await;
        put_mixed(&world).await;
        let ran = world.pass().batches_of(batch_rows).workers(workers).run().await;
        assert_sound(&world.client).await;
        *result.lock().unwrap() = Some((effects(&world.client).await, ran.summary));
    });
    result.into_inner().unwrap().unwrap()
}

#[test]
fn every_batch_size_and_number_of_workers_gives_the_same_result() {
    let (wanted, summary) = one_pass(500, 1);
    assert_eq!((summary.listed, summary.left, summary.cut_short), (DUE, 0, false));
    assert!(summary.renewed > 10 && summary.short > 2 && summary.parked == 4, "a book too simple: {summary:?}");
    for (batch_rows, workers) in [(1, 1), (2, 1), (7, 1), (1, 4), (2, 4), (7, 4), (500, 4)] {
        let (effects, other) = one_pass(batch_rows, workers);
        assert_eq!(other, summary, "batches of {batch_rows}, {workers} workers");
        assert_eq!(effects, wanted, "batches of {batch_rows}, {workers} workers");
    }
}

#[test]
fn a_dry_run_says_what_a_real_one_does_and_changes_nothing() {
    for (batch_rows, workers) in [(500, 1), (2, 4)] {
        db_test(async |db| {
            let world = World::new(db).await;
            let ids = put_mixed(&world).await;
            Sabotage::raise("", "payments", "BEFORE INSERT", "NEW.subscription_id = $id")
                .against(&world.client, ids[0], 1)
                .await;
            let before = digest(&world.client).await;
            let mut dry = world.pass().batches_of(batch_rows).workers(workers).dry().run().await;
            assert_eq!(digest(&world.client).await, before);

            let mut real = world.pass().batches_of(batch_rows).run().await;
            let key = |outcome: &Outcome| format!("{outcome:?}");
            dry.outcomes.sort_by_key(key);
            real.outcomes.sort_by_key(key);
            assert_eq!(dry.outcomes, real.outcomes);
            assert_eq!(dry.summary.charged, real.summary.charged);
            assert_ne!(digest(&world.client).await, before);
        });
    }
}

#[test]
fn a_budget_that_is_over_leaves_everything_and_says_how_much_and_since_when() {
    db_test(async |db| {
        let world = World::new(db).await;
        put_mixed(&world).await;
        let before = digest(&world.client).await;
        let mut pass = world.pass();
        pass.deadline = Deadline::after(Duration::ZERO);
        let summary = pass.run().await.summary;
        assert_eq!((summary.listed, summary.left, summary.cut_short), (0, DUE, true));
        // The first row ends half a quarter of an hour before now; it has been due since a window before that.
        assert_eq!(summary.oldest_due, WINDOW + HOUR / 8);
        assert_eq!(digest(&world.client).await, before);
    });
}

#[test]
fn a_budget_that_is_over_with_nothing_due_is_no_early_end() {
    db_test(async |db| {
        let world = World::new(db).await;
        let mut pass = world.pass();
        pass.deadline = Deadline::after(Duration::ZERO);
        let summary = pass.run().await.summary;
        assert_eq!((summary.left, summary.cut_short, summary.oldest_due), (0, false, Duration::ZERO));
    });
}

#[test]
fn a_stop_finishes_the_batch_in_hand_and_counts_the_rest() {
    for workers in [1, 3] {
        db_test(async |db| {
            let world = World::new(db).await;
            let crowd = Crowd {
                first: 1,
                size: 30,
                tariff: BASIC.code,
                first_end: NOW + HOUR,
                spread: HOUR,
                balance: Kopecks(PRICE),
            };
            crowd.put(&world.client).await;
            let pass = world.pass().batches_of(4).workers(workers);
            let deadline = pass.deadline.clone();
            let seen = Cell::new(0);
            let ran = pass
                .try_run(&|_| {
                    seen.set(seen.get() + 1);
                    if seen.get() == 5 {
                        deadline.stop(); // in the middle of being told of the second batch
                    }
                })
                .await;
            assert!(ran.error.is_none(), "{ran:?}");
            let summary = &ran.summary;
            assert!(summary.cut_short && summary.renewed >= 8, "{summary:?}");
            assert!(summary.renewed <= 8 + 4 * workers as u64, "no batch begins after the stop: {summary:?}");
            assert_eq!(summary.renewed + summary.left, 30);
            let charged = "SELECT count(*) FROM transfers WHERE kind = 'charge'";
            assert_eq!(u64::try_from(world.number(charged).await).unwrap(), summary.renewed);
            assert_sound(&world.client).await;

            let rest = world.run().await.summary;
            assert_eq!((rest.renewed, rest.left, rest.cut_short), (30 - summary.renewed, 0, false));
        });
    }
}

#[test]
fn a_poisoned_row_in_a_full_batch_costs_one_row_and_is_parked_after_three_passes() {
    db_test(async |db| {
        let world = World::new(db).await;
        let crowd =
            Crowd { first: 1, size: 200, tariff: BASIC.code, first_end: NOW, spread: HOUR, balance: Kopecks(PRICE) };
        crowd.put(&world.client).await;
        let id = perennial_core::ids::SubscriptionId(77);
        Sabotage::raise("", "subscriptions", "BEFORE UPDATE", "NEW.id = $id").against(&world.client, id, 77).await;
        let first = world.run().await;
        assert_eq!((first.summary.renewed, first.summary.failed, first.summary.left), (199, 1, 0));
        assert!(matches!(first.of(id), Some(Outcome::Failed { tries: 1, .. })), "{:?}", first.of(id));

        let second = world.run().await;
        assert!(matches!(second.of(id), Some(Outcome::Failed { tries: 2, .. })), "{:?}", second.of(id));
        assert_eq!(world.audit(id).await, [""; 0]);
        let third = world.run().await;
        assert!(matches!(third.of(id), Some(Outcome::Parked { .. })), "{:?}", third.of(id));
        assert_eq!((third.summary.parked, third.summary.failed), (1, 0));
        assert_eq!(world.parked(id).await, Some((3, "extend: sabotage (P0001)".into(), true)));
        assert_eq!(world.audit(id).await, ["parked"]);
        assert_eq!(world.run().await.summary.listed, 0);
        world.assert_untouched(id, 77, PRICE, world.end(id).await).await;
    });
}

#[test]
fn a_row_that_cannot_even_be_parked_is_failed_and_the_others_are_renewed_pass_after_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        let victim = world.subscriber(1, PRICE, NOW + HOUR).await;
        Sabotage::raise("", "audit_log", "BEFORE INSERT", "NEW.subscription_id = $id")
            .against(&world.client, victim, 1)
            .await;
        for user in 2..6 {
            let other = world.subscriber(user, PRICE, NOW + HOUR * 2).await;
            let ran = world.run().await;
            assert_eq!(ran.renewed(), [other], "user {user}");
            assert_eq!((ran.summary.failed, ran.summary.parked), (1, 0), "user {user}");
        }
    });
}

#[test]
fn a_table_locked_for_a_while_makes_a_pass_late_and_no_row_guilty() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        world.subscriber(1, PRICE, NOW + HOUR).await;
        let holder = Holder::begin(&db, "BEGIN; LOCK TABLE payments IN EXCLUSIVE MODE");
        let mut pass = world.pass();
        pass.lock_limit = Duration::from_millis(5);
        let summary = pass.run().await.summary;
        assert_eq!((summary.renewed, summary.failed, summary.parked, summary.left), (0, 0, 0, 1));
        assert_eq!(world.number("SELECT count(*) FROM parked").await, 0);
        holder.run("COMMIT");
        assert_eq!(world.run().await.summary.renewed, 1);
    });
}
