//! What is read: a handful of short transactions, several at once, so that a look is quick and never holds anybody up.

use std::time::Duration;

use perennial_boot::Config;
use perennial_core::db::admin::{
    CalendarDay, DueLines, DueWork, MoneyOfDay, NodeState, Outbox, ParkedFor, PassRun, RunsOfDay, Wallets,
};
use perennial_core::db::{Database, DbError, Installation};
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;

use crate::failure::Failure;

/// Connections that read at once: the large statements are three or four, and a server has more to do.
pub(super) const CONNECTIONS: usize = 4;
/// Runs of each pass that are looked at.
const RUNS: i64 = 20;
/// Rows of each kind that are counted; beyond it is "and more".
pub(super) const MOST: i64 = 100_000;
/// Reasons for which rows are parked that are shown.
const REASONS: i64 = 10;
/// What waits longer should have been done: longer than any pass's interval and its run.
pub(super) const LATE: Duration = Duration::from_secs(15 * 60);
/// For operators who have not said theirs.
const DEFAULT_ZONE: &str = "UTC";

/// Settings that decide what is due and when a day begins.
#[derive(Debug, Clone)]
pub struct Lines {
    /// How long before its end `renew` charges.
    pub window: Duration,
    /// How long past its end.
    pub grace: Duration,
    /// The operator's zone.
    pub zone: String,
}

impl Lines {
    /// What the settings file says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            window: config.renew.window().duration(),
            grace: config.renew.grace().duration(),
            zone: config.texts.default_time_zone.clone().unwrap_or_else(|| DEFAULT_ZONE.to_owned()),
        }
    }
}

/// What the database says.
#[derive(Debug, Clone)]
pub struct Read {
    /// When it was read.
    pub at: Timestamp,
    /// The operator's zone.
    pub zone: String,
    /// How long before its end `renew` charges.
    pub window: Duration,
    /// The cluster it lives in.
    pub installation: Installation,
    /// Today, which has not ended.
    pub today: CalendarDay,
    /// The newest runs of each pass, newest first.
    pub runs: Vec<PassRun>,
    /// What is due.
    pub due: Vec<DueWork>,
    /// Active rights by source.
    pub rights: Vec<(String, i64)>,
    /// What is in the wallets.
    pub wallets: Wallets,
    /// Today's transfers.
    pub money: MoneyOfDay,
    /// Today's runs.
    pub done: Vec<RunsOfDay>,
    /// Notices beside those due.
    pub outbox: Outbox,
    /// Servers in use.
    pub nodes: Vec<NodeState>,
    /// Parked rows.
    pub parked: Vec<ParkedFor>,
    /// There is a tariff that is sold.
    pub sells: bool,
}

impl Read {
    /// Reads it.
    ///
    /// # Errors
    /// The database's; exit code 78 for an unknown zone.
    pub async fn now(db: &Database, lines: &Lines) -> Result<Self, Failure> {
        let (at, installation, days) = db
            .run_tx("status_days", async |tx| {
                Ok::<_, DbError>((tx.now(), tx.installation().await?, tx.status_days(&lines.zone, 0, 1).await?))
            })
            .await
            .map_err(|error| of_zone(error, &lines.zone))?;
        let [today, tomorrow] = days[..] else { return Err(Failure::unforeseen("the calendar has no today")) };
        let (begins, ends) = ([today.begins], [tomorrow.begins]);
        let due =
            DueLines { earliest_end: at - lines.grace, latest_end: at + lines.window, late: at - LATE, most: MOST };
        let names = Pass::ALL.map(Pass::name);
        // At once, as far as connections go. Nothing here is compared with anything else to the row, so each may have a
        // snapshot of its own.
        let (rights, wallets, mut money, runs, due, done, outbox, nodes, parked, tariffs) = tokio::try_join!(
            db.run_tx("status_rights", async |tx| tx.status_rights().await),
            db.run_tx("status_wallets", async |tx| tx.status_wallets().await),
            db.run_tx("status_money", async |tx| tx.status_money(&begins, &ends).await),
            db.run_tx("status_runs", async |tx| tx.status_runs(&names, RUNS).await),
            db.run_tx("status_due", async |tx| tx.status_due(due).await),
            db.run_tx("status_run_days", async |tx| tx.status_run_days(&begins, &ends, &names).await),
            db.run_tx("status_outbox", async |tx| tx.status_outbox(MOST).await),
            db.run_tx("status_nodes", async |tx| tx.status_nodes(MOST).await),
            db.run_tx("status_parked", async |tx| tx.status_parked(REASONS).await),
            db.run_tx("list_tariffs", async |tx| tx.list_tariffs().await),
        )?;
        Ok(Self {
            at,
            zone: lines.zone.clone(),
            window: lines.window,
            installation,
            today,
            runs,
            due,
            rights,
            wallets,
            money: money.pop().unwrap_or_default(),
            done,
            outbox,
            nodes,
            parked,
            sells: tariffs.iter().any(|tariff| tariff.active),
        })
    }
}

/// PostgreSQL alone knows which zones there are.
pub(super) fn of_zone(error: DbError, zone: &str) -> Failure {
    match error {
        DbError::Refused { .. } => {
            Failure::configuration(format!("texts.default_time_zone = {zone:?} is no time zone"))
                .with_hint("an IANA name, such as Europe/Moscow")
        }
        other => other.into(),
    }
}
