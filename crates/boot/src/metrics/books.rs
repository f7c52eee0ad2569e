//! What the metrics show of the database beyond the pass's own report.

use std::time::Duration;

use perennial_core::db::{Database, DbError, LedgerTotals};
use perennial_core::pass::Pass;
use tokio::time::timeout;

/// For reading all of it.
const LIMIT: Duration = Duration::from_secs(2);
/// The pass that runs with the money reads its sums; one is enough, they are large to read.
const PASS_WITH_TOTALS: Pass = Pass::Renew;

/// State of the database after the pass; what could not be read in time is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// `renew` alone.
    pub(crate) totals: Option<LedgerTotals>,
    /// Rows parked for this pass.
    pub(crate) parked_rows: Option<u64>,
}

impl Books {
    /// Reads them within two seconds. Whatever goes wrong is one warning: the pass is what it was.
    pub(crate) async fn read(db: &Database, pass: Pass) -> Self {
        let mut books = Self::default();
        match timeout(LIMIT, books.fill(db, pass)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = anyhow::Error::from(error);
                log::warn!("the metrics go without what the database would say: {error:#}");
            }
            Err(_) => log::warn!("the metrics go without what the database did not say within {} s", LIMIT.as_secs()),
        }
        books
    }

    async fn fill(&mut self, db: &Database, pass: Pass) -> Result<(), DbError> {
        self.parked_rows = Some(db.run_tx("count_parked", async |tx| tx.count_parked_rows().await).await?);
        if pass == PASS_WITH_TOTALS {
            self.totals = Some(db.run_tx("read_totals", async |tx| tx.read_ledger_totals().await).await?);
        }
        Ok(())
    }

    /// The time that must be left for them.
    pub(crate) fn limit() -> Duration {
        LIMIT
    }
}
