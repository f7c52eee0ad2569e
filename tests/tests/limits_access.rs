//! `expire-fast` and `reconcile-xray` in mode limited: as many effects as allowed, and the rest is counted.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use access_support::expire::Expire;
use access_support::{Credential, Fault, Kind, Pass, Ran, Server, TAG, World};
use perennial_testkit::builders::Status;
use perennial_testkit::db_test;
use reconcile_xray::Effect;
use time::Duration;
use uuid::Uuid;

fn limited(world: &World, limit: u64) -> Expire {
    let mut pass = world.expire();
    (pass.limit, pass.batch_rows) = (Some(limit), 3);
    pass
}

/// The brakes of the share aside: these worlds are small.
fn unbraked(world: &World, limit: u64) -> Pass {
    world.pass().limits(None, 100).limit(limit)
}

#[test]
fn a_limited_expire_fast_ends_and_takes_off_so_many_and_no_more() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        for n in 1..=9 {
            let ends_in = -Duration::minutes(60 - n);
            let user = world.subscriber(n, Status::Active, ends_in).await;
            server.put_credential(TAG, &user);
        }
        for (pass, ended, gone, left) in [(1, 4, 4, 5), (2, 4, 8, 1), (3, 1, 9, 0)] {
            let ran = limited(&world, 4).run(&[&server]).await;
            assert_eq!((ran.count("ended"), ran.count("left")), (ended, left), "pass {pass}");
            assert_eq!(9 - server.emails(TAG).len(), gone, "pass {pass}");
            assert_eq!(ran.code(), if left > 0 { 75 } else { 0 }, "pass {pass}");
        }
        assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'expired'").await, 9);
    });
}

#[test]
fn what_was_closed_by_others_leaves_a_server_no_faster_and_who_cannot_be_removed_holds_up_nobody() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let mut users: Vec<Credential> = Vec::new();
        for n in 1..=6 {
            let user = world.subscriber(n, Status::Active, -Duration::minutes(60 - n)).await;
            server.put_credential(TAG, &user);
            world.end(&user).await;
            users.push(user);
        }
        // The first two refuse to go.
        for user in &users[..2] {
            server.fail_for(Kind::Remove, &user.email, 100, Fault::Lie);
        }
        let ran = limited(&world, 2).run(&[&server]).await;
        assert_eq!(server.emails(TAG).len(), 4, "{:?}", ran.summary);
        assert!(ran.summary.removals.at_limit);
        limited(&world, 2).run(&[&server]).await;
        let mut stuck = vec![users[0].email.clone(), users[1].email.clone()];
        stuck.sort();
        let mut there = server.emails(TAG);
        there.sort();
        assert_eq!(there, stuck);
    });
}

#[test]
fn a_limited_reconcile_changes_so_many_users_on_all_servers_together() {
    db_test(async |db| {
        let world = World::new(db).await;
        let (one, other) = (Server::new("de1"), Server::new("de2"));
        // On each server three are missing, one has a wrong UUID, two are closed.
        for n in 1..=3 {
            world.payer(n).await;
        }
        let misfit = world.payer(4).await;
        let mut closed = Vec::new();
        for n in 5..=6 {
            closed.push(world.payer(n).await);
        }
        for server in [&one, &other] {
            server.put(TAG, &misfit.email, Uuid::new_v4());
            closed.iter().for_each(|user| server.put_credential(TAG, user));
        }
        for user in &closed {
            world.end(user).await;
        }
        world.have_met(&[&one, &other]).await;

        let dry = unbraked(&world, 5).dry().run(&[&one, &other]).await;
        assert_eq!((dry.items.len(), dry.node("de1").left, dry.node("de2").left), (5, 1, 6), "{:?}", dry.items);
        let effects = |ran: &Ran| -> u64 { ran.summary.nodes.iter().map(|node| node.effects()).sum() };
        for (pass, done, left) in [(1, 5, 7), (2, 5, 2), (3, 2, 0)] {
            let ran = unbraked(&world, 5).run(&[&one, &other]).await;
            assert_eq!(effects(&ran), done, "pass {pass}: {:?}", ran.summary);
            assert_eq!(ran.summary.nodes.iter().map(|node| node.left).sum::<u64>(), left, "pass {pass}");
            assert_eq!(ran.code(), if left > 0 { 75 } else { 0 }, "pass {pass}");
        }
        world.assert_both_sides_agree(&one, "one").await;
        world.assert_both_sides_agree(&other, "other").await;
        world.assert_at_rest(&[&one, &other]).await;
    });
}

#[test]
fn additions_come_first_and_users_of_one_uuid_are_repaired_together_or_not_at_all() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.payer(1).await;
        let (rightful, closed) = (world.payer(2).await, world.payer(3).await);
        server.put_credential(TAG, &rightful);
        // Closed, and under the UUID of somebody who has the right: to take it off cuts him, so he is put there anew.
        server.put(TAG, &closed.email, rightful.uuid);
        world.end(&closed).await;
        world.have_met(&[&server]).await;
        let ran = unbraked(&world, 1).run(&[&server]).await;
        assert_eq!((ran.only().restored, ran.only().left, ran.code()), (1, 2, 75), "{:?}", ran.summary);
        // Of the two that belong together none is begun with.
        let ran = unbraked(&world, 1).run(&[&server]).await;
        assert_eq!((ran.only().effects(), ran.only().left), (0, 2), "{:?}", ran.summary);
        assert!(server.lets_in(TAG, rightful.uuid) || server.emails(TAG).contains(&rightful.email));
        let ran = unbraked(&world, 2).run(&[&server]).await;
        assert_eq!((ran.only().effects(), ran.only().left), (2, 0), "{:?}", ran.summary);
        world.assert_both_sides_agree(&server, "repaired").await;
    });
}

#[test]
fn a_plan_is_made_whole_and_applied_piece_by_piece() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        for n in 1..=5 {
            world.payer(n).await;
        }
        let plan = unbraked(&world, 2).plan(&[&server]).await;
        assert_eq!(plan.len(), 5);
        for there in [2, 4, 5] {
            unbraked(&world, 2).effect(Effect::Planned(plan.clone())).run(&[&server]).await;
            assert_eq!(server.emails(TAG).len(), there);
        }
    });
}
