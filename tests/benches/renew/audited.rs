//! The renewal of the audited workers, statement by statement on one connection: the list of a hundred, then for each
//! user the claim stamp, the row again, the last payment, VIP, discount, language, the advisory lock, the balance, its
//! change (here a transfer, whose trigger moves it), the row once more (the grant's own reading), the extension, the
//! history row, the payment, whether the notice was sent and its flag: 15 statements, and BEGIN and COMMIT (A-35 of
//! docs/known-defects.md).
//!
//! It is given every advantage that does not change its way: statements are prepared once, prices are kept in memory,
//! the list reads the same index as ours by the same cursor, no message is sent and no other connection is asked for.

use anyhow::{Context as _, ensure};
use perennial_core::time::{Timestamp, micros};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::{Client, Row, Statement};

use crate::compare::Due;
use crate::space::Db;

/// The audited batch.
const BATCH_ROWS: usize = 100;

/// Where the workers commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// After each user: what one of them cannot spoil for the others (defect A-05).
    EachUser,
    /// After each hundred, as the audited code did.
    EachBatch,
}

const LIST: &str = "SELECT s.id, s.telegram_id, s.expires_at
FROM subscriptions s
JOIN users u ON u.telegram_id = s.telegram_id
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND (s.expires_at, s.id) > ($1, $2) AND s.expires_at <= $3
    AND (s.last_auto_renewal_at IS NULL OR s.last_auto_renewal_at < s.expires_at - interval '12 hours')
ORDER BY s.expires_at, s.id
LIMIT 100";
const LOCK: &str = " FOR UPDATE OF s SKIP LOCKED";

const STAMP: &str = "UPDATE subscriptions SET last_auto_renewal_at = $2
WHERE id = $1 AND status = 'active' AND auto_renew AND expires_at = $3 RETURNING id";
const AGAIN: &str = "SELECT telegram_id, tariff, expires_at, credential_id, anchor_day, agreed_price_kopecks
FROM subscriptions WHERE id = $1";
const LAST_PAYMENT: &str = "SELECT tariff, amount_kopecks FROM payments
WHERE subscription_id = $1 AND voided_at IS NULL ORDER BY period_start DESC LIMIT 1";
const VIP: &str = "SELECT vip FROM users WHERE telegram_id = $1";
const DISCOUNT: &str = "SELECT percent FROM discounts WHERE telegram_id = $1 AND (ends_at IS NULL OR ends_at > $2)";
const LANGUAGE: &str = "SELECT language FROM users WHERE telegram_id = $1";
const USER_LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
const BALANCE: &str =
    "SELECT id, balance_kopecks FROM accounts WHERE telegram_id = $1 AND kind = 'wallet' FOR NO KEY UPDATE";
const CHARGE: &str = "INSERT INTO transfers
    (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
VALUES ($1, 'charge', $2, 1, $3, $4) RETURNING id";
const EXTEND: &str = "UPDATE subscriptions SET expires_at = period_end($2, 'month', 1, anchor_day)
WHERE id = $1 AND status = 'active' AND expires_at = $2 RETURNING expires_at, credential_id";
const HISTORY: &str = "INSERT INTO audit_log (at, actor, action, telegram_id, subscription_id, before, after)
VALUES ($1, 'renew', 'renewed', $2, $3, $4, $5)";
const PAYMENT: &str = "INSERT INTO payments
    (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)";
const NOTICE_SENT: &str = "SELECT 1 FROM notices WHERE dedupe_key = $1";
const NOTICE: &str = "INSERT INTO notices
    (telegram_id, kind, dedupe_key, params, subscription_id, not_before, created_at)
VALUES ($1, 'renewed', $2, $3, $4, $5, $5) ON CONFLICT ON CONSTRAINT notices_dedupe_key_key DO NOTHING";

/// The worker: its connection and its prepared statements.
struct Worker {
    client: Client,
    list: Statement,
    stamp: Statement,
    again: Statement,
    last_payment: Statement,
    vip: Statement,
    discount: Statement,
    language: Statement,
    user_lock: Statement,
    balance: Statement,
    charge: Statement,
    extend: Statement,
    history: Statement,
    payment: Statement,
    notice_sent: Statement,
    notice: Statement,
}

/// Renews what is due and answers how many rows were renewed.
pub(crate) async fn run(db: &Db, due: Due, commit: Commit) -> anyhow::Result<u64> {
    let worker = Worker::start(db, commit).await?;
    let mut cursor: (Timestamp, i64) = (due.now - due.grace, i64::MAX);
    let mut renewed = 0;
    loop {
        if commit == Commit::EachBatch {
            worker.client.batch_execute("BEGIN").await?;
        }
        let rows = worker.list(cursor, due).await?;
        for row in &rows {
            if commit == Commit::EachUser {
                worker.client.batch_execute("BEGIN").await?;
            }
            worker.renew(row, due.now).await?;
            if commit == Commit::EachUser {
                worker.client.batch_execute("COMMIT").await?;
            }
            renewed += 1;
        }
        if commit == Commit::EachBatch {
            worker.client.batch_execute("COMMIT").await?;
        }
        match rows.last() {
            Some(last) if rows.len() == BATCH_ROWS => cursor = (last.try_get("expires_at")?, last.try_get("id")?),
            _ => return Ok(renewed),
        }
    }
}

#[allow(clippy::disallowed_methods)] // prepared statements are what the audited driver used, and there is no pooler
impl Worker {
    async fn start(db: &Db, commit: Commit) -> anyhow::Result<Self> {
        let client = db.client().await?;
        // The audited transaction of a batch began with the locks of all its rows.
        let list = format!("{LIST}{}", if commit == Commit::EachBatch { LOCK } else { "" });
        Ok(Self {
            list: client.prepare(&list).await?,
            stamp: client.prepare(STAMP).await?,
            again: client.prepare(AGAIN).await?,
            last_payment: client.prepare(LAST_PAYMENT).await?,
            vip: client.prepare(VIP).await?,
            discount: client.prepare(DISCOUNT).await?,
            language: client.prepare(LANGUAGE).await?,
            user_lock: client.prepare(USER_LOCK).await?,
            balance: client.prepare(BALANCE).await?,
            charge: client.prepare(CHARGE).await?,
            extend: client.prepare(EXTEND).await?,
            history: client.prepare(HISTORY).await?,
            payment: client.prepare(PAYMENT).await?,
            notice_sent: client.prepare(NOTICE_SENT).await?,
            notice: client.prepare(NOTICE).await?,
            client,
        })
    }

    async fn list(&self, cursor: (Timestamp, i64), due: Due) -> anyhow::Result<Vec<Row>> {
        Ok(self.client.query(&self.list, &[&cursor.0, &cursor.1, &(due.now + due.window)]).await?)
    }

    async fn renew(&self, listed: &Row, now: Timestamp) -> anyhow::Result<()> {
        let db = &self.client;
        let (id, user): (i64, i64) = (listed.try_get("id")?, listed.try_get("telegram_id")?);
        let since: Timestamp = listed.try_get("expires_at")?;

        let stamped = db.query_opt(&self.stamp, &[&id, &now, &since]).await?;
        ensure!(stamped.is_some(), "subscription {id} was not to be had");
        db.query_one(&self.again, &[&id]).await?;
        let last = db.query_opt(&self.last_payment, &[&id]).await?.context("no payment yet")?;
        let vip: bool = db.query_one(&self.vip, &[&user]).await?.try_get(0)?;
        let discount = db.query_opt(&self.discount, &[&user, &now]).await?;
        let discount: i32 = discount.map_or(Ok(0), |row| row.try_get(0))?;
        let tariff: &str = last.try_get("tariff")?;
        let price = price(tariff, vip, discount);

        db.query_one(&self.language, &[&user]).await?;
        db.query(&self.user_lock, &[&user]).await?;
        let wallet = db.query_one(&self.balance, &[&user]).await?;
        let (account, balance): (i64, i64) = (wallet.try_get("id")?, wallet.try_get("balance_kopecks")?);
        ensure!(balance >= price, "the wallet of {user} does not cover the price");
        let key = format!("renew:{id}:{}", micros(since));
        let transfer: i64 = db.query_one(&self.charge, &[&key, &account, &price, &now]).await?.try_get(0)?;

        let row = db.query_one(&self.again, &[&id]).await?;
        let extended = db.query_one(&self.extend, &[&id, &since]).await?;
        let until: Timestamp = extended.try_get("expires_at")?;
        let same = extended.try_get::<_, i64>("credential_id")? == row.try_get::<_, i64>("credential_id")?;
        ensure!(until > since && same, "subscription {id} was not extended");
        let before = json!({ "expires_at": since.format(&Rfc3339)?, "balance_kopecks": balance });
        let after = json!({
            "expires_at": until.format(&Rfc3339)?,
            "balance_kopecks": balance - price,
            "amount_kopecks": price,
            "tariff": tariff,
        });
        db.execute(&self.history, &[&now, &user, &id, &before, &after]).await?;
        db.execute(&self.payment, &[&id, &tariff, &since, &until, &price, &transfer, &now]).await?;
        let params = json!({
            "tariff": tariff,
            "amount_kopecks": price,
            "balance_kopecks": balance - price,
            "until": micros(until),
        });
        let dedupe_key = format!("renewed:{id}:{}", micros(since));
        ensure!(db.query_opt(&self.notice_sent, &[&dedupe_key]).await?.is_none(), "a notice was there already");
        db.execute(&self.notice, &[&user, &dedupe_key, &params, &id, &now]).await?;
        Ok(())
    }
}

/// The price list is a table in the audited program.
fn price(tariff: &str, vip: bool, discount: i32) -> i64 {
    let list = if tariff == "plus_1m" { 34_900 } else { 19_900 };
    list * (100 - if vip { 30 } else { i64::from(discount) }) / 100
}
