//! Races: while a pass is between any two of its calls, somebody else acts on database and server. Nobody who has the
//! right is removed, not for a moment; whoever has it and was there is there afterwards; and one more pass finds both
//! sides as they must be.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod access_support;

use std::cell::RefCell;
use std::rc::Rc;

use access_support::{Call, Credential, GRACE, Kind, Server, TAG, World, end_sql, rights};
use perennial_testkit::builders::{Status, User};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;
use uuid::Uuid;

/// What somebody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A purchase by the customer whose unused credential is about to be retired; the bot adds after its commit.
    TakeUnused,
    /// The same, and the bot crashes before it adds.
    TakeUnusedAndCrash,
    /// A new customer; the bot adds after its commit.
    Buy,
    /// `expire-fast` ends the missing one, and sees to it that it is not there.
    EndMissing,
    /// `expire-fast` ends one that is there, and removes it.
    EndPresent,
    /// `expire-fast` ends the misfit, and removes it.
    EndMisfit,
    /// The missing one gets a new credential; the bot adds it.
    RotateMissing,
    /// One that is there gets a new credential; the bot adds it, the old one is left to be removed.
    RotatePresent,
    /// The end of the missing one comes, and nobody has ended it yet.
    PastItsEnd,
    /// The server forgets all.
    Restart,
}

const ACTS: [Act; 10] = [
    Act::TakeUnused,
    Act::TakeUnusedAndCrash,
    Act::Buy,
    Act::EndMissing,
    Act::EndPresent,
    Act::EndMisfit,
    Act::RotateMissing,
    Act::RotatePresent,
    Act::PastItsEnd,
    Act::Restart,
];

/// Customers of the scene, by number.
const PRESENT: i64 = 1;
const MISSING: i64 = 2;
const CLOSED: i64 = 3;
const UNUSED: i64 = 4;
const MISFIT: i64 = 5;
const SHARED: i64 = 6;
const NEW: i64 = 7;

/// Something of everything to do, and ripe; in a database from which the scene before is swept away.
async fn scene(world: &World) -> Rc<Server> {
    world
        .execute(
            "SET session_replication_role = replica;
             DELETE FROM subscriptions; DELETE FROM credentials; DELETE FROM orphans; DELETE FROM nodes;
             DELETE FROM accounts WHERE telegram_id IS NOT NULL; DELETE FROM users;
             SET session_replication_role = origin",
        )
        .await;
    let server = Server::new("de1");
    world.have_met(&[&server]).await;
    let shared = world.payer(SHARED).await;
    server.put_credential(TAG, &shared);
    for n in [PRESENT, 21, 22] {
        let there = world.payer(n).await;
        server.put_credential(TAG, &there);
    }
    let unused = world.unused(UNUSED).await;
    server.put_credential(TAG, &unused);
    server.put(TAG, "p.stranger", Uuid::new_v4());
    world.run(&[&server]).await;
    world.advance(GRACE).await;
    world.payer(MISSING).await;
    let closed = world.subscriber(CLOSED, Status::Expiring, time::Duration::days(-1)).await;
    server.put(TAG, &closed.email, shared.uuid);
    let misfit = world.payer(MISFIT).await;
    server.put(TAG, &misfit.email, Uuid::new_v4());
    User::new(NEW, 0).put(&world.client).await;
    server
}

async fn newest(client: &Client, n: i64) -> Credential {
    let sql = format!(
        "SELECT c.id, c.email, c.uuid, coalesce((SELECT max(s.id) FROM subscriptions s WHERE s.credential_id = c.id), 0)
         FROM credentials c WHERE c.telegram_id = {n} ORDER BY c.id DESC LIMIT 1"
    );
    let row = client.query_typed_one(&sql, &[]).await.unwrap();
    let subscription = perennial_core::ids::SubscriptionId(row.get(3));
    Credential { id: row.get(0), email: row.get(1), uuid: row.get(2), subscription }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Whom an act ends.
fn ended_by(act: Act) -> Option<i64> {
    match act {
        Act::EndMissing => Some(MISSING),
        Act::EndPresent => Some(PRESENT),
        Act::EndMisfit => Some(MISFIT),
        _ => None,
    }
}

async fn do_act(act: Act, client: &Client, server: &Server) {
    let key = Uuid::new_v4();
    let grant = |n: i64| format!("SELECT perennial_grant({n}, 'basic_1m', 30, '{key}')");
    let rotate = |n: i64| format!("SELECT perennial_rotate({n}, 'basic', '{key}')");
    match act {
        Act::TakeUnused | Act::TakeUnusedAndCrash => run(client, &grant(UNUSED)).await,
        Act::Buy => run(client, &grant(NEW)).await,
        Act::EndMissing | Act::EndPresent | Act::EndMisfit => {
            let ended = newest(client, ended_by(act).unwrap()).await;
            run(client, &end_sql(&ended)).await;
            server.drop_user(TAG, &ended.email);
        }
        Act::RotateMissing => run(client, &rotate(MISSING)).await,
        Act::RotatePresent => run(client, &rotate(PRESENT)).await,
        Act::PastItsEnd => {
            let row = newest(client, MISSING).await.subscription;
            run(client, &format!("UPDATE subscriptions SET expires_at = perennial_now() WHERE id = {row}")).await;
        }
        Act::Restart => server.restart(),
    }
    // The bot adds what it has committed.
    let bot_adds = match act {
        Act::TakeUnused => Some(UNUSED),
        Act::Buy => Some(NEW),
        Act::RotateMissing => Some(MISSING),
        Act::RotatePresent => Some(PRESENT),
        _ => None,
    };
    if let Some(n) = bot_adds {
        server.add_as_bot(TAG, &newest(client, n).await);
    }
}

/// Watches every removal: what it takes off must be closed, unknown, or about to be put there anew.
async fn guard(server: &Rc<Server>, client: &Rc<Client>) -> Rc<RefCell<Vec<String>>> {
    let complaints = Rc::new(RefCell::new(Vec::new()));
    let replaced = [newest(client, MISFIT).await.email, newest(client, SHARED).await.email];
    let (told, client) = (complaints.clone(), client.clone());
    server.watch(move |call: Call| {
        let (told, client, replaced) = (told.clone(), client.clone(), replaced.clone());
        Box::pin(async move {
            if call.kind != Kind::Remove || replaced.contains(&call.email) {
                return;
            }
            let sql = format!("SELECT count(*) FROM credentials WHERE email = '{}' AND closed_at IS NULL", call.email);
            let open: i64 = client.query_typed_one(&sql, &[]).await.unwrap().get(0);
            if open > 0 {
                told.borrow_mut().push(call.email);
            }
        })
    });
    complaints
}

/// One act at the `n`-th call of a pass, or of two at once. Answers whether the pass came that far.
async fn race(world: &World, act: Act, n: usize, copies: usize) -> bool {
    let what = format!("{act:?} at call {n} of {copies}");
    let server = scene(world).await;
    let present = server.emails(TAG);
    let complaints = guard(&server, &world.client).await;
    let (actor, on) = (world.client.clone(), server.clone());
    server.at_call(n, move || Box::pin(async move { do_act(act, &actor, &on).await }));
    let ran = if copies == 1 {
        vec![world.run(&[&server]).await]
    } else {
        let both = [&server];
        let (one, other) = futures_util::join!(world.run(&both), world.run(&both));
        vec![one, other]
    };
    for ran in &ran {
        assert!([0, 3].contains(&ran.code()), "{what}: {:?}", ran.summary);
    }
    assert_eq!(*complaints.borrow(), [] as [String; 0], "{what}: removed while open");
    if act != Act::Restart {
        for right in rights(&world.client, world.now()).await {
            let was_there = present.contains(&right.email);
            assert!(!was_there || server.lets_in(TAG, right.uuid), "{what}: {} was there and is cut", right.email);
        }
    }
    let happened = server.has_happened();
    if let Some(ended) = ended_by(act).filter(|_| happened) {
        let ended = newest(&world.client, ended).await.email;
        assert!(!server.emails(TAG).contains(&ended), "{what}: {ended} was put there after its end and left");
    }
    let ran = world.run(&[&server]).await;
    assert_eq!(ran.code(), 0, "{what}: {:?}", ran.summary);
    world.assert_both_sides_agree(&server, &what).await;
    world.assert_at_rest(&[&server]).await;
    happened
}

async fn race_everywhere(db: TestDb, acts: &[Act], copies: usize) {
    let world = World::new(db).await;
    for act in acts {
        let mut n = 0;
        while race(&world, *act, n, copies).await {
            n += copies;
        }
        assert!(n > 15, "{act:?}: a pass of {n} calls has not done much");
    }
}

#[test]
fn whoever_acts_between_any_two_calls_of_a_pass_finds_nobody_cut() {
    db_test(async |db| race_everywhere(db, &ACTS[..5], 1).await);
}

#[test]
fn whoever_else_acts_between_any_two_calls_of_a_pass_finds_nobody_cut() {
    db_test(async |db| race_everywhere(db, &ACTS[5..], 1).await);
}

#[test]
fn two_passes_at_once_and_somebody_who_acts_cut_nobody() {
    db_test(async |db| {
        race_everywhere(db, &[Act::TakeUnused, Act::EndMissing, Act::RotatePresent, Act::Restart], 2).await;
    });
}

/// Locks (docs/access-protocol.md): a purchase that holds the unused credential and has not committed yet.
#[test]
fn a_credential_that_a_purchase_holds_is_neither_retired_nor_removed() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        let server = scene(&world).await;
        let buyer = db.client().await;
        run(&buyer, "BEGIN; SELECT perennial_grant(4, 'basic_1m', 30, 'held')").await;
        let unused = newest(&world.client, UNUSED).await;
        let ran = world.run(&[&server]).await;
        assert_eq!(ran.code(), 0, "{:?}", ran.summary);
        assert!(server.lets_in(TAG, unused.uuid));
        run(&buyer, "COMMIT").await;
        world.run(&[&server]).await;
        assert_eq!(newest(&buyer, UNUSED).await.email, unused.email, "the buyer has the credential that was there");
        assert!(server.lets_in(TAG, unused.uuid));
        world.assert_at_rest(&[&server]).await;
    });
}

/// Locks (docs/access-protocol.md): the row was attached after the pass had listed, and before it locked.
#[test]
fn a_credential_that_was_bought_after_the_list_is_kept() {
    db_test(async |db| {
        let world = World::new(db).await;
        let server = scene(&world).await;
        let unused = newest(&world.client, UNUSED).await;
        let buyer = world.client.clone();
        // The first call after the comparison.
        server.at_call(1, move || {
            Box::pin(async move { run(&buyer, "SELECT perennial_grant(4, 'basic_1m', 30, 'after the list')").await })
        });
        world.run(&[&server]).await;
        assert!(server.has_happened() && server.lets_in(TAG, unused.uuid));
        assert_eq!(newest(&world.client, UNUSED).await.email, unused.email);
    });
}

/// A bot that has added before its commit, commits at the last moment: after the pass had compared.
#[test]
fn a_stranger_who_becomes_known_after_the_comparison_stays() {
    for known_by in ["email", "uuid"] {
        db_test(async |db| {
            let world = World::new(db).await;
            let server = scene(&world).await;
            let uuid = server.uuid_of(TAG, "p.stranger");
            let email = if known_by == "email" { "p.stranger" } else { "p.another" };
            let committed = format!(
                "INSERT INTO credentials (telegram_id, email, uuid) VALUES ({NEW}, '{email}', '{uuid}');
                 SELECT perennial_grant({NEW}, 'basic_1m', 30, 'at the last moment')"
            );
            let bot = world.client.clone();
            server.at_call(1, move || Box::pin(async move { run(&bot, &committed).await }));
            let ran = world.run(&[&server]).await;
            assert_eq!(ran.code(), 0, "{:?}", ran.summary);
            assert!(server.has_happened() && server.lets_in(TAG, uuid), "known by {known_by}, and cut");
            for _ in 0..2 {
                world.run(&[&server]).await;
                assert!(server.lets_in(TAG, uuid), "known by {known_by}, and cut");
            }
            world.assert_both_sides_agree(&server, known_by).await;
            world.assert_at_rest(&[&server]).await;
        });
    }
}

/// The weaker promise: a bot that adds before it commits, and takes its time.
#[test]
fn a_user_that_is_added_before_its_commit_has_the_grace_for_it() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        let server = scene(&world).await;
        world.run(&[&server]).await;
        let bot = db.client().await;
        run(&bot, "BEGIN; SELECT perennial_grant(7, 'basic_1m', 30, 'slow')").await;
        let new = newest(&bot, NEW).await;
        server.put_credential(TAG, &new);
        for _ in 0..5 {
            world.run(&[&server]).await;
            world.advance(GRACE / 6).await;
        }
        run(&bot, "COMMIT").await;
        world.advance(GRACE).await;
        world.run(&[&server]).await;
        assert!(server.lets_in(TAG, new.uuid));
        world.assert_at_rest(&[&server]).await;
    });
}
