//! Errors with what caused them.

use std::error::Error;

/// An error and all that caused it, as one text: the words of many an error stop at "db error" or "error sending
/// request".
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
