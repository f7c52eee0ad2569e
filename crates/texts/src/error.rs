//! Why there is no text.

use std::path::PathBuf;

use thiserror::Error;

/// Why a notice has no text. None of it is the receiver's fault or passes with time: the notice waits for a person.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TextError {
    /// No text of this program is for this kind; a newer version may have written the notice.
    #[error("notices of the kind {0:?} are not known")]
    UnknownKind(String),
    /// The notice lacks a value.
    #[error("{kind}: {param} is missing")]
    Missing {
        /// Kind of the notice.
        kind: String,
        /// Which value.
        param: String,
    },
    /// The notice has a value of another type.
    #[error("{kind}: {param} is not {expected}")]
    Unfit {
        /// Kind of the notice.
        kind: String,
        /// Which value.
        param: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The text is there but cannot be used; the languages after it in line had none that can.
    #[error("{text}: {problem}")]
    Broken {
        /// Language and message.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No language has a text of this kind.
    #[error("{0} has no text in any language")]
    NoText(String),
}

/// Why the texts cannot be had at all.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Folder or file cannot be read, or is no UTF-8.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The default language is no language tag.
    #[error("default_language is {0:?}, which is no language tag")]
    DefaultLanguage(String),
}
