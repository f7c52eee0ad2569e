//! Which database of which cluster this is, and which schema it has: what every program checks before it acts.

use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Tx};
use crate::operator;
use crate::schema::HISTORY_TABLE;

/// Cluster and database, as they are and as they were accepted. A physical copy of the cluster (a base backup, a snapshot of its
/// disk) has both in common with the original: it is not told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Identifier of the cluster that answers now.
    pub system_identifier: i64,
    /// Identifier of the cluster that was accepted; another one means a copied database.
    pub accepted_identifier: Option<i64>,
    /// The oid of this database. A rename keeps it; whatever makes a copy in the same cluster gives another.
    pub database_oid: u32,
    /// The oid of the database that was accepted; another one means a copy.
    pub accepted_oid: Option<u32>,
    /// Passes have run before it was copied from there: a copy of a database without a past is one like any other.
    pub ran_elsewhere: bool,
    /// E-mails of our users on Xray begin with it.
    pub owner_prefix: String,
}

impl Installation {
    /// Where the database was copied from, if it was and is not accepted here: nothing may act on it.
    #[must_use]
    pub fn copied_from(&self) -> Option<&'static str> {
        if self.accepted_identifier.is_some_and(|accepted| accepted != self.system_identifier) {
            Some("another cluster")
        } else if self.ran_elsewhere && self.accepted_oid.is_some_and(|accepted| accepted != self.database_oid) {
            Some("another database of this cluster")
        } else {
            None
        }
    }

    /// It was copied, and not accepted here.
    #[must_use]
    pub fn is_a_copy(&self) -> bool {
        self.copied_from().is_some()
    }

    /// Nothing is left for accepting to write.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        (self.accepted_identifier, self.accepted_oid) == (Some(self.system_identifier), Some(self.database_oid))
    }
}

const HISTORY_EXISTS: &str = "-- history_exists
SELECT to_regclass($1) IS NOT NULL AS found";

const READ_INSTALLATION: &str = "-- read_installation
SELECT c.system_identifier, i.system_identifier AS accepted, d.oid AS database_oid, i.database_oid AS accepted_oid,
    EXISTS (SELECT FROM runs r WHERE i.database_oid <> d.oid AND r.database_oid <> d.oid) AS ran_elsewhere, i.owner_prefix
FROM installation i, pg_control_system() c, pg_database d
WHERE d.datname = current_database()";

const ACCEPT_INSTALLATION: &str = "-- accept_installation
UPDATE installation i
SET system_identifier = c.system_identifier, database_oid = d.oid, owner_prefix = coalesce($2, i.owner_prefix),
    accepted_at = $1
FROM pg_control_system() c, pg_database d
WHERE d.datname = current_database()";

impl Tx<'_> {
    /// The schema's version, or none in a database without one.
    ///
    /// # Errors
    /// The database's.
    pub async fn schema_version(&self) -> Result<Option<u32>, DbError> {
        let found = self.query_opt(HISTORY_EXISTS, &[(&HISTORY_TABLE, Type::TEXT)]).await?;
        if !found.map_or(Ok(false), |row| column(&row, "found"))? {
            return Ok(None);
        }
        let sql = format!("-- schema_version\nSELECT max(version)::bigint AS version FROM {HISTORY_TABLE}");
        let row = self.query_opt(&sql, &[]).await?;
        let version: Option<i64> = row.map_or(Ok(None), |row| column(&row, "version"))?;
        Ok(version.and_then(|version| u32::try_from(version).ok()))
    }

    /// Reads the installation row and what cluster and database are.
    ///
    /// # Errors
    /// The database's; [`DbError::Unforeseen`] when the row is missing.
    pub async fn installation(&self) -> Result<Installation, DbError> {
        let row = self.query_opt(READ_INSTALLATION, &[]).await?.ok_or_else(|| {
            let remedy = operator::command("migrate");
            DbError::unforeseen("read_installation", format!("table installation is empty; restore it or run {remedy}"))
        })?;
        Ok(Installation {
            system_identifier: column(&row, "system_identifier")?,
            accepted_identifier: column(&row, "accepted")?,
            database_oid: column(&row, "database_oid")?,
            accepted_oid: column(&row, "accepted_oid")?,
            ran_elsewhere: column(&row, "ran_elsewhere")?,
            owner_prefix: column(&row, "owner_prefix")?,
        })
    }

    /// Declares this database to be the one that acts; sets the owner prefix when one is given.
    ///
    /// # Errors
    /// The database's.
    pub async fn accept_installation(&self, owner_prefix: Option<&str>) -> Result<(), DbError> {
        self.execute(ACCEPT_INSTALLATION, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&owner_prefix, Type::TEXT)])
            .await?;
        Ok(())
    }
}
