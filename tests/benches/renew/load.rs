//! Fills a database with a book of customers, set by set: each with a wallet that was topped up, a credential, a paid
//! subscription, and of its purchase the transfer, the payment, the sent receipt and the audit row.
//!
//! Customers are numbered in the order in which they came. Telegram ids have nothing to do with that order. A month's
//! newcomers end over a month in their order, so what is due in one window is a run of neighbours of each of
//! [`COHORTS`] months ([`Layout::Neighbours`]); or ends have nothing to do with the order ([`Layout::Scattered`]), which
//! is the worst case: no two due rows share a page of any table or index.
//!
//! Triggers and foreign keys are off for the load and the indexes are built afterwards; [`verify`] looks at a sample of
//! what they would have seen to.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use perennial_core::time::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::space::Db;

/// Customers written by one statement.
const CHUNK: i64 = 500_000;
/// Months of newcomers.
const COHORTS: i64 = 20;
/// Of a mixed book, one subscription in so many is scattered.
pub(crate) const SCATTERED_ONE_IN: i64 = 10;

/// Where those stand that are due together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// In runs of neighbours, as customers who came at the same time.
    Neighbours,
    /// Anywhere.
    Scattered,
    /// A tenth of them anywhere, with ends of their own (from [`Book::scattered_from`]), the others as neighbours.
    Mixed,
}

/// What is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    pub(crate) subscriptions: i64,
    pub(crate) layout: Layout,
    /// The first end.
    pub(crate) first_end: Timestamp,
    /// From the first end to the last, in seconds.
    pub(crate) spread: i64,
}

impl Book {
    pub(crate) fn name(&self) -> String {
        format!("{}_{:?}", self.subscriptions, self.layout).to_lowercase()
    }

    /// The first end of the scattered tenth of a mixed book.
    pub(crate) fn scattered_from(&self) -> Timestamp {
        self.first_end + time::Duration::days(365)
    }

    fn scattered_one_in(&self) -> i64 {
        match self.layout {
            Layout::Neighbours => i64::MAX,
            Layout::Scattered => 1,
            Layout::Mixed => SCATTERED_ONE_IN,
        }
    }
}

/// Customers from `$1` to below `$2` of `$3`, one in `$4` scattered; first ends `$5` and `$6`, spread over `$7` seconds; `$8` months.
const CUSTOMERS: &str = "CREATE TEMPORARY TABLE customer AS
SELECT c.n + 1 AS id,
    (c.n + 1) * 2654435761 % 9999999967 AS telegram_id,
    c.n + 1001 AS wallet,
    CASE WHEN c.n % 4 = 0 THEN 'plus_1m' ELSE 'basic_1m' END AS tariff,
    CASE WHEN c.n % 4 = 0 THEN 34900 ELSE 19900 END AS price,
    e.until - interval '720 hours' AS since,
    e.until,
    (extract(epoch FROM e.until - interval '720 hours') * 1000000)::bigint AS since_micros
FROM (
    SELECT n,
        n % $4 = $4 - 1 AS scattered,
        n / $4 AS nth_scattered,
        n - n / $4 AS nth_neighbour,
        greatest(1, $3 / $4) AS scattered_all,
        greatest(1, $3 - $3 / $4) AS neighbours_all
    FROM generate_series($1, $2 - 1) n
) c
-- Neighbours: the place within the month says when, and those of all months take turns.
CROSS JOIN LATERAL (SELECT greatest(1, c.neighbours_all / $8) AS month) m
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.scattered
        THEN $6 + make_interval(secs => floor(c.nth_scattered * 7368787 % c.scattered_all * $7::float8 / c.scattered_all))
        ELSE $5 + make_interval(secs => floor(
            (c.nth_neighbour % m.month * $8 + c.nth_neighbour / m.month) * $7::float8 / c.neighbours_all))
    END AS until
) e";

/// One statement a table. A change of meaning here makes loaded databases stale.
pub(crate) const STEPS: &[&str] = &[
    "INSERT INTO users (telegram_id, language, vip, created_at)
     SELECT telegram_id, CASE WHEN id % 3 = 0 THEN 'en' ELSE 'ru' END, id % 20 = 0, since FROM customer",
    "INSERT INTO discounts (telegram_id, percent) SELECT telegram_id, 10 FROM customer WHERE id % 25 = 0",
    "INSERT INTO accounts (id, kind, telegram_id, balance_kopecks, created_at)
     SELECT wallet, 'wallet', telegram_id, price * 29, since FROM customer",
    "INSERT INTO credentials (id, telegram_id, email, created_at) SELECT id, telegram_id, 'p.' || id, since FROM customer",
    "INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at, anchor_day,
         auto_renew, created_at)
     SELECT id, telegram_id, 'payment', tariff, id, since, until, extract(day FROM until AT TIME ZONE 'UTC'), true, since
     FROM customer",
    "INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
     SELECT id * 2 - 1, 'top_up:' || id, 'top_up', 2, wallet, price * 30, since FROM customer
     UNION ALL SELECT id * 2, 'buy:' || id, 'charge', wallet, 1, price, since FROM customer",
    "INSERT INTO payments (id, subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
     SELECT id, id, tariff, since, until, price, id * 2, since FROM customer",
    "INSERT INTO notices (id, telegram_id, kind, dedupe_key, params, subscription_id, not_before, status, attempts,
         message_id, created_at, sent_at)
     SELECT id, telegram_id, 'bought', 'bought:' || id || ':' || since_micros,
         jsonb_build_object('tariff', tariff, 'amount_kopecks', price, 'balance_kopecks', price * 29),
         id, since, 'sent', 1, id, since, since FROM customer",
    "INSERT INTO audit_log (id, at, actor, action, telegram_id, subscription_id, after)
     SELECT id, since, 'bot', 'bought', telegram_id, id,
         jsonb_build_object('expires_at', until, 'tariff', tariff, 'amount_kopecks', price) FROM customer",
];

const SEQUENCES: &str = "SELECT
    setval(pg_get_serial_sequence('accounts', 'id'), (SELECT max(id) FROM accounts)),
    setval(pg_get_serial_sequence('credentials', 'id'), (SELECT max(id) FROM credentials)),
    setval(pg_get_serial_sequence('subscriptions', 'id'), (SELECT max(id) FROM subscriptions)),
    setval(pg_get_serial_sequence('transfers', 'id'), (SELECT max(id) FROM transfers)),
    setval(pg_get_serial_sequence('payments', 'id'), (SELECT max(id) FROM payments)),
    setval(pg_get_serial_sequence('notices', 'id'), (SELECT max(id) FROM notices)),
    setval(pg_get_serial_sequence('audit_log', 'id'), (SELECT max(id) FROM audit_log))";

/// Indexes that nothing but their definition holds.
const PLAIN_INDEXES: &str = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
ORDER BY 1";

/// Fills an empty migrated database.
pub(crate) async fn fill(db: &Db, admin: &Client, book: &Book) -> anyhow::Result<()> {
    let begun = Instant::now();
    let client = db.client().await?;
    eprintln!("loading {} …", book.name());
    for setting in ["max_wal_size = '4GB'", "checkpoint_timeout = '30min'"] {
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await?;
    }
    admin.batch_execute("SELECT pg_reload_conf()").await?;
    let loaded = load(&client, book).await;
    for setting in ["max_wal_size", "checkpoint_timeout"] {
        admin.batch_execute(&format!("ALTER SYSTEM RESET {setting}")).await?;
    }
    admin.batch_execute("SELECT pg_reload_conf(); CHECKPOINT").await?;
    loaded?;
    verify(&client, book).await?;
    let size = "SELECT pg_database_size(current_database()) / 1000000";
    let size: i64 = client.query_typed_one(size, &[]).await?.try_get(0)?;
    eprintln!("loaded {}: {size} MB in {} s", book.name(), begun.elapsed().as_secs());
    Ok(())
}

async fn load(client: &Client, book: &Book) -> anyhow::Result<()> {
    // Replica: no trigger fires, foreign keys' included. What they see to is looked at afterwards.
    let session = "SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '256MB';
        SET maintenance_work_mem = '1GB'; SET temp_buffers = '256MB';
        INSERT INTO tariffs (code, period_unit, period_count, price_kopecks)
        VALUES ('basic_1m', 'month', 1, 19900), ('plus_1m', 'month', 1, 34900)";
    client.batch_execute(session).await?;
    let indexes = client.query_typed(PLAIN_INDEXES, &[]).await?;
    for index in &indexes {
        client.batch_execute(&format!("DROP INDEX {}", index.get::<_, &str>(0))).await?;
    }
    let (all, one_in) = (book.subscriptions, book.scattered_one_in());
    let mut first = 0;
    while first < all {
        let end = all.min(first + CHUNK);
        let customers = CUSTOMERS
            .replace("$1", &first.to_string())
            .replace("$2", &end.to_string())
            .replace("$3", &format!("{all}::bigint"))
            .replace("$4", &format!("{}::bigint", one_in.min(all + 1)))
            .replace("$5", &moment(book.first_end))
            .replace("$6", &moment(if book.layout == Layout::Mixed { book.scattered_from() } else { book.first_end }))
            .replace("$7", &book.spread.to_string())
            .replace("$8", &COHORTS.to_string());
        client.batch_execute(&customers).await.context("making customers")?;
        for step in STEPS {
            client.batch_execute(step).await.with_context(|| format!("in {step}"))?;
        }
        client.batch_execute("DROP TABLE customer").await?;
        first = end;
    }
    for index in &indexes {
        client.batch_execute(index.get::<_, &str>(1)).await?;
    }
    client.query_typed(SEQUENCES, &[]).await?;
    client.batch_execute("SET session_replication_role = origin; SELECT turnovers_rebuild()").await?;
    client.batch_execute("VACUUM (FREEZE, ANALYZE)").await?;
    Ok(())
}

fn moment(at: Timestamp) -> String {
    format!("to_timestamp({})", at.unix_timestamp())
}

/// What triggers and foreign keys would have refused, looked for in a sample of a thousand customers.
const UNSOUND: &str = "WITH sample AS (
    SELECT 1 + n * ($1::bigint - 1) / 999 AS id FROM generate_series(0, 999) n
)
SELECT count(*) FROM sample
LEFT JOIN subscriptions s ON s.id = sample.id
LEFT JOIN credentials c ON c.id = s.credential_id AND c.telegram_id = s.telegram_id AND c.closed_at IS NULL
LEFT JOIN users u ON u.telegram_id = s.telegram_id
LEFT JOIN accounts a ON a.telegram_id = u.telegram_id AND a.kind = 'wallet'
LEFT JOIN payments p ON p.subscription_id = s.id AND p.period_end = s.expires_at AND p.period_start = s.starts_at
LEFT JOIN transfers t ON t.id = p.transfer_id AND t.debit_account = a.id AND t.amount_kopecks = p.amount_kopecks
WHERE num_nulls(s.id, c.id, u.telegram_id, a.id, p.id, t.id) > 0
    OR a.balance_kopecks <> (
        SELECT sum(CASE WHEN m.credit_account = a.id THEN m.amount_kopecks ELSE -m.amount_kopecks END)
        FROM (SELECT * FROM transfers x WHERE x.credit_account = a.id AND x.credit_account > 3
            UNION ALL SELECT * FROM transfers x WHERE x.debit_account = a.id AND x.debit_account > 3) m
    )";

async fn verify(client: &Client, book: &Book) -> anyhow::Result<()> {
    let unsound: i64 = client.query_typed_one(UNSOUND, &[(&book.subscriptions, Type::INT8)]).await?.try_get(0)?;
    ensure!(unsound == 0, "{unsound} of 1000 sampled customers are not as they should be");
    let rows: i64 = client.query_typed_one("SELECT count(*) FROM subscriptions", &[]).await?.try_get(0)?;
    ensure!(rows == book.subscriptions, "{rows} subscriptions were loaded");
    Ok(())
}
