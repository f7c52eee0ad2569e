//! Servers and their quarantine, seen and handled by an operator.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::db::nodes::node_row;
use crate::db::tx::column;
use crate::db::{DbError, NodeRow, Tx};
use crate::time::Timestamp;

/// A server as the passes see it, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// Its row.
    pub row: NodeRow,
    /// Closed credentials not proven gone from it.
    pub unproven: i64,
    /// Entries of its quarantine.
    pub orphans: i64,
}

/// An entry of the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanEntry {
    /// The server.
    pub node: String,
    /// Tag of the inbound.
    pub inbound: String,
    /// The user's e-mail there.
    pub email: String,
    /// `unknown`, `unused` or `other_group`.
    pub reason: String,
    /// Since when it is watched.
    pub first_seen_at: Timestamp,
    /// The last sighting that counted.
    pub last_seen_at: Timestamp,
    /// How many did.
    pub sightings: i32,
    /// There at first contact: never removed.
    pub adopted: bool,
}

const LIST_KNOWN_NODES: &str = "-- list_known_nodes
SELECT n.name, n.adopted_at, n.last_list_size, n.failures, n.next_try_at, n.retired_at,
    n.proven_to, n.looked_whole_at,
    (
        SELECT count(*) FROM credentials c
        WHERE c.closed_at IS NOT NULL AND c.retired_at IS NULL AND n.retired_at IS NULL
            AND NOT EXISTS (SELECT FROM removals r WHERE r.credential = c.id AND r.node = n.name)
    ) AS unproven,
    (SELECT count(*) FROM orphans o WHERE o.node = n.name) AS orphans
FROM nodes n
ORDER BY n.name";

const RETIRE_NODE: &str = "-- retire_node
UPDATE nodes n SET retired_at = $2, leased_until = NULL, next_try_at = NULL, failures = 0
WHERE n.name = $1 AND n.retired_at IS NULL";

const FORGET_QUARANTINE: &str = "-- forget_quarantine
DELETE FROM orphans o WHERE o.node = $1";

const REVIVE_NODE: &str = "-- revive_node
UPDATE nodes n SET retired_at = NULL, last_list_size = NULL, proven_to = NULL, looked_whole_at = NULL
WHERE n.name = $1 AND n.retired_at IS NOT NULL";

// An empty name stands for all servers.
const LIST_ORPHANS: &str = "-- list_orphans
SELECT o.node, o.inbound, o.email, o.reason, o.first_seen_at, o.last_seen_at, o.sightings, o.adopted
FROM orphans o
WHERE $1 IN ('', o.node)
ORDER BY o.node, o.inbound, o.email
LIMIT $2";

const COUNT_ORPHANS: &str = "-- count_orphans
SELECT count(*) AS rows FROM orphans o WHERE $1 IN ('', o.node)";

impl Tx<'_> {
    /// All servers ever seen in the settings, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_known_nodes(&self) -> Result<Vec<KnownNode>, DbError> {
        self.query(LIST_KNOWN_NODES, &[]).await?.iter().map(known_node).collect()
    }

    /// Says that a server is gone for good: nothing waits for it any more, and its quarantine is forgotten. Answers
    /// whether it stood there and was not retired yet.
    ///
    /// # Errors
    /// The database's.
    pub async fn retire_node(&self, name: &str) -> Result<bool, DbError> {
        let retired =
            self.execute(RETIRE_NODE, &[(&name, Type::TEXT), (/* now */ &self.now(), Type::TIMESTAMPTZ)]).await? > 0;
        if retired {
            self.execute(FORGET_QUARANTINE, &[(&name, Type::TEXT)]).await?;
        }
        Ok(retired)
    }

    /// Takes a server back. What was proven without it meanwhile is removed by `reconcile-xray`, should it be there.
    /// Answers whether it was retired.
    ///
    /// # Errors
    /// The database's.
    pub async fn revive_node(&self, name: &str) -> Result<bool, DbError> {
        Ok(self.execute(REVIVE_NODE, &[(&name, Type::TEXT)]).await? > 0)
    }

    /// The quarantine of a server, or of all when `node` is empty: by server, inbound and e-mail, at most so many.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_orphans(&self, node: &str, limit: i64) -> Result<Vec<OrphanEntry>, DbError> {
        let rows = self.query(LIST_ORPHANS, &[(&node, Type::TEXT), (&limit, Type::INT8)]).await?;
        rows.iter().map(orphan_entry).collect()
    }

    /// How many there are of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_orphans(&self, node: &str) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_ORPHANS, &[(&node, Type::TEXT)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }
}

fn known_node(row: &Row) -> Result<KnownNode, DbError> {
    Ok(KnownNode { row: node_row(row)?, unproven: column(row, "unproven")?, orphans: column(row, "orphans")? })
}

fn orphan_entry(row: &Row) -> Result<OrphanEntry, DbError> {
    Ok(OrphanEntry {
        node: column(row, "node")?,
        inbound: column(row, "inbound")?,
        email: column(row, "email")?,
        reason: column(row, "reason")?,
        first_seen_at: column(row, "first_seen_at")?,
        last_seen_at: column(row, "last_seen_at")?,
        sightings: column(row, "sightings")?,
        adopted: column(row, "adopted")?,
    })
}
