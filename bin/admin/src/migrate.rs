//! `migrate`: brings the schema up to date and, the first time, writes down which cluster the database lives in.

use perennial_core::schema;
use perennial_migrate::{Applied, apply, must_be_direct};
use serde_json::json;

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, counted};
use crate::session::Session;

/// What a migration did.
#[derive(Debug)]
pub struct Migrated {
    /// What was applied, in order.
    pub applied: Vec<Applied>,
    /// The schema's version now.
    pub version: u32,
    /// Whether this cluster was written down as the one that may act.
    pub recorded: bool,
}

/// Runs the command.
///
/// # Errors
/// Exit code 78 for a newer or edited database and behind a pooler, 2 for a target that is no step forward, 69.
pub async fn run(session: &Session, options: cli::Migrate) -> Result<Answer, Failure> {
    let migrated = migrate(session, options.to).await?;
    let mut text: String = migrated
        .applied
        .iter()
        .map(|migration| format!("applied {:04}_{}\n", migration.version, migration.name))
        .collect();
    let count = counted(migrated.applied.len() as u64, "migration");
    text.push_str(&match migrated.applied.len() {
        0 => format!("nothing to apply, the database is at version {}\n", migrated.version),
        _ => format!("{count} applied, the database is at version {}\n", migrated.version),
    });
    if migrated.recorded {
        text.push_str(&format!(
            "this cluster is now the one that may act, with owner prefix {}\n",
            session.config.owner_prefix
        ));
    }
    let applied: Vec<_> = migrated
        .applied
        .iter()
        .map(|migration| json!({ "version": migration.version, "name": migration.name }))
        .collect();
    let json = json!({ "applied": applied, "version": migrated.version, "installation_recorded": migrated.recorded });
    Ok(Answer::new(text, json))
}

/// Migrates up to `target`, or all the way.
///
/// # Errors
/// As [`run`].
pub async fn migrate(session: &Session, target: Option<u32>) -> Result<Migrated, Failure> {
    let mut client = session.connect_directly().await?;
    // Opened for this alone: a pooler would give both the same session.
    must_be_direct(&client, &session.connect_directly().await?).await?;
    let applied = apply(&mut client, target).await?;
    let db = session.database()?;
    let version = db.run_tx("schema_version", async |tx| tx.schema_version().await).await?.unwrap_or_default();
    let recorded = version == schema::VERSION && record_installation(session, &db).await?;
    Ok(Migrated { applied, version, recorded })
}

/// Records this database only when none was recorded: a copied database stays refused.
async fn record_installation(session: &Session, db: &perennial_core::db::Database) -> Result<bool, Failure> {
    let prefix = session.config.owner_prefix.as_str();
    let recorded = db
        .run_tx("record_installation", async |tx| {
            let is_new = tx.installation().await?.accepted_identifier.is_none();
            if is_new {
                tx.accept_installation(Some(prefix)).await?;
            }
            Ok(is_new)
        })
        .await?;
    Ok(recorded)
}
