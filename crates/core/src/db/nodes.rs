//! The Xray servers as the database knows them: who is contacted when, by whom.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Tx};
use crate::time::Timestamp;

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name in the settings.
    pub name: String,
    /// First contact of `reconcile-xray`; none: not yet.
    pub adopted_at: Option<Timestamp>,
    /// Users listed last time.
    pub last_list_size: Option<i64>,
    /// Failed contacts in a row.
    pub failures: i32,
    /// Left alone until then after a failed contact.
    pub next_try_at: Option<Timestamp>,
    /// Gone for good.
    pub retired_at: Option<Timestamp>,
    /// What was closed until then was proven gone from it when `expire-fast` last looked.
    pub proven_to: Option<Timestamp>,
    /// When it last looked at all that is closing.
    pub looked_whole_at: Option<Timestamp>,
}

const ADD_NODES: &str = "-- add_nodes
INSERT INTO nodes (name) SELECT n.name FROM unnest($1) AS n (name) ON CONFLICT ON CONSTRAINT nodes_pkey DO NOTHING";

const LIST_NODES: &str = "-- list_nodes
SELECT n.name, n.adopted_at, n.last_list_size, n.failures, n.next_try_at, n.retired_at, n.proven_to, n.looked_whole_at
FROM nodes n ORDER BY n.name";

const LEASE_NODE: &str = "-- lease_node
UPDATE nodes n SET leased_until = $3
WHERE n.name = $1 AND n.retired_at IS NULL
    AND (n.leased_until IS NULL OR n.leased_until <= $2)
    AND (n.next_try_at IS NULL OR n.next_try_at <= $2)";

const KEEP_NODE: &str = "-- keep_node
UPDATE nodes n SET leased_until = $2 WHERE n.name = $1";

const RELEASE_NODE: &str = "-- release_node
UPDATE nodes n
SET leased_until = NULL, next_try_at = $2, failures = CASE WHEN $2::timestamptz IS NULL THEN 0 ELSE n.failures + 1 END
WHERE n.name = $1";

const KEEP_START: &str = "-- keep_start
UPDATE nodes n SET proven_to = $2, looked_whole_at = CASE WHEN $3 THEN $4 ELSE n.looked_whole_at END
WHERE n.name = $1";

impl Tx<'_> {
    /// Adds servers of the settings that the database does not know yet.
    ///
    /// # Errors
    /// The database's.
    pub async fn add_nodes(&self, names: &[&str]) -> Result<(), DbError> {
        self.execute(ADD_NODES, &[(&names, Type::TEXT_ARRAY)]).await?;
        Ok(())
    }

    /// All servers ever seen in the settings, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_nodes(&self) -> Result<Vec<NodeRow>, DbError> {
        let rows = self.query(LIST_NODES, &[]).await?;
        rows.iter().map(node_row).collect()
    }

    /// Takes a server for this copy of `expire-fast` until `until`. Answers whether it was free and due.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn lease_node(&self, name: &str, until: Timestamp) -> Result<bool, DbError> {
        let leased = self
            .execute(
                LEASE_NODE,
                &[(&name, Type::TEXT), (/* now */ &self.now(), Type::TIMESTAMPTZ), (&until, Type::TIMESTAMPTZ)],
            )
            .await?;
        Ok(leased > 0)
    }

    /// Holds a leased server for longer.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn keep_node(&self, name: &str, until: Timestamp) -> Result<(), DbError> {
        self.execute(KEEP_NODE, &[(&name, Type::TEXT), (&until, Type::TIMESTAMPTZ)]).await?;
        Ok(())
    }

    /// Gives a leased server back; after a failed contact it is left alone until `next_try_at`.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn release_node(&self, name: &str, next_try_at: Option<Timestamp>) -> Result<(), DbError> {
        self.execute(RELEASE_NODE, &[(&name, Type::TEXT), (&next_try_at, Type::TIMESTAMPTZ)]).await?;
        Ok(())
    }

    /// Keeps up to when all that was closed is proven gone from a server; `whole`: after a look at everything.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn keep_start(&self, name: &str, proven_to: Timestamp, whole: bool) -> Result<(), DbError> {
        self.execute(
            KEEP_START,
            &[
                (&name, Type::TEXT),
                (&proven_to, Type::TIMESTAMPTZ),
                (&whole, Type::BOOL),
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
        Ok(())
    }
}

pub(super) fn node_row(row: &Row) -> Result<NodeRow, DbError> {
    Ok(NodeRow {
        name: column(row, "name")?,
        adopted_at: column(row, "adopted_at")?,
        last_list_size: column(row, "last_list_size")?,
        failures: column(row, "failures")?,
        next_try_at: column(row, "next_try_at")?,
        retired_at: column(row, "retired_at")?,
        proven_to: column(row, "proven_to")?,
        looked_whole_at: column(row, "looked_whole_at")?,
    })
}
