//! `--plan`, `--apply` and `--dry-run`.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::rc::Rc;
use std::time::Duration;

use access_support::{Call, Credential, Fault, GRACE, Kind, MINUTE, Ran, Server, TAG, World};
use perennial_testkit::builders::Status;
use perennial_testkit::{TestDb, db_test};
use reconcile_xray::Effect;
use reconcile_xray::plan_file::{Action, PlanFile};
use uuid::Uuid;

/// Something of everything to do: a missing one, a misfit, a closed one, a ripe stranger.
struct Scene {
    world: World,
    server: Rc<Server>,
    missing: Credential,
    misfit: Credential,
    closed: Credential,
}

async fn scene(db: TestDb) -> Scene {
    let world = World::new(db).await;
    let server = Server::new("de1");
    world.have_met(&[&server]).await;
    world.payer(1).await;
    server.put(TAG, "p.stranger", Uuid::new_v4());
    world.run(&[&server]).await;
    world.advance(GRACE).await;
    let missing = world.payer(2).await;
    let misfit = world.payer(3).await;
    let closed = world.subscriber(4, Status::Expiring, time::Duration::days(-1)).await;
    server.put(TAG, &misfit.email, Uuid::new_v4());
    server.put_credential(TAG, &closed);
    server.clear_calls();
    Scene { world, server, missing, misfit, closed }
}

/// All tables that a pass may write to.
async fn digest(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["nodes", "orphans", "audit_log", "credentials", "subscriptions", "removals", "notices"] {
        let sql = format!(
            "SELECT '{table} ' || count(*) || md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t"
        );
        rows.extend(world.column(&sql).await);
    }
    rows
}

fn items(plan: &PlanFile) -> Vec<String> {
    let nodes = plan.nodes.iter();
    nodes
        .flat_map(|node| {
            node.items.iter().map(|item| format!("{} {} {} {}", node.name, item.action, item.email, item.reason))
        })
        .collect()
}

async fn apply(scene: &Scene, plan: PlanFile) -> Ran {
    scene.world.pass().effect(Effect::Planned(plan)).run(&[&scene.server]).await
}

#[test]
fn a_plan_says_what_would_be_done_and_does_nothing_else() {
    db_test(async |db| {
        let scene = scene(db).await;
        let Scene { world, server, missing, misfit, closed } = &scene;
        let before = digest(world).await;
        let plan = world.pass().plan(&[server]).await;
        assert_eq!(
            items(&plan),
            [
                format!("de1 add {} missing", missing.email),
                format!("de1 replace {} wrong_uuid", misfit.email),
                format!("de1 remove {} closed", closed.email),
                "de1 remove p.stranger unknown".to_owned(),
            ]
        );
        assert_eq!(digest(world).await, before);
        assert_eq!(server.changes(), [] as [Call; 0]);
        let text = serde_json::to_string(&plan).unwrap();
        for secret in [missing, misfit, closed] {
            assert!(!text.contains(&secret.uuid.to_string()) && !text.contains(&secret.uuid.simple().to_string()));
        }

        let ran = apply(&scene, plan).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.restored, node.replaced, node.removed), (0, 1, 1, 2), "{node:?}");
        world.assert_at_rest(&[server]).await;
    });
}

#[test]
fn a_dry_run_shows_the_same_and_leaves_no_trace() {
    db_test(async |db| {
        let Scene { world, server, missing, misfit, closed } = scene(db).await;
        let before = digest(&world).await;
        let ran = world.pass().dry().run(&[&server]).await;
        assert_eq!(
            ran.items,
            [
                format!("de1 vless-in add {} missing", missing.email),
                format!("de1 vless-in replace {} wrong_uuid", misfit.email),
                format!("de1 vless-in remove {} closed", closed.email),
                "de1 vless-in remove p.stranger unknown".to_owned(),
            ]
        );
        let only = ran.only();
        assert_eq!((ran.code(), only.restored, only.replaced, only.removed), (0, 1, 1, 2), "what would be done");
        assert_eq!(digest(&world).await, before);
        assert_eq!(server.changes(), [] as [Call; 0]);
        // With a node never met, too, and with a brake.
        let fresh = Server::new("de2");
        fresh.put(TAG, "p.stranger", Uuid::new_v4());
        let ran = world.pass().dry().limits(Some(0), 0).run(&[&server, &fresh]).await;
        assert_eq!((ran.code(), ran.items.len(), ran.node("de2").adopted), (4, 4, 1), "{:?}", ran.items);
        assert_eq!(digest(&world).await, before);
    });
}

/// W-7.
#[test]
fn a_plan_is_refused_altogether_when_one_of_its_removals_is_no_longer_right() {
    // What happens between the plan and its application.
    type Change = for<'a> fn(&'a Scene) -> String;
    let worlds: [(&str, Change); 3] = [
        ("the closed e-mail is somebody's", |scene| {
            // Cannot happen by our functions, but the plan is about a person's hand.
            format!(
                "SET session_replication_role = replica; UPDATE credentials SET closed_at = NULL WHERE id = {id}; \
                 UPDATE subscriptions SET status = 'active', expires_at = '2027-01-01Z' WHERE id = {row}; \
                 SET session_replication_role = origin",
                id = scene.closed.id,
                row = scene.closed.subscription
            )
        }),
        ("the stranger is known", |_| {
            "INSERT INTO users (telegram_id) VALUES (77); \
             INSERT INTO credentials (telegram_id, email) VALUES (77, 'p.stranger'); \
             INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at) \
             SELECT 77, 'grant', 'basic_1m', id, '2026-03-10Z', '2026-04-10Z' FROM credentials WHERE telegram_id = 77"
                .to_owned()
        }),
        ("the misfit has ended", |scene| access_support::end_sql(&scene.misfit)),
    ];
    for (what, change) in worlds {
        db_test(async |db| {
            let scene = scene(db).await;
            let plan = scene.world.pass().plan(&[&scene.server]).await;
            scene.world.execute(&change(&scene)).await;
            let ran = apply(&scene, plan).await;
            assert_eq!(ran.code(), 4, "{what}: {:?}", ran.summary);
            let why = ran.summary.refused.clone().unwrap();
            assert!(why.ends_with("is no longer right"), "{what}: {why}");
            assert_eq!(scene.server.changes(), [] as [Call; 0], "{what}");
        });
    }
}

#[test]
fn who_went_by_itself_is_no_objection_and_who_came_since_is_left() {
    db_test(async |db| {
        let scene = scene(db).await;
        let Scene { world, server, .. } = &scene;
        let plan = world.pass().plan(&[server]).await;
        server.drop_user(TAG, &scene.closed.email);
        let missing_since = world.payer(11).await;
        let closed_since = world.subscriber(12, Status::Expiring, time::Duration::days(-1)).await;
        server.put_credential(TAG, &closed_since);
        let ran = apply(&scene, plan).await;
        let node = ran.only();
        assert_eq!((ran.code(), node.restored, node.replaced, node.removed), (0, 1, 1, 1), "{node:?}");
        assert!(!server.lets_in(TAG, missing_since.uuid) && server.lets_in(TAG, closed_since.uuid));
        let ran = world.run(&[server]).await;
        assert_eq!((ran.only().restored, ran.only().removed), (1, 1));
        world.assert_at_rest(&[server]).await;
    });
}

#[test]
fn an_old_or_foreign_plan_is_refused_before_anybody_is_asked() {
    db_test(async |db| {
        let scene = scene(db).await;
        let plan = scene.world.pass().plan(&[&scene.server]).await;
        let elsewhere = PlanFile::new("4711/other".to_owned(), access_support::NOW, plan.nodes.clone());
        scene.server.clear_calls();
        let ran = apply(&scene, elsewhere).await;
        assert_eq!(ran.code(), 4);
        assert!(ran.summary.refused.unwrap().contains("from database 4711/other"));
        scene.world.advance(MINUTE * 60 + Duration::from_secs(1)).await;
        let ran = apply(&scene, plan).await;
        assert_eq!(ran.code(), 4);
        assert!(ran.summary.refused.unwrap().contains("the plan is 60 minutes old"));
        assert_eq!(scene.server.calls(), [] as [Call; 0]);
    });
}

#[test]
fn a_plan_releases_the_brakes_that_spoke_when_it_was_made_and_no_other() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let mut ended = Vec::new();
        for n in 1..=12 {
            world.payer(n).await;
            ended.push(world.subscriber(100 + n, Status::Expiring, time::Duration::days(-1)).await);
            server.put_credential(TAG, ended.last().unwrap());
        }
        let limited = || world.pass().limits(Some(3), 100);
        let ran = limited().run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (4, 0));
        let planned = limited().effect(Effect::Plan).run(&[&server]).await;
        assert_eq!(planned.code(), 0, "who asks for a plan asks for no removal");
        assert!(planned.summary.warnings[0].contains("max_removals = 3"), "{:?}", planned.summary.warnings);
        let plan = planned.summary.plan.unwrap();

        // One that did not speak then.
        let ran = world.pass().limits(Some(3), 0).effect(Effect::Planned(plan.clone())).run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (4, 0), "{:?}", ran.summary);
        assert!(ran.only().refused_because.as_ref().unwrap().contains("max_removal_share = 0"));

        let ran = limited().effect(Effect::Planned(plan)).run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed), (0, 12), "{:?}", ran.summary);
        world.assert_at_rest(&[&server]).await;
    });
}

#[test]
fn a_node_that_cannot_be_planned_anew_is_left_alone_and_the_others_are_done() {
    db_test(async |db| {
        let world = World::new(db).await;
        let [up, down] = [Server::new("a"), Server::new("b")];
        let payer = world.payer(1).await;
        let plan = world.pass().plan(&[&up, &down]).await;
        assert_eq!(plan.len(), 2);
        down.fail(Kind::List, 1, Fault::Unreachable);
        let ran = world.pass().effect(Effect::Planned(plan)).run(&[&up, &down]).await;
        assert_eq!((ran.code(), ran.node("a").restored, ran.node("b").restored), (3, 1, 0), "{:?}", ran.summary);
        assert!(up.lets_in(TAG, payer.uuid) && !down.lets_in(TAG, payer.uuid));
    });
}

#[test]
fn what_is_replaced_for_its_uuid_alone_follows_from_its_cause() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = Server::new("de1");
        let payer = world.payer(1).await;
        let closed = world.subscriber(2, Status::Expiring, time::Duration::days(-1)).await;
        server.put_credential(TAG, &payer);
        server.put(TAG, &closed.email, payer.uuid);
        let plan = world.pass().plan(&[&server]).await;
        let actions: Vec<(Action, &str)> =
            plan.nodes[0].items.iter().map(|item| (item.action, item.reason.as_str())).collect();
        assert_eq!(actions, [(Action::Replace, "shared_uuid"), (Action::Remove, "closed")]);
        let ran = world.pass().effect(Effect::Planned(plan.clone())).run(&[&server]).await;
        assert_eq!((ran.code(), ran.only().removed, ran.only().replaced), (0, 1, 1), "{:?}", ran.summary);
        assert!(server.lets_in(TAG, payer.uuid));
        // Applied again there is nothing left to do, and nothing wrong with it.
        server.clear_calls();
        let ran = world.pass().effect(Effect::Planned(plan)).run(&[&server]).await;
        assert_eq!((ran.code(), server.changes()), (0, Vec::new()), "{:?}", ran.summary);
    });
}
