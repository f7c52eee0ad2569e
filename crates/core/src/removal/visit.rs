//! One server's users: taken off, and asked for. An inbound that cannot be worked on, because the settings do not fit it,
//! costs its own users their proof and nobody else's.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::crash_point;
use crate::db::Closing;
use crate::ids::CredentialId;
use crate::node::{Inbound, Node};
use crate::ports::{IN_FLIGHT, InboundTag, Lost, Removal, Xray, XrayError};

/// From so many users on, an inbound is listed instead of asked for each.
const LIST_FROM: usize = 64;
/// The length of a list that hangs: it is not asked for again in this pass.
const HANGS: usize = usize::MAX;
/// A call about one user costs as much as so many users on a list, measured on Xray v26.10.10.
const LISTED_FOR_ONE: usize = 32;

/// What is done on one server in one pass.
pub(super) struct Visit<'a, X> {
    node: &'a Node<X>,
    /// Inbounds that cannot be worked on, and why.
    unusable: BTreeMap<&'a InboundTag, String>,
    /// How many users were on the last list of an inbound.
    listed: BTreeMap<&'a InboundTag, usize>,
    /// Calls without an answer.
    lost: Lost,
    /// Users taken off, an inbound counted each.
    pub(super) removed: u64,
}

impl<'a, X: Xray> Visit<'a, X> {
    pub(super) fn new(node: &'a Node<X>) -> Self {
        Self { node, unusable: BTreeMap::new(), listed: BTreeMap::new(), lost: Lost::default(), removed: 0 }
    }

    /// Why some of its inbounds could not be worked on; none: all could.
    pub(super) fn trouble(&self) -> Option<String> {
        let reasons: Vec<&str> = self.unusable.values().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Takes users off the inbounds of their group. No answer is believed, good or bad: [`Self::gone`] asks.
    ///
    /// # Errors
    /// The server cannot be worked on at all.
    pub(super) async fn remove(&mut self, closing: &[Closing]) -> Result<(), XrayError> {
        for inbound in &self.node.inbounds {
            self.remove_from(inbound, closing).await?;
        }
        Ok(())
    }

    async fn remove_from(&mut self, inbound: &'a Inbound, closing: &[Closing]) -> Result<(), XrayError> {
        let node = self.node;
        let here: Vec<&str> = of_group(inbound, closing).map(|credential| credential.email.as_str()).collect();
        let mut no_answer = None;
        // The first call alone: a server that is down costs one call, not one for each user.
        let (first, rest) = here.split_at(here.len().min(usize::from(!self.lost.has_answered())));
        for part in [first, rest] {
            if self.unusable.contains_key(&inbound.tag) {
                return Ok(());
            }
            let calls = stream::iter(part).map(|email| node.xray.remove_user(&inbound.tag, email));
            let mut calls = calls.buffer_unordered(IN_FLIGHT);
            while let Some(answer) = calls.next().await {
                crash_point!("removal.some_removed");
                self.weigh(&answer)?;
                match answer {
                    Ok(Removal::Removed) => self.removed += 1,
                    Ok(Removal::WasAbsent) => {}
                    // Done or not: the question that follows tells.
                    Err(error @ (XrayError::Unknown { .. } | XrayError::Unreachable { .. })) => no_answer = Some(error),
                    Err(error @ XrayError::Misconfigured { .. }) => {
                        self.give_up(inbound, &error);
                        break;
                    }
                    Err(error @ XrayError::Refused { .. }) => self.note_refusal(&error),
                }
            }
        }
        // One user may be the trouble; where none of several is answered for, it is the server.
        no_answer.filter(|_| here.len() > 1 && !self.lost.has_answered()).map_or(Ok(()), Err)
    }

    /// Notes whether a call was answered.
    ///
    /// # Errors
    /// It was not, and there have been too many of these: the server is given up.
    fn weigh<T>(&mut self, answer: &Result<T, XrayError>) -> Result<(), XrayError> {
        let error = answer.as_ref().err();
        let is_gone = self.lost.note(error);
        error.filter(|_| is_gone).map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Asks which of these are gone from every inbound of their group. One for whom the answer is missing is not. A list
    /// may take `list_limit`; where it takes longer, one user after the other is asked for.
    ///
    /// # Errors
    /// The server cannot be worked on at all, or answers nothing: then nothing is proven.
    pub(super) async fn gone(&mut self, closing: &[Closing], list_limit: Duration) -> Result<Vec<Closing>, XrayError> {
        let mut unproven = HashSet::new();
        for inbound in &self.node.inbounds {
            let here: Vec<&Closing> = of_group(inbound, closing).collect();
            unproven.extend(self.still_on(inbound, &here, list_limit).await?);
        }
        Ok(closing.iter().filter(|credential| !unproven.contains(&credential.key.id)).cloned().collect())
    }

    /// Those not proven gone from an inbound.
    async fn still_on(
        &mut self,
        inbound: &'a Inbound,
        here: &[&Closing],
        list_limit: Duration,
    ) -> Result<Vec<CredentialId>, XrayError> {
        let all = || here.iter().map(|credential| credential.key.id).collect();
        if here.is_empty() || self.unusable.contains_key(&inbound.tag) {
            return Ok(all());
        }
        let listed = self.listed.get(&inbound.tag).copied().unwrap_or_default();
        let still_there = if here.len() >= LIST_FROM && here.len().saturating_mul(LISTED_FOR_ONE) >= listed {
            self.listed_of(inbound, here, list_limit).await
        } else {
            self.found_of(inbound, here).await
        };
        match still_there {
            Err(error @ (XrayError::Misconfigured { .. } | XrayError::Refused { .. })) => {
                self.give_up(inbound, &error);
                Ok(all())
            }
            answered => answered,
        }
    }

    async fn listed_of(
        &mut self,
        inbound: &'a Inbound,
        here: &[&Closing],
        limit: Duration,
    ) -> Result<Vec<CredentialId>, XrayError> {
        let listing = tokio::time::timeout(limit, self.node.xray.list_users(&inbound.tag));
        let Ok(list) = listing.await else {
            let node = self.node.name.as_str();
            log::warn!(node = node, inbound = inbound.tag.0.as_str(); "no list of its users in time: each is asked for");
            self.listed.insert(&inbound.tag, HANGS);
            return self.found_of(inbound, here).await;
        };
        let list = list?;
        self.listed.insert(&inbound.tag, list.len());
        let there = here.iter().filter(|credential| list.find(&credential.email).is_some());
        Ok(there.map(|credential| credential.key.id).collect())
    }

    async fn found_of(&mut self, inbound: &Inbound, here: &[&Closing]) -> Result<Vec<CredentialId>, XrayError> {
        let node = self.node;
        let asked = stream::iter(here)
            .map(async |credential| (credential.key.id, node.xray.find_user(&inbound.tag, &credential.email).await));
        let mut asked = asked.buffer_unordered(IN_FLIGHT);
        let mut there = Vec::new();
        let (mut answers, mut no_answer) = (0, None);
        while let Some((id, answer)) = asked.next().await {
            self.weigh(&answer)?;
            match answer {
                Ok(None) => answers += 1,
                Ok(Some(_)) => {
                    answers += 1;
                    there.push(id);
                }
                Err(error @ (XrayError::Unknown { .. } | XrayError::Unreachable { .. })) => {
                    no_answer = Some(error);
                    there.push(id);
                }
                Err(error @ XrayError::Refused { .. }) => {
                    answers += 1;
                    self.note_refusal(&error);
                    there.push(id);
                }
                Err(error @ XrayError::Misconfigured { .. }) => return Err(error),
            }
        }
        // Where nobody was answered for, it is the server and not its users.
        no_answer.filter(|_| answers == 0).map_or(Ok(there), Err)
    }

    fn give_up(&mut self, inbound: &'a Inbound, error: &XrayError) {
        let node = self.node.name.as_str();
        log::warn!(node = node, inbound = inbound.tag.0.as_str(), error:% = error; "an inbound cannot be worked on");
        self.unusable.insert(&inbound.tag, error.to_string());
    }

    fn note_refusal(&self, error: &XrayError) {
        log::error!(node = self.node.name.as_str(), error:% = error; "a request was refused");
    }
}

fn of_group<'c>(inbound: &Inbound, closing: &'c [Closing]) -> impl Iterator<Item = &'c Closing> {
    closing.iter().filter(|credential| credential.access_group == inbound.group)
}
