//! Parked rows, seen and handled by an operator.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::time::Timestamp;

/// A row of `parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEntry {
    /// The pass that leaves the row alone.
    pub pass: String,
    /// The row.
    pub subscription_id: SubscriptionId,
    /// Whose it is, where the row still stands.
    pub telegram_id: Option<TelegramId>,
    /// Failed tries; 0: parked by hand.
    pub tries: i32,
    /// Why.
    pub reason: String,
    /// The first failed try, or when it was parked by hand.
    pub since: Timestamp,
    /// The last one.
    pub last_failed_at: Timestamp,
    /// None: parked until released; else only counted, and tried again from then on.
    pub next_try_at: Option<Timestamp>,
}

/// A subscription and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionOwner {
    /// Whose.
    pub telegram_id: TelegramId,
    /// `active`, `expiring`, `expired`.
    pub status: String,
}

const FIND_OWNER: &str = "-- find_owner
SELECT s.telegram_id, s.status FROM subscriptions s WHERE s.id = $1";

const PARK: &str = "-- park
INSERT INTO parked AS p (pass, subscription, tries, reason, first_failed_at, last_failed_at, next_try_at)
VALUES ($1, $2, 0, $3, $4, $4, NULL)
ON CONFLICT ON CONSTRAINT parked_pkey DO UPDATE SET reason = excluded.reason, next_try_at = NULL";

const UNPARK: &str = "-- unpark
DELETE FROM parked p
WHERE p.pass = $1 AND p.subscription = $2
RETURNING p.pass, p.subscription, p.tries, p.reason, p.first_failed_at, p.last_failed_at, p.next_try_at,
    (SELECT s.telegram_id FROM subscriptions s WHERE s.id = p.subscription) AS telegram_id";

// Only counted rows come after the parked ones: they need nobody yet.
const LIST_PARKED: &str = "-- list_parked
SELECT p.pass, p.subscription, p.tries, p.reason, p.first_failed_at, p.last_failed_at, p.next_try_at, s.telegram_id
FROM parked p
LEFT JOIN subscriptions s ON s.id = p.subscription
WHERE $1 OR p.next_try_at IS NULL
ORDER BY p.next_try_at IS NOT NULL, p.pass COLLATE \"C\", p.first_failed_at, p.subscription
LIMIT $2";

const COUNT_PARKED: &str = "-- count_parked
SELECT count(*) AS rows FROM parked p WHERE $1 OR p.next_try_at IS NULL";

impl Tx<'_> {
    /// Whose a subscription is; none: no such subscription.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_owner(&self, id: SubscriptionId) -> Result<Option<SubscriptionOwner>, DbError> {
        let row = self.query_opt(FIND_OWNER, &[(&id, Type::INT8)]).await?;
        row.as_ref()
            .map(|row| {
                Ok(SubscriptionOwner { telegram_id: column(row, "telegram_id")?, status: column(row, "status")? })
            })
            .transpose()
    }

    /// Parks a row for a pass, by hand. Failed tries on record stay counted.
    ///
    /// # Errors
    /// The database's.
    pub async fn park(&self, pass: &str, id: SubscriptionId, reason: &str) -> Result<(), DbError> {
        self.execute(
            PARK,
            &[
                (&pass, Type::TEXT),
                (&id, Type::INT8),
                (&reason, Type::TEXT),
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
        Ok(())
    }

    /// Releases a row, with its count of failed tries, and answers what it was; none: it was not parked.
    ///
    /// # Errors
    /// The database's.
    pub async fn unpark(&self, pass: &str, id: SubscriptionId) -> Result<Option<ParkedEntry>, DbError> {
        let row = self.query_opt(UNPARK, &[(&pass, Type::TEXT), (&id, Type::INT8)]).await?;
        row.as_ref().map(parked_entry).transpose()
    }

    /// Parked rows by pass, longest parked first; with `counted` also those that have only failed so far.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_parked(&self, counted: bool, limit: i64) -> Result<Vec<ParkedEntry>, DbError> {
        let rows = self.query(LIST_PARKED, &[(&counted, Type::BOOL), (&limit, Type::INT8)]).await?;
        rows.iter().map(parked_entry).collect()
    }

    /// How many there are of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_parked(&self, counted: bool) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_PARKED, &[(&counted, Type::BOOL)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }
}

pub(super) fn parked_entry(row: &Row) -> Result<ParkedEntry, DbError> {
    Ok(ParkedEntry {
        pass: column(row, "pass")?,
        subscription_id: column(row, "subscription")?,
        telegram_id: column(row, "telegram_id")?,
        tries: column(row, "tries")?,
        reason: column(row, "reason")?,
        since: column(row, "first_failed_at")?,
        last_failed_at: column(row, "last_failed_at")?,
        next_try_at: column(row, "next_try_at")?,
    })
}
