//! What can go wrong in the database, one variant per reaction of the caller.

use std::error::Error;

use deadpool_postgres::PoolError;
use thiserror::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::WrongType;

type Source = Box<dyn Error + Send + Sync>;

/// A failed transaction. It left no trace, unless it is [`CommitUnknown`](Self::CommitUnknown).
///
/// Conflicts are told apart by SQLSTATE and constraint name, never by message text.
#[derive(Debug, Error)]
pub enum DbError {
    /// The server cannot be reached, went away, is full, starting, stopping or read-only: end the pass, exit code 69.
    #[error("{at}: the database is not available")]
    Unavailable {
        /// The statement or step.
        at: String,
        /// The driver's error.
        #[source]
        source: Source,
    },
    /// A statement or the whole transaction took longer than its limit. No row's fault.
    #[error("{at}: out of time")]
    Timeout {
        /// The statement or step.
        at: String,
    },
    /// The connection was lost while the COMMIT was under way: done or not, nobody knows. Never repeated in place; the
    /// idempotency keys tell the next pass.
    #[error("{at}: the connection was lost during COMMIT, its outcome is unknown")]
    CommitUnknown {
        /// The transaction.
        at: String,
    },
    /// Serialization failure, deadlock or lock time-out, also after the retries of `run_tx`. No row's fault.
    #[error("{at}: gave way to another transaction ({sqlstate})")]
    Contention {
        /// The statement or step.
        at: String,
        /// SQLSTATE 40001, 40P01 or 55P03.
        sqlstate: String,
    },
    /// The database refused the data of a row: constraint, trigger, value out of range.
    #[error("{at}: {message} ({sqlstate}{})", constraint.as_ref().map(|name| format!(", {name}")).unwrap_or_default())]
    Refused {
        /// The statement.
        at: String,
        /// SQLSTATE; class 23 is an integrity constraint, which a repetition cannot heal.
        sqlstate: String,
        /// Name of the constraint, where one refused.
        constraint: Option<String>,
        /// The server's message.
        message: String,
    },
    /// What stands in the database after a write is not what was decided (a trigger changed it).
    #[error("{at}: {what}")]
    Mismatch {
        /// The step that compared.
        at: &'static str,
        /// What differs, for a person.
        what: String,
    },
    /// A value of a row is beyond what this program can read: a moment outside its calendar, JSON nested too deep.
    #[error("a row holds what cannot be read: {what}")]
    Unreadable {
        /// The column and the driver's words, for a person.
        what: String,
    },
    /// Schema, role or database are not what this program needs: exit code 78.
    #[error("{at}: {message} ({sqlstate})")]
    Configuration {
        /// The statement or step.
        at: String,
        /// SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// Anything else: a defect, exit code 1.
    #[error("{at}: unforeseen database error")]
    Unforeseen {
        /// The statement or step.
        at: String,
        /// The server said so, for whatever reason; else driver or program.
        from_server: bool,
        /// The error.
        #[source]
        source: Source,
    },
}

impl DbError {
    /// The data of a row is at fault: run the batch again row by row.
    #[must_use]
    pub fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Mismatch { .. } | Self::Unreadable { .. })
    }

    /// The server refused for a reason that may be one row's (a trigger that calls what does not exist) or everybody's
    /// (a missing privilege): the batch run row by row tells which.
    #[must_use]
    pub fn may_be_of_a_row(&self) -> bool {
        self.is_of_a_row() || matches!(self, Self::Configuration { .. } | Self::Unforeseen { from_server: true, .. })
    }

    /// Trying this row again cannot help before somebody has looked at it.
    #[must_use]
    pub fn is_final_for_a_row(&self) -> bool {
        match self {
            Self::Mismatch { .. } | Self::Unreadable { .. } => true,
            Self::Refused { sqlstate, .. } => sqlstate.starts_with("23"),
            _ => false,
        }
    }

    /// Nothing can be done before the server is back.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::CommitUnknown { .. })
    }

    /// The server did not answer in time, or others were in the way.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Contention { .. })
    }

    /// Schema, role or database must be set right first.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration { .. })
    }

    /// What the server had no part in: a defect of the program or of the data it found.
    pub(crate) fn unforeseen(at: &str, source: impl Into<Source>) -> Self {
        Self::Unforeseen { at: at.to_owned(), from_server: false, source: source.into() }
    }

    /// A column that could not be read. Another type than the program expects is a defect and concerns every row; a value
    /// of the right type that does not fit is the fault of the row that holds it.
    pub(super) fn from_column(name: &str, error: tokio_postgres::Error) -> Self {
        match error.source() {
            Some(cause) if !cause.is::<WrongType>() => Self::Unreadable { what: format!("{name}: {cause}") },
            _ => Self::from_driver(name, error),
        }
    }

    pub(super) fn from_driver(at: &str, error: tokio_postgres::Error) -> Self {
        let at = at.to_owned();
        let Some(server) = error.as_db_error() else {
            return if error.is_closed() || is_io(&error) {
                Self::Unavailable { at, source: error.into() }
            } else {
                Self::Unforeseen { at, from_server: false, source: error.into() }
            };
        };
        let sqlstate = server.code().code().to_owned();
        let message = server.message().to_owned();
        match reaction(server.code()) {
            Reaction::Contention => Self::Contention { at, sqlstate },
            Reaction::Timeout => Self::Timeout { at },
            Reaction::Refused => {
                Self::Refused { at, sqlstate, constraint: server.constraint().map(str::to_owned), message }
            }
            Reaction::Unavailable => Self::Unavailable { at, source: format!("{message} ({sqlstate})").into() },
            Reaction::Configuration => Self::Configuration { at, sqlstate, message },
            Reaction::Unforeseen => {
                Self::Unforeseen { at, from_server: true, source: format!("{message} ({sqlstate})").into() }
            }
        }
    }

    pub(super) fn from_pool(at: &str, error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => match Self::from_driver(at, error) {
                // Without a connection there is nothing else it could be: name, port, TLS, refused.
                Self::Unforeseen { at, source, .. } => Self::Unavailable { at, source },
                other => other,
            },
            PoolError::Timeout(_) => Self::Unavailable { at: at.to_owned(), source: "no connection in time".into() },
            other => Self::Unavailable { at: at.to_owned(), source: other.into() },
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    Contention,
    Timeout,
    Refused,
    Unavailable,
    Configuration,
    Unforeseen,
}

fn reaction(code: &SqlState) -> Reaction {
    match code.code() {
        "40001" | "40P01" | "55P03" => Reaction::Contention,
        // query_canceled: statement_timeout, or an administrator's hand.
        "57014" => Reaction::Timeout,
        // read_only_sql_transaction: a standby.
        "25006" => Reaction::Unavailable,
        // idle_in_transaction_session_timeout, transaction_timeout.
        "25P03" | "25P04" => Reaction::Timeout,
        // feature_not_supported is how a standby refuses row locks.
        "0A000" => Reaction::Unavailable,
        code => match &code[..2] {
            // data exception, integrity constraint, triggered action, raised by a trigger, our own refusals
            "22" | "23" | "27" | "P0" | "PK" => Reaction::Refused,
            // connection exception, insufficient resources, operator intervention, system error
            "08" | "53" | "57" | "58" => Reaction::Unavailable,
            // authorization, catalog name, undefined object or no privilege
            "28" | "3D" | "3F" | "42" => Reaction::Configuration,
            _ => Reaction::Unforeseen,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_one_reaction() {
        for (code, expected) in [
            ("40001", Reaction::Contention),
            ("40P01", Reaction::Contention),
            ("55P03", Reaction::Contention),
            ("57014", Reaction::Timeout),
            ("23505", Reaction::Refused),
            ("22003", Reaction::Refused),
            ("P0001", Reaction::Refused),
            ("PK001", Reaction::Refused),
            ("57P01", Reaction::Unavailable),
            ("53300", Reaction::Unavailable),
            ("53100", Reaction::Unavailable),
            ("25006", Reaction::Unavailable),
            ("42P01", Reaction::Configuration),
            ("42501", Reaction::Configuration),
            ("3D000", Reaction::Configuration),
            ("28P01", Reaction::Configuration),
            ("XX000", Reaction::Unforeseen),
        ] {
            assert_eq!(reaction(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
