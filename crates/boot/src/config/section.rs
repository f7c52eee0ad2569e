//! The sections of the settings file that belong to a pass. Flags of the same names are poured into the same types, so
//! that flags, file and defaults meet in one place ([`RenewSection::or`] and the like).

use std::path::PathBuf;

use perennial_core::share::Share;
use secrecy::SecretString;
use serde::Deserialize;

use super::share::share;
use super::stages::TrialStage;
use crate::limits;
use crate::mode::Mode;
use crate::options::{LogFormat, Output};
use crate::setting::SettingError;
use crate::span::Span;

/// The settings all passes have, borrowed from the section of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) batch_size: Option<u32>,
    pub(crate) workers: Option<u32>,
    pub(crate) max_seconds: Option<u32>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) mode: Option<Mode>,
    pub(crate) limit: Option<u32>,
    pub(crate) output: Option<Output>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) metrics_file: Option<&'a PathBuf>,
    pub(crate) ping_url: Option<&'a SecretString>,
}

macro_rules! section {
    ($(#[$doc:meta])* $section:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $section {
            $($(#[$of_field])* pub $field: Option<$type>,)*
            /// Rows a transaction; too large holds locks for long, too small wastes round trips.
            pub batch_size: Option<u32>,
            /// Connections at work.
            pub workers: Option<u32>,
            /// Budget of the pass in seconds.
            pub max_seconds: Option<u32>,
            /// Change nothing and keep no record, as `--dry-run`: to look by hand. For timers there is `mode`.
            pub dry_run: Option<bool>,
            /// How far the pass may go: `observe` has no effect and keeps a record, `limited` stops after `limit` effects,
            /// `full` does all; default full.
            pub mode: Option<Mode>,
            /// Effects of a pass in mode limited; needed there.
            pub limit: Option<u32>,
            /// Form of the summary.
            pub output: Option<Output>,
            /// Form of the logs.
            pub log_format: Option<LogFormat>,
            /// File for the textfile collector, one a program.
            pub metrics_file: Option<PathBuf>,
            /// Heartbeat address; whoever knows it can report in our name, so it is a secret.
            pub ping_url: Option<SecretString>,
        }

        impl $section {
            /// The settings of `self`, and those of `below` where `self` has none.
            #[must_use]
            pub fn or(self, below: &Self) -> Self {
                Self {
                    $($field: self.$field.or_else(|| below.$field.clone()),)*
                    batch_size: self.batch_size.or(below.batch_size),
                    workers: self.workers.or(below.workers),
                    max_seconds: self.max_seconds.or(below.max_seconds),
                    dry_run: self.dry_run.or(below.dry_run),
                    mode: self.mode.or(below.mode),
                    limit: self.limit.or(below.limit),
                    output: self.output.or(below.output),
                    log_format: self.log_format.or(below.log_format),
                    metrics_file: self.metrics_file.or_else(|| below.metrics_file.clone()),
                    ping_url: self.ping_url.or_else(|| below.ping_url.clone()),
                }
            }

            pub(crate) fn common(&self) -> Common<'_> {
                Common {
                    batch_size: self.batch_size,
                    workers: self.workers,
                    max_seconds: self.max_seconds,
                    dry_run: self.dry_run,
                    mode: self.mode,
                    limit: self.limit,
                    output: self.output,
                    log_format: self.log_format,
                    metrics_file: self.metrics_file.as_ref(),
                    ping_url: self.ping_url.as_ref(),
                }
            }
        }
    };
}

section! {
    /// `[renew]`
    RenewSection {
        /// How long before its end a subscription is charged; default 6h.
        window: Span,
        /// How long after its end a subscription may still be charged; default 15m. Larger serves unpaid for longer.
        grace: Span,
        /// How long before the end "we will charge you" is said, longer than the window; default: it is not.
        charge_notice: Span,
    }
}

section! {
    /// `[trials]`
    TrialsSection {
        /// When trials are reminded; default 6 h after the start, 12 h and 1 h before the end.
        stages: Vec<TrialStage>,
        /// Only remind, end nothing; default false.
        no_end: bool,
    }
}

section! {
    /// `[expire]`
    ExpireSection {
        /// How long a row that can be renewed is left to `renew`; default 15m.
        grace: Span,
        /// Brake: end nothing when more rows than this are due at once; default none.
        max_ends: u64,
        /// Brake: end nothing when more than this share of all active rows is due at once; default 0.3.
        #[serde(deserialize_with = "share")]
        max_ends_share: Share,
        /// Command, with arguments, told as JSON on its standard input who was removed and is still connected; default none.
        on_removed: Vec<String>,
    }
}

/// What `reconcile-xray` does about a user missing on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Add it.
    #[default]
    Restore,
    /// Only say so.
    Report,
}

section! {
    /// `[reconcile]`. `--node`, `--plan` and `--apply` are acts of one run and have no place in a file.
    ReconcileSection {
        /// What is done about a user missing on a node; default restore.
        missing: Missing,
        /// How long an unknown user is watched before it is removed; default 10m. Shorter may hit one just being added.
        orphan_grace: Span,
        /// Brake: remove nothing on a node where more than this would go; default none.
        max_removals: u64,
        /// Brake: remove nothing on a node where more than this share would go; default 0.2.
        #[serde(deserialize_with = "share")]
        max_removal_share: Share,
    }
}

impl RenewSection {
    /// How long before its end a subscription is charged.
    #[must_use]
    pub fn window(&self) -> Span {
        self.window.unwrap_or(Span::seconds(6 * 3_600))
    }

    /// How long after its end a subscription may still be charged.
    #[must_use]
    pub fn grace(&self) -> Span {
        self.grace.unwrap_or(DEFAULT_GRACE)
    }

    /// Refuses values that contradict each other, from whatever source they came.
    ///
    /// # Errors
    /// Names the setting, its value and the remedy.
    pub fn check(&self) -> Result<(), SettingError> {
        if self.grace() >= self.window() {
            return Err(SettingError::new(
                "renew.grace",
                self.grace(),
                format!("must be shorter than renew.window ({})", self.window()),
                "lower the grace or raise the window",
            ));
        }
        if let Some(ahead) = self.charge_notice.filter(|ahead| *ahead <= self.window()) {
            return Err(SettingError::new(
                "renew.charge_notice",
                ahead,
                format!("must be longer than renew.window ({}): then it is charged", self.window()),
                "raise it, such as 24h, or leave it out: nothing is announced then",
            ));
        }
        Ok(())
    }
}

impl ExpireSection {
    /// How long a row that can be renewed is left to `renew`.
    #[must_use]
    pub fn grace(&self) -> Span {
        self.grace.unwrap_or(DEFAULT_GRACE)
    }

    /// The share of active rows that may be due at once.
    #[must_use]
    pub fn max_ends_share(&self) -> Share {
        self.max_ends_share.unwrap_or(Share::percent(30))
    }
}

impl ReconcileSection {
    /// What is done about a user missing on a node.
    #[must_use]
    pub fn missing(&self) -> Missing {
        self.missing.unwrap_or_default()
    }

    /// How long an unknown user is watched before it is removed.
    #[must_use]
    pub fn orphan_grace(&self) -> Span {
        self.orphan_grace.unwrap_or(Span::seconds(600))
    }

    /// The share of a node's users that may be removed in one pass.
    #[must_use]
    pub fn max_removal_share(&self) -> Share {
        self.max_removal_share.unwrap_or(Share::percent(20))
    }
}

const DEFAULT_GRACE: Span = Span::seconds(15 * 60);

impl Common<'_> {
    pub(super) fn check(&self, section: &str) -> Result<(), SettingError> {
        for (key, value, range) in [
            ("batch_size", self.batch_size, limits::BATCH_ROWS),
            ("workers", self.workers, limits::WORKERS),
            ("max_seconds", self.max_seconds, limits::MAX_SECONDS),
            ("limit", self.limit, limits::EFFECTS),
        ] {
            super::check::in_range(&format!("{section}.{key}"), value, range)?;
        }
        if let (Some(true), Some(mode)) = (self.dry_run, self.mode) {
            return Err(SettingError::new(
                format!("{section}.mode"),
                mode,
                "contradicts dry_run = true, which keeps no record of what it sees",
                "take dry_run out; mode = \"observe\" has no effect either",
            ));
        }
        if let Some(url) = self.ping_url {
            crate::ping::check_url(url, &format!("{section}.ping_url"))?;
        }
        Ok(())
    }
}
