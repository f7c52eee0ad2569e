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
    /// The database; in a dry run, and in a pass that observes, it rolls everything back.
    pub db: Database,
    /// No new batch once it is over; SIGTERM ends it early.
    pub deadline: Deadline,
    /// The database's time.
    pub clock: Arc<dyn Clock>,
    /// This run.
    pub run_id: RunId,
    /// Change nothing, send nothing, tell the plan: a dry run, or a pass that observes.
    pub dry_run: bool,
    /// Effects after which the pass stops; none: it does all there is to do.
    pub limit: Option<u64>,
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
    /// One with the defaults of the common settings, showing nothing to anybody.
    #[must_use]
    pub(crate) fn new(db: Database, deadline: Deadline, clock: Arc<dyn Clock>, run_id: RunId, settings: S) -> Self {
        Self {
            dry_run: db.is_dry_run(),
            limit: None,
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
/// still says what was committed. It is written into the row of the run every few seconds, for who is killed. Clones keep
/// the same.
#[derive(Debug, Clone, Default)]
pub struct Interim(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    report: Option<Report>,
    is_new: bool,
}

impl Interim {
    /// Replaces what was kept; call it after each batch.
    pub fn keep(&self, report: &Report) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { report: Some(report.clone()), is_new: true };
    }

    /// What was kept since this was last asked.
    pub(crate) fn news(&self) -> Option<Report> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept.is_new).then(|| kept.report.clone()).flatten()
    }

    pub(crate) fn take(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).report.take()
    }
}
