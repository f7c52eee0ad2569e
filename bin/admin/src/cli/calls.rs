//! Flags of the commands that call what bots call.

use clap::Args;

use super::Switch;

/// The key of a call that must not be done twice.
#[derive(Debug, Clone, Args)]
pub struct Key {
    /// Idempotency key: repeated with the same one, the call gives its first answer again [default: a new one, shown]
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key: Option<String>,
}

/// Whether secrets are shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct Secret {
    /// Show the user's UUID in full instead of its beginning
    #[arg(long)]
    pub show_secret: bool,
}

/// `ensure-user`
#[derive(Debug, Clone, Args)]
pub struct EnsureUser {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Language as Telegram gives it, such as ru [default: as it is]
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    /// Time zone, such as Europe/Moscow [default: as it is]
    #[arg(long, value_name = "NAME")]
    pub time_zone: Option<String>,
}

/// `top-up`
#[derive(Debug, Clone, Args)]
pub struct TopUp {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// How much
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub kopecks: i64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
}

/// `buy`
#[derive(Debug, Clone, Args)]
pub struct Buy {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Code of the tariff
    #[arg(long, value_name = "CODE")]
    pub tariff: String,
    /// Whether the subscription renews by itself from now on: the customer has to agree
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true)]
    pub auto_renew: Switch,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret: Secret,
}

/// `grant`
#[derive(Debug, Clone, Args)]
pub struct Grant {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Code of the tariff whose group is opened
    #[arg(long, value_name = "CODE")]
    pub tariff: String,
    /// How many days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=3660))]
    pub days: i32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret: Secret,
}

/// `start-trial`
#[derive(Debug, Clone, Args)]
pub struct StartTrial {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Code of the tariff whose group is opened
    #[arg(long, value_name = "CODE")]
    pub tariff: String,
    /// How many hours
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=8784))]
    pub hours: i32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret: Secret,
}

/// `cancel`
#[derive(Debug, Clone, Args)]
pub struct Cancel {
    /// The subscription
    pub subscription_id: i64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
}

/// `rotate`
#[derive(Debug, Clone, Args)]
pub struct Rotate {
    /// Telegram id of the user
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub telegram_id: i64,
    /// Group of the credential
    #[arg(long, value_name = "NAME", default_value = "basic")]
    pub group: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub secret: Secret,
}

/// `refund`
#[derive(Debug, Clone, Args)]
pub struct Refund {
    /// The payment
    pub payment_id: i64,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub key: Key,
}

/// `set-auto-renew`
#[derive(Debug, Clone, Copy, Args)]
pub struct SetAutoRenew {
    /// The subscription
    pub subscription_id: i64,
    /// On or off
    #[arg(value_name = "ON|OFF", hide_possible_values = true)]
    pub switch: Switch,
}
