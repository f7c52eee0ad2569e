//! The write side of the outbox: notices are written in the transaction that causes them and sent after its commit.

use std::collections::HashSet;

use serde_json::Value;
use tokio_postgres::types::Type;

use super::tx::column;
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
    /// The subscription to look at again just before sending; none: an alert, which is about no one's.
    pub subscription_id: Option<SubscriptionId>,
    /// Not sent from then on; none: never too late.
    pub useless_after: Option<Timestamp>,
    /// Not put off by quiet hours: the last one before an end.
    pub urgent: bool,
}

/// A row that a run has parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// The row.
    pub subscription_id: SubscriptionId,
    /// Why, for a person.
    pub reason: String,
}

const INSERT_NOTICES: &str = "-- insert_notices
INSERT INTO notices
    (telegram_id, kind, dedupe_key, params, subscription_id, useless_after, urgent, not_before, created_at)
SELECT n.telegram_id, n.kind, n.dedupe_key, n.params, n.subscription_id, n.useless_after, n.urgent, $1, $1
FROM unnest($2, $3, $4, $5, $6, $7, $8)
    AS n (telegram_id, kind, dedupe_key, params, subscription_id, useless_after, urgent)
ON CONFLICT ON CONSTRAINT notices_dedupe_key_key DO NOTHING
RETURNING dedupe_key";

const LIST_PARKED_BY_RUN: &str = "-- list_parked_by_run
SELECT p.subscription, p.reason, count(*) OVER () AS rows
FROM runs r
JOIN parked p ON p.pass = $2 AND p.next_try_at IS NULL AND p.tries > 0 AND p.last_failed_at >= r.started_at
WHERE r.run_id = $1
ORDER BY p.subscription
LIMIT $3";

const COUNT_WAITING: &str = "-- count_waiting_notices
SELECT (SELECT count(*) FROM notices n WHERE n.status = 'pending')
    + (SELECT count(*) FROM notices n WHERE n.status = 'sending' AND n.lease_until <= $1) AS waiting";

impl Tx<'_> {
    /// Writes notices; those whose key was already written are left as they are. Answers how many are new.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_notices(&self, notices: &[NewNotice]) -> Result<u64, DbError> {
        Ok(self.insert_new_notices(notices).await?.len() as u64)
    }

    /// As [`insert_notices`](Self::insert_notices), but answers the keys of those that are new.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_new_notices(&self, notices: &[NewNotice]) -> Result<HashSet<String>, DbError> {
        if notices.is_empty() {
            return Ok(HashSet::new());
        }
        let users: Vec<TelegramId> = notices.iter().map(|notice| notice.telegram_id).collect();
        let kinds: Vec<&str> = notices.iter().map(|notice| notice.kind).collect();
        let keys: Vec<&str> = notices.iter().map(|notice| notice.dedupe_key.as_str()).collect();
        let params: Vec<&Value> = notices.iter().map(|notice| &notice.params).collect();
        let subscriptions: Vec<Option<SubscriptionId>> = notices.iter().map(|notice| notice.subscription_id).collect();
        let useless: Vec<Option<Timestamp>> = notices.iter().map(|notice| notice.useless_after).collect();
        let urgent: Vec<bool> = notices.iter().map(|notice| notice.urgent).collect();
        let rows = self
            .query(
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
            .await?;
        rows.iter().map(|row| column(row, "dedupe_key")).collect()
    }

    /// Rows that this run has parked, so many at most, and how many there are in all.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_parked_by_this_run(&self, at_most: i64) -> Result<(i64, Vec<ParkedRow>), DbError> {
        let actor = self.actor();
        let rows = self
            .query(
                LIST_PARKED_BY_RUN,
                &[(&actor.run_id, Type::UUID), (/* pass */ &actor.name, Type::TEXT), (&at_most, Type::INT8)],
            )
            .await?;
        let count = rows.first().map_or(Ok(0), |row| column(row, "rows"))?;
        let parked = rows
            .iter()
            .map(|row| Ok(ParkedRow { subscription_id: column(row, "subscription")?, reason: column(row, "reason")? }));
        Ok((count, parked.collect::<Result<_, DbError>>()?))
    }

    /// How many notices wait to be sent; also those whose sender vanished.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_waiting_notices(&self) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_WAITING, &[(/* now */ &self.now(), Type::TIMESTAMPTZ)]).await?;
        row.map_or(Ok(0), |row| column(&row, "waiting"))
    }
}
