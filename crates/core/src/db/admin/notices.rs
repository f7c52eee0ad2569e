//! Notices, seen and handled by an operator.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::time::Timestamp;

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeEntry {
    /// The row.
    pub id: i64,
    /// Its chat.
    pub telegram_id: TelegramId,
    /// Which text.
    pub kind: String,
    /// The subscription it is about.
    pub subscription_id: Option<SubscriptionId>,
    /// `pending`, `sending`, `sent`, `dropped`, `dead`.
    pub status: String,
    /// Attempts that count.
    pub attempts: i32,
    /// Why it was not sent, so far or for good.
    pub reason: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried, or was to be.
    pub not_before: Timestamp,
    /// When it was sent; beside `sending`: perhaps.
    pub sent_at: Option<Timestamp>,
}

const LIST_NOTICES: &str = "-- list_notices
SELECT n.id, n.telegram_id, n.kind, n.subscription_id, n.status, n.attempts, n.last_error, n.created_at,
    n.not_before, n.sent_at
FROM notices n
WHERE n.status = $1 AND n.kind = coalesce($2, n.kind) AND n.id < $3
ORDER BY n.id DESC
LIMIT $4";

const COUNT_NOTICES: &str = "-- count_notices
SELECT count(*) AS rows
FROM (SELECT FROM notices n WHERE n.status = $1 AND n.kind = coalesce($2, n.kind) LIMIT $3) counted";

const FIND_NOTICES: &str = "-- find_notices
SELECT n.id, n.telegram_id, n.kind, n.subscription_id, n.status, n.attempts, n.last_error, n.created_at,
    n.not_before, n.sent_at
FROM notices n
WHERE n.id = ANY ($1)
ORDER BY n.id DESC";

const RETRY_NOTICES: &str = "-- retry_notices
UPDATE notices n
SET status = 'pending', attempts = 0, not_before = $2
FROM (
    SELECT o.id, o.attempts FROM notices o
    WHERE o.id = ANY ($1) AND o.status = 'dead'
    FOR NO KEY UPDATE SKIP LOCKED
) was
WHERE n.id = was.id
RETURNING n.id, n.telegram_id, n.kind, n.subscription_id, 'dead' AS status, was.attempts, n.last_error, n.created_at,
    n.not_before, n.sent_at";

const DROP_NOTICES: &str = "-- drop_notices
UPDATE notices n
SET status = 'dropped', last_error = $2
FROM (
    SELECT o.id, o.status, o.last_error FROM notices o
    WHERE o.id = ANY ($1) AND o.status IN ('pending', 'dead')
    FOR NO KEY UPDATE SKIP LOCKED
) was
WHERE n.id = was.id
RETURNING n.id, n.telegram_id, n.kind, n.subscription_id, was.status, n.attempts, was.last_error, n.created_at,
    n.not_before, n.sent_at";

impl Tx<'_> {
    /// Notices of a status and perhaps a kind with an id below `before`, newest first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_notices(
        &self,
        status: &str,
        kind: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<NoticeEntry>, DbError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .query(
                LIST_NOTICES,
                &[(&status, Type::TEXT), (&kind, Type::TEXT), (&before, Type::INT8), (&limit, Type::INT8)],
            )
            .await?;
        rows.iter().map(notice_entry).collect()
    }

    /// How many there are of a status and perhaps a kind, counted up to a limit: of what was sent there are millions.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_notices(&self, status: &str, kind: Option<&str>, limit: i64) -> Result<i64, DbError> {
        let row =
            self.query_opt(COUNT_NOTICES, &[(&status, Type::TEXT), (&kind, Type::TEXT), (&limit, Type::INT8)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }

    /// These notices, newest first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_notices(&self, ids: &[i64]) -> Result<Vec<NoticeEntry>, DbError> {
        let rows = self.query(FIND_NOTICES, &[(&ids, Type::INT8_ARRAY)]).await?;
        rows.iter().map(notice_entry).collect()
    }

    /// Has dead ones among these tried again, from the first attempt on, at once. Answers what they were; who is held by
    /// somebody else or not dead stays as it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn retry_notices(&self, ids: &[i64]) -> Result<Vec<NoticeEntry>, DbError> {
        let rows =
            self.query(RETRY_NOTICES, &[(&ids, Type::INT8_ARRAY), (/* now */ &self.now(), Type::TIMESTAMPTZ)]).await?;
        rows.iter().map(notice_entry).collect()
    }

    /// Drops waiting and dead ones among these. Answers what they were; who is held by somebody else or in another
    /// state stays as it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_notices(&self, ids: &[i64], reason: &str) -> Result<Vec<NoticeEntry>, DbError> {
        let rows = self.query(DROP_NOTICES, &[(&ids, Type::INT8_ARRAY), (&reason, Type::TEXT)]).await?;
        rows.iter().map(notice_entry).collect()
    }
}

fn notice_entry(row: &Row) -> Result<NoticeEntry, DbError> {
    Ok(NoticeEntry {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        kind: column(row, "kind")?,
        subscription_id: column(row, "subscription_id")?,
        status: column(row, "status")?,
        attempts: column(row, "attempts")?,
        reason: column(row, "last_error")?,
        created_at: column(row, "created_at")?,
        not_before: column(row, "not_before")?,
        sent_at: column(row, "sent_at")?,
    })
}
