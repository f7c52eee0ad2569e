//! Merges the lists of a server with the credentials: each open one is looked up on the lists, and whom none of them was
//! looked up for is left over.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::decide::{Decision, GroupMatch, OnNode, Owner, Owners, Standing, Watched, Wrong, decide, is_plain};
use super::emails::ListedEmails;
use super::uuids::{ListedUuids, UuidKey};
use crate::db::CredentialState;
use crate::ids::CredentialId;
use crate::node::Inbound;
use crate::ports::{ListedUser, UserList, XrayError};

/// A user on a list: number of the inbound, number on its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which of the node's inbounds.
    pub inbound: u16,
    /// Where in the order of its list.
    pub at: u32,
}

/// Why a user is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its credential is closing or retired.
    Closed,
    /// After its time in quarantine.
    Watched(Watched),
}

impl Why {
    /// The word for it in plans and audit rows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Watched(watched) => watched.word(),
        }
    }
}

/// On the server, and to go.
#[derive(Debug, Clone, Copy)]
pub struct Extra {
    /// Where.
    pub place: Place,
    /// What the database knows of it.
    pub credential: Option<CredentialId>,
    /// Why.
    pub why: Why,
}

/// Entitled, and not on the server. As small as can be: after a restart that is everybody.
#[derive(Debug, Clone, Copy)]
pub struct Missing {
    /// On which of the node's inbounds.
    pub inbound: u16,
    /// Whose.
    pub credential: CredentialId,
    /// Somebody else on that list has its UUID.
    pub shares_uuid: bool,
}

/// On the server and in use, with a wrong UUID or flow.
#[derive(Debug, Clone, Copy)]
pub struct Misfit {
    /// Where.
    pub place: Place,
    /// Whose.
    pub credential: CredentialId,
    /// What.
    pub wrong: Wrong,
    /// Somebody else on that list has the UUID it has, or the one it must get.
    pub shares_uuid: bool,
}

/// As it should be, but somebody else on that list has the same UUID: who takes that one off cuts this one.
#[derive(Debug, Clone, Copy)]
pub struct Rightful {
    /// Where.
    pub place: Place,
    /// Whose.
    pub credential: CredentialId,
}

/// What differs between a server and the database. It holds the lists; users are told by their places on them.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The lists, in the order of the node's inbounds; empty for those that are in `unlisted`.
    pub lists: Vec<UserList>,
    /// Inbounds that refused to be listed, and why: nothing is known of anybody there, so nobody is missing there either.
    pub unlisted: BTreeMap<u16, XrayError>,
    /// Users listed, an inbound counted each, as all numbers here.
    pub listed: u64,
    /// Users listed whose e-mail is ours or known to the database.
    pub ours: u64,
    /// Users listed under the owner prefix.
    pub own_listed: u64,
    /// Of these, users that the database knows by this e-mail **and** this UUID.
    pub own_known: u64,
    /// Users who should be there.
    pub entitled: u64,
    /// Users under a protected prefix.
    pub protected: u64,
    /// Users of others.
    pub foreign: u64,
    /// Users with whose UUID somebody else is listed, too.
    pub sharing: u64,
    /// The database has an open credential of the node's groups, or knows any user of its lists.
    pub knows_anybody: bool,
    /// To be added, the oldest first.
    pub missing: Vec<Missing>,
    /// To be removed, or watched first.
    pub extras: Vec<Extra>,
    /// To be replaced.
    pub misfits: Vec<Misfit>,
    /// In danger when another one is removed.
    pub rightful: Vec<Rightful>,
    /// UUIDs on an inbound that somebody there has and that a missing one or a misfit must get.
    pub contested: HashSet<(u16, UuidKey)>,
}

impl Comparison {
    /// The user at a place.
    #[must_use]
    pub fn user(&self, place: Place) -> ListedUser<'_> {
        let list = self.lists.get(usize::from(place.inbound));
        // Places come from these very lists; nobody has the empty e-mail.
        list.and_then(|list| list.at(place.at as usize)).unwrap_or(ListedUser { email: "", uuid: None, flow: "" })
    }

    /// Inbound and UUID of the user at a place.
    #[must_use]
    pub fn uuid_at(&self, place: Place) -> Option<(u16, UuidKey)> {
        self.user(place).uuid.map(|uuid| (place.inbound, UuidKey::of(uuid)))
    }
}

/// A comparison in the making.
pub(super) struct Merge<'a> {
    inbounds: &'a [Inbound],
    owners: &'a Owners,
    uuids: Vec<ListedUuids>,
    emails: Vec<ListedEmails>,
    /// Of each list, the users that an open credential was found for.
    is_known: Vec<Vec<bool>>,
    /// Listed, and not among the open credentials.
    leftovers: Vec<Place>,
    found: Comparison,
}

impl<'a> Merge<'a> {
    pub(super) fn of(inbounds: &'a [Inbound], owners: &'a Owners, listed: Vec<Result<UserList, XrayError>>) -> Self {
        let mut unlisted = BTreeMap::new();
        let lists: Vec<UserList> = (0..)
            .zip(listed)
            .map(|(number, listed)| {
                listed.unwrap_or_else(|error| {
                    unlisted.insert(number, error);
                    UserList::default()
                })
            })
            .collect();
        let uuids = lists.iter().map(ListedUuids::of).collect();
        let listed = lists.iter().map(|list| list.len() as u64).sum();
        let emails = lists.iter().map(ListedEmails::of).collect();
        let is_known = lists.iter().map(|list| vec![false; list.len()]).collect();
        let found = Comparison { lists, unlisted, listed, ..Comparison::default() };
        Self { inbounds, owners, uuids, emails, is_known, leftovers: Vec::new(), found }
    }

    /// Takes an open credential.
    pub(super) fn take(&mut self, row: &CredentialState) {
        self.found.knows_anybody = true;
        for number in 0..self.inbounds.len() {
            let at = self.emails[number].find(&self.found.lists[number], &row.email);
            if let Some(at) = at {
                self.is_known[number][at] = true;
                self.judge(place(number, at), Some(row));
            }
            self.count_wanted(number, row, at.is_some());
        }
    }

    /// Whom no open credential was found for is left over. Answers how many e-mails have to be looked up.
    pub(super) fn end_of_credentials(&mut self) -> usize {
        for (number, is_known) in std::mem::take(&mut self.is_known).into_iter().enumerate() {
            for (at, _) in is_known.into_iter().enumerate().filter(|(_, is_known)| !is_known) {
                self.leave_over(place(number, at));
            }
        }
        self.leftovers.len()
    }

    /// The e-mails left over, from one on, at most so many.
    pub(super) fn leftovers(&self, from: usize, at_most: usize) -> Vec<&str> {
        self.leftovers.iter().skip(from).take(at_most).map(|place| self.found.user(*place).email).collect()
    }

    /// Judges those left-overs by what the look-up found.
    pub(super) fn take_leftovers(&mut self, from: usize, at_most: usize, known: &[CredentialState]) {
        let known: HashMap<&str, &CredentialState> = known.iter().map(|row| (row.email.as_str(), row)).collect();
        for index in from..self.leftovers.len().min(from + at_most) {
            let place = self.leftovers[index];
            let row = known.get(self.found.user(place).email).copied();
            self.judge(place, row);
            if let Some(row) = row {
                self.found.knows_anybody = true;
                self.count_wanted(usize::from(place.inbound), row, true);
            }
        }
    }

    /// The comparison, with those counted who share a UUID.
    pub(super) fn finish(mut self) -> Comparison {
        for (list, uuids) in self.found.lists.iter().zip(&self.uuids) {
            if !uuids.have_several() {
                continue;
            }
            let mut users: HashMap<UuidKey, u64> = HashMap::new();
            let keys = list.iter().filter_map(|user| user.uuid).map(UuidKey::of);
            for key in keys.filter(|key| uuids.hold_several(*key)) {
                *users.entry(key).or_default() += 1;
            }
            self.found.sharing += users.values().filter(|several| **several > 1).sum::<u64>();
        }
        self.found
    }

    /// Puts a user aside, to be looked up.
    fn leave_over(&mut self, at: Place) {
        let email = self.found.user(at).email;
        if self.owners.of(email) == Owner::Protected {
            self.found.protected += 1;
        } else if is_plain(email) {
            self.leftovers.push(at);
        } else {
            // No credential has such an e-mail. The database is not asked: it would refuse the whole question for one
            // character that it cannot store.
            self.judge(at, None);
        }
    }

    fn group_match(&self, number: usize, row: &CredentialState) -> GroupMatch {
        if self.inbounds[number].group == row.access_group { GroupMatch::Own } else { GroupMatch::Other }
    }

    /// Counts a right, and notes it when it is missing.
    fn count_wanted(&mut self, number: usize, row: &CredentialState, is_there: bool) {
        let group = self.group_match(number, row);
        let is_listed = !self.found.unlisted.contains_key(&place(number, 0).inbound);
        if row.standing != Standing::Entitled || group != GroupMatch::Own || !is_listed {
            return;
        }
        self.found.entitled += 1;
        let owner = self.owners.of(&row.email);
        if is_there || decide(OnNode::Absent, row.standing, group, owner) != Decision::Add {
            return;
        }
        let inbound = place(number, 0).inbound;
        let shares_uuid = self.contest(number, UuidKey::of(row.uuid.expose()));
        self.found.missing.push(Missing { inbound, credential: row.id, shares_uuid });
    }

    /// Decides about one user on a list.
    fn judge(&mut self, at: Place, row: Option<&CredentialState>) {
        let number = usize::from(at.inbound);
        let user = self.found.user(at);
        let owner = self.owners.of(user.email);
        let listed = user.uuid.map(UuidKey::of);
        let is_right = row.is_some_and(|row| listed == Some(UuidKey::of(row.uuid.expose())));
        let on_node = match row {
            Some(_) if !is_right => OnNode::Wrong(Wrong::Uuid),
            Some(_) if user.flow != self.inbounds[number].flow => OnNode::Wrong(Wrong::Flow),
            _ => OnNode::Right,
        };
        let standing = row.map_or(Standing::Unknown, |row| row.standing);
        let group = row.map_or(GroupMatch::Own, |row| self.group_match(number, row));

        self.found.ours += u64::from(owner != Owner::Protected && (owner == Owner::Us || row.is_some()));
        self.found.own_listed += u64::from(owner == Owner::Us);
        self.found.own_known += u64::from(owner == Owner::Us && is_right);
        let credential = row.map(|row| row.id);
        let extra = |why| Extra { place: at, credential, why };
        match (decide(on_node, standing, group, owner), row) {
            (Decision::Protected, _) => self.found.protected += 1,
            (Decision::Foreign, _) => self.found.foreign += 1,
            (Decision::Remove, _) => self.found.extras.push(extra(Why::Closed)),
            (Decision::Watch(watched), _) => self.found.extras.push(extra(Why::Watched(watched))),
            (Decision::Replace(wrong), Some(row)) => {
                let is_held = wrong == Wrong::Uuid && self.contest(number, UuidKey::of(row.uuid.expose()));
                let shares_uuid = is_held || self.is_shared(number, listed);
                self.found.misfits.push(Misfit { place: at, credential: row.id, wrong, shares_uuid });
            }
            (Decision::Keep, Some(row)) if self.is_shared(number, listed) => {
                self.found.rightful.push(Rightful { place: at, credential: row.id });
            }
            (Decision::Nothing | Decision::Keep | Decision::Add | Decision::Replace(_), _) => {}
        }
    }

    fn is_shared(&self, number: usize, listed: Option<UuidKey>) -> bool {
        listed.is_some_and(|key| self.uuids[number].hold_several(key))
    }

    /// Whether somebody on the list has a UUID that another one must get; keeps it in mind.
    fn contest(&mut self, number: usize, key: UuidKey) -> bool {
        let is_held = self.uuids[number].hold(key);
        if is_held {
            self.found.contested.insert((place(number, 0).inbound, key));
        }
        is_held
    }
}

/// No node has 65 536 inbounds, and no list fits in memory that has 2³² users.
fn place(number: usize, at: usize) -> Place {
    Place { inbound: u16::try_from(number).unwrap_or(u16::MAX), at: u32::try_from(at).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests;
