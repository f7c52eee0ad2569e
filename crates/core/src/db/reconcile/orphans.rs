//! The quarantine, and what is remembered of a server from one pass to the next.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::time::Timestamp;

/// An entry of the quarantine. Its `Debug` masks the UUID.
#[derive(Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Lower-cased.
    pub email: String,
    /// None where the server keeps something that is no UUID.
    pub uuid: Option<Uuid>,
    /// `unknown`, `unused` or `other_group`.
    pub reason: String,
    /// When the watch began.
    pub first_seen_at: Timestamp,
    /// When it was last seen at least a minute after the time before.
    pub last_seen_at: Timestamp,
    /// How often it was seen so.
    pub sightings: i32,
    /// There at first contact: never removed.
    pub adopted: bool,
}

impl std::fmt::Debug for Orphan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { email, reason, sightings, adopted, .. } = self;
        f.debug_struct("Orphan")
            .field("email", email)
            .field("reason", reason)
            .field("sightings", sightings)
            .field("adopted", adopted)
            .finish_non_exhaustive()
    }
}

/// What is remembered of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// First contact.
    pub adopted_at: Option<Timestamp>,
    /// Inbounds met so far.
    pub known_inbounds: Vec<String>,
    /// Users there when the last unbraked pass left it.
    pub last_list_size: Option<i64>,
    /// Gone for good.
    pub retired_at: Option<Timestamp>,
}

const NODE_MEMORY: &str = "-- node_memory
SELECT n.adopted_at, n.known_inbounds, n.last_list_size, n.retired_at FROM nodes n WHERE n.name = $1";

const ADOPT_NODE: &str = "-- adopt_node
UPDATE nodes n
SET adopted_at = coalesce(n.adopted_at, $2),
    known_inbounds = ARRAY(SELECT DISTINCT t.tag FROM unnest(n.known_inbounds || $3) AS t (tag) ORDER BY t.tag)
WHERE n.name = $1 AND (n.adopted_at IS NULL OR NOT n.known_inbounds @> $3)";

const SET_LIST_SIZE: &str = "-- set_list_size
UPDATE nodes n SET last_list_size = $2 WHERE n.name = $1 AND n.last_list_size IS DISTINCT FROM $2";

const FIND_ORPHANS: &str = "-- find_orphans
SELECT o.email, o.uuid, o.reason, o.first_seen_at, o.last_seen_at, o.sightings, o.adopted
FROM orphans o
WHERE o.node = $1 AND o.inbound = $2 AND o.email = ANY ($3)";

const FORGET_ORPHANS: &str = "-- forget_orphans
DELETE FROM orphans o
WHERE o.node = $1 AND o.inbound = $2 AND o.email > $3 AND o.email <= $4
    AND NOT EXISTS (SELECT FROM unnest($5) AS k (email) WHERE k.email = o.email)";

const KEEP_ORPHANS: &str = "-- keep_orphans
INSERT INTO orphans (node, inbound, email, uuid, reason, first_seen_at, last_seen_at, sightings, adopted)
SELECT $1, $2, k.email, k.uuid, k.reason, k.first_seen_at, k.last_seen_at, k.sightings, k.adopted
FROM unnest($3, $4, $5, $6, $7, $8, $9)
    AS k (email, uuid, reason, first_seen_at, last_seen_at, sightings, adopted)
ON CONFLICT ON CONSTRAINT orphans_pkey DO UPDATE
SET uuid = excluded.uuid, reason = excluded.reason, first_seen_at = excluded.first_seen_at,
    last_seen_at = excluded.last_seen_at, sightings = excluded.sightings, adopted = excluded.adopted";

const DELETE_ORPHANS: &str = "-- delete_orphans
DELETE FROM orphans o
USING unnest($2, $3) AS k (inbound, email)
WHERE o.node = $1 AND o.inbound = k.inbound AND o.email = k.email";

impl Tx<'_> {
    /// What is remembered of a server; nothing of one never met.
    ///
    /// # Errors
    /// The database's.
    pub async fn node_memory(&self, node: &str) -> Result<NodeMemory, DbError> {
        let Some(row) = self.query_opt(NODE_MEMORY, &[(&node, Type::TEXT)]).await? else {
            return Ok(NodeMemory::default());
        };
        Ok(NodeMemory {
            adopted_at: column(&row, "adopted_at")?,
            known_inbounds: column(&row, "known_inbounds")?,
            last_list_size: column(&row, "last_list_size")?,
            retired_at: column(&row, "retired_at")?,
        })
    }

    /// Remembers that a server and these of its inbounds were met.
    ///
    /// # Errors
    /// The database's.
    pub async fn adopt_node(&self, node: &str, inbounds: &[&str]) -> Result<(), DbError> {
        self.execute(
            ADOPT_NODE,
            &[(&node, Type::TEXT), (/* now */ &self.now(), Type::TIMESTAMPTZ), (&inbounds, Type::TEXT_ARRAY)],
        )
        .await?;
        Ok(())
    }

    /// Remembers how many users a server has.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_list_size(&self, node: &str, users: i64) -> Result<(), DbError> {
        self.execute(SET_LIST_SIZE, &[(&node, Type::TEXT), (&users, Type::INT8)]).await?;
        Ok(())
    }

    /// The entries of these e-mails on an inbound, in any order.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_orphans(&self, node: &str, inbound: &str, emails: &[&str]) -> Result<Vec<Orphan>, DbError> {
        let rows = self
            .query(FIND_ORPHANS, &[(&node, Type::TEXT), (&inbound, Type::TEXT), (&emails, Type::TEXT_ARRAY)])
            .await?;
        rows.iter().map(orphan).collect()
    }

    /// Deletes the entries of an inbound behind `after` and up to `up_to` whose e-mails are not among `emails`.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_orphans(
        &self,
        node: &str,
        inbound: &str,
        [after, up_to]: [&str; 2],
        emails: &[&str],
    ) -> Result<u64, DbError> {
        self.execute(
            FORGET_ORPHANS,
            &[
                (&node, Type::TEXT),
                (&inbound, Type::TEXT),
                (&after, Type::TEXT),
                (&up_to, Type::TEXT),
                (&emails, Type::TEXT_ARRAY),
            ],
        )
        .await
    }

    /// Writes entries of an inbound, over those that are there. In the order of their e-mails, so that two copies of a
    /// pass do not wait for each other crosswise.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_orphans(&self, node: &str, inbound: &str, orphans: &[Orphan]) -> Result<(), DbError> {
        if orphans.is_empty() {
            return Ok(());
        }
        let emails: Vec<&str> = orphans.iter().map(|orphan| orphan.email.as_str()).collect();
        let uuids: Vec<Option<Uuid>> = orphans.iter().map(|orphan| orphan.uuid).collect();
        let reasons: Vec<&str> = orphans.iter().map(|orphan| orphan.reason.as_str()).collect();
        let first: Vec<Timestamp> = orphans.iter().map(|orphan| orphan.first_seen_at).collect();
        let last: Vec<Timestamp> = orphans.iter().map(|orphan| orphan.last_seen_at).collect();
        let sightings: Vec<i32> = orphans.iter().map(|orphan| orphan.sightings).collect();
        let adopted: Vec<bool> = orphans.iter().map(|orphan| orphan.adopted).collect();
        self.execute(
            KEEP_ORPHANS,
            &[
                (&node, Type::TEXT),
                (&inbound, Type::TEXT),
                (&emails, Type::TEXT_ARRAY),
                (&uuids, Type::UUID_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&first, Type::TIMESTAMPTZ_ARRAY),
                (&last, Type::TIMESTAMPTZ_ARRAY),
                (&sightings, Type::INT4_ARRAY),
                (&adopted, Type::BOOL_ARRAY),
            ],
        )
        .await?;
        Ok(())
    }

    /// Deletes entries: inbound and e-mail.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_orphans(&self, node: &str, keys: &[(&str, &str)]) -> Result<(), DbError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (inbounds, emails): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
        self.execute(
            DELETE_ORPHANS,
            &[(&node, Type::TEXT), (&inbounds, Type::TEXT_ARRAY), (&emails, Type::TEXT_ARRAY)],
        )
        .await?;
        Ok(())
    }
}

fn orphan(row: &Row) -> Result<Orphan, DbError> {
    Ok(Orphan {
        email: column(row, "email")?,
        uuid: column(row, "uuid")?,
        reason: column(row, "reason")?,
        first_seen_at: column(row, "first_seen_at")?,
        last_seen_at: column(row, "last_seen_at")?,
        sightings: column(row, "sightings")?,
        adopted: column(row, "adopted")?,
    })
}
