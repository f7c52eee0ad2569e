//! `prune`: deletes what only grows and nothing needs any more, by age. Runs, notices that were sent or dropped, and, where
//! somebody says for how long they are kept, audit rows that no check of the books needs.
//!
//! One batch, one short transaction, with its own row in the audit log; so it may be killed at any moment and goes on from
//! what the database says, and it may run beside anything. What it never touches: transfers, payments, accounts,
//! credentials, idempotency keys of bots, audit rows about money, notices whose key is still needed.

use std::time::Duration;

use perennial_boot::{Exit, Span};
use perennial_core::db::admin::PrunedBatch;
use perennial_core::db::{Database, DbError, NewAudit, Tx};
use perennial_core::ids::RunId;
use perennial_core::pass::Pass;
use perennial_core::time::{Deadline, Timestamp};
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, counted, moment};
use crate::session::Session;

/// What became of a table.
struct Pruned {
    table: &'static str,
    /// None: it is kept for ever.
    older_than: Option<Timestamp>,
    rows: u64,
}

/// One call of the command.
struct Pruning {
    db: Database,
    deadline: Deadline,
    batch: i32,
}

/// Deletes what is old.
///
/// # Errors
/// The database's; exit code 75 when its time ended before the work.
pub async fn run(session: &Session, call: cli::Prune) -> Result<Answer, Failure> {
    let ages = session.config.retention.or(call.runs, call.notices, call.audit);
    ages.check()?;
    let db = session.writer().await?;
    let db = if call.dry_run { db.without_effect() } else { db };
    let now = db.run_tx("start", async |tx| Ok(tx.now())).await?;
    let before = |age: Span| now - age.duration();
    let deadline = Deadline::after(Duration::from_secs(call.max_seconds.into()));
    let pruning = Pruning { db, deadline, batch: i32::try_from(call.batch_size).unwrap_or(i32::MAX) };
    let mut all = [
        Pruned { table: "runs", older_than: Some(before(ages.runs())), rows: 0 },
        Pruned { table: "notices", older_than: Some(before(ages.notices())), rows: 0 },
        Pruned { table: "audit_log", older_than: ages.audit.map(before), rows: 0 },
    ];
    let mut is_done = true;
    for pruned in &mut all {
        if let Some(older_than) = pruned.older_than {
            is_done &= match pruned.table {
                "runs" => pruning.runs(older_than, &mut pruned.rows).await?,
                "notices" => pruning.notices(older_than, &mut pruned.rows).await?,
                _ => pruning.audit(older_than, &mut pruned.rows).await?,
            };
        }
    }
    Ok(answer(&all, call.dry_run, is_done))
}

impl Pruning {
    async fn runs(&self, older_than: Timestamp, rows: &mut u64) -> Result<bool, Failure> {
        for pass in Pass::ALL {
            let first = (Timestamp::UNIX_EPOCH, RunId(uuid::Uuid::nil()));
            let batch =
                async |tx: &Tx<'_>, after| tx.prune_runs(pass.name(), older_than, after, self.batch.into()).await;
            if !self.batches("runs", older_than, first, rows, batch).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn notices(&self, older_than: Timestamp, rows: &mut u64) -> Result<bool, Failure> {
        let batch = async |tx: &Tx<'_>, after| tx.prune_notices(older_than, after, self.batch.into()).await;
        self.batches("notices", older_than, i64::MIN, rows, batch).await
    }

    async fn audit(&self, older_than: Timestamp, rows: &mut u64) -> Result<bool, Failure> {
        let first = (Timestamp::UNIX_EPOCH, i64::MIN);
        let batch = async |tx: &Tx<'_>, after| tx.prune_audit(older_than, after, self.batch).await;
        self.batches("audit_log", older_than, first, rows, batch).await
    }

    /// Batch after batch, each with its audit row. Answers whether it came to the end.
    async fn batches<K: Copy>(
        &self,
        table: &'static str,
        older_than: Timestamp,
        first: K,
        rows: &mut u64,
        batch: impl AsyncFn(&Tx<'_>, K) -> Result<PrunedBatch<K>, DbError>,
    ) -> Result<bool, Failure> {
        let mut next = Some(first);
        while let Some(after) = next {
            if self.deadline.is_over() {
                return Ok(false);
            }
            let done = self.db.run_tx("prune", async |tx| {
                let done = batch(tx, after).await?;
                if done.pruned > 0 {
                    tx.insert_audit(&[audit(table, older_than, done.pruned)]).await?;
                }
                Ok(done)
            });
            let done = done.await?;
            *rows += done.pruned;
            next = done.next;
        }
        Ok(true)
    }
}

fn audit(table: &str, older_than: Timestamp, rows: u64) -> NewAudit {
    NewAudit {
        action: "pruned",
        telegram_id: None,
        subscription_id: None,
        before: None,
        after: Some(json!({ "table": table, "rows": rows, "older_than": moment(older_than) })),
        reason: None,
    }
}

fn answer(all: &[Pruned], dry_run: bool, is_done: bool) -> Answer {
    let said = if dry_run { "would go" } else { "gone" };
    let mut text = String::new();
    let mut members = serde_json::Map::new();
    for Pruned { table, older_than, rows } in all {
        match older_than {
            Some(at) => {
                text.push_str(&format!("{table}: {} of before {} {said}\n", counted(*rows, "row"), moment(*at)));
            }
            None => text.push_str(&format!("{table}: kept; say for how long with --audit or [retention] audit\n")),
        }
        members.insert((*table).to_owned(), json!({ "rows": rows, "older_than": older_than.map(moment) }));
    }
    if !is_done {
        text.push_str("stopped early, the time is used up; the next call goes on\n");
    }
    let json = json!({ "dry_run": dry_run, "pruned": Value::Object(members), "is_done": is_done });
    Answer { text, json, exit: if is_done { Exit::Done } else { Exit::Stopped } }
}
