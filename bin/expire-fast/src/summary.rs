//! What a pass did.

use std::time::Duration;

use perennial_boot::{EndToProof, Notices, Report, left_at_least};
use perennial_core::ending::EndSummary;
use perennial_core::pass::Pass;
use perennial_core::removal::{NodeSummary, RemovalSummary};
use serde_json::{Value, json};

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

impl Summary {
    /// For the frame around the pass; the exit code follows from it.
    pub fn report(&self) -> Report {
        let Self { ended, removals, .. } = self;
        let nodes = &removals.nodes;
        let mut warnings = self.warnings.clone();
        warnings.extend(ended.left_at_least.then(|| left_at_least(ended.left)));
        Report {
            counts: vec![
                ("listed", ended.listed),
                ("ended", ended.ended),
                ("closed", ended.closed),
                ("removed", nodes.iter().map(|node| node.removed).sum()),
                ("proven", nodes.iter().map(|node| node.proven).sum()),
                ("expired", removals.expired),
                ("waiting_for_node", self.waiting_for_node),
                ("busy", ended.busy),
                ("failed", ended.failed),
                ("left", ended.left),
            ],
            oldest_due_seconds: ended.oldest_due.as_secs(),
            notices: Notices { written: ended.notices_written, ..Notices::default() },
            nodes: nodes.iter().map(object).collect(),
            end_to_proof: Some(EndToProof {
                p50: removals.within(50),
                p99: removals.within(99),
                oldest: self.oldest_expiring.as_secs(),
            }),
            warnings,
            cut_short: ended.cut_short || removals.cut_short,
            at_limit: ended.at_limit || removals.at_limit,
            incomplete: nodes.iter().any(|node| node.error.is_some() || node.still_there > 0),
            refused_because: ended.refused.clone(),
            unreachable_because: unreachable(nodes),
            ..Report::empty(Pass::ExpireFast)
        }
    }
}

fn object(node: &NodeSummary) -> Value {
    json!({
        "name": node.name,
        "reachable": node.reachable,
        "removed": node.removed,
        "proven": node.proven,
        "still_there": node.still_there,
        "error": node.error,
    })
}

/// That no node could be reached, if so.
fn unreachable(nodes: &[NodeSummary]) -> Option<String> {
    let all = !nodes.is_empty() && nodes.iter().all(|node| node.reachable == Some(false));
    let first = || nodes.iter().find_map(|node| node.error.clone()).unwrap_or_default();
    all.then(|| format!("no node could be reached: {}", first()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_to_its_end_is_said() {
        let left = |left_at_least| EndSummary { left: 100_000, left_at_least, ..EndSummary::default() };
        let warnings = |left_at_least| Summary { ended: left(left_at_least), ..Summary::default() }.report().warnings;
        assert_eq!(warnings(true), ["at least 100000 rows are left; counting stopped there"]);
        assert!(warnings(false).is_empty());
    }
}
