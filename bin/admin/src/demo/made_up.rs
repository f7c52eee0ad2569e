//! The demo's people: what database they may come into, and putting them there.

use perennial_boot::Exit;
use perennial_core::ids::TelegramId;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::cli;
use crate::failure::Failure;
use crate::output::table as columns;

/// The demo's Telegram ids: Telegram gives none that high for a long time.
const FIRST_ID: i64 = 9_000_000_000_000;
/// The last of them.
const LAST_ID: i64 = 9_099_999_999_999;

const PEOPLE: &str = include_str!("people.sql");
const HISTORY: &str = include_str!("history.sql");

// Whatever is in the schema, of ours or not.
const FIND_TABLES: &str = "
SELECT count(*) AS relations, to_regclass('public.users') IS NOT NULL
        AND to_regclass('public.refinery_schema_history') IS NOT NULL AS ours
FROM pg_class c
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const FIND_STRANGER: &str = "
SELECT u.telegram_id FROM public.users u WHERE u.telegram_id NOT BETWEEN $1 AND $2 ORDER BY u.telegram_id LIMIT 1";

const NEXT_ID: &str = "
SELECT coalesce(max(u.telegram_id) + 1, $1) FROM users u WHERE u.telegram_id BETWEEN $1 AND $2";

const KINDS: &str = "
SELECT CASE WHEN s.id IS NULL THEN 'no subscription' ELSE concat(s.source, ', ', s.status) END AS kind,
    count(*) AS people
FROM users u
LEFT JOIN subscriptions s ON s.telegram_id = u.telegram_id
WHERE u.telegram_id >= $1
GROUP BY 1
ORDER BY 2 DESC, 1";

// Somebody with more than one payment has a story to tell.
const RENEWED_JUST_NOW: &str = "
SELECT a.telegram_id
FROM audit_log a
WHERE a.action = 'renewed' AND a.run_id IS NOT NULL AND a.telegram_id >= $1
ORDER BY (SELECT count(*) FROM payments p WHERE p.subscription_id = a.subscription_id AND p.voided_at IS NULL) = 3 DESC,
    a.telegram_id
LIMIT 1";

/// Refuses a database that holds anything but the demo's own people.
pub(super) async fn must_be_new(client: &Client) -> Result<(), Failure> {
    let found = client.query_typed_one(FIND_TABLES, &[]).await.map_err(|error| failed(&error))?;
    let (relations, ours): (i64, bool) = (found.get("relations"), found.get("ours"));
    if !ours {
        return if relations == 0 {
            Ok(())
        } else {
            Err(refused("this database holds tables that are not ours".to_owned()))
        };
    }
    let range = [(&FIRST_ID as _, Type::INT8), (&LAST_ID as _, Type::INT8)];
    let strangers = client.query_typed(FIND_STRANGER, &range).await.map_err(|error| failed(&error))?;
    match strangers.first() {
        Some(row) => Err(refused(format!("this database holds user {}, whom no demo made up", row.get::<_, i64>(0)))),
        None => Ok(()),
    }
}

fn refused(message: String) -> Failure {
    Failure { exit: Exit::Refused, ..Failure::refused(message) }.with_hint("the demo wants a new database (createdb)")
}

/// Makes people up and writes them down in a migrated database, all or nobody; answers the first one's id.
///
/// # Errors
/// The database's.
pub async fn fill(client: &Client, call: &cli::Demo) -> Result<TelegramId, Failure> {
    let range = [(&FIRST_ID as _, Type::INT8), (&LAST_ID as _, Type::INT8)];
    let row = client.query_typed_one(NEXT_ID, &range).await.map_err(|error| failed(&error))?;
    let first: i64 = row.get(0);
    let settings = format!(
        "SET LOCAL search_path = public; SET LOCAL jit = off; SET LOCAL demo.seed = '{}'; SET LOCAL demo.users = '{}'; \
         SET LOCAL demo.first_id = '{first}';",
        call.seed, call.users
    );
    let script = format!("BEGIN; {settings}\n{PEOPLE}\n{HISTORY}\nCOMMIT; ANALYZE");
    client.batch_execute(&script).await.map_err(|error| failed(&error))?;
    Ok(TelegramId(first))
}

/// How many there are of each kind.
pub(super) async fn table(client: &Client, first: TelegramId) -> Result<String, Failure> {
    let rows = client.query_typed(KINDS, &[(&first, Type::INT8)]).await.map_err(|error| failed(&error))?;
    let lines: Vec<Vec<String>> =
        rows.iter().map(|row| vec![String::new(), row.get("kind"), row.get::<_, i64>("people").to_string()]).collect();
    Ok(columns(&lines, &[2]))
}

/// One of those whom the passes of this demo renewed.
pub(super) async fn renewed_just_now(client: &Client, first: TelegramId) -> Result<Option<TelegramId>, Failure> {
    let rows = client.query_typed(RENEWED_JUST_NOW, &[(&first, Type::INT8)]).await.map_err(|error| failed(&error))?;
    Ok(rows.first().map(|row| row.get(0)))
}

pub(super) fn failed(error: &tokio_postgres::Error) -> Failure {
    Failure::of_driver("the demo", error)
}
