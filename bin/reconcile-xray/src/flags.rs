//! The program's flags.

use std::path::PathBuf;

use clap::Parser;
use perennial_boot::{DeliveryOptions, Missing, Span, XrayOptions};
use perennial_core::share::Share;

/// Compare every Xray server with the database and repair the differences
#[derive(Debug, Parser)]
#[command(name = "reconcile-xray", version)]
pub struct Flags {
    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub common: perennial_boot::Options,

    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub xray: XrayOptions,

    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// Work on this node only
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Restore users that are missing on a node, or only report them [default: restore]
    #[arg(long, value_name = "WHAT")]
    pub missing: Option<Missing>,

    /// Watch an unknown user for this long before it is removed [default: 10m]
    #[arg(long, value_name = "SPAN")]
    pub orphan_grace: Option<Span>,

    /// Remove nothing on a node where more users than this would go [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_removals: Option<u64>,

    /// Remove nothing on a node where more than this share of our users would go; up to 10 always may [default: 0.2]
    #[arg(long, value_name = "SHARE")]
    pub max_removal_share: Option<Share>,

    /// Write what would be done to this file, and do nothing
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    pub plan: Option<PathBuf>,

    /// Do what stands in this plan and is still to be done, past the brakes that spoke when it was made; nothing at all
    /// if one of its removals is no longer right, or if it is older than an hour
    #[arg(long, value_name = "FILE")]
    pub apply: Option<PathBuf>,
}
