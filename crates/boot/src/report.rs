//! What a pass hands to `boot` when it ends, and the exit code that follows from it.

use perennial_core::money::Kopecks;
use perennial_core::pass::Pass;
use serde::Serialize;

use crate::exit::Exit;

/// Counts that make a pass partial: it is done, but these rows are not.
const FAILED_COUNTS: [&str; 2] = ["failed", "parked"];

/// The counts a pass shows, in the order of the summary; a test holds them against the documented interface.
const fn counts(pass: Pass) -> &'static [&'static str] {
    match pass {
        Pass::Renew => &["listed", "renewed", "short", "parked", "busy", "failed", "left"],
        Pass::NotifyTrials => &["listed", "reminded", "superseded", "ended", "busy", "failed", "left"],
        Pass::ExpireFast => {
            &["listed", "ended", "closed", "removed", "proven", "expired", "waiting_for_node", "busy", "failed", "left"]
        }
        // Its counts stand with each node.
        Pass::ReconcileXray => &[],
    }
}

/// Notices by what became of them in this pass, and those still waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // The names of the interface.
pub struct Notices {
    pub written: u64,
    pub sent: u64,
    pub dropped: u64,
    pub dead: u64,
    pub waiting: u64,
}

/// Seconds from a subscription's end to the proof that it is off every node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EndToProof {
    /// Half of this pass's proofs took at most this long.
    pub p50: u64,
    /// 99 of 100 did.
    pub p99: u64,
    /// Age of the oldest end not proven yet.
    pub oldest: u64,
}

/// The warning of a pass that left so many rows that it stopped counting them.
#[must_use]
pub fn left_at_least(rows: u64) -> String {
    format!("at least {rows} rows are left; counting stopped there")
}

/// Outcome of a pass that came to its end, early or not.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Report {
    /// Rows by outcome, in the order they are shown; `failed` and `parked` make the pass partial.
    pub counts: Vec<(&'static str, u64)>,
    /// Charged by this pass; none for passes that charge nobody.
    pub charged: Option<Kopecks>,
    /// Age in seconds of the oldest row that was due and is left.
    pub oldest_due_seconds: u64,
    /// Notices.
    pub notices: Notices,
    /// An object a node, as the interface names its members.
    pub nodes: Vec<serde_json::Value>,
    /// `expire-fast` only.
    pub end_to_proof: Option<EndToProof>,
    /// What went on degraded, for a person.
    pub warnings: Vec<String>,
    /// The deadline came before the work was done: exit code 75.
    pub cut_short: bool,
    /// A limited pass has had all its effects, and work is left: exit code 75, too.
    pub at_limit: bool,
    /// Something other than a row failed, such as one node of several: exit code 3.
    pub incomplete: bool,
    /// The brake that refused, in words: exit code 4.
    pub refused_because: Option<String>,
    /// No node could be reached, in words: exit code 69.
    pub unreachable_because: Option<String>,
}

impl Report {
    /// The report of `pass` before it has done anything: all its counts, at zero.
    pub fn empty(pass: Pass) -> Self {
        Self {
            counts: counts(pass).iter().map(|name| (*name, 0)).collect(),
            charged: (pass == Pass::Renew).then_some(Kopecks::ZERO),
            ..Self::default()
        }
    }

    /// A count by name; 0 when there is none of that name.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.counts.iter().find(|(counted, _)| *counted == name).map_or(0, |(_, rows)| *rows)
    }

    /// What needs a person outweighs what does not: a brake, unreachable nodes, failed rows, and last an early end,
    /// which the next pass makes good by itself.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.refused_because.is_some() {
            Exit::Refused
        } else if self.unreachable_because.is_some() {
            Exit::Unavailable
        } else if self.incomplete || FAILED_COUNTS.iter().any(|name| self.count(name) > 0) {
            Exit::Partial
        } else if self.cut_short || self.at_limit {
            Exit::Stopped
        } else {
            Exit::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_from_what_weighs_most() {
        let some = || Some("why".to_owned());
        let report = Report::default;
        let failed = |name| Report { counts: vec![("listed", 3), (name, 1)], cut_short: true, ..report() };
        for (report, exit) in [
            (report(), Exit::Done),
            (Report { counts: vec![("listed", 3), ("left", 3), ("short", 3)], ..report() }, Exit::Done),
            (Report { cut_short: true, ..report() }, Exit::Stopped),
            (Report { at_limit: true, ..report() }, Exit::Stopped),
            (Report { at_limit: true, ..failed("failed") }, Exit::Partial),
            (failed("failed"), Exit::Partial),
            (failed("parked"), Exit::Partial),
            (Report { incomplete: true, cut_short: true, ..report() }, Exit::Partial),
            (Report { unreachable_because: some(), ..failed("failed") }, Exit::Unavailable),
            (Report { refused_because: some(), unreachable_because: some(), ..failed("failed") }, Exit::Refused),
        ] {
            assert_eq!(report.exit(), exit, "{report:?}");
        }
    }
}
