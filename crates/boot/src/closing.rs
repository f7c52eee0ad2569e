//! The end of a run, told to everybody who wants to know: summary, run row, metrics, heartbeat, log.

use std::path::Path;
use std::time::{Duration, Instant};

use perennial_core::db::{Database, RECORD_RUN};
use perennial_core::ids::RunId;
use perennial_core::pass::Pass;
use perennial_core::time::{Clock, Timestamp};
use tokio::time::timeout;

use crate::ending::Ending;
use crate::exit::Exit;
use crate::metrics::{Books, Metrics};
use crate::mode::Mode;
use crate::options::Output;
use crate::ping::Ping;
use crate::plan::Plan;
use crate::report::Report;
use crate::startup;
use crate::summary::Summary;

/// For writing how the run ended into its row.
const ROW_LIMIT: Duration = Duration::from_secs(1);

/// One run of one program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) pass: Pass,
    pub(crate) run_id: RunId,
    pub(crate) began: Instant,
    pub(crate) dry_run: bool,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) output: Output,
}

/// Who else is told, beyond summary and log.
pub(crate) struct Listeners<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) plan: &'a Plan,
    /// The database that holds the row of this run; none: there is no row.
    pub(crate) row: Option<&'a Database>,
    pub(crate) metrics_file: Option<&'a Path>,
    pub(crate) ping: Option<Ping>,
    /// When the program must be gone.
    pub(crate) last_moment: Instant,
}

impl Run {
    /// Tells a run that ended before it had a database or anything else to tell.
    pub(crate) fn close_early(&self, ending: &Ending) {
        let took = self.began.elapsed();
        self.print(&self.summary(ending, startup::host_now() - took, took));
        self.log(ending, "");
    }

    /// Tells everybody. Nobody who cannot be told changes the exit code, and none holds up the end past the last
    /// moment.
    pub(crate) async fn close(&self, ending: &Ending, listeners: Listeners<'_>) {
        let took = self.began.elapsed();
        let now = known_time(listeners.clock);
        let kept = listeners.plan.kept();
        let summary = Summary { plan: kept.as_ref(), ..self.summary(ending, now - took, took) };

        let left = || listeners.last_moment.saturating_duration_since(Instant::now());
        // A second signal means now: the row then stays open, as after a kill.
        if let (Some(db), false) = (listeners.row, matches!(ending.exit, Exit::Signalled(_))) {
            finish_row(db, &summary, ROW_LIMIT.min(left())).await;
        }
        self.print(&summary);
        self.log(ending, &summary.counts());
        if let (Some(file), false) = (listeners.metrics_file, self.dry_run) {
            // A pass that is late leaves them out: it has to be gone.
            let in_time = listeners.row.filter(|_| left() > Books::limit() * 2);
            let books = match in_time {
                Some(db) => Books::read(db, self.pass).await,
                None => Books::default(),
            };
            self.write_metrics(file, ending, books, now, took);
        }
        if let (Some(ping), false) = (listeners.ping, matches!(ending.exit, Exit::Signalled(_))) {
            ping.finish(ending.exit, ending.is_success(), left()).await;
        }
    }

    /// Writes into the row of a run under way what it has done so far. It has no outcome yet.
    pub(crate) async fn record(&self, report: &Report, db: &Database, clock: &dyn Clock) {
        let took = self.began.elapsed();
        let ending = Ending { exit: Exit::Stopped, report: report.clone(), error: None };
        let mut summary = self.summary(&ending, known_time(clock) - took, took).json();
        for undecided in ["outcome", "exit_code"] {
            summary[undecided] = serde_json::Value::Null;
        }
        if let Err(error) = db.run_tx(RECORD_RUN, async |tx| tx.record_run(&summary).await).await {
            log::debug!(error:% = error; "the row of this run was not told what was done so far");
        }
    }

    fn summary<'a>(&self, ending: &'a Ending, started_at: Timestamp, took: Duration) -> Summary<'a> {
        Summary {
            pass: self.pass,
            run_id: self.run_id,
            dry_run: self.dry_run,
            mode: self.mode,
            limit: self.limit,
            started_at,
            took,
            exit: ending.exit,
            report: &ending.report,
            error: ending.error.as_deref(),
            plan: None,
        }
    }

    fn print(&self, summary: &Summary<'_>) {
        if let Err(error) = summary.print(self.output) {
            log::warn!("the summary could not be written to standard output: {error}");
        }
    }

    /// The one line that says how it ended, at the level of who has to act.
    fn log(&self, ending: &Ending, counts: &str) {
        let level = match ending.exit {
            Exit::Done | Exit::Stopped | Exit::Signalled(_) if ending.is_success() => log::Level::Info,
            Exit::Partial | Exit::Stopped | Exit::Signalled(_) => log::Level::Warn,
            _ => log::Level::Error,
        };
        let said = ending.error.as_deref().unwrap_or(if counts.is_empty() { "nothing to count" } else { counts });
        log::log!(
            level,
            outcome = ending.exit.outcome(),
            exit_code = ending.exit.code(),
            elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            "{} ends: {said}", self.pass
        );
    }

    fn write_metrics(&self, file: &Path, ending: &Ending, books: Books, now: Timestamp, took: Duration) {
        let metrics = Metrics {
            pass: self.pass,
            mode: self.mode,
            exit: ending.exit,
            took,
            report: &ending.report,
            books,
            succeeded_at: ending.is_success().then_some(now),
        };
        match metrics.write(file) {
            Ok(before) => {
                if let Some(other) = before.other_pass {
                    log::warn!("the metrics file held those of {other}, now overwritten: give each program its own");
                }
            }
            Err(error) => log::warn!("the metrics file could not be written: {error}"),
        }
    }
}

/// The database's time; before there was one, the host's.
fn known_time(clock: &dyn Clock) -> Timestamp {
    let now = clock.now();
    if now == Timestamp::UNIX_EPOCH { startup::host_now() } else { now }
}

async fn finish_row(db: &Database, summary: &Summary<'_>, limit: Duration) {
    let (outcome, exit_code, json) = (summary.exit.outcome(), i32::from(summary.exit.code()), summary.json());
    let finished = timeout(limit, db.run_tx("finish_run", async |tx| tx.finish_run(outcome, exit_code, &json).await));
    match finished.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = anyhow::Error::from(error);
            log::warn!("the row of this run could not be finished: {error:#}");
        }
        Err(_) => log::warn!("the row of this run could not be finished in time"),
    }
}
