//! Delivery of notices with the rest of a pass's budget: its flags, its settings, the bot and the texts behind them, and
//! the alerts to the operator's chat.

mod alerts;
mod rendering;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use perennial_core::db::{Database, DbError};
use perennial_core::delivery::{self, DeliverySettings, DeliverySummary};
use perennial_core::ids::TelegramId;
use perennial_core::time::Deadline;
use perennial_telegram::{TELEGRAM_API, Telegram, TelegramSettings};
use secrecy::SecretString;

use crate::config::check::readable;
use crate::config::{Config, TextsSection};
use crate::report::Report;
use crate::secrets;
use crate::setting::SettingError;
use crate::shown::{Entry, Shown, or_none};

pub use rendering::{NoticeTexts, claim_settings};

/// Telegram says about 30 messages a second; a little below, nobody is refused.
pub(crate) const DEFAULT_RATE: u32 = 25;
/// One message may take so long in all: short enough for the budget of a pass that runs every minute.
const SEND_LIMIT: Duration = Duration::from_secs(8);
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// Flags of programs that deliver notices; flatten them into the main's own.
#[derive(Debug, Clone, Default, Args)]
pub struct DeliveryOptions {
    /// Reach the Bot API at this address [default: https://api.telegram.org]
    #[arg(long, value_name = "URL", env = "PERENNIAL_TELEGRAM_API")]
    pub telegram_api: Option<String>,

    /// Read the bot's token from this file; the variable PERENNIAL_TELEGRAM_TOKEN may hold it instead
    #[arg(long, value_name = "FILE", env = "PERENNIAL_TELEGRAM_TOKEN_FILE")]
    pub telegram_token_file: Option<PathBuf>,

    /// Leave the delivery of notices to other runs
    #[arg(long)]
    pub no_deliver: bool,
}

/// Delivers notices, or says why not.
#[derive(Debug)]
pub struct Delivery {
    telegram: Option<Telegram>,
    is_off: bool,
    admin_chat: Option<TelegramId>,
    texts: TextsSection,
    settings: DeliverySettings,
}

impl DeliveryOptions {
    /// What flags, environment and settings file say. Connects to nothing.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn delivery(&self, config: &Config) -> Result<Delivery, SettingError> {
        let telegram = self.token(config)?.map(|token| self.telegram(token, config)).transpose()?;
        if let Some(folder) = &config.texts.folder {
            std::fs::read_dir(folder).map_err(|error| {
                let problem = format!("cannot be read ({error})");
                SettingError::new("texts.folder", folder.display(), problem, "name a folder with .ftl files")
            })?;
        }
        Ok(Delivery {
            telegram,
            is_off: self.no_deliver,
            admin_chat: config.telegram.admin_chat.map(TelegramId),
            texts: config.texts.clone(),
            settings: DeliverySettings {
                bot: "telegram".to_owned(),
                rate_per_second: config.telegram.rate_per_second.unwrap_or(DEFAULT_RATE),
                send_limit: SEND_LIMIT,
                claim: claim_settings(&config.texts),
                limit: None,
            },
        })
    }

    fn telegram(&self, token: SecretString, config: &Config) -> Result<Telegram, SettingError> {
        let api = self.telegram_api.clone().or_else(|| config.telegram.api.clone());
        let settings = TelegramSettings {
            api: api.unwrap_or_else(|| TELEGRAM_API.to_owned()),
            proxy: config.telegram.proxy.clone(),
            connect_limit: CONNECT_LIMIT,
            total_limit: SEND_LIMIT,
            ..TelegramSettings::new(token)
        };
        Telegram::new(settings)
            .map_err(|error| SettingError::unshown("telegram", error.to_string(), "correct the setting it names"))
    }

    /// The first of: the flag's file, the variable, the settings' file, the service manager's credential,
    /// a file beside the settings file.
    fn token(&self, config: &Config) -> Result<Option<SecretString>, SettingError> {
        if let Some(file) = &self.telegram_token_file {
            return token_in("--telegram-token-file", file).map(Some);
        }
        if let Some(token) = std::env::var("PERENNIAL_TELEGRAM_TOKEN").ok().filter(|token| !token.is_empty()) {
            return Ok(Some(token.trim().to_owned().into()));
        }
        if let Some(file) = &config.telegram.token_file {
            return token_in("telegram.token_file", file).map(Some);
        }
        let found = secrets::find("telegram-token", secrets::credentials(), config.folder.as_deref());
        found.map(|secret| token_in(&secret.source, &secret.file)).transpose()
    }
}

fn token_in(setting: &str, file: &Path) -> Result<SecretString, SettingError> {
    Ok(readable(setting, file)?.trim().to_owned().into())
}

/// `2 notices wait`.
fn wait(report: &Report) -> String {
    match report.notices.waiting {
        1 => "1 notice waits".to_owned(),
        waiting => format!("{waiting} notices wait"),
    }
}

impl Delivery {
    /// The same with so many messages at most; none: all that are due. A limited pass sends no more than it may have had
    /// effects, whoever wrote them.
    #[must_use]
    pub fn limited(mut self, limit: Option<u64>) -> Self {
        self.settings.limit = limit;
        self
    }

    /// Writes what a person must look at for the operator's chat, then sends due notices until none is due or the budget
    /// ends, and adds to the report what was sent and what waits. A dry run writes and sends nothing.
    ///
    /// # Errors
    /// The database's. The messenger's trouble is a warning: neither money nor access waits for it.
    pub async fn deliver_rest(&self, db: &Database, deadline: &Deadline, report: &mut Report) -> Result<(), DbError> {
        self.alert(db, report).await?;
        report.notices.waiting = waiting(db).await?;
        if report.notices.waiting == 0 || self.is_off || db.is_dry_run() {
            return Ok(());
        }
        let Some(telegram) = &self.telegram else {
            report.warnings.push(format!("{}: there is no bot token (/etc/perennial/telegram-token)", wait(report)));
            return Ok(());
        };
        let texts = match NoticeTexts::load(&self.texts) {
            Ok(texts) => texts,
            Err(error) => {
                report.warnings.push(format!("{}: {error}", wait(report)));
                return Ok(());
            }
        };
        if deadline.remaining() <= SEND_LIMIT {
            report.warnings.push(format!("{}: max_seconds left no time to send", wait(report)));
            return Ok(());
        }
        let mut summary = DeliverySummary::default();
        let outcome = delivery::deliver(db, telegram, &texts, &self.settings, deadline, &mut summary).await;
        add(&summary, report);
        outcome?;
        self.alert_dead(db, &summary, report).await?;
        report.notices.waiting = waiting(db).await?;
        Ok(())
    }
}

impl Shown for Delivery {
    fn shown(&self) -> Vec<Entry> {
        let telegram = match &self.telegram {
            _ if self.is_off => "left to other runs".to_owned(),
            Some(telegram) => format!("bot {} at {}", telegram.bot(), telegram.host()),
            None => "no token: notices wait".to_owned(),
        };
        let TextsSection { folder, default_language, default_time_zone: _, quiet_hours } = &self.texts;
        vec![
            ("telegram", telegram),
            ("rate_per_second", self.settings.rate_per_second.to_string()),
            ("admin_chat", or_none(self.admin_chat.as_ref())),
            ("texts", folder.as_ref().map_or_else(|| "the shipped ones".to_owned(), |f| f.display().to_string())),
            ("default_language", or_none(default_language.as_ref())),
            ("default_time_zone", self.settings.claim.default_time_zone.clone()),
            ("quiet_hours", or_none(quiet_hours.as_ref())),
        ]
    }
}

async fn waiting(db: &Database) -> Result<u64, DbError> {
    let waiting = db.run_tx("count_waiting", async |tx| tx.count_waiting_notices().await).await?;
    Ok(waiting.unsigned_abs())
}

fn add(summary: &DeliverySummary, report: &mut Report) {
    report.notices.sent += summary.sent;
    report.notices.dropped += summary.dropped;
    report.notices.dead += summary.dead;
    report.warnings.extend(summary.warnings.iter().cloned());
    for (count, what) in [
        (summary.maybe_lost, "reminders may be lost: nobody knows whether they were sent"),
        (summary.maybe_doubled, "receipts or endings are sent again: nobody knows whether they arrived"),
        (summary.throttled, "times Telegram said to wait"),
    ] {
        if count > 0 {
            report.warnings.push(format!("{count} {what}"));
        }
    }
}
