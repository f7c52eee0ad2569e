//! Finds what is wrong with the texts before a notice does: `perennial texts check`.
//!
//! Each message is looked at twice. Its source is read for names that do not exist and forms that are missing; and it is
//! rendered with samples of every value it may get, so that every variant has been through the same path as a notice.

mod placeholders;
mod plurals;
mod samples;

use std::collections::BTreeSet;

use fluent_syntax::ast::{Attribute, Entry, Message};

use crate::format::{self, HELPERS};
use crate::kinds::{Is, KINDS, Kind};
use crate::layer::{Layer, Origin};
use crate::problem::Problem;
use crate::render::Rendering;
use crate::texts::Texts;

use placeholders::{Reader, Scope};

/// Names of tariffs: `tariff-<code>`.
const TARIFF: &str = "tariff-";

/// What is wrong with the texts, by place and message. Empty: nothing.
#[must_use]
pub fn check(texts: &Texts) -> Vec<Problem> {
    let mut problems: BTreeSet<Problem> = texts.problems.iter().cloned().collect();
    for layers in texts.languages.values() {
        if let Some(layer) = layers.first() {
            problems.extend(missing(texts, layer));
        }
        for layer in layers {
            problems.extend(own_messages(layer));
            problems.extend(rendered(texts, layer));
        }
    }
    let mut problems: Vec<Problem> = problems.into_iter().collect();
    problems
        .sort_by(|a, b| (&a.place, a.severity, &a.message, &a.what).cmp(&(&b.place, b.severity, &b.message, &b.what)));
    problems
}

fn helper_ids() -> impl Iterator<Item = String> {
    HELPERS.iter().map(|id| (*id).to_owned()).chain((1..=12).map(format::month))
}

/// Messages that a language lacks, so that another one stands in.
fn missing(texts: &Texts, layer: &Layer) -> Vec<Problem> {
    let language = layer.language.to_string();
    let stand_in = |id: &str| {
        let line = texts.line(Some(&language));
        line.iter().find(|layer| layer.has(id)).map_or_else(|| "nothing".to_owned(), |layer| layer.name())
    };
    KINDS
        .iter()
        .map(|kind| kind.name.to_owned())
        .chain(helper_ids())
        .filter(|id| !layer.has(id))
        .map(|id| Problem::incomplete(&layer.name(), &id, format!("is missing; {} stands in", stand_in(&id))))
        .collect()
}

/// The messages that a file itself has.
fn own_messages(layer: &Layer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let reader = Reader::new(layer);
    for entry in layer.own.entries() {
        let (Entry::Message(message), place) = (entry, layer.name()) else {
            continue;
        };
        let id = message.id.name;
        if !seen.insert(id) {
            problems.push(Problem::wrong(&place, id, "is there twice; the last one counts"));
        }
        let found = match kind_of(id) {
            Some(kind) => of_a_kind(&reader, kind, message),
            None => of_no_kind(&reader, id, message),
        };
        problems.extend(found.into_iter().map(|what| Problem::wrong(&place, id, what)));
    }
    problems
}

/// The kind whose text this is: `renewed`, or `balance_short-final` for one of its stages.
fn kind_of(id: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| match id.strip_prefix(kind.name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|stage| has_stage(kind, stage)),
        None => false,
    })
}

fn has_stage(kind: &Kind, stage: &str) -> bool {
    kind.params.iter().any(|param| match param.is {
        Is::Stage(known) => !stage.is_empty() && (known.is_empty() || known.contains(&stage)),
        _ => false,
    })
}

fn of_a_kind(reader: &Reader<'_>, kind: &Kind, message: &Message<&str>) -> Vec<String> {
    let scope = Scope::of(kind.params);
    let mut found = match &message.value {
        Some(pattern) => reader.problems(pattern, &scope),
        None => vec!["has no text".to_owned()],
    };
    for Attribute { id, value } in &message.attributes {
        match (id.name, kind.items()) {
            ("button" | "url", _) => found.extend(reader.problems(value, &scope)),
            ("item", Some(params)) => found.extend(reader.problems(value, &Scope::of(params))),
            (name, _) => found.push(format!("has an attribute .{name}, which means nothing")),
        }
    }
    found
}

fn of_no_kind(reader: &Reader<'_>, id: &str, message: &Message<&str>) -> Vec<String> {
    if let Some(scope) = Scope::of_helper(id) {
        return message.value.as_ref().map_or_else(Vec::new, |pattern| reader.problems(pattern, &scope));
    }
    if id.starts_with(TARIFF) || reader.is_referred_to(id) {
        return Vec::new();
    }
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    vec![format!("is no kind of notice and nothing refers to it; the kinds are {}", known.join(", "))]
}

/// What goes wrong when the layer's texts are rendered. Each problem is told once, with the first sample that showed it.
fn rendered(texts: &Texts, layer: &Layer) -> BTreeSet<Problem> {
    let mut problems = BTreeSet::new();
    let language = layer.language.to_string();
    let line = texts.line(Some(&language));
    let Some(index) = line.iter().position(|other| std::ptr::eq(*other, layer)) else {
        return problems;
    };
    for kind in &KINDS {
        for id in own_texts(layer, kind) {
            for params in samples::of(kind) {
                let rendering = Rendering { kind, params: &params, layers: &line[index..] };
                let found = rendering.html(&id).err().into_iter().chain(rendering.button(&id).err());
                let found = found.filter(|what| !is_known_from_the_source(what));
                problems.extend(found.map(|what| Problem::wrong(&layer.name(), &id, what)));
            }
        }
    }
    problems
}

/// Fluent's words for what the reading of the source has told better.
fn is_known_from_the_source(what: &str) -> bool {
    what.contains("Unknown variable: ") || what.contains("Unknown function: ")
}

/// The ids under which this layer has texts of a kind: all that it is asked for where it is shipped, else its own.
fn own_texts(layer: &Layer, kind: &Kind) -> BTreeSet<String> {
    let own = layer.own.entries().filter_map(|entry| match entry {
        Entry::Message(message) => Some(message.id.name),
        _ => None,
    });
    let mut ids: BTreeSet<String> =
        own.filter(|id| kind_of(id).is_some_and(|of| of.name == kind.name)).map(str::to_owned).collect();
    // A shipped text that is written with an operator's `format-` message.
    if matches!(layer.origin, Origin::File(_)) && layer.has(kind.name) {
        ids.insert(kind.name.to_owned());
    }
    ids
}

#[cfg(test)]
mod tests;
