//! What `renew` writes of a charged period: the new end, the payment, and how a row stands that could not pay.

use std::error::Error;

use tokio_postgres::types::{FromSql, Type, accepts};

use super::tx::column;
use super::{DbError, Tx};
use crate::ids::{CredentialId, SubscriptionId, VpnUuid};
use crate::money::Kopecks;
use crate::time::Timestamp;

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

/// Dunning: first notice at the first failed try, quiet in between, a final one before the end. Once each a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShortStage {
    /// The first failed try of the period.
    First,
    /// The last hour before the end, and the grace after it.
    Final,
}

impl ShortStage {
    /// As the database and notices call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Final => "final",
        }
    }
}

impl<'a> FromSql<'a> for ShortStage {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let name = <&str>::from_sql(kind, raw)?;
        let known = [Self::First, Self::Final].into_iter().find(|stage| stage.name() == name);
        known.ok_or_else(|| format!("{name} is no stage of a short balance").into())
    }

    accepts!(TEXT);
}

/// A failed try for want of money, to be remembered on the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortTry {
    /// The row.
    pub id: SubscriptionId,
    /// Stage of the last notice.
    pub stage: ShortStage,
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

impl Tx<'_> {
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
        let stages: Vec<&str> = tries.iter().map(|row| row.stage.name()).collect();
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
}
