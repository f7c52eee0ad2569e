//! Answers: for people, or one JSON object on one line.

use std::io::{self, Write};

use perennial_boot::{Exit, Output};
use perennial_core::ids::VpnUuid;
use perennial_core::money::Kopecks;
use perennial_core::time::Timestamp;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

/// What a command has to say.
#[derive(Debug, Clone)]
#[must_use]
pub struct Answer {
    /// For people; lines, the last one ended, too. Empty: said already.
    pub text: String,
    /// The same as an object.
    pub json: Value,
    /// How the program ends.
    pub exit: Exit,
}

impl Answer {
    /// A command that did what it was told.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, exit: Exit::Done }
    }

    /// Writes it to standard output; `command` goes into the object.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn print(&self, command: &str, form: Output) -> io::Result<()> {
        match form {
            Output::Text => say(&self.text),
            Output::Json => say(&line(command, &self.json)),
        }
    }
}

/// One object on one line, with the command's name in it.
pub(crate) fn line(command: &str, object: &Value) -> String {
    let mut whole = serde_json::Map::new();
    whole.insert("command".to_owned(), command.into());
    if let Value::Object(members) = object {
        whole.extend(members.clone());
    }
    format!("{}\n", Value::Object(whole))
}

/// Writes to standard output at once. A reader that has gone has heard enough (`perennial explain 1 | head`).
///
/// # Errors
/// Standard output is full.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `149.00 RUB`.
#[must_use]
pub fn rubles(amount: Kopecks) -> String {
    format!("{} RUB", amount.in_rubles())
}

/// RFC 3339 in UTC, whole seconds: for people.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    exact(at.replace_nanosecond(0).unwrap_or(at))
}

/// RFC 3339 in UTC, as exact as the database keeps it: for programs.
#[must_use]
pub fn exact(at: Timestamp) -> String {
    // Years from 0 to 9999: the database gives no others.
    at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// [`exact`] of a moment that may not be.
#[must_use]
pub fn exact_json(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(exact(at)))
}

/// Enough of a secret to recognise it by, and no more: `3f2a…`.
#[must_use]
pub fn masked(uuid: VpnUuid) -> String {
    let text = uuid.expose().to_string();
    format!("{}…", text.get(..4).unwrap_or_default())
}

/// Masks everything in a text that has the shape of a UUID. Idempotency keys are often one, and so is a secret that
/// somebody pasted into a reason.
#[must_use]
pub fn mask_uuids(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match rest.get(..36).filter(|start| is_uuid(start)) {
            Some(uuid) => {
                masked.push_str(&uuid[..4]);
                masked.push('…');
                rest = &rest[36..];
            }
            None => {
                masked.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    masked
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Columns with two blanks between them; the first row is the head. `right` names columns of numbers.
#[must_use]
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `1 row`, `2 rows`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::macros::datetime;

    #[test]
    fn uuids_are_masked_wherever_they_stand() {
        let uuid = "3f2a7c1e-0b5d-4e6f-8a9b-0c1d2e3f4a5b";
        assert_eq!(mask_uuids(uuid), "3f2a…");
        assert_eq!(mask_uuids(&format!("ключ {uuid}, {uuid}.")), "ключ 3f2a…, 3f2a….");
        assert_eq!(mask_uuids(&format!("x{uuid}")), "x3f2a…");
        assert_eq!(mask_uuids("3f2a7c1e-0b5d-4e6f-8a9b-0c1d2e3f4a5"), "3f2a7c1e-0b5d-4e6f-8a9b-0c1d2e3f4a5");
        assert_eq!(mask_uuids(""), "");
    }

    #[test]
    fn times_are_utc() {
        let at = datetime!(2026-01-31 15:00:00.123456 +3);
        assert_eq!(moment(at), "2026-01-31T12:00:00Z");
        assert_eq!(exact(at), "2026-01-31T12:00:00.123456Z");
    }

    #[test]
    fn columns_line_up() {
        let rows =
            [["code", "price"], ["basic_30", "199.00"], ["b", "9.00"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, &[1]), "code       price\nbasic_30  199.00\nb           9.00\n");
    }

    #[test]
    fn an_object_names_its_command() {
        assert_eq!(
            line("top-up", &json!({ "balance_kopecks": 1 })),
            "{\"balance_kopecks\":1,\"command\":\"top-up\"}\n"
        );
    }
}
