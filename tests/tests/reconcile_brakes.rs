//! Bad inputs: nothing is removed, and the exit code says so. Additions go on wherever there is a list.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use access_support::{Call, Credential, Fault, GRACE, Kind, Ran, Server, TAG, World, inbound};
use perennial_core::time::Deadline;
use perennial_testkit::builders::Status;
use perennial_testkit::db_test;
use uuid::Uuid;

fn removals(server: &Server) -> Vec<Call> {
    server.changes().into_iter().filter(|call| call.kind == Kind::Remove).collect()
}

/// Nothing was removed, for this reason.
fn assert_refused(ran: &Ran, server: &Server, why: &str) {
    assert_eq!(ran.code(), 4, "{:?}", ran.summary);
    let said = ran.node(&server.name).refused_because.clone().unwrap_or_default();
    assert!(said.contains(why), "{said}");
    assert!(ran.summary.refused_because().unwrap().contains(&format!("node {}: ", server.name)));
    assert_eq!(removals(server), [] as [Call; 0]);
    assert_eq!((ran.node(&server.name).removed, ran.node(&server.name).replaced), (0, 0));
}

/// As many payers on a server, and ended ones.
async fn populate(world: &World, server: &Rc<Server>, payers: i64, ended: i64) -> (Vec<Credential>, Vec<Credential>) {
    let mut there = (Vec::new(), Vec::new());
    for n in 1..=payers {
        there.0.push(world.payer(n).await);
    }
    for n in payers + 1..=payers + ended {
        there.1.push(world.subscriber(n, Status::Expiring, time::Duration::days(-1)).await);
    }
    for credential in there.0.iter().chain(&there.1) {
        server.put_credential(TAG, credential);
    }
    there
}

#[test]
fn an_empty_database_removes_nobody() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        for n in 0..9 {
            server.put(TAG, &format!("p.{n}"), Uuid::new_v4());
        }
        world.run(&[&server]).await;
        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_refused(&ran, &server, "the database knows none of 9 users listed");
        assert_eq!(server.emails(TAG).len(), 9);
    });
}

/// R-05, O-14: the same e-mails, other UUIDs; some are closed here.
#[test]
fn another_database_removes_and_replaces_nobody() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let (payers, ended) = populate(&world, &server, 40, 5).await;
        server.restart();
        for credential in payers.iter().chain(&ended) {
            server.put(TAG, &credential.email, Uuid::new_v4());
        }
        let ran = world.run(&[&server]).await;
        assert_refused(&ran, &server, "the database knows 0 of 45 users under our prefix");
        assert_eq!(server.changes(), [] as [Call; 0]);
    });
}

#[test]
fn a_database_that_knows_hardly_anybody_removes_nobody() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        let (_, ended) = populate(&world, &server, 4, 1).await;
        for n in 0..6 {
            server.put(TAG, &format!("p.x{n}"), Uuid::new_v4());
        }
        let ran = world.run(&[&server]).await;
        assert_refused(&ran, &server, "the database knows 5 of 11 users under our prefix");
        assert!(server.lets_in(TAG, ended[0].uuid));
    });
}

#[test]
fn a_list_that_is_much_shorter_than_last_time_removes_nobody_and_stays_the_measure() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let (payers, _) = populate(&world, &server, 40, 0).await;
        world.run(&[&server]).await;
        let measure = "SELECT last_list_size FROM nodes";
        assert_eq!(world.number(measure).await, 40);
        for credential in &payers[..3] {
            world.end(credential).await;
        }
        for _ in 0..2 {
            server.fail(Kind::List, 1, Fault::Short(18));
            let ran = world.run(&[&server]).await;
            assert_refused(&ran, &server, "it lists 18 users, and had 40 when the last pass left it");
            assert_eq!(world.number(measure).await, 40);
        }
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 3), "{:?}", ran.summary);
        assert_eq!(world.number(measure).await, 37);
    });
}

#[test]
fn what_was_removed_in_between_makes_no_list_too_short() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let (payers, _) = populate(&world, &server, 40, 0).await;
        world.run(&[&server]).await;
        // As `expire-fast` does it, all but the last one.
        for credential in &payers[..30] {
            world.end(credential).await;
            if credential != &payers[0] {
                server.drop_user(TAG, &credential.email);
            }
        }
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 1), "{:?}", ran.summary);
    });
}

#[test]
fn an_empty_list_is_no_reason_to_remove_anybody_and_all_are_added() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        populate(&world, &server, 40, 5).await;
        world.pass().limits(None, 100).run(&[&server]).await;
        server.clear_calls();
        server.fail(Kind::List, 1, Fault::Short(0));
        let ran = world.run(&[&server]).await;
        // They were there all along: nothing was done by us.
        assert_eq!((ran.code(), ran.only().missing, ran.only().restored), (0, 40, 0), "{:?}", ran.summary);
        assert_eq!(removals(&server), [] as [Call; 0]);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn more_than_the_limits_allow_removes_nobody_and_restores_the_missing() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let (payers, ended) = populate(&world, &server, 40, 12).await;
        server.drop_user(TAG, &payers[0].email);
        let ran = world.run(&[&server]).await;
        assert_refused(&ran, &server, "12 of 51 users would go, more than max_removal_share = 0.2");
        assert_eq!(ran.only().restored, 1, "brakes never stop additions");
        assert!(server.lets_in(TAG, ended[0].uuid));

        let ran = world.pass().limits(Some(11), 100).run(&[&server]).await;
        assert_eq!(ran.code(), 4);
        assert!(
            ran.only().refused_because.as_ref().unwrap().contains("12 users would go, more than max_removals = 11")
        );

        let ran = world.pass().limits(Some(12), 30).run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 12), "{:?}", ran.summary);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_node_that_refuses_does_not_keep_others_from_being_swept() {
    db_test(async |db| {
        let world = World::new(db).await;
        let [braked, free] = [Server::new("a"), Server::new("b")];
        let (_, ended) = populate(&world, &braked, 40, 12).await;
        free.put_credential(TAG, &ended[0]);
        let ran = world.run(&[&braked, &free]).await;
        assert_refused(&ran, &braked, "max_removal_share");
        assert_eq!((ran.node("b").removed, ran.node("b").restored), (1, 40));
        assert_eq!(ran.node("b").refused_because, None);
    });
}

#[test]
fn without_a_list_nothing_at_all_is_done_on_a_node() {
    for (fault, code, reachable) in [
        (Fault::Unreachable, 69, false),
        (Fault::RequestLost, 69, false),
        (Fault::Hang(Duration::from_millis(100)), 69, false),
        (Fault::Misconfigured, 3, true),
    ] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::with("de1", vec![inbound(TAG, "basic"), inbound("b", "basic")]);
            world.payer(1).await;
            let closed = world.subscriber(2, Status::Expiring, time::Duration::days(-1)).await;
            server.put_credential(TAG, &closed);
            // One of two lists is enough to be none, unless it is the inbound that is in the way.
            let lists = if fault == Fault::Misconfigured { 2 } else { 1 };
            server.fail(Kind::List, lists, fault.clone());
            let ran = world.run(&[&server]).await;
            assert_eq!((ran.code(), ran.only().reachable), (code, reachable), "{fault:?}: {:?}", ran.summary);
            assert!(ran.only().error.is_some());
            assert_eq!(server.changes(), [] as [Call; 0], "{fault:?}");
            assert_eq!(world.number("SELECT count(*) FROM nodes WHERE adopted_at IS NOT NULL").await, 0);
        });
    }
}

#[test]
fn one_of_five_nodes_hangs_and_the_other_four_are_done() {
    db_test(async |db| {
        let world = World::new(db).await;
        let servers: Vec<Rc<Server>> = ["a", "b", "c", "d", "e"].map(Server::new).into();
        let all: Vec<&Rc<Server>> = servers.iter().collect();
        let payer = world.payer(1).await;
        servers[2].fail(Kind::List, usize::MAX, Fault::HangForEver);
        let mut pass = world.pass();
        pass.deadline = Deadline::after(Duration::from_secs(4));
        let began = Instant::now();
        let ran = pass.run(&all).await;
        assert!(began.elapsed() < Duration::from_millis(5_500), "{:?}", began.elapsed());
        assert_eq!(ran.code(), 3, "{:?}", ran.summary);
        for (server, name) in servers.iter().zip(["a", "b", "c", "d", "e"]) {
            assert_eq!(server.lets_in(TAG, payer.uuid), name != "c");
            assert_eq!((ran.node(name).reachable, ran.node(name).restored), (name != "c", u64::from(name != "c")));
        }
    });
}

#[test]
fn a_node_that_dies_half_way_is_given_up_and_says_so() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        populate(&world, &server, 100, 0).await;
        server.restart();
        let dying = server.clone();
        server.before(Kind::Find, "", move || {
            Box::pin(async move {
                for kind in [Kind::Add, Kind::Find, Kind::Remove] {
                    dying.fail(kind, usize::MAX, Fault::RequestLost);
                }
            })
        });
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().reachable), (3, true), "{:?}", ran.summary);
        let calls = server.calls().len();
        assert!(calls < 150, "{calls} calls to a server that does not answer");
        assert_eq!(world.audit().await.iter().filter(|row| row.starts_with("restored")).count(), 0, "nothing was seen");
        server.heal();
        assert_eq!(world.run(&[&server]).await.code(), 0);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_stop_ends_the_pass_between_two_chunks_and_the_next_goes_on() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        populate(&world, &server, 30, 0).await;
        server.restart();
        let mut pass = world.pass();
        pass.batch_rows = 10;
        let deadline = pass.deadline.clone();
        server.before(Kind::Add, "", move || Box::pin(async move { deadline.stop() }));
        let ran = pass.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().restored), (75, 10), "{:?}", ran.summary);
        let mut pass = world.pass();
        pass.deadline.stop();
        assert_eq!(pass.clone().run(&[&server]).await.code(), 75);
        pass.deadline = Deadline::after(Duration::from_secs(60));
        assert_eq!(pass.run(&[&server]).await.only().restored, 20);
    });
}

#[test]
fn retired_nodes_are_left_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.payer(1).await;
        world.execute("INSERT INTO nodes (name, retired_at) VALUES ('de1', now())").await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.summary.nodes.len(), server.calls().len()), (0, 0, 0));
        assert!(ran.summary.warnings[0].contains("node de1 was retired"), "{:?}", ran.summary.warnings);
    });
}
