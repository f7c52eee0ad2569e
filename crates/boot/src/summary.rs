//! The summary on standard output, written on every way out: for people, or one JSON object on one line.

mod text;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use perennial_core::ids::RunId;
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::format_description::well_known::Rfc3339;

use crate::exit::Exit;
use crate::mode::Mode;
use crate::options::Output;
use crate::plan::Kept;
use crate::report::{EndToProof, Notices, Report};

/// Everything the summary says.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) pass: Pass,
    pub(crate) run_id: RunId,
    pub(crate) dry_run: bool,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) started_at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) exit: Exit,
    pub(crate) report: &'a Report,
    pub(crate) error: Option<&'a str>,
    pub(crate) plan: Option<&'a Kept>,
}

impl Summary<'_> {
    /// Writes it to standard output.
    ///
    /// # Errors
    /// Standard output is closed or full. The pass is what it was: say so and go on.
    pub(crate) fn print(&self, output: Output) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match output {
            Output::Json => writeln!(out, "{}", self.json_line()),
            Output::Text => out.write_all(self.text(out.is_terminal()).as_bytes()),
        }?;
        out.flush()
    }

    /// The object of the interface, members in its order.
    pub(crate) fn json_line(&self) -> String {
        // Strings, numbers and maps with string keys: nothing in it can fail to serialize.
        serde_json::to_string(&self.object()).unwrap_or_default()
    }

    /// The same for the `runs` row.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::to_value(self.object()).unwrap_or_default()
    }

    /// In a line, for the log.
    pub(crate) fn counts(&self) -> String {
        let counts: Vec<String> = self.report.counts.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
        counts.join(", ")
    }

    fn object(&self) -> Object<'_> {
        Object {
            pass: self.pass.name(),
            run_id: self.run_id.to_string(),
            version: crate::VERSION,
            dry_run: self.dry_run,
            mode: self.mode,
            limit: self.limit,
            // Years from 0 to 9999: the database gives no others.
            started_at: self.started_at.truncate_to_microsecond().format(&Rfc3339).unwrap_or_default(),
            seconds: Duration::from_millis(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)).as_secs_f64(),
            outcome: self.exit.outcome(),
            exit_code: self.exit.code(),
            counts: Counts(&self.report.counts),
            charged_kopecks: self.report.charged.map_or(0, |charged| charged.0),
            oldest_due_seconds: self.report.oldest_due_seconds,
            end_to_proof_seconds: self.report.end_to_proof,
            notices: self.report.notices,
            nodes: &self.report.nodes,
            plan: self.plan.map(|plan| plan.lines.as_slice()),
            plan_omitted: self.plan.map(|plan| plan.omitted),
            warnings: &self.report.warnings,
            error: self.error,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    pass: &'static str,
    run_id: String,
    version: &'static str,
    dry_run: bool,
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    started_at: String,
    seconds: f64,
    outcome: &'static str,
    exit_code: u8,
    counts: Counts<'a>,
    charged_kopecks: i64,
    oldest_due_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_proof_seconds: Option<EndToProof>,
    notices: Notices,
    nodes: &'a [serde_json::Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_omitted: Option<u64>,
    warnings: &'a [String],
    error: Option<&'a str>,
}

struct Counts<'a>(&'a [(&'static str, u64)]);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, rows) in self.0 {
            map.serialize_entry(name, rows)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
