//! What is checked in the database before a pass may act: the schema's version, and that this is the installation it
//! was set up as. The same transaction writes the row of the run.

use perennial_core::db::{Database, DbError, Installation, RunStart};
use perennial_core::time::Timestamp;
use perennial_core::{operator, schema};
use time::OffsetDateTime;

use crate::setting::SettingError;

/// Beyond this the host's clock is worth a warning; nothing is decided by it.
const MOST_SKEW_SECONDS: u64 = 5;

/// What the database says about itself.
#[derive(Debug, Clone)]
struct Answer {
    schema: Option<u32>,
    /// Only read when the schema is the one this program knows.
    installation: Option<Installation>,
    /// Host's clock less the database's.
    skew: time::Duration,
}

/// Refuses a database this program must not act on; in one that it may, writes the row of the run. Gives warnings.
///
/// # Errors
/// [`SettingError`] (exit code 78) when schema or installation are not what they must be; else the database's.
pub(crate) async fn check_in(db: &Database, owner_prefix: &str, start: RunStart<'_>) -> anyhow::Result<Vec<String>> {
    let answer = db
        .run_tx("check_in", async |tx| {
            let skew = host_now() - tx.now();
            let schema = tx.schema_version().await?;
            if schema != Some(schema::VERSION) {
                return Ok(Answer { schema, installation: None, skew });
            }
            let installation = tx.installation().await?;
            // A database that will be refused below is not written to.
            if judge_installation(&installation, owner_prefix).is_ok() && !db.is_dry_run() {
                tx.start_run(start).await?;
            }
            Ok::<_, DbError>(Answer { schema, installation: Some(installation), skew })
        })
        .await?;
    judge_schema(answer.schema)?;
    if let Some(installation) = &answer.installation {
        judge_installation(installation, owner_prefix)?;
    }
    Ok(skew_warning(answer.skew).into_iter().collect())
}

/// Refuses any schema but the one this program was built for.
///
/// # Errors
/// Says whether to migrate the database or to upgrade the program.
pub fn judge_schema(found: Option<u32>) -> Result<(), SettingError> {
    let needed = schema::VERSION;
    let migrate = format!("run {}", operator::command("migrate"));
    let (problem, remedy) = match found {
        Some(version) if version == needed => return Ok(()),
        None => ("the database has no schema of ours".to_owned(), migrate),
        Some(version) if version < needed => {
            (format!("the database is at version {version}, this program needs {needed}"), migrate)
        }
        Some(version) => {
            let problem = format!(
                "this program is older than the database: it knows version {needed}, the database is at {version}"
            );
            (problem, "upgrade it".to_owned())
        }
    };
    Err(SettingError::unshown("schema", problem, remedy))
}

/// Refuses a copied database, and settings that name other users ours.
///
/// # Errors
/// Says how to accept the copy, or what the prefix must be.
pub fn judge_installation(installation: &Installation, owner_prefix: &str) -> Result<(), SettingError> {
    if let Some(origin) = installation.copied_from() {
        return Err(SettingError::unshown(
            "installation",
            format!("this database was copied from {origin}, whose users it must not touch"),
            format!(
                "if it is to act from now on, and the original no longer does, run {}",
                operator::command("installation accept")
            ),
        ));
    }
    if installation.owner_prefix != owner_prefix {
        return Err(SettingError::new(
            "owner_prefix",
            format!("{owner_prefix:?}"),
            format!("the database was set up with {:?}", installation.owner_prefix),
            "write the database's prefix into the settings",
        ));
    }
    Ok(())
}

fn skew_warning(skew: time::Duration) -> Option<String> {
    let seconds = skew.whole_seconds().unsigned_abs();
    let side = if skew.is_negative() { "behind" } else { "ahead of" };
    (seconds > MOST_SKEW_SECONDS).then(|| {
        format!("this host's clock is {seconds} s {side} the database's; the database's counts, logs show the host's")
    })
}

/// The host's own clock: to compare it with the database's, and for what is said before there was a database.
#[allow(clippy::disallowed_methods)] // It is this clock that is meant.
pub(crate) fn host_now() -> Timestamp {
    OffsetDateTime::now_utc()
}

/// The host's name, empty when the system does not say.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T>(verdict: Result<T, SettingError>) -> String {
        verdict.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_the_schema_built_for_will_do() {
        let needed = schema::VERSION;
        assert_eq!(judge_schema(Some(needed)), Ok(()));
        assert_eq!(refusal(judge_schema(None)), "schema: the database has no schema of ours: run `perennial migrate`");
        let older = refusal(judge_schema(Some(needed - 1)));
        assert!(older.starts_with("schema: the database is at version") && older.ends_with("run `perennial migrate`"));
        let newer = refusal(judge_schema(Some(needed + 1)));
        assert!(newer.starts_with("schema: this program is older than the database") && newer.ends_with("upgrade it"));
    }

    #[test]
    fn copies_and_other_prefixes_are_refused() {
        let installed = |accepted, prefix: &str| Installation {
            system_identifier: 7,
            accepted_identifier: accepted,
            database_oid: 16_384,
            accepted_oid: Some(16_384),
            ran_elsewhere: true,
            owner_prefix: prefix.to_owned(),
        };
        assert_eq!(judge_installation(&installed(Some(7), "p."), "p."), Ok(()));
        assert_eq!(judge_installation(&installed(None, "p."), "p."), Ok(()));
        let copied = refusal(judge_installation(&installed(Some(8), "p."), "p."));
        let remedy = "run `perennial installation accept`";
        assert!(copied.contains("copied from another cluster") && copied.ends_with(remedy), "{copied}");
        let beside = Installation { accepted_oid: Some(5), ..installed(Some(7), "p.") };
        let copied = refusal(judge_installation(&beside, "p."));
        assert!(copied.contains("from another database of this cluster") && copied.ends_with(remedy), "{copied}");
        // A copy of what nobody ever worked on.
        let fresh = Installation { ran_elsewhere: false, ..beside };
        assert_eq!(judge_installation(&fresh, "p."), Ok(()));
        // Recorded by nobody yet.
        let unrecorded = Installation { accepted_oid: None, ..installed(Some(7), "p.") };
        assert_eq!(judge_installation(&unrecorded, "p."), Ok(()));
        assert_eq!(
            refusal(judge_installation(&installed(Some(7), "q."), "p.")),
            "owner_prefix = \"p.\": the database was set up with \"q.\": write the database's prefix into the settings"
        );
    }

    #[test]
    fn a_clock_off_by_more_than_five_seconds_is_told() {
        for (seconds, warning) in [
            (0, None),
            (5, None),
            (-5, None),
            (6, Some("this host's clock is 6 s ahead of the database's")),
            (-3600, Some("this host's clock is 3600 s behind the database's")),
        ] {
            let said = skew_warning(time::Duration::seconds(seconds));
            assert_eq!(said.is_some(), warning.is_some(), "{seconds}");
            assert!(said.unwrap_or_default().starts_with(warning.unwrap_or_default()), "{seconds}");
        }
    }
}
