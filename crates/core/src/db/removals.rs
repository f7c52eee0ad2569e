//! Statements of removal: list closing credentials, keep proofs, confirm. See [`crate::removal`].

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, NewAudit, Tx};
use crate::ids::{CredentialId, SubscriptionId, TelegramId};
use crate::page::{Listed, Page};
use crate::time::Timestamp;

/// Rows waiting for the proof of their removal are counted so far.
const MOST_WAITING: i64 = 1_000_000;

/// The key of a closing credential: longest closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosingKey {
    /// When it was closed.
    pub closed_at: Timestamp,
    /// The row.
    pub id: CredentialId,
}

/// A closing credential: closed for good, not proven gone yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its key in the list.
    pub key: ClosingKey,
    /// Xray's key of it.
    pub email: String,
    /// Its inbounds are those of this group.
    pub access_group: String,
}

impl Listed for ClosingKey {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

impl Listed for Closing {
    type Key = ClosingKey;
    fn key(&self) -> ClosingKey {
        self.key
    }
}

/// A subscription whose removal is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The row.
    pub(crate) id: SubscriptionId,
    /// Its user.
    pub(crate) telegram_id: TelegramId,
    /// The credential it had.
    pub(crate) credential: CredentialId,
    /// When the right was ended; the proof is measured from there.
    pub(crate) ended_at: Option<Timestamp>,
}

const LIST_CLOSING: &str = "-- list_closing
SELECT c.closed_at, c.id, c.email, c.access_group
FROM credentials c
WHERE c.closed_at IS NOT NULL AND c.retired_at IS NULL
    AND (c.closed_at, c.id) > ($1, $2)
    AND NOT EXISTS (SELECT FROM removals r WHERE r.credential = c.id AND r.node = $3)
ORDER BY c.closed_at, c.id
LIMIT $4";

const CLOSING_GROUPS: &str = "-- closing_groups
SELECT DISTINCT c.access_group FROM credentials c WHERE c.closed_at IS NOT NULL AND c.retired_at IS NULL";

// Those named first are the likeliest to lack a proof, and one without it is enough.
const LIST_PROVEN: &str = "-- list_proven
SELECT c.closed_at, c.id
FROM credentials c
WHERE c.closed_at IS NOT NULL AND c.retired_at IS NULL
    AND (c.closed_at, c.id) > ($1, $2)
    AND NOT EXISTS (
        SELECT FROM unnest($3) AS n (name)
        WHERE NOT EXISTS (SELECT FROM removals r WHERE r.credential = c.id AND r.node = n.name)
    )
ORDER BY c.closed_at, c.id
LIMIT $4";

const RECORD_PROOFS: &str = "-- record_proofs
INSERT INTO removals (credential, node, proven_at)
SELECT p.credential, $1, $2 FROM unnest($3) AS p (credential)
ON CONFLICT ON CONSTRAINT removals_pkey DO NOTHING";

const CLAIM_PROVEN: &str = "-- claim_proven
SELECT c.id
FROM credentials c
WHERE c.id = ANY ($1) AND c.closed_at IS NOT NULL AND c.retired_at IS NULL
    AND EXISTS (SELECT FROM nodes)
    AND NOT EXISTS (
        SELECT FROM nodes n
        WHERE n.retired_at IS NULL
            AND NOT EXISTS (SELECT FROM removals r WHERE r.credential = c.id AND r.node = n.name)
    )
FOR UPDATE OF c SKIP LOCKED";

const CLAIM_EXPIRING: &str = "-- claim_expiring
SELECT s.id, s.telegram_id, s.credential_id, s.ended_at
FROM subscriptions s
WHERE s.credential_id = ANY ($1) AND s.status = 'expiring'
FOR NO KEY UPDATE OF s SKIP LOCKED";

const EXPIRE: &str = "-- expire
UPDATE subscriptions s SET status = 'expired', credential_id = NULL, expired_at = $1
WHERE s.id = ANY ($2) AND s.status = 'expiring'";

const RETIRE: &str = "-- retire
UPDATE credentials c SET retired_at = $1
WHERE c.id = ANY ($2) AND c.retired_at IS NULL
    AND NOT EXISTS (SELECT FROM subscriptions s WHERE s.credential_id = c.id)";

const OLDEST_EXPIRING: &str = "-- oldest_expiring
SELECT s.ended_at FROM subscriptions s WHERE s.status = 'expiring' ORDER BY s.ended_at, s.id LIMIT 1";

const COUNT_EXPIRING: &str = "-- count_expiring
SELECT count(*) AS rows FROM (SELECT FROM subscriptions s WHERE s.status = 'expiring' LIMIT $1) e";

impl Tx<'_> {
    /// Lists closing credentials not proven gone from `node`, longest closed first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn list_closing(&self, page: &Page<ClosingKey>, node: &str) -> Result<Vec<Closing>, DbError> {
        let limit = page.limit();
        let rows = self
            .query(
                LIST_CLOSING,
                &[
                    (&page.after.closed_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (&node, Type::TEXT),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Closing {
                    key: closing_key(row)?,
                    email: column(row, "email")?,
                    access_group: column(row, "access_group")?,
                })
            })
            .collect()
    }

    /// The access groups of all closing credentials.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn closing_groups(&self) -> Result<Vec<String>, DbError> {
        let rows = self.query(CLOSING_GROUPS, &[]).await?;
        rows.iter().map(|row| column(row, "access_group")).collect()
    }

    /// Lists closing credentials that are proven gone from all of these servers, longest closed first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn list_proven(
        &self,
        page: &Page<ClosingKey>,
        nodes: &[&str],
    ) -> Result<Vec<ClosingKey>, DbError> {
        let rows = self
            .query(
                LIST_PROVEN,
                &[
                    (&page.after.closed_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (&nodes, Type::TEXT_ARRAY),
                    (&page.limit(), Type::INT8),
                ],
            )
            .await?;
        rows.iter().map(closing_key).collect()
    }

    /// Keeps the proof that these credentials are gone from `node`. Answers how many proofs are new.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn record_proofs(&self, node: &str, credentials: &[CredentialId]) -> Result<u64, DbError> {
        self.execute(
            RECORD_PROOFS,
            &[(&node, Type::TEXT), (/* now */ &self.now(), Type::TIMESTAMPTZ), (&credentials, Type::INT8_ARRAY)],
        )
        .await
    }

    /// Expires the rows of those credentials that are proven gone from every server that is not retired, and retires
    /// each that no row uses any more. Locks the credentials first (`FOR UPDATE SKIP LOCKED`) and looks at the rows in
    /// the next statement. Where no server was ever known nothing is proven.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn confirm_removals(&self, credentials: &[CredentialId]) -> Result<Vec<Expired>, DbError> {
        let rows = self.query(CLAIM_PROVEN, &[(&credentials, Type::INT8_ARRAY)]).await?;
        let proven = rows.iter().map(|row| column(row, "id")).collect::<Result<Vec<CredentialId>, _>>()?;
        if proven.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.query(CLAIM_EXPIRING, &[(&proven, Type::INT8_ARRAY)]).await?;
        let expired = rows
            .iter()
            .map(|row| {
                Ok(Expired {
                    id: column(row, "id")?,
                    telegram_id: column(row, "telegram_id")?,
                    credential: column(row, "credential_id")?,
                    ended_at: column(row, "ended_at")?,
                })
            })
            .collect::<Result<Vec<Expired>, DbError>>()?;
        let ids: Vec<SubscriptionId> = expired.iter().map(|row| row.id).collect();
        let audit: Vec<NewAudit> = expired.iter().map(audit).collect();
        let now = self.now();
        let expiring = [(/* now */ &now as _, Type::TIMESTAMPTZ), (&ids as _, Type::INT8_ARRAY)];
        let retiring = [(/* now */ &now as _, Type::TIMESTAMPTZ), (&proven as _, Type::INT8_ARRAY)];
        let (written, _, ()) = futures_util::try_join!(
            self.execute(EXPIRE, &expiring),
            self.execute(RETIRE, &retiring),
            self.insert_audit(&audit),
        )?;
        if written != expired.len() as u64 {
            let what = format!("{} rows were to expire, {written} did", expired.len());
            return Err(DbError::Mismatch { at: "confirm_removals", what });
        }
        Ok(expired)
    }

    /// When the oldest right was ended whose removal is not proven.
    ///
    /// # Errors
    /// The database's.
    pub async fn oldest_expiring(&self) -> Result<Option<Timestamp>, DbError> {
        let row = self.query_opt(OLDEST_EXPIRING, &[]).await?;
        row.map_or(Ok(None), |row| column(&row, "ended_at"))
    }

    /// How many rows wait for the proof of their removal, a million at most.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_expiring(&self) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_EXPIRING, &[(&MOST_WAITING, Type::INT8)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }
}

fn closing_key(row: &Row) -> Result<ClosingKey, DbError> {
    Ok(ClosingKey { closed_at: column(row, "closed_at")?, id: column(row, "id")? })
}

fn audit(row: &Expired) -> NewAudit {
    NewAudit {
        action: "expired",
        telegram_id: Some(row.telegram_id),
        subscription_id: Some(row.id),
        before: Some(serde_json::json!({ "status": "expiring", "credential_id": row.credential.0 })),
        after: Some(serde_json::json!({ "status": "expired" })),
        reason: Some("proven gone from every server".to_owned()),
    }
}
