//! What is to be done on a node, before it is done: as a plan, and cut down to one.

use std::collections::HashSet;

use perennial_core::node::Inbound;
use perennial_core::reconcile::{Comparison, Extra, Misfit, Place, Rightful, UuidKey};

use crate::brakes::{Brake, BrakeKind};
use crate::plan_file::{Action, Item, PlannedNode, SHARED_UUID};

/// What is to be done on a node.
pub(crate) struct Examined {
    /// What differs; its extras are in `going`, those that may go.
    pub(crate) comparison: Comparison,
    /// To be removed now, by inbound and e-mail.
    pub(crate) going: Vec<Extra>,
    /// Brakes that speak.
    pub(crate) brakes: Vec<Brake>,
}

impl Examined {
    pub(crate) fn new(mut comparison: Comparison) -> Self {
        comparison.extras.sort_unstable_by_key(|extra| extra.place);
        comparison.misfits.sort_unstable_by_key(|misfit| misfit.place);
        Self { comparison, going: Vec::new(), brakes: Vec::new() }
    }

    /// What the brakes say.
    pub(crate) fn refusal(&self) -> Option<String> {
        let why: Vec<&str> = self.brakes.iter().map(|brake| brake.why.as_str()).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// Those that are as they should be and would be cut by what goes or is replaced now: they are replaced, too.
    pub(crate) fn endangered(&self) -> Vec<Rightful> {
        let leaving = self.leaving();
        let rightful = self.comparison.rightful.iter().copied();
        rightful.filter(|one| self.comparison.uuid_at(one.place).is_some_and(|key| leaving.contains(&key))).collect()
    }

    /// Splits what goes: those with whose UUID somebody stays or comes, and the others. The former must be gone before
    /// the latter are put there.
    pub(crate) fn split_going(&self, endangered: &[Rightful]) -> (Vec<Extra>, Vec<Extra>) {
        let misfits = self.comparison.misfits.iter().filter(|misfit| misfit.shares_uuid).map(|misfit| misfit.place);
        let kept = endangered.iter().map(|one| one.place).chain(misfits);
        let mut contested: HashSet<(u16, UuidKey)> = kept.filter_map(|at| self.comparison.uuid_at(at)).collect();
        contested.extend(&self.comparison.contested);
        let is_contested = |at| self.comparison.uuid_at(at).is_some_and(|key| contested.contains(&key));
        self.going.iter().copied().partition(|extra| is_contested(extra.place))
    }

    fn leaving(&self) -> HashSet<(u16, UuidKey)> {
        let going = self.going.iter().map(|extra| extra.place);
        let misfits = self.comparison.misfits.iter().map(|misfit| misfit.place);
        going.chain(misfits).filter_map(|at| self.comparison.uuid_at(at)).collect()
    }

    /// Users that would be changed.
    pub(crate) fn effects(&self, restores: bool) -> usize {
        let missing = if restores { self.comparison.missing.len() } else { 0 };
        // Brakes stop all but additions.
        let others = if self.brakes.is_empty() {
            self.comparison.misfits.len() + self.endangered().len() + self.going.len()
        } else {
            0
        };
        missing + others
    }

    /// Leaves as much of all there is to do as changes so many users at most. Answers how many are left out.
    pub(crate) fn cut_to(&mut self, most: usize, restores: bool) -> usize {
        let all = self.effects(restores);
        if all <= most {
            return 0;
        }
        let endangered = self.endangered();
        let (contested, mut plain) = self.split_going(&endangered);
        let comparison = &mut self.comparison;
        let (mut tied, mut missing): (Vec<_>, Vec<_>) =
            comparison.missing.iter().copied().partition(|missing| missing.shares_uuid && self.brakes.is_empty());
        let (mut shared, mut misfits): (Vec<_>, Vec<_>) =
            comparison.misfits.iter().copied().partition(|misfit| misfit.shares_uuid);
        if !restores {
            tied.clear();
        }
        missing.truncate(if restores { most } else { usize::MAX });
        let mut rest = most.saturating_sub(if restores { missing.len() } else { 0 });
        let group = tied.len() + shared.len() + endangered.len() + contested.len();
        let mut going = Vec::new();
        if group <= rest {
            rest -= group;
            going = contested;
        } else {
            tied.clear();
            shared.clear();
        }
        misfits.truncate(rest);
        plain.truncate(rest - misfits.len());
        going.append(&mut plain);
        going.sort_unstable_by_key(|extra| extra.place);
        missing.append(&mut tied);
        misfits.append(&mut shared);
        misfits.sort_unstable_by_key(|misfit| misfit.place);
        (comparison.missing, comparison.misfits, self.going) = (missing, misfits, going);
        all - self.effects(restores)
    }

    /// Removals and replacements, as a plan has them.
    pub(crate) fn removal_items(&self, inbounds: &[Inbound]) -> Vec<Item> {
        let item = |at: Place, credential, action, reason: &str| Item {
            inbound: inbounds[usize::from(at.inbound)].tag.0.clone(),
            email: self.comparison.user(at).email.to_owned(),
            credential,
            action,
            reason: reason.to_owned(),
        };
        let misfit = |m: &Misfit| item(m.place, Some(m.credential.0), Action::Replace, m.wrong.word());
        let shared = |one: &Rightful| item(one.place, Some(one.credential.0), Action::Replace, SHARED_UUID);
        let going = |e: &Extra| item(e.place, e.credential.map(|id| id.0), Action::Remove, e.why.word());
        let misfits = self.comparison.misfits.iter().map(misfit);
        let endangered = self.endangered();
        misfits.chain(endangered.iter().map(shared)).chain(self.going.iter().map(going)).collect()
    }

    /// Why a plan is not right any more, if so: somebody it wants to be removed is there and must not be. Who went by
    /// itself meanwhile is no reason.
    pub(crate) fn objection(&self, planned: &PlannedNode, inbounds: &[Inbound]) -> Option<String> {
        let now = self.removal_items(inbounds);
        let now: HashSet<(&str, &str, Action)> =
            now.iter().map(|item| (item.inbound.as_str(), item.email.as_str(), item.action)).collect();
        let node = &planned.name;
        for item in planned.items.iter().filter(|item| item.action != Action::Add && item.reason != SHARED_UUID) {
            let Item { inbound, email, action, .. } = item;
            let Some(number) = inbounds.iter().position(|configured| configured.tag.0 == *inbound) else {
                return Some(format!("inbound {inbound} of node {node} is no longer in the settings"));
            };
            let is_there = self.comparison.lists[number].find(email).is_some();
            if is_there && !now.contains(&(inbound.as_str(), email.as_str(), *action)) {
                return Some(format!("to {action} {email} on inbound {inbound} of node {node} is no longer right"));
            }
        }
        None
    }

    /// Leaves of all there is to do what stands in the plan as well, and of the brakes those that were silent when it
    /// was made: a person has looked since.
    pub(crate) fn cut_down_to(&mut self, planned: Option<&PlannedNode>, inbounds: &[Inbound]) {
        let items = planned.map_or(&[][..], |planned| &planned.items);
        let tag = |number: u16| inbounds[usize::from(number)].tag.0.as_str();
        let wanted: HashSet<(&str, &str, Action)> =
            items.iter().map(|item| (item.inbound.as_str(), item.email.as_str(), item.action)).collect();
        let additions: HashSet<(&str, i64)> = items
            .iter()
            .filter(|item| item.action == Action::Add)
            .filter_map(|item| Some((item.inbound.as_str(), item.credential?)))
            .collect();
        let mut comparison = std::mem::take(&mut self.comparison);
        self.going.retain(|extra| {
            wanted.contains(&(tag(extra.place.inbound), comparison.user(extra.place).email, Action::Remove))
        });
        let mut misfits = std::mem::take(&mut comparison.misfits);
        misfits.retain(|misfit| {
            wanted.contains(&(tag(misfit.place.inbound), comparison.user(misfit.place).email, Action::Replace))
        });
        comparison.misfits = misfits;
        comparison.missing.retain(|missing| additions.contains(&(tag(missing.inbound), missing.credential.0)));
        self.comparison = comparison;
        let released: Vec<BrakeKind> = planned.iter().flat_map(|planned| &planned.brakes).map(|b| b.kind).collect();
        self.brakes.retain(|brake| !released.contains(&brake.kind));
    }
}
