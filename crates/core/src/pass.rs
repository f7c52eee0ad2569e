//! The passes.

use std::fmt;

/// A program that makes one pass over the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Charges and extends what is due.
    Renew,
    /// Reminds of trials and ends them.
    NotifyTrials,
    /// Ends what is over, and removes it from the servers.
    ExpireFast,
    /// Compares servers with the database and repairs the differences.
    ReconcileXray,
}

impl Pass {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Renew, Self::NotifyTrials, Self::ExpireFast, Self::ReconcileXray];

    /// The name of its program, under which the database knows it, too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::NotifyTrials => "notify-trials",
            Self::ExpireFast => "expire-fast",
            Self::ReconcileXray => "reconcile-xray",
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
