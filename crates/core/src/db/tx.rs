//! An open transaction. Its statements are in the modules beside this one, each a `const` next to its method.

use std::cell::Cell;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::{Actor, DbError};
use crate::time::{Timestamp, from_micros};

/// A parameter with its type: statements are sent unnamed, so that a pooler in transaction mode can carry them.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open transaction with one `now`.
#[derive(Debug)]
pub struct Tx<'a> {
    client: &'a Client,
    now: Timestamp,
    actor: Actor,
    failed: Cell<bool>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(client: &'a Client, now: Timestamp, actor: Actor) -> Self {
        Self { client, now, actor, failed: Cell::new(false) }
    }

    /// The moment this transaction decides by: the database's time, read when it began.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who writes.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, DbError> {
        let rows = self.client.query_typed(sql, parameters).await;
        rows.map_err(|error| self.fail(sql, error))
    }

    pub(crate) async fn query_opt(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>, DbError> {
        let rows = self.query(sql, parameters).await?;
        Ok(rows.into_iter().next())
    }

    /// Answers the number of rows written.
    pub(crate) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, DbError> {
        let written = self.client.execute_typed(sql, parameters).await;
        written.map_err(|error| self.fail(sql, error))
    }

    /// Runs deferred constraints and triggers now, so that what they do can be read back before the COMMIT.
    ///
    /// # Errors
    /// Theirs.
    pub async fn settle(&self) -> Result<(), DbError> {
        self.execute("-- settle\nSET CONSTRAINTS ALL IMMEDIATE", &[]).await?;
        Ok(())
    }

    fn fail(&self, sql: &str, error: tokio_postgres::Error) -> DbError {
        self.failed.set(true);
        DbError::from_driver(name_of(sql), error)
    }

    /// PostgreSQL answers COMMIT with ROLLBACK, and no error, when a statement has failed. A body that swallowed an
    /// error must not be told that its work was saved.
    pub(super) fn must_be_sound(&self, name: &'static str) -> Result<(), DbError> {
        if self.failed.get() {
            let source = "a failed statement was ignored; nothing was committed";
            return Err(DbError::unforeseen(name, source));
        }
        Ok(())
    }

    pub(super) async fn end(&self, how: &str) -> Result<(), DbError> {
        self.client.batch_execute(how).await.map_err(|error| DbError::from_driver(how, error))
    }
}

/// Runs the opening message of a transaction, whose last statement reads the clock.
pub(super) async fn read_clock(name: &str, client: &Client, opening: &str) -> Result<Timestamp, DbError> {
    let messages = client.simple_query(opening).await.map_err(|error| DbError::from_driver(name, error))?;
    messages
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => from_micros(row.get(0)?.parse().ok()?),
            _ => None,
        })
        .ok_or_else(|| DbError::unforeseen(name, "no clock reading came back"))
}

/// The name a statement gives itself in its first line, `-- name`.
fn name_of(sql: &str) -> &str {
    sql.trim_start().lines().next().and_then(|line| line.strip_prefix("-- ")).unwrap_or("statement")
}

/// Reads a column.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, DbError> {
    row.try_get(name).map_err(|error| DbError::from_column(name, error))
}
