//! Metrics of one pass for node_exporter's textfile collector.
//!
//! Written by hand: these are gauges known by name, and the last success of an earlier run has to be read back from the
//! file. A metrics registry with its Prometheus exporter does neither, and would be a dozen more crates.

mod books;

use std::io;
use std::path::Path;
use std::time::Duration;

use perennial_core::money::Kopecks;
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;

use crate::exit::Exit;
use crate::mode::Mode;
use crate::put_whole::put_whole;
use crate::report::Report;
pub(crate) use books::Books;

/// Counts in a node's part of the summary that tell how it differed from the database.
const DRIFT: [&str; 9] =
    ["missing", "restored", "replaced", "removed", "quarantined", "adopted", "foreign", "shared_uuid", "failed"];
/// Counts there that tell how many there are.
const USERS: [&str; 3] = ["listed", "entitled", "protected"];

const LAST_SUCCESS: &str = "perennial_pass_last_success_timestamp_seconds";

/// What is known when a pass has ended.
#[derive(Debug)]
pub(crate) struct Metrics<'a> {
    pub(crate) pass: Pass,
    pub(crate) mode: Mode,
    pub(crate) exit: Exit,
    pub(crate) took: Duration,
    pub(crate) report: &'a Report,
    pub(crate) books: Books,
    /// When it succeeded, by the database's clock; none: it did not, and the time of the last success is kept.
    pub(crate) succeeded_at: Option<Timestamp>,
}

/// What a file held before it was written over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// Another pass whose metrics stood there and are gone now: two passes share one file.
    pub(crate) other_pass: Option<String>,
}

impl Metrics<'_> {
    /// Writes the file, in the place of the one before it.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn write(&self, file: &Path) -> io::Result<Before> {
        let old = match std::fs::read_to_string(file) {
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        put_whole(file, |beside| std::fs::write(beside, self.render(&old)))?;
        Ok(Before { other_pass: other_pass(&old, self.pass.name()) })
    }

    /// The text of the file, given that of the one it replaces.
    fn render(&self, old: &str) -> String {
        let (pass, report) = (self.pass.name(), self.report);
        let mut page = Page { text: String::new(), pass };
        let last_success =
            self.succeeded_at.map(|at| at.unix_timestamp().to_string()).or_else(|| last_success(old, pass));
        page.gauge(LAST_SUCCESS, "When the pass last succeeded, Unix time of the database", last_success);
        let took = format!("{}.{:03}", self.took.as_secs(), self.took.subsec_millis());
        page.gauge("perennial_pass_duration_seconds", "How long the last pass took", Some(took));
        page.gauge("perennial_pass_exit_code", "Exit code of the last pass", Some(self.exit.to_string()));

        let modes = Mode::ALL.map(|mode| (mode.name(), u64::from(mode == self.mode)));
        page.labelled("perennial_pass_mode", "1 for the mode of the last pass", "mode", &modes);

        let rows: Vec<_> = report.counts.iter().filter(|(name, _)| *name != "left").copied().collect();
        page.labelled("perennial_pass_rows", "Rows of the last pass by outcome", "outcome", &rows);
        page.gauge("perennial_pass_left", "Rows due that the last pass left", Some(report.count("left").to_string()));
        let oldest = report.oldest_due_seconds.to_string();
        page.gauge("perennial_pass_oldest_due_seconds", "Age of the oldest row due and left", Some(oldest));
        self.render_notices(&mut page);

        if let Some(proof) = report.end_to_proof {
            let help = "Seconds from the end of a right to the proof of its removal, of the last pass";
            page.quantiles("perennial_end_to_proof_seconds", help, &[("0.5", proof.p50), ("0.99", proof.p99)]);
            let oldest = Some(proof.oldest.to_string());
            page.gauge(
                "perennial_unproven_oldest_seconds",
                "Age of the oldest end whose removal is not proven",
                oldest,
            );
        }
        self.render_nodes(&mut page);
        if let Some(totals) = self.books.totals {
            page.plain("perennial_wallets_kopecks", "gauge", "All money in wallets", totals.wallets);
            page.plain("perennial_revenue_kopecks_total", "counter", "All money ever charged", totals.charged);
            let help = "All money ever charged and given back";
            page.plain("perennial_refunds_kopecks_total", "counter", help, totals.refunded);
        }
        let parked = self.books.parked_rows.map(|rows| rows.to_string());
        page.gauge("perennial_parked_rows", "Rows parked for the pass", parked);
        page.text
    }

    fn render_notices(&self, page: &mut Page<'_>) {
        let notices = &self.report.notices;
        let states = [
            ("written", notices.written),
            ("sent", notices.sent),
            ("dropped", notices.dropped),
            ("dead", notices.dead),
            ("waiting", notices.waiting),
        ];
        page.labelled("perennial_notices", "Notices of the last pass by state", "state", &states);
    }

    /// What the last pass met on each server. Only `reconcile-xray` compares them with the database.
    fn render_nodes(&self, page: &mut Page<'_>) {
        let nodes: Vec<Node<'_>> = self.report.nodes.iter().filter_map(Node::of).collect();
        // Nothing is said of a server that there was no reason to ask.
        let up = |node: &Node<'_>| node.reachable().map(|up| (None, u64::from(up))).into_iter().collect();
        page.by_node("perennial_node_up", "Whether the server answered the last pass", &nodes, up);
        if self.pass == Pass::ReconcileXray {
            let users = |node: &Node<'_>| node.counts(&USERS);
            page.by_node("perennial_node_users", "Users of the server in the last pass", &nodes, users);
            let drift = |node: &Node<'_>| node.counts(&DRIFT);
            page.by_node("perennial_node_drift", "Differences between server and database, by kind", &nodes, drift);
            let refused = |node: &Node<'_>| vec![(None, u64::from(node.is_braked()))];
            page.by_node("perennial_node_refused", "Whether a brake stopped removals on the server", &nodes, refused);
        }
    }
}

/// A server's part of the summary.
struct Node<'a> {
    name: &'a str,
    part: &'a serde_json::Value,
}

impl<'a> Node<'a> {
    fn of(part: &'a serde_json::Value) -> Option<Self> {
        Some(Self { name: part["name"].as_str()?, part })
    }

    fn reachable(&self) -> Option<bool> {
        self.part["reachable"].as_bool()
    }

    fn is_braked(&self) -> bool {
        self.part["refused_because"].is_string()
    }

    fn counts(&self, kinds: &[&'static str]) -> Vec<(Option<&'static str>, u64)> {
        kinds.iter().filter_map(|kind| Some((Some(*kind), self.part[*kind].as_u64()?))).collect()
    }
}

struct Page<'a> {
    text: String,
    pass: &'a str,
}

impl Page<'_> {
    /// One value with the label `pass`; nothing at all where there is none.
    fn gauge(&mut self, name: &str, help: &str, value: Option<String>) {
        if let Some(value) = value {
            self.head(name, "gauge", help);
            let pass = self.pass;
            self.line(format_args!("{name}{{pass=\"{pass}\"}} {value}"));
        }
    }

    /// One value without labels.
    fn plain(&mut self, name: &str, kind: &str, help: &str, value: Kopecks) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A value for each value of `label`. The label `pass` goes before it: several passes' files are read together, and
    /// the same series in two of them would make the collector refuse both.
    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        if !values.is_empty() {
            self.head(name, "gauge", help);
            self.values(name, label, values);
        }
    }

    /// A distribution by quantile; nobody needs its sum and count.
    fn quantiles(&mut self, name: &str, help: &str, values: &[(&str, u64)]) {
        self.head(name, "summary", help);
        self.values(name, "quantile", values);
    }

    fn values(&mut self, name: &str, label: &str, values: &[(&str, u64)]) {
        let pass = self.pass;
        for (value, number) in values {
            self.line(format_args!("{name}{{pass=\"{pass}\",{label}=\"{value}\"}} {number}"));
        }
    }

    /// The values of each server, with the label `kind` where they have one.
    fn by_node<'n>(
        &mut self,
        name: &str,
        help: &str,
        nodes: &[Node<'n>],
        values: impl Fn(&Node<'n>) -> Vec<(Option<&'static str>, u64)>,
    ) {
        if nodes.is_empty() {
            return;
        }
        self.head(name, "gauge", help);
        let pass = self.pass;
        for node in nodes {
            let server = node.name;
            for (kind, number) in values(node) {
                let kind = kind.map(|kind| format!(",kind=\"{kind}\"")).unwrap_or_default();
                self.line(format_args!("{name}{{pass=\"{pass}\",node=\"{server}\"{kind}}} {number}"));
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.push_str(&format!("{line}\n"));
    }
}

fn last_success(old: &str, pass: &str) -> Option<String> {
    let start = format!("{LAST_SUCCESS}{{pass=\"{pass}\"}} ");
    let value = old.lines().find_map(|line| line.strip_prefix(&start))?;
    // Only a number goes back into the file, whatever stood there.
    value.parse::<u64>().ok().map(|seconds| seconds.to_string())
}

fn other_pass(old: &str, pass: &str) -> Option<String> {
    let passes = old.lines().filter_map(|line| line.split_once("{pass=\"")?.1.split_once('"'));
    passes.map(|(other, _)| other).find(|other| *other != pass).map(str::to_owned)
}

#[cfg(test)]
mod tests;
