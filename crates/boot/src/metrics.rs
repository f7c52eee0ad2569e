//! Metrics of one pass for node_exporter's textfile collector.
//!
//! Written by hand: these are gauges known by name, and the last success of an earlier run has to be read back from the
//! file. A metrics registry with its Prometheus exporter does neither, and would be a dozen more crates.

use std::io;
use std::path::Path;
use std::time::Duration;

use perennial_core::time::Timestamp;

use crate::exit::Exit;
use crate::report::Report;

const LAST_SUCCESS: &str = "perennial_pass_last_success_timestamp_seconds";

/// What is known when a pass has ended.
#[derive(Debug)]
pub(crate) struct Metrics<'a> {
    pub(crate) pass: &'static str,
    pub(crate) exit: Exit,
    pub(crate) took: Duration,
    pub(crate) report: &'a Report,
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
    /// Writes the file: beside it first, then renamed, so that a reader sees the old or the new one whole.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn write(&self, file: &Path) -> io::Result<Before> {
        let old = match std::fs::read_to_string(file) {
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let name = file.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        // Not *.prom, which the collector would read; copies of a pass write at the same time, each its own.
        let beside = file.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let written = std::fs::write(&beside, self.render(&old)).and_then(|()| std::fs::rename(&beside, file));
        if written.is_err() {
            // The error that matters is the one above.
            drop(std::fs::remove_file(&beside));
        }
        written.map(|()| Before { other_pass: other_pass(&old, self.pass) })
    }

    /// The text of the file, given that of the one it replaces.
    fn render(&self, old: &str) -> String {
        let Self { pass, report, .. } = self;
        let mut page = Page { text: String::new(), pass };
        let last_success =
            self.succeeded_at.map(|at| at.unix_timestamp().to_string()).or_else(|| last_success(old, pass));
        page.gauge(LAST_SUCCESS, "When the pass last succeeded, Unix time of the database", last_success);
        let took = format!("{}.{:03}", self.took.as_secs(), self.took.subsec_millis());
        page.gauge("perennial_pass_duration_seconds", "How long the last pass took", Some(took));
        page.gauge("perennial_pass_exit_code", "Exit code of the last pass", Some(self.exit.to_string()));

        let rows: Vec<_> = report.counts.iter().filter(|(name, _)| *name != "left").copied().collect();
        page.labelled("perennial_pass_rows", "Rows of the last pass by outcome", "outcome", &rows);
        page.gauge("perennial_pass_left", "Rows due that the last pass left", Some(report.count("left").to_string()));
        let oldest = report.oldest_due_seconds.to_string();
        page.gauge("perennial_pass_oldest_due_seconds", "Age of the oldest row due and left", Some(oldest));
        self.render_notices(&mut page);

        if let Some(proof) = report.end_to_proof {
            let quantiles = [("0.5", proof.p50), ("0.99", proof.p99), ("oldest", proof.oldest)];
            let help = "Seconds from the end of a right to the proof of its removal";
            page.labelled("perennial_end_to_proof_seconds", help, "quantile", &quantiles);
        }
        let books = &report.books;
        page.plain("perennial_wallets_kopecks", "gauge", "All money in wallets", books.wallets);
        page.plain("perennial_revenue_kopecks_total", "counter", "All charges less refunds", books.revenue);
        let parked = books.parked_rows.map(|rows| rows.to_string());
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
    fn plain(&mut self, name: &str, kind: &str, help: &str, value: Option<perennial_core::money::Kopecks>) {
        if let Some(value) = value {
            self.head(name, kind, help);
            self.line(format_args!("{name} {value}"));
        }
    }

    /// A value for each value of `label`. The label `pass` goes before it: several passes' files are read together, and
    /// the same series in two of them would make the collector refuse both.
    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        if values.is_empty() {
            return;
        }
        self.head(name, "gauge", help);
        let pass = self.pass;
        for (value, number) in values {
            self.line(format_args!("{name}{{pass=\"{pass}\",{label}=\"{value}\"}} {number}"));
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
