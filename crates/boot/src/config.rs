//! The settings file. One file serves all programs, so every section is typed and checked in each of them: a slip in
//! `[expire]` shows when `renew` is tried out, not at the next full hour.
//!
//! Unknown keys are refused. Flags and environment win over the file, the file over defaults. Errors name file, line,
//! key, value and remedy; a line of the file is never printed, because it may hold a secret.

pub(crate) mod check;
mod nodes;
mod quiet_hours;
mod retention;
pub(crate) mod section;
mod share;
mod source;
mod stages;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

pub(crate) use nodes::check as check_nodes;
pub use nodes::{Inbound, Node};
pub use quiet_hours::QuietHours;
pub use retention::RetentionSection;
pub use section::{ExpireSection, Missing, ReconcileSection, RenewSection, TrialsSection};
pub use stages::{StageMoment, TrialStage};

use crate::setting::SettingError;
use section::Common;
use source::Source;

/// Read when it exists and no other file is named.
pub const DEFAULT_FILE: &str = "/etc/perennial/perennial.toml";

/// All settings a file can hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// E-mails of our users on Xray begin with it; default `p.`. Must be what the database was set up with.
    pub owner_prefix: String,
    /// Users on Xray whose e-mail begins so are never touched.
    pub protected_prefixes: Vec<String>,
    /// `[database]`
    pub database: DatabaseSection,
    /// `[telegram]`
    pub telegram: TelegramSection,
    /// `[texts]`
    pub texts: TextsSection,
    /// `[renew]`
    pub renew: RenewSection,
    /// `[trials]`
    pub trials: TrialsSection,
    /// `[expire]`
    pub expire: ExpireSection,
    /// `[reconcile]`
    pub reconcile: ReconcileSection,
    /// `[retention]`
    pub retention: RetentionSection,
    /// `[[node]]`
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
    /// Folder of the settings file, where secrets may lie that no setting names; none for settings that came from no file.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
}

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSection {
    /// File with the connection string, used when no flag or variable gives one.
    pub url_file: Option<PathBuf>,
    /// Certificates of the authority that signed the server's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Connections at most; default workers + 2.
    pub pool_size: Option<u32>,
}

/// `[telegram]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelegramSection {
    /// Address of the Bot API; default Telegram's own.
    pub api: Option<String>,
    /// File with the bot's token.
    pub token_file: Option<PathBuf>,
    /// Proxy to reach it through; may hold a password.
    pub proxy: Option<SecretString>,
    /// Messages a second of all programs together; default 25. Telegram answers more than 30 with refusals.
    pub rate_per_second: Option<u32>,
    /// Chat that is told what a person must look at.
    pub admin_chat: Option<i64>,
}

/// `[texts]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextsSection {
    /// Folder whose texts override the shipped ones.
    pub folder: Option<PathBuf>,
    /// For users without a language, IETF tag.
    pub default_language: Option<String>,
    /// For users without a time zone, IANA name.
    pub default_time_zone: Option<String>,
    /// When reminders wait, in the user's time zone.
    pub quiet_hours: Option<QuietHours>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            owner_prefix: "p.".to_owned(),
            protected_prefixes: Vec::new(),
            database: DatabaseSection::default(),
            telegram: TelegramSection::default(),
            texts: TextsSection::default(),
            renew: RenewSection::default(),
            trials: TrialsSection::default(),
            expire: ExpireSection::default(),
            reconcile: ReconcileSection::default(),
            retention: RetentionSection::default(),
            nodes: Vec::new(),
            folder: None,
        }
    }
}

impl Config {
    /// Reads the named file; without a name the default one, where it exists. Gives also the file that was read.
    ///
    /// # Errors
    /// The named file cannot be read, or what it says cannot be used.
    pub fn load(named: Option<&Path>) -> Result<(Self, Option<PathBuf>), SettingError> {
        Self::load_or(named, Path::new(DEFAULT_FILE))
    }

    fn load_or(named: Option<&Path>, default: &Path) -> Result<(Self, Option<PathBuf>), SettingError> {
        let file = named.unwrap_or(default);
        let folder = file.parent().map(Path::to_path_buf);
        match std::fs::read_to_string(file) {
            Ok(text) => Ok((Self { folder, ..Self::parse(&text, file)? }, Some(file.to_path_buf()))),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                Ok((Self { folder, ..Self::default() }, None))
            }
            Err(error) => Err(SettingError::new(
                "--config",
                file.display(),
                format!("cannot be read ({error})"),
                "name a file that exists and that this user may read",
            )),
        }
    }

    /// Parses and checks the text of a settings file; `file` is named in errors.
    ///
    /// # Errors
    /// Syntax, unknown keys, wrong types and values, contradictions.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingError> {
        let source = Source(text);
        let config: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map(|span| span.start);
            let key = offset.and_then(|offset| source.key_at(offset)).unwrap_or_default();
            let remedy = if key.is_empty() { "correct the line (TOML)" } else { "correct it as the sample shows" };
            SettingError::unshown(key, told(error.message()), remedy)
                .in_file(file, offset.map(|offset| source.line(offset)))
        })?;
        check::config(&config).map_err(|error| {
            let line = source.line_of(error.setting());
            error.in_file(file, line)
        })?;
        Ok(config)
    }

    /// The section of each pass, by the section's name.
    pub(crate) fn sections(&self) -> [(&'static str, Common<'_>); 4] {
        [
            ("renew", self.renew.common()),
            ("trials", self.trials.common()),
            ("expire", self.expire.common()),
            ("reconcile", self.reconcile.common()),
        ]
    }
}

/// The parser's message in one line, without a text that stood in the wrong place: it may be a connection string.
fn told(message: &str) -> String {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(", ");
    match message.strip_prefix("invalid type: string ").and_then(|rest| rest.rsplit_once("\", expected ")) {
        Some((_, expected)) => format!("invalid type: text, expected {expected}"),
        None => message,
    }
}

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;
