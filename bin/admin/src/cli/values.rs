//! Values of flags.

use clap::ValueEnum;
use perennial_core::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Switch {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// A pass that can be made to leave a row alone. Ending and removal are never parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ParkingPass {
    /// Automatic renewal.
    Renew,
    /// Trial reminders.
    NotifyTrials,
}

impl ParkingPass {
    /// The pass's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::NotifyTrials => "notify-trials",
        }
    }
}

/// A moment in RFC 3339.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it as 2030-12-31T21:00:00Z".to_owned())
}
