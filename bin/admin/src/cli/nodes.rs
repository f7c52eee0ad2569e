//! Flags of `nodes` and `orphans`.

use clap::{Args, Subcommand};
use perennial_boot::XrayOptions;

/// `nodes …`
#[derive(Debug, Clone, Subcommand)]
pub enum NodesCommand {
    /// List all servers ever seen in the settings
    List,
    /// Reach the servers of the settings and compare them with the database; change nothing
    Check(NodesCheck),
    /// Say that a server is gone for good: removals wait for it no longer
    Retire(NodeName),
    /// Take a retired server back
    Revive(NodeName),
}

/// `nodes check`
#[derive(Debug, Clone, Args)]
pub struct NodesCheck {
    /// Only this server [default: all]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    #[allow(missing_docs)] // A doc comment here would become the help text of the command.
    #[command(flatten)]
    pub xray: XrayOptions,
}

/// `nodes retire`, `nodes revive`
#[derive(Debug, Clone, Args)]
pub struct NodeName {
    /// Name of the server in the settings
    pub name: String,
}

/// `orphans`
#[derive(Debug, Clone, Args)]
pub struct Orphans {
    /// Only of this server [default: all]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}
