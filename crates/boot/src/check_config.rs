//! `--check-config`: what is in force, secrets masked. Nothing is written and nobody connected to.

use std::io::Write;

use perennial_core::pass::Pass;

use crate::exit::Exit;
use crate::in_force::InForce;
use crate::options::Output;
use crate::shown::Shown;

/// Prints what is in force to standard output.
pub(crate) fn print(pass: Pass, in_force: &InForce, settings: &impl Shown) -> Exit {
    let text = match in_force.output() {
        Output::Text => text(pass, in_force, settings),
        Output::Json => json(pass, in_force, settings),
    };
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        log::warn!("standard output cannot be written to: {error}");
    }
    Exit::Done
}

fn text(pass: Pass, in_force: &InForce, settings: &impl Shown) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for [name, value, from] in in_force.entries() {
        let from = if from.is_empty() { String::new() } else { format!("  ({from})") };
        lines.push((name, format!("{value}{from}")));
    }
    lines.extend(settings.shown().into_iter().map(|(name, value)| (name.to_owned(), value)));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: String = lines.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect();
    format!("{pass}: the configuration can be used\n{lines}")
}

fn json(pass: Pass, in_force: &InForce, settings: &impl Shown) -> String {
    let entries: serde_json::Map<String, serde_json::Value> = in_force
        .entries()
        .into_iter()
        .map(|[name, value, from]| (name, [("value", value), ("from", from)]))
        .map(|(name, members)| {
            let members = members.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect();
            (name, serde_json::Value::Object(members))
        })
        .collect();
    let of_pass: serde_json::Map<String, serde_json::Value> =
        settings.shown().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let object = serde_json::json!({
        "pass": pass.name(),
        "check_config": "done",
        "in_force": entries,
        "pass_settings": of_pass,
    });
    format!("{object}\n")
}
