//! Trimming what only grows: runs, sent notices, audit rows that no check of the books needs. A batch a call, after a key,
//! so that nothing that stays is read twice and no transaction is long.

use tokio_postgres::types::Type;

use crate::db::tx::column;
use crate::db::{DbError, Tx};
use crate::ids::RunId;
use crate::time::Timestamp;

/// What a batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunedBatch<K> {
    /// Rows deleted.
    pub pruned: u64,
    /// Where the next batch begins; none: nothing old is left.
    pub next: Option<K>,
}

// The newest run of a pass stays, however old: status tells when it was.
const PRUNE_RUNS: &str = "-- prune_runs
WITH old AS (
    SELECT r.run_id, r.started_at
    FROM runs r
    WHERE r.pass = $1 AND r.started_at < $2 AND (r.started_at, r.run_id) > ($3, $4)
        AND r.started_at < (SELECT max(n.started_at) FROM runs n WHERE n.pass = $1)
    ORDER BY r.started_at, r.run_id
    LIMIT $5
), gone AS (
    DELETE FROM runs r USING old o WHERE r.run_id = o.run_id RETURNING r.run_id, r.started_at
)
SELECT g.run_id, g.started_at, count(*) OVER () AS pruned
FROM gone g
ORDER BY g.started_at DESC, g.run_id DESC
LIMIT 1";

// A notice's key keeps it from being written twice. It may be needed while its trial lives (a trial that is moved is looked
// at from its start), and while the period it names (by its beginning, the present end) is not renewed.
const PRUNE_NOTICES: &str = "-- prune_notices
WITH listed AS (
    SELECT n.id, n.created_at
    FROM notices n
    WHERE n.id > $1
    ORDER BY n.id
    LIMIT $2
), gone AS (
    DELETE FROM notices n
    USING listed l
    WHERE n.id = l.id
        AND n.status IN ('sent', 'dropped')
        AND n.created_at < $3
        AND NOT EXISTS (
            SELECT FROM subscriptions s
            WHERE s.id = n.subscription_id AND s.status = 'active'
                AND (s.source = 'trial'
                    OR strpos(n.dedupe_key, ':' || (extract(epoch FROM s.expires_at) * 1000000)::bigint) > 0)
        )
    RETURNING n.id
)
SELECT (SELECT count(*) FROM gone) AS pruned, max(l.id) AS last_id, bool_and(l.created_at >= $3) AS all_young
FROM listed l";

const PRUNE_AUDIT: &str = "-- prune_audit
SELECT p.pruned, p.last_at, p.last_id FROM audit_log_prune($1, $2, $3, $4) p";

impl Tx<'_> {
    /// Deletes the oldest runs of a pass that began before `older_than`, ended or not, after the key; `rows` at most.
    ///
    /// # Errors
    /// The database's.
    pub async fn prune_runs(
        &self,
        pass: &str,
        older_than: Timestamp,
        after: (Timestamp, RunId),
        rows: i64,
    ) -> Result<PrunedBatch<(Timestamp, RunId)>, DbError> {
        let last = self
            .query_opt(
                PRUNE_RUNS,
                &[
                    (&pass, Type::TEXT),
                    (&older_than, Type::TIMESTAMPTZ),
                    (&after.0, Type::TIMESTAMPTZ),
                    (&after.1, Type::UUID),
                    (&rows, Type::INT8),
                ],
            )
            .await?;
        let Some(last) = last else { return Ok(PrunedBatch { pruned: 0, next: None }) };
        let pruned: i64 = column(&last, "pruned")?;
        let next = (column(&last, "started_at")?, column(&last, "run_id")?);
        Ok(PrunedBatch { pruned: pruned.unsigned_abs(), next: (pruned >= rows).then_some(next) })
    }

    /// Looks at `rows` notices after the key and deletes those that were sent or dropped, were written before
    /// `older_than`, and whose key nothing needs any more.
    ///
    /// # Errors
    /// The database's.
    pub async fn prune_notices(
        &self,
        older_than: Timestamp,
        after: i64,
        rows: i64,
    ) -> Result<PrunedBatch<i64>, DbError> {
        let row = self
            .query_opt(PRUNE_NOTICES, &[(&after, Type::INT8), (&rows, Type::INT8), (&older_than, Type::TIMESTAMPTZ)])
            .await?;
        let Some(row) = row else { return Ok(PrunedBatch { pruned: 0, next: None }) };
        let pruned: i64 = column(&row, "pruned")?;
        let last: Option<i64> = column(&row, "last_id")?;
        // Ids follow time: behind a page of young ones there are no old ones.
        let all_young: Option<bool> = column(&row, "all_young")?;
        Ok(PrunedBatch { pruned: pruned.unsigned_abs(), next: last.filter(|_| all_young != Some(true)) })
    }

    /// Deletes the oldest audit rows that no check of the books needs, of before `older_than`, after the key; `rows` at
    /// most.
    ///
    /// # Errors
    /// The database's; it refuses to go nearer than 180 days.
    pub async fn prune_audit(
        &self,
        older_than: Timestamp,
        after: (Timestamp, i64),
        rows: i32,
    ) -> Result<PrunedBatch<(Timestamp, i64)>, DbError> {
        let row = self
            .query_opt(
                PRUNE_AUDIT,
                &[
                    (&older_than, Type::TIMESTAMPTZ),
                    (&after.0, Type::TIMESTAMPTZ),
                    (&after.1, Type::INT8),
                    (&rows, Type::INT4),
                ],
            )
            .await?;
        let Some(row) = row else { return Ok(PrunedBatch { pruned: 0, next: None }) };
        let pruned: i64 = column(&row, "pruned")?;
        let last: Option<Timestamp> = column(&row, "last_at")?;
        let last_id: Option<i64> = column(&row, "last_id")?;
        Ok(PrunedBatch { pruned: pruned.unsigned_abs(), next: last.zip(last_id).filter(|_| pruned >= i64::from(rows)) })
    }
}
