//! A row a run: when each program last ran and how it ended.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{DbError, Tx};

/// What is known when a run begins; pass and run id are the transaction's.
#[derive(Debug, Clone, Copy)]
pub struct RunStart<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Host it runs on, empty when unknown.
    pub host: &'a str,
    /// How far it may go: `observe`, `limited` or `full`.
    pub mode: &'a str,
}

const INSERT_RUN: &str = "-- insert_run
INSERT INTO runs (run_id, pass, version, host, mode, started_at, database_oid)
SELECT $1, $2, $3, $4, $5, $6, d.oid FROM pg_database d WHERE d.datname = current_database()";

/// Name of the transaction that keeps a run's row true while it is under way.
pub const RECORD_RUN: &str = "record_run";

const RECORD: &str = "-- record_run
UPDATE runs SET summary = $2 WHERE run_id = $1 AND finished_at IS NULL";

const FINISH_RUN: &str = "-- finish_run
UPDATE runs SET finished_at = $2, outcome = $3, exit_code = $4, summary = $5 WHERE run_id = $1";

impl Tx<'_> {
    /// Writes the row of this run.
    ///
    /// # Errors
    /// The database's.
    pub async fn start_run(&self, start: RunStart<'_>) -> Result<(), DbError> {
        self.execute(
            INSERT_RUN,
            &[
                (&self.actor().run_id, Type::UUID),
                (&self.actor().name, Type::TEXT),
                (&start.version, Type::TEXT),
                (&start.host, Type::TEXT),
                (&start.mode, Type::TEXT),
                (/* started_at */ &self.now(), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
        Ok(())
    }

    /// Writes what this run has done so far, unless it has ended.
    ///
    /// # Errors
    /// The database's.
    pub async fn record_run(&self, summary: &Value) -> Result<(), DbError> {
        self.execute(RECORD, &[(&self.actor().run_id, Type::UUID), (&summary, Type::JSONB)]).await?;
        Ok(())
    }

    /// Writes how this run ended: its outcome (done, partial, refused, stopped, failed), exit code and summary.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_run(&self, outcome: &str, exit_code: i32, summary: &Value) -> Result<(), DbError> {
        self.execute(
            FINISH_RUN,
            &[
                (&self.actor().run_id, Type::UUID),
                (/* finished_at */ &self.now(), Type::TIMESTAMPTZ),
                (&outcome, Type::TEXT),
                (&exit_code, Type::INT4),
                (&summary, Type::JSONB),
            ],
        )
        .await?;
        Ok(())
    }
}
