//! Rows as the statements beside this answer them.

use tokio_postgres::Row;

use super::{MoneyOfDay, Moved, NodeState, PassRun, RunsOfDay};
use crate::db::DbError;
use crate::db::tx::column;

pub(super) fn money(row: &Row) -> Result<MoneyOfDay, DbError> {
    let moved = |transfers: &str, kopecks: &str| {
        Ok::<_, DbError>(Moved { transfers: column(row, transfers)?, amount: column(row, kopecks)? })
    };
    Ok(MoneyOfDay {
        renewals: moved("renewals", "renewed_kopecks")?,
        purchases: moved("purchases", "sold_kopecks")?,
        top_ups: moved("top_ups", "topped_up_kopecks")?,
        refunds: moved("refunds", "refunded_kopecks")?,
        corrections: moved("corrections", "corrected_kopecks")?,
    })
}

pub(super) fn run(row: &Row) -> Result<PassRun, DbError> {
    Ok(PassRun {
        pass: column(row, "pass")?,
        version: column(row, "version")?,
        host: column(row, "host")?,
        mode: column(row, "mode")?,
        started_at: column(row, "started_at")?,
        finished_at: column(row, "finished_at")?,
        outcome: column(row, "outcome")?,
        exit_code: column(row, "exit_code")?,
        summary: column(row, "summary")?,
    })
}

pub(super) fn node(row: &Row) -> Result<NodeState, DbError> {
    Ok(NodeState {
        name: column(row, "name")?,
        adopted_at: column(row, "adopted_at")?,
        users: column(row, "last_list_size")?,
        failures: column(row, "failures")?,
        next_try_at: column(row, "next_try_at")?,
        unproven: column(row, "unproven")?,
        quarantined: column(row, "quarantined")?,
        adopted: column(row, "adopted")?,
    })
}

pub(super) fn runs_of_day(row: &Row) -> Result<RunsOfDay, DbError> {
    Ok(RunsOfDay {
        pass: column(row, "pass")?,
        // Counted from 1.
        day: usize::try_from(column::<i64>(row, "day")? - 1).unwrap_or_default(),
        runs: column(row, "runs")?,
        bad_runs: column(row, "bad_runs")?,
        renewed: column(row, "renewed")?,
        ended: column(row, "ended")?,
        reminded: column(row, "reminded")?,
        failed: column(row, "failed")?,
        parked: column(row, "parked")?,
        sent: column(row, "sent")?,
        dropped: column(row, "dropped")?,
        dead: column(row, "dead")?,
        proof_p50: column(row, "proof_p50")?,
        proof_p99: column(row, "proof_p99")?,
    })
}
