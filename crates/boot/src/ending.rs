//! How a pass came to its end, and what that means: one place for every way out.

use perennial_core::db::DbError;
use perennial_core::time::Deadline;

use crate::exit::Exit;
use crate::report::Report;

/// How the race between the pass, the clock and the operator ended.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // There is one in a process.
pub(crate) enum Raced {
    /// The pass came back by itself.
    Ended(anyhow::Result<Report>),
    /// It panicked, and said this.
    Panicked(String),
    /// Budget and overtime were used up, or the stop that was asked for took too long: it was dropped.
    Overrun,
    /// A second signal came; its number.
    Quit(u8),
}

/// What is told to everybody: summary, run row, metrics, heartbeat, caller.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) exit: Exit,
    pub(crate) report: Report,
    pub(crate) error: Option<String>,
}

impl Ending {
    /// `interim` gives what the pass had done when it did not come back with a report of its own.
    pub(crate) fn of(raced: Raced, deadline: &Deadline, interim: impl FnOnce() -> Report) -> Self {
        let failed = |exit, error: String| Self { exit, report: interim(), error: Some(error) };
        match raced {
            Raced::Ended(Ok(report)) => Self::reported(report, deadline),
            Raced::Ended(Err(error)) => failed(exit_of(&error, deadline), format!("{error:#}")),
            Raced::Panicked(message) => failed(Exit::Panicked, format!("a defect of this program: {message}")),
            Raced::Overrun => failed(
                Exit::Stopped,
                "the work in hand did not end in time; it was given up and the database took it back".to_owned(),
            ),
            Raced::Quit(signal) => failed(Exit::Signalled(signal), "a second signal: stopped at once".to_owned()),
        }
    }

    fn reported(mut report: Report, deadline: &Deadline) -> Self {
        if report.cut_short || report.at_limit {
            let why = match (report.cut_short, deadline.was_stopped()) {
                (false, _) => "its limit of effects is used up (mode limited)",
                (true, true) => "asked to",
                (true, false) => "the time budget is used up",
            };
            report.warnings.push(format!("stopped early, {why}; the next pass goes on"));
        }
        let error = report.refused_because.clone().or_else(|| report.unreachable_because.clone());
        Self { exit: report.exit(), report, error }
    }

    /// Whether the heartbeat and the time of the last success count it: done, or stopped in good order with work left,
    /// which the next pass takes up. Failed rows, a brake and a hard stop do not count.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.exit, Exit::Done | Exit::Stopped) && self.error.is_none()
    }
}

/// A statement that was cut off because the budget was over is no error of its own: the pass was stopped.
fn exit_of(error: &anyhow::Error, deadline: &Deadline) -> Exit {
    let timed_out = error.chain().any(|cause| cause.downcast_ref::<DbError>().is_some_and(DbError::is_timeout));
    match Exit::of_error(error) {
        Exit::Unforeseen if timed_out && deadline.is_over() => Exit::Stopped,
        exit => exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::SettingError;
    use anyhow::{Context as _, anyhow};
    use std::time::Duration;

    fn of(raced: Raced, deadline: &Deadline) -> Ending {
        Ending::of(raced, deadline, || Report { counts: vec![("renewed", 7)], ..Report::default() })
    }

    #[test]
    fn every_way_out_has_its_exit_code() {
        let later = Deadline::after(Duration::from_secs(3600));
        let over = Deadline::after(Duration::ZERO);
        let timeout = || DbError::Timeout { at: "list_due".to_owned() };
        let gone = || DbError::Unavailable { at: "begin".to_owned(), source: "refused".into() };
        let missing = DbError::Configuration { at: "x".into(), sqlstate: "42P01".into(), message: "no table".into() };
        let row = DbError::Mismatch { at: "extend", what: "another end".into() };
        let setting = || SettingError::unshown("schema", "old", "migrate");
        for (error, deadline, exit) in [
            (anyhow!("anything"), &later, Exit::Unforeseen),
            (anyhow::Error::from(setting()).context("starting"), &later, Exit::Configuration),
            (anyhow::Error::from(gone()).context("batch"), &over, Exit::Unavailable),
            (missing.into(), &later, Exit::Configuration),
            (row.into(), &later, Exit::Unforeseen),
            (timeout().into(), &later, Exit::Unforeseen),
            (timeout().into(), &over, Exit::Stopped),
        ] {
            let ending = of(Raced::Ended(Err(error)), deadline);
            assert_eq!((ending.exit, ending.report.count("renewed")), (exit, 7), "{ending:?}");
            assert!(ending.error.is_some() && !ending.is_success());
        }
        for (raced, code, success) in [
            (Raced::Ended(Ok(Report::default())), 0, true),
            (Raced::Ended(Ok(Report { cut_short: true, ..Report::default() })), 75, true),
            (Raced::Ended(Ok(Report { at_limit: true, ..Report::default() })), 75, true),
            (Raced::Ended(Ok(Report { incomplete: true, ..Report::default() })), 3, false),
            (Raced::Panicked("index out of bounds".to_owned()), 101, false),
            (Raced::Overrun, 75, false),
            (Raced::Quit(2), 130, false),
            (Raced::Quit(15), 143, false),
        ] {
            let ending = of(raced, &later);
            assert_eq!((ending.exit.code(), ending.is_success()), (code, success), "{ending:?}");
        }
    }

    #[test]
    fn the_error_says_the_whole_chain() {
        let error = Err::<Report, _>(DbError::Unavailable { at: "begin".to_owned(), source: "refused".into() });
        let ending = of(Raced::Ended(error.context("listing")), &Deadline::after(Duration::ZERO));
        assert_eq!(ending.error.as_deref(), Some("listing: begin: the database is not available: refused"));
    }

    #[test]
    fn an_early_stop_says_why() {
        let deadline = Deadline::after(Duration::ZERO);
        let cut = || Raced::Ended(Ok(Report { cut_short: true, ..Report::default() }));
        assert_eq!(
            of(cut(), &deadline).report.warnings,
            ["stopped early, the time budget is used up; the next pass goes on"]
        );
        let limited = Raced::Ended(Ok(Report { at_limit: true, ..Report::default() }));
        let why = ["stopped early, its limit of effects is used up (mode limited); the next pass goes on"];
        assert_eq!(of(limited, &deadline).report.warnings, why);
        deadline.stop();
        assert_eq!(of(cut(), &deadline).report.warnings, ["stopped early, asked to; the next pass goes on"]);
    }
}
