//! Flags of `notices` and `texts`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `notices …`
#[derive(Debug, Clone, Subcommand)]
pub enum NoticesCommand {
    /// List notices of a state with their reasons, newest first
    List(NoticesList),
    /// Try dead notices again, from the first attempt on
    Retry(NoticesRetry),
    /// Drop notices that wait or are dead
    Drop(NoticesDrop),
}

/// Where a notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoticeState {
    /// Waiting to be sent.
    Pending,
    /// A pass is sending it.
    Sending,
    /// Sent.
    Sent,
    /// Not sent, as it had become useless.
    Dropped,
    /// Given up.
    Dead,
}

impl NoticeState {
    /// As it stands in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }
}

/// A state that a notice can be dropped from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DroppableState {
    /// Waiting to be sent.
    Pending,
    /// Given up.
    Dead,
}

impl DroppableState {
    /// As it stands in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }
}

/// `notices list`
#[derive(Debug, Clone, Args)]
pub struct NoticesList {
    /// Notices that stand there
    #[arg(long, value_name = "STATE", default_value = "dead", hide_possible_values = false)]
    pub state: NoticeState,
    /// Only of this kind, such as renewed
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Only those older than this one: go on where the last list ended
    #[arg(long, value_name = "ID")]
    pub before: Option<i64>,
}

/// `notices retry`
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "kind", "all"])))]
pub struct NoticesRetry {
    /// These
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// All dead ones of this kind, such as renewed
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// All dead ones
    #[arg(long)]
    pub all: bool,
}

/// `notices drop`
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "kind", "state"])))]
pub struct NoticesDrop {
    /// These
    #[arg(value_name = "ID", conflicts_with_all = ["kind", "state"])]
    pub ids: Vec<i64>,
    /// All of this kind, such as balance_short
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// All of this state; together with --kind those that are both
    #[arg(long, value_name = "STATE")]
    pub state: Option<DroppableState>,
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    pub reason: String,
}

/// `texts …`
#[derive(Debug, Clone, Subcommand)]
pub enum TextsCommand {
    /// Name every text that is missing or broken; exit code 78 if one is broken
    Check(TextsCheck),
}

/// `texts check`
#[derive(Debug, Clone, Args)]
pub struct TextsCheck {
    /// Folder with texts of your own [default: texts.folder of the settings]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
