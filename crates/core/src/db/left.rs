//! Rows that are due and were not got to, counted.

use tokio_postgres::Row;

use super::DbError;
use super::tx::column;
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

impl Left {
    /// Of the answer of a statement that counts, with the columns `rows` and `oldest`.
    pub(super) fn of(row: Option<&Row>) -> Result<Self, DbError> {
        let Some(row) = row else { return Ok(Self::default()) };
        Ok(Self { rows: column::<i64>(row, "rows")?.unsigned_abs(), oldest: column(row, "oldest")? })
    }
}
