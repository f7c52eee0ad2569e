//! What a pass did, node by node.

use perennial_boot::Report;
use perennial_core::pass::Pass;
use serde_json::{Value, json};

use crate::plan_file::PlanFile;

/// What a pass did on one node. An inbound counts each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// It answered, if only to refuse.
    pub reachable: bool,
    /// Users listed.
    pub listed: u64,
    /// Users who should be there.
    pub entitled: u64,
    /// Of these, users who were not.
    pub missing: u64,
    /// Users taken off, seen to be gone.
    pub removed: u64,
    /// Users being watched.
    pub quarantined: u64,
    /// Users that were there at first contact and are never removed.
    pub adopted: u64,
    /// Users added, seen to be there.
    pub restored: u64,
    /// Users taken off and added anew, seen to be there.
    pub replaced: u64,
    /// Users under a protected prefix.
    pub protected: u64,
    /// Users of others.
    pub foreign: u64,
    /// Users with whose UUID somebody else is listed, too.
    pub shared_uuid: u64,
    /// Users that were not as they should be when asked for afterwards.
    pub failed: u64,
    /// Users that were to be changed and were left to the next pass, by the limit of this one.
    pub left: u64,
    /// What the brakes say; none: nothing.
    pub refused_because: Option<String>,
    /// Why the node was given up.
    pub error: Option<String>,
    /// The time of the pass ended before the work on it did.
    pub cut_short: bool,
}

impl NodeSummary {
    /// Users changed, and those of whom nobody knows.
    #[must_use]
    pub fn effects(&self) -> u64 {
        self.restored + self.replaced + self.removed + self.failed
    }

    /// The object of the interface.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "reachable": self.reachable,
            "listed": self.listed,
            "entitled": self.entitled,
            "missing": self.missing,
            "removed": self.removed,
            "quarantined": self.quarantined,
            "adopted": self.adopted,
            "restored": self.restored,
            "replaced": self.replaced,
            "protected": self.protected,
            "foreign": self.foreign,
            "shared_uuid": self.shared_uuid,
            "failed": self.failed,
            "left": self.left,
            "refused_because": self.refused_because,
            "error": self.error,
        })
    }
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Summary {
    /// A part a node.
    pub nodes: Vec<NodeSummary>,
    /// Why a plan was not applied.
    pub refused: Option<String>,
    /// The plan that was asked for.
    pub plan: Option<PlanFile>,
    /// For a person.
    pub warnings: Vec<String>,
}

/// What a person should know of a node: the server forgets a UUID with the first user of it that is removed.
fn shared_uuids(node: &NodeSummary) -> Option<String> {
    let NodeSummary { name, shared_uuid: users, .. } = node;
    let warning = || {
        format!(
            "on node {name} {users} users share a UUID with another one: whoever removes one of them cuts the other"
        )
    };
    (*users > 0).then(warning)
}

impl Summary {
    /// For the frame around the pass; the exit code follows from it.
    pub fn report(&self) -> Report {
        Report {
            nodes: self.nodes.iter().map(NodeSummary::json).collect(),
            warnings: self.warnings.iter().cloned().chain(self.nodes.iter().filter_map(shared_uuids)).collect(),
            cut_short: self.is_cut_short(),
            at_limit: self.nodes.iter().any(|node| node.left > 0),
            incomplete: self.is_incomplete(),
            refused_because: self.refused_because(),
            unreachable_because: self.unreachable_because(),
            ..Report::empty(Pass::ReconcileXray)
        }
    }

    /// Why something was refused: the plan, or by the brakes of a node.
    #[must_use]
    pub fn refused_because(&self) -> Option<String> {
        if let Some(refused) = &self.refused {
            return Some(refused.clone());
        }
        // Whoever asked for a plan asked for no removal.
        let braked: Vec<String> = self
            .nodes
            .iter()
            .filter(|_| self.plan.is_none())
            .filter_map(|node| Some(format!("node {}: {}", node.name, node.refused_because.as_deref()?)))
            .collect();
        (!braked.is_empty()).then(|| braked.join("; "))
    }

    /// That no node could be reached, if so.
    #[must_use]
    pub fn unreachable_because(&self) -> Option<String> {
        let all = !self.nodes.is_empty() && self.nodes.iter().all(|node| !node.reachable && node.error.is_some());
        let first = || self.nodes.iter().find_map(|node| node.error.clone()).unwrap_or_default();
        all.then(|| format!("no node could be reached: {}", first()))
    }

    /// Some node was given up, or some user is not as it should be.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.nodes.iter().any(|node| node.error.is_some() || node.failed > 0)
    }

    /// The time of the pass ended before the work did.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.nodes.iter().any(|node| node.cut_short)
    }
}
