//! The books as a whole: what must hold whatever happened, and a digest to see whether anything happened.

use perennial_testkit::check_invariants;
use tokio_postgres::Client;

/// Rules beyond `sql/checks`: each names itself and selects what breaks it.
const RULES: &[(&str, &str)] = &[
    (
        "what came in is in wallets, in revenue or in adjustments",
        "SELECT 1 WHERE (SELECT coalesce(sum(balance_kopecks), 0) FROM accounts WHERE kind = 'wallet')
             + (SELECT coalesce(sum(CASE WHEN t.credit_account = 1 THEN t.amount_kopecks ELSE -t.amount_kopecks END), 0)
                FROM transfers t WHERE 1 IN (t.credit_account, t.debit_account))
             <> (SELECT coalesce(sum(CASE WHEN t.debit_account IN (2, 3) THEN t.amount_kopecks
                     ELSE -t.amount_kopecks END), 0)
                FROM transfers t WHERE t.debit_account IN (2, 3) OR t.credit_account IN (2, 3))",
    ),
    (
        "a payment was written down by who made it",
        "SELECT p.id FROM payments p WHERE NOT EXISTS (
             SELECT FROM audit_log a WHERE a.subscription_id = p.subscription_id AND a.at = p.created_at
                 AND a.action IN ('renewed', 'bought'))",
    ),
    (
        "a charge of renew has its receipt",
        "SELECT t.id FROM transfers t WHERE t.idempotency_key LIKE 'renew:%'
             AND NOT EXISTS (SELECT FROM notices n WHERE n.dedupe_key = 'renewed' || substr(t.idempotency_key, 6))",
    ),
];

/// Checks the rules above and all of `sql/checks`.
pub async fn assert_sound(client: &Client) {
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let rows = client.query_typed(&format!("SELECT count(*) FROM ({query}) q"), &[]).await;
        let rows: i64 = rows.unwrap_or_else(|error| panic!("{rule}: {error:?}"))[0].get(0);
        if rows > 0 {
            broken.push(format!("{rule}: {rows} rows break it"));
        }
    }
    assert!(broken.is_empty(), "the books are not sound:\n{}", broken.join("\n"));
    check_invariants(client).await;
}

/// A line a table: its name, its rows, and a hash of all that stands in them.
pub async fn digest(client: &Client) -> Vec<String> {
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    let mut lines = Vec::new();
    for row in client.query_typed(tables, &[]).await.unwrap() {
        let table: &str = row.get(0);
        let sql =
            format!("SELECT count(*), md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t");
        let row = client.query_typed_one(&sql, &[]).await.unwrap();
        lines.push(format!("{table} {} {}", row.get::<_, i64>(0), row.get::<_, &str>(1)));
    }
    lines
}

/// All that passes have an effect on, without the numbers that depend on the order of their work: equal for two passes
/// that did the same.
pub async fn effects(client: &Client) -> Vec<String> {
    let sql = "SELECT line FROM (
        SELECT concat_ws(' ', 'subscription', id, status, expires_at, auto_renew, last_auto_renewal_at, short_stage,
            short_balance_kopecks, short_price_kopecks) FROM subscriptions
        UNION ALL SELECT concat_ws(' ', 'wallet', telegram_id, balance_kopecks) FROM accounts WHERE kind = 'wallet'
        UNION ALL SELECT concat_ws(' ', 'transfer', idempotency_key, kind, debit_account, credit_account, amount_kopecks,
            created_at) FROM transfers
        UNION ALL SELECT concat_ws(' ', 'payment', p.subscription_id, p.tariff, p.period_start, p.period_end,
            p.amount_kopecks, t.idempotency_key, p.created_at, p.voided_at)
            FROM payments p LEFT JOIN transfers t ON t.id = p.transfer_id
        UNION ALL SELECT concat_ws(' ', 'notice', telegram_id, kind, dedupe_key, params, useless_after) FROM notices
        UNION ALL SELECT concat_ws(' ', 'parked', pass, subscription, tries, reason, next_try_at) FROM parked
        UNION ALL SELECT concat_ws(' ', 'audit', actor, action, telegram_id, subscription_id, before, after, reason)
            FROM audit_log
    ) l (line) ORDER BY line COLLATE \"C\"";
    let rows = client.query_typed(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Deadlocks that this database has ever had.
pub async fn deadlocks(client: &Client) -> i64 {
    let flush = "SELECT pg_stat_clear_snapshot(), deadlocks FROM pg_stat_database WHERE datname = current_database()";
    client.query_typed_one(flush, &[]).await.unwrap().get("deadlocks")
}
