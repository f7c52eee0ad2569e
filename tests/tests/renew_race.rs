//! Eight passes at once over ten thousand due rows, while bots top up, buy and cancel: nobody waits for a pass, no
//! deadlock, one effect a row, every kopeck accounted for.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use perennial_core::ids::SubscriptionId;
use perennial_core::money::Kopecks;
use perennial_testkit::builders::{Bot, Crowd};
use perennial_testkit::{TestDb, db_test};
use renew::Summary;
use support::books::{assert_sound, deadlocks};
use support::random::{Random, seed};
use support::{BASIC, HOUR, NOW, PRICE, Pass, World, telegram_id};
use tokio_postgres::Client;

const ROWS: i64 = 10_000;
const PASSES: usize = 8;
/// Calls of each bot.
const CALLS: i64 = 600;

/// How a bot goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Tops up and buys, each call a transaction of its own.
    Plain,
    /// Locks the user's row first, as bots in other languages do, then buys.
    UserFirst,
    /// Locks the wallet first, then tops up and buys.
    WalletFirst,
    /// Ends subscriptions.
    Cancels,
}

const BOTS: [Manner; 4] = [Manner::Plain, Manner::UserFirst, Manner::WalletFirst, Manner::Cancels];

async fn act(client: &Client, manner: Manner, random: &mut Random, call: i64) {
    let user = random.between(1, ROWS);
    let bot = Bot(client);
    let key = format!("{manner:?} {call}");
    // Another transaction may have it: then the bot waits, which is its right. It is the pass that must not.
    let outcome = match manner {
        Manner::Plain => {
            let amount = Kopecks(random.between(1, 2 * PRICE));
            bot.top_up(telegram_id(user), amount, &format!("top up {key}")).await.unwrap();
            bot.buy(telegram_id(user), BASIC.code, true, &key).await.map(drop)
        }
        Manner::UserFirst | Manner::WalletFirst => {
            let lock = if manner == Manner::UserFirst {
                format!("BEGIN; SELECT FROM users WHERE telegram_id = {user} FOR UPDATE")
            } else {
                format!("BEGIN; SELECT FROM accounts WHERE telegram_id = {user} FOR UPDATE")
            };
            client.batch_execute(&lock).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            bot.top_up(telegram_id(user), Kopecks(PRICE / 2), &format!("top up {key}")).await.unwrap();
            client.batch_execute("SAVEPOINT before_buying").await.unwrap();
            let outcome = bot.buy(telegram_id(user), BASIC.code, true, &key).await.map(drop);
            let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK TO before_buying; COMMIT" };
            client.batch_execute(end).await.unwrap();
            outcome
        }
        Manner::Cancels => bot.cancel(SubscriptionId(user), &key).await.map(drop),
    };
    if let Err(error) = outcome {
        let code = error.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("PK002"), "only a lack of money may refuse: {error:?}");
    }
}

fn run_bot(db: &TestDb, manner: Manner, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = db.client().await;
        let mut random = Random::from_seed(seed);
        for call in 0..CALLS {
            act(&client, manner, &mut random, call).await;
        }
    });
}

/// Passes one after the other until no bot is at work any more.
fn run_passes(pass: &Pass, bots_at_work: &AtomicUsize) -> Vec<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut summaries = Vec::new();
    loop {
        let bots = bots_at_work.load(Ordering::SeqCst);
        summaries.push(runtime.block_on(pass.clone().run()).summary);
        if bots == 0 {
            return summaries;
        }
    }
}

#[test]
fn eight_passes_and_four_bots_at_once_charge_every_due_row_once_and_lose_no_kopeck() {
    let seed = seed();
    println!("PERENNIAL_SEED={seed}");
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        // A tenth cannot pay before a bot tops them up.
        for (first, size, balance) in [(1, 9_000, PRICE), (9_001, 1_000, 0)] {
            let end = NOW - HOUR / 8;
            let crowd =
                Crowd { first, size, tariff: BASIC.code, first_end: end, spread: HOUR * 6, balance: Kopecks(balance) };
            crowd.put(&world.client).await;
        }
        world.execute("CREATE TABLE ends_before AS SELECT id, expires_at FROM subscriptions; ANALYZE").await;
        let deadlocks_before = deadlocks(&world.client).await;

        let together = Barrier::new(PASSES + BOTS.len());
        let bots_at_work = AtomicUsize::new(BOTS.len());
        let began = Instant::now();
        let summaries: Vec<Vec<Summary>> = thread::scope(|scope| {
            for (number, manner) in (1..).zip(BOTS) {
                let (db, together, bots_at_work) = (&db, &together, &bots_at_work);
                scope.spawn(move || {
                    together.wait();
                    run_bot(db, manner, seed ^ number);
                    bots_at_work.fetch_sub(1, Ordering::SeqCst);
                });
            }
            let passes: Vec<_> = (0..PASSES)
                .map(|number| {
                    let mut pass = Pass::over(&db, world.clock.clone()).batches_of([50, 7, 100, 200][number % 4]);
                    pass.pool_size = 1;
                    let (together, bots_at_work) = (&together, &bots_at_work);
                    scope.spawn(move || {
                        together.wait();
                        run_passes(&pass, bots_at_work)
                    })
                })
                .collect();
            passes.into_iter().map(|pass| pass.join().unwrap()).collect()
        });
        let elapsed = began.elapsed();
        let quiet = world.run().await.summary;
        assert_eq!((quiet.left, quiet.busy, quiet.failed, quiet.parked), (0, 0, 0, 0), "{quiet:?}");

        let all: Vec<&Summary> = summaries.iter().flatten().chain([&quiet]).collect();
        let renewed: u64 = all.iter().map(|summary| summary.renewed).sum();
        let charged: i64 = all.iter().map(|summary| summary.charged.0).sum();
        let failed: u64 = all.iter().map(|summary| summary.failed + summary.parked).sum();
        assert_eq!(failed, 0, "nothing in a race is a row's fault");
        let in_ledger = "SELECT count(*) FROM transfers WHERE idempotency_key LIKE 'renew:%'";
        assert_eq!(u64::try_from(world.number(in_ledger).await).unwrap(), renewed, "each charge was reported once");
        let sum = "SELECT coalesce(sum(amount_kopecks), 0)::bigint FROM transfers WHERE idempotency_key LIKE 'renew:%'";
        assert_eq!(world.number(sum).await, charged);
        assert_eq!(deadlocks(&world.client).await, deadlocks_before, "deadlocks");
        assert_every_end_was_paid_for(&world).await;
        assert_nothing_due_was_skipped(&world).await;
        assert_sound(&world.client).await;

        let at_work = summaries.iter().filter(|passes| passes.iter().any(|summary| summary.renewed > 0)).count();
        assert!(at_work > 1, "no race: one pass did it all");
        let busy: u64 = all.iter().map(|summary| summary.busy).sum();
        println!(
            "{} passes renewed {renewed} rows in {elapsed:?}; {at_work} of {PASSES} had a share; left to the next: {busy}",
            all.len()
        );
    });
}

/// The end of every row is that of its last paid period, or of its cancellation, or the first one.
async fn assert_every_end_was_paid_for(world: &World) {
    let odd = "SELECT count(*) FROM subscriptions s JOIN ends_before b ON b.id = s.id
               LEFT JOIN LATERAL (SELECT max(period_end) AS paid FROM payments p WHERE p.subscription_id = s.id) p ON true
               WHERE s.auto_renew AND s.expires_at <> coalesce(p.paid, b.expires_at)";
    assert_eq!(world.number(odd).await, 0, "ends that nobody paid for, or payments that moved no end");
    let cancelled = "SELECT count(*) FROM subscriptions WHERE NOT auto_renew";
    assert!(world.number(cancelled).await > 100, "nobody cancelled");
}

/// What is still due now has no money.
async fn assert_nothing_due_was_skipped(world: &World) {
    let funded = format!(
        "SELECT count(*) FROM subscriptions s JOIN accounts a ON a.telegram_id = s.telegram_id
         WHERE s.status = 'active' AND s.auto_renew AND a.balance_kopecks >= {PRICE}
             AND s.expires_at > perennial_now() - interval '15 minutes'
             AND s.expires_at <= perennial_now() + interval '6 hours'"
    );
    assert_eq!(world.number(&funded).await, 0, "due, funded and not renewed");
}
