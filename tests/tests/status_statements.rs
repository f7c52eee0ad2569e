//! What `perennial status` asks stays quick in a large book: index ranges, and one look at every wallet.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_testkit::db_test_unchecked;
use support::World;
use support::plans::{is_seq_scan, nodes, plan};
use support::statements;

/// A large book, written without triggers: two years of transfers, months of runs, and of the rest what takes space.
const LARGE_BOOK: &str = "
    SET session_replication_role = replica;
    INSERT INTO users (telegram_id) SELECT generate_series(1, 60000);
    INSERT INTO accounts (kind, telegram_id, balance_kopecks) SELECT 'wallet', telegram_id, 0 FROM users;
    INSERT INTO credentials (id, telegram_id, email, closed_at, retired_at)
    SELECT telegram_id, telegram_id, 'p.' || telegram_id, c.closed, c.closed
    FROM users, LATERAL (SELECT CASE WHEN telegram_id % 10 > 0 THEN now() END AS closed) c;
    INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, starts_at, expires_at, anchor_day, auto_renew)
    SELECT n, n, 'payment', 'basic_1m', CASE WHEN n % 10 = 0 THEN n END, CASE WHEN n % 10 = 0 THEN 'active' ELSE 'expired' END,
        now() - interval '30 days', now() + n * interval '40 seconds', 1, true
    FROM (SELECT telegram_id AS n FROM users) u;
    INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
    SELECT 'renew:' || n, 'charge', 1001 + n, 1, 19900, now() - interval '720 days' + n * interval '311 seconds'
    FROM generate_series(1, 200000) AS n;
    SELECT turnovers_rebuild();
    INSERT INTO notices (telegram_id, kind, dedupe_key, status, sent_at)
    SELECT 1, 'renewed', n, 'sent', now() FROM generate_series(1, 60000) AS n;
    INSERT INTO runs (run_id, pass, version, started_at)
    SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'renew' ELSE 'expire-fast' END, '0', now() - n * interval '5 minutes'
    FROM generate_series(1, 60000) AS n;
    SET session_replication_role = origin;
    VACUUM ANALYZE;
    SET plan_cache_mode = force_generic_plan";

#[test]
fn nothing_but_the_wallets_is_read_whole() {
    db_test_unchecked(async |db| {
        let world = World::new(db).await;
        for statement in LARGE_BOOK.split(';') {
            world.execute(statement).await;
        }
        for (name, small) in [
            ("status_runs", &[][..]),
            // One pass of several may have parked much; a hash of them is right for a count.
            ("status_due", &["parked"]),
            ("status_rights", &[]),
            ("status_wallets", &["accounts"]),
            ("status_money", &[]),
            ("status_outbox", &[]),
            ("status_nodes", &["nodes", "orphans", "removals"]),
            ("status_parked", &["parked"]),
            ("status_run_days", &[]),
            ("status_forecast", &[]),
        ] {
            let plan = plan(&world.client, &statements::named(name)).await;
            assert!(nodes(&plan).iter().all(|node| !is_seq_scan(node, small)), "{name}: {plan:#}");
        }
    });
}
