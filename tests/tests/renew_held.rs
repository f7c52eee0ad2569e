//! Rows that somebody else holds: a pass waits for nobody, tries once more, and says what it had to leave.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use perennial_core::db::{RenewalDue, RenewalKey, Tx};
use perennial_core::money::Kopecks;
use perennial_core::page::Pages;
use perennial_testkit::builders::Crowd;
use perennial_testkit::db_test;
use renew::Outcome;
use support::books::assert_sound;
use support::holder::Holder;
use support::{BASIC, GRACE, HOUR, NOW, PRICE, WINDOW, World};

const ROWS: i64 = 10;

async fn put_crowd(world: &World) {
    let crowd =
        Crowd { first: 1, size: ROWS, tariff: BASIC.code, first_end: NOW, spread: HOUR * 5, balance: Kopecks(PRICE) };
    crowd.put(&world.client).await;
}

/// What a bot may hold while it works for users 3, 4 and 8.
const HOLDS: &[(&str, &str)] = &[
    ("the subscription", "BEGIN; SELECT FROM subscriptions WHERE telegram_id IN (3, 4, 8) FOR UPDATE"),
    ("the subscription, lightly", "BEGIN; SELECT FROM subscriptions WHERE telegram_id IN (3, 4, 8) FOR NO KEY UPDATE"),
    ("the wallet", "BEGIN; SELECT FROM accounts WHERE telegram_id IN (3, 4, 8) FOR NO KEY UPDATE"),
];

#[test]
fn held_rows_are_tried_once_more_then_left_and_counted_and_the_next_pass_has_them() {
    for (what, hold) in HOLDS {
        for batch_rows in [1, 3, 500] {
            db_test(async |db| {
                let world = World::new(db.clone()).await;
                put_crowd(&world).await;
                let holder = Holder::begin(&db, hold);
                let began = std::time::Instant::now();
                let ran = world.pass().batches_of(batch_rows).run().await;
                // One that waits does so for 2 s, and four times more when it is tried again.
                assert!(began.elapsed() < Duration::from_secs(9), "{what}: the pass has waited");

                let summary = &ran.summary;
                assert_eq!((summary.listed, summary.renewed), (10, 7), "{what}");
                assert_eq!((summary.busy, summary.left, summary.cut_short), (3, 3, false), "{what}");
                // The third of ten ends an hour after the first.
                assert_eq!(summary.oldest_due, WINDOW - HOUR, "{what}");
                let busy = ran.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Busy(_)));
                assert_eq!(busy.count(), 6, "{what}: twice each");

                holder.run("ROLLBACK");
                assert_eq!(world.run().await.summary.renewed, 3, "{what}");
                assert_sound(&world.client).await;
            });
        }
    }
}

#[test]
fn a_row_released_before_its_second_try_is_renewed_by_the_same_pass() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        put_crowd(&world).await;
        let holder = Holder::begin(&db, HOLDS[2].1);
        let held = Cell::new(true);
        let ran = world
            .pass()
            .batches_of(4)
            .try_run(&|outcome| {
                if matches!(outcome, Outcome::Busy(_)) && held.replace(false) {
                    holder.run("COMMIT");
                }
            })
            .await;
        assert!(ran.error.is_none(), "{ran:?}");
        assert_eq!((ran.summary.listed, ran.summary.renewed, ran.summary.left, ran.summary.busy), (10, 10, 0, 0));
    });
}

#[test]
fn a_row_that_its_holder_has_dealt_with_is_not_counted_as_left() {
    let dealt_with = [
        ("bought", "SELECT perennial_buy(3, 'basic_1m', true, 'k')"),
        ("cancelled", "SELECT perennial_cancel(3, 'k')"),
        ("switched off", "SELECT perennial_set_auto_renew(3, false)"),
        (
            "ended",
            "UPDATE subscriptions SET status = 'expiring' WHERE id = 3; \
             UPDATE credentials SET closed_at = now() WHERE telegram_id = 3",
        ),
    ];
    for (what, sql) in dealt_with {
        db_test(async |db| {
            let world = World::new(db.clone()).await;
            put_crowd(&world).await;
            let holder = Holder::begin(&db, &format!("BEGIN; {sql}"));
            let holder = RefCell::new(Some(holder));
            let ran = world
                .pass()
                .try_run(&|outcome| {
                    if matches!(outcome, Outcome::Busy(_))
                        && let Some(holder) = holder.borrow_mut().take()
                    {
                        holder.run("COMMIT");
                    }
                })
                .await;
            assert!(ran.error.is_none(), "{what}: {ran:?}");
            assert_eq!((ran.summary.renewed, ran.summary.busy, ran.summary.left), (9, 0, 0), "{what}");
            assert_sound(&world.client).await;
        });
    }
}

/// What may happen to a row of user 2 between the list and the claim, and whether it is then still charged.
const IN_BETWEEN: &[(&str, &str, bool)] = &[
    ("nothing", "SELECT 1", true),
    ("bought on", "SELECT perennial_buy(2, 'basic_1m', true, 'k')", false),
    ("cancelled", "SELECT perennial_cancel(2, 'k')", false),
    ("switched off", "SELECT perennial_set_auto_renew(2, false)", false),
    (
        "switched off and on",
        "SELECT perennial_set_auto_renew(2, false); SELECT perennial_set_auto_renew(2, true)",
        true,
    ),
    (
        "ended by a pass",
        "UPDATE subscriptions SET status = 'expiring' WHERE id = 2; \
         UPDATE credentials SET closed_at = now() WHERE telegram_id = 2",
        false,
    ),
    ("its end moved by hand", "UPDATE subscriptions SET expires_at = expires_at - interval '1 us' WHERE id = 2", false),
    ("parked", "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 2, 0, 'by hand')", false),
    ("parked for another pass", "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('x', 2, 0, '')", true),
    ("given another credential", "SELECT perennial_rotate(2, 'basic', 'k')", true),
    ("topped up", "SELECT perennial_top_up(2, 100, 'k')", true),
];

#[test]
fn a_listed_row_is_claimed_only_while_it_is_as_it_was_listed() {
    for (what, sql, claimed) in IN_BETWEEN {
        db_test(async |db| {
            let world = World::new(db).await;
            for user in 1..=2 {
                world.subscriber(user, PRICE * 2, NOW + HOUR).await;
            }
            let due = RenewalDue { bounds: world.pass().bounds, pass_began: NOW };
            let database = world.pass().open();
            let page = Pages::above(RenewalKey::after(NOW - GRACE), 10).next().unwrap();
            let list = async |tx: &Tx<'_>| tx.list_renewal_due(&page, due).await;
            let listed = database.run_tx("list", list).await.unwrap();
            assert_eq!(listed.len(), 2);
            world.execute(sql).await;
            let claim = async |tx: &Tx<'_>| tx.claim_renewal_due(&listed, due).await;
            let mut got: Vec<i64> = database.run_tx("claim", claim).await.unwrap().iter().map(|row| row.id.0).collect();
            got.sort_unstable();
            assert_eq!(got, if *claimed { vec![1, 2] } else { vec![1] }, "{what}");
        });
    }
}

#[test]
fn more_held_rows_than_are_kept_in_mind_are_all_counted_and_none_is_lost() {
    const MANY: i64 = 21_000;
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        let crowd = Crowd {
            first: 1,
            size: MANY,
            tariff: BASIC.code,
            first_end: NOW,
            spread: HOUR * 5,
            balance: Kopecks::ZERO,
        };
        crowd.put(&world.client).await;
        let holder = Holder::begin(&db, "BEGIN; SELECT FROM accounts WHERE kind = 'wallet' FOR NO KEY UPDATE");
        // As few connections as the settings allow: as many as workers.
        let mut pass = world.pass().batches_of(500).workers(4);
        pass.pool_size = 4;
        let ran = pass.run().await;
        let many = u64::try_from(MANY).unwrap();
        assert_eq!((ran.summary.listed, ran.summary.busy, ran.summary.left), (many, many, many));
        holder.run("COMMIT");
        assert_eq!(world.pass().batches_of(500).run().await.summary.short, many);
    });
}
