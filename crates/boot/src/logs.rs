//! Logs on standard error: lines for people or JSON, key-values kept, times in UTC. The last lines are kept for the
//! heartbeat's report.
//!
//! Secrets never get here as values: types that hold one print masked. What other crates would print of the wire (the
//! driver its parameters, HTTP its addresses, and a bot's token is part of one) is cut off whatever `RUST_LOG` says.

mod format;

use std::collections::VecDeque;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, OnceLock, PoisonError};

use env_logger::fmt::Formatter;
use indicatif::ProgressBar;
use log::{LevelFilter, Log, Metadata, Record};
use perennial_core::ids::RunId;

use crate::options::{BaseOptions, LogFormat};

/// Crates that print what they send and receive below this level.
const WIRE: [&str; 10] =
    ["tokio_postgres", "postgres_protocol", "reqwest", "hyper", "hyper_util", "h2", "rustls", "tonic", "tower", "mio"];
const WIRE_LEVEL: LevelFilter = LevelFilter::Info;

/// Lines and bytes kept for the heartbeat's report.
const TAIL_LINES: usize = 40;
const TAIL_LINE_BYTES: usize = 500;

/// Who logs: in JSON lines with each of them.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// `renew`, `admin`, …
    pub program: &'static str,
    /// The run, so that lines of copies running at once can be told apart.
    pub run_id: RunId,
}

/// Starts logging, and makes a panic one error line instead of a page. `RUST_LOG`, set and not empty, wins over
/// `-v` and `-q`. A second call in one process changes nothing.
pub fn start(origin: Origin, options: &BaseOptions, form: LogFormat) {
    let filters = std::env::var("RUST_LOG").ok().filter(|filters| !filters.trim().is_empty());
    let logger = logger(origin, form, filters.as_deref(), default_level(options), env_logger::Target::Stderr);
    let level = logger.inner.filter();
    // Refused only when there is a logger already: a test's, or that of an earlier call.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// The last lines logged, oldest first.
#[must_use]
pub(crate) fn tail() -> String {
    let lines = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// From now on takes the bar off the terminal while a line is written.
pub(crate) fn make_way(bar: ProgressBar) {
    // A second bar in one process would be a test's.
    drop(BAR.set(bar));
}

/// Runs `write` while no progress bar is on the terminal.
pub(crate) fn beside_bar<T>(write: impl FnOnce() -> T) -> T {
    match BAR.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

static TAIL: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static BAR: OnceLock<ProgressBar> = OnceLock::new();

fn default_level(options: &BaseOptions) -> LevelFilter {
    match (options.verbose, options.quiet) {
        (0, 0) => LevelFilter::Info,
        (1, _) => LevelFilter::Debug,
        (2.., _) => LevelFilter::Trace,
        (0, 1) => LevelFilter::Warn,
        (0, 2) => LevelFilter::Error,
        (0, 3..) => LevelFilter::Off,
    }
}

fn logger(
    origin: Origin,
    form: LogFormat,
    filters: Option<&str>,
    level: LevelFilter,
    target: env_logger::Target,
) -> CarefulLogger {
    let mut builder = env_logger::Builder::new();
    match filters {
        Some(filters) => builder.parse_filters(filters),
        // `perennial_*` are our libraries, a program's own crate has its name; of others only warnings matter.
        None => builder
            .filter_level(level.min(LevelFilter::Warn))
            .filter_module("perennial", level)
            .filter_module(&origin.program.replace('-', "_"), level),
    };
    let write = move |out: &mut Formatter, record: &Record<'_>| {
        let time = out.timestamp_micros().to_string();
        let line = match form {
            LogFormat::Json => format::json(&origin, &time, record),
            LogFormat::Text => format::text(&time, record, out.default_level_style(record.level())),
        };
        std::io::Write::write_all(out, line.as_bytes())
    };
    CarefulLogger { inner: builder.format(write).target(target).build() }
}

struct CarefulLogger {
    inner: env_logger::Logger,
}

impl Log for CarefulLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        (metadata.level() <= WIRE_LEVEL || !WIRE.contains(&crate_name)) && self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) && self.inner.matches(record) {
            keep(format::plain(record));
            beside_bar(|| self.inner.log(record));
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

fn keep(mut line: String) {
    if let Some((end, _)) = line.char_indices().find(|(at, _)| *at >= TAIL_LINE_BYTES) {
        line.truncate(end);
        line.push('…');
    }
    let mut lines = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == TAIL_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    log::error!(place = place.as_str(); "a defect of this program: {}", crate::run::panic_message(panic.payload()));
}

#[cfg(test)]
mod tests;
