//! `renew` itself, in this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use perennial_core::db::{Actor, Database, DatabaseOptions, RenewalBounds};
use perennial_core::ids::RunId;
use perennial_core::time::Deadline;
use perennial_testkit::TestClock;
use renew::{RenewPass, Settings, Summary};
use tokio_postgres::NoTls;

use crate::compare::Due;
use crate::space::Db;

/// Runs a pass over what is due and answers how many rows it renewed.
pub(crate) async fn run(db: &Db, due: Due, workers: usize, batch_rows: usize) -> anyhow::Result<u64> {
    let deadline = Deadline::after(Duration::from_secs(3600));
    let options = DatabaseOptions {
        pool_size: workers + 2,
        ..DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() })
    };
    let clock = Arc::new(TestClock::at(due.now));
    let database = Database::connect(db.url().parse()?, NoTls, options, clock, deadline.clone())?;
    let bounds = RenewalBounds { window: due.window, grace: due.grace };
    let settings = Settings { bounds, batch_rows, workers, max_tries: 3, charge_notice: None, limit: None };
    let pass = RenewPass { db: &database, deadline: &deadline, settings, observer: &|_| {} };
    let mut summary = Summary::default();
    pass.run(&mut summary).await?;
    ensure!(summary.renewed == summary.listed && summary.left == 0, "not all that is due was renewed: {summary:?}");
    Ok(summary.renewed)
}
