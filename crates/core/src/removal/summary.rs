//! What was removed and proven, of one server and of all.

use std::collections::BTreeMap;

/// What one server's part of the pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// False: it failed to answer, or was left alone after earlier failures; none: there was nothing to ask it for, or no
    /// time to wait for its answer.
    pub reachable: Option<bool>,
    /// Users taken off, an inbound counted each.
    pub removed: u64,
    /// Credentials proven gone.
    pub proven: u64,
    /// Credentials asked for and not proven gone.
    pub still_there: u64,
    /// Why it was given up, or some of its inbounds were.
    pub error: Option<String>,
}

/// What was removed and proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct RemovalSummary {
    /// A part a server, by name.
    pub nodes: Vec<NodeSummary>,
    /// Rows expired.
    pub expired: u64,
    /// Whole seconds from end to proof → rows.
    pub end_to_proof: BTreeMap<u64, u64>,
    /// The budget ended before the work did.
    pub cut_short: bool,
    /// On some server as many were taken off as may be, and more are closing.
    pub at_limit: bool,
    /// Groups of closing credentials that no server's settings name: what was never served has nothing to be removed.
    pub unserved_groups: Vec<String>,
}

impl RemovalSummary {
    /// The smallest number of seconds within which `percent` of the proofs came.
    #[must_use]
    pub fn within(&self, percent: u64) -> u64 {
        let rows: u64 = self.end_to_proof.values().sum();
        let wanted = (rows * percent).div_ceil(100);
        let mut seen = 0;
        for (seconds, rows) in &self.end_to_proof {
            seen += rows;
            if seen >= wanted {
                return *seconds;
            }
        }
        0
    }

    /// What these parts come to.
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut summary = Self::default();
        parts.into_iter().for_each(|part| summary.merge(part));
        summary
    }

    pub(super) fn merge(&mut self, part: Part) {
        self.add_expired(part.expired);
        self.cut_short |= part.cut_short;
        self.at_limit |= part.at_limit;
        self.nodes.push(part.node);
    }

    /// Adds rows that were expired: whole seconds from end to proof → rows.
    pub(super) fn add_expired(&mut self, expired: BTreeMap<u64, u64>) {
        for (seconds, rows) in expired {
            self.expired += rows;
            *self.end_to_proof.entry(seconds).or_default() += rows;
        }
    }
}

/// One server's part, also while it is under way.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What was done there.
    pub node: NodeSummary,
    /// Whole seconds from end to proof → rows.
    pub(super) expired: BTreeMap<u64, u64>,
    pub(super) cut_short: bool,
    pub(super) at_limit: bool,
}
