//! The brakes: when a node's differences look like somebody's mistake, nothing is removed there before a person has
//! looked. They never stop additions, and are silent when nothing was to be removed. Pure.
//!
//! A replacement counts as a removal: a database with the wrong UUIDs would cut everybody.
//!
//! How to release one: after looking at it with `--plan`, `--apply` does what the plan says and passes over the brakes
//! that spoke when it was made; `--max-removals` and `--max-removal-share` can be raised for one run.

use perennial_core::share::Share;
use serde::{Deserialize, Serialize};

/// So few removals are never too large a share: of three users one is a third.
pub const SHARE_FREE: u64 = 10;
/// From so many users under our prefix on, the database has to know them.
const KNOWN_FROM: u64 = 10;
/// From so long a list on, the next one must not be much shorter.
const SHORT_FROM: u64 = 20;

/// Which brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrakeKind {
    /// The database knows nobody at all.
    EmptyDatabase,
    /// It knows hardly any of the node's users under our prefix by e-mail and UUID: another database.
    UnknownUsers,
    /// The node's list is much shorter than last time, and than it should be.
    ShortList,
    /// More removals than `max_removals`.
    MaxRemovals,
    /// More than `max_removal_share` of the node's users.
    MaxRemovalShare,
}

/// A brake that speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brake {
    /// Which.
    pub kind: BrakeKind,
    /// Why, for a person.
    pub why: String,
}

/// How much may be removed on a node in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Removals at most; none: no limit by number.
    pub max_removals: Option<u64>,
    /// Largest share of the node's users that are ours; speaks above [`SHARE_FREE`] removals.
    pub max_share: Share,
}

/// What the brakes look at. An inbound counts each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Users to be removed or replaced.
    pub removals: u64,
    /// Users listed.
    pub listed: u64,
    /// Users there when the last pass left it.
    pub last_listed: Option<u64>,
    /// Users who should be there.
    pub entitled: u64,
    /// Users listed that are ours.
    pub ours: u64,
    /// Users listed under the owner prefix.
    pub own_listed: u64,
    /// Of these, users known by e-mail and UUID.
    pub own_known: u64,
    /// The database knows anybody.
    pub knows_anybody: bool,
}

/// The brakes that speak.
#[must_use]
pub fn brakes(facts: &Facts, limits: &Limits) -> Vec<Brake> {
    let Facts { removals, listed, ours, own_listed, own_known, .. } = *facts;
    if removals == 0 {
        return Vec::new();
    }
    let mut spoken = Vec::new();
    let mut speak = |kind, why: String| spoken.push(Brake { kind, why });
    if !facts.knows_anybody {
        speak(BrakeKind::EmptyDatabase, format!("the database knows none of {listed} users listed, nor anybody else"));
    }
    if own_listed >= KNOWN_FROM && own_known < own_listed.div_ceil(2) {
        let why =
            format!("the database knows {own_known} of {own_listed} users under our prefix: is it the right one?");
        speak(BrakeKind::UnknownUsers, why);
    }
    // Where as few should be there, they were removed in between, and the list is as long as it must be.
    let is_short = |last: &u64| *last >= SHORT_FROM && listed < last.div_ceil(2) && ours < facts.entitled.div_ceil(2);
    if let Some(last) = facts.last_listed.filter(is_short) {
        speak(BrakeKind::ShortList, format!("it lists {listed} users, and had {last} when the last pass left it"));
    }
    if let Some(most) = limits.max_removals.filter(|most| removals > *most) {
        speak(BrakeKind::MaxRemovals, format!("{removals} users would go, more than max_removals = {most}"));
    }
    if removals > SHARE_FREE && limits.max_share.is_exceeded_by(removals, ours) {
        let share = limits.max_share;
        let why = format!("{removals} of {ours} users would go, more than max_removal_share = {share}");
        speak(BrakeKind::MaxRemovalShare, why);
    }
    spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_removals: None, max_share: Share::percent(20) };
    const SOUND: Facts = Facts {
        removals: 5,
        listed: 100,
        last_listed: Some(100),
        entitled: 100,
        ours: 100,
        own_listed: 100,
        own_known: 95,
        knows_anybody: true,
    };

    fn kinds(facts: Facts, limits: Limits) -> Vec<BrakeKind> {
        brakes(&facts, &limits).into_iter().map(|brake| brake.kind).collect()
    }

    #[test]
    fn each_brake_speaks_at_its_boundary() {
        use BrakeKind::*;
        for (facts, expected) in [
            (SOUND, None),
            (Facts { knows_anybody: false, ..SOUND }, Some(EmptyDatabase)),
            (Facts { own_known: 50, ..SOUND }, None),
            (Facts { own_known: 49, ..SOUND }, Some(UnknownUsers)),
            (Facts { own_listed: 10, own_known: 4, ..SOUND }, Some(UnknownUsers)),
            (Facts { own_listed: 9, own_known: 0, ..SOUND }, None),
            (Facts { own_listed: 11, own_known: 5, ..SOUND }, Some(UnknownUsers)),
            (Facts { last_listed: Some(200), entitled: 201, ..SOUND }, None),
            (Facts { last_listed: Some(201), entitled: 201, ..SOUND }, Some(ShortList)),
            (Facts { last_listed: Some(201), entitled: 200, ..SOUND }, None),
            (Facts { last_listed: None, entitled: 1000, ..SOUND }, None),
            (Facts { listed: 9, ours: 9, last_listed: Some(19), entitled: 19, ..SOUND }, None),
            (Facts { listed: 9, ours: 9, last_listed: Some(20), entitled: 20, ..SOUND }, Some(ShortList)),
            (Facts { removals: 20, ..SOUND }, None),
            (Facts { removals: 21, ..SOUND }, Some(MaxRemovalShare)),
            // Few are few, whatever the share.
            (Facts { removals: 10, ours: 10, ..SOUND }, None),
            (Facts { removals: 11, ours: 12, ..SOUND }, Some(MaxRemovalShare)),
        ] {
            assert_eq!(kinds(facts, LIMITS), expected.into_iter().collect::<Vec<_>>(), "{facts:?}");
        }
        let limits = |most| Limits { max_removals: Some(most), ..LIMITS };
        assert_eq!(kinds(SOUND, limits(5)), []);
        assert_eq!(kinds(SOUND, limits(4)), [MaxRemovals]);
        assert_eq!(kinds(SOUND, limits(0)), [MaxRemovals]);
        assert_eq!(kinds(Facts { removals: 100, ..SOUND }, Limits { max_share: Share::WHOLE, ..LIMITS }), []);
    }

    #[test]
    fn they_are_silent_when_nothing_was_to_be_removed() {
        let worst = Facts {
            removals: 0,
            listed: 0,
            last_listed: Some(1_000_000),
            entitled: 1_000_000,
            ours: 0,
            own_listed: 50,
            own_known: 0,
            knows_anybody: false,
        };
        assert_eq!(kinds(worst, Limits { max_removals: Some(0), max_share: Share::percent(0) }), []);
        assert_eq!(kinds(Facts { removals: 11, ..worst }, LIMITS).len(), 4, "all that can");
    }
}
