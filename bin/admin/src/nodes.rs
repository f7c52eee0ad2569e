//! `nodes list`, `nodes retire`, `nodes revive`, `orphans`: the Xray servers as the passes see them.

pub mod check;

use perennial_core::db::admin::{KnownNode, OrphanEntry};
use perennial_core::db::{NewAudit, NodeRow};
use perennial_core::operator;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::output::{Answer, counted, exact, exact_json, moment, table};
use crate::session::Session;
use crate::unknown;

/// Lists all servers.
///
/// # Errors
/// The database's.
pub async fn list(session: &Session) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let (nodes, now) = db.run_tx("list_known_nodes", async |tx| Ok((tx.list_known_nodes().await?, tx.now()))).await?;
    let json = json!({ "nodes": nodes.iter().map(as_json).collect::<Vec<_>>() });
    if nodes.is_empty() {
        return Ok(Answer::new("no pass has met a server yet\n", json));
    }
    let head = ["node", "met", "users", "to remove", "quarantine", "state"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().map(|KnownNode { row: node, unproven, orphans }| {
        let state = match (node.retired_at, node.next_try_at.filter(|at| *at > now)) {
            (Some(at), _) => format!("retired {}", moment(at)),
            (None, Some(at)) => {
                format!("left alone until {} after {}", moment(at), counted(failures(node), "failed contact"))
            }
            (None, None) => "in use".to_owned(),
        };
        vec![
            node.name.clone(),
            node.adopted_at.map_or_else(|| "never".to_owned(), moment),
            node.last_list_size.map_or_else(|| "?".to_owned(), |users| users.to_string()),
            unproven.to_string(),
            orphans.to_string(),
            state,
        ]
    }));
    Ok(Answer::new(table(&rows, &[2, 3, 4]), json))
}

/// Says that a server is gone for good.
///
/// # Errors
/// Refused: no such server, or retired before.
pub async fn retire(session: &Session, call: cli::NodeName) -> Result<Answer, Failure> {
    let node = &call.name;
    let was = change(session, node, "node_retired", "retired", async |tx| tx.retire_node(node).await).await?;
    let waiting = was.unproven.unsigned_abs();
    let mut text = format!("node {node} is retired: {} no longer for it\n", waits(waiting));
    let configured = session.config.nodes.iter().any(|configured| configured.name == *node);
    if configured {
        text.push_str("it is in the settings still: remove it there, the passes leave it alone\n");
    }
    Ok(Answer::new(text, json!({ "node": node, "waited_for_it": waiting, "in_settings": configured })))
}

fn waits(removals: u64) -> String {
    format!("{} wait{}", counted(removals, "removal"), if removals == 1 { "s" } else { "" })
}

/// Takes a server back.
///
/// # Errors
/// Refused: no such server, or not retired.
pub async fn revive(session: &Session, call: cli::NodeName) -> Result<Answer, Failure> {
    let node = &call.name;
    change(session, node, "node_revived", "in use", async |tx| tx.revive_node(node).await).await?;
    let text = format!("node {node} is in use again; reconcile-xray takes off it whoever was ended meanwhile\n");
    Ok(Answer::new(text, json!({ "node": node })))
}

/// Changes a server with an audit row, and answers what it was.
async fn change(
    session: &Session,
    node: &str,
    action: &'static str,
    into: &'static str,
    write: impl AsyncFn(&perennial_core::db::Tx<'_>) -> Result<bool, perennial_core::db::DbError>,
) -> Result<KnownNode, Failure> {
    let db = session.writer().await?;
    let (was, changed) = db
        .run_tx(action, async |tx| {
            let was = tx.list_known_nodes().await?.into_iter().find(|state| state.row.name == node);
            let changed = write(tx).await?;
            if let (Some(was), true) = (&was, changed) {
                tx.insert_audit(&[NewAudit {
                    action,
                    telegram_id: None,
                    subscription_id: None,
                    before: Some(as_json(was)),
                    after: Some(json!({ "node": node })),
                    reason: None,
                }])
                .await?;
            }
            Ok((was, changed))
        })
        .await?;
    match was {
        Some(was) if changed => Ok(was),
        Some(_) => Err(Failure::refused(format!("node {node} is {into} already"))),
        None => {
            let hint = format!("{} lists the servers that the passes have met", operator::command("nodes list"));
            Err(unknown(&format!("node {node}"), &hint))
        }
    }
}

/// Lists what is in quarantine.
///
/// # Errors
/// The database's.
pub async fn orphans(session: &Session, call: cli::Orphans) -> Result<Answer, Failure> {
    let db = session.reader().await?;
    let node = call.node.as_deref().unwrap_or_default();
    let (entries, all) = db
        .run_tx("list_orphans", async |tx| {
            Ok((tx.list_orphans(node, call.limit.into()).await?, tx.count_orphans(node).await?.unsigned_abs()))
        })
        .await?;
    let json = json!({ "orphans": entries.iter().map(orphan_json).collect::<Vec<_>>(), "count": all });
    if entries.is_empty() {
        return Ok(Answer::new("nobody is in quarantine\n", json));
    }
    let head = ["node", "inbound", "e-mail", "why", "since", "sightings", "then"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| {
        let then = if entry.adopted { "stays: there at first contact" } else { "removed after the grace" };
        vec![
            entry.node.clone(),
            entry.inbound.clone(),
            entry.email.clone(),
            entry.reason.clone(),
            moment(entry.first_seen_at),
            entry.sightings.to_string(),
            then.to_owned(),
        ]
    }));
    let mut text = table(&rows, &[5]);
    if all > entries.len() as u64 {
        text.push_str(&format!("{} of {all} shown; --limit shows more\n", entries.len()));
    }
    Ok(Answer::new(text, json))
}

fn failures(node: &NodeRow) -> u64 {
    u64::from(node.failures.unsigned_abs())
}

fn as_json(KnownNode { row: node, unproven, orphans }: &KnownNode) -> Value {
    json!({
        "name": node.name,
        "adopted_at": exact_json(node.adopted_at),
        "last_list_size": node.last_list_size,
        "failures": node.failures,
        "next_try_at": exact_json(node.next_try_at),
        "retired_at": exact_json(node.retired_at),
        "unproven": unproven,
        "orphans": orphans,
    })
}

fn orphan_json(entry: &OrphanEntry) -> Value {
    json!({
        "node": entry.node,
        "inbound": entry.inbound,
        "email": entry.email,
        "reason": entry.reason,
        "first_seen_at": exact(entry.first_seen_at),
        "last_seen_at": exact(entry.last_seen_at),
        "sightings": entry.sightings,
        "adopted": entry.adopted,
    })
}
