//! The frame around a pass, from the first flag to the exit code.

use std::any::Any;
use std::cell::OnceCell;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use perennial_core::db::{Actor, Database, DatabaseOptions, DbError, RunStart};
use perennial_core::ids::RunId;
use perennial_core::pass::Pass;
use perennial_core::time::{Clock, DatabaseClock, Deadline};
use tokio::time::sleep;

use crate::check_config;
use crate::closing::{Listeners, Run};
use crate::config::Config;
use crate::context::{Context, Interim};
use crate::database::Connection;
use crate::ending::{Ending, Raced};
use crate::exit::Exit;
use crate::in_force::InForce;
use crate::logs::{self, Origin};
use crate::mode::Mode;
use crate::options::Options;
use crate::ping::Ping;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::secrecy;
use crate::setting::SettingError;
use crate::shown::Shown;
use crate::signals::Signals;
use crate::startup;

/// How long the work in hand may go on after the budget is over or a stop was asked for. A little more than the
/// repository gives a transaction, so that it can still say itself what took so long.
const OVERTIME: Duration = Duration::from_millis(3_250);
/// A program is gone, all reporting included, so long after its budget.
const GRACE: Duration = Duration::from_millis(4_900);

/// How often the row of a run is told what was done so far.
const BETWEEN_RECORDS: Duration = Duration::from_secs(2);

/// Runs one pass and gives its exit code: settings, logs, database, checks, signals and budget before and around it,
/// summary, run row, metrics and heartbeat after it, on every way out.
///
/// `settings` turns the file's sections (and the main's own flags) into what the pass needs; `--check-config` shows it
/// and ends there. `body` is the pass; an error of its is told apart by type ([`Exit::of_error`]).
pub fn run<S: Shown>(
    pass: Pass,
    options: &Options,
    settings: impl FnOnce(&Config) -> Result<S, SettingError>,
    body: impl AsyncFnOnce(Context<S>) -> anyhow::Result<Report>,
) -> ExitCode {
    let undumpable = secrecy::forbid_core_dumps();
    let mut run = Run {
        pass,
        run_id: RunId::new(),
        began: Instant::now(),
        // What the flags say, until the file is known to be right.
        dry_run: options.dry_run,
        mode: options.mode.unwrap_or_default(),
        limit: None,
        output: options.base.output.unwrap_or_default(),
    };
    let prepared = InForce::load(pass, options)
        .and_then(|in_force| settings(&in_force.config).map(|settings| (in_force, settings)));
    let log_format = match &prepared {
        Ok((in_force, _)) => in_force.log_format(),
        Err(_) => options.base.log_format.unwrap_or_default(),
    };
    logs::start(Origin { program: pass.name(), run_id: run.run_id }, &options.base, log_format);
    if let Err(error) = undumpable {
        log::warn!(error:% = error; "core dumps could not be forbidden: they would hold the secrets of the settings");
    }
    let (in_force, settings) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return refuse(&run, Exit::Configuration, error.to_string()).into(),
    };
    run.dry_run = in_force.is_dry_run();
    (run.mode, run.limit) = (in_force.mode(), in_force.limit());
    run.output = in_force.output();
    if options.check_config {
        return check_config::print(pass, &in_force, &settings).into();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&run, Exit::Unforeseen, format!("the runtime does not start: {error}")).into(),
    };
    let progress = Progress::new(pass.name(), run.output, options.base.quiet > 0);
    let exit = runtime.block_on(conduct(&run, &in_force, progress, settings, body));
    // A name lookup that hangs in a thread of its own must not hold up the exit.
    runtime.shutdown_background();
    exit.into()
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

fn refuse(run: &Run, exit: Exit, error: String) -> Exit {
    run.close_early(&Ending { exit, report: Report::empty(run.pass), error: Some(error) });
    exit
}

/// A run whose row stands in the database.
struct OnRecord {
    db: Database,
    warnings: Vec<String>,
}

async fn conduct<S: Shown>(
    run: &Run,
    in_force: &InForce,
    progress: Progress,
    settings: S,
    body: impl AsyncFnOnce(Context<S>) -> anyhow::Result<Report>,
) -> Exit {
    let deadline = Deadline::after(in_force.budget());
    let last_moment = Instant::now() + in_force.budget() + GRACE;
    let clock = Arc::new(DatabaseClock::new());
    let plan = match run.mode {
        _ if run.dry_run => Plan::shown(run.output),
        Mode::Observe => Plan::logged(),
        Mode::Limited | Mode::Full => Plan::ignored(),
    };
    let interim = Interim::default();
    log_start(run, in_force, &settings);
    // A dry run has no effect, also not on who watches over the real ones.
    let ping = in_force.ping_url().filter(|_| !run.dry_run).and_then(|url| Ping::start(url, run.run_id));

    let on_record = OnceCell::new();
    let passage = async {
        let on_record = check_in(run, in_force, clock.clone(), &deadline, &on_record).await?;
        // What the pass does is taken back; the record of the run is not.
        let db = if run.mode == Mode::Observe { on_record.db.without_effect() } else { on_record.db.clone() };
        body(Context {
            limit: run.limit.map(u64::from),
            batch_rows: in_force.batch_rows(),
            workers: in_force.workers(),
            progress: progress.clone(),
            plan: plan.clone(),
            output: run.output,
            interim: interim.clone(),
            ..Context::new(db, deadline.clone(), clock.clone(), run.run_id, settings)
        })
        .await
    };
    let passage = beside(passage, keep_row(run, &interim, &on_record, &*clock));
    let raced = race(passage, &deadline).await;
    progress.clear();

    let mut ending = Ending::of(raced, &deadline, || interim.take().unwrap_or_else(|| Report::empty(run.pass)));
    let mut row = None;
    if let Some(OnRecord { db, warnings }) = on_record.get() {
        ending.report.warnings.splice(0..0, warnings.iter().cloned());
        row = (!run.dry_run).then_some(db);
    }
    let metrics_file = in_force.metrics_file();
    run.close(&ending, Listeners { clock: &*clock, plan: &plan, row, metrics_file, ping, last_moment }).await;
    ending.exit
}

/// Opens the pool and lets the database say whether this program may act on it.
async fn check_in<'a>(
    run: &Run,
    in_force: &InForce,
    clock: Arc<dyn Clock>,
    deadline: &Deadline,
    on_record: &'a OnceCell<OnRecord>,
) -> anyhow::Result<&'a OnRecord> {
    let options = DatabaseOptions {
        pool_size: in_force.pool_size(),
        dry_run: run.dry_run,
        ..DatabaseOptions::of(Actor { name: run.pass.name(), run_id: run.run_id })
    };
    let db = in_force.connection.open(options, clock, deadline.clone())?;
    let start = RunStart { version: crate::VERSION, host: &startup::host_name(), mode: run.mode.name() };
    let checked_in = startup::check_in(&db, &in_force.config.owner_prefix, start).await;
    let warnings = checked_in.map_err(|error| of_database(error, &in_force.connection))?;
    for warning in &warnings {
        log::warn!("{warning}");
    }
    Ok(on_record.get_or_init(|| OnRecord { db, warnings }))
}

/// Says which database it was: of a pass that cron starts, the line with the error is often all that is kept.
fn of_database(error: anyhow::Error, connection: &Connection) -> anyhow::Error {
    match error.downcast_ref() {
        Some(DbError::Unavailable { .. } | DbError::Configuration { .. }) => {
            error.context(format!("database {connection}"))
        }
        _ => error,
    }
}

/// Writes into the row of the run what was done so far: a kill leaves it there.
async fn keep_row(run: &Run, interim: &Interim, on_record: &OnceCell<OnRecord>, clock: &dyn Clock) {
    loop {
        sleep(BETWEEN_RECORDS).await;
        if let Some(OnRecord { db, .. }) = on_record.get().filter(|_| !run.dry_run)
            && let Some(report) = interim.news()
        {
            run.record(&report, db, clock).await;
        }
    }
}

/// The first to its end, while the other goes on beside it until then and has none of its own.
async fn beside<T>(passage: impl Future<Output = T>, company: impl Future<Output = ()>) -> T {
    tokio::pin!(passage);
    tokio::select! {
        biased;
        ended = &mut passage => ended,
        () = company => passage.await,
    }
}

/// The pass against the clock and the operator.
async fn race(passage: impl Future<Output = anyhow::Result<Report>>, deadline: &Deadline) -> Raced {
    let signals = match Signals::listen(deadline.clone()) {
        Ok(signals) => signals,
        Err(error) => return Raced::Ended(Err(error.into())),
    };
    let mut to_quit = signals.clone();
    tokio::select! {
        biased;
        ended = AssertUnwindSafe(passage).catch_unwind() => match ended {
            Ok(outcome) => Raced::Ended(outcome),
            Err(payload) => Raced::Panicked(panic_message(&*payload)),
        },
        signal = to_quit.quit_asked() => Raced::Quit(signal),
        () = overtime_over(signals, deadline) => Raced::Overrun,
    }
}

async fn overtime_over(mut signals: Signals, deadline: &Deadline) {
    tokio::select! {
        () = signals.stop_asked() => {}
        () = sleep(deadline.remaining()) => {}
    }
    sleep(OVERTIME).await;
}

/// What is not an ordinary pass says so in its first line.
fn begins(run: &Run) -> String {
    match (run.mode, run.limit) {
        _ if run.dry_run => " a dry run".to_owned(),
        (Mode::Observe, _) => " to observe".to_owned(),
        (Mode::Limited, Some(limit)) => format!(", limited to {limit} effects"),
        (Mode::Limited | Mode::Full, _) => String::new(),
    }
}

fn log_start(run: &Run, in_force: &InForce, settings: &impl Shown) {
    let common = in_force.entries().into_iter().map(|[name, value, _]| format!("{name} {value}"));
    let of_pass = settings.shown().into_iter().map(|(name, value)| format!("{name} {value}"));
    let all: Vec<String> = common.chain(of_pass).collect();
    log::info!(
        version = crate::VERSION,
        revision = crate::REVISION,
        run_id:% = run.run_id;
        "{} begins{}: {}", run.pass, begins(run), all.join(", ")
    );
}

#[cfg(test)]
mod tests;
