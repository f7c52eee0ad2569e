//! The brake on ends.

use perennial_core::ending::{BRAKE_FREE, Brake};
use perennial_core::share::Share;
use perennial_testkit::builders::{Status, Subscription, User};
use perennial_testkit::db_test;
use time::Duration;

use super::access_support::{BASIC, TAG, World};
use super::{over, served};

/// A share of all active rows.
fn share(share: &str) -> Brake {
    Brake { max_ends: None, max_share: share.parse().unwrap() }
}

#[test]
fn more_ends_at_once_than_allowed_end_nothing_until_a_person_has_looked() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=BRAKE_FREE + 1 {
            over(&world, n).await;
        }
        for n in 101..=140 {
            world.payer(n).await;
        }
        let closing = world.subscriber(200, Status::Expiring, Duration::days(-1)).await;
        let servers = served(&world).await;
        let due = u64::try_from(BRAKE_FREE + 1).unwrap();
        for (brake, said) in [
            (Brake { max_ends: Some(due - 1), max_share: Share::WHOLE }, "more than max_ends = 20"),
            (share("0.3"), "more than max_ends_share = 0.3"),
        ] {
            let mut pass = world.expire();
            pass.brake = brake;
            let ran = pass.run(&[&servers[0], &servers[1]]).await;
            assert_eq!((ran.code(), ran.count("ended"), ran.count("left")), (4, 0, due), "{ran:?}");
            let why = ran.summary.ended.refused.clone().unwrap();
            assert!(why.starts_with("21 ") && why.ends_with(said), "{why}");
            assert_eq!(ran.summary.report().oldest_due_seconds, 60);
        }
        assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'active'").await, 61);
        assert!(world.notices().await.is_empty());
        // What was ended before is removed all the same.
        assert!(servers.iter().all(|server| !server.lets_in(TAG, closing.uuid)));
        assert!(servers.iter().all(|server| server.changes().len() == 1));

        let mut pass = world.expire();
        pass.brake = Brake { max_ends: Some(due), max_share: Share::percent(35) };
        let ran = pass.run(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), ran.count("ended"), ran.count("expired")), (0, due, due), "{ran:?}");
    });
}

#[test]
fn so_few_ends_that_a_share_says_nothing_are_not_braked() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=BRAKE_FREE {
            over(&world, n).await;
        }
        let [one, other] = served(&world).await;
        let mut pass = world.expire();
        pass.brake = share("0.01");
        let ran = pass.run(&[&one, &other]).await;
        assert_eq!((ran.code(), ran.count("expired")), (0, BRAKE_FREE.unsigned_abs()), "{ran:?}");
    });
}

/// A pass that ends trials alone is stopped by what happened to all: few trials are no reason to end them.
#[test]
fn what_is_over_counts_whoever_would_end_it() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=2 * BRAKE_FREE {
            over(&world, n).await;
        }
        for n in 101..=110 {
            User::new(n, 0).put(&world.client).await;
            let end = world.now() - Duration::minutes(1);
            let trial = Subscription { source: "trial", auto_renew: false, ..Subscription::paid(n, BASIC.code, end) };
            trial.put(&world.client).await;
        }
        for n in 201..=260 {
            world.payer(n).await;
        }
        let servers = served(&world).await;
        let mut pass = world.expire();
        (pass.sources, pass.brake) = (&["trial"], share("0.3"));
        let ran = pass.run(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), ran.count("ended"), ran.count("left")), (4, 0, 10), "{ran:?}");
        assert!(ran.summary.ended.refused.unwrap().starts_with("50 of 110 "));
        let mut pass = world.expire();
        (pass.sources, pass.brake) = (&["trial"], share("0.5"));
        let ran = pass.run(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), ran.count("ended")), (0, 10), "{ran:?}");
    });
}

/// Ends that are moved while a pass is at work: what was over before ends, and then the brake is asked again.
#[test]
fn ends_that_are_moved_meanwhile_are_braked() {
    db_test(async |db| {
        let world = World::new(db).await;
        for n in 1..=5 {
            over(&world, n).await;
        }
        for n in 101..=160 {
            world.payer(n).await;
        }
        world
            .execute(
                "CREATE FUNCTION moves_ends() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN
                 UPDATE subscriptions SET expires_at = OLD.expires_at + interval '1 second' WHERE telegram_id > 100;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER moves_ends AFTER UPDATE OF status ON subscriptions
                 FOR EACH ROW WHEN (NEW.telegram_id = 2) EXECUTE FUNCTION moves_ends()",
            )
            .await;
        let servers = served(&world).await;
        for batch_rows in [2, 200] {
            let mut pass = world.expire();
            (pass.brake, pass.batch_rows) = (share("0.3"), batch_rows);
            let ran = pass.run(&[&servers[0], &servers[1]]).await;
            let ended = if batch_rows == 2 { 5 } else { 0 };
            assert_eq!((ran.code(), ran.count("ended"), ran.count("left")), (4, ended, 60), "{ran:?}");
        }
        assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'active'").await, 60);
        world.execute("DROP TRIGGER moves_ends ON subscriptions; DROP FUNCTION moves_ends").await;
    });
}
