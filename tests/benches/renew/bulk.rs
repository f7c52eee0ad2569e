//! The same work as one data-modifying statement a batch: what PostgreSQL itself takes for these rows in these tables.
//!
//! It decides nothing that a person could read, compares nothing afterwards and knows no row that fails, but it writes
//! the same rows, under the same triggers, with the same locks.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use perennial_core::time::Timestamp;
use tokio_postgres::{Client, Statement};

use crate::compare::Due;
use crate::space::Db;

const RENEW: &str = "WITH due AS MATERIALIZED (
    SELECT s.id, s.telegram_id, s.tariff, s.expires_at AS period_start, w.id AS wallet, w.balance_kopecks AS balance,
        period_end(s.expires_at, t.period_unit, t.period_count, s.anchor_day) AS period_end,
        price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS price,
        s.id || ':' || (extract(epoch FROM s.expires_at) * 1000000)::bigint || coalesce(':' || nullif((
            SELECT count(*) FROM payments v
            WHERE v.subscription_id = s.id AND v.period_start = s.expires_at AND v.voided_at IS NOT NULL
        ), 0) + 1, '') AS period
    FROM subscriptions s
    JOIN accounts w ON w.telegram_id = s.telegram_id AND w.kind = 'wallet'
    JOIN users u ON u.telegram_id = s.telegram_id
    JOIN tariffs t ON t.code = s.tariff AND t.active
    LEFT JOIN discounts d ON d.telegram_id = s.telegram_id AND (d.ends_at IS NULL OR d.ends_at > $5)
    WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
        AND (s.expires_at, s.id) > ($1, $2)
        AND s.expires_at <= $3
        AND NOT EXISTS (
            SELECT FROM parked p
            WHERE p.pass = 'renew' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $5)
        )
    ORDER BY s.expires_at, s.id
    LIMIT $4
    FOR NO KEY UPDATE OF s, w SKIP LOCKED
), renewal AS (
    SELECT due.*, 'renew:' || period AS key FROM due WHERE balance >= price
), charge AS (
    INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
    SELECT key, 'charge', wallet, 1, price, $5 FROM renewal WHERE price > 0
    RETURNING id, idempotency_key
), extended AS (
    UPDATE subscriptions s
    SET expires_at = r.period_end, last_auto_renewal_at = $5,
        short_stage = NULL, short_balance_kopecks = NULL, short_price_kopecks = NULL
    FROM renewal r WHERE s.id = r.id AND s.status = 'active' AND s.expires_at = r.period_start
), paid AS (
    INSERT INTO payments (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
    SELECT r.id, r.tariff, r.period_start, r.period_end, r.price, c.id, $5
    FROM renewal r LEFT JOIN charge c ON c.idempotency_key = r.key
), told AS (
    INSERT INTO notices (telegram_id, kind, dedupe_key, params, subscription_id, not_before, created_at)
    SELECT r.telegram_id, 'renewed', 'renewed:' || r.period, jsonb_build_object('tariff', r.tariff,
        'amount_kopecks', r.price, 'balance_kopecks', r.balance - r.price,
        'until', (extract(epoch FROM r.period_end) * 1000000)::bigint), r.id, $5, $5
    FROM renewal r
    ON CONFLICT ON CONSTRAINT notices_dedupe_key_key DO NOTHING
), logged AS (
    INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after)
    SELECT $5, 'renew', 'renewed', r.telegram_id, r.id,
        jsonb_build_object('expires_at', to_char(r.period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
            'balance_kopecks', r.balance),
        jsonb_build_object('expires_at', to_char(r.period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
            'balance_kopecks', r.balance - r.price, 'amount_kopecks', r.price, 'tariff', r.tariff)
    FROM renewal r
)
SELECT period_start, id, (SELECT count(*) FROM renewal) AS renewed
FROM due ORDER BY period_start DESC, id DESC LIMIT 1";

/// Renews what is due on so many connections and answers how many rows were renewed.
pub(crate) async fn run(db: &Db, due: Due, connections: usize, batch_rows: i64) -> anyhow::Result<u64> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(db.client().await?);
    }
    let renewed = try_join_all(clients.iter().map(|client| on_one(client, due, batch_rows))).await?;
    Ok(renewed.iter().sum())
}

async fn on_one(client: &Client, due: Due, batch_rows: i64) -> anyhow::Result<u64> {
    let statement = prepare(client).await?;
    let mut cursor: (Timestamp, i64) = (due.now - due.grace, i64::MAX);
    let mut renewed = 0;
    #[allow(clippy::disallowed_methods)] // a prepared statement is what makes it fastest; there is no pooler
    while let Some(last) =
        client.query_opt(&statement, &[&cursor.0, &cursor.1, &(due.now + due.window), &batch_rows, &due.now]).await?
    {
        cursor = (last.try_get("period_start")?, last.try_get("id")?);
        renewed += u64::try_from(last.try_get::<_, i64>("renewed")?)?;
    }
    Ok(renewed)
}

#[allow(clippy::disallowed_methods)]
async fn prepare(client: &Client) -> anyhow::Result<Statement> {
    client.prepare(RENEW).await.context("preparing the bulk statement")
}
