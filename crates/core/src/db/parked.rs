//! Parking: a row that one pass fails on again and again is left alone by that pass, and by no other.

use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, NewAudit, Tx};
use crate::ids::{SubscriptionId, TelegramId};

/// What becomes of a row after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Count it; parked when the limit is reached.
    Count,
    /// Parked at once: another try cannot help.
    Park,
}

/// A failed try of a row.
#[derive(Debug, Clone)]
pub struct FailedTry {
    /// The row.
    pub subscription_id: SubscriptionId,
    /// Why it failed, for a person.
    pub reason: String,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Where a row stands after a failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parking {
    /// The row.
    pub subscription_id: SubscriptionId,
    /// Whose it is.
    pub telegram_id: Option<TelegramId>,
    /// Failed tries so far.
    pub tries: i32,
    /// Why the last one failed.
    pub reason: String,
    /// Left alone until `perennial unpark`.
    pub parked: bool,
}

const RECORD_TRIES: &str = "-- record_failed_tries
INSERT INTO parked AS p (pass, subscription, tries, reason, first_failed_at, last_failed_at, next_try_at)
SELECT $1, f.subscription, 1, f.reason, $2, $2, CASE WHEN f.park OR $3 <= 1 THEN NULL ELSE $2 END
FROM unnest($4, $5, $6) AS f (subscription, reason, park)
ON CONFLICT ON CONSTRAINT parked_pkey DO UPDATE
SET tries = p.tries + 1,
    reason = excluded.reason,
    last_failed_at = excluded.last_failed_at,
    next_try_at = CASE WHEN excluded.next_try_at IS NULL OR p.tries + 1 >= $3 THEN NULL ELSE excluded.next_try_at END
RETURNING p.subscription, p.tries, p.reason, p.next_try_at IS NULL AS parked,
    (SELECT s.telegram_id FROM subscriptions s WHERE s.id = p.subscription) AS telegram_id";

const FORGET_TRIES: &str = "-- forget_failed_tries
DELETE FROM parked p WHERE p.pass = $1 AND p.subscription = ANY ($2)";

impl Tx<'_> {
    /// Counts failed tries of the acting pass, parks what reached `limit`, and writes an audit row for what is parked.
    /// The pass itself, every so many minutes, is the pause between tries.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_failed_tries(&self, tries: &[FailedTry], limit: i32) -> Result<Vec<Parking>, DbError> {
        if tries.is_empty() {
            return Ok(Vec::new());
        }
        let subscriptions: Vec<SubscriptionId> = tries.iter().map(|row| row.subscription_id).collect();
        let reasons: Vec<&str> = tries.iter().map(|row| row.reason.as_str()).collect();
        let at_once: Vec<bool> = tries.iter().map(|row| row.verdict == Verdict::Park).collect();
        let rows = self
            .query(
                RECORD_TRIES,
                &[
                    (/* pass */ &self.actor().name, Type::TEXT),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (/* limit */ &limit, Type::INT4),
                    (&subscriptions, Type::INT8_ARRAY),
                    (&reasons, Type::TEXT_ARRAY),
                    (&at_once, Type::BOOL_ARRAY),
                ],
            )
            .await?;
        let parkings = rows.iter().map(parking).collect::<Result<Vec<_>, _>>()?;
        let audit: Vec<NewAudit> = parkings
            .iter()
            .filter(|row| row.parked)
            .map(|row| NewAudit {
                action: "parked",
                telegram_id: row.telegram_id,
                subscription_id: Some(row.subscription_id),
                before: None,
                after: None,
                reason: Some(row.reason.clone()),
            })
            .collect();
        self.insert_audit(&audit).await?;
        Ok(parkings)
    }

    /// Forgets the failed tries of rows that the acting pass has now got through.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_failed_tries(&self, subscriptions: &[SubscriptionId]) -> Result<(), DbError> {
        if subscriptions.is_empty() {
            return Ok(());
        }
        self.execute(FORGET_TRIES, &[(/* pass */ &self.actor().name, Type::TEXT), (&subscriptions, Type::INT8_ARRAY)])
            .await?;
        Ok(())
    }
}

fn parking(row: &tokio_postgres::Row) -> Result<Parking, DbError> {
    Ok(Parking {
        subscription_id: column(row, "subscription")?,
        telegram_id: column(row, "telegram_id")?,
        tries: column(row, "tries")?,
        reason: column(row, "reason")?,
        parked: column(row, "parked")?,
    })
}
