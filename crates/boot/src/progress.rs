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
        set_template(&bar, "{msg}: {pos} rows, {per_sec}, {elapsed}");
        bar.set_message(program);
        bar.enable_steady_tick(Duration::from_millis(500));
        logs::make_way(bar.clone());
        Self(bar)
    }

    /// One that shows nothing, for tests.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Says how many rows there are, where that is known.
    pub fn expect(&self, rows: u64) {
        self.0.set_length(rows);
        set_template(&self.0, "{msg}: {pos} of {len} rows, {per_sec}, {eta} to go");
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

/// The templates are constants; were one wrong, the style before it would do.
fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
