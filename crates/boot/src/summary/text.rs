//! The summary for people. Rubles stand here and nowhere else in this crate.

use comfy_table::{CellAlignment, Table, presets};

use super::Summary;
use crate::exit::Exit;
use crate::mode::Mode;

impl Summary<'_> {
    /// A headline, then a table on a terminal or aligned lines elsewhere, then warnings and error.
    pub(crate) fn text(&self, is_terminal: bool) -> String {
        // What failed before it did anything has nothing to count; the line that matters is the error.
        let is_empty = self.error.is_some() && self.report.counts.iter().all(|(_, rows)| *rows == 0);
        let rows = if is_empty { Vec::new() } else { self.rows() };
        let mut text = format!("{}\n", self.headline());
        if !rows.is_empty() {
            text.push_str(&if is_terminal { table(&rows) } else { aligned(&rows) });
        }
        for warning in &self.report.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        if let Some(error) = self.error {
            text.push_str(&format!("error: {error}\n"));
        }
        text
    }

    fn headline(&self) -> String {
        let how = match (self.mode, self.limit) {
            _ if self.dry_run => " (dry run, nothing was changed)".to_owned(),
            (Mode::Observe, _) => " (observing, nothing was changed)".to_owned(),
            (Mode::Limited, Some(limit)) => format!(" (limited to {limit} effects)"),
            (Mode::Limited | Mode::Full, _) => String::new(),
        };
        let seconds = format!("{}.{:03} s", self.took.as_secs(), self.took.subsec_millis());
        let said = match self.exit {
            Exit::Done => "done",
            Exit::Partial => "done, but not everything succeeded",
            Exit::Refused => "refused at a brake; a person must look",
            Exit::Stopped | Exit::Signalled(_) => "stopped early; the next pass goes on",
            Exit::Unavailable => "failed, not reachable",
            Exit::Configuration => "failed, the configuration is wrong",
            Exit::Unforeseen | Exit::Usage | Exit::Panicked => "failed",
        };
        format!("{}{how}: {said} after {seconds} (exit code {})", self.pass, self.exit)
    }

    fn rows(&self) -> Vec<(String, String)> {
        let report = self.report;
        let mut rows: Vec<(String, String)> =
            report.counts.iter().map(|(name, rows)| (name.replace('_', " "), rows.to_string())).collect();
        if let Some(charged) = report.charged {
            rows.push(("charged".to_owned(), format!("{} RUB", charged.in_rubles())));
        }
        if report.oldest_due_seconds > 0 {
            rows.push(("oldest due".to_owned(), format!("{} s", report.oldest_due_seconds)));
        }
        if let Some(proof) = report.end_to_proof {
            let said = format!("p50 {} s, p99 {} s, oldest {} s", proof.p50, proof.p99, proof.oldest);
            rows.push(("end to proof".to_owned(), said));
        }
        let notices = &report.notices;
        for (name, count) in [
            ("notices written", notices.written),
            ("notices sent", notices.sent),
            ("notices dropped", notices.dropped),
            ("notices dead", notices.dead),
            ("notices waiting", notices.waiting),
        ] {
            if count > 0 {
                rows.push((name.to_owned(), count.to_string()));
            }
        }
        rows.extend(report.nodes.iter().map(node));
        rows
    }
}

/// `node NAME` and its other members, those that are zero left out. A server of which nothing is left was not asked.
fn node(node: &serde_json::Value) -> (String, String) {
    let name = node.get("name").and_then(serde_json::Value::as_str).unwrap_or("?");
    let members = node.as_object().into_iter().flatten();
    let said: Vec<String> = members
        .filter(|(key, value)| *key != "name" && !value.is_null() && value.as_u64() != Some(0))
        .map(|(key, value)| match value {
            serde_json::Value::String(text) => format!("{key} {text}"),
            other => format!("{key} {other}"),
        })
        .collect();
    let said = if said.is_empty() { "not asked".to_owned() } else { said.join(", ") };
    (format!("node {name}"), said)
}

fn table(rows: &[(String, String)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

fn aligned(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect()
}
