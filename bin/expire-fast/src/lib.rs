//! `expire-fast`: ends what has run out and takes its credential off every Xray server, with proof.
//!
//! `end → close → remove → prove`: first [`perennial_core::ending`] ends every active row past its end and closes its
//! credential, in the database alone; then [`perennial_core::removal`] takes closed credentials off every server, asks
//! whether they are gone, and expires the rows that are proven gone from all.
//!
//! A crash anywhere leaves work that the next pass takes up: an ended row is `expiring` until its proof, a closing
//! credential is listed until it is retired. Who pays meanwhile has a new credential and is served at once.
//!
//! Servers are those of the table `nodes`. One that is missing from the settings keeps rows `expiring` until `admin nodes
//! retire`; it is named in the warnings.

pub mod flags;
pub mod sessions;

use std::time::Duration;

use perennial_core::db::{Database, DbError};
use perennial_core::ending::{self, EndSettings, EndSummary};
use perennial_core::ports::Xray;
use perennial_core::removal::{self, AfterRemoval, Node, RemovalSummary};
use perennial_core::time::Deadline;

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Summary {
    /// What was ended.
    pub ended: EndSummary,
    /// What was removed and proven.
    pub removals: RemovalSummary,
    /// Rows waiting for the proof of their removal, after the pass.
    pub waiting_for_node: u64,
    /// Age of the oldest end that is not proven.
    pub oldest_expiring: Duration,
    /// For a person.
    pub warnings: Vec<String>,
}

/// Runs the pass. `summary` is filled as the work goes on, so that it is true also when an error ends the pass.
///
/// # Errors
/// The database's, when they are no row's fault.
pub async fn run<X: Xray, A: AfterRemoval<X>>(
    db: &Database,
    deadline: &Deadline,
    nodes: Vec<Node<X>>,
    settings: EndSettings<'_>,
    after: &A,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let nodes = known_nodes(db, nodes, &mut summary.warnings).await?;
    ending::end_due(db, deadline, settings, &mut summary.ended).await?;
    if !db.is_dry_run() {
        let removals = &mut summary.removals;
        removal::remove_closing(db, deadline, &nodes, settings.batch_rows, after, removals).await?;
    }
    let (waiting, oldest) =
        db.run_tx("expiring", async |tx| Ok((tx.count_expiring().await?, tx.oldest_expiring().await?))).await?;
    summary.waiting_for_node = waiting.unsigned_abs();
    summary.oldest_expiring = oldest.and_then(|ended| Duration::try_from(db.now() - ended).ok()).unwrap_or_default();
    Ok(())
}

/// Adds new servers to the table, and leaves out those that were retired there.
async fn known_nodes<X>(
    db: &Database,
    nodes: Vec<Node<X>>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Node<X>>, DbError> {
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
                "node {} is not in the settings: rows stay expiring until it is back or `admin nodes retire {}`",
                row.name, row.name
            )),
            (true, true) => warnings.push(format!("node {} was retired: remove it from the settings", row.name)),
            _ => {}
        }
    }
    if known.is_empty() {
        warnings.push("no node is configured: what ends stays expiring until one is".to_owned());
    }
    let retired = |node: &Node<X>| known.iter().any(|row| row.name == node.name && row.retired_at.is_some());
    Ok(nodes.into_iter().filter(|node| !retired(node)).collect())
}
