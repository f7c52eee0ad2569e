//! What a pass is given to work with.

use std::sync::{Arc, Mutex, PoisonError};

use perennial_core::db::Database;
use perennial_core::ids::RunId;
use perennial_core::time::{Clock, Deadline};

use crate::limits;
use crate::options::Output;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::Report;

/// Everything a pass needs, made by [`run`](crate::run()).
#[non_exhaustive]
pub struct Context<S> {
    /// The database; in a dry run it rolls everything back.
    pub db: Database,
    /// No new batch once it is over; SIGTERM ends it early.
    pub deadline: Deadline,
    /// The database's time.
    pub clock: Arc<dyn Clock>,
    /// This run.
    pub run_id: RunId,
    /// Change nothing, send nothing, show the plan.
    pub dry_run: bool,
    /// Rows a transaction.
    pub batch_rows: usize,
    /// Connections at work.
    pub workers: usize,
    /// The pass's own settings.
    pub settings: S,
    /// How far it has come, for who looks on.
    pub progress: Progress,
    /// What a dry run would do.
    pub plan: Plan,
    /// Form of the summary.
    pub output: Output,
    /// What was done so far, in case the pass fails.
    pub interim: Interim,
}

impl<S> Context<S> {
    /// One with the defaults of the common settings, showing nothing to anybody: for tests and simulations, which then
    /// change the fields they are about.
    #[must_use]
    pub fn new(db: Database, deadline: Deadline, clock: Arc<dyn Clock>, run_id: RunId, settings: S) -> Self {
        Self {
            dry_run: db.is_dry_run(),
            db,
            deadline,
            clock,
            run_id,
            batch_rows: limits::DEFAULT_BATCH_ROWS as usize,
            workers: limits::DEFAULT_WORKERS as usize,
            settings,
            progress: Progress::hidden(),
            plan: Plan::ignored(),
            output: Output::default(),
            interim: Interim::default(),
        }
    }
}

/// Keeps the latest report of a pass under way, so that the summary of one that fails half-way, or is stopped hard,
/// still says what was committed. Clones keep the same.
#[derive(Debug, Clone, Default)]
pub struct Interim(Arc<Mutex<Option<Report>>>);

impl Interim {
    /// Replaces what was kept; call it after each batch.
    pub fn keep(&self, report: &Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
    }

    pub(crate) fn take(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
