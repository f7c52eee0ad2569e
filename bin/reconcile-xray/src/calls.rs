//! Many calls to one server.

use futures_util::stream::{self, StreamExt};
use perennial_core::node::Trouble;
use perennial_core::ports::{IN_FLIGHT, InboundTag, Xray, XrayError};

use crate::worker::Worker;

impl<'a, X: Xray> Worker<'a, X> {
    /// Makes a call for each item, about a user on an inbound, some at once, and gives the answers in order. The first
    /// goes alone: a server that is down costs one deadline, not one for each user. A call without an answer is no failure
    /// yet, because whoever changes something asks afterwards. An inbound that cannot be worked on costs its own users
    /// alone, and is not asked again.
    pub(crate) async fn call_each<'i, T, R, F>(
        &self,
        items: &'i [T],
        call: impl Fn(&'i T) -> (&'a InboundTag, F),
    ) -> Result<Vec<Result<R, XrayError>>, Trouble>
    where
        F: Future<Output = Result<R, XrayError>>,
    {
        let mut answers = Vec::with_capacity(items.len());
        let (first, rest) = items.split_at(items.len().min(1));
        for part in [first, rest] {
            let calls = stream::iter(part).map(|item| {
                let (tag, answer) = call(item);
                async move {
                    let unusable = self.unusable.borrow().get(tag).cloned();
                    (tag, if let Some(error) = unusable { Err(error) } else { answer.await })
                }
            });
            let mut calls = calls.buffered(IN_FLIGHT);
            while let Some((tag, answer)) = calls.next().await {
                self.weigh(tag, answer.as_ref().err())?;
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    /// Notes how a call went; an error when the whole server is given up.
    fn weigh(&self, tag: &'a InboundTag, error: Option<&XrayError>) -> Result<(), Trouble> {
        let node = self.node.name.as_str();
        if matches!(error, Some(XrayError::Unknown { .. })) && self.deadline.is_over() {
            return Err(Trouble::OutOfTime);
        }
        let is_gone = self.lost.borrow_mut().note(error);
        match error {
            Some(error @ (XrayError::Unknown { .. } | XrayError::Unreachable { .. })) if is_gone => {
                return Err(error.clone().into());
            }
            Some(error @ XrayError::Misconfigured { .. }) => self.give_up(tag, error),
            Some(error @ XrayError::Refused { .. }) => log::error!(node, error:% = error; "a request was refused"),
            Some(XrayError::Unknown { .. } | XrayError::Unreachable { .. }) | None => {}
        }
        Ok(())
    }

    /// Works on an inbound no more.
    pub(crate) fn give_up(&self, tag: &'a InboundTag, error: &XrayError) {
        let before = self.unusable.borrow_mut().insert(tag, error.clone());
        if before.is_none() {
            let (node, inbound) = (self.node.name.as_str(), tag.0.as_str());
            log::warn!(node, inbound, error:% = error; "an inbound cannot be worked on");
        }
    }
}
