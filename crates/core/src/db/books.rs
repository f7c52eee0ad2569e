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

// A charge pays the revenue account; only its reversal is paid from there.
const READ_TOTALS: &str = "-- read_ledger_totals
SELECT
    (SELECT coalesce(sum(w.balance_kopecks), 0)::bigint FROM accounts w WHERE w.kind = 'wallet') AS wallets,
    (SELECT coalesce(sum(t.amount_kopecks), 0)::bigint FROM transfers t
     WHERE t.credit_account = (SELECT a.id FROM accounts a WHERE a.kind = 'revenue')) AS charged,
    (SELECT coalesce(sum(t.amount_kopecks), 0)::bigint FROM transfers t
     WHERE t.debit_account = (SELECT a.id FROM accounts a WHERE a.kind = 'revenue')) AS refunded";

const COUNT_PARKED: &str = "-- count_parked_rows
SELECT count(*) AS parked FROM parked p WHERE p.pass = $1 AND p.next_try_at IS NULL";

impl Tx<'_> {
    /// Sums over all wallets and all charges: reads them all, a second or so for ten million.
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

    /// Rows that the acting pass leaves alone until `admin unpark`.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_parked_rows(&self) -> Result<u64, DbError> {
        let row = self.query_opt(COUNT_PARKED, &[(/* pass */ &self.actor().name, Type::TEXT)]).await?;
        let parked: i64 = row.map_or(Ok(0), |row| column(&row, "parked"))?;
        Ok(parked.unsigned_abs())
    }
}
