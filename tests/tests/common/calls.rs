//! Calls of the functions that bots use.

use serde_json::Value;
use tokio_postgres::Client;

use super::refusal::{Refusal, refusal};
use super::{run, text};

/// Moment of most tests: the bots' clock stands at it.
pub const NOW: &str = "2026-03-10T12:00:00+00:00";

/// A price list, and the bots' clock at [`NOW`].
pub async fn open_shop(client: &Client) {
    run(
        client,
        "INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active) VALUES
            ('basic_30', 'basic', 'day', 30, 10000, true), ('basic_1m', 'basic', 'month', 1, 11000, true),
            ('free_30', 'basic', 'day', 30, 0, true), ('plus_1m', 'plus', 'month', 1, 20000, true),
            ('gone_30', 'basic', 'day', 30, 1, false)",
    )
    .await;
    set_now(client, NOW).await;
}

/// Sets the bots' clock.
pub async fn set_now(client: &Client, now: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION perennial_now() RETURNS timestamptz LANGUAGE sql VOLATILE
         AS $$ SELECT timestamptz '{now}' $$"
    );
    run(client, &sql).await;
}

/// A new customer with this much in the wallet.
pub async fn customer(client: &Client, user: i64, kopecks: i64) {
    answer(client, &format!("perennial_ensure_user({user}, NULL, NULL)")).await;
    if kopecks > 0 {
        answer(client, &format!("perennial_top_up({user}, {kopecks}, 'start:{user}')")).await;
    }
}

/// The answer to a call that must work: a number, a text or an object.
pub async fn answer(client: &Client, call: &str) -> Value {
    serde_json::from_str(&text(client, &query(call)).await).unwrap()
}

/// The refusal of a call that must not work, which must have changed nothing.
pub async fn refused(client: &Client, call: &str) -> Refusal {
    refusal(client, &query(call)).await
}

/// The SQLSTATE of that refusal.
pub async fn refused_by(client: &Client, call: &str) -> String {
    refused(client, call).await.sqlstate
}

/// A call as a query with one column: the answer as JSON. `nothing` stands for a void one.
pub fn query(call: &str) -> String {
    format!("SELECT coalesce(nullif(to_jsonb(f)::text, '\"\"'), 'null') FROM {call} f")
}

/// The audit rows after this one: actor, action, user, subscription, reason.
pub async fn audit_after(client: &Client, last: i64) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', actor, action, telegram_id, coalesce(subscription_id::text, '-'), coalesce(reason, '-'))
         FROM audit_log WHERE id > {last} ORDER BY id"
    );
    super::texts(client, &sql).await
}

/// Id of the last audit row.
pub async fn last_audit(client: &Client) -> i64 {
    super::number(client, "SELECT coalesce(max(id), 0) FROM audit_log").await
}
