//! The price list.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::money::Kopecks;

/// What a period is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodUnit {
    /// Days of 24 hours.
    Day,
    /// Calendar months.
    Month,
}

impl PeriodUnit {
    /// As the schema writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// A row of `tariffs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Its code.
    pub code: String,
    /// Group of inbounds it opens.
    pub access_group: String,
    /// What its period is counted in.
    pub period_unit: PeriodUnit,
    /// How many of them.
    pub period_count: i32,
    /// List price of one period.
    pub price: Kopecks,
    /// Sold and renewed; false: withdrawn.
    pub active: bool,
}

const LIST_TARIFFS: &str = "-- list_tariffs
SELECT t.code, t.access_group, t.period_unit, t.period_count, t.price_kopecks, t.active
FROM tariffs t
ORDER BY t.code";

const LOCK_TARIFF: &str = "-- lock_tariff
SELECT t.code, t.access_group, t.period_unit, t.period_count, t.price_kopecks, t.active
FROM tariffs t
WHERE t.code = $1
FOR NO KEY UPDATE";

const PUT_TARIFF: &str = "-- put_tariff
INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT ON CONSTRAINT tariffs_pkey DO UPDATE
SET access_group = excluded.access_group, period_unit = excluded.period_unit, period_count = excluded.period_count,
    price_kopecks = excluded.price_kopecks, active = excluded.active";

impl Tx<'_> {
    /// All tariffs by code, the withdrawn ones, too.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_tariffs(&self) -> Result<Vec<Tariff>, DbError> {
        self.query(LIST_TARIFFS, &[]).await?.iter().map(tariff).collect()
    }

    /// Locks a tariff, if there is one of that code.
    ///
    /// # Errors
    /// The database's.
    pub async fn lock_tariff(&self, code: &str) -> Result<Option<Tariff>, DbError> {
        self.query_opt(LOCK_TARIFF, &[(&code, Type::TEXT)]).await?.as_ref().map(tariff).transpose()
    }

    /// Writes a tariff, new or in place of the one of its code.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a code, group, period or price that cannot be.
    pub async fn put_tariff(&self, tariff: &Tariff) -> Result<(), DbError> {
        self.execute(
            PUT_TARIFF,
            &[
                (&tariff.code, Type::TEXT),
                (&tariff.access_group, Type::TEXT),
                (&tariff.period_unit.name(), Type::TEXT),
                (&tariff.period_count, Type::INT4),
                (&tariff.price, Type::INT8),
                (&tariff.active, Type::BOOL),
            ],
        )
        .await?;
        Ok(())
    }
}

fn tariff(row: &Row) -> Result<Tariff, DbError> {
    let unit: &str = column(row, "period_unit")?;
    Ok(Tariff {
        code: column(row, "code")?,
        access_group: column(row, "access_group")?,
        // The schema knows no third.
        period_unit: if unit == "day" { PeriodUnit::Day } else { PeriodUnit::Month },
        period_count: column(row, "period_count")?,
        price: column(row, "price_kopecks")?,
        active: column(row, "active")?,
    })
}
