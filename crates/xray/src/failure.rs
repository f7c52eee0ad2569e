//! How a call can end without an answer to what was asked, and what each end means to the caller.

use perennial_core::ports::XrayError;
use tonic::Status;

use crate::refusal::{NotOffered, Refusal};

/// A call without a proper answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It did not leave this program: no turn, no connection, or one that had ended.
    NotSent(String),
    /// It did not leave this program, since the question before it had no answer.
    Unasked(String),
    /// The server's own answer.
    Refused(Status),
    /// What came is no answer to what was asked; the settings are to be set right.
    Misconfigured(String),
    /// The request left, and no whole answer came.
    NoAnswer(String),
    /// As `NoAnswer`, at a place where nothing has ever answered as Xray's API does.
    NeverAnswered(String),
}

/// What a call does to the server, which decides what a missing answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing.
    Reads,
    /// It may have been done, or be done yet.
    Writes,
}

impl Failure {
    /// As the caller of `node` is told.
    pub(crate) fn into_error(self, node: &str, effect: Effect) -> XrayError {
        let node = node.to_owned();
        match self {
            Self::NotSent(reason) | Self::Unasked(reason) => XrayError::Unreachable { node, reason },
            Self::NeverAnswered(reason) if effect == Effect::Reads => XrayError::Unreachable { node, reason },
            Self::NoAnswer(reason) | Self::NeverAnswered(reason) => XrayError::Unknown { node, reason },
            Self::Misconfigured(reason) => XrayError::Misconfigured { node, reason },
            Self::Refused(status) => of_refusal(crate::refusal::read(&status, ""), &node),
        }
    }
}

/// A refusal nobody expected, as the caller of `node` is told.
pub(crate) fn of_refusal(refusal: Refusal, node: &str) -> XrayError {
    let node = node.to_owned();
    match refusal {
        Refusal::Misconfigured(reason) => XrayError::Misconfigured { node, reason },
        Refusal::NotOffered(NotOffered::Service(service)) => {
            let reason = format!("{service} is not among the services of its API");
            XrayError::Misconfigured { node, reason }
        }
        Refusal::NotOffered(NotOffered::Method(text)) => {
            XrayError::Misconfigured { node, reason: format!("needs Xray v24.11.5 or newer ({text})") }
        }
        Refusal::EmptyEmail { protocol } => {
            XrayError::Misconfigured { node, reason: format!("the inbound is {protocol}, not VLESS") }
        }
        Refusal::NoAnswer(reason) => XrayError::Unknown { node, reason },
        Refusal::Other(reason) => XrayError::Refused { node, reason },
        Refusal::AlreadyExists => XrayError::Refused { node, reason: "it says the user exists".to_owned() },
        Refusal::NotFound | Refusal::NoSuchName => {
            XrayError::Refused { node, reason: "it says there is no such user".to_owned() }
        }
    }
}
