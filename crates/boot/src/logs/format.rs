//! One record, one line.

use env_logger::fmt::style::Style;
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};

use super::Origin;

/// `2026-11-24T12:00:00.000000Z INFO  perennial_renew: renewed subscription_id=7`
pub(super) fn text(time: &str, record: &Record<'_>, style: Style) -> String {
    format!("{time} {style}{:<5}{style:#} {}: {}\n", record.level(), record.target(), message_and_pairs(record))
}

/// Without time and colours: for the heartbeat's report.
pub(super) fn plain(record: &Record<'_>) -> String {
    format!("{} {}", record.level(), message_and_pairs(record))
}

/// An object: `at`, `level`, `target`, `program`, `run_id`, `message`, then the pairs as members of their own.
pub(super) fn json(origin: &Origin, time: &str, record: &Record<'_>) -> String {
    let mut object = serde_json::Map::new();
    for (key, value) in [
        ("at", time.to_owned()),
        ("level", record.level().as_str().to_ascii_lowercase()),
        ("target", record.target().to_owned()),
        ("program", origin.program.to_owned()),
        ("run_id", origin.run_id.to_string()),
        ("message", record.args().to_string()),
    ] {
        object.insert(key.to_owned(), value.into());
    }
    for (key, value) in pairs(record) {
        // A pair must not hide what every line has.
        let key = if object.contains_key(&key) { format!("{key}_") } else { key };
        object.insert(key, value);
    }
    format!("{}\n", serde_json::Value::Object(object))
}

fn message_and_pairs(record: &Record<'_>) -> String {
    let mut line = one_line(&record.args().to_string());
    for (key, value) in pairs(record) {
        let value = match value {
            serde_json::Value::String(text) if is_bare(&text) => text,
            other => other.to_string(),
        };
        line.push_str(&format!(" {key}={value}"));
    }
    line
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

/// A line end inside a message would let data write log lines of its own.
fn one_line(message: &str) -> String {
    if !message.contains(char::is_control) {
        return message.to_owned();
    }
    message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn pairs(record: &Record<'_>) -> Vec<(String, serde_json::Value)> {
    struct Pairs(Vec<(String, serde_json::Value)>);
    impl<'kvs> VisitSource<'kvs> for Pairs {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            let mut json = Json(serde_json::Value::Null);
            value.visit(&mut json)?;
            self.0.push((key.to_string(), json.0));
            Ok(())
        }
    }
    let mut found = Pairs(Vec::new());
    // The visitor above refuses nothing; should a source fail half-way, the line goes out with what it gave.
    drop(record.key_values().visit(&mut found));
    found.0
}

struct Json(serde_json::Value);

impl<'v> VisitValue<'v> for Json {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = serde_json::Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}
