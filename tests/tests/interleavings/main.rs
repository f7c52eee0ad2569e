//! Every await point of every pass that has a part in access, by number: each message to the database and each call to a
//! server. There somebody else acts, a process dies, or one is suspended and wakes up late; then the pass goes on.
//!
//! Whatever is taken off a server by us must be closed, at every moment and also by requests that arrive late. At rest,
//! after one ordinary pass of each program: entitled ⇔ present on every inbound of its group; closed ⇒ absent; the UUID of
//! whoever kept his right is the one he had; no active row on a credential that is not open (`db_test` looks at that, too).
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

#[path = "../access_support/mod.rs"]
mod access_support;
mod copies;
mod scene;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use access_support::gate::Gate;
use access_support::{Fault, Kind, MINUTE, NOW, TAG, World, rights};
use perennial_core::ids::SubscriptionId;
use perennial_testkit::builders::set_bot_clock;
use perennial_testkit::{TestDb, db_test_unchecked};
use scene::{ACCIDENTS, Act, BOTS, MISSING, MORE_BOTS, PASSES, PAYER, Scene, Subject};
use tokio_postgres::Client;
use uuid::Uuid;

/// Where it is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Before its nth message to the database.
    Message(usize),
    /// When its nth call to the first server has arrived, before it is executed.
    CallOf(usize),
}

/// Until somebody waits for a row that somebody holds.
async fn somebody_waits(watcher: &Client) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if watcher.query_typed_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
    }
}

/// Runs a pass up to a point, lets somebody act there, lets it go on, and looks at what comes to rest. Answers whether the
/// pass came that far, and what it was about to say there.
async fn interleave(world: &Rc<World>, actor: &Rc<Client>, subject: Subject, act: Act, point: Point) -> Option<String> {
    let (scene, before) = set_scene(world).await;
    let reached = match point {
        Point::Message(n) => hold_at_message(&scene, actor, subject, act, n).await,
        Point::CallOf(n) => hold_at_call(&scene, actor, subject, act, n).await,
    };
    let what = format!("{subject:?}, {act:?} at {point:?} ({reached:?})");
    scene.come_to_rest(act, &what).await;
    scene.assert_rested(&before, act, &what).await;
    reached
}

/// A scene, and the UUIDs of those who have a right in it.
async fn set_scene(world: &Rc<World>) -> (Rc<Scene>, Vec<(i64, Uuid)>) {
    world.clock.advance(MINUTE);
    set_bot_clock(&world.client, world.now()).await;
    let scene = Rc::new(Scene::set(world).await);
    let mut before = Vec::new();
    for n in [PAYER, MISSING] {
        before.push((n, world.credential(n, SubscriptionId(0)).await.uuid));
    }
    (scene, before)
}

async fn hold_at_message(
    scene: &Rc<Scene>,
    actor: &Rc<Client>,
    subject: Subject,
    act: Act,
    n: usize,
) -> Option<String> {
    let (gate, held) = Gate::before(&scene.world.db, n);
    let pass = scene.run(subject, Some(gate.config(&scene.world.db)));
    tokio::pin!(pass);
    let reached = tokio::select! {
        () = &mut pass => None,
        reached = held.reached => reached.ok(),
    };
    let reached = reached?;
    if act == Act::Die {
        // Its requests to the database go with it.
        return Some(reached);
    }
    let event = scene.act(act, actor);
    tokio::pin!(event);
    let done = tokio::select! {
        () = &mut event => true,
        // What it holds is waited for: it has to go on first.
        () = somebody_waits(&scene.world.client) => false,
    };
    held.go.send(()).unwrap();
    if done {
        pass.await;
    } else {
        futures_util::join!(pass, event);
    }
    Some(reached)
}

async fn hold_at_call(scene: &Rc<Scene>, actor: &Rc<Client>, subject: Subject, act: Act, n: usize) -> Option<String> {
    let server = scene.servers[0].clone();
    let (reached, when_reached) = tokio::sync::oneshot::channel();
    let (there, by) = (scene.clone(), actor.clone());
    server.at_call(n, move || {
        Box::pin(async move {
            reached.send(()).unwrap();
            match act {
                Act::Die => std::future::pending().await,
                act => there.act(act, &by).await,
            }
        })
    });
    let pass = scene.run(subject, None);
    tokio::pin!(pass);
    let came = tokio::select! {
        () = &mut pass => false,
        Ok(()) = when_reached => {
            if act != Act::Die {
                pass.await;
            }
            true
        }
    };
    // It will not happen any more.
    let happened = server.has_happened();
    (came || happened).then(|| format!("call {n}"))
}

/// Every twelfth point, each act beginning with another one; all of them with `PERENNIAL_SOAK`: `make soak`.
fn stride() -> usize {
    if std::env::var_os("PERENNIAL_SOAK").is_some() { 1 } else { 12 }
}

/// The messages of an undisturbed pass at which it is held up: each that follows another one for the first time.
async fn messages(world: &Rc<World>, subject: Subject) -> Vec<usize> {
    world.advance(MINUTE).await;
    let scene = Scene::set(world).await;
    let (gate, _held) = Gate::before(&world.db, usize::MAX);
    scene.run(subject, Some(gate.config(&world.db))).await;
    let passed = gate.passed();
    let mut met = std::collections::BTreeSet::new();
    let first = |n: &usize| met.insert((n.checked_sub(1).map(|before| &passed[before]), &passed[*n]));
    (0..passed.len()).filter(first).collect()
}

async fn everywhere(db: TestDb, subject: Subject, acts: &[Act], fewest: usize) {
    let actor = Rc::new(db.client().await);
    let world = Rc::new(World::new(db).await);
    let messages = messages(&world, subject).await;
    let stride = stride();
    for (turn, act) in acts.iter().enumerate() {
        let mut points = 0;
        for n in messages.iter().skip(turn % stride).step_by(stride) {
            points += usize::from(interleave(&world, &actor, subject, *act, Point::Message(*n)).await.is_some());
        }
        let mut n = turn % stride;
        while interleave(&world, &actor, subject, *act, Point::CallOf(n)).await.is_some() {
            n += stride;
            points += 1;
        }
        println!("{subject:?}, {act:?}: {points} points");
        assert!(points * stride >= fewest, "{subject:?}, {act:?}: a pass of {points} points has not done much");
    }
}

#[test]
fn bots_act_at_every_point_of_expire_fast() {
    db_test_unchecked(async |db| everywhere(db, Subject::Expire, &BOTS, 15).await);
}

#[test]
fn other_bots_act_at_every_point_of_expire_fast() {
    db_test_unchecked(async |db| everywhere(db, Subject::Expire, &MORE_BOTS, 15).await);
}

#[test]
fn passes_act_at_every_point_of_expire_fast() {
    db_test_unchecked(async |db| everywhere(db, Subject::Expire, &PASSES, 15).await);
}

#[test]
fn accidents_happen_at_every_point_of_expire_fast() {
    db_test_unchecked(async |db| everywhere(db, Subject::Expire, &ACCIDENTS, 15).await);
}

#[test]
fn anybody_acts_at_every_point_of_ending_trials() {
    let acts: Vec<Act> = [&BOTS[..], &MORE_BOTS, &PASSES, &ACCIDENTS].concat();
    db_test_unchecked(async |db| everywhere(db, Subject::EndTrials, &acts, 5).await);
}

#[test]
fn bots_act_at_every_point_of_reconcile() {
    let acts: Vec<Act> = [BOTS, MORE_BOTS].concat();
    db_test_unchecked(async |db| everywhere(db, Subject::Reconcile, &acts, 10).await);
}

#[test]
fn passes_and_accidents_at_every_point_of_reconcile() {
    let acts: Vec<Act> = [&PASSES[..], &ACCIDENTS].concat();
    db_test_unchecked(async |db| everywhere(db, Subject::Reconcile, &acts, 10).await);
}

/// A removal and an addition that arrive long after everybody has given them up.
#[test]
fn requests_that_arrive_late_hurt_nobody_and_are_made_good() {
    db_test_unchecked(async |db| {
        let actor = db.client().await;
        let world = Rc::new(World::new(db).await);
        for (subject, kind) in
            [(Subject::Expire, Kind::Remove), (Subject::Reconcile, Kind::Add), (Subject::Reconcile, Kind::Remove)]
        {
            let scene = Scene::set(&world).await;
            scene.servers[0].fail(kind, 1, Fault::Late);
            scene.run(subject, None).await;
            scene.servers[0].heal();
            scene.act(Act::AnHourLater, &actor).await;
            assert_eq!(scene.servers[0].deliver_late(), 1, "{kind:?}");
            // Before anything is repaired: whoever has a right and was added is there.
            for right in rights(&world.client, world.now()).await {
                assert!(scene.servers[0].lets_in(TAG, right.uuid), "{subject:?} {kind:?}: {} is cut", right.email);
            }
            scene.come_to_rest(Act::AnHourLater, "late").await;
            scene.assert_rested(&[], Act::AnHourLater, "late").await;
        }
        assert!(world.now() > NOW && Arc::strong_count(&world.clock) > 0);
    });
}
