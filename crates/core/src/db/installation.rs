//! Which cluster this database lives in, and which schema it has: what every program checks before it acts.

use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Tx};
use crate::operator;
use crate::schema::HISTORY_TABLE;

/// The cluster, as it is and as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Identifier of the cluster that answers now.
    pub system_identifier: i64,
    /// Identifier of the cluster that was accepted; another one means a copied database.
    pub accepted_identifier: Option<i64>,
    /// E-mails of our users on Xray begin with it.
    pub owner_prefix: String,
}

impl Installation {
    /// The database was copied from another cluster and not accepted here: nothing may act on it.
    #[must_use]
    pub fn is_a_copy(&self) -> bool {
        self.accepted_identifier.is_some_and(|accepted| accepted != self.system_identifier)
    }
}

const HISTORY_EXISTS: &str = "-- history_exists
SELECT to_regclass($1) IS NOT NULL AS found";

const READ_INSTALLATION: &str = "-- read_installation
SELECT c.system_identifier, i.system_identifier AS accepted, i.owner_prefix
FROM installation i, pg_control_system() c";

const ACCEPT_INSTALLATION: &str = "-- accept_installation
UPDATE installation i
SET system_identifier = c.system_identifier, owner_prefix = coalesce($2, i.owner_prefix), accepted_at = $1
FROM pg_control_system() c";

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

    /// Reads the installation row and the cluster's identifier.
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
            owner_prefix: column(&row, "owner_prefix")?,
        })
    }

    /// Declares this cluster to be the one that acts; sets the owner prefix when one is given.
    ///
    /// # Errors
    /// The database's.
    pub async fn accept_installation(&self, owner_prefix: Option<&str>) -> Result<(), DbError> {
        self.execute(ACCEPT_INSTALLATION, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&owner_prefix, Type::TEXT)])
            .await?;
        Ok(())
    }
}
