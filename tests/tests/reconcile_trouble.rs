//! One inbound, one credential or one call in trouble costs itself, and nobody else on that server.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use access_support::{BASIC, Fault, GRACE, Kind, NOW, Server, TAG, World, inbound};
use perennial_core::node::Node;
use perennial_testkit::builders::{Status, Subscription, User};
use perennial_testkit::db_test;
use perennial_testkit::fake_xray::{FakeXray, Protocol};
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

#[test]
fn an_inbound_that_cannot_be_listed_costs_its_own_users_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::with("de1", vec![inbound("a", "basic"), inbound("b", "basic")]);
        world.have_met(&[&server]).await;
        let payer = world.payer(1).await;
        world.run(&[&server]).await;
        server.put("b", "p.stranger", Uuid::new_v4());
        world.run(&[&server]).await;
        let closed = world.subscriber(2, Status::Expiring, time::Duration::days(-1)).await;
        let missing = world.payer(3).await;
        for tag in ["a", "b"] {
            server.put_credential(tag, &closed);
        }
        let before = (world.orphans().await, world.number("SELECT last_list_size FROM nodes").await);
        server.clear_calls();
        server.fail_for(Kind::List, "b", 1, Fault::Misconfigured);
        let ran = world.run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.reachable, node.removed, node.restored), (3, true, 1, 1), "{node:?}");
        assert!(node.error.as_ref().unwrap().contains("Misconfigured"), "{node:?}");
        assert_eq!(node.missing, 1, "nobody knows who is missing where nothing is listed");
        assert!(server.changes().iter().all(|call| call.tag == "a"), "{:?}", server.changes());
        assert!(server.lets_in("a", missing.uuid) && !server.lets_in("a", closed.uuid));
        let after = (world.orphans().await, world.number("SELECT last_list_size FROM nodes").await);
        assert_eq!(after, before, "what was not seen is neither forgotten nor the new measure");
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed, ran.only().restored), (0, 1, 1), "{:?}", ran.summary);
        assert!(server.lets_in("b", payer.uuid) && server.lets_in("b", missing.uuid));
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn an_inbound_first_met_while_it_could_not_be_listed_is_met_when_it_can() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::with("de1", vec![inbound("a", "basic"), inbound("b", "basic")]);
        world.payer(1).await;
        server.put("b", "p.legacy", Uuid::new_v4());
        server.fail_for(Kind::List, "b", 1, Fault::Misconfigured);
        assert_eq!(world.run(&[&server]).await.code(), 3);
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().adopted), (0, 1), "{:?}", ran.summary);
    });
}

/// Its list says nothing about its protocol while it is empty; the first addition does.
#[test]
fn an_inbound_that_takes_no_users_costs_its_own_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = FakeXray::builder().inbound("basic").inbound_of("mixed", Protocol::Vmess).start().unwrap();
        let mut simple = Vec::new();
        for n in 1..=3 {
            simple.push(world.payer(n).await);
        }
        User::new(4, 0).put(&world.client).await;
        let plus = Subscription::paid(4, BASIC.code, NOW + access_support::DAY);
        Subscription { access_group: "plus", ..plus }.put(&world.client).await;
        // On the inbound in trouble comes first what is to be done.
        let inbounds = vec![inbound("mixed", "plus"), inbound("basic", "basic")];
        let xray = XrayNode::connect(NodeSettings::new("de1", server.address())).unwrap();
        let ran = world.run_on(vec![Node { name: "de1".to_owned(), inbounds, xray }]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.reachable, node.restored, node.failed), (3, true, 3, 1), "{node:?}");
        assert!(node.error.as_ref().unwrap().contains("mixed"), "{node:?}");
        assert!(simple.iter().all(|payer| server.can_connect(payer.uuid)));
    });
}

/// A trigger of somebody's that fails for one credential: with an error that is the row's, and with one that may be
/// everybody's.
const POISON: [(&str, &str); 2] = [("of the row", "RAISE EXCEPTION 'poison'"), ("of anybody", "PERFORM no_such(1)")];

#[test]
fn an_unused_credential_that_cannot_be_retired_stays_and_keeps_nobody_else() {
    for (what, fails) in POISON {
        for others in [0, 1] {
            db_test(async |db| {
                let world = World::new(db).await;
                let server = Server::new("de1");
                world.have_met(&[&server]).await;
                let payer = world.payer(1).await;
                let poisoned = world.unused(2).await;
                server.put_credential(TAG, &poisoned);
                for n in 3..3 + others {
                    server.put_credential(TAG, &world.unused(n).await);
                }
                world.run(&[&server]).await;
                world.advance(GRACE).await;
                let closed = world.subscriber(9, Status::Expiring, time::Duration::days(-1)).await;
                server.put_credential(TAG, &closed);
                let trigger = format!(
                    "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         IF NEW.id = {} THEN {fails}; END IF; RETURN NEW; END $$;
                     CREATE TRIGGER poison BEFORE UPDATE ON credentials FOR EACH ROW EXECUTE FUNCTION poison()",
                    poisoned.id
                );
                world.execute(&trigger).await;
                let ran = world.pass().try_run(&[server.node()]).await;
                // Whose an error is that met one alone, nobody can say; it ends nothing, and is told at the end.
                assert_eq!(ran.error.is_some(), what == "of anybody" && others == 0, "{what}: {:?}", ran.error);
                assert_eq!((ran.only().removed, ran.only().failed), (1 + others.unsigned_abs(), 1), "{what}");
                assert_eq!(server.emails(TAG), [payer.email.clone(), poisoned.email.clone()], "{what}, {others}");
                world.execute("DROP TRIGGER poison ON credentials").await;
                assert_eq!(world.run(&[&server]).await.only().removed, 1);
                world.assert_at_rest(&[&server]).await;
            });
        }
    }
}

#[test]
fn a_line_that_loses_one_call_in_five_is_worked_on_to_the_end() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        for n in 1..=200 {
            let closed = world.subscriber(n, Status::Expiring, time::Duration::days(-1)).await;
            server.put_credential(TAG, &closed);
            if n % 5 == 0 {
                server.fail_for(Kind::Remove, &closed.email, 1, Fault::RequestLost);
            }
        }
        let ran = world.pass().limits(None, 100).run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.removed, node.failed, node.error.as_ref()), (3, 160, 40, None), "{node:?}");
        let ran = world.pass().limits(None, 100).run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 40));
        world.assert_at_rest(&[&server]).await;
    });
}
