//! Connections lost in the middle of a pass: nothing half done, nothing forgotten, nothing twice, and no row's fault.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_core::db::DbError;
use perennial_core::time::micros;
use perennial_testkit::db_test;
use support::books::{assert_sound, effects};
use support::link::{Link, Lost};
use support::mixed::put_mixed;
use support::sabotage::Sabotage;
use support::{HOUR, NOW, PRICE, World};

#[test]
fn a_connection_lost_in_mid_pass_ends_it_and_the_next_pass_does_the_rest_once() {
    for deferred in [false, true] {
        db_test(async |db| {
            let world = World::new(db).await;
            let mut ids = Vec::new();
            for user in 1..=9 {
                ids.push(world.subscriber(user, PRICE, NOW + HOUR).await);
            }
            // The server ends the session that is just paying the fifth row, once; deferred: when all else is done.
            world.execute("CREATE SEQUENCE killed").await;
            let kill = Sabotage {
                body: "IF nextval('killed') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;",
                deferred,
                ..Sabotage::raise("", "payments", "AFTER INSERT", "NEW.subscription_id = $id")
            };
            kill.against(&world.client, ids[4], 5).await;
            let ran = world.pass().batches_of(3).try_run(&|_| {}).await;
            assert!(matches!(ran.error, Some(DbError::Unavailable { .. })), "{ran:?}");
            assert_eq!((ran.summary.renewed, ran.summary.failed, ran.summary.parked), (3, 0, 0));
            assert_eq!(world.number("SELECT count(*) FROM payments").await, 3);
            assert_eq!(world.number("SELECT count(*) FROM parked").await, 0, "no row's fault");

            let rest = world.run().await;
            assert_eq!(rest.renewed(), ids[3..]);
            let start = micros(NOW + HOUR);
            assert_eq!(world.charges(5).await, [format!("renew:{}:{start}", ids[4])]);
            assert_sound(&world.client).await;
        });
    }
}

/// The end of a transaction as it is sent; its beginning says `READ COMMITTED`.
const COMMIT: &str = "COMMIT\0";

/// What the whole book comes to without a disturbance.
fn undisturbed() -> Vec<String> {
    let result = std::sync::Mutex::new(Vec::new());
    db_test(async |db| {
        let world = World::new(db).await;
        put_mixed(&world).await;
        world.pass().batches_of(5).run().await;
        *result.lock().unwrap() = effects(&world.client).await;
    });
    result.into_inner().unwrap()
}

#[test]
fn a_link_lost_at_any_word_of_a_pass_costs_the_pass_and_the_next_one_makes_good_exactly_what_is_missing() {
    let wanted = undisturbed();
    // The third COMMIT is that of the first batch with money in it; the start of the pass and a list come before.
    let words =
        [("BEGIN", 5), ("claim_renewal_due", 2), ("post_transfers", 2), ("read_back", 1), (COMMIT, 3), (COMMIT, 5)];
    for (word, nth) in words {
        for lost in [Lost::Request, Lost::Answer] {
            db_test(async |db| {
                let what = format!("{word} no. {nth}, {lost:?} lost");
                let world = World::new(db.clone()).await;
                put_mixed(&world).await;
                let link = Link::to(&db, word, nth, lost);
                let mut pass = world.pass().batches_of(5);
                pass.via = Some(link.config(&db));
                pass.pool_size = 1;
                let ran = pass.try_run(&|_| {}).await;
                assert!(link.has_broken(), "{what}: the word was never sent");
                match &ran.error {
                    Some(DbError::CommitUnknown { .. }) => assert_eq!(word, COMMIT, "{what}"),
                    Some(DbError::Unavailable { .. }) => assert_ne!(word, COMMIT, "{what}"),
                    other => panic!("{what}: {other:?}"),
                }
                assert_sound(&world.client).await;
                assert_eq!(
                    world.number("SELECT count(*) FROM parked WHERE next_try_at IS NOT NULL").await,
                    0,
                    "{what}"
                );

                world.pass().batches_of(5).run().await;
                assert_eq!(effects(&world.client).await, wanted, "{what}");
            });
        }
    }
}

#[test]
fn a_charge_whose_commit_was_heard_of_by_nobody_is_not_made_again() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        let id = world.subscriber(1, PRICE * 2, NOW + HOUR).await;
        // No. 1 ends the start of the pass, no. 2 the list.
        let link = Link::to(&db, COMMIT, 3, Lost::Answer);
        let mut pass = world.pass();
        pass.via = Some(link.config(&db));
        let ran = pass.try_run(&|_| {}).await;
        assert!(matches!(ran.error, Some(DbError::CommitUnknown { .. })), "{ran:?}");
        assert_eq!(ran.summary.renewed, 0, "what is not known is not claimed");
        assert_eq!(world.balance(1).await, PRICE, "it was committed");
        assert_eq!(world.run().await.summary.listed, 0);
        assert_eq!((world.balance(1).await, world.notices(id).await.len()), (PRICE, 1));
    });
}
