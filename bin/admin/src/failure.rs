//! What went wrong, said in one line with a hint, and the exit code it calls for.

use std::error::Error;
use std::io::Write;

use perennial_boot::{Exit, Output, SettingError};
use perennial_core::causes::with_causes;
use perennial_core::db::DbError;
use perennial_core::operator::{self, command};
use perennial_migrate::MigrateError;
use serde_json::json;

use crate::{output, writes_down};

/// A command that did not do what it was told. It changed nothing, except where the message says that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// SQLSTATE of a refusal by the database.
    pub sqlstate: Option<String>,
}

impl Failure {
    fn of(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, sqlstate: None }
    }

    /// The command was given wrongly: exit code 2.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(Exit::Usage, message)
    }

    /// What was asked for cannot be: exit code 3.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::of(Exit::Partial, message)
    }

    /// Settings, schema or installation are wrong: exit code 78.
    #[must_use]
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::of(Exit::Configuration, message)
    }

    /// Anything nobody foresaw: exit code 1.
    #[must_use]
    pub fn unforeseen(message: impl Into<String>) -> Self {
        Self::of(Exit::Unforeseen, message)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the driver outside any transaction of the repository.
    #[must_use]
    pub fn of_driver(at: &str, error: &tokio_postgres::Error) -> Self {
        let code = error.code().map(|code| code.code().to_owned());
        let exit = match code.as_deref().map(|code| code.get(..2).unwrap_or_default()) {
            Some("28" | "3D" | "3F" | "42") => Exit::Configuration,
            Some("08" | "53" | "57" | "58") | None => Exit::Unavailable,
            Some(_) => Exit::Unforeseen,
        };
        Self { sqlstate: code, ..Self::of(exit, format!("{at}: {}", in_one_line(error))) }
    }

    /// Writes it: a line on standard error, or an object on standard output. Answers how the program ends.
    #[must_use]
    pub fn print(&self, command: &str, form: Output) -> Exit {
        let written = match form {
            Output::Text => writeln!(std::io::stderr(), "{}: {}", operator::program(), self.line()),
            Output::Json => output::say(&output::line(
                command,
                &json!({
                    "error": self.message,
                    "hint": self.hint,
                    "sqlstate": self.sqlstate,
                    "exit_code": self.exit.code(),
                }),
            )),
        };
        if written.is_err() {
            // There is nobody to tell; the exit code still does.
            log::debug!("the failure could not be written");
        }
        self.exit
    }

    fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message.clone(),
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::configuration(error.to_string())
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Refused { at, sqlstate, constraint, message } => {
                refusal(at, sqlstate, constraint.as_deref(), message)
            }
            DbError::Mismatch { .. } | DbError::Unreadable { .. } => Self::refused(error.to_string()),
            DbError::Timeout { .. } | DbError::Contention { .. } => {
                Self::of(Exit::Stopped, error.to_string()).with_hint("nothing was changed; try again")
            }
            DbError::CommitUnknown { .. } => Self::of(Exit::Unavailable, error.to_string()),
            DbError::Unavailable { .. } => Self::of(Exit::Unavailable, in_one_line(&error)),
            DbError::Configuration { .. } => Self::configuration(error.to_string()),
            DbError::Unforeseen { .. } => Self::unforeseen(in_one_line(&error)),
        }
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let message = in_one_line(&error);
        match error {
            MigrateError::Newer { .. } => Self::configuration(message).with_hint("upgrade this program"),
            MigrateError::NoSuchTarget { .. } => Self::usage(message),
            MigrateError::Pooled | MigrateError::Divergent(_) => Self::configuration(message),
            MigrateError::Database { source, .. } => {
                let driver = source.downcast_ref::<tokio_postgres::Error>();
                let exit = driver.map_or(Exit::Configuration, |error| Self::of_driver("", error).exit);
                Self::of(exit, message).with_hint("nothing was applied")
            }
        }
    }
}

fn refusal(at: &str, sqlstate: &str, constraint: Option<&str>, message: &str) -> Failure {
    let by_constraint = constraint.and_then(of_constraint);
    let said = by_constraint.map_or(message, |(said, _)| said);
    let hint = by_constraint.map(|(_, hint)| hint.to_owned()).or_else(|| of_sqlstate(at, sqlstate));
    Failure { sqlstate: Some(sqlstate.to_owned()), hint, ..Failure::of(Exit::Partial, said) }
}

/// The server names the constraint; this says what it is there for.
fn of_constraint(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "users_telegram_id_positive" => {
            ("a Telegram id is a positive number", "channels and groups have negative ones")
        }
        "users_language_is_a_tag" => ("the language is no tag", "such as ru, en or pt-BR"),
        "users_time_zone_exists" => ("there is no such time zone", "an IANA name, such as Europe/Moscow"),
        "tariffs_code_is_plain" => ("the code is not plain", "1 to 64 letters, digits, dots, dashes and underscores"),
        "tariffs_access_group_is_plain" | "credentials_access_group_is_plain" => {
            ("the group is not plain", "1 to 64 letters, digits, dots, dashes and underscores")
        }
        "tariffs_period_count_sane" => ("the period is too long or too short", "1 to 3660"),
        "tariffs_price_sane" | "subscriptions_agreed_price_sane" => {
            ("the price is out of range", "0 to 1000000000000 kopecks")
        }
        "requests_key_not_empty" => ("the key is too long", "1 to 200 characters"),
        _ => return None,
    })
}

/// `at` is the name of the statement, which is that of the function called.
fn of_sqlstate(at: &str, sqlstate: &str) -> Option<String> {
    Some(match (sqlstate, at) {
        ("PK001", _) => "take another --key, or leave it out".to_owned(),
        ("PK002", _) => format!("{} first", command("top-up")),
        ("PK003", "top_up") => writes_down(),
        ("PK003", "buy" | "grant" | "start_trial") => {
            format!("{}, {} shows what is sold", writes_down(), command("tariff list"))
        }
        ("PK003", _) => format!("{} shows what a user has", command("explain")),
        ("PK004", _) => format!("a user has one trial for life; {} gives days", command("grant")),
        ("PK005", "buy" | "grant") => "wait for its end, or refund or cancel it first".to_owned(),
        ("PK005", "refund") => {
            format!("{} lists the payments; the latest one that stands goes first", command("explain"))
        }
        ("PK005", "set_auto_renew") => {
            "only an active, paid subscription renews; one that was cancelled is bought again".to_owned()
        }
        ("22023", "ensure_user") => "an IANA name, such as Europe/Moscow".to_owned(),
        _ => return None,
    })
}

/// An error and all that caused it, in one line.
pub(crate) fn in_one_line(error: &dyn Error) -> String {
    with_causes(error).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(at: &str, sqlstate: &str, constraint: Option<&str>) -> Failure {
        let message = "as the server says".to_owned();
        let constraint = constraint.map(str::to_owned);
        DbError::Refused { at: at.to_owned(), sqlstate: sqlstate.to_owned(), constraint, message }.into()
    }

    #[test]
    fn every_reaction_of_the_database_has_an_exit_code() {
        let at = || "x".to_owned();
        for (error, code) in [
            (DbError::Timeout { at: at() }, 75),
            (DbError::Contention { at: at(), sqlstate: "55P03".to_owned() }, 75),
            (DbError::CommitUnknown { at: at() }, 69),
            (DbError::Unavailable { at: at(), source: "gone".into() }, 69),
            (DbError::Configuration { at: at(), sqlstate: "42P01".to_owned(), message: at() }, 78),
            (DbError::Unforeseen { at: at(), from_server: false, source: "?".into() }, 1),
            (DbError::Mismatch { at: "x", what: at() }, 3),
        ] {
            assert_eq!(Failure::from(error).exit.code(), code);
        }
        assert_eq!(refused("buy", "PK002", None).exit.code(), 3);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert_eq!(
            refused("top_up", "PK003", None).line(),
            "as the server says (`perennial ensure-user` writes a user down)"
        );
        assert_eq!(
            refused("ensure_user", "23514", Some("users_language_is_a_tag")).line(),
            "the language is no tag (such as ru, en or pt-BR)"
        );
        assert_eq!(refused("buy", "P0001", None).line(), "as the server says");
    }
}
