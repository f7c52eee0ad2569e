//! A progress bar for long work, on standard error, and only where somebody looks: a terminal, and output as text.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::logs;
use crate::options::Output;

/// Shows how far a pass has come; where nobody looks it does nothing. Clones move the same bar.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(program: &'static str, output: Output, is_quiet: bool) -> Self {
        if output != Output::Text || is_quiet || !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::no_length();
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        // The template is a constant; were it wrong, the usual style would do.
        if let Ok(style) = ProgressStyle::with_template("{msg}: {pos} rows, {per_sec}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(program);
        bar.enable_steady_tick(Duration::from_millis(500));
        logs::make_way(bar.clone());
        Self(bar)
    }

    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Counts rows that are done with.
    pub fn advance(&self, rows: u64) {
        self.0.inc(rows);
    }

    /// Takes the bar off the terminal.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
