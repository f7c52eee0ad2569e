//! The audit log: who changed what, from what, to what, why. Written in the transaction that changes.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId};

/// One row to be written; actor, run and time are the transaction's.
#[derive(Debug, Clone)]
pub struct NewAudit {
    /// `renewed`, `parked`, …
    pub action: &'static str,
    /// Whom it concerns.
    pub telegram_id: Option<TelegramId>,
    /// Which subscription.
    pub subscription_id: Option<SubscriptionId>,
    /// State before; kopecks as integers, times as RFC 3339 in UTC.
    pub before: Option<Value>,
    /// State after.
    pub after: Option<Value>,
    /// Why.
    pub reason: Option<String>,
}

const INSERT_AUDIT: &str = "-- insert_audit
INSERT INTO audit_log (at, actor, run_id, action, telegram_id, subscription_id, before, after, reason)
SELECT $1, $2, $3, a.action, a.telegram_id, a.subscription_id, a.before, a.after, a.reason
FROM unnest($4, $5, $6, $7, $8, $9) AS a (action, telegram_id, subscription_id, before, after, reason)";

impl Tx<'_> {
    /// Writes audit rows.
    ///
    /// # Errors
    /// [`DbError::Mismatch`] when not every row was written (a trigger): no change without its audit row.
    pub async fn insert_audit(&self, rows: &[NewAudit]) -> Result<(), DbError> {
        if rows.is_empty() {
            return Ok(());
        }
        let actions: Vec<&str> = rows.iter().map(|row| row.action).collect();
        let users: Vec<Option<TelegramId>> = rows.iter().map(|row| row.telegram_id).collect();
        let subscriptions: Vec<Option<SubscriptionId>> = rows.iter().map(|row| row.subscription_id).collect();
        let before: Vec<Option<&Value>> = rows.iter().map(|row| row.before.as_ref()).collect();
        let after: Vec<Option<&Value>> = rows.iter().map(|row| row.after.as_ref()).collect();
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.reason.as_deref()).collect();
        let written = self
            .execute(
                INSERT_AUDIT,
                &[
                    (/* at */ &self.now(), Type::TIMESTAMPTZ),
                    (/* actor */ &self.actor().name, Type::TEXT),
                    (/* run_id */ &self.actor().run_id, Type::UUID),
                    (&actions, Type::TEXT_ARRAY),
                    (&users, Type::INT8_ARRAY),
                    (&subscriptions, Type::INT8_ARRAY),
                    (&before, Type::JSONB_ARRAY),
                    (&after, Type::JSONB_ARRAY),
                    (&reasons, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        if written != rows.len() as u64 {
            let what = format!("{} audit rows were to be written, {written} were", rows.len());
            return Err(DbError::Mismatch { at: "insert_audit", what });
        }
        Ok(())
    }
}
