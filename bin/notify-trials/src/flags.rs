//! The program's flags.

use clap::Parser;
use perennial_boot::DeliveryOptions;

/// Send due trial reminders and end trials that are over
#[derive(Debug, Parser)]
#[command(name = "notify-trials", version)]
pub struct Flags {
    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub common: perennial_boot::Options,

    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// Only remind; leave ending to expire-fast
    #[arg(long)]
    pub no_end: bool,
}
