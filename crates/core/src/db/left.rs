//! Rows that are due and were not got to, counted.

use super::tx::{Parameter, column};
use super::{DbError, Tx};
use crate::time::Timestamp;

/// So many rows that a pass did not get to are counted. A backlog may be millions of rows, and the time that is left when
/// they are counted is that of one transaction.
pub const MOST_LEFT: i64 = 100_000;

/// How many rows there are, as far as they were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// So many.
    pub rows: u64,
    /// The earliest of the moments they go by; none where there are no rows.
    pub oldest: Option<Timestamp>,
}

impl Tx<'_> {
    /// Counts what a list gives, which is so bounded by its own limit: `list` is a statement whose first column is the moment
    /// by which its rows go.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn count_listed(&self, list: &str, parameters: &[Parameter<'_>]) -> Result<Left, DbError> {
        let sql = format!(
            "-- count_listed
SELECT count(*) AS rows, min(l.due_at) AS oldest
FROM (
{list}
) l (due_at)"
        );
        let Some(row) = self.query_opt(&sql, parameters).await? else { return Ok(Left::default()) };
        Ok(Left { rows: column::<i64>(&row, "rows")?.unsigned_abs(), oldest: column(&row, "oldest")? })
    }
}
