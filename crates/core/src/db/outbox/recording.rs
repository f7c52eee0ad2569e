//! Statements that say what became of a claimed notice.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::ClaimedNotice;
use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::delivery::DeadNotice;
use crate::ids::TelegramId;
use crate::time::Timestamp;

/// What is recorded of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The new status: `sent`, `pending`, `dropped` or `dead`.
    pub(crate) status: &'static str,
    /// Attempts that count.
    pub(crate) attempts: i32,
    /// Why not sent, for a person.
    pub(crate) error: Option<String>,
    /// The messenger's id of the message.
    pub(crate) message_id: Option<i64>,
    /// When it is tried again.
    pub(crate) not_before: Option<Timestamp>,
    /// The chat's new id.
    pub(crate) moved_to: Option<TelegramId>,
}

/// A waiting notice that will not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedNotice {
    /// The row.
    pub(crate) id: i64,
    /// `dropped` or `dead`.
    pub(crate) status: &'static str,
    /// Why, for a person.
    pub(crate) reason: String,
}

/// A leased notice, and the lease it is held by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// The row.
    pub(crate) id: i64,
    /// Attempts before this one.
    pub(crate) attempts: i32,
    /// The lease.
    pub(crate) lease_until: Timestamp,
}

/// Leases whose holders vanished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EndedLeases {
    /// Notices that are sent again.
    pub(crate) repeated: u64,
    /// Reminders that are not.
    pub(crate) dropped: u64,
    /// Notices whose senders vanished again and again.
    pub(crate) dead: Vec<DeadNotice>,
}

const CLOSE: &str = "-- close_notices
UPDATE notices n SET status = c.status, last_error = c.reason
FROM unnest($1, $2, $3) AS c (id, status, reason)
WHERE n.id = c.id AND n.status = 'pending'
RETURNING n.status, n.kind, n.telegram_id, n.last_error";

// Until the answer is recorded, `sent_at` beside `sending` says that it may have been sent.
const BEGIN: &str = "-- begin_notices
UPDATE notices n
SET sent_at = $4
FROM unnest($1, $2, $3) AS h (id, attempts, lease_until)
WHERE n.id = h.id AND n.status = 'sending' AND n.attempts = h.attempts + 1 AND n.lease_until = h.lease_until
RETURNING n.id";

const GIVE_BACK: &str = "-- give_back_notices
UPDATE notices n
SET status = 'pending', lease_until = NULL, sent_at = NULL, attempts = h.attempts,
    last_error = coalesce($4, n.last_error)
FROM unnest($1, $2, $3) AS h (id, attempts, lease_until)
WHERE n.id = h.id AND n.status = 'sending' AND n.attempts = h.attempts + 1 AND n.lease_until = h.lease_until";

const END_LEASES: &str = "-- end_leases
UPDATE notices n
SET status = CASE
        WHEN NOT l.was_begun THEN 'pending'
        WHEN n.kind <> ALL ($2) THEN 'dropped'
        WHEN n.attempts >= $3 THEN 'dead'
        ELSE 'pending'
    END,
    attempts = CASE WHEN l.was_begun THEN n.attempts ELSE n.attempts - 1 END,
    lease_until = NULL,
    sent_at = NULL,
    last_error = CASE WHEN l.was_begun THEN 'its sender vanished: sent or not' ELSE n.last_error END
FROM (
    SELECT o.id, o.sent_at IS NOT NULL AS was_begun
    FROM notices o
    WHERE o.status = 'sending' AND o.lease_until <= $1
    ORDER BY o.lease_until, o.id
    LIMIT 1000
    FOR NO KEY UPDATE SKIP LOCKED
) l
WHERE n.id = l.id
RETURNING n.status, n.kind, n.telegram_id, n.last_error, l.was_begun";

const RECORD: &str = "-- record_delivery
UPDATE notices n
SET status = $4, lease_until = NULL, attempts = $5, last_error = $6, message_id = $7,
    not_before = coalesce($8, n.not_before), sent_at = CASE WHEN $4 = 'sent' THEN $9 END,
    telegram_id = coalesce($10, n.telegram_id)
WHERE n.id = $1 AND n.status = 'sending' AND n.attempts = $2 AND n.lease_until = $3";

// Who holds the row is the bot, at a sign of life of this user: then it would be wrong anyway, and nobody waits for it.
const MARK_UNREACHABLE: &str = "-- mark_unreachable
UPDATE users u SET telegram_unreachable_since = $2
WHERE u.telegram_id IN (
    SELECT o.telegram_id FROM users o
    WHERE o.telegram_id = $1 AND o.telegram_unreachable_since IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)";

impl Tx<'_> {
    /// Closes claimed notices that are not sent, each with its reason. Answers those that are dead now.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn close_notices(&self, notices: &[ClosedNotice]) -> Result<Vec<DeadNotice>, DbError> {
        if notices.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = notices.iter().map(|notice| notice.id).collect();
        let statuses: Vec<&str> = notices.iter().map(|notice| notice.status).collect();
        let reasons: Vec<&str> = notices.iter().map(|notice| notice.reason.as_str()).collect();
        let rows = self
            .query(CLOSE, &[(&ids, Type::INT8_ARRAY), (&statuses, Type::TEXT_ARRAY), (&reasons, Type::TEXT_ARRAY)])
            .await?;
        Ok(dead_among(&rows)?.1)
    }

    /// Marks leased notices that are sent next: from now on nobody can say that they were not. Answers those whose lease
    /// is still ours; the others must not be sent.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn begin_notices(&self, notices: &[Held]) -> Result<HashSet<i64>, DbError> {
        let (ids, attempts, leases) = columns(notices);
        let rows = self
            .query(
                BEGIN,
                &[
                    (&ids, Type::INT8_ARRAY),
                    (&attempts, Type::INT4_ARRAY),
                    (&leases, Type::TIMESTAMPTZ_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter().map(|row| column(row, "id")).collect()
    }

    /// Gives notices back that were leased and certainly not sent, if the lease is still ours: they wait as before, with
    /// a reason where there is one.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn give_back_notices(&self, notices: &[Held], why: Option<&str>) -> Result<(), DbError> {
        let (ids, attempts, leases) = columns(notices);
        self.execute(
            GIVE_BACK,
            &[
                (&ids, Type::INT8_ARRAY),
                (&attempts, Type::INT4_ARRAY),
                (&leases, Type::TIMESTAMPTZ_ARRAY),
                (&why, Type::TEXT),
            ],
        )
        .await?;
        Ok(())
    }

    /// Ends leases that ran out: their sender vanished between claim and record. What it had not begun to send waits as
    /// before; of the rest, kinds of `repeated` are sent again (at least once) until `max_attempts`, the others dropped
    /// (at most once).
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn end_leases(&self, repeated: &[&str], max_attempts: i32) -> Result<EndedLeases, DbError> {
        let rows = self
            .query(
                END_LEASES,
                &[
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&repeated, Type::TEXT_ARRAY),
                    (&max_attempts, Type::INT4),
                ],
            )
            .await?;
        let (statuses, dead) = dead_among(&rows)?;
        let mut ended = EndedLeases { dead, ..EndedLeases::default() };
        for (row, status) in rows.iter().zip(&statuses) {
            let was_begun: bool = column(row, "was_begun")?;
            ended.repeated += u64::from(was_begun && status == "pending");
            ended.dropped += u64::from(status == "dropped");
        }
        Ok(ended)
    }

    /// Records what became of an attempt, if the attempt is still ours. Answers whether it was.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn record_delivery(
        &self,
        notice: &ClaimedNotice,
        lease_until: Timestamp,
        result: &Recorded,
    ) -> Result<bool, DbError> {
        let written = self
            .execute(
                RECORD,
                &[
                    (&notice.id, Type::INT8),
                    (/* attempt */ &(notice.attempts + 1), Type::INT4),
                    (&lease_until, Type::TIMESTAMPTZ),
                    (&result.status, Type::TEXT),
                    (&result.attempts, Type::INT4),
                    (&result.error, Type::TEXT),
                    (&result.message_id, Type::INT8),
                    (&result.not_before, Type::TIMESTAMPTZ),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&result.moved_to, Type::INT8),
                ],
            )
            .await?;
        Ok(written > 0)
    }

    /// Remembers that messages do not reach a user. Money and access do not ask for it.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn mark_unreachable(&self, user: TelegramId) -> Result<(), DbError> {
        self.execute(MARK_UNREACHABLE, &[(&user, Type::INT8), (/* now */ &self.now(), Type::TIMESTAMPTZ)]).await?;
        Ok(())
    }
}

fn columns(notices: &[Held]) -> (Vec<i64>, Vec<i32>, Vec<Timestamp>) {
    let ids = notices.iter().map(|notice| notice.id).collect();
    let attempts = notices.iter().map(|notice| notice.attempts).collect();
    (ids, attempts, notices.iter().map(|notice| notice.lease_until).collect())
}

/// The new statuses of these rows, and who is dead.
fn dead_among(rows: &[Row]) -> Result<(Vec<String>, Vec<DeadNotice>), DbError> {
    let statuses: Vec<String> = rows.iter().map(|row| column(row, "status")).collect::<Result<_, _>>()?;
    let dead = rows.iter().zip(&statuses).filter(|(_, status)| *status == "dead").map(|(row, _)| {
        let reason: Option<String> = column(row, "last_error")?;
        let reason = reason.unwrap_or_default();
        Ok(DeadNotice { kind: column(row, "kind")?, chat: column(row, "telegram_id")?, reason })
    });
    Ok((statuses.clone(), dead.collect::<Result<_, DbError>>()?))
}
