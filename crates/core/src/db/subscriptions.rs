//! Subscriptions as `renew` sees them: list, claim, extend, read back.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Tx};
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
    pub short_stage: Option<String>,
    /// Balance and price at the last recorded failed try of this period.
    pub short_seen: Option<(Kopecks, Kopecks)>,
}

/// A row to be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The row.
    pub id: SubscriptionId,
    /// The old end, which must still stand.
    pub period_start: Timestamp,
    /// The new end.
    pub period_end: Timestamp,
}

/// What stands in the database after the extension.
#[derive(Debug, Clone, Copy)]
pub struct ReadBack {
    /// The row.
    pub id: SubscriptionId,
    /// Its end now.
    pub expires_at: Timestamp,
    /// Its credential now.
    pub credential: CredentialId,
    /// The secret of that credential now.
    pub uuid: VpnUuid,
}

/// A failed try for want of money, to be remembered on the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortTry {
    /// The row.
    pub id: SubscriptionId,
    /// Stage of the last notice: `first` or `final`.
    pub stage: &'static str,
    /// What the wallet held.
    pub balance: Kopecks,
    /// What the period costs.
    pub price: Kopecks,
}

/// A charged period.
#[derive(Debug, Clone)]
pub struct NewPayment {
    /// Which row, from when, until when.
    pub extension: Extension,
    /// Under which tariff.
    pub tariff: String,
    /// For how much.
    pub amount: Kopecks,
    /// Key of the transfer, posted earlier in this transaction; none exactly for a price of 0.
    pub transfer_key: Option<String>,
}

/// A payment as it stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidPeriod {
    /// Which row, from when, until when.
    pub period: Extension,
    /// For how much.
    pub amount: Kopecks,
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

const EXTEND: &str = "-- extend
UPDATE subscriptions s
SET expires_at = e.period_end, last_auto_renewal_at = $1,
    short_stage = NULL, short_balance_kopecks = NULL, short_price_kopecks = NULL
FROM unnest($2, $3, $4) AS e (id, period_start, period_end)
WHERE s.id = e.id AND s.status = 'active' AND s.expires_at = e.period_start";

const READ_BACK: &str = "-- read_back
SELECT s.id, s.expires_at, s.credential_id, c.uuid
FROM subscriptions s
JOIN credentials c ON c.id = s.credential_id
WHERE s.id = ANY ($1) AND s.status = 'active'";

const INSERT_PAYMENTS: &str = "-- insert_payments
INSERT INTO payments (subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at)
SELECT n.id, n.tariff, n.period_start, n.period_end, n.amount, t.id, $1
FROM unnest($2, $3, $4, $5, $6, $7) AS n (id, tariff, period_start, period_end, amount, transfer_key)
LEFT JOIN transfers t ON t.idempotency_key = n.transfer_key
RETURNING subscription_id, period_start, period_end, amount_kopecks";

const RECORD_SHORT: &str = "-- record_short_tries
UPDATE subscriptions s
SET short_stage = n.stage, short_balance_kopecks = n.balance, short_price_kopecks = n.price
FROM unnest($1, $2, $3, $4) AS n (id, stage, balance, price)
WHERE s.id = n.id AND s.status = 'active'";

const COUNT_LEFT: &str = "-- count_renewal_left
SELECT count(*) AS rows, min(s.expires_at) AS oldest
FROM subscriptions s
WHERE s.status = 'active' AND s.auto_renew AND s.source = 'payment'
    AND (s.expires_at, s.id) > ($1, $2)
    AND s.expires_at <= $3
    AND (s.last_auto_renewal_at IS NULL OR s.last_auto_renewal_at < $5)
    AND NOT EXISTS (
        SELECT FROM parked p
        WHERE p.pass = 'renew' AND p.subscription = s.id AND (p.next_try_at IS NULL OR p.next_try_at > $4)
    )";

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
        let rows = i64::try_from(page.rows).unwrap_or(i64::MAX);
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

    /// Extends claimed rows. Answers how many were; whether they now say what they should, [`read_back`](Self::read_back)
    /// tells.
    ///
    /// # Errors
    /// The database's.
    pub async fn extend(&self, extensions: &[Extension]) -> Result<u64, DbError> {
        if extensions.is_empty() {
            return Ok(0);
        }
        let ids: Vec<SubscriptionId> = extensions.iter().map(|row| row.id).collect();
        let starts: Vec<Timestamp> = extensions.iter().map(|row| row.period_start).collect();
        let ends: Vec<Timestamp> = extensions.iter().map(|row| row.period_end).collect();
        self.execute(
            EXTEND,
            &[
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&ids, Type::INT8_ARRAY),
                (&starts, Type::TIMESTAMPTZ_ARRAY),
                (&ends, Type::TIMESTAMPTZ_ARRAY),
            ],
        )
        .await
    }

    /// Reads active rows again, with the secret of their credential. In no order.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_back(&self, ids: &[SubscriptionId]) -> Result<Vec<ReadBack>, DbError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.query(READ_BACK, &[(&ids, Type::INT8_ARRAY)]).await?;
        rows.iter()
            .map(|row| {
                Ok(ReadBack {
                    id: column(row, "id")?,
                    expires_at: column(row, "expires_at")?,
                    credential: column(row, "credential_id")?,
                    uuid: column(row, "uuid")?,
                })
            })
            .collect()
    }

    /// Writes the payments of charged periods; their transfers were posted earlier in this transaction. Answers what
    /// stands there now, in no order.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a period that is paid already (`payments_one_a_period`, `payments_no_day_twice`).
    pub async fn insert_payments(&self, payments: &[NewPayment]) -> Result<Vec<PaidPeriod>, DbError> {
        if payments.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<SubscriptionId> = payments.iter().map(|row| row.extension.id).collect();
        let tariffs: Vec<&str> = payments.iter().map(|row| row.tariff.as_str()).collect();
        let starts: Vec<Timestamp> = payments.iter().map(|row| row.extension.period_start).collect();
        let ends: Vec<Timestamp> = payments.iter().map(|row| row.extension.period_end).collect();
        let amounts: Vec<Kopecks> = payments.iter().map(|row| row.amount).collect();
        let keys: Vec<Option<&str>> = payments.iter().map(|row| row.transfer_key.as_deref()).collect();
        let rows = self
            .query(
                INSERT_PAYMENTS,
                &[
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&ids, Type::INT8_ARRAY),
                    (&tariffs, Type::TEXT_ARRAY),
                    (&starts, Type::TIMESTAMPTZ_ARRAY),
                    (&ends, Type::TIMESTAMPTZ_ARRAY),
                    (&amounts, Type::INT8_ARRAY),
                    (&keys, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(PaidPeriod {
                    period: Extension {
                        id: column(row, "subscription_id")?,
                        period_start: column(row, "period_start")?,
                        period_end: column(row, "period_end")?,
                    },
                    amount: column(row, "amount_kopecks")?,
                })
            })
            .collect()
    }

    /// Remembers failed tries on claimed rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_short_tries(&self, tries: &[ShortTry]) -> Result<(), DbError> {
        if tries.is_empty() {
            return Ok(());
        }
        let ids: Vec<SubscriptionId> = tries.iter().map(|row| row.id).collect();
        let stages: Vec<&str> = tries.iter().map(|row| row.stage).collect();
        let balances: Vec<Kopecks> = tries.iter().map(|row| row.balance).collect();
        let prices: Vec<Kopecks> = tries.iter().map(|row| row.price).collect();
        self.execute(
            RECORD_SHORT,
            &[
                (&ids, Type::INT8_ARRAY),
                (&stages, Type::TEXT_ARRAY),
                (&balances, Type::INT8_ARRAY),
                (&prices, Type::INT8_ARRAY),
            ],
        )
        .await?;
        Ok(())
    }

    /// How many rows are due beyond the cursor, and the earliest end among them.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_renewal_left(
        &self,
        after: RenewalKey,
        due: RenewalDue,
    ) -> Result<(i64, Option<Timestamp>), DbError> {
        let row = self
            .query_opt(
                COUNT_LEFT,
                &[
                    (&after.expires_at, Type::TIMESTAMPTZ),
                    (&after.id, Type::INT8),
                    (/* latest end */ &(self.now() + due.bounds.window), Type::TIMESTAMPTZ),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&due.pass_began, Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        row.map_or(Ok((0, None)), |row| Ok((column(&row, "rows")?, column(&row, "oldest")?)))
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
