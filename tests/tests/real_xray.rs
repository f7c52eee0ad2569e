//! The passes against the real Xray with many users: healed after a restart, nothing done where nothing is to be done, ends
//! taken off; and whether somebody can really connect is asked of the data plane, by a VLESS client.
//!
//! Two thousand users in the tests, a hundred thousand with `PERENNIAL_SOAK` (`make soak`).
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

mod access_support;

use std::cell::Cell;
use std::time::{Duration, Instant};

use access_support::{BASIC, DAY, NOW, Ran, TAG, World, inbound};
use perennial_core::money::Kopecks;
use perennial_core::node::Node;
use perennial_core::ports::{
    Addition, FoundUser, InboundTag, NodeStatus, OnlineUser, Removal, UserList, Xray, XrayError, XrayUser,
};
use perennial_core::time::Deadline;
use perennial_testkit::builders::Crowd;
use perennial_testkit::db_test;
use perennial_testkit::real_xray::{self, RealXray, Setup, Version};
use perennial_xray::{NodeSettings, XrayNode};
use uuid::Uuid;

/// Counts what changes something.
struct Counting<'a> {
    xray: &'a XrayNode,
    changes: Cell<u64>,
}

impl Xray for Counting<'_> {
    async fn list_users(&self, inbound: &InboundTag) -> Result<UserList, XrayError> {
        self.xray.list_users(inbound).await
    }

    async fn find_user(&self, inbound: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError> {
        self.xray.find_user(inbound, email).await
    }

    async fn add_user(&self, inbound: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError> {
        self.changes.set(self.changes.get() + 1);
        self.xray.add_user(inbound, user).await
    }

    async fn remove_user(&self, inbound: &InboundTag, email: &str) -> Result<Removal, XrayError> {
        self.changes.set(self.changes.get() + 1);
        self.xray.remove_user(inbound, email).await
    }

    async fn status(&self) -> Result<NodeStatus, XrayError> {
        self.xray.status().await
    }

    async fn online(&self, emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError> {
        self.xray.online(emails).await
    }
}

fn node_of(xray: &XrayNode) -> Node<Counting<'_>> {
    let xray = Counting { xray, changes: Cell::default() };
    Node { name: "de1".to_owned(), inbounds: vec![inbound(TAG, "basic")], xray }
}

/// A comparison that is at one with the server afterwards; answers what it did and how many calls it changed it by.
async fn reconcile(world: &World, xray: &XrayNode) -> (Ran, u64) {
    let (node, began) = ([node_of(xray)], Instant::now());
    let mut pass = world.pass().limits(None, 100);
    pass.deadline = Deadline::after(Duration::from_secs(600));
    let ran = pass.run_on(&node).await;
    assert_eq!(ran.code(), 0, "{:?}", ran.summary);
    println!("reconcile-xray: {:?}, {:?}", began.elapsed(), ran.only());
    (ran, node[0].xray.changes.get())
}

#[test]
fn many_users_on_a_real_server_are_healed_left_alone_and_ended_and_connect_or_do_not() {
    let Some(installed) = real_xray::find(Version::V26_10_10).unwrap() else { return };
    let users: i64 = if std::env::var_os("PERENNIAL_SOAK").is_some() { 100_000 } else { 2_000 };
    let size = users.unsigned_abs();
    db_test(async |db| {
        let world = World::new(db).await;
        let crowd = Crowd {
            first: 1,
            size: users,
            tariff: BASIC.code,
            first_end: NOW + DAY,
            spread: DAY * 20,
            balance: Kopecks(0),
        };
        crowd.put(&world.client).await;
        world.execute("ANALYZE").await;
        let mut server = RealXray::start(&installed, &Setup::default()).unwrap();
        let xray = XrayNode::connect(NodeSettings::new("de1", server.address())).unwrap();
        let tag = InboundTag(TAG.to_owned());
        let rows = world.client.query_typed("SELECT email, uuid FROM credentials ORDER BY id", &[]).await.unwrap();
        let who: Vec<(String, Uuid)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();

        for _ in 0..2 {
            let (ran, _) = reconcile(&world, &xray).await;
            assert_eq!((ran.only().restored, ran.only().failed), (size, 0));
            let (ran, changes) = reconcile(&world, &xray).await;
            assert_eq!((ran.only().listed, changes), (size, 0), "nothing to do, and nothing done");
            // It forgets everybody who came in at run time.
            server.restart().unwrap();
        }
        reconcile(&world, &xray).await;
        let (kept, ended) = (&who[who.len() - 1], &who[0]);
        assert!(server.can_connect(kept.1).unwrap() && server.can_connect(ended.1).unwrap());

        let over = users / 10;
        let end = format!("UPDATE subscriptions SET expires_at = '2026-03-10 11:59Z' WHERE telegram_id <= {over}");
        world.execute(&end).await;
        let mut pass = world.expire();
        pass.batch_rows = 500;
        pass.deadline = Deadline::after(Duration::from_secs(600));
        let began = Instant::now();
        let ran = pass.run_on(&[node_of(&xray)]).await;
        println!("expire-fast: {over} ended and proven in {:?}", began.elapsed());
        assert_eq!((ran.code(), ran.count("removed"), ran.count("expired")), (0, size / 10, size / 10), "{ran:?}");
        assert_eq!(xray.list_users(&tag).await.unwrap().len() as u64, size - size / 10);
        assert!(server.can_connect(kept.1).unwrap() && !server.can_connect(ended.1).unwrap());

        // One has another UUID there; under the e-mail of an ended one is a payer's UUID, whom its removal cuts.
        let (replaced, shared) = (&who[who.len() - 2], &who[who.len() - 3]);
        let wrong = Uuid::new_v4();
        for (email, uuid) in [(&replaced.0, wrong), (&ended.0, shared.1)] {
            xray.remove_user(&tag, email).await.unwrap();
            let user = XrayUser { email: email.clone(), uuid, flow: String::new() };
            assert_eq!(xray.add_user(&tag, &user).await, Ok(Addition::Added));
        }
        assert!(server.can_connect(wrong).unwrap() && !server.can_connect(replaced.1).unwrap());
        let (ran, _) = reconcile(&world, &xray).await;
        assert_eq!((ran.only().removed, ran.only().replaced, ran.only().failed), (1, 2, 0), "{:?}", ran.only());
        assert!(server.can_connect(replaced.1).unwrap() && !server.can_connect(wrong).unwrap());
        assert!(server.can_connect(shared.1).unwrap(), "cut by the removal of the other with the same UUID");
        assert_eq!(reconcile(&world, &xray).await.1, 0);
    });
}
