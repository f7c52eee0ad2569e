//! Inbounds and answers that the settings do not fit, asked by the real client.

use std::time::Duration;

use crate::access_support::expire::Expired;
use crate::access_support::{BASIC, Credential, DAY, MINUTE, NOW, World, inbound};
use perennial_core::node::Node;
use perennial_testkit::builders::{Status, Subscription, User};
use perennial_testkit::db_test;
use perennial_testkit::fake_xray::{self, FakeXray, Protocol, Release, When};
use perennial_xray::{NodeSettings, XrayNode};

/// The client of a fake server, for a node with these inbounds.
fn node(server: &FakeXray, inbounds: &[(&str, &str)]) -> Node<XrayNode> {
    let mut settings = NodeSettings::new("de1", server.address());
    settings.call_timeout = Duration::from_millis(500);
    let inbounds = inbounds.iter().map(|(tag, group)| inbound(tag, group)).collect();
    Node { name: "de1".to_owned(), inbounds, xray: XrayNode::connect(settings).unwrap() }
}

/// A user of group `basic` and one of `plus`, both over, on inbounds `basic` and `plus` of this server.
async fn two_groups(world: &World, server: &FakeXray) -> [Credential; 2] {
    let simple = world.subscriber(1, Status::Active, -time::Duration::minutes(1)).await;
    User::new(2, 0).put(&world.client).await;
    let row = Subscription { access_group: "plus", ..Subscription::paid(2, BASIC.code, NOW - MINUTE) };
    let row = row.put(&world.client).await;
    let plus = world.credential(2, row).await;
    server.put_user("basic", &simple.email, simple.uuid, "");
    server.put_user("plus", &plus.email, plus.uuid, "");
    [simple, plus]
}

#[test]
fn an_inbound_that_cannot_be_worked_on_costs_its_own_users_their_proof_and_nobody_elses() {
    for (tag, said) in [("typo", "typo"), ("mixed", "mixed"), ("tunnel", "tunnel")] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = FakeXray::builder()
                .inbound("basic")
                .inbound("plus")
                .inbound_of("mixed", Protocol::Vmess)
                .inbound_of("tunnel", Protocol::Dokodemo)
                .start()
                .unwrap();
            let [simple, plus] = two_groups(&world, &server).await;
            for _ in 0..2 {
                let ran = world.expire().run_on(&[node(&server, &[("basic", "basic"), (tag, "plus")])]).await;
                assert_eq!(ran.code(), 3, "{tag}: {ran:?}");
                let part = ran.node("de1");
                assert_eq!(
                    part.reachable,
                    Some(true),
                    "{tag}: it answers, and its other inbounds are served every time"
                );
                assert!(part.error.as_ref().unwrap().contains(said), "{tag}: {part:?}");
                assert_eq!(ran.count("waiting_for_node"), 1);
            }
            assert_eq!(world.rows().await, ["1 payment expired none", "2 payment expiring closing"], "{tag}");
            assert!(!server.can_connect(simple.uuid) && server.can_connect(plus.uuid));
            let ran = world.expire().run_on(&[node(&server, &[("basic", "basic"), ("plus", "plus")])]).await;
            assert_eq!((ran.code(), ran.count("expired")), (0, 1), "{tag}: {ran:?}");
            assert!(!server.can_connect(plus.uuid));
        });
    }
}

/// What a server is, and what a pass over it says; nothing is ever proven by it.
async fn nothing_is_believed(world: &World, node: Node<XrayNode>, code: u8, said: &str) -> Expired {
    let ran = world.expire().run_on(&[node]).await;
    assert_eq!((ran.code(), ran.count("proven"), ran.count("expired")), (code, 0, 0), "{said}: {ran:?}");
    let error = ran.node("de1").error.clone().unwrap();
    assert!(error.contains(said), "{said}: {error}");
    ran
}

#[test]
fn a_server_that_is_none_of_ours_proves_nothing_and_says_what_to_set_right() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, Status::Active, -time::Duration::minutes(1)).await;
        let users = [("basic", "basic")];
        let no_handler = FakeXray::builder().inbound("basic").services(&["StatsService"]).start().unwrap();
        nothing_is_believed(&world, node(&no_handler, &users), 3, "HandlerService").await;
        let old = FakeXray::builder().inbound("basic").release(Release(24, 9, 7)).start().unwrap();
        nothing_is_believed(&world, node(&old, &users), 3, "v24.11.5").await;
        // Plain text where TLS is spoken: nothing at that address is Xray's API.
        let silent = FakeXray::builder().inbound("basic").start().unwrap();
        silent.inject(When::any(), fake_xray::Fault::RequestLost);
        nothing_is_believed(&world, node(&silent, &users), 69, "de1").await;
        assert_eq!(world.rows().await, ["1 payment expiring closing"]);
    });
}

#[test]
fn a_list_beyond_the_limit_or_cut_short_proves_nothing() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = FakeXray::builder().inbound("basic").start().unwrap();
        for n in 1..=70 {
            world.subscriber(n, Status::Expiring, -time::Duration::minutes(1)).await;
        }
        for n in 0..200 {
            server.put_user("basic", &format!("other.{n}"), uuid::Uuid::new_v4(), "");
        }
        let users = [("basic", "basic")];
        let mut settings = NodeSettings::new("de1", server.address());
        settings.max_list_bytes = 4_096;
        let small = Node { xray: XrayNode::connect(settings).unwrap(), ..node(&server, &users) };
        let ran = world.expire().run_on(&[small]).await;
        assert_eq!((ran.code(), ran.count("proven")), (3, 0), "{ran:?}");
        for (fault, code) in [(fake_xray::Fault::CutAfter(1_000), 69), (fake_xray::Fault::EndAfter(1_000), 69)] {
            server.inject(When::on(fake_xray::Kind::List).once(), fault);
            let ran = world.expire().run_on(&[node(&server, &users)]).await;
            assert_eq!((ran.code(), ran.count("proven")), (code, 0), "{ran:?}");
            world.advance(DAY).await;
        }
        let ran = world.expire().run_on(&[node(&server, &users)]).await;
        assert_eq!((ran.code(), ran.count("expired")), (0, 70), "{ran:?}");
    });
}

/// A slip in the settings: the group of an inbound is misspelt.
#[test]
fn a_group_that_no_inbound_has_is_named() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = FakeXray::builder().inbound("basic").inbound("plus").start().unwrap();
        two_groups(&world, &server).await;
        let ran = world.expire().run_on(&[node(&server, &[("basic", "basic"), ("plus", "pluss")])]).await;
        assert_eq!((ran.code(), ran.count("expired")), (0, 2), "{ran:?}");
        let warnings = &ran.summary.warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("of group plus count as gone"), "{warnings:?}");
        let right = world.expire().run_on(&[node(&server, &[("basic", "basic"), ("plus", "plus")])]).await;
        assert!(right.summary.warnings.is_empty(), "{right:?}");
    });
}
