//! `renew --mode limited`: as many effects as allowed, not one more, whatever happens, and the rest is counted.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::time::Duration;

use perennial_core::db::{AnnouncementBounds, Left, RenewalDue, RenewalKey, Tx};
use perennial_core::ids::SubscriptionId;
use perennial_testkit::db_test;
use support::books::assert_sound;
use support::{DAY, HOUR, NOW, PRICE, World};

/// So many customers whose charge is due, oldest end first.
async fn due(world: &World, customers: i64, balance: i64) -> Vec<SubscriptionId> {
    let mut ids = Vec::new();
    for user in 1..=customers {
        let end = NOW + HOUR + Duration::from_secs(user.unsigned_abs());
        ids.push(world.subscriber(user, balance, end).await);
    }
    ids
}

async fn charges(world: &World) -> i64 {
    world.number("SELECT count(*) FROM transfers WHERE kind = 'charge'").await
}

#[test]
fn a_limited_pass_renews_so_many_with_any_batches_and_workers_and_counts_the_rest() {
    db_test(async |db| {
        let world = World::new(db).await;
        let ids = due(&world, 30, PRICE).await;
        let mut done = 0;
        for (limit, batch_rows, workers) in [(7, 3, 4), (1, 200, 8), (5, 5, 2), (4, 200, 1)] {
            let ran = world.pass().limit(limit).batches_of(batch_rows).workers(workers).run().await;
            let first = usize::try_from(done).unwrap();
            done += i64::try_from(limit).unwrap();
            assert_eq!(ran.renewed(), ids[first..usize::try_from(done).unwrap()], "the oldest ends first");
            assert_eq!(
                (ran.summary.left, ran.summary.at_limit, ran.summary.cut_short),
                (30 - done.unsigned_abs(), true, false)
            );
            assert_eq!(charges(&world).await, done);
        }
        // As many as there are: then nothing is left, and nobody was stopped.
        let ran = world.pass().limit(13).workers(3).run().await;
        assert_eq!((ran.summary.renewed, ran.summary.left, ran.summary.at_limit), (13, 0, false));
        assert_sound(&world.client).await;
    });
}

#[test]
fn rows_that_are_run_again_one_by_one_are_no_way_past_the_limit() {
    db_test(async |db| {
        let world = World::new(db).await;
        let ids = due(&world, 12, PRICE).await;
        let failing = ids[1];
        world
            .execute(&format!(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$;
                 CREATE TRIGGER no BEFORE INSERT ON payments FOR EACH ROW WHEN (NEW.subscription_id = {failing})
                     EXECUTE FUNCTION no()"
            ))
            .await;
        let ran = world.pass().limit(4).workers(4).run().await;
        // A row that fails has no effect, and takes nobody's place.
        assert_eq!(ran.renewed(), [ids[0], ids[2], ids[3], ids[4]]);
        assert_eq!((charges(&world).await, ran.summary.left), (4, 7));
        assert_sound(&world.client).await;
    });
}

#[test]
fn who_is_told_counts_and_who_is_only_looked_at_does_not() {
    db_test(async |db| {
        let world = World::new(db).await;
        due(&world, 6, 0).await;
        let told = "SELECT count(*) FROM notices WHERE kind = 'balance_short'";
        for (pass, wanted) in [(1, 2), (2, 4), (3, 6), (4, 6)] {
            let ran = world.pass().limit(2).batches_of(4).run().await;
            assert_eq!(world.number(told).await, wanted, "pass {pass}");
            assert_eq!(ran.summary.at_limit, pass < 3, "pass {pass}: {:?}", ran.summary);
        }
        // They were told; what they have since paid in is charged.
        for user in 1..=6 {
            world.execute(&format!("SELECT perennial_top_up({user}, {PRICE}, 'in-{user}')")).await;
        }
        assert_eq!(world.pass().limit(5).run().await.summary.renewed, 5);
        assert_sound(&world.client).await;
    });
}

#[test]
fn charges_to_come_are_announced_with_what_is_left_of_the_limit() {
    db_test(async |db| {
        let world = World::new(db).await;
        due(&world, 3, PRICE).await;
        for user in 11..=14 {
            world.subscriber(user, PRICE, NOW + HOUR * 12 + Duration::from_secs(user.unsigned_abs())).await;
        }
        let announced = "SELECT count(*) FROM notices WHERE kind = 'charge_ahead'";
        let ran = world.pass().charge_notice(DAY).limit(5).run().await;
        assert_eq!((ran.summary.renewed, world.number(announced).await), (3, 2));
        assert_eq!((ran.summary.left, ran.summary.at_limit), (2, true));
        let ran = world.pass().charge_notice(DAY).limit(5).run().await;
        assert_eq!((world.number(announced).await, ran.summary.at_limit), (4, false));
    });
}

#[test]
fn what_a_pass_does_not_get_to_is_counted_up_to_a_bound() {
    db_test(async |db| {
        let world = World::new(db).await;
        due(&world, 6, PRICE).await;
        let pass = world.pass().charge_notice(DAY);
        let due = RenewalDue { bounds: pass.bounds, pass_began: NOW };
        let count = async |at_most: i64| {
            let from = RenewalKey::after(NOW + HOUR);
            pass.open().run_tx("count", async |tx| tx.count_renewal_left(from, due, at_most).await).await.unwrap()
        };
        let oldest = Some(NOW + HOUR + Duration::from_secs(1));
        let left = |rows| Left { rows, oldest };
        assert_eq!((count(4).await, count(100).await), (left(4), left(6)));
        let ahead = AnnouncementBounds { window: HOUR / 2, ahead: DAY };
        let count = async |tx: &Tx<'_>| tx.count_announcements_left(RenewalKey::after(NOW), ahead, 5).await;
        assert_eq!(pass.open().run_tx("count", count).await.unwrap(), left(5));
    });
}
