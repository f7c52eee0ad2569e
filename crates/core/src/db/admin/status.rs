//! What `perennial status` reads: how the passes ran, what is due, the money of some days, servers, outbox, parked rows.

mod read;
mod statements;

use serde_json::Value;
use time::Date;
use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::money::Kopecks;
use crate::time::Timestamp;
use read::{money, node, run, runs_of_day};
use statements::{DAYS, DUE, FORECAST, MONEY, NODES, OUTBOX, PARKED, RIGHTS, RUN_DAYS, RUNS, WALLETS};

/// A day of the operator's calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarDay {
    /// Its date.
    pub date: Date,
    /// When it begins.
    pub begins: Timestamp,
}

/// A run of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct PassRun {
    /// The pass.
    pub pass: String,
    /// Version of the program.
    pub version: String,
    /// Host it ran on, empty when unknown.
    pub host: String,
    /// How far it might go: observe, limited, full.
    pub mode: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none: under way, or killed.
    pub finished_at: Option<Timestamp>,
    /// done, partial, refused, stopped, failed.
    pub outcome: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Its summary.
    pub summary: Option<Value>,
}

/// The lines between what is due, what is not yet, and what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueLines {
    /// `renew` charges what ends after this.
    pub earliest_end: Timestamp,
    /// And not after this.
    pub latest_end: Timestamp,
    /// What waits since then or longer should have been done.
    pub late: Timestamp,
    /// Rows of each kind that are counted at most.
    pub most: i64,
}

/// Work of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWork {
    /// `renew`, `remind`, `end`, `remove`, `deliver`.
    pub work: String,
    /// Rows that are due.
    pub rows: i64,
    /// The moment of the first of them: an end, or since when it waits.
    pub oldest: Option<Timestamp>,
    /// How many of them are late.
    pub late: i64,
}

/// All that users have in their wallets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wallets {
    /// The sum.
    pub total: Kopecks,
    /// Wallets that hold something.
    pub filled: i64,
}

/// A number of transfers and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many.
    pub transfers: i64,
    /// Kopecks in all.
    pub amount: Kopecks,
}

/// What the ledger moved on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoneyOfDay {
    /// Charged by `renew`.
    pub renewals: Moved,
    /// Sold by bots and operators.
    pub purchases: Moved,
    /// Put into wallets from outside.
    pub top_ups: Moved,
    /// Given back.
    pub refunds: Moved,
    /// By hand, and top-ups taken back: what was put into wallets less what was taken out.
    pub corrections: Moved,
}

/// Notices that wait or need somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// Not due yet.
    pub later: i64,
    /// Claimed by a sender.
    pub sending: i64,
    /// Given up.
    pub dead: i64,
}

/// A server in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// First contact of `reconcile-xray`; none: there was none.
    pub adopted_at: Option<Timestamp>,
    /// Users there when it was last compared.
    pub users: Option<i64>,
    /// Failed contacts in a row.
    pub failures: i32,
    /// Left alone until then.
    pub next_try_at: Option<Timestamp>,
    /// Closed credentials not proven gone from it.
    pub unproven: i64,
    /// Users there that the database does not know, under watch.
    pub quarantined: i64,
    /// Users found at first contact, never touched.
    pub adopted: i64,
}

/// Rows parked for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedFor {
    /// The pass that leaves them alone.
    pub pass: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: i64,
    /// Since when the first.
    pub since: Timestamp,
}

/// What the runs of one pass did on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsOfDay {
    /// The pass.
    pub pass: String,
    /// The day, counted from 0 at the first one asked for.
    pub day: usize,
    /// Runs begun.
    pub runs: i64,
    /// Those that ended otherwise than done (0) or stopped in good order (75).
    pub bad_runs: i64,
    /// Subscriptions renewed.
    pub renewed: i64,
    /// Rights ended.
    pub ended: i64,
    /// Reminders written.
    pub reminded: i64,
    /// Rows failed.
    pub failed: i64,
    /// Rows parked.
    pub parked: i64,
    /// Notices sent.
    pub sent: i64,
    /// Notices dropped: too late, or of no use any more.
    pub dropped: i64,
    /// Notices given up.
    pub dead: i64,
    /// Median over the runs of half their removals' seconds from end to proof.
    pub proof_p50: Option<i64>,
    /// The worst run's 99 of 100.
    pub proof_p99: Option<i64>,
}

/// Rights that end on one day to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndsOfDay {
    /// All of them.
    pub rows: i64,
    /// Those that renew themselves.
    pub renewing: i64,
}

impl Tx<'_> {
    /// The days from `first` to `last`, counted from today (0), in a zone PostgreSQL knows.
    ///
    /// # Errors
    /// [`DbError::Refused`] for an unknown zone.
    pub async fn status_days(&self, zone: &str, first: i32, last: i32) -> Result<Vec<CalendarDay>, DbError> {
        let rows = self
            .query(
                DAYS,
                &[
                    (&zone, Type::TEXT),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&first, Type::INT4),
                    (&last, Type::INT4),
                ],
            )
            .await?;
        rows.iter().map(|row| Ok(CalendarDay { date: column(row, "day")?, begins: column(row, "begins")? })).collect()
    }

    /// The newest runs of each pass, at most so many of each, dry runs left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_runs(&self, passes: &[&str], most: i64) -> Result<Vec<PassRun>, DbError> {
        let rows = self.query(RUNS, &[(&passes, Type::TEXT_ARRAY), (&most, Type::INT8)]).await?;
        rows.iter().map(run).collect()
    }

    /// What is due now.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_due(&self, lines: DueLines) -> Result<Vec<DueWork>, DbError> {
        let rows = self
            .query(
                DUE,
                &[
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&lines.earliest_end, Type::TIMESTAMPTZ),
                    (&lines.latest_end, Type::TIMESTAMPTZ),
                    (&lines.late, Type::TIMESTAMPTZ),
                    (&lines.most, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DueWork {
                    work: column(row, "work")?,
                    rows: column(row, "rows")?,
                    oldest: column(row, "oldest")?,
                    late: column(row, "late")?,
                })
            })
            .collect()
    }

    /// Active rights by source.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_rights(&self) -> Result<Vec<(String, i64)>, DbError> {
        let rows = self.query(RIGHTS, &[]).await?;
        rows.iter().map(|row| Ok((column(row, "source")?, column(row, "rows")?))).collect()
    }

    /// What is in the wallets. Looks at each of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_wallets(&self) -> Result<Wallets, DbError> {
        let row = self.query_opt(WALLETS, &[]).await?;
        row.map_or(Ok(Wallets { total: Kopecks::ZERO, filled: 0 }), |row| {
            Ok(Wallets { total: column(&row, "kopecks")?, filled: column(&row, "filled")? })
        })
    }

    /// What the ledger moved on each of these days; each is given by its beginning and its end.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_money(&self, begins: &[Timestamp], ends: &[Timestamp]) -> Result<Vec<MoneyOfDay>, DbError> {
        let rows = self.query(MONEY, &[(&begins, Type::TIMESTAMPTZ_ARRAY), (&ends, Type::TIMESTAMPTZ_ARRAY)]).await?;
        rows.iter().map(money).collect()
    }

    /// Notices beside those that are due; at most `most` of each are counted.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_outbox(&self, most: i64) -> Result<Outbox, DbError> {
        let row = self.query_opt(OUTBOX, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&most, Type::INT8)]).await?;
        row.map_or(Ok(Outbox { later: 0, sending: 0, dead: 0 }), |row| {
            Ok(Outbox { later: column(&row, "later")?, sending: column(&row, "sending")?, dead: column(&row, "dead")? })
        })
    }

    /// The servers that are not retired, by name; at most `most` closed credentials are looked at.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_nodes(&self, most: i64) -> Result<Vec<NodeState>, DbError> {
        self.query(NODES, &[(&most, Type::INT8)]).await?.iter().map(node).collect()
    }

    /// Parked rows by pass and reason, the most frequent first.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_parked(&self, most: i64) -> Result<Vec<ParkedFor>, DbError> {
        let rows = self.query(PARKED, &[(&most, Type::INT8)]).await?;
        rows.iter()
            .map(|row| {
                Ok(ParkedFor {
                    pass: column(row, "pass")?,
                    reason: column(row, "reason")?,
                    rows: column(row, "rows")?,
                    since: column(row, "since")?,
                })
            })
            .collect()
    }

    /// What the runs of these passes did on each of these days, as their summaries say; days without a run are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_run_days(
        &self,
        begins: &[Timestamp],
        ends: &[Timestamp],
        passes: &[&str],
    ) -> Result<Vec<RunsOfDay>, DbError> {
        let rows = self
            .query(
                RUN_DAYS,
                &[(&begins, Type::TIMESTAMPTZ_ARRAY), (&ends, Type::TIMESTAMPTZ_ARRAY), (&passes, Type::TEXT_ARRAY)],
            )
            .await?;
        rows.iter().map(runs_of_day).collect()
    }

    /// How many rights end on each of these days; each is given by its beginning and its end.
    ///
    /// # Errors
    /// The database's.
    pub async fn status_forecast(&self, begins: &[Timestamp], ends: &[Timestamp]) -> Result<Vec<EndsOfDay>, DbError> {
        let rows =
            self.query(FORECAST, &[(&begins, Type::TIMESTAMPTZ_ARRAY), (&ends, Type::TIMESTAMPTZ_ARRAY)]).await?;
        rows.iter()
            .map(|row| Ok(EndsOfDay { rows: column(row, "rows")?, renewing: column(row, "renewing")? }))
            .collect()
    }
}
