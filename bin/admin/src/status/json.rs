//! The same as one object.

use perennial_core::db::admin::Moved;
use serde_json::{Map, Value, json};

use super::model::{Node, PassState, Status};
use crate::output::{exact, exact_json};

/// The object.
pub(super) fn json(status: &Status) -> Value {
    let today = &status.today;
    json!({
        "at": exact(status.at),
        "version": perennial_boot::VERSION,
        "passes": status.passes.iter().map(pass).collect::<Vec<_>>(),
        "due": status.work.iter().map(|work| json!({
            "work": work.name,
            "pass": work.pass,
            "rows": work.rows,
            "and_more": work.and_more,
            "oldest": exact_json(work.oldest),
            "late": work.late,
        })).collect::<Vec<_>>(),
        "today": {
            "date": today.date.to_string(),
            "time_zone": status.zone,
            "since": exact(today.since),
            "renewals": moved(today.money.renewals),
            "purchases": moved(today.money.purchases),
            "top_ups": moved(today.money.top_ups),
            "refunds": moved(today.money.refunds),
            "corrections": moved(today.money.corrections),
            "notices_sent": today.sent,
            "notices_dropped": today.dropped,
            "notices_dead": today.dead,
        },
        "active": status.rights.iter().map(|(source, rows)| (source.clone(), json!(rows))).collect::<Map<_, _>>(),
        "wallets": { "kopecks": status.wallets.total.0, "filled": status.wallets.filled },
        "notices": { "later": status.outbox.later, "sending": status.outbox.sending, "dead": status.outbox.dead },
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
        "parked": status.parked.iter().map(|parked| json!({
            "pass": parked.pass, "reason": parked.reason, "rows": parked.rows, "since": exact(parked.since),
        })).collect::<Vec<_>>(),
        "attention": status.attention,
    })
}

fn pass(pass: &PassState) -> Value {
    json!({
        "pass": pass.name,
        "every_seconds": pass.every.as_secs(),
        "under_way_since": exact_json(pass.under_way_since),
        "killed": pass.killed,
        "bad_in_a_row": pass.bad_in_a_row,
        "last": pass.last.as_ref().map(|run| json!({
            "started_at": exact(run.started_at),
            "seconds": run.took.as_secs_f64(),
            "outcome": run.outcome,
            "mode": run.mode,
            "exit_code": run.exit_code,
            "counts": run.counts.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect::<Map<_, _>>(),
            "warnings": run.warnings,
            "error": run.error,
        })),
    })
}

fn moved(moved: Moved) -> Value {
    json!({ "transfers": moved.transfers, "kopecks": moved.amount.0 })
}

fn node(node: &Node) -> Value {
    let state = &node.state;
    json!({
        "name": state.name,
        "adopted_at": exact_json(state.adopted_at),
        "users": state.users,
        "failures": state.failures,
        "next_try_at": exact_json(state.next_try_at),
        "unproven": state.unproven,
        "quarantined": state.quarantined,
        "adopted": state.adopted,
        "compared": node.compared.as_ref().map(|compared| json!({
            "at": exact(compared.at),
            "reachable": compared.reachable,
            "drift": compared.drift.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect::<Map<_, _>>(),
            "refused_because": compared.refused_because,
        })),
    })
}
