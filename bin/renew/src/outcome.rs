//! What became of the rows of a pass, counted and said.

use std::time::Duration;

use perennial_core::db::RenewalKey;
use perennial_core::ids::{SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use perennial_core::operator;
use perennial_core::time::Timestamp;

/// What became of a listed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Charged and extended.
    Renewed {
        /// The row.
        id: SubscriptionId,
        /// Its user.
        telegram_id: TelegramId,
        /// What was charged.
        amount: Kopecks,
        /// The new end.
        until: Timestamp,
    },
    /// The wallet does not cover the price.
    Short {
        /// The row.
        id: SubscriptionId,
        /// Its user.
        telegram_id: TelegramId,
        /// What is missing.
        missing: Kopecks,
        /// The customer is told so now, not only again.
        told: bool,
    },
    /// Left alone until `perennial unpark`.
    Parked {
        /// The row.
        id: SubscriptionId,
        /// Why.
        reason: String,
    },
    /// Failed; tried again by the next pass.
    Failed {
        /// The row.
        id: SubscriptionId,
        /// Why.
        reason: String,
        /// Failed tries so far; 0: even that could not be recorded.
        tries: i32,
    },
    /// Somebody else holds it, or had it first.
    Busy(RenewalKey),
    /// Not due yet: its user was told of the charge to come.
    Announced {
        /// The row.
        id: SubscriptionId,
        /// Its user.
        telegram_id: TelegramId,
        /// What will be charged.
        amount: Kopecks,
        /// When.
        charge_at: Timestamp,
    },
}

impl Outcome {
    /// Whether a customer notices anything of it, for a pass that is limited.
    #[must_use]
    pub fn is_effect(&self) -> bool {
        matches!(self, Self::Renewed { .. } | Self::Short { told: true, .. } | Self::Announced { .. })
    }
}

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Summary {
    /// Rows listed.
    pub listed: u64,
    /// Rows charged and extended.
    pub renewed: u64,
    /// Rows whose wallet did not cover the price.
    pub short: u64,
    /// Rows parked by this pass.
    pub parked: u64,
    /// Rows still due that somebody else held, also at the second try. They are among `left`.
    pub busy: u64,
    /// Rows that failed, also in being announced, and are tried again by the next pass.
    pub failed: u64,
    /// Due rows and announcements this pass did not get to.
    pub left: u64,
    /// There are more of them: counting stopped there.
    pub left_at_least: bool,
    /// What was charged.
    pub charged: Kopecks,
    /// Notices written.
    pub notices_written: u64,
    /// Since when the oldest row of `left` has been due.
    pub oldest_due: Duration,
    /// The pass ended before its work did.
    pub cut_short: bool,
    /// It has had all the effects it may have, and work is left.
    pub at_limit: bool,
}

impl Summary {
    /// Counts what became of a row.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Renewed { amount, .. } => {
                self.renewed += 1;
                self.charged = self.charged.checked_add(*amount).unwrap_or(self.charged);
            }
            Outcome::Short { .. } => self.short += 1,
            Outcome::Parked { .. } => self.parked += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Busy(_) | Outcome::Announced { .. } => {}
        }
    }
}

pub(crate) fn log_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Renewed { id, amount, .. } => {
            log::info!(subscription_id = id.0, amount_kopecks = amount.0; "renewed");
        }
        Outcome::Short { id, missing, .. } => {
            log::debug!(subscription_id = id.0, missing_kopecks = missing.0; "balance too small, tried again next pass");
        }
        Outcome::Parked { id, reason } => {
            log::error!(subscription_id = id.0, reason = reason.as_str(); "parked; see {}", operator::command("parked"));
        }
        Outcome::Failed { id, reason, tries } => {
            log::warn!(subscription_id = id.0, reason = reason.as_str(), tries; "failed, tried again next pass");
        }
        Outcome::Busy(key) => log::debug!(subscription_id = key.id.0; "held or changed by somebody else"),
        Outcome::Announced { id, amount, .. } => {
            log::debug!(subscription_id = id.0, amount_kopecks = amount.0; "charge announced");
        }
    }
}
