//! Statements of `reconcile-xray`: what the database says of e-mails and credentials, and retiring one that no row uses.
//! See [`crate::reconcile`].

mod orphans;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use orphans::{NodeMemory, Orphan};

use super::tx::column;
use super::{DbError, NewAudit, Tx};
use crate::ids::{CredentialId, TelegramId, VpnUuid};
use crate::page::{Listed, Page};
use crate::reconcile::Standing;

/// A credential and whether it is in use. Its `Debug` masks the UUID.
#[derive(Debug, Clone)]
pub struct CredentialState {
    /// The row.
    pub id: CredentialId,
    /// Whose.
    pub telegram_id: TelegramId,
    /// Xray's key of it.
    pub email: String,
    /// The secret.
    pub uuid: VpnUuid,
    /// Its inbounds are those of this group.
    pub access_group: String,
    /// Never [`Standing::Unknown`].
    pub standing: Standing,
}

/// Whose a UUID is. Its `Debug` masks it.
#[derive(Debug, Clone)]
pub struct UuidOwner {
    /// The open credential.
    pub id: CredentialId,
    /// The secret.
    pub uuid: VpnUuid,
    /// Its inbounds are those of this group.
    pub access_group: String,
}

impl Listed for CredentialState {
    type Key = CredentialId;
    fn key(&self) -> CredentialId {
        self.id
    }
}

// This list is most of the work where nothing differs. Both sides are ranges in the order of one key, so that the server can
// go through them side by side, each row where the one before it was. Subscriptions come as they are, one a line; an aggregate
// would have the server look them up one credential at a time.
const LIST_OPEN_CREDENTIALS: &str = "-- list_open_credentials
SELECT c.id, c.telegram_id, c.email, c.uuid, c.access_group, false AS closed,
    s.status = 'active' AND s.expires_at > $4 AS entitled
FROM (
    SELECT o.id, o.telegram_id, o.email, o.uuid, o.access_group
    FROM credentials o
    WHERE o.closed_at IS NULL AND o.id > $1 AND o.access_group = ANY ($2)
    ORDER BY o.id
    LIMIT $3
) c
LEFT JOIN subscriptions s ON s.credential_id = c.id AND s.credential_id > $1
ORDER BY c.id";

const CREDENTIALS_BY_EMAIL: &str = "-- credentials_by_email
SELECT c.id, c.telegram_id, c.email, c.uuid, c.access_group, c.closed_at IS NOT NULL AS closed, u.entitled
FROM credentials c
CROSS JOIN LATERAL (
    SELECT bool_or(s.status = 'active' AND s.expires_at > $2) AS entitled
    FROM subscriptions s
    WHERE s.credential_id = c.id
) u
WHERE c.email = ANY ($1)";

const CREDENTIALS_BY_ID: &str = "-- credentials_by_id
SELECT c.id, c.telegram_id, c.email, c.uuid, c.access_group, c.closed_at IS NOT NULL AS closed, u.entitled
FROM credentials c
CROSS JOIN LATERAL (
    SELECT bool_or(s.status = 'active' AND s.expires_at > $2) AS entitled
    FROM subscriptions s
    WHERE s.credential_id = c.id
) u
WHERE c.id = ANY ($1)";

const OPEN_BY_UUID: &str = "-- open_by_uuid
SELECT c.id, c.uuid, c.access_group FROM credentials c WHERE c.uuid = ANY ($1) AND c.closed_at IS NULL";

const LOCK_OPEN_CREDENTIALS: &str = "-- lock_open_credentials
SELECT c.id FROM credentials c WHERE c.id = ANY ($1) AND c.closed_at IS NULL FOR UPDATE OF c SKIP LOCKED";

const CREDENTIALS_WITH_ROWS: &str = "-- credentials_with_rows
SELECT DISTINCT s.credential_id AS id FROM subscriptions s WHERE s.credential_id = ANY ($1)";

const RETIRE_UNUSED: &str = "-- retire_unused
UPDATE credentials c SET closed_at = $1, retired_at = $1
WHERE c.id = ANY ($2) AND c.closed_at IS NULL
RETURNING c.id, c.telegram_id, c.email";

const DATABASE_IDENTITY: &str = "-- database_identity
SELECT c.system_identifier::text || '/' || current_database() AS identity FROM pg_control_system() c";

impl Tx<'_> {
    /// Lists open credentials of these groups, the oldest first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn list_open_credentials(
        &self,
        page: &Page<CredentialId>,
        groups: &[&str],
    ) -> Result<Vec<CredentialState>, DbError> {
        let limit = page.limit();
        let rows = self
            .query(
                LIST_OPEN_CREDENTIALS,
                &[
                    (&page.after, Type::INT8),
                    (&groups, Type::TEXT_ARRAY),
                    (&limit, Type::INT8),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        let mut listed: Vec<CredentialState> = Vec::with_capacity(rows.len());
        for row in &rows {
            let state = credential_state(row)?;
            match listed.last_mut().filter(|last| last.id == state.id) {
                Some(last) if state.standing == Standing::Entitled => last.standing = Standing::Entitled,
                Some(_) => {}
                None => listed.push(state),
            }
        }
        Ok(listed)
    }

    /// The credentials with these e-mails, in any state; an e-mail nobody ever had has none.
    ///
    /// # Errors
    /// The database's.
    pub async fn credentials_by_email(&self, emails: &[&str]) -> Result<Vec<CredentialState>, DbError> {
        let parameters = [(&emails as _, Type::TEXT_ARRAY), (/* now */ &self.now() as _, Type::TIMESTAMPTZ)];
        let rows = self.query(CREDENTIALS_BY_EMAIL, &parameters).await?;
        rows.iter().map(credential_state).collect()
    }

    /// These credentials, in any state.
    ///
    /// # Errors
    /// The database's.
    pub async fn credentials_by_id(&self, ids: &[CredentialId]) -> Result<Vec<CredentialState>, DbError> {
        let parameters = [(&ids as _, Type::INT8_ARRAY), (/* now */ &self.now() as _, Type::TIMESTAMPTZ)];
        let rows = self.query(CREDENTIALS_BY_ID, &parameters).await?;
        rows.iter().map(credential_state).collect()
    }

    /// The open credentials with these UUIDs.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_by_uuid(&self, uuids: &[Uuid]) -> Result<Vec<UuidOwner>, DbError> {
        let rows = self.query(OPEN_BY_UUID, &[(&uuids, Type::UUID_ARRAY)]).await?;
        rows.iter()
            .map(|row| {
                Ok(UuidOwner {
                    id: column(row, "id")?,
                    uuid: column(row, "uuid")?,
                    access_group: column(row, "access_group")?,
                })
            })
            .collect()
    }

    /// Closes and retires those of these credentials that are open and used by no row, and answers them. What somebody
    /// holds is left alone (`FOR UPDATE SKIP LOCKED`). Looks for rows in the statement after the one that locks: its
    /// snapshot is younger than the locks, so no row attached before them is missed (docs/access-protocol.md).
    ///
    /// # Errors
    /// The database's; at COMMIT `credentials_close_unused` if an active row uses one after all.
    pub async fn retire_unused(&self, ids: &[CredentialId]) -> Result<Vec<CredentialId>, DbError> {
        let locked = self.query(LOCK_OPEN_CREDENTIALS, &[(&ids, Type::INT8_ARRAY)]).await?;
        let mut unused = locked.iter().map(|row| column(row, "id")).collect::<Result<Vec<CredentialId>, _>>()?;
        if unused.is_empty() {
            return Ok(unused);
        }
        for row in self.query(CREDENTIALS_WITH_ROWS, &[(&unused, Type::INT8_ARRAY)]).await? {
            let used: CredentialId = column(&row, "id")?;
            unused.retain(|id| *id != used);
        }
        let rows = self
            .query(RETIRE_UNUSED, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&unused, Type::INT8_ARRAY)])
            .await?;
        let audit = rows.iter().map(retirement).collect::<Result<Vec<NewAudit>, _>>()?;
        self.insert_audit(&audit).await?;
        Ok(unused)
    }

    /// Which database this is: identifier of the cluster, and name in it.
    ///
    /// # Errors
    /// The database's.
    pub async fn database_identity(&self) -> Result<String, DbError> {
        let row = self.query_opt(DATABASE_IDENTITY, &[]).await?;
        row.map_or_else(|| Ok(String::new()), |row| column(&row, "identity"))
    }
}

fn credential_state(row: &Row) -> Result<CredentialState, DbError> {
    let closed: bool = column(row, "closed")?;
    let entitled: Option<bool> = column(row, "entitled")?;
    let standing = match (closed, entitled) {
        (true, _) => Standing::Closed,
        // An aggregate over no rows: none refers to it.
        (false, None) => Standing::Unused,
        (false, Some(false)) => Standing::Used,
        (false, Some(true)) => Standing::Entitled,
    };
    Ok(CredentialState {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        email: column(row, "email")?,
        uuid: column(row, "uuid")?,
        access_group: column(row, "access_group")?,
        standing,
    })
}

fn retirement(row: &Row) -> Result<NewAudit, DbError> {
    let id: CredentialId = column(row, "id")?;
    let email: String = column(row, "email")?;
    Ok(NewAudit {
        action: "retired",
        telegram_id: Some(column(row, "telegram_id")?),
        subscription_id: None,
        before: Some(serde_json::json!({ "credential_id": id.0, "email": email, "state": "open" })),
        after: Some(serde_json::json!({ "state": "retired" })),
        reason: Some("open, and used by no row".to_owned()),
    })
}
