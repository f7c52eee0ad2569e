//! Settings as people see them: in the first log line of a pass and by `--check-config`.

use std::fmt::Display;
use std::time::Duration;

use perennial_core::node::Node;

use crate::span::Span;

/// Name of a setting and its value, as one would write it in the file.
pub type Entry = (&'static str, String);

/// What a pass runs with, beside what all passes have in common.
pub trait Shown {
    /// The settings in force. Secrets are left out.
    fn shown(&self) -> Vec<Entry>;
}

impl Shown for () {
    fn shown(&self) -> Vec<Entry> {
        Vec::new()
    }
}

/// A value that may be absent.
#[must_use]
pub fn or_none(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// A length of time, in whole seconds.
#[must_use]
pub fn span(length: Duration) -> String {
    Span::seconds(length.as_secs()).to_string()
}

/// Servers with their inbounds, in the form of `--xray`.
#[must_use]
pub fn nodes<X>(nodes: &[Node<X>]) -> String {
    let inbounds = |node: &Node<X>| {
        let inbounds = node.inbounds.iter().map(|inbound| format!("{}:{}", inbound.tag.0, inbound.group));
        inbounds.collect::<Vec<_>>().join(",")
    };
    let nodes: Vec<String> = nodes.iter().map(|node| format!("{}#{}", node.name, inbounds(node))).collect();
    if nodes.is_empty() { "none".to_owned() } else { nodes.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_a_person_writes_them() {
        assert_eq!(span(Duration::from_secs(900)), "15m");
        assert_eq!(or_none(None::<&u64>), "none");
        assert_eq!(nodes::<()>(&[]), "none");
    }
}
