//! What `expire-fast` ends and what it does not, and that an end is only an end when its removal is proven.
#![allow(clippy::unwrap_used)] // helpers of tests, too

#[path = "../access_support/mod.rs"]
mod access_support;
mod brake;
#[path = "../support/holder.rs"]
mod holder;
mod troubles;

use std::rc::Rc;

use access_support::expire::RENEW_GRACE;
use access_support::{BASIC, Call, Credential, DAY, Kind, MINUTE, NOW, Server, TAG, World};
use perennial_core::time::micros;
use perennial_testkit::builders::{Bot, Status, Subscription, User, set_bot_clock};
use perennial_testkit::db_test;
use time::Duration;

/// Two servers with everybody on them who has a credential.
async fn served(world: &World) -> [Rc<Server>; 2] {
    let servers = [Server::new("de1"), Server::new("de2")];
    serve(world, &servers).await;
    servers
}

async fn serve(world: &World, servers: &[Rc<Server>; 2]) {
    let rows = world.client.query_typed("SELECT email, uuid FROM credentials", &[]).await.unwrap();
    for row in &rows {
        servers.iter().for_each(|server| server.put(TAG, row.get(0), row.get(1)));
    }
}

async fn over(world: &World, n: i64) -> Credential {
    world.subscriber(n, Status::Active, -Duration::minutes(1)).await
}

#[test]
fn what_has_run_out_is_ended_closed_removed_proven_and_expired() {
    db_test(async |db| {
        let world = World::new(db).await;
        let (gone, stays) = (over(&world, 1).await, world.payer(2).await);
        let servers = served(&world).await;
        let [one, other] = &servers;
        let ran = world.run_expire(&[one, other]).await;
        assert_eq!((ran.code(), &ran.ended), (0, &vec![1]), "{ran:?}");
        let counts = ["listed", "ended", "closed", "removed", "proven", "expired", "waiting_for_node", "left"];
        assert_eq!(counts.map(|name| ran.count(name)), [1, 1, 1, 2, 2, 1, 0, 0]);
        assert_eq!(world.rows().await, ["1 payment expired none", "2 payment active open"]);
        assert_eq!(world.credentials().await, [format!("{} retired", gone.email), format!("{} open", stays.email)]);
        assert_eq!(world.notices().await, ["1 subscription_over"]);
        assert_eq!(world.audit().await, ["ended over", "expired proven gone from every server"]);
        for server in &servers {
            assert_eq!(server.emails(TAG), std::slice::from_ref(&stays.email));
            let about = |kind| Call { kind, tag: TAG.to_owned(), email: gone.email.clone() };
            assert_eq!(server.calls(), [about(Kind::Remove), about(Kind::Find)], "removed, then asked for");
            server.clear_calls();
        }
        // The end is 1 min past; nothing waits.
        let seconds: Vec<u64> = ran.summary.removals.end_to_proof.into_keys().collect();
        assert_eq!(seconds, [0], "measured from the moment the pass ended it");

        let ran = world.run_expire(&[one, other]).await;
        assert_eq!((ran.code(), ran.count("listed")), (0, 0));
        assert!(servers.iter().all(|server| server.calls().is_empty()), "nothing to remove: nobody is asked");
    });
}

#[test]
fn a_right_ends_at_its_end_and_not_a_microsecond_earlier() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, Status::Active, Duration::ZERO).await;
        world.subscriber(2, Status::Active, Duration::microseconds(1)).await;
        let [one, other] = served(&world).await;
        assert_eq!(world.run_expire(&[&one, &other]).await.ended, [1]);
        world.advance(std::time::Duration::from_micros(1)).await;
        assert_eq!(world.run_expire(&[&one, &other]).await.ended, [2]);
    });
}

#[test]
fn rights_of_every_source_end_whether_the_user_can_be_reached_or_not_and_are_told_once() {
    db_test(async |db| {
        let world = World::new(db).await;
        for (n, source) in [(1, "trial"), (2, "payment"), (3, "grant")] {
            User { unreachable_since: (n > 1).then_some(NOW), ..User::new(n, 0) }.put(&world.client).await;
            let row = Subscription::paid(n, BASIC.code, NOW - MINUTE);
            Subscription { source, auto_renew: false, ..row }.put(&world.client).await;
        }
        let [one, other] = served(&world).await;
        for _ in 0..3 {
            assert_eq!(world.run_expire(&[&one, &other]).await.code(), 0);
            world.advance(MINUTE).await;
        }
        assert_eq!(world.notices().await, ["1 trial_over", "2 subscription_over", "3 subscription_over"]);
        let key = format!("trial_over:1:{}", micros(NOW - MINUTE));
        assert_eq!(world.column("SELECT dedupe_key FROM notices WHERE telegram_id = 1").await, [key]);
        assert!(one.emails(TAG).is_empty() && other.emails(TAG).is_empty());
    });
}

#[test]
fn a_trial_that_is_over_while_a_paid_row_lives_cuts_nothing_and_says_nothing() {
    db_test(async |db| {
        let world = World::new(db).await;
        let paid = world.payer(1).await;
        let trial = Subscription::paid(1, BASIC.code, NOW - MINUTE);
        Subscription { source: "trial", auto_renew: false, ..trial }.put(&world.client).await;
        let servers = served(&world).await;
        let ran = world.run_expire(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), ran.count("ended"), ran.count("closed"), ran.count("removed")), (0, 1, 0, 0));
        assert_eq!(world.rows().await, ["1 payment active open", "1 trial expired none"]);
        assert!(servers.iter().all(|server| server.calls().is_empty() && server.lets_in(TAG, paid.uuid)));
        assert!(world.notices().await.is_empty());
        assert_eq!(world.audit().await, ["ended over; another row uses the credential"]);
    });
}

#[test]
fn two_rows_on_one_credential_that_end_together_close_it_once() {
    for batch_rows in [1, 200] {
        db_test(async |db| {
            let world = World::new(db).await;
            let paid = over(&world, 1).await;
            let grant = Subscription::paid(1, BASIC.code, NOW - MINUTE * 2);
            Subscription { source: "grant", auto_renew: false, ..grant }.put(&world.client).await;
            let [one, other] = served(&world).await;
            let mut pass = world.expire();
            pass.batch_rows = batch_rows;
            let ran = pass.run(&[&one, &other]).await;
            assert_eq!(ran.code(), 0, "{ran:?}");
            assert_eq!(world.rows().await, ["1 payment expired none", "1 grant expired none"], "{batch_rows}");
            assert_eq!(world.credentials().await, [format!("{} retired", paid.email)]);
            assert!(!one.lets_in(TAG, paid.uuid) && !other.lets_in(TAG, paid.uuid));
        });
    }
}

#[test]
fn a_row_that_renew_will_charge_is_left_to_it_for_the_grace_and_then_ends_too() {
    let renews = "UPDATE subscriptions SET auto_renew = true";
    for (what, change, left) in [
        ("funded", renews, true),
        ("a kopeck short", "UPDATE tariffs SET price_kopecks = 50001", false),
        ("not to be renewed", "UPDATE subscriptions SET auto_renew = false", false),
        (
            "parked for renew",
            "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 1, 3, 'x')",
            false,
        ),
        ("tariff withdrawn", "UPDATE tariffs SET active = false", false),
        ("a grant", "UPDATE subscriptions SET source = 'grant'", false),
    ] {
        db_test(async |db| {
            let world = World::new(db).await;
            User::new(1, 50_000).put(&world.client).await;
            Subscription::paid(1, BASIC.code, NOW).put(&world.client).await;
            world.execute(change).await;
            let [one, other] = served(&world).await;
            let first = world.run_expire(&[&one, &other]).await;
            assert_eq!((first.ended.is_empty(), first.code()), (left, 0), "{what}: {first:?}");
            assert_eq!(first.count("left"), 0, "{what}: what is left to renew is not left over");
            world.advance(RENEW_GRACE - std::time::Duration::from_micros(1)).await;
            assert!(world.run_expire(&[&one, &other]).await.ended.is_empty(), "{what}");
            world.advance(std::time::Duration::from_micros(1)).await;
            let last = world.run_expire(&[&one, &other]).await;
            assert_eq!(last.ended.is_empty(), !left, "{what}: {last:?}");
            assert_eq!(world.rows().await.len(), 1);
        });
    }
}

#[test]
fn a_top_up_within_the_grace_counts() {
    db_test(async |db| {
        let world = World::new(db).await;
        User::new(1, 50_000).put(&world.client).await;
        let id = Subscription::paid(1, BASIC.code, NOW - MINUTE).put(&world.client).await;
        let [one, other] = served(&world).await;
        assert!(world.run_expire(&[&one, &other]).await.ended.is_empty());
        // What renew does within the grace.
        world.execute(&format!("UPDATE subscriptions SET expires_at = '2026-04-10Z' WHERE id = {id}")).await;
        world.advance(RENEW_GRACE).await;
        assert!(world.run_expire(&[&one, &other]).await.ended.is_empty());
        assert_eq!(world.rows().await, ["1 payment active open"]);
    });
}

#[test]
fn a_dry_run_says_what_would_end_and_calls_nobody() {
    db_test(async |db| {
        let world = World::new(db).await;
        over(&world, 1).await;
        world.subscriber(2, Status::Expiring, Duration::days(-1)).await;
        let servers = served(&world).await;
        let mut pass = world.expire();
        pass.dry_run = true;
        let ran = pass.run(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), &ran.ended, ran.count("ended")), (0, &vec![1], 1), "{ran:?}");
        assert_eq!(world.rows().await, ["1 payment active open", "2 payment expiring closing"]);
        assert_eq!(world.number("SELECT count(*) FROM nodes").await, 0);
        assert!(world.audit().await.is_empty() && world.notices().await.is_empty());
        assert!(servers.iter().all(|server| server.calls().is_empty()));
    });
}

/// There is no "needed again" and no put-back (docs/access-protocol.md). Who pays after the end has a new credential and
/// is served at once, also while a node is down with the old one on it.
#[test]
fn who_pays_after_the_end_is_served_at_once_by_a_new_credential() {
    db_test(async |db| {
        let world = World::new(db).await;
        let old = over(&world, 1).await;
        let servers = served(&world).await;
        let [up, down] = &servers;
        down.fail(Kind::Remove, 1, access_support::Fault::Unreachable);
        assert_eq!(world.run_expire(&[up, down]).await.count("waiting_for_node"), 1);
        Bot(&world.client).top_up(perennial_core::ids::TelegramId(1), BASIC.price, "back").await.unwrap();
        set_bot_clock(&world.client, world.now()).await;
        Bot(&world.client).buy(perennial_core::ids::TelegramId(1), BASIC.code, true, "again").await.unwrap();
        let new = world.credential(1, old.subscription).await;
        assert!(new.email != old.email && new.uuid != old.uuid);
        up.add_as_bot(TAG, &new);
        down.add_as_bot(TAG, &new);
        world.advance(DAY).await;
        assert_eq!(world.run_expire(&[up, down]).await.code(), 0);
        assert_eq!(world.rows().await, ["1 payment expired none", "1 payment active open"]);
        for server in &servers {
            assert!(server.lets_in(TAG, new.uuid) && !server.lets_in(TAG, old.uuid), "{}", server.name);
        }
    });
}

#[test]
fn a_rotated_credential_is_removed_and_proven_like_any_other() {
    db_test(async |db| {
        let world = World::new(db).await;
        let old = world.payer(1).await;
        let servers = served(&world).await;
        world.execute("SELECT perennial_rotate(1, 'basic', 'asked for')").await;
        let new = world.credential(1, old.subscription).await;
        servers.iter().for_each(|server| server.add_as_bot(TAG, &new));
        // W-18: two steps. While a server fails at any of them, the old one stays pending and the new one is served.
        for kind in [Kind::Remove, Kind::Find] {
            servers[0].fail(kind, 1, access_support::Fault::RequestLost);
            let ran = world.run_expire(&[&servers[0], &servers[1]]).await;
            assert_eq!((ran.code(), ran.node("de1").proven), (3, 0), "{ran:?}");
            assert_eq!(world.credentials().await[0], format!("{} closing", old.email));
            assert!(servers.iter().all(|server| server.lets_in(TAG, new.uuid)));
            world.advance(DAY).await;
        }
        let ran = world.run_expire(&[&servers[0], &servers[1]]).await;
        assert_eq!((ran.code(), ran.count("ended"), ran.count("proven")), (0, 0, 1), "{ran:?}");
        assert_eq!(world.credentials().await, [format!("{} retired", old.email), format!("{} open", new.email)]);
        assert!(servers.iter().all(|server| server.lets_in(TAG, new.uuid) && !server.lets_in(TAG, old.uuid)));
    });
}
