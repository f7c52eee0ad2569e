//! Statements of the trial reminders: list, claim, plan the next look.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Left, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::page::{Listed, Page};
use crate::time::Timestamp;

/// A trial to be looked at and its key: longest due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReminderKey {
    /// When it was to be looked at, as listed.
    pub next_reminder_at: Timestamp,
    /// The row.
    pub id: SubscriptionId,
}

impl Listed for ReminderKey {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

/// A claimed trial.
#[derive(Debug, Clone)]
pub struct DueReminder {
    /// The row.
    pub id: SubscriptionId,
    /// Its user.
    pub telegram_id: TelegramId,
    /// Code of its tariff.
    pub tariff: String,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it will be over.
    pub expires_at: Timestamp,
    /// Reminders due from then on were not looked at yet.
    pub next_reminder_at: Timestamp,
    /// The user has a live paid subscription besides.
    pub paid: bool,
}

const LIST_REMINDERS_DUE: &str = "-- list_reminders_due
SELECT s.next_reminder_at, s.id
FROM subscriptions s
WHERE s.status = 'active' AND s.source = 'trial'
    AND (s.next_reminder_at, s.id) > ($1, $2)
    AND s.next_reminder_at <= $3
    AND NOT EXISTS (
        SELECT FROM parked p
        WHERE p.pass = 'notify-trials' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $3)
    )
ORDER BY s.next_reminder_at, s.id
LIMIT $4";

const CLAIM_REMINDERS_DUE: &str = "-- claim_reminders_due
SELECT s.id, s.telegram_id, s.tariff, s.starts_at, s.expires_at, s.next_reminder_at,
    EXISTS (
        SELECT FROM subscriptions o
        WHERE o.telegram_id = s.telegram_id AND o.source = 'payment' AND o.status = 'active' AND o.expires_at > $3
    ) AS paid
FROM unnest($1, $2) AS l (next_reminder_at, id)
JOIN subscriptions s ON s.id = l.id AND s.next_reminder_at = l.next_reminder_at
WHERE s.status = 'active' AND s.source = 'trial' AND s.next_reminder_at <= $3
FOR NO KEY UPDATE OF s SKIP LOCKED";

const STILL_DUE_FOR_REMINDER: &str = "-- still_due_for_reminder
SELECT count(*) AS rows
FROM unnest($1, $2) AS l (next_reminder_at, id)
JOIN subscriptions s ON s.id = l.id AND s.next_reminder_at = l.next_reminder_at
WHERE s.status = 'active' AND s.source = 'trial'
    AND NOT EXISTS (
        SELECT FROM parked p
        WHERE p.pass = 'notify-trials' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $3)
    )";

const PLAN_REMINDERS: &str = "-- plan_reminders
UPDATE subscriptions s SET next_reminder_at = n.at FROM unnest($1, $2) AS n (id, at) WHERE s.id = n.id";

impl Tx<'_> {
    /// Lists trials that are to be looked at, longest due first, without locks. Parked rows are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_reminders_due(&self, page: &Page<ReminderKey>) -> Result<Vec<ReminderKey>, DbError> {
        let limit = page.limit();
        let rows = self
            .query(
                LIST_REMINDERS_DUE,
                &[
                    (&page.after.next_reminder_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| Ok(ReminderKey { next_reminder_at: column(row, "next_reminder_at")?, id: column(row, "id")? }))
            .collect()
    }

    /// How many trials are to be looked at beyond the cursor, so many at most, and since when the oldest.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_reminders_left(&self, after: ReminderKey, at_most: i64) -> Result<Left, DbError> {
        self.count_listed(
            LIST_REMINDERS_DUE,
            &[
                (&after.next_reminder_at, Type::TIMESTAMPTZ),
                (&after.id, Type::INT8),
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&at_most, Type::INT8),
            ],
        )
        .await
    }

    /// Claims listed trials that nobody holds (`FOR NO KEY UPDATE SKIP LOCKED`).
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_reminders_due(&self, listed: &[ReminderKey]) -> Result<Vec<DueReminder>, DbError> {
        let (moments, ids) = columns(listed);
        let rows = self
            .query(
                CLAIM_REMINDERS_DUE,
                &[
                    (&moments, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter().map(due_reminder).collect()
    }

    /// How many listed trials are as they were listed, and not parked.
    ///
    /// # Errors
    /// The database's.
    pub async fn still_due_for_reminder(&self, listed: &[ReminderKey]) -> Result<i64, DbError> {
        let (moments, ids) = columns(listed);
        let row = self
            .query_opt(
                STILL_DUE_FOR_REMINDER,
                &[
                    (&moments, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }

    /// Sets when claimed trials are looked at next; none: never again.
    ///
    /// # Errors
    /// The database's.
    pub async fn plan_reminders(&self, plans: &[(SubscriptionId, Option<Timestamp>)]) -> Result<(), DbError> {
        if plans.is_empty() {
            return Ok(());
        }
        let (ids, moments): (Vec<SubscriptionId>, Vec<Option<Timestamp>>) = plans.iter().copied().unzip();
        self.execute(PLAN_REMINDERS, &[(&ids, Type::INT8_ARRAY), (&moments, Type::TIMESTAMPTZ_ARRAY)]).await?;
        Ok(())
    }
}

fn columns(listed: &[ReminderKey]) -> (Vec<Timestamp>, Vec<SubscriptionId>) {
    listed.iter().map(|key| (key.next_reminder_at, key.id)).unzip()
}

fn due_reminder(row: &Row) -> Result<DueReminder, DbError> {
    Ok(DueReminder {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        tariff: column(row, "tariff")?,
        starts_at: column(row, "starts_at")?,
        expires_at: column(row, "expires_at")?,
        next_reminder_at: column(row, "next_reminder_at")?,
        paid: column(row, "paid")?,
    })
}
