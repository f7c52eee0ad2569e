//! What is due for renewal: listed without locks, claimed, looked at again.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Left, ShortStage, Tx};
use crate::ids::{AccountId, CredentialId, SubscriptionId, TelegramId, VpnUuid};
use crate::money::Kopecks;
use crate::page::{Listed, Page};
use crate::time::Timestamp;

/// Between which ends a subscription is due for renewal: `now − grace < expires_at <= now + window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalBounds {
    /// How long before the end charging begins.
    pub window: Duration,
    /// How long past the end a funded row is still renewed.
    pub grace: Duration,
}

/// What is due in one pass. A row is charged for one period a pass at most, also where the new end is due again: rows
/// renewed since the pass began are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalDue {
    /// Between which ends.
    pub bounds: RenewalBounds,
    /// When the pass began.
    pub pass_began: Timestamp,
}

/// A listed row and its key: oldest end first. The end is part of every later condition, so whoever renewed the row
/// in between has it, and we do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RenewalKey {
    /// The end as listed.
    pub expires_at: Timestamp,
    /// The row.
    pub id: SubscriptionId,
}

impl RenewalKey {
    /// The key below all rows that end after `moment`.
    #[must_use]
    pub fn after(moment: Timestamp) -> Self {
        Self { expires_at: moment, id: SubscriptionId(i64::MAX) }
    }
}

impl Listed for RenewalKey {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

/// A claimed row: locked with its wallet until the transaction ends, with all that the decision needs.
#[derive(Debug, Clone)]
pub struct DueForRenewal {
    /// The row.
    pub id: SubscriptionId,
    /// Its user.
    pub telegram_id: TelegramId,
    /// Code of its tariff.
    pub tariff: String,
    /// Whether that tariff is sold; none: there is no such tariff.
    pub tariff_active: Option<bool>,
    /// Start of the period to be charged: the old end.
    pub period_start: Timestamp,
    /// End of that period; none without a tariff.
    pub period_end: Option<Timestamp>,
    /// What the period costs this user; none without a tariff.
    pub price: Option<Kopecks>,
    /// The user's wallet, locked.
    pub wallet: AccountId,
    /// What it holds.
    pub balance: Kopecks,
    /// The credential, and the secret the user connects with.
    pub credential: CredentialId,
    /// Must be the same after the extension.
    pub uuid: VpnUuid,
    /// Refunded payments of this very period; they number the key of the next charge.
    pub voided: i64,
    /// Failed tries of `renew` that are on record.
    pub tries: i32,
    /// Last notice of this period about a short balance.
    pub short_stage: Option<ShortStage>,
    /// Balance and price at the last recorded failed try of this period.
    pub short_seen: Option<(Kopecks, Kopecks)>,
}

const LIST_RENEWAL_DUE: &str = "-- list_renewal_due
SELECT s.expires_at, s.id
FROM subscriptions s
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND (s.expires_at, s.id) > ($1, $2)
    AND s.expires_at <= $3
    AND (s.last_auto_renewal_at IS NULL OR s.last_auto_renewal_at < $5)
    AND NOT EXISTS (
        SELECT FROM parked p
        WHERE p.pass = 'renew' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $4)
    )
ORDER BY s.expires_at, s.id
LIMIT $6";

const CLAIM_RENEWAL_DUE: &str = "-- claim_renewal_due
SELECT s.id, s.telegram_id, s.tariff, t.active AS tariff_active, s.expires_at AS period_start,
    period_end(s.expires_at, t.period_unit, t.period_count, s.anchor_day) AS period_end,
    price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS price,
    w.id AS wallet, w.balance_kopecks, s.credential_id, c.uuid,
    (SELECT count(*) FROM payments v
        WHERE v.subscription_id = s.id AND v.period_start = s.expires_at AND v.voided_at IS NOT NULL) AS voided,
    coalesce(p.tries, 0) AS tries, s.short_stage, s.short_balance_kopecks, s.short_price_kopecks
FROM unnest($1, $2) AS l (expires_at, id)
JOIN subscriptions s ON s.id = l.id AND s.expires_at = l.expires_at
JOIN accounts w ON w.telegram_id = s.telegram_id AND w.kind = 'wallet'
JOIN credentials c ON c.id = s.credential_id
JOIN users u ON u.telegram_id = s.telegram_id
LEFT JOIN tariffs t ON t.code = s.tariff
LEFT JOIN discounts d ON d.telegram_id = s.telegram_id AND (d.ends_at IS NULL OR d.ends_at > $3)
LEFT JOIN parked p ON p.pass = 'renew' AND p.subscription = s.id
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND s.expires_at > $4
    AND (s.last_auto_renewal_at IS NULL OR s.last_auto_renewal_at < $5)
    AND (p.subscription IS NULL OR p.next_try_at <= $3)
FOR NO KEY UPDATE OF s, w SKIP LOCKED";

const STILL_DUE: &str = "-- still_due_for_renewal
SELECT s.expires_at, s.id
FROM unnest($1, $2) AS l (expires_at, id)
JOIN subscriptions s ON s.id = l.id AND s.expires_at = l.expires_at
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment' AND s.expires_at > $3
    AND (s.last_auto_renewal_at IS NULL OR s.last_auto_renewal_at < $4)
    AND NOT EXISTS (
        SELECT FROM parked p
        WHERE p.pass = 'renew' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $5)
    )";

impl Tx<'_> {
    /// Lists rows due for renewal after the page's cursor, oldest end first, without locks. Parked rows are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_renewal_due(&self, page: &Page<RenewalKey>, due: RenewalDue) -> Result<Vec<RenewalKey>, DbError> {
        let rows = page.limit();
        let listed = self
            .query(
                LIST_RENEWAL_DUE,
                &[
                    (&page.after.expires_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (/* latest end */ &(self.now() + due.bounds.window), Type::TIMESTAMPTZ),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&due.pass_began, Type::TIMESTAMPTZ),
                    (&rows, Type::INT8),
                ],
            )
            .await?;
        listed.iter().map(renewal_key).collect()
    }

    /// Claims listed rows that are still due and that nobody holds: locks each with its wallet (`FOR NO KEY UPDATE …
    /// SKIP LOCKED`) until the transaction ends. In no order.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_renewal_due(
        &self,
        listed: &[RenewalKey],
        due: RenewalDue,
    ) -> Result<Vec<DueForRenewal>, DbError> {
        let (ends, ids) = columns(listed);
        let rows = self
            .query(
                CLAIM_RENEWAL_DUE,
                &[
                    (&ends, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (/* earliest end */ &(self.now() - due.bounds.grace), Type::TIMESTAMPTZ),
                    (&due.pass_began, Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter().map(due_for_renewal).collect()
    }

    /// How many rows are due beyond the cursor, so many at most, and the earliest end among them.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_renewal_left(&self, after: RenewalKey, due: RenewalDue, at_most: i64) -> Result<Left, DbError> {
        self.count_listed(
            LIST_RENEWAL_DUE,
            &[
                (&after.expires_at, Type::TIMESTAMPTZ),
                (&after.id, Type::INT8),
                (/* latest end */ &(self.now() + due.bounds.window), Type::TIMESTAMPTZ),
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&due.pass_began, Type::TIMESTAMPTZ),
                (&at_most, Type::INT8),
            ],
        )
        .await
    }

    /// Which of these listed rows are due as they were listed. No locks; in no order.
    ///
    /// # Errors
    /// The database's.
    pub async fn still_due_for_renewal(
        &self,
        listed: &[RenewalKey],
        due: RenewalDue,
    ) -> Result<Vec<RenewalKey>, DbError> {
        let (ends, ids) = columns(listed);
        let rows = self
            .query(
                STILL_DUE,
                &[
                    (&ends, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* earliest end */ &(self.now() - due.bounds.grace), Type::TIMESTAMPTZ),
                    (&due.pass_began, Type::TIMESTAMPTZ),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter().map(renewal_key).collect()
    }
}

pub(super) fn columns(keys: &[RenewalKey]) -> (Vec<Timestamp>, Vec<SubscriptionId>) {
    keys.iter().map(|key| (key.expires_at, key.id)).unzip()
}

pub(super) fn renewal_key(row: &Row) -> Result<RenewalKey, DbError> {
    Ok(RenewalKey { expires_at: column(row, "expires_at")?, id: column(row, "id")? })
}

fn due_for_renewal(row: &Row) -> Result<DueForRenewal, DbError> {
    let short_balance: Option<Kopecks> = column(row, "short_balance_kopecks")?;
    let short_price: Option<Kopecks> = column(row, "short_price_kopecks")?;
    Ok(DueForRenewal {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        tariff: column(row, "tariff")?,
        tariff_active: column(row, "tariff_active")?,
        period_start: column(row, "period_start")?,
        period_end: column(row, "period_end")?,
        price: column(row, "price")?,
        wallet: column(row, "wallet")?,
        balance: column(row, "balance_kopecks")?,
        credential: column(row, "credential_id")?,
        uuid: column(row, "uuid")?,
        voided: column(row, "voided")?,
        tries: column(row, "tries")?,
        short_stage: column(row, "short_stage")?,
        short_seen: short_balance.zip(short_price),
    })
}
