//! The settings in force: flags and environment over the file, the file over defaults.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perennial_core::pass::Pass;
use secrecy::{ExposeSecret, SecretString};

use crate::config::section::Common;
use crate::config::{Config, check};
use crate::database::Connection;
use crate::limits;
use crate::mode::Mode;
use crate::options::{LogFormat, Options, Output};
use crate::ping;
use crate::setting::SettingError;
use crate::shown::or_none;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Default,
    File,
    Flag,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag or environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Chosen<T> {
    value: T,
    from: From,
}

impl<T> Chosen<T> {
    fn of(flag: Option<T>, file: Option<T>, default: T) -> Self {
        match (flag, file) {
            (Some(value), _) => Self { value, from: From::Flag },
            (None, Some(value)) => Self { value, from: From::File },
            (None, None) => Self { value: default, from: From::Default },
        }
    }
}

/// What a pass runs with. Prints without secrets.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) config: Config,
    pub(crate) connection: Connection,
    file: Option<PathBuf>,
    batch_rows: Chosen<u32>,
    workers: Chosen<u32>,
    pool_size: Chosen<u32>,
    max_seconds: Chosen<u32>,
    dry_run: Chosen<bool>,
    mode: Chosen<Mode>,
    limit: Chosen<Option<u32>>,
    output: Chosen<Output>,
    log_format: Chosen<LogFormat>,
    metrics_file: Chosen<Option<PathBuf>>,
    ping_url: Chosen<Option<SecretString>>,
}

impl InForce {
    /// Reads the file and puts it together with the flags.
    ///
    /// # Errors
    /// Anything that cannot be used, with its remedy; no file or database has been written to then.
    pub(crate) fn load(pass: Pass, options: &Options) -> Result<Self, SettingError> {
        let (config, file) = Config::load(options.base.config.as_deref())?;
        let connection = Connection::new(&options.base, &config)?;
        let section = section_of(pass, &config);
        let workers = Chosen::of(options.workers, section.workers, limits::DEFAULT_WORKERS);
        let default_pool = workers.value + limits::SPARE_CONNECTIONS;
        let in_force = Self {
            batch_rows: Chosen::of(options.batch_size, section.batch_size, limits::DEFAULT_BATCH_ROWS),
            workers,
            pool_size: Chosen::of(None, config.database.pool_size, default_pool),
            max_seconds: Chosen::of(options.max_seconds, section.max_seconds, default_seconds(pass)),
            dry_run: Chosen::of(options.dry_run.then_some(true), section.dry_run, false),
            mode: Chosen::of(options.mode, section.mode, Mode::default()),
            limit: Chosen::of(options.limit.map(Some), section.limit.map(Some), None),
            output: Chosen::of(options.base.output, section.output, Output::default()),
            log_format: Chosen::of(options.base.log_format, section.log_format, LogFormat::default()),
            metrics_file: Chosen::of(
                options.metrics_file.clone().map(Some),
                section.metrics_file.cloned().map(Some),
                None,
            ),
            ping_url: Chosen::of(options.ping_url.clone().map(Some), section.ping_url.cloned().map(Some), None),
            connection,
            config,
            file,
        };
        in_force.check()?;
        Ok(in_force)
    }

    fn check(&self) -> Result<(), SettingError> {
        check::fits("--workers", self.workers.value, self.pool_size.value)?;
        self.check_mode()?;
        if let Some(url) = &self.ping_url.value {
            ping::check_url(url, "--ping-url")?;
        }
        if let Some(file) = &self.metrics_file.value {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if file.file_name().is_none() || !folder.is_dir() || file.is_dir() {
                return Err(SettingError::new(
                    "--metrics-file",
                    file.display(),
                    "is no file in an existing folder",
                    "name a file in the textfile collector's folder",
                ));
            }
        }
        Ok(())
    }

    /// Whoever names a number of effects means it: it must not be passed over because of a mode nobody thought of.
    fn check_mode(&self) -> Result<(), SettingError> {
        match (self.mode.value, self.limit.value) {
            (Mode::Limited, None) => Err(SettingError::new(
                "mode",
                Mode::Limited,
                "says to stop after some effects, and not after how many",
                "set limit (--limit), such as 10",
            )),
            (Mode::Full, Some(limit)) if self.limit.from >= self.mode.from => Err(SettingError::new(
                "limit",
                limit,
                "has no meaning in mode full, which does all there is to do",
                "set mode = \"limited\" (--mode limited), or take the limit out",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn batch_rows(&self) -> usize {
        self.batch_rows.value as usize
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.value as usize
    }

    pub(crate) fn pool_size(&self) -> usize {
        self.pool_size.value as usize
    }

    pub(crate) fn budget(&self) -> Duration {
        Duration::from_secs(self.max_seconds.value.into())
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run.value
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode.value
    }

    /// Effects after which the pass stops; none: it does not.
    pub(crate) fn limit(&self) -> Option<u32> {
        self.limit.value.filter(|_| self.mode.value == Mode::Limited)
    }

    pub(crate) fn output(&self) -> Output {
        self.output.value
    }

    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format.value
    }

    pub(crate) fn metrics_file(&self) -> Option<&Path> {
        self.metrics_file.value.as_deref()
    }

    pub(crate) fn ping_url(&self) -> Option<&SecretString> {
        self.ping_url.value.as_ref()
    }

    /// Name, value and origin of everything common, secrets masked: what `--check-config` shows.
    pub(crate) fn entries(&self) -> Vec<[String; 3]> {
        fn entry<T>(name: &str, chosen: &Chosen<T>, shown: impl fmt::Display) -> [String; 3] {
            [name.to_owned(), shown.to_string(), chosen.from.to_string()]
        }
        let file = self.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
        let metrics = self.metrics_file().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
        let said =
            |name: &str, value: &dyn fmt::Display, from: &str| [name.to_owned(), value.to_string(), from.to_owned()];
        vec![
            said("config", &file, ""),
            said("database", &self.connection, self.connection.source()),
            said("encryption", &self.connection.encryption(), ""),
            entry("pool_size", &self.pool_size, self.pool_size.value),
            entry("batch_size", &self.batch_rows, self.batch_rows.value),
            entry("workers", &self.workers, self.workers.value),
            entry("max_seconds", &self.max_seconds, self.max_seconds.value),
            entry("dry_run", &self.dry_run, self.dry_run.value),
            entry("mode", &self.mode, self.mode.value),
            entry("limit", &self.limit, or_none(self.limit.value.as_ref())),
            entry("output", &self.output, word(self.output.value == Output::Json)),
            entry("log_format", &self.log_format, word(self.log_format.value == LogFormat::Json)),
            entry("metrics_file", &self.metrics_file, metrics),
            entry("ping_url", &self.ping_url, self.ping_url().map_or_else(|| "none".to_owned(), masked)),
            said("owner_prefix", &self.config.owner_prefix, ""),
        ]
    }
}

fn word(is_json: bool) -> &'static str {
    if is_json { "json" } else { "text" }
}

/// Scheme and host of a secret address.
fn masked(url: &SecretString) -> String {
    let url: Option<reqwest::Url> = url.expose_secret().parse().ok();
    url.and_then(|url| Some(format!("{}://{}/…", url.scheme(), url.host_str()?))).unwrap_or_else(|| "…".to_owned())
}

fn default_seconds(pass: Pass) -> u32 {
    match pass {
        // It runs every minute, and must be through before the next one.
        Pass::ExpireFast => 50,
        Pass::Renew | Pass::NotifyTrials | Pass::ReconcileXray => 240,
    }
}

fn section_of(pass: Pass, config: &Config) -> Common<'_> {
    match pass {
        Pass::Renew => config.renew.common(),
        Pass::NotifyTrials => config.trials.common(),
        Pass::ExpireFast => config.expire.common(),
        Pass::ReconcileXray => config.reconcile.common(),
    }
}

#[cfg(test)]
mod tests;
