//! Many calls to one server.

use futures_util::stream::{self, StreamExt};
use perennial_core::ports::{Xray, XrayError};
use perennial_core::reconcile::Trouble;

use crate::worker::Worker;

/// Calls under way at once on one server.
const IN_FLIGHT: usize = 16;
/// So many calls without an answer, and the server is given up: each costs a deadline.
const MOST_LOST: usize = 16;

impl<X: Xray> Worker<'_, X> {
    /// Makes a call for each item, some at once, and gives the answers in order. The first goes alone: a server that is
    /// down costs one deadline, not one for each user. A call without an answer is no failure yet, because whoever
    /// changes something asks afterwards.
    pub(crate) async fn call_each<'i, T, R, F>(
        &self,
        items: &'i [T],
        call: impl Fn(&'i T) -> F,
    ) -> Result<Vec<Result<R, XrayError>>, Trouble>
    where
        F: Future<Output = Result<R, XrayError>>,
    {
        let mut answers = Vec::with_capacity(items.len());
        let mut lost = 0;
        let (first, rest) = items.split_at(items.len().min(1));
        for part in [first, rest] {
            let mut calls = stream::iter(part).map(&call).buffered(IN_FLIGHT);
            while let Some(answer) = calls.next().await {
                match &answer {
                    Ok(_) => {}
                    Err(XrayError::Unknown { .. }) if self.deadline.is_over() => return Err(Trouble::OutOfTime),
                    Err(error @ XrayError::Unknown { .. }) => {
                        lost += 1;
                        if lost >= MOST_LOST {
                            return Err(error.clone().into());
                        }
                    }
                    Err(error @ XrayError::Refused { .. }) => {
                        log::error!(node = self.node.name.as_str(), error:% = error; "a request was refused");
                    }
                    Err(error) => return Err(error.clone().into()),
                }
                answers.push(answer);
            }
        }
        Ok(answers)
    }
}
