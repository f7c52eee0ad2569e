//! `reconcile-xray`: compares every Xray server with the database and repairs both kinds of difference.
//!
//! **What counts as different** is the total case list of the access protocol ([`perennial_core::reconcile::decide`]):
//! the credential's own state decides. Missing and entitled: added. Closed: removed at once. Known to nobody under our
//! prefix, or open and used by no row: watched ([`quarantine`]), asked for again, removed. In use with a wrong UUID or
//! flow: replaced. Under another prefix, a protected one, or on an inbound that is not in the settings: never touched.
//!
//! **The order of effects**, each node by itself and all at once: list every inbound, then read the database · keep the
//! quarantine · look at the brakes ([`brakes`]) · add, replace, remove, each asked for again in the database just before
//! and looked at on the server just after; what was seen is then written to the audit log. An answer to a removal is
//! believed as little as one to an addition.
//!
//! **What a crash leaves**, at any point: a user added and not asked for again (closed meanwhile: any pass removes it) ·
//! a user taken off to be put there anew (missing: the next pass adds it) · a credential retired and still there (any
//! pass removes it at once) · an effect without its audit row. One pass over both sides restores all of it.
//!
//! What has run out is ended and removed by `expire-fast`; here a user past its end stays.

mod acting;
pub mod brakes;
mod calls;
mod examined;
pub mod flags;
mod hash;
mod limited;
pub mod plan_file;
mod planning;
mod putting;
pub mod quarantine;
mod summary;
mod taking;
mod watching;
mod worker;

use std::time::Duration;

use futures_util::lock::Mutex;
use futures_util::stream::{FuturesUnordered, StreamExt};
use perennial_core::db::{Database, DbError, NodeRow};
use perennial_core::node::{Node, Trouble};
use perennial_core::ports::{Bounded, Xray};
use perennial_core::reconcile::Owners;
use perennial_core::time::Deadline;

use brakes::Limits;
use examined::Examined;
use plan_file::{Item, PlanFile};
pub use summary::{NodeSummary, Summary};
use worker::Worker;

/// What is done about users that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They are added.
    Restore,
    /// They are counted.
    Report,
}

/// What the pass is to effect. In a dry run nothing, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// All that is to be done.
    All,
    /// A plan of it, and nothing else.
    Plan,
    /// What is to be done and stands in this plan.
    Planned(PlanFile),
}

/// Settings of the pass.
pub struct Settings<'a> {
    /// Whose an e-mail is.
    pub owners: Owners,
    /// What is done about users that are missing.
    pub absent: Absent,
    /// How long an unknown user is watched.
    pub orphan_grace: Duration,
    /// The brakes.
    pub limits: Limits,
    /// Users a transaction.
    pub batch_rows: usize,
    /// What the pass is to effect.
    pub effect: Effect,
    /// Users changed at most, on all nodes together; none: all that is to be done. A plan is made whole.
    pub limit: Option<u64>,
    /// In a dry run, told of everything that would be done: node, and what.
    pub on_item: &'a dyn Fn(&str, &Item),
    /// Told of each node when it is done with.
    pub on_node: &'a dyn Fn(&NodeSummary),
}

/// Runs the pass. `summary` is filled as the work goes on, so that it is true also when an error ends the pass.
///
/// # Errors
/// The database's. A node's trouble is in its part of the summary.
pub async fn run<X: Xray>(
    db: &Database,
    deadline: &Deadline,
    nodes: &[Node<X>],
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let known = known_nodes(db, nodes, settings, &mut summary.warnings).await?;
    let is_retired = |name: &str| known.iter().any(|row| row.name == name && row.retired_at.is_some());
    let nodes: Vec<Node<Bounded<'_, X>>> = nodes
        .iter()
        .filter(|node| !is_retired(&node.name))
        .map(|node| Node {
            name: node.name.clone(),
            inbounds: node.inbounds.clone(),
            xray: Bounded { xray: &node.xray, node: &node.name, deadline },
        })
        .collect();
    let retiring = Mutex::new(());
    let workers = || nodes.iter().map(|node| Worker::new(db, deadline, settings, node, &retiring));
    let outcome = match &settings.effect {
        Effect::All if db.is_dry_run() => planning::show(workers(), settings, summary).await,
        Effect::All if settings.limit.is_some() => limited::run(workers(), settings, summary).await,
        Effect::All => each_by_itself(workers(), settings, summary).await,
        Effect::Plan => planning::make(db, workers(), settings, summary).await,
        Effect::Planned(plan) => planning::apply(db, plan, workers(), settings, summary).await,
    };
    // They came as they ended.
    summary.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    outcome
}

/// Adds new nodes to the table; without effect also those stay unknown. Answers all that the table has.
async fn known_nodes<X>(
    db: &Database,
    nodes: &[Node<X>],
    settings: &Settings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<NodeRow>, DbError> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let known = db
        .run_tx("known_nodes", async |tx| {
            if settings.effect != Effect::Plan {
                tx.add_nodes(&names).await?;
            }
            tx.list_nodes().await
        })
        .await?;
    if nodes.is_empty() {
        warnings.push("no node is configured ([[node]] in the settings): there is nothing to compare".to_owned());
    }
    for row in known.iter().filter(|row| row.retired_at.is_some() && names.contains(&row.name.as_str())) {
        warnings.push(format!("node {} was retired and is left alone: remove it from the settings", row.name));
    }
    Ok(known)
}

/// All nodes at once; none waits for another.
async fn each_by_itself<'a, X: Xray + 'a>(
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let work = async |mut worker: Worker<'a, X>| {
        let outcome = match worker.examine().await {
            Ok(examined) => worker.act(&examined).await,
            Err(trouble) => Err(trouble),
        };
        (worker, outcome)
    };
    let mut parts: FuturesUnordered<_> = workers.map(work).collect();
    let mut ends = Ends::default();
    while let Some((worker, outcome)) = parts.next().await {
        ends.take(worker, outcome, settings, summary);
    }
    ends.first_error()
}

/// All nodes are looked at before anything is done on any of them.
async fn examine_all<'a, X: Xray + 'a>(
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<Vec<(Worker<'a, X>, Examined)>, DbError> {
    let look = async |mut worker: Worker<'a, X>| {
        let examined = worker.examine().await;
        (worker, examined)
    };
    let mut parts: FuturesUnordered<_> = workers.map(look).collect();
    let mut ends = Ends::default();
    let mut looked_at = Vec::new();
    while let Some((worker, examined)) = parts.next().await {
        match examined {
            Ok(examined) => looked_at.push((worker, examined)),
            Err(trouble) => ends.take(worker, Err(trouble), settings, summary),
        }
    }
    looked_at.sort_by(|(one, _), (other, _)| one.node.name.cmp(&other.node.name));
    ends.first_error().map(|()| looked_at)
}

/// Gathers how the nodes' parts ended; the first error is given when all have.
#[derive(Default)]
struct Ends(Option<DbError>);

impl Ends {
    fn take<X: Xray>(
        &mut self,
        mut worker: Worker<'_, X>,
        outcome: Result<(), Trouble>,
        settings: &Settings<'_>,
        summary: &mut Summary,
    ) {
        if let Err(error) = worker.settle(outcome) {
            self.0.get_or_insert(error);
        }
        (settings.on_node)(&worker.summary);
        summary.nodes.push(worker.summary);
    }

    fn first_error(self) -> Result<(), DbError> {
        self.0.map_or(Ok(()), Err)
    }
}
