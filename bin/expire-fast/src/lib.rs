//! `expire-fast`: ends what has run out and takes its credential off every Xray server, with proof.
//!
//! `end → close → remove → prove`: first [`perennial_core::ending`] ends every active row past its end and closes its
//! credential, in the database alone; then [`perennial_core::removal`] takes closed credentials off every server, asks
//! whether they are gone, and expires the rows that are proven gone from all.
//!
//! What is closed is removed also when ending itself is in trouble: the one must not keep the other waiting.
//!
//! A crash anywhere leaves work that the next pass takes up: an ended row is `expiring` until its proof, a closing
//! credential is listed until it is retired. Who pays meanwhile has a new credential and is served at once.
//!
//! Servers are those of the table `nodes`. One that is missing from the settings keeps rows `expiring` until `perennial nodes
//! retire`; it is named in the warnings.

pub mod flags;
pub mod sessions;
mod summary;

use std::time::Duration;

use perennial_core::db::{Database, DbError};
use perennial_core::ending::{self, EndSettings};
use perennial_core::node::Node;
use perennial_core::operator;
use perennial_core::ports::{Bounded, Xray};
use perennial_core::removal::{self, Part, RemovalSettings};
use perennial_core::time::Deadline;

use sessions::Sessions;
pub use summary::Summary;

/// Runs the pass. `summary` is filled as the work goes on, so that it is true also when an error ends the pass;
/// `progress` is told what each server's part has done so far.
///
/// # Errors
/// The database's, when they are no row's fault.
pub async fn run<X: Xray>(
    db: &Database,
    deadline: &Deadline,
    nodes: &[Node<X>],
    settings: EndSettings<'_>,
    sessions: &Sessions,
    progress: &dyn Fn(&Part),
    summary: &mut Summary,
) -> Result<(), DbError> {
    let nodes = usable_nodes(db, deadline, nodes, &mut summary.warnings).await?;
    let ended = ending::end_due(db, deadline, settings, &mut summary.ended).await;
    if ended.as_ref().is_err_and(DbError::is_unavailable) {
        return ended;
    }
    if !db.is_dry_run() {
        let EndSettings { batch_rows, limit, .. } = settings;
        let removing = RemovalSettings { batch_rows, limit, after: sessions, progress };
        removal::remove_closing(db, deadline, &nodes, removing, &mut summary.removals).await?;
        // A slip in a group's name would have it proven gone from where it was never looked for.
        let groups = summary.removals.unserved_groups.iter().filter(|_| !nodes.is_empty());
        summary.warnings.extend(groups.map(|group| {
            format!("credentials of group {group} count as gone: no [[node.inbound]] of the settings has that group")
        }));
    }
    let (waiting, oldest) =
        db.run_tx("expiring", async |tx| Ok((tx.count_expiring().await?, tx.oldest_expiring().await?))).await?;
    summary.waiting_for_node = waiting.unsigned_abs();
    summary.oldest_expiring = oldest.and_then(|ended| Duration::try_from(db.now() - ended).ok()).unwrap_or_default();
    ended
}

/// Adds new servers to the table, and leaves out those that were retired there. Their calls end with the pass's time.
async fn usable_nodes<'a, X>(
    db: &Database,
    deadline: &'a Deadline,
    nodes: &'a [Node<X>],
    warnings: &mut Vec<String>,
) -> Result<Vec<Node<Bounded<'a, X>>>, DbError> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let known = db
        .run_tx("known_nodes", async |tx| {
            tx.add_nodes(&names).await?;
            tx.list_nodes().await
        })
        .await?;
    for row in &known {
        let configured = names.contains(&row.name.as_str());
        match (configured, row.retired_at.is_some()) {
            (false, false) => warnings.push(format!(
                "node {} is not in the settings: rows stay expiring until it is back or {}",
                row.name,
                operator::command(&format!("nodes retire {}", row.name))
            )),
            (true, true) => warnings.push(format!("node {} was retired: remove it from the settings", row.name)),
            _ => {}
        }
    }
    if known.is_empty() {
        warnings
            .push("no node is configured ([[node]] in the settings): what ends stays expiring until one is".to_owned());
    }
    let retired = |node: &Node<X>| known.iter().any(|row| row.name == node.name && row.retired_at.is_some());
    Ok(nodes.iter().filter(|node| !retired(node)).map(|node| bounded(node, deadline)).collect())
}

fn bounded<'a, X>(node: &'a Node<X>, deadline: &'a Deadline) -> Node<Bounded<'a, X>> {
    let xray = Bounded { xray: &node.xray, node: &node.name, deadline };
    Node { name: node.name.clone(), inbounds: node.inbounds.clone(), xray }
}
