//! The program's flags.

use clap::Parser;
use perennial_boot::{DeliveryOptions, Span, XrayOptions};
use perennial_core::share::Share;

/// End what has run out and take it off every Xray server, with proof
#[derive(Debug, Parser)]
#[command(name = "expire-fast", version)]
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

    /// Leave a row that can be renewed to renew for this long after its end [default: 15m]
    #[arg(long, value_name = "SPAN")]
    pub grace: Option<Span>,

    /// End nothing when more rows than this are over at once [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_ends: Option<u64>,

    /// End nothing when more than this share of all active rows is over at once [default: 0.3]
    #[arg(long, value_name = "SHARE")]
    pub max_ends_share: Option<Share>,
}
