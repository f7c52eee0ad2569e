//! Servers in trouble: none holds up another, none is believed, and nothing is proven that was not seen.
#![allow(clippy::unwrap_used)] // helpers of tests, too

#[path = "../access_support/mod.rs"]
mod access_support;
mod inbounds;

use std::rc::Rc;
use std::time::{Duration, Instant};

use access_support::{Credential, DAY, Fault, Kind, MINUTE, NOW, Server, TAG, World, inbound};
use perennial_core::time::Deadline;
use perennial_testkit::builders::{Status, Subscription, User};
use perennial_testkit::db_test;

/// Users whose right has ended, on these servers.
async fn closing(world: &World, users: i64, servers: &[&Rc<Server>]) -> Vec<Credential> {
    let mut closing = Vec::new();
    for n in 1..=users {
        let one = world.subscriber(n, Status::Expiring, -time::Duration::minutes(1)).await;
        servers.iter().for_each(|server| server.put_credential(TAG, &one));
        closing.push(one);
    }
    closing
}

fn asked(server: &Server) -> bool {
    let asked = !server.calls().is_empty();
    server.clear_calls();
    asked
}

#[test]
fn one_of_five_nodes_that_hangs_and_one_that_is_down_cost_their_own_users_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let servers: Vec<Rc<Server>> = (1..=5).map(|n| Server::new(&format!("de{n}"))).collect();
        let servers: Vec<&Rc<Server>> = servers.iter().collect();
        let users = closing(&world, 30, &servers).await;
        let (down, hangs) = (servers[0], servers[1]);
        down.fail(Kind::Remove, usize::MAX, Fault::Unreachable);
        hangs.fail(Kind::Remove, usize::MAX, Fault::HangForEver);
        let mut pass = world.expire();
        pass.deadline = perennial_core::time::Deadline::after(Duration::from_secs(1));
        let began = Instant::now();
        let ran = pass.run(&servers).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((ran.code(), ran.count("proven"), ran.count("waiting_for_node")), (3, 90, 30), "{ran:?}");
        assert!(ran.node("de1").reachable == Some(false) && ran.node("de1").error.is_some());
        assert!(servers[2..].iter().all(|server| server.emails(TAG).is_empty()));
        assert_eq!(down.calls().len(), 1, "a server that is down costs one call, not one a user");

        // Proofs are kept: a dead node costs only its own retries.
        servers.iter().for_each(|server| server.clear_calls());
        servers.iter().for_each(|server| server.heal());
        world.advance(DAY).await;
        let ran = world.run_expire(&servers).await;
        assert_eq!((ran.code(), ran.count("proven"), ran.count("expired")), (0, 60, 30), "{ran:?}");
        assert!(servers[2..].iter().all(|server| !asked(server)), "proven there: not asked again");
        assert!(users.iter().all(|user| servers.iter().all(|server| !server.lets_in(TAG, user.uuid))));
    });
}

#[test]
fn a_node_that_failed_is_left_alone_for_longer_each_time_and_taken_up_again() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        closing(&world, 1, &[&server]).await;
        server.fail(Kind::Remove, usize::MAX, Fault::Unreachable);
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            let ran = world.run_expire(&[&server]).await;
            assert_eq!((ran.code(), asked(&server)), (69, true), "{ran:?}");
            world.advance(Duration::from_secs(seconds - 1)).await;
            let ran = world.run_expire(&[&server]).await;
            assert_eq!((ran.code(), asked(&server)), (69, false), "after {seconds} s less one: {ran:?}");
            assert!(ran.node("de1").error.as_ref().unwrap().contains("left alone for 1 s more"), "{ran:?}");
            world.advance(Duration::from_secs(1)).await;
        }
        server.heal();
        let ran = world.run_expire(&[&server]).await;
        assert_eq!((ran.code(), ran.count("expired")), (0, 1), "{ran:?}");
        assert_eq!(world.number("SELECT failures::bigint FROM nodes").await, 0, "the next failure begins anew");
    });
}

#[test]
fn no_answer_is_believed_good_or_bad() {
    for (fault, is_gone) in
        [(Fault::Lie, false), (Fault::RequestLost, false), (Fault::AnswerLost, true), (Fault::Late, false)]
    {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            let users = closing(&world, 3, &[&server]).await;
            server.fail_for(Kind::Remove, &users[1].email, 1, fault.clone());
            let ran = world.run_expire(&[&server]).await;
            let node = ran.node("de1");
            assert_eq!((node.proven, node.still_there), if is_gone { (3, 0) } else { (2, 1) }, "{fault:?}: {ran:?}");
            assert_eq!(ran.code(), if is_gone { 0 } else { 3 }, "{fault:?}");
            let expected = if is_gone { "expired none" } else { "expiring closing" };
            assert_eq!(world.rows().await[1], format!("2 payment {expected}"), "{fault:?}");
            assert_eq!(node.reachable, Some(true), "{fault:?}: one lost call is no dead server");
            server.deliver_late();
            assert_eq!(world.run_expire(&[&server]).await.code(), 0, "{fault:?}");
            assert_eq!(world.number("SELECT count(*) FROM subscriptions WHERE status = 'expired'").await, 3);
        });
    }
}

#[test]
fn an_answer_that_is_missing_proves_nothing() {
    for (kind, users, lost, code, proven) in
        [(Kind::Find, 3, 1, 3, 2), (Kind::Find, 3, 3, 69, 0), (Kind::Find, 1, 1, 69, 0), (Kind::List, 70, 1, 69, 0)]
    {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            closing(&world, users, &[&server]).await;
            server.fail(kind, lost, Fault::RequestLost);
            let ran = world.run_expire(&[&server]).await;
            let counts = (ran.code(), ran.count("proven"), ran.count("expired"));
            assert_eq!(counts, (code, proven, proven), "{lost} {kind:?} of {users}: {ran:?}");
            world.advance(MINUTE).await;
            let ran = world.run_expire(&[&server]).await;
            assert_eq!((ran.code(), ran.count("expired")), (0, users.unsigned_abs() - proven), "{kind:?}: {ran:?}");
        });
    }
}

#[test]
fn a_server_whose_lists_hang_is_asked_for_one_user_after_the_other() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        closing(&world, 70, &[&server]).await;
        server.fail(Kind::List, 1, Fault::HangForEver);
        let mut pass = world.expire();
        pass.deadline = Deadline::after(Duration::from_secs(6));
        let ran = pass.run(&[&server]).await;
        assert_eq!((ran.code(), ran.count("expired"), ran.node("de1").reachable), (0, 70, Some(true)), "{ran:?}");
    });
}

#[test]
fn a_server_that_there_was_nothing_to_ask_for_is_neither_up_nor_down() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let ran = world.run_expire(&[&server]).await;
        assert_eq!((ran.code(), asked(&server), ran.node("de1").reachable), (0, false, None), "{ran:?}");
    });
}

/// Each server remembers up to when all is proven; a transaction may commit what it closed before that.
#[test]
fn what_is_committed_late_is_removed_within_the_hour() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        closing(&world, 1, &[&server]).await;
        assert_eq!(world.run_expire(&[&server]).await.count("expired"), 1);
        world.advance(Duration::from_secs(1800)).await;
        let late = world.subscriber(2, Status::Expiring, -time::Duration::hours(4)).await;
        server.put_credential(TAG, &late);
        assert_eq!(world.run_expire(&[&server]).await.count("expired"), 0);
        world.advance(Duration::from_secs(1800)).await;
        assert_eq!(world.run_expire(&[&server]).await.count("expired"), 1);
        assert!(!server.lets_in(TAG, late.uuid));
    });
}

#[test]
fn a_line_that_loses_one_call_in_ten_is_worked_on_to_the_end() {
    for fault in [Fault::RequestLost, Fault::Unreachable] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            let users = closing(&world, 600, &[&server]).await;
            for user in users.iter().skip(1).step_by(10) {
                server.fail_for(Kind::Remove, &user.email, 1, fault.clone());
            }
            let mut pass = world.expire();
            pass.batch_rows = 100;
            let ran = pass.run(&[&server]).await;
            let node = ran.node("de1");
            assert_eq!((node.reachable, node.proven, node.still_there), (Some(true), 540, 60), "{ran:?}");
            let ran = world.run_expire(&[&server]).await;
            assert_eq!((ran.code(), ran.count("expired")), (0, 60), "{ran:?}");
        });
    }
}

#[test]
fn a_server_that_answers_no_more_is_given_up_soon_wherever_that_begins() {
    for answered in [0, 300] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            let users = closing(&world, 600, &[&server]).await;
            for user in &users[answered..] {
                server.fail_for(Kind::Remove, &user.email, usize::MAX, Fault::RequestLost);
            }
            let mut pass = world.expire();
            pass.batch_rows = 100;
            let ran = pass.run(&[&server]).await;
            assert_eq!((ran.code(), ran.node("de1").reachable), (69, Some(false)), "{ran:?}");
            let calls = server.calls().len();
            assert!(calls <= answered + 32, "{calls} calls of which {answered} were answered");
        });
    }
}

/// The oldest one, so that it is the first to be asked for in every pass.
#[test]
fn a_user_for_whom_nothing_is_answered_costs_its_own_proof_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let users = closing(&world, 5, &[&server]).await;
        for kind in [Kind::Remove, Kind::Find] {
            server.fail_for(kind, &users[0].email, usize::MAX, Fault::RequestLost);
        }
        let ran = world.run_expire(&[&server]).await;
        let node = ran.node("de1");
        assert_eq!((ran.code(), node.reachable, node.proven, node.still_there), (3, Some(true), 4, 1), "{ran:?}");
        assert_eq!(world.rows().await[0], "1 payment expiring closing");
    });
}

#[test]
fn few_are_asked_for_one_by_one_and_many_by_one_list() {
    for (users, lists) in [(63, 0), (64, 1), (900, 1)] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = Server::new("de1");
            closing(&world, users, &[&server]).await;
            let ran = world.run_expire(&[&server]).await;
            assert_eq!((ran.code(), ran.count("expired")), (0, users.unsigned_abs()));
            assert_eq!(server.asked(Kind::List).len(), lists, "{users}");
            assert_eq!(server.asked(Kind::Find).is_empty(), lists > 0, "{users}");
            assert!(server.most_in_flight.get() <= 16, "bounded: {}", server.most_in_flight.get());
        });
    }
}

#[test]
fn a_node_missing_from_the_settings_keeps_rows_expiring_and_one_that_is_retired_lets_them_expire() {
    db_test(async |db| {
        let world = World::new(db).await;
        let [stays, leaves] = [Server::new("de1"), Server::new("de2")];
        world.have_met(&[&stays, &leaves]).await;
        closing(&world, 2, &[&stays, &leaves]).await;
        let ran = world.run_expire(&[&stays]).await;
        assert_eq!((ran.count("proven"), ran.count("expired"), ran.count("waiting_for_node")), (2, 0, 2), "{ran:?}");
        let warned = ran.summary.warnings.join("");
        assert!(
            warned.contains("node de2 is not in the settings") && warned.contains("`perennial nodes retire de2`"),
            "{warned}"
        );
        assert_eq!(ran.summary.report().end_to_proof.unwrap().oldest, 0);
        world.execute("UPDATE nodes SET retired_at = '2026-03-10Z' WHERE name = 'de2'").await;
        let ran = world.run_expire(&[&stays]).await;
        assert_eq!((ran.code(), ran.count("expired"), ran.count("waiting_for_node")), (0, 2, 0), "{ran:?}");
        assert!(ran.summary.warnings.is_empty());
        // A retired one that is still in the settings is left alone, and named.
        leaves.clear_calls();
        let ran = world.run_expire(&[&stays, &leaves]).await;
        assert_eq!((ran.code(), asked(&leaves)), (0, false));
        assert!(ran.summary.warnings.join("").contains("node de2 was retired"), "{ran:?}");
    });
}

#[test]
fn what_was_expired_before_the_database_failed_is_in_the_summary() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        let [stays, leaves] = [Server::new("de1"), Server::new("de2")];
        world.have_met(&[&stays, &leaves]).await;
        closing(&world, 2, &[&stays, &leaves]).await;
        world.run_expire(&[&stays]).await;
        world.execute("UPDATE nodes SET retired_at = '2026-03-10Z' WHERE name = 'de2'").await;
        let poison = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'poison'; END $$;
             CREATE TRIGGER poison BEFORE UPDATE ON subscriptions FOR EACH ROW
             WHEN (NEW.telegram_id = 2 AND NEW.status = 'expired') EXECUTE FUNCTION poison()";
        db.client().await.batch_execute(poison).await.unwrap();
        let mut pass = world.expire();
        pass.batch_rows = 1;
        let ran = pass.try_run(&[stays.node()]).await;
        assert!(ran.error.is_some());
        assert_eq!((ran.count("expired"), ran.summary.removals.end_to_proof.len()), (1, 1), "{ran:?}");
    });
}

#[test]
fn where_no_node_was_ever_known_nothing_is_proven() {
    db_test(async |db| {
        let world = World::new(db).await;
        let one = world.subscriber(1, Status::Active, -time::Duration::minutes(1)).await;
        for _ in 0..2 {
            let ran = world.run_expire(&[]).await;
            assert_eq!((ran.code(), ran.count("expired"), ran.count("waiting_for_node")), (0, 0, 1), "{ran:?}");
            assert!(ran.summary.warnings[0].starts_with("no node is configured"));
        }
        let late = Server::new("de1");
        late.put_credential(TAG, &one);
        assert_eq!(world.run_expire(&[&late]).await.count("expired"), 1);
        assert!(!late.lets_in(TAG, one.uuid));
    });
}

#[test]
fn a_group_is_taken_off_its_own_inbounds_and_needs_no_word_of_a_node_that_does_not_serve_it() {
    db_test(async |db| {
        let world = World::new(db).await;
        let both = Server::with("de1", vec![inbound("a", "basic"), inbound("b", "basic"), inbound("c", "plus")]);
        let basic = Server::new("de2");
        basic.fail(Kind::Remove, usize::MAX, Fault::Unreachable);
        User::new(1, 0).put(&world.client).await;
        let row = Subscription::paid(1, "plus_1m", NOW - MINUTE);
        let row = Subscription { access_group: "plus", auto_renew: false, ..row }.put(&world.client).await;
        let plus = world.credential(1, row).await;
        let simple = world.subscriber(2, Status::Active, time::Duration::days(3)).await;
        for tag in ["a", "b", "c"] {
            both.put_credential(tag, &plus);
            both.put_credential(tag, &simple);
        }
        let ran = world.run_expire(&[&both, &basic]).await;
        assert_eq!((ran.code(), ran.count("removed"), ran.count("expired")), (0, 1, 1), "{ran:?}");
        assert!(!asked(&basic), "it never had anybody of this group");
        assert_eq!(both.emails("c"), std::slice::from_ref(&simple.email));
        assert_eq!(both.emails("a").len(), 2, "not the pass's inbound for this group: left to the settings' owner");

        world.advance(DAY * 4).await;
        basic.heal();
        let ran = world.run_expire(&[&both, &basic]).await;
        assert_eq!((ran.code(), ran.count("removed"), ran.count("expired")), (0, 2, 1), "{ran:?}");
        assert_eq!((both.emails("a").len(), both.emails("b").len()), (1, 1));
    });
}

#[test]
fn seconds_from_end_to_proof_are_those_that_the_slowest_node_took() {
    db_test(async |db| {
        let world = World::new(db).await;
        let [quick, slow] = [Server::new("de1"), Server::new("de2")];
        for n in 1..=10 {
            let one = world.subscriber(n, Status::Active, -time::Duration::minutes(1)).await;
            quick.put_credential(TAG, &one);
            slow.put_credential(TAG, &one);
        }
        slow.fail(Kind::Remove, 1, Fault::Unreachable);
        let ran = world.run_expire(&[&quick, &slow]).await;
        assert_eq!(ran.summary.report().end_to_proof.unwrap().p99, 0, "nothing is proven yet");
        world.advance(Duration::from_secs(29)).await;
        let oldest = world.run_expire(&[&quick, &slow]).await.summary.report().end_to_proof.unwrap().oldest;
        assert_eq!(oldest, 29);
        world.advance(Duration::from_secs(12)).await;
        let one = world.subscriber(11, Status::Active, time::Duration::ZERO).await;
        quick.put_credential(TAG, &one);
        let ran = world.run_expire(&[&quick, &slow]).await;
        let proof = ran.summary.report().end_to_proof.unwrap();
        assert_eq!((ran.count("expired"), proof.p50, proof.p99, proof.oldest), (11, 41, 41, 0), "{ran:?}");
    });
}

#[test]
fn copies_at_once_end_each_row_once_and_expire_it_once() {
    db_test(async |db| {
        let world = World::new(db).await;
        let servers = [Server::new("de1"), Server::new("de2")];
        for n in 1..=150 {
            let one = world.subscriber(n, Status::Active, -time::Duration::minutes(1)).await;
            servers.iter().for_each(|server| server.put_credential(TAG, &one));
        }
        let both: Vec<&Rc<Server>> = servers.iter().collect();
        let pass = || {
            let mut pass = world.expire();
            pass.batch_rows = 20;
            pass.run(&both)
        };
        let (a, b, c) = futures_util::join!(pass(), pass(), pass());
        let sum = |name| [&a, &b, &c].map(|ran| ran.count(name)).iter().sum::<u64>();
        assert_eq!((sum("ended"), sum("expired"), sum("proven")), (150, 150, 300), "{a:?}\n{b:?}\n{c:?}");
        for action in ["ended", "expired"] {
            let rows = format!("SELECT count(*) FROM audit_log WHERE action = '{action}'");
            assert_eq!(world.number(&rows).await, 150);
        }
        assert_eq!(world.number("SELECT count(*) FROM notices").await, 150);
        for server in &servers {
            assert!(server.emails(TAG).is_empty());
            assert_eq!(server.asked(Kind::Remove).len(), 150, "{}: one copy at a time works on a server", server.name);
        }
        assert_eq!(world.run_expire(&both).await.code(), 0);
    });
}
