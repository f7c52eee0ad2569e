//! The write side of the outbox: notices are written in the transaction that causes them and sent after its commit.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::time::Timestamp;

/// A notice to be written, due at once.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// The receiver.
    pub telegram_id: TelegramId,
    /// Which text; also the first part of the dedupe key.
    pub kind: &'static str,
    /// Names the notice: `kind:subscription:period start in microseconds[:stage]`. Written once, whoever tries again.
    pub dedupe_key: String,
    /// Values for the text; kopecks as integers, times as microseconds since 1970.
    pub params: Value,
    /// The subscription to look at again just before sending.
    pub subscription_id: SubscriptionId,
    /// Not sent from then on; none: never too late.
    pub useless_after: Option<Timestamp>,
    /// Not put off by quiet hours: the last one before an end.
    pub urgent: bool,
}

const INSERT_NOTICES: &str = "-- insert_notices
INSERT INTO notices
    (telegram_id, kind, dedupe_key, params, subscription_id, useless_after, urgent, not_before, created_at)
SELECT n.telegram_id, n.kind, n.dedupe_key, n.params, n.subscription_id, n.useless_after, n.urgent, $1, $1
FROM unnest($2, $3, $4, $5, $6, $7, $8)
    AS n (telegram_id, kind, dedupe_key, params, subscription_id, useless_after, urgent)
ON CONFLICT ON CONSTRAINT notices_dedupe_key_key DO NOTHING";

const COUNT_WAITING: &str = "-- count_waiting_notices
SELECT count(*) AS waiting FROM notices n WHERE n.status = 'pending'";

impl Tx<'_> {
    /// Writes notices; those whose key was already written are left as they are. Answers how many are new.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_notices(&self, notices: &[NewNotice]) -> Result<u64, DbError> {
        if notices.is_empty() {
            return Ok(0);
        }
        let users: Vec<TelegramId> = notices.iter().map(|notice| notice.telegram_id).collect();
        let kinds: Vec<&str> = notices.iter().map(|notice| notice.kind).collect();
        let keys: Vec<&str> = notices.iter().map(|notice| notice.dedupe_key.as_str()).collect();
        let params: Vec<&Value> = notices.iter().map(|notice| &notice.params).collect();
        let subscriptions: Vec<SubscriptionId> = notices.iter().map(|notice| notice.subscription_id).collect();
        let useless: Vec<Option<Timestamp>> = notices.iter().map(|notice| notice.useless_after).collect();
        let urgent: Vec<bool> = notices.iter().map(|notice| notice.urgent).collect();
        self.execute(
            INSERT_NOTICES,
            &[
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&users, Type::INT8_ARRAY),
                (&kinds, Type::TEXT_ARRAY),
                (&keys, Type::TEXT_ARRAY),
                (&params, Type::JSONB_ARRAY),
                (&subscriptions, Type::INT8_ARRAY),
                (&useless, Type::TIMESTAMPTZ_ARRAY),
                (&urgent, Type::BOOL_ARRAY),
            ],
        )
        .await
    }

    /// How many notices wait to be sent.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_waiting_notices(&self) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_WAITING, &[]).await?;
        row.map_or(Ok(0), |row| super::tx::column(&row, "waiting"))
    }
}
