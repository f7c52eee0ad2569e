//! The case list of `reconcile-xray` over a real database: each case alone, and all of them in one pass.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use access_support::{BASIC, Call, GRACE, Kind, MINUTE, Server, TAG, World, inbound};
use perennial_core::ids::SubscriptionId;
use perennial_testkit::builders::{Status, Subscription, Tariff, User};
use perennial_testkit::db_test;
use time::Duration;
use uuid::Uuid;

/// Two passes with the grace in between: the second acts on what was watched.
async fn watch_out(world: &World, servers: &[&std::rc::Rc<Server>]) {
    world.run(servers).await;
    world.advance(GRACE).await;
}

#[test]
fn every_case_in_one_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        let missing = world.payer(1).await;
        let kept = world.payer(2).await;
        let past_its_end = world.subscriber(3, Status::Active, Duration::minutes(-5)).await;
        let past_and_absent = world.subscriber(4, Status::Active, Duration::minutes(-5)).await;
        let closing = world.subscriber(5, Status::Expiring, Duration::days(-1)).await;
        let closing_absent = world.subscriber(6, Status::Expiring, Duration::days(-1)).await;
        let unused = world.unused(7).await;
        let misfit = world.payer(8).await;
        let wrong_flow = world.payer(9).await;
        let retired = world.unused(10).await;
        let sql = format!("UPDATE credentials SET closed_at = now(), retired_at = now() WHERE id = {}", retired.id);
        world.execute(&sql).await;
        for there in [&kept, &past_its_end, &closing, &unused, &retired] {
            server.put_credential(TAG, there);
        }
        server.put(TAG, &misfit.email, Uuid::new_v4());
        server.put_with_flow(TAG, &wrong_flow.email, Some(wrong_flow.uuid), "xtls-rprx-vision");
        server.put(TAG, "p.stranger", Uuid::new_v4());
        server.put(TAG, "p.admin1", Uuid::new_v4());
        server.put(TAG, "other.1", Uuid::new_v4());
        server.put(TAG, "another", Uuid::new_v4());

        let ran = world.run(&[&server]).await;
        assert_eq!(ran.code(), 0, "{:?}", ran.summary);
        let node = ran.only();
        assert!(node.reachable);
        assert_eq!((node.listed, node.entitled, node.missing), (11, 4, 1));
        assert_eq!((node.restored, node.removed, node.replaced), (1, 2, 2));
        assert_eq!((node.quarantined, node.adopted), (2, 0));
        assert_eq!((node.protected, node.foreign), (1, 2));
        assert_eq!(node.refused_because, None);
        let audit = world.audit().await;
        for row in [
            "quarantined de1 vless-in p.stranger unknown".to_owned(),
            format!("quarantined de1 vless-in {} unused", unused.email),
            format!("restored de1 vless-in {} missing", missing.email),
            format!("removed de1 vless-in {} closed", closing.email),
            format!("removed de1 vless-in {} closed", retired.email),
            format!("replaced de1 vless-in {} wrong_uuid", misfit.email),
            format!("replaced de1 vless-in {} wrong_flow", wrong_flow.email),
        ] {
            assert!(audit.contains(&row), "{row}: {audit:#?}");
        }
        assert_eq!(audit.len(), 7, "{audit:#?}");
        for user in [&missing, &kept, &past_its_end, &misfit, &wrong_flow, &unused] {
            assert!(server.lets_in(TAG, user.uuid), "{}", user.email);
        }
        for gone in [&closing, &retired, &past_and_absent, &closing_absent] {
            assert!(!server.lets_in(TAG, gone.uuid), "{}", gone.email);
        }
        world.advance(MINUTE / 2).await;
        world.assert_at_rest(&[&server]).await;

        world.advance(GRACE).await;
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed, ran.only().quarantined), (0, 2, 0), "{:?}", ran.summary);
        assert!(!server.lets_in(TAG, unused.uuid));
        let state = format!("SELECT count(*) FROM credentials WHERE id = {} AND closed_at = retired_at", unused.id);
        assert_eq!(world.number(&state).await, 1, "what no row uses is retired before it is removed");
        let emails = server.emails(TAG);
        let untouched = ["another", "other.1", "p.admin1"];
        assert!(untouched.iter().all(|email| emails.iter().any(|there| there == email)), "{emails:?}");
        assert!(!emails.iter().any(|there| there == "p.stranger"));
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_credential_is_retired_in_the_database_before_it_is_removed_anywhere() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        world.payer(1).await;
        let unused = world.unused(2).await;
        server.put_credential(TAG, &unused);
        watch_out(&world, &[&server]).await;
        let client = world.client.clone();
        let sql = format!("SELECT count(*) FROM credentials WHERE id = {} AND retired_at IS NOT NULL", unused.id);
        let seen = std::rc::Rc::new(std::cell::Cell::new(-1_i64));
        let told = seen.clone();
        server.before(Kind::Remove, &unused.email, move || {
            Box::pin(async move { told.set(client.query_typed_one(&sql, &[]).await.unwrap().get(0)) })
        });
        world.run(&[&server]).await;
        assert_eq!(seen.get(), 1, "removed, and not retired before");
        let audit = world.audit().await;
        assert!(audit.iter().any(|row| row.starts_with("retired") && row.contains("used by no row")), "{audit:#?}");
    });
}

#[test]
fn a_credential_of_another_group_is_taken_off_there_and_stays_where_it_belongs() {
    db_test(async |db| {
        let world = World::new(db).await;
        Tariff { access_group: "plus", ..Tariff::months("plus_1m", 1, 29_900) }.put(&world.client).await;
        let server = Server::with("de1", vec![inbound("a", "basic"), inbound("b", "plus")]);
        world.have_met(&[&server]).await;
        let basic = world.payer(1).await;
        User::new(2, 0).put(&world.client).await;
        let end = access_support::NOW + Duration::days(3);
        let plus = Subscription { access_group: "plus", ..Subscription::paid(2, "plus_1m", end) };
        let plus = plus.put(&world.client).await;
        let plus = world.credential(2, plus).await;
        for tag in ["a", "b"] {
            server.put_credential(tag, &basic);
        }
        watch_out(&world, &[&server]).await;
        assert_eq!(server.emails("b"), [basic.email.clone(), plus.email.clone()], "watched, and the other restored");
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 1), "{:?}", ran.summary);
        assert_eq!((server.emails("a"), server.emails("b")), (vec![basic.email.clone()], vec![plus.email.clone()]));
        assert_eq!(world.number("SELECT count(*) FROM credentials WHERE closed_at IS NOT NULL").await, 0);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_trial_and_a_paid_row_use_one_credential_and_any_of_them_keeps_it() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        // Whichever of them the database tells of first.
        for (n, first, second) in [(1, -1, 3), (2, 3, -1)] {
            let user = world.subscriber(n, Status::Active, Duration::days(first)).await;
            let end = access_support::NOW + Duration::days(second);
            Subscription { source: "grant", ..Subscription::paid(n, BASIC.code, end) }.put(&world.client).await;
            assert_eq!(world.number("SELECT count(*) FROM credentials").await, n);
            let ran = world.run(&[&server]).await;
            assert_eq!((ran.only().entitled, ran.only().restored), (n.unsigned_abs(), 1));
            assert!(server.lets_in(TAG, user.uuid));
        }
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn users_of_e_mails_that_only_look_like_ours_are_left_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        world.payer(1).await;
        for email in ["p.ю", "p.1>>>traffic", "xp.1", "q.p.1"] {
            server.put(TAG, email, Uuid::new_v4());
        }
        for _ in 0..3 {
            let ran = world.run(&[&server]).await;
            assert_eq!((ran.code(), ran.only().foreign, ran.only().removed), (0, 4, 0));
            world.advance(GRACE).await;
        }
        assert_eq!(server.emails(TAG).len(), 5);
    });
}

#[test]
fn missing_ones_are_only_counted_when_asked_so() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let closing = world.subscriber(1, Status::Expiring, Duration::days(-1)).await;
        let missing = world.payer(2).await;
        server.put_credential(TAG, &closing);
        let ran = world.pass().report_missing().run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.missing, node.restored, node.removed), (0, 1, 0, 1), "{node:?}");
        assert!(!server.lets_in(TAG, missing.uuid));
        let removal = Call { kind: Kind::Remove, tag: TAG.to_owned(), email: closing.email };
        assert_eq!(server.changes(), [removal]);
    });
}

#[test]
fn a_known_e_mail_without_our_prefix_is_ours_all_the_same() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        User::new(1, 0).put(&world.client).await;
        User::new(2, 0).put(&world.client).await;
        world
            .execute(
                "INSERT INTO credentials (telegram_id, email, closed_at) VALUES (1, 'legacy_1', now());
                 INSERT INTO credentials (telegram_id, email) VALUES (2, 'legacy_2')",
            )
            .await;
        let [closed, unused] =
            [world.credential(1, SubscriptionId(0)).await, world.credential(2, SubscriptionId(0)).await];
        for there in [&closed, &unused] {
            server.put_credential(TAG, there);
        }
        world.run(&[&server]).await;
        assert_eq!(server.emails(TAG), ["legacy_2"]);
        world.advance(GRACE).await;
        world.run(&[&server]).await;
        assert_eq!(server.emails(TAG), [] as [&str; 0]);
    });
}

#[test]
fn calls_are_bounded_and_answers_are_not_believed() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let mut closing = Vec::new();
        for n in 1..=30 {
            closing.push(world.subscriber(n, Status::Expiring, Duration::days(-1)).await);
            server.put_credential(TAG, closing.last().unwrap());
        }
        let payers: Vec<_> = [world.payer(101).await, world.payer(102).await, world.payer(103).await].into();
        use access_support::Fault::{AnswerLost, Lie, RequestLost};
        server.fail_for(Kind::Remove, &closing[3].email, 1, Lie);
        server.fail_for(Kind::Remove, &closing[4].email, 1, AnswerLost);
        server.fail_for(Kind::Remove, &closing[5].email, 1, RequestLost);
        server.fail_for(Kind::Add, &payers[0].email, 1, Lie);
        server.fail_for(Kind::Add, &payers[1].email, 1, AnswerLost);
        server.fail_for(Kind::Add, &payers[2].email, 1, RequestLost);
        let ran = world.pass().limits(None, 100).run(&[&server]).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.failed, node.removed, node.restored), (3, 4, 28, 1), "{node:?}");
        assert_eq!(server.most_in_flight.get(), 16);
        // Nothing stands in the audit log that was not seen.
        let audit = world.audit().await;
        for unseen in [&closing[3], &closing[5], &payers[0], &payers[2]] {
            assert!(!audit.iter().any(|row| row.contains(&format!(" {} ", unseen.email))), "{audit:#?}");
        }
        assert_eq!(audit.len(), 29);
        let ran = world.run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed, ran.only().restored), (0, 2, 2));
        world.assert_at_rest(&[&server]).await;
    });
}
