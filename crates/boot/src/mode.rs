//! How far a pass may go: for taking over a running service step by step.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How far a pass may go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Plan and count: no effect, but the record of the run.
    Observe,
    /// Stop after so many effects.
    Limited,
    /// All there is to do.
    #[default]
    Full,
}

impl Mode {
    /// All of them, from the least on.
    pub(crate) const ALL: [Self; 3] = [Self::Observe, Self::Limited, Self::Full];

    /// As settings write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Limited => "limited",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
