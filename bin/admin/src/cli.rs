//! Flags and commands.

mod calls;
mod nodes;
mod notices;
mod values;

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use perennial_boot::{BaseOptions, Span, XrayOptions};
use perennial_core::operator;
use perennial_core::time::Timestamp;

pub use calls::{Buy, Cancel, EnsureUser, Grant, Key, Refund, Rotate, Secret, SetAutoRenew, StartTrial, TopUp};
pub use nodes::{NodeName, NodesCheck, NodesCommand, Orphans};
pub use notices::{NoticesCommand, NoticesDrop, NoticesList, NoticesRetry, TextsCheck, TextsCommand};
pub use values::{ParkingPass, Switch};

/// The whole command line. The common flags may stand before and after the command.
#[derive(Debug)]
pub struct Cli {
    /// Flags every program has.
    pub base: BaseOptions,
    /// What to do.
    pub command: Command,
}

/// Run a VPN subscription service by hand: migrate, sell, grant, check the books
#[derive(Debug, Parser)]
#[command(name = "admin", version, disable_help_subcommand = true)]
struct Flags {
    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    base: BaseOptions,

    #[command(subcommand)]
    command: Command,
}

impl CommandFactory for Cli {
    fn command() -> clap::Command {
        let common: Vec<clap::Id> = BaseOptions::augment_args(clap::Command::new("common"))
            .get_arguments()
            .map(|argument| argument.get_id().clone())
            .collect();
        Flags::command().name(operator::program()).mut_args(|argument| {
            if common.contains(argument.get_id()) {
                argument.global(true).help_heading("Common options")
            } else {
                argument
            }
        })
    }

    fn command_for_update() -> clap::Command {
        Self::command()
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let Flags { base, command } = Flags::from_arg_matches(matches)?;
        Ok(Self { base, command })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Parser for Cli {}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the schema up to date
    Migrate(Migrate),
    /// Write a user down, or a sign of life of one
    EnsureUser(EnsureUser),
    /// Put money from outside into a wallet
    TopUp(TopUp),
    /// Sell a period: charge the wallet, start or extend the subscription
    Buy(Buy),
    /// Give days free of charge
    Grant(Grant),
    /// Start a user's only trial
    StartTrial(StartTrial),
    /// End a subscription now
    Cancel(Cancel),
    /// Give a user a new credential and close the old one
    Rotate(Rotate),
    /// Take the latest payment back: money into the wallet, days off the subscription
    Refund(Refund),
    /// Switch automatic renewal
    SetAutoRenew(SetAutoRenew),
    /// The price list
    #[command(subcommand)]
    Tariff(TariffCommand),
    /// Personal discounts
    #[command(subcommand)]
    Discount(DiscountCommand),
    /// Give or take the VIP price
    Vip(Vip),
    /// Agree a price for a subscription, charged instead of the list price
    AgreePrice(AgreePrice),
    /// Make a pass leave a subscription alone
    Park(Park),
    /// Let a pass try a subscription again
    Unpark(Unpark),
    /// List parked subscriptions
    Parked(Parked),
    /// The Xray servers
    #[command(subcommand)]
    Nodes(NodesCommand),
    /// List users in quarantine: on a server, and the database does not know why
    Orphans(Orphans),
    /// What was said to customers, what waits, what was given up
    #[command(subcommand)]
    Notices(NoticesCommand),
    /// The texts of notices
    #[command(subcommand)]
    Texts(TextsCommand),
    /// Show how the service is doing, on one screen
    Status(Status),
    /// Check the books
    Verify(Verify),
    /// Delete old runs, sent messages and, if told to, old audit rows
    Prune(Prune),
    /// Tell all that happened to a user
    Explain(Explain),
    /// The cluster this database belongs to
    #[command(subcommand)]
    Installation(InstallationCommand),
    /// Fill a new database with a made-up service and run the passes on it
    Demo(Demo),
}

impl Command {
    /// As it is typed.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Migrate(_) => "migrate",
            Self::EnsureUser(_) => "ensure-user",
            Self::TopUp(_) => "top-up",
            Self::Buy(_) => "buy",
            Self::Grant(_) => "grant",
            Self::StartTrial(_) => "start-trial",
            Self::Cancel(_) => "cancel",
            Self::Rotate(_) => "rotate",
            Self::Refund(_) => "refund",
            Self::SetAutoRenew(_) => "set-auto-renew",
            Self::Tariff(TariffCommand::Set(_)) => "tariff set",
            Self::Tariff(TariffCommand::List) => "tariff list",
            Self::Discount(DiscountCommand::Set(_)) => "discount set",
            Self::Discount(DiscountCommand::End(_)) => "discount end",
            Self::Vip(_) => "vip",
            Self::AgreePrice(_) => "agree-price",
            Self::Park(_) => "park",
            Self::Unpark(_) => "unpark",
            Self::Parked(_) => "parked",
            Self::Nodes(NodesCommand::List) => "nodes list",
            Self::Nodes(NodesCommand::Check(_)) => "nodes check",
            Self::Nodes(NodesCommand::Retire(_)) => "nodes retire",
            Self::Nodes(NodesCommand::Revive(_)) => "nodes revive",
            Self::Orphans(_) => "orphans",
            Self::Notices(NoticesCommand::List(_)) => "notices list",
            Self::Notices(NoticesCommand::Retry(_)) => "notices retry",
            Self::Notices(NoticesCommand::Drop(_)) => "notices drop",
            Self::Texts(TextsCommand::Check(_)) => "texts check",
            Self::Status(_) => "status",
            Self::Verify(_) => "verify",
            Self::Prune(_) => "prune",
            Self::Explain(_) => "explain",
            Self::Installation(InstallationCommand::Show) => "installation show",
            Self::Installation(InstallationCommand::Accept) => "installation accept",
            Self::Demo(_) => "demo",
        }
    }
}

/// `migrate`
#[derive(Debug, Clone, Copy, Args)]
pub struct Migrate {
    /// Stop at this version
    #[arg(long, value_name = "N")]
    pub to: Option<u32>,
}

/// `tariff …`
#[derive(Debug, Clone, Subcommand)]
pub enum TariffCommand {
    /// Write a tariff; what is not given stays as it is
    Set(TariffSet),
    /// List all tariffs
    List,
}

/// `tariff set`
#[derive(Debug, Clone, Args)]
pub struct TariffSet {
    /// Code of the tariff
    pub code: String,
    /// List price of one period; 0 is a price
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub price_kopecks: Option<i64>,
    /// Length of the period in calendar months
    #[arg(long, value_name = "N", conflicts_with = "days", value_parser = clap::value_parser!(i32).range(1..))]
    pub months: Option<i32>,
    /// Length of the period in days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub days: Option<i32>,
    /// Group of inbounds it opens [default for a new one: basic]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Neither sell nor renew it from now on
    #[arg(long, conflicts_with = "sell")]
    pub withdraw: bool,
    /// Sell and renew it again
    #[arg(long)]
    pub sell: bool,
}

/// `discount …`
#[derive(Debug, Clone, Subcommand)]
pub enum DiscountCommand {
    /// Give a user a discount in place of the one he has
    Set(DiscountSet),
    /// Take a user's discount
    End(DiscountEnd),
}

/// `discount set`
#[derive(Debug, Clone, Copy, Args)]
pub struct DiscountSet {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Percent off the list price
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=100))]
    pub percent: i32,
    /// For so many days [default: without end]
    #[arg(long, value_name = "N", conflicts_with = "until", value_parser = clap::value_parser!(i32).range(1..=36600))]
    pub days: Option<i32>,
    /// Until this moment, such as 2030-12-31T21:00:00Z
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub until: Option<Timestamp>,
}

/// `discount end`
#[derive(Debug, Clone, Copy, Args)]
pub struct DiscountEnd {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
}

/// `vip`
#[derive(Debug, Clone, Copy, Args)]
pub struct Vip {
    /// On or off
    #[arg(value_name = "ON|OFF", hide_possible_values = true)]
    pub switch: Switch,
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
}

/// `agree-price`
#[derive(Debug, Clone, Copy, Args)]
#[command(group(clap::ArgGroup::new("price").required(true).args(["kopecks", "none"])))]
pub struct AgreePrice {
    /// The subscription
    pub subscription_id: i64,
    /// What a period costs this customer from now on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub kopecks: Option<i64>,
    /// List price and discounts count again
    #[arg(long)]
    pub none: bool,
}

/// `park`
#[derive(Debug, Clone, Args)]
pub struct Park {
    /// The pass that is to leave it alone
    pub pass: ParkingPass,
    /// The subscription
    pub subscription_id: i64,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    pub reason: String,
}

/// `unpark`
#[derive(Debug, Clone, Copy, Args)]
pub struct Unpark {
    /// The pass that is to try it again
    pub pass: ParkingPass,
    /// The subscription
    pub subscription_id: i64,
}

/// `parked`
#[derive(Debug, Clone, Copy, Args)]
pub struct Parked {
    /// Also those that have failed, but are still tried
    #[arg(long)]
    pub all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `status`
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Write a page with charts of the last days to this file, for a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// So many days back on that page
    #[arg(long, value_name = "N", default_value_t = 30, requires = "html", value_parser = clap::value_parser!(u16).range(2..=366))]
    pub days: u16,
}

/// `verify`
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Only these checks [default: all]
    #[arg(value_name = "CHECK")]
    pub checks: Vec<String>,
    /// Memory for each sort and hash table, in megabytes; more of it makes large databases faster to check
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub work_mem: u32,
}

/// `prune`
#[derive(Debug, Clone, Copy, Args)]
pub struct Prune {
    /// Delete runs older than this, at least 1d [default: 90d]
    #[arg(long, value_name = "AGE")]
    pub runs: Option<Span>,
    /// Delete notices sent or dropped that are older than this, at least 30d [default: 400d]
    #[arg(long, value_name = "AGE")]
    pub notices: Option<Span>,
    /// Delete audit rows that are not about money and older than this, at least 180d [default: kept]
    #[arg(long, value_name = "AGE")]
    pub audit: Option<Span>,
    /// Show what would go and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Rows a transaction
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_size: u32,
    /// Begin nothing new after this many seconds; the next call goes on
    #[arg(long, value_name = "S", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub max_seconds: u32,
}

/// `explain`
#[derive(Debug, Clone, Copy, Args)]
pub struct Explain {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// At most so many of the newest rows of each kind
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `installation …`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum InstallationCommand {
    /// Show which database of which cluster this is, and which one may act
    Show,
    /// Let this copy of a database act; the original must not act any more
    Accept,
}

/// `demo`
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// How many customers to make up
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub users: u32,
    /// Makes up the same customers again
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    #[allow(missing_docs)] // A doc comment here would become the help text of the command.
    #[command(flatten)]
    pub xray: XrayOptions,
}
