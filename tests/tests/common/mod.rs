//! What the tests of the schema share: statements and their refusals, a digest to see that nothing changed, calls of
//! the bots' functions, two connections in each other's way.
#![allow(dead_code, unreachable_pub)] // every test file uses a part of it
#![allow(clippy::unwrap_used)] // what does not work fails the test

pub mod calls;
pub mod door;
pub mod ledger;
pub mod race;
pub mod refusal;
pub mod stall;

use tokio_postgres::{Client, SimpleQueryMessage};

/// Runs statements that must work.
pub async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The first column of each row, as text; null, or no column at all, is `-`.
pub async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    first_column(&messages)
}

fn first_column(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.try_get(0).ok().flatten().unwrap_or("-").to_owned()),
        _ => None,
    });
    rows.collect()
}

/// The one column of the one row, as text; null is `-`.
pub async fn text(client: &Client, sql: &str) -> String {
    let mut rows = texts(client, sql).await;
    assert_eq!(rows.len(), 1, "{sql}");
    rows.remove(0)
}

/// The one number.
pub async fn number(client: &Client, sql: &str) -> i64 {
    text(client, sql).await.parse().unwrap()
}

/// What a user's wallet holds.
pub async fn balance(client: &Client, user: i64) -> i64 {
    number(client, &format!("SELECT balance_kopecks FROM accounts WHERE telegram_id = {user}")).await
}

/// The account that is a user's wallet.
pub async fn wallet(client: &Client, user: i64) -> i64 {
    number(client, &format!("SELECT id FROM accounts WHERE telegram_id = {user}")).await
}

/// A line a table: its name and all that stands in it, by number of rows and hash.
pub async fn digest(client: &Client) -> Vec<String> {
    let tables = texts(client, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").await;
    let parts: Vec<String> = tables
        .iter()
        .map(|table| {
            format!(
                "SELECT concat_ws(' ', '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text))) FROM {table} t"
            )
        })
        .collect();
    texts(client, &parts.join(" UNION ALL ")).await
}
