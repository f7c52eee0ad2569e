//! Statements about charges to come: list who was not told yet, claim, remember that they were.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::renewals::{columns, renewal_key};
use super::tx::column;
use super::{DbError, Left, RenewalKey, Tx};
use crate::ids::{SubscriptionId, TelegramId};
use crate::money::Kopecks;
use crate::page::Page;
use crate::time::Timestamp;

/// Before which ends a charge is announced: `now + window < expires_at <= now + ahead`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncementBounds {
    /// How long before the end it is charged.
    pub window: Duration,
    /// How long before the end that is said.
    pub ahead: Duration,
}

/// A claimed row that will be charged: locked until the transaction ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAnnouncement {
    /// The row.
    pub id: SubscriptionId,
    /// Its user.
    pub telegram_id: TelegramId,
    /// Code of its tariff.
    pub tariff: String,
    /// Its end.
    pub expires_at: Timestamp,
    /// What the next period will cost this user when it is charged, as far as is known today.
    pub price: Kopecks,
    /// What the user's wallet holds, not locked.
    pub balance: Kopecks,
}

// Of a tariff that is not sold `renew` will charge nothing.
const LIST_ANNOUNCEMENTS_DUE: &str = "-- list_announcements_due
SELECT s.expires_at, s.id
FROM subscriptions s
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND s.charge_told_for IS DISTINCT FROM s.expires_at
    AND (s.expires_at, s.id) > ($1, $2)
    AND s.expires_at <= $3
    AND (SELECT t.active FROM tariffs t WHERE t.code = s.tariff)
    AND NOT EXISTS (
        SELECT FROM parked p WHERE p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
    )
ORDER BY s.expires_at, s.id
LIMIT $4";

// A discount that is over when the charge comes is not promised.
const CLAIM_ANNOUNCEMENTS_DUE: &str = "-- claim_announcements_due
SELECT s.id, s.telegram_id, s.tariff, s.expires_at,
    price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS price, w.balance_kopecks
FROM unnest($1, $2) AS l (expires_at, id)
JOIN subscriptions s ON s.id = l.id AND s.expires_at = l.expires_at
JOIN accounts w ON w.telegram_id = s.telegram_id AND w.kind = 'wallet'
JOIN users u ON u.telegram_id = s.telegram_id
JOIN tariffs t ON t.code = s.tariff AND t.active
LEFT JOIN discounts d ON d.telegram_id = s.telegram_id
    AND (d.ends_at IS NULL OR d.ends_at > s.expires_at - $4 * interval '1 microsecond')
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND s.charge_told_for IS DISTINCT FROM s.expires_at
    AND s.expires_at > $3
    AND NOT EXISTS (
        SELECT FROM parked p WHERE p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
    )
FOR NO KEY UPDATE OF s SKIP LOCKED";

const RECORD_ANNOUNCED: &str = "-- record_announced
UPDATE subscriptions s
SET charge_told_for = l.expires_at
FROM unnest($1, $2) AS l (expires_at, id)
WHERE s.id = l.id AND s.status = 'active' AND s.expires_at = l.expires_at";

impl Tx<'_> {
    /// Lists rows that will be charged and whose users were not told so, soonest end first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_announcements_due(
        &self,
        page: &Page<RenewalKey>,
        bounds: AnnouncementBounds,
    ) -> Result<Vec<RenewalKey>, DbError> {
        let limit = page.limit();
        let rows = self
            .query(
                LIST_ANNOUNCEMENTS_DUE,
                &[
                    (&page.after.expires_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (/* latest end */ &(self.now() + bounds.ahead), Type::TIMESTAMPTZ),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        rows.iter().map(renewal_key).collect()
    }

    /// How many of these there are beyond the cursor, and the soonest end among them.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_announcements_left(
        &self,
        after: RenewalKey,
        bounds: AnnouncementBounds,
        at_most: i64,
    ) -> Result<Left, DbError> {
        self.count_listed(
            LIST_ANNOUNCEMENTS_DUE,
            &[
                (&after.expires_at, Type::TIMESTAMPTZ),
                (&after.id, Type::INT8),
                (/* latest end */ &(self.now() + bounds.ahead), Type::TIMESTAMPTZ),
                (&at_most, Type::INT8),
            ],
        )
        .await
    }

    /// Claims listed rows that nobody holds and that are still to be told (`FOR NO KEY UPDATE SKIP LOCKED`). The wallet
    /// is only looked at. In no order.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_announcements_due(
        &self,
        listed: &[RenewalKey],
        bounds: AnnouncementBounds,
    ) -> Result<Vec<DueAnnouncement>, DbError> {
        let (ends, ids) = columns(listed);
        let window = i64::try_from(bounds.window.as_micros()).unwrap_or(i64::MAX);
        let rows = self
            .query(
                CLAIM_ANNOUNCEMENTS_DUE,
                &[
                    (&ends, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* charged already */ &(self.now() + bounds.window), Type::TIMESTAMPTZ),
                    (/* microseconds */ &window, Type::INT8),
                ],
            )
            .await?;
        rows.iter().map(due_announcement).collect()
    }

    /// Remembers of claimed rows that their users were told.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_announced(&self, told: &[RenewalKey]) -> Result<(), DbError> {
        if told.is_empty() {
            return Ok(());
        }
        let (ends, ids) = columns(told);
        self.execute(RECORD_ANNOUNCED, &[(&ends, Type::TIMESTAMPTZ_ARRAY), (&ids, Type::INT8_ARRAY)]).await?;
        Ok(())
    }
}

fn due_announcement(row: &Row) -> Result<DueAnnouncement, DbError> {
    Ok(DueAnnouncement {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        tariff: column(row, "tariff")?,
        expires_at: column(row, "expires_at")?,
        price: column(row, "price")?,
        balance: column(row, "balance_kopecks")?,
    })
}
