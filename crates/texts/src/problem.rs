//! What is wrong with a text.

use std::fmt;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A text is not used, or says something wrong.
    Wrong,
    /// Something is missing, and another language or a default stands in.
    Incomplete,
}

/// A problem of the texts, for a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or the language where it is a shipped one.
    pub place: String,
    /// The message; empty where it is about the file.
    pub message: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Problem {
    pub(crate) fn wrong(place: &str, message: &str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Wrong, place: place.to_owned(), message: message.to_owned(), what: what.into() }
    }

    pub(crate) fn incomplete(place: &str, message: &str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Incomplete, ..Self::wrong(place, message, what) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, message, what, .. } = self;
        if message.is_empty() { write!(f, "{place}: {what}") } else { write!(f, "{place}: {message}: {what}") }
    }
}
