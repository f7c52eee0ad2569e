//! Applies the migrations of [`perennial_core::schema`] to a database: [`apply`], for `perennial migrate` and for the
//! template that test databases are copied from, so that both have the same schema and the same history.
//!
//! A crate of its own, because the runner must not get into the passes: they only look at the version.
//!
//! All that is missing is applied in **one transaction**: a migration that fails leaves nothing behind. The runner takes
//! no lock of its own (of six at once five fail), so one is held around it, by the session: the connection has to be a
//! direct one, not a pooler's.

mod session_lock;

use std::error::Error;

use perennial_core::causes::with_causes;
use perennial_core::schema::{self, HISTORY_TABLE, MIGRATIONS};
use refinery::error::Kind;
use refinery::{Migration, Runner, Target};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use session_lock::SessionLock;

/// How long a migration may wait for a table that somebody uses: whoever comes after it waits behind it.
const LOCK_LIMIT: &str = "5s";

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: u32,
    /// Its name without the number.
    pub name: String,
}

/// Why a database was not migrated. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database is ahead of this program.
    #[error("the database is at version {found}, this program knows only {known}")]
    Newer {
        /// Version of the database.
        found: u32,
        /// Newest version this program has.
        known: u32,
    },
    /// The wanted version is none of ours, or one that the database has left behind.
    #[error("cannot migrate to version {wanted}: {problem}")]
    NoSuchTarget {
        /// The version asked for.
        wanted: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// The lock cannot be held: statements of this connection reach different sessions.
    #[error("this connection goes through a pooler, on which no lock can be held: use a direct connection")]
    Pooled,
    /// What was applied there is not what stands here.
    #[error("the history of the database is not that of this program: {0}")]
    Divergent(String),
    /// A migration, or a statement around it, failed.
    #[error("{at}")]
    Database {
        /// What was being done.
        at: String,
        /// The driver's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Applies what is missing, up to `target` or all of it, and answers what was. Waits for another migration under way.
///
/// `client` must be a direct connection. Its session keeps a lock time-out and a search path: use it for nothing else.
///
/// # Errors
/// [`MigrateError`]; nothing was applied then.
pub async fn apply(client: &mut Client, target: Option<u32>) -> Result<Vec<Applied>, MigrateError> {
    let lock = SessionLock::take(client).await?;
    let outcome = apply_locked(client, target).await;
    if let Err(error) = lock.release(client).await {
        // What was applied is applied. A dead connection has lost the lock with it; behind a pooler it may stay.
        log::warn!(error:err = error; "the lock of migrations could not be given back");
    }
    outcome
}

/// Refuses two connections that share a session: there is a pooler in between, which would carry a lock of one of them
/// to anybody. Both must have been opened in the same way, the first before the second, and be idle.
///
/// # Errors
/// [`MigrateError::Pooled`], or the database's.
pub async fn must_be_direct(first: &Client, second: &Client) -> Result<(), MigrateError> {
    let mut sessions = Vec::with_capacity(2);
    for client in [first, second] {
        let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await;
        sessions.push(row.map_err(|error| failed("ask for the session", error))?.get::<_, i32>(0));
    }
    if sessions[0] == sessions[1] { Err(MigrateError::Pooled) } else { Ok(()) }
}

async fn apply_locked(client: &mut Client, target: Option<u32>) -> Result<Vec<Applied>, MigrateError> {
    let found = version(client).await?;
    judge(found, target)?;
    let setup = format!("SET search_path = public; SET lock_timeout = '{LOCK_LIMIT}'");
    client.batch_execute(&setup).await.map_err(|error| failed("prepare the session", error))?;
    let runner = runner()?.set_target(target.map_or(Target::Latest, |version| Target::Version(as_i32(version))));
    let report = runner.run_async(client).await.map_err(|error| from_runner(&error))?;
    let applied = report.applied_migrations();
    Ok(applied
        .iter()
        .map(|migration| Applied {
            version: u32::try_from(migration.version()).unwrap_or_default(),
            name: migration.name().to_owned(),
        })
        .collect())
}

/// The database's version, or none when it has no history.
async fn version(client: &Client) -> Result<Option<u32>, MigrateError> {
    let exists = "SELECT to_regclass('public.' || $1) IS NOT NULL";
    let row = client.query_typed_one(exists, &[(&HISTORY_TABLE, Type::TEXT)]).await;
    let exists: bool = row.map_err(|error| failed("look for the history", error))?.get(0);
    if !exists {
        return Ok(None);
    }
    let latest = format!("SELECT max(version)::bigint FROM public.{HISTORY_TABLE}");
    let row = client.query_typed_one(&latest, &[]).await.map_err(|error| failed("read the history", error))?;
    Ok(row.get::<_, Option<i64>>(0).and_then(|version| u32::try_from(version).ok()))
}

/// Refuses a database from the future, and a target that is no step forward.
fn judge(found: Option<u32>, target: Option<u32>) -> Result<(), MigrateError> {
    let known = schema::VERSION;
    match (found, target) {
        (Some(found), _) if found > known => Err(MigrateError::Newer { found, known }),
        (_, Some(wanted)) if wanted > known || wanted == 0 => {
            Err(MigrateError::NoSuchTarget { wanted, problem: format!("this program knows 1 to {known}") })
        }
        (Some(found), Some(wanted)) if wanted < found => Err(MigrateError::NoSuchTarget {
            wanted,
            problem: format!("the database is at {found}, and none goes back"),
        }),
        _ => Ok(()),
    }
}

fn runner() -> Result<Runner, MigrateError> {
    let parse = |migration: &schema::Migration| {
        Migration::unapplied(&format!("V{}__{}", migration.version, migration.name), migration.sql)
    };
    let migrations: Result<Vec<Migration>, _> = MIGRATIONS.iter().map(parse).collect();
    let mut runner = Runner::new(&migrations.map_err(|error| from_runner(&error))?)
        .set_abort_divergent(true)
        .set_abort_missing(true)
        .set_grouped(true);
    runner.set_migration_table_name(HISTORY_TABLE);
    Ok(runner)
}

fn from_runner(error: &refinery::Error) -> MigrateError {
    match error.kind() {
        Kind::DivergentVersion(applied, ours) => {
            MigrateError::Divergent(format!("{applied} was applied with another text than that of {ours} here"))
        }
        Kind::MissingVersion(migration) => MigrateError::Divergent(format!("{migration} is missing on one side")),
        Kind::Connection(at, source) => {
            MigrateError::Database { at: at.clone(), source: with_causes(&**source).into() }
        }
        other => MigrateError::Database { at: "prepare the migrations".to_owned(), source: other.to_string().into() },
    }
}

fn failed(at: &str, error: tokio_postgres::Error) -> MigrateError {
    MigrateError::Database { at: format!("cannot {at}"), source: error.into() }
}

fn as_i32(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_forward_are_taken() {
        let known = schema::VERSION;
        for (found, target, fine) in [
            (None, None, true),
            (None, Some(1), true),
            (Some(known), None, true),
            (Some(known), Some(known), true),
            (Some(1), Some(2), true),
            (Some(2), Some(1), false),
            (None, Some(0), false),
            (None, Some(known + 1), false),
            (Some(known + 1), None, false),
        ] {
            assert_eq!(judge(found, target).is_ok(), fine, "{found:?} {target:?}");
        }
    }

    #[test]
    fn every_migration_has_a_name_the_runner_takes() {
        assert_eq!(runner().unwrap().get_migrations().len(), MIGRATIONS.len());
    }
}
