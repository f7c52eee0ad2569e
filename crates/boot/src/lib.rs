//! What every main of Perennial shares: flags and settings, logs, the way to the database, the checks before a pass may
//! act on it, signals and time budget, and after it summary, metrics, heartbeat and exit code.
//!
//! A pass's main is [`parse`] and [`run()`]:
//!
//! ```no_run
//! use perennial_boot::{Config, Context, Report};
//! use perennial_core::pass::Pass;
//!
//! /// Charge due subscriptions from their wallets and extend them
//! #[derive(Debug, clap::Parser)]
//! #[command(version)]
//! struct Options {
//!     #[command(flatten)]
//!     common: perennial_boot::Options,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let options: Options = perennial_boot::parse();
//!     // What the pass takes from the settings file: here nothing.
//!     let settings = |_: &Config| Ok(());
//!     perennial_boot::run(Pass::Renew, &options.common, settings, async |ctx: Context<()>| {
//!         // Batches while `ctx.deadline` is not over, `ctx.interim.keep(&report)` after each.
//!         Ok(Report { cut_short: ctx.deadline.is_over(), ..Report::empty(Pass::Renew) })
//!     })
//! }
//! ```
//!
//! A program that makes no pass (`admin`) takes the parts: [`BaseOptions`],
//! [`Config::load`], [`start_logs`], [`Connection`], [`judge_schema`], [`judge_installation`], [`Exit`].
//!
//! Nothing here decides about money or access, and nothing here can keep a pass from ending: whatever cannot be told
//! (heartbeat, metrics, standard output gone) is one warning.

mod check_config;
mod closing;
mod config;
mod context;
mod database;
mod delivery;
mod ending;
mod exit;
mod in_force;
mod limits;
mod logs;
mod metrics;
mod mode;
mod options;
mod ping;
mod plan;
mod progress;
mod put_whole;
mod report;
mod run;
mod secrecy;
mod secrets;
mod setting;
mod shown;
mod signals;
mod span;
mod startup;
mod summary;
mod xray_options;

pub use config::{
    Config, DEFAULT_FILE, DatabaseSection, ExpireSection, Inbound, Missing, Node, QuietHours, ReconcileSection,
    RenewSection, RetentionSection, StageMoment, TelegramSection, TextsSection, TrialStage, TrialsSection,
};
pub use context::{Context, Interim};
pub use database::Connection;
pub use delivery::{Delivery, DeliveryOptions, NoticeTexts, claim_settings};
pub use exit::Exit;
pub use logs::{Origin, start as start_logs};
pub use mode::Mode;
pub use options::{BaseOptions, LogFormat, Options, Output, parse};
pub use plan::Plan;
pub use progress::Progress;
pub use put_whole::put_whole;
pub use report::{EndToProof, Notices, Report, left_at_least};
pub use run::run;
pub use secrecy::forbid_core_dumps;
pub use setting::SettingError;
pub use shown::{Entry, Shown, nodes as shown_nodes, or_none, span};
pub use span::{Span, SpanError};
pub use startup::{judge_installation, judge_schema};
pub use xray_options::{NodeArgument, XrayOptions};

/// Version of all programs: they are built and released together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Revision they were built from, where the build says (`PERENNIAL_REVISION`).
const REVISION: &str = match option_env!("PERENNIAL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
