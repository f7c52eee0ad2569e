//! The program's flags.

use clap::Parser;
use perennial_boot::{DeliveryOptions, Span};

/// Charge due subscriptions from their wallets and extend them
#[derive(Debug, Parser)]
#[command(name = "renew", version)]
pub struct Flags {
    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub common: perennial_boot::Options,

    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// Charge this long before the end [default: 6h]
    #[arg(long, value_name = "SPAN")]
    pub window: Option<Span>,

    /// Still charge a funded subscription this long past its end [default: 15m]
    #[arg(long, value_name = "SPAN")]
    pub grace: Option<Span>,

    /// Tell customers of a charge to come this long before the end, such as 24h [default: not told]
    #[arg(long, value_name = "SPAN")]
    pub charge_notice: Option<Span>,
}
