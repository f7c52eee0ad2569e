//! The flags that all programs share, and how an empty environment variable is read.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Args, Command, Parser, ValueEnum};
use secrecy::SecretString;
use serde::Deserialize;

use crate::limits;
use crate::mode::Mode;

/// Flags every program has, those that make no pass (`admin`) included.
///
/// What is not given stays `None`, so that the settings file and then the default can step in.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)] // Its group would be called after the struct, and a main's own `Options` may be called the same.
pub struct BaseOptions {
    /// Read settings from this file; flags and environment win over it
    /// [default: /etc/perennial/perennial.toml if it exists]
    #[arg(long, value_name = "FILE", env = "PERENNIAL_CONFIG")]
    pub config: Option<PathBuf>,

    /// Connect to this PostgreSQL database
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true, value_parser = secret)]
    pub database_url: Option<SecretString>,

    /// Write the summary to standard output in this form [default: text]
    #[arg(long, value_name = "FORM", env = "PERENNIAL_OUTPUT")]
    pub output: Option<Output>,

    /// Write logs to standard error in this form [default: text]
    #[arg(long, value_name = "FORM", env = "PERENNIAL_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Log more: debug, then trace; RUST_LOG wins
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log less: warnings, then errors, then nothing; RUST_LOG wins
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
}

/// Flags every pass has; flatten them into the main's own.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Options {
    #[allow(missing_docs)] // A doc comment here would become the help text of the whole program.
    #[command(flatten)]
    pub base: BaseOptions,

    /// Work on this many rows in one transaction [default: 500]
    #[arg(long, value_name = "N", env = "PERENNIAL_BATCH_SIZE",
        value_parser = clap::value_parser!(u32).range(limits::BATCH_ROWS.as_i64()))]
    pub batch_size: Option<u32>,

    /// Work on this many connections at once [default: 1]
    #[arg(long, value_name = "N", env = "PERENNIAL_WORKERS",
        value_parser = clap::value_parser!(u32).range(limits::WORKERS.as_i64()))]
    pub workers: Option<u32>,

    /// Begin nothing new after this many seconds, and end within 5 more [default: 50 for expire-fast, else 240]
    #[arg(long, value_name = "S", env = "PERENNIAL_MAX_SECONDS",
        value_parser = clap::value_parser!(u32).range(limits::MAX_SECONDS.as_i64()))]
    pub max_seconds: Option<u32>,

    /// Show what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How far to go: no effect, at most --limit of them, or all [default: full]
    #[arg(long, value_name = "MODE", env = "PERENNIAL_MODE")]
    pub mode: Option<Mode>,

    /// Stop after this many effects, in mode limited
    #[arg(long, value_name = "N", env = "PERENNIAL_LIMIT",
        value_parser = clap::value_parser!(u32).range(limits::EFFECTS.as_i64()))]
    pub limit: Option<u32>,

    /// Write metrics for node_exporter's textfile collector to this file
    #[arg(long, value_name = "FILE", env = "PERENNIAL_METRICS_FILE")]
    pub metrics_file: Option<PathBuf>,

    /// Report start, success and failure to this heartbeat address
    #[arg(long, value_name = "URL", env = "PERENNIAL_PING_URL", hide_env_values = true, value_parser = secret)]
    pub ping_url: Option<SecretString>,

    /// Check settings and files, print what is in force, touch nothing
    #[arg(long)]
    pub check_config: bool,
}

/// The form of the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One object on one line.
    Json,
}

/// The form of the logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

// clap wants a parser that can fail; this one has nothing to refuse, and so nothing to print in an error.
#[allow(clippy::unnecessary_wraps)]
fn secret(value: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(value))
}

/// Parses the program's flags, as `Parser::parse` does, except that an environment variable set to nothing counts as
/// not set (`DATABASE_URL=` in a unit file must not be "a value is required"). Prints help or an error and exits itself.
#[must_use]
pub fn parse<T: Parser>() -> T {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// [`parse`] of the given arguments, the program's name first.
///
/// # Errors
/// clap's: help asked for, or wrong flags (exit code 2).
fn parse_from<T: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
    let mut command = forget_empty_variables(T::command());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn forget_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_empty = argument.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
            if is_empty { argument.env(Resettable::Reset) } else { argument }
        })
        .mut_subcommands(forget_empty_variables)
}

#[cfg(test)]
mod tests;
