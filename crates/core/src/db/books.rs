//! The state of the books in a few sums, for metrics: no decision rests on it.

use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Tx};
use crate::money::Kopecks;

/// Sums over the whole ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerTotals {
    /// What users have in their wallets.
    pub wallets: Kopecks,
    /// What was ever charged.
    pub charged: Kopecks,
    /// What of it was given back.
    pub refunded: Kopecks,
}

// What came into wallets and did not go on is in them. Beyond bigint the largest is shown.
const READ_TOTALS: &str = "-- read_ledger_totals
SELECT
    least(greatest(-9223372036854775808,
        coalesce(sum(CASE WHEN t.kind IN ('renewal', 'purchase') THEN -t.kopecks ELSE t.kopecks END), 0)),
        9223372036854775807)::bigint AS wallets,
    least(coalesce(sum(t.kopecks) FILTER (WHERE t.kind IN ('renewal', 'purchase')), 0), 9223372036854775807)::bigint
        AS charged,
    least(coalesce(sum(t.kopecks) FILTER (WHERE t.kind = 'refund'), 0), 9223372036854775807)::bigint AS refunded
FROM turnovers t";

const FOLD_TURNOVERS: &str = "-- fold_turnovers
SELECT turnovers_fold($1) AS rows";

const COUNT_PARKED: &str = "-- count_parked_rows
SELECT count(*) AS parked FROM parked p WHERE p.pass = $1 AND p.next_try_at IS NULL";

impl Tx<'_> {
    /// Sums over the whole ledger, by way of its turnovers: a few ten thousand rows a year of service.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_ledger_totals(&self) -> Result<LedgerTotals, DbError> {
        let row = self.query_opt(READ_TOTALS, &[]).await?;
        let row = row.ok_or_else(|| DbError::unforeseen("read_ledger_totals", "a sum without an answer"))?;
        Ok(LedgerTotals {
            wallets: Kopecks(column(&row, "wallets")?),
            charged: Kopecks(column(&row, "charged")?),
            refunded: Kopecks(column(&row, "refunded")?),
        })
    }

    /// Puts the turnovers of each quarter of an hour together, up to 10 000 rows; answers how many it took. Skips rows that
    /// another transaction has in hand.
    ///
    /// # Errors
    /// The database's.
    pub async fn fold_turnovers(&self) -> Result<u64, DbError> {
        let row = self.query_opt(FOLD_TURNOVERS, &[(&self.now(), Type::TIMESTAMPTZ)]).await?;
        let taken: i64 = row.map_or(Ok(0), |row| column(&row, "rows"))?;
        Ok(taken.unsigned_abs())
    }

    /// Rows that the acting pass leaves alone until `perennial unpark`.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_parked_rows(&self) -> Result<u64, DbError> {
        let row = self.query_opt(COUNT_PARKED, &[(/* pass */ &self.actor().name, Type::TEXT)]).await?;
        let parked: i64 = row.map_or(Ok(0), |row| column(&row, "parked"))?;
        Ok(parked.unsigned_abs())
    }
}
