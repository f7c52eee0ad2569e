//! Healing: a server that forgot everybody, a second pass that finds nothing to do, users with one UUID.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::rc::Rc;

use access_support::{BASIC, Credential, DAY, Fault, GRACE, Kind, NOW, Server, TAG, World};
use perennial_core::money::Kopecks;
use perennial_testkit::builders::{Crowd, Status};
use perennial_testkit::db_test;
use time::Duration;
use uuid::Uuid;

#[test]
fn ten_thousand_users_are_back_after_a_restart_and_the_next_pass_changes_nothing() {
    db_test(async |db| {
        let world = World::new(db).await;
        let crowd = Crowd {
            first: 1,
            size: 10_000,
            tariff: BASIC.code,
            first_end: NOW + DAY,
            spread: DAY * 20,
            balance: Kopecks(0),
        };
        crowd.put(&world.client).await;
        let server = Server::new("de1");
        let ran = world.run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.entitled, node.restored), (0, 10_000, 10_000), "{node:?}");
        assert_eq!(server.emails(TAG).len(), 10_000);
        assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE action = 'restored'").await, 10_000);
        world.assert_at_rest(&[&server]).await;

        server.restart();
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().restored), (0, 10_000), "a restart is nobody's mistake: no brake");
        world.assert_at_rest(&[&server]).await;
        assert_eq!(server.calls().len(), 1, "a pass that finds nothing to do lists, and that is all");
    });
}

/// Each of them can connect, and is known under its own e-mail.
fn assert_served(server: &Server, users: &[&Credential]) {
    for user in users {
        assert!(server.lets_in(TAG, user.uuid), "{} cannot connect", user.email);
        assert!(server.emails(TAG).contains(&user.email), "{} is not listed", user.email);
    }
}

#[test]
fn whoever_had_the_uuid_of_a_closed_one_can_still_connect_when_that_is_gone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let payer = world.payer(1).await;
        let closed = world.subscriber(2, Status::Expiring, Duration::days(-1)).await;
        // Somebody has put the closed e-mail there with the payer's UUID: removing it cuts the payer, who stays listed.
        for last in [&payer.email, &closed.email] {
            server.restart();
            for email in [&payer.email, &closed.email] {
                if email != last {
                    server.put(TAG, email, payer.uuid);
                }
            }
            server.put(TAG, last, payer.uuid);
            let ran = world.run(&[&server]).await;
            let node = ran.only();
            assert_eq!((ran.code(), node.removed, node.replaced, node.shared_uuid), (0, 1, 1, 2), "{node:?}");
            assert_served(&server, &[&payer]);
            assert_eq!(server.emails(TAG), std::slice::from_ref(&payer.email));
            world.assert_at_rest(&[&server]).await;
        }
        let audit = world.audit().await;
        assert!(audit.contains(&format!("replaced de1 vless-in {} shared_uuid", payer.email)), "{audit:#?}");
    });
}

#[test]
fn a_watched_stranger_with_a_payers_uuid_goes_without_cutting_the_payer() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        let [there, missing, fellow] = [world.payer(1).await, world.payer(2).await, world.payer(3).await];
        server.put_credential(TAG, &there);
        server.put_credential(TAG, &fellow);
        // Bytes 6 and 7 do not count.
        let third_group = 0xffff_u128 << 64;
        server.put(TAG, "p.stranger1", Uuid::from_u128(there.uuid.as_u128() ^ third_group));
        server.put(TAG, "p.stranger2", missing.uuid);
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().quarantined, ran.only().restored), (0, 2, 1), "{:?}", ran.summary);
        assert_served(&server, &[&there, &missing, &fellow]);
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.removed, node.replaced), (0, 2, 2), "{node:?}");
        assert_served(&server, &[&there, &missing, &fellow]);
        assert_eq!(server.asked(Kind::Remove).iter().filter(|email| **email == fellow.email).count(), 0);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn two_known_ones_with_one_uuid_get_their_own() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let [one, other, third] = [world.payer(1).await, world.payer(2).await, world.payer(3).await];
        server.put_credential(TAG, &one);
        server.put(TAG, &other.email, one.uuid);
        // And one whose own UUID somebody has who must go.
        let closed = world.subscriber(4, Status::Expiring, Duration::days(-1)).await;
        server.put(TAG, &third.email, Uuid::new_v4());
        server.put(TAG, &closed.email, third.uuid);
        let ran = world.run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.replaced, node.removed, node.failed), (0, 3, 1, 0), "{node:?}");
        assert_served(&server, &[&one, &other, &third]);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn what_must_not_be_touched_and_shares_a_uuid_is_told_and_left() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let payer = world.payer(1).await;
        server.put(TAG, "other.1", payer.uuid);
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().restored), (0, 1));
        assert_served(&server, &[&payer]);
        server.clear_calls();
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().shared_uuid, server.changes().len()), (0, 2, 0));
    });
}

/// A stranger with the UUID of somebody who is not put there by this pass is how he connects.
#[test]
fn a_stranger_stays_while_a_payer_connects_by_it() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        let payer = world.payer(1).await;
        server.put(TAG, "p.stranger", payer.uuid);
        for _ in 0..3 {
            let ran = world.pass().report_missing().run(&[&server]).await;
            assert_eq!((ran.code(), ran.only().removed), (0, 0), "{:?}", ran.summary);
            assert!(server.lets_in(TAG, payer.uuid));
            world.advance(GRACE).await;
        }
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.only().removed, ran.only().restored), (1, 1), "{:?}", ran.summary);
        assert_served(&server, &[&payer]);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_crash_between_the_steps_of_a_replacement_is_healed_by_the_next_pass() {
    // The server goes away at each of the calls of a replacement in turn.
    for step in 0..12 {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            let payer = world.payer(1).await;
            let misfit = world.payer(2).await;
            let closed = world.subscriber(3, Status::Expiring, Duration::days(-1)).await;
            server.put_credential(TAG, &payer);
            server.put(TAG, &closed.email, payer.uuid);
            server.put(TAG, &misfit.email, Uuid::new_v4());
            let kinds = [Kind::Find, Kind::Remove, Kind::Add];
            let kind = kinds[step % 3];
            let nth = step / 3;
            let gone = Rc::new(std::cell::Cell::new(false));
            for before in 0..=nth {
                let (server2, gone) = (server.clone(), gone.clone());
                server.before(kind, "", move || {
                    Box::pin(async move {
                        if before == nth && !gone.replace(true) {
                            for kind in kinds {
                                server2.fail(kind, usize::MAX, Fault::Unreachable);
                            }
                        }
                    })
                });
            }
            let ran = world.run(&[&server]).await;
            server.heal();
            if gone.get() {
                assert_eq!(ran.code(), 3, "step {step}: {:?}", ran.summary);
            }
            let ran = world.run(&[&server]).await;
            assert_eq!(ran.code(), 0, "step {step}: {:?}", ran.summary);
            assert_served(&server, &[&payer, &misfit]);
            assert_eq!(server.emails(TAG).len(), 2, "step {step}");
            world.assert_at_rest(&[&server]).await;
        });
    }
}

#[test]
fn a_removal_that_arrives_late_during_a_replacement_is_repaired_in_the_same_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let misfit = world.payer(1).await;
        server.put(TAG, &misfit.email, Uuid::new_v4());
        // The first removal is lost on its way; a second one does its work, and then the first arrives.
        server.fail(Kind::Remove, 1, Fault::Late);
        let late = server.clone();
        world.run(&[&server]).await;
        server.clear_calls();
        // Just before the list that looks at what was replaced.
        let seen = Rc::new(std::cell::Cell::new(0));
        let told = seen.clone();
        server.before(Kind::List, "", || Box::pin(async {}));
        server.before(Kind::List, "", move || Box::pin(async move { told.set(late.deliver_late()) }));
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), seen.get()), (0, 1), "{:?}", ran.summary);
        assert_served(&server, &[&misfit]);
        world.assert_at_rest(&[&server]).await;
    });
}
