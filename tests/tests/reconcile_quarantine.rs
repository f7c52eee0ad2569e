//! The quarantine in the database: grace and sightings, first contact, entries that go.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::time::Duration;

use access_support::{Fault, GRACE, Kind, MINUTE, Server, TAG, World, inbound};
use perennial_testkit::builders::User;
use perennial_testkit::db_test;
use uuid::Uuid;

/// A world with a payer on a server that was met before.
async fn world_with(db: perennial_testkit::TestDb) -> (World, std::rc::Rc<Server>) {
    let world = World::new(db).await;
    let server = Server::new("de1");
    world.have_met(&[&server]).await;
    world.payer(1).await;
    world.run(&[&server]).await;
    (world, server)
}

/// the grace is the stranger's own.
#[test]
fn a_stranger_is_removed_after_the_grace_and_two_sightings_a_minute_apart() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        server.put(TAG, "p.stranger", Uuid::new_v4());
        let is_there = || server.emails(TAG).contains(&"p.stranger".to_owned());
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await, ["de1 vless-in p.stranger unknown 1"]);
        // A burst of passes counts once.
        for _ in 0..5 {
            world.advance(Duration::from_secs(10)).await;
            world.run(&[&server]).await;
        }
        assert_eq!(world.orphans().await, ["de1 vless-in p.stranger unknown 1"]);
        world.advance(GRACE - Duration::from_secs(51)).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().quarantined), (0, 1));
        assert!(is_there(), "a second too early");
        assert_eq!(world.orphans().await, ["de1 vless-in p.stranger unknown 2"]);
        world.advance(Duration::from_secs(1)).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().quarantined), (1, 0));
        assert!(!is_there());
        assert_eq!(world.orphans().await, [] as [&str; 0], "the entry went with its user");
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn one_sighting_is_not_enough_however_long_ago() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        server.put(TAG, "p.stranger", Uuid::new_v4());
        world.run(&[&server]).await;
        server.drop_user(TAG, "p.stranger");
        world.advance(GRACE).await;
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await, [] as [&str; 0], "it has vanished");
        server.put(TAG, "p.stranger", Uuid::new_v4());
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().quarantined), (0, 1), "it came back: the watch begins anew");
    });
}

#[test]
fn what_is_there_at_first_contact_is_adopted_and_never_swept() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let payer = world.payer(1).await;
        let unused = world.unused(2).await;
        for n in 0..50 {
            server.put(TAG, &format!("p.legacy{n}"), Uuid::new_v4());
        }
        server.put_credential(TAG, &unused);
        let ran = world.run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.adopted, node.quarantined, node.restored), (0, 50, 1, 1), "{node:?}");
        assert_eq!(world.audit().await.iter().filter(|row| row.starts_with("adopted")).count(), 1);
        for _ in 0..3 {
            world.advance(GRACE).await;
            world.run(&[&server]).await;
        }
        assert_eq!(server.emails(TAG).iter().filter(|email| email.starts_with("p.legacy")).count(), 50);
        assert!(server.lets_in(TAG, payer.uuid));
        // A newcomer is watched; with so many that nobody knows, somebody must look before one is removed.
        server.put(TAG, "p.newcomer", Uuid::new_v4());
        world.run(&[&server]).await;
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (4, 0), "{:?}", ran.summary);
    });
}

#[test]
fn a_few_adopted_ones_do_not_hold_up_the_sweeping_of_newcomers() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.payer(1).await;
        for n in 0..5 {
            server.put(TAG, &format!("p.legacy{n}"), Uuid::new_v4());
        }
        world.run(&[&server]).await;
        server.put(TAG, "p.newcomer", Uuid::new_v4());
        world.advance(MINUTE).await;
        world.run(&[&server]).await;
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed, ran.only().adopted), (0, 1, 5), "{:?}", ran.summary);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn first_contact_with_a_further_inbound_adopts_too() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::with("de1", vec![inbound("a", "basic"), inbound("b", "basic")]);
        let further = server.settings.borrow_mut().pop().unwrap();
        world.payer(1).await;
        server.put("b", "p.legacy", Uuid::new_v4());
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await, [] as [&str; 0], "an inbound that is not in the settings is left alone");
        assert!(!server.calls().iter().any(|call| call.tag == "b"));

        server.settings.borrow_mut().push(further);
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().adopted, ran.only().restored), (1, 1));
        server.put("b", "p.newcomer", Uuid::new_v4());
        for _ in 0..2 {
            world.run(&[&server]).await;
            world.advance(GRACE).await;
        }
        assert_eq!(world.orphans().await, ["de1 b p.legacy unknown 1 adopted"]);
        assert!(server.emails("b").contains(&"p.legacy".to_owned()));

        // Taken out of the settings and put back: what was adopted is remembered.
        let further = server.settings.borrow_mut().pop().unwrap();
        world.run(&[&server]).await;
        server.settings.borrow_mut().push(further);
        for _ in 0..3 {
            world.advance(GRACE).await;
            world.run(&[&server]).await;
        }
        assert!(server.emails("b").contains(&"p.legacy".to_owned()));
    });
}

/// a bot that adds before it commits. It has the grace for that.
#[test]
fn a_stranger_who_becomes_known_is_no_stranger_any_more() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        let uuid = Uuid::new_v4();
        server.put(TAG, "p.900", uuid);
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await.len(), 1);
        User::new(2, 0).put(&world.client).await;
        world
            .execute(&format!(
                "INSERT INTO credentials (id, telegram_id, uuid) VALUES (900, 2, '{uuid}');
                 INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at)
                 VALUES (2, 'grant', 'basic_1m', 900, '2026-03-10Z', '2026-04-10Z')"
            ))
            .await;
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().quarantined), (0, 0), "{:?}", ran.summary);
        assert_eq!(world.orphans().await, [] as [&str; 0]);
        assert!(server.lets_in(TAG, uuid));
    });
}

#[test]
fn a_watch_for_another_reason_begins_anew() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        let uuid = Uuid::new_v4();
        server.put(TAG, "p.900", uuid);
        world.run(&[&server]).await;
        // The bot has written the credential, and crashed before the row.
        User::new(2, 0).put(&world.client).await;
        world.execute(&format!("INSERT INTO credentials (id, telegram_id, uuid) VALUES (900, 2, '{uuid}')")).await;
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().quarantined), (0, 1));
        assert_eq!(world.orphans().await, ["de1 vless-in p.900 unused 1"]);
        world.advance(GRACE).await;
        assert_eq!(world.run(&[&server]).await.only().removed, 1);
    });
}

#[test]
fn a_node_that_cannot_be_listed_forgets_nobody() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        server.put(TAG, "p.stranger", Uuid::new_v4());
        world.run(&[&server]).await;
        server.fail(Kind::List, 1, Fault::Unreachable);
        assert_eq!(world.run(&[&server]).await.code(), 69);
        assert_eq!(world.orphans().await.len(), 1);
    });
}

#[test]
fn an_unused_credential_is_taken_off_every_node_and_inbound_by_the_pass_that_retires_it() {
    for batch_rows in [1, 200] {
        db_test(async |db| {
            let world = World::new(db).await;
            let servers = ["de1", "de2", "de3"]
                .map(|name| Server::with(name, vec![inbound("a", "basic"), inbound("b", "basic")]));
            let all: Vec<_> = servers.iter().collect();
            world.have_met(&all).await;
            world.payer(1).await;
            let unused = world.unused(2).await;
            for server in &servers {
                server.put_credential("a", &unused);
                server.put_credential("b", &unused);
            }
            world.run(&all).await;
            world.advance(GRACE).await;
            let mut pass = world.pass();
            pass.batch_rows = batch_rows;
            let ran = pass.run(&all).await;
            let removed: Vec<u64> = ran.summary.nodes.iter().map(|node| node.removed).collect();
            assert_eq!((ran.code(), removed), (0, vec![2, 2, 2]), "{batch_rows}: {:?}", ran.summary);
            assert_eq!(world.audit().await.iter().filter(|row| row.starts_with("retired")).count(), 1);
            world.assert_at_rest(&all).await;
        });
    }
}

/// What the audit log says of beginning watches: how many at once, or none where one user is named.
async fn quarantined(world: &World) -> Vec<Option<i64>> {
    let sql = "SELECT (after ->> 'users')::bigint FROM audit_log WHERE action = 'quarantined' ORDER BY id";
    world.client.query_typed(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A server that lists others at each pass, and many of them, does not fill the audit log.
#[test]
fn a_hundred_strangers_are_named_one_by_one_and_more_are_counted() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        for n in 0..100 {
            server.put(TAG, &format!("p.s{n}"), Uuid::new_v4());
        }
        world.run(&[&server]).await;
        assert_eq!(quarantined(&world).await, [None; 100]);
        for n in 0..101 {
            server.put(TAG, &format!("p.t{n}"), Uuid::new_v4());
        }
        world.run(&[&server]).await;
        assert_eq!(quarantined(&world).await[100..], [Some(101)]);
        world.advance(MINUTE).await;
        world.run(&[&server]).await;
        assert_eq!(quarantined(&world).await.len(), 101, "who is watched already is not told of again");
        assert_eq!(world.orphans().await.len(), 201);
    });
}

/// More strangers than one transaction takes.
#[test]
fn many_strangers_are_watched_forgotten_and_removed() {
    db_test(async |db| {
        let (world, server) = world_with(db).await;
        let name = |n: i32| format!("p.s{n}");
        for n in 0..2_500 {
            server.put(TAG, &name(n), Uuid::new_v4());
        }
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await.len(), 2_500);
        // A row a transaction, not a row a user.
        assert_eq!(quarantined(&world).await, [Some(1_000), Some(1_000), Some(500)]);
        for n in (0..2_500).filter(|n| n % 3 != 0) {
            server.drop_user(TAG, &name(n));
        }
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (4, 0), "that many go by plan only");
        assert_eq!(world.orphans().await.len(), 834);
        for n in (0..2_500).filter(|n| n % 3 == 0) {
            server.drop_user(TAG, &name(n));
        }
        world.run(&[&server]).await;
        assert_eq!(world.orphans().await, [] as [&str; 0]);
    });
}
