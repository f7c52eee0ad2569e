//! Alerts: what a person must look at, one collected notice a run and kind, to the operator's chat.
//!
//! They go the way of all notices, so they wait while the messenger is down and are sent at least once. Without a chat
//! in the settings nothing is written; exit code, summary and metrics say the same.

use perennial_core::db::{Database, DbError, NewNotice, Tx};
use perennial_core::delivery::DeliverySummary;
use perennial_core::ids::TelegramId;
use perennial_core::time::micros;
use serde_json::{Value, json};

use super::Delivery;
use crate::report::Report;

/// Of so many parked rows the reasons are given; the rest is a number.
const NAMED_ROWS: i64 = 10;
/// A brake that stands for days is told of so often.
const BRAKE_EVERY_MICROS: i64 = 3_600_000_000;
/// A server's message may be long; a line of an alert is not.
const MAX_REASON: usize = 200;

impl Delivery {
    /// Writes alerts about what this run has parked and about its brake. To be called after the pass's own work.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn alert(&self, db: &Database, report: &mut Report) -> Result<(), DbError> {
        let may_have_parked = report.count("parked") + report.count("failed") > 0;
        let brake = report.refused_because.as_deref();
        let Some(chat) = self.admin_chat.filter(|_| !db.is_dry_run() && (may_have_parked || brake.is_some())) else {
            return Ok(());
        };
        let written = db.run_tx("alert", async |tx| {
            let mut alerts: Vec<NewNotice> = brake.map(|reason| alert_brake(tx, chat, reason)).into_iter().collect();
            if may_have_parked {
                alerts.extend(alert_parked(tx, chat).await?);
            }
            tx.insert_notices(&alerts).await
        });
        report.notices.written += written.await?;
        Ok(())
    }

    /// Writes an alert about notices that this run gave up. It is sent by the next run: this one has just ended sending.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn alert_dead(
        &self,
        db: &Database,
        summary: &DeliverySummary,
        report: &mut Report,
    ) -> Result<(), DbError> {
        // An alert that is dead must not make another one, run after run.
        let named: Vec<_> = summary.first_dead.iter().filter(|dead| !dead.kind.starts_with("alert_")).collect();
        let Some(chat) = self.admin_chat.filter(|_| !named.is_empty()) else {
            return Ok(());
        };
        let items: Vec<Value> = named
            .iter()
            .map(|dead| json!({ "kind": dead.kind, "telegram_id": dead.chat.0, "reason": short(&dead.reason) }))
            .collect();
        let unnamed = summary.dead.saturating_sub(summary.first_dead.len() as u64);
        let count = named.len() as u64 + unnamed;
        let written = db.run_tx("alert_dead", async |tx| {
            let key = format!("alert_dead:{}", tx.actor().run_id);
            tx.insert_notices(&[notice(chat, "alert_dead", key, json!({ "count": count, "items": items }))]).await
        });
        report.notices.written += written.await?;
        Ok(())
    }
}

fn alert_brake(tx: &Tx<'_>, chat: TelegramId, reason: &str) -> NewNotice {
    let pass = tx.actor().name;
    let key = format!("alert_brake:{pass}:{}", micros(tx.now()).div_euclid(BRAKE_EVERY_MICROS));
    notice(chat, "alert_brake", key, json!({ "count": 1, "items": [{ "pass": pass, "reason": short(reason) }] }))
}

async fn alert_parked(tx: &Tx<'_>, chat: TelegramId) -> Result<Option<NewNotice>, DbError> {
    let pass = tx.actor().name;
    let (count, rows) = tx.list_parked_by_this_run(NAMED_ROWS).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let items: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "pass": pass, "subscription_id": row.subscription_id.0, "reason": short(&row.reason) }))
        .collect();
    let key = format!("alert_parked:{}", tx.actor().run_id);
    Ok(Some(notice(chat, "alert_parked", key, json!({ "count": count, "items": items }))))
}

fn notice(chat: TelegramId, kind: &'static str, dedupe_key: String, params: Value) -> NewNotice {
    NewNotice { telegram_id: chat, kind, dedupe_key, params, subscription_id: None, useless_after: None, urgent: true }
}

fn short(reason: &str) -> String {
    if reason.chars().count() <= MAX_REASON {
        return reason.to_owned();
    }
    reason.chars().take(MAX_REASON).chain(['…']).collect()
}
