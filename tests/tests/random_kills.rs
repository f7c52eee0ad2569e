//! A living service whose passes are killed at random moments: at each quiet point the books are sound, everybody
//! entitled is on every server, and nobody else.
//!
//! `PERENNIAL_SOAK_SECONDS` says how long (without it 20, in CI 120; hours by `make soak`), `PERENNIAL_SEED` which course
//! it takes.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

mod fire_support;
#[path = "support/random.rs"]
#[allow(dead_code, unreachable_pub)] // shared with others
mod random;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fire_support::{PASSES, Service, TAG};
use perennial_testkit::builders::Tariff;
use perennial_testkit::db_test;
use random::{Random, seed};
use tokio_postgres::Client;

const USERS: i64 = 60;
/// A day, and renewed as soon as it is bought: in seconds no more than one period can be due.
const TARIFF: Tariff = Tariff::days("daily", 1, 500);
/// Programs under way at once.
const LANES: u64 = 3;

#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    calls: usize,
    runs: usize,
    kills: usize,
}

fn arguments(pass: &str, rows: &'static str, workers: &'static str) -> Vec<&'static str> {
    let mut all = vec!["-q", "-q", "--max-seconds", "20", "--batch-size", rows, "--workers", workers];
    match pass {
        "renew" => all.extend(["--window", "25h"]),
        "expire-fast" => all.extend(["--max-ends-share", "1"]),
        "reconcile-xray" => all.extend(["--max-removal-share", "1"]),
        _ => {}
    }
    all
}

/// What a customer does next. Refusals (no money, no such subscription, trial used) are a customer's lot.
async fn act(service: &Service, client: &Client, random: &mut Random, nth: usize) {
    let user = random.between(1, USERS);
    let own =
        format!("(SELECT id FROM subscriptions WHERE telegram_id = {user} AND status = 'active' ORDER BY id LIMIT 1)");
    let call = match random.between(0, 9) {
        0 | 1 => format!("perennial_top_up({user}, {}, 'k{nth}')", random.between(1, 2_000)),
        2..=4 => format!("perennial_buy({user}, 'daily', true, 'k{nth}')"),
        5 => format!("perennial_start_trial({user}, 'daily', 1, 'k{nth}')"),
        6 | 7 => format!("perennial_cancel({own}, 'k{nth}')"),
        8 => format!("perennial_rotate({user}, 'basic', 'k{nth}')"),
        _ => format!(
            "perennial_refund((SELECT max(p.id) FROM payments p JOIN subscriptions s ON s.id = p.subscription_id
                WHERE s.telegram_id = {user} AND p.voided_at IS NULL), 'asked for', 'k{nth}')"
        ),
    };
    if let Err(error) = client.batch_execute(&format!("SELECT {call}")).await {
        let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
        assert!(code.starts_with("PK") || code == "40P01", "{call}: {error:?}");
        return;
    }
    // After its commit a bot adds the user by itself, on some servers, sometimes late, sometimes never.
    if random.between(0, 1) == 0 {
        let sql = format!("SELECT email, uuid FROM credentials WHERE telegram_id = {user} AND closed_at IS NULL");
        for row in client.query_typed(&sql, &[]).await.unwrap() {
            let node = &service.nodes[usize::from(random.between(0, 1) == 0)];
            node.put_user(TAG, row.get(0), row.get(1), "");
        }
    }
}

fn kill_about(service: &Service, mut random: Random, goes_on: &AtomicBool) -> (usize, usize) {
    let (mut runs, mut kills) = (0, 0);
    while goes_on.load(Ordering::SeqCst) {
        let pass = PASSES[usize::try_from(random.between(0, 3)).unwrap()];
        let rows = ["1", "3", "100"][usize::try_from(random.between(0, 2)).unwrap()];
        let workers = ["1", "3"][usize::try_from(random.between(0, 1)).unwrap()];
        let running = service.start(pass, &arguments(pass, rows, workers));
        std::thread::sleep(Duration::from_millis(random.between(5, 250).unsigned_abs()));
        runs += 1;
        let ended = running.kill();
        kills += usize::from(ended.was_killed());
        assert!(ended.was_killed() || matches!(ended.code(), Some(0 | 3 | 75)), "{pass}: {ended:?}");
    }
    (runs, kills)
}

/// Everybody lets go, each pass runs undisturbed; then all must be as it should.
async fn rest(service: &Service, context: &str) {
    service.leases_end().await;
    // Twice: who is retired on one server's account goes from the other's in the next pass.
    for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
        let ended = service.run(pass, &arguments(pass, "100", "1"));
        assert_eq!(ended.code(), Some(0), "{context}: {pass}: {ended:?}");
    }
    assert_eq!(service.drift().await, [""; 0], "{context}");
    let verified = fire_support::end(service.command("admin").arg("verify"));
    assert_eq!(verified.code(), Some(0), "{context}: {verified:?}");
    let sql = "SELECT count(*) FROM notices WHERE status NOT IN ('sent', 'dropped')";
    assert_eq!(service.number(sql).await, 0, "{context}: notices were left");
    let sql = "SELECT count(*) FROM subscriptions s JOIN accounts a USING (telegram_id) WHERE s.status = 'active'
        AND s.auto_renew AND s.source = 'payment' AND a.balance_kopecks >= 500 AND s.expires_at <= now() + interval '24 h'";
    assert_eq!(service.number(sql).await, 0, "{context}: due, funded and not renewed");
}

/// What must arrive has arrived, and no oftener than there were kills that may have doubled it.
async fn assert_told(service: &Service, kills: usize) {
    let messages = service.telegram.messages().len();
    let sent = usize::try_from(service.number("SELECT count(*) FROM notices WHERE status = 'sent'").await).unwrap();
    assert!(messages >= sent, "{sent} notices are marked as sent, {messages} messages came");
    // A second's worth is under way at most.
    assert!(messages <= sent + kills * 25, "{messages} messages for {sent} notices and {kills} kills");
    println!("{messages} messages for {sent} notices");
    let must = "SELECT count(*) FROM notices WHERE status <> 'sent'
        AND kind IN ('renewed', 'trial_over', 'subscription_over')
        AND last_error = 'its sender vanished: sent or not'";
    assert_eq!(service.number(must).await, 0, "a receipt or an ending was given up for a kill");
}

#[test]
fn passes_killed_at_random_leave_a_service_that_the_next_ones_set_right() {
    let seed = seed();
    let usual = if std::env::var_os("CI").is_some_and(|value| value == "true") { 120 } else { 20 };
    let seconds = std::env::var("PERENNIAL_SOAK_SECONDS").map_or(usual, |text| text.parse().unwrap());
    println!("PERENNIAL_SEED={seed} for {seconds} s");
    db_test(async |db| {
        let service = Service::of(&db).await;
        TARIFF.put(&service.client).await;
        service.execute(&format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {USERS})")).await;
        // Between two quiet points; the quiet itself takes as long.
        let round = Duration::from_secs((seconds / 8).clamp(2, 15));
        let mut random = Random::from_seed(seed);
        let mut tally = Tally::default();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let goes_on = AtomicBool::new(true);
            std::thread::scope(|scope| {
                let lanes: Vec<_> = (1..=LANES)
                    .map(|lane| {
                        let (service, goes_on) = (&service, &goes_on);
                        let random = Random::from_seed(seed ^ (tally.rounds as u64) << 8 ^ lane);
                        scope.spawn(move || kill_about(service, random, goes_on))
                    })
                    .collect();
                let (url, service, calls, random) = (db.url(), &service, &mut tally.calls, &mut random);
                // A runtime of its own: this one is held by the lanes' end.
                scope
                    .spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        runtime.block_on(async {
                            let client = fire_support::connect(url).await;
                            let began = Instant::now();
                            while began.elapsed() < round {
                                *calls += 1;
                                act(service, &client, random, *calls).await;
                                tokio::time::sleep(Duration::from_millis(3)).await;
                            }
                        });
                    })
                    .join()
                    .unwrap();
                goes_on.store(false, Ordering::SeqCst);
                for lane in lanes {
                    let (runs, kills) = lane.join().unwrap();
                    tally.runs += runs;
                    tally.kills += kills;
                }
            });
            tally.rounds += 1;
            rest(&service, &format!("PERENNIAL_SEED={seed}, round {}", tally.rounds)).await;
        }
        assert_told(&service, tally.kills).await;
        let charges = service.number("SELECT count(*) FROM transfers WHERE kind = 'charge'").await;
        let renewals = service.number("SELECT count(*) FROM transfers WHERE idempotency_key LIKE 'renew:%'").await;
        let retired = service.number("SELECT count(*) FROM credentials WHERE retired_at IS NOT NULL").await;
        println!(
            "{tally:?}; {charges} charges, {renewals} of them by renew; {retired} credentials retired; 0 violations"
        );
        assert!(tally.kills > 0 && renewals > 0 && retired > 0, "nothing happened");
    });
}
