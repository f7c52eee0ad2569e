//! What a dry run would do, line by line: printed as it comes, or kept for the JSON summary.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::logs;
use crate::options::Output;

/// Lines kept for the JSON summary; what goes beyond is counted, so that memory stays bounded.
const MOST_LINES: usize = 10_000;

/// Takes the lines of what would be done; of a pass that acts it takes nothing. Clones write to the same plan.
#[derive(Debug, Clone)]
pub struct Plan {
    reader: Reader,
    kept: Arc<Mutex<Kept>>,
}

/// Who reads a plan.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Nobody,
    /// It is long, and the same every few minutes: in the log of who asks for more (`-v`).
    Log,
    Output(Output),
}

/// The lines of a plan that were kept, and how many were not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) lines: Vec<String>,
    pub(crate) omitted: u64,
}

impl Plan {
    /// The plan of a dry run.
    #[must_use]
    pub fn shown(output: Output) -> Self {
        Self { reader: Reader::Output(output), kept: Arc::default() }
    }

    /// The plan of a pass that observes.
    #[must_use]
    pub fn logged() -> Self {
        Self { reader: Reader::Log, kept: Arc::default() }
    }

    /// The plan of a run that acts: nobody reads it.
    #[must_use]
    pub fn ignored() -> Self {
        Self { reader: Reader::Nobody, kept: Arc::default() }
    }

    /// Whether lines go anywhere; else there is no need to write one.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        match self.reader {
            Reader::Nobody => false,
            Reader::Log => log::log_enabled!(log::Level::Debug),
            Reader::Output(_) => true,
        }
    }

    /// Adds one line.
    pub fn line(&self, line: impl fmt::Display) {
        match self.reader {
            Reader::Nobody => {}
            Reader::Log => log::debug!("would {line}"),
            // A reader that went away (`| head`) does not stop the plan from being made to its end.
            Reader::Output(Output::Text) => drop(logs::beside_bar(|| writeln!(std::io::stdout(), "{line}"))),
            Reader::Output(Output::Json) => {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.lines.len() < MOST_LINES {
                    kept.lines.push(line.to_string());
                } else {
                    kept.omitted += 1;
                }
            }
        }
    }

    /// What the JSON summary shows; nothing outside a dry run.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let is_kept = matches!(self.reader, Reader::Output(_));
        is_kept.then(|| self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_keeps_ten_thousand_lines_and_counts_the_rest() {
        let plan = Plan::shown(Output::Json);
        for line in 0..10_003 {
            plan.line(line);
        }
        let Some(kept) = plan.kept() else { panic!("a shown plan is kept") };
        assert_eq!((kept.lines.len(), kept.omitted), (10_000, 3));
        assert_eq!((kept.lines[0].as_str(), kept.lines[9_999].as_str()), ("0", "9999"));
    }

    #[test]
    fn outside_a_dry_run_nothing_is_kept() {
        for plan in [Plan::ignored(), Plan::logged()] {
            plan.line("renew 1");
            assert_eq!(plan.kept(), None);
        }
    }
}
