//! Exit codes, the same in all programs.

use std::fmt;
use std::process::ExitCode;

use perennial_core::db::DbError;

use crate::setting::SettingError;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or nothing was due.
    Done,
    /// 1: stopped by an error that nobody foresaw.
    Unforeseen,
    /// 2: the flags are wrong.
    Usage,
    /// 3: done, but some rows failed or were parked.
    Partial,
    /// 4: refused at a brake; a person must look.
    Refused,
    /// 69: the database, or every node, cannot be reached.
    Unavailable,
    /// 75: stopped early, by the budget or a signal; the next pass goes on.
    Stopped,
    /// 78: settings, schema version or installation are wrong.
    Configuration,
    /// 101: a bug; the pass panicked.
    Panicked,
    /// 128 and the signal's number: a second signal came, so it stopped at once.
    Signalled(u8),
}

impl Exit {
    /// Every way to end but a second signal's, by number.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Unforeseen,
        Self::Usage,
        Self::Partial,
        Self::Refused,
        Self::Unavailable,
        Self::Stopped,
        Self::Configuration,
        Self::Panicked,
    ];

    /// What it means to an operator, as manual and documents say it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing due",
            Self::Unforeseen => "stopped by an unforeseen error",
            Self::Usage => "bad flags",
            Self::Partial => "done, some rows failed or parked",
            Self::Refused => "refused at a brake; a person must look",
            Self::Unavailable => "database or every node unreachable",
            Self::Stopped => "stopped early (budget, SIGTERM, limit), work left; the next pass goes on",
            Self::Configuration => "configuration, schema version or installation wrong",
            Self::Panicked => "a defect of the program (panic)",
            Self::Signalled(_) => "stopped at once by a second signal; 128 and the signal's number",
        }
    }

    /// The number the caller of the program sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unforeseen => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Refused => 4,
            Self::Unavailable => 69,
            Self::Stopped => 75,
            Self::Configuration => 78,
            Self::Panicked => 101,
            Self::Signalled(signal) => 128_u8.saturating_add(signal),
        }
    }

    /// The word for it in summary and `runs`: done, partial, refused, stopped or failed.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Stopped | Self::Signalled(_) => "stopped",
            Self::Unforeseen | Self::Usage | Self::Unavailable | Self::Configuration | Self::Panicked => "failed",
        }
    }

    /// The exit an error calls for: settings and the database say it themselves, the rest is [`Exit::Unforeseen`].
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if cause.is::<SettingError>() {
                return Self::Configuration;
            }
            match cause.downcast_ref::<DbError>() {
                Some(db) if db.is_configuration() => return Self::Configuration,
                Some(db) if db.is_unavailable() => return Self::Unavailable,
                _ => {}
            }
        }
        Self::Unforeseen
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}
