//! The quarantine: who is on a server without a right is watched for a while before it is removed. Pure.
//!
//! The watch is the user's own, on that inbound: it begins when it is first seen there, and begins anew when it comes
//! back with another UUID or for another reason. It ends in a removal after the grace **and** two sightings at least a
//! minute apart, so that neither a burst of passes nor one that was late decides alone. What is found unknown at first
//! contact with a server, or with an inbound of it, is adopted and never removed.

use std::time::Duration;

use perennial_core::db::Orphan;
use perennial_core::reconcile::Watched;
use perennial_core::time::Timestamp;
use uuid::Uuid;

/// Sightings closer together count once.
pub const BETWEEN_SIGHTINGS: Duration = Duration::from_secs(60);
/// Sightings needed.
const SIGHTINGS: i32 = 2;

/// A user without a right, as just listed.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its e-mail.
    pub email: &'a str,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// What is wrong with it.
    pub reason: Watched,
    /// This inbound was never met before.
    pub is_first_contact: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays for good.
    Adopted,
    /// It is watched: it stays until the grace is over and it was seen a second time.
    Waiting,
    /// It may be removed.
    Ripe,
}

/// The state of a watch after a sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The entry.
    pub entry: Orphan,
    /// It is not what stands in the database.
    pub is_changed: bool,
    /// The watch began just now.
    pub is_new: bool,
    /// What becomes of the user.
    pub fate: Fate,
}

/// Takes a sighting.
#[must_use]
pub fn watch(before: Option<&Orphan>, seen: &Seen<'_>, now: Timestamp, grace: Duration) -> Watch {
    let adopts = seen.is_first_contact && seen.reason == Watched::Unknown;
    let same_reason = before.filter(|entry| entry.reason == seen.reason.word());
    let entry = match same_reason {
        // Who looks after an adopted user may change its UUID.
        Some(entry) if entry.adopted || adopts => Orphan { adopted: true, uuid: seen.uuid, ..entry.clone() },
        Some(entry) if entry.uuid != seen.uuid => begin(seen, now, false),
        Some(entry) if now - entry.last_seen_at >= BETWEEN_SIGHTINGS => {
            Orphan { sightings: entry.sightings.saturating_add(1), last_seen_at: now, ..entry.clone() }
        }
        Some(entry) => entry.clone(),
        None => begin(seen, now, adopts),
    };
    let is_over = entry.sightings >= SIGHTINGS && now - entry.first_seen_at >= grace;
    let fate = match (entry.adopted, is_over) {
        (true, _) => Fate::Adopted,
        (false, true) => Fate::Ripe,
        (false, false) => Fate::Waiting,
    };
    let is_new = same_reason.is_none_or(|before| before.first_seen_at != entry.first_seen_at);
    Watch { is_changed: before != Some(&entry), is_new, fate, entry }
}

fn begin(seen: &Seen<'_>, now: Timestamp, adopted: bool) -> Orphan {
    Orphan {
        email: seen.email.to_owned(),
        uuid: seen.uuid,
        reason: seen.reason.word().to_owned(),
        first_seen_at: now,
        last_seen_at: now,
        sightings: 1,
        adopted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::time::from_micros;

    const GRACE: Duration = Duration::from_secs(600);

    fn at(second: i64) -> Timestamp {
        from_micros(1_700_000_000_000_000 + second * 1_000_000).unwrap()
    }

    fn seen(reason: Watched) -> Seen<'static> {
        Seen { email: "p.7", uuid: Some(Uuid::from_u128(7)), reason, is_first_contact: false }
    }

    /// Fates of one user seen at these seconds, and the entry in the end.
    fn fates(seconds: &[i64], grace: Duration) -> (Vec<Fate>, Orphan) {
        let mut entry = None;
        let fates = seconds.iter().map(|second| {
            let watch = watch(entry.as_ref(), &seen(Watched::Unknown), at(*second), grace);
            entry = Some(watch.entry);
            watch.fate
        });
        let fates = fates.collect();
        (fates, entry.unwrap())
    }

    #[test]
    fn it_takes_the_grace_and_two_sightings_a_minute_apart() {
        use Fate::*;
        for (seconds, expected) in [
            (&[0, 600][..], &[Waiting, Ripe][..]),
            (&[0, 599, 600], &[Waiting, Waiting, Ripe]),
            (&[0, 30, 59], &[Waiting, Waiting, Waiting]),
            // A burst of passes counts once.
            (&[0, 1, 2, 3, 600, 601], &[Waiting, Waiting, Waiting, Waiting, Ripe, Ripe]),
        ] {
            assert_eq!(fates(seconds, GRACE).0, expected, "{seconds:?}");
        }
        // Without a grace there are still two.
        assert_eq!(fates(&[0, 59, 60], Duration::ZERO).0, [Waiting, Waiting, Ripe]);
        // Passes half a minute apart count every other time, not never.
        assert_eq!(fates(&[0, 30, 60, 90, 120], GRACE).1.sightings, 3);
    }

    #[test]
    fn what_was_there_at_first_contact_stays_for_good_if_nobody_knows_it() {
        let first = |reason| Seen { is_first_contact: true, ..seen(reason) };
        let adopted = watch(None, &first(Watched::Unknown), at(0), GRACE);
        assert_eq!((adopted.fate, adopted.is_new), (Fate::Adopted, true));
        let later = watch(Some(&adopted.entry), &seen(Watched::Unknown), at(10_000), GRACE);
        assert_eq!((later.fate, later.is_changed), (Fate::Adopted, false));
        let rotated = Seen { uuid: Some(Uuid::from_u128(8)), ..seen(Watched::Unknown) };
        assert_eq!(watch(Some(&adopted.entry), &rotated, at(10_000), GRACE).fate, Fate::Adopted);
        // Known ones are ours to judge also then.
        for reason in [Watched::Unused, Watched::OtherGroup] {
            assert_eq!(watch(None, &first(reason), at(0), GRACE).fate, Fate::Waiting);
        }
        // A crash may have left entries of the first contact behind.
        let left = watch(None, &seen(Watched::Unknown), at(0), GRACE).entry;
        assert_eq!(watch(Some(&left), &first(Watched::Unknown), at(5), GRACE).fate, Fate::Adopted);
    }

    #[test]
    fn another_uuid_or_reason_begins_the_watch_anew() {
        let old = fates(&[0, 300], GRACE).1;
        let other = Seen { uuid: Some(Uuid::from_u128(8)), ..seen(Watched::Unknown) };
        for seen in [other, seen(Watched::Unused)] {
            let anew = watch(Some(&old), &seen, at(900), GRACE);
            assert_eq!((anew.fate, anew.entry.sightings, anew.is_new), (Fate::Waiting, 1, true));
            assert_eq!(anew.entry.first_seen_at, at(900));
        }
        let adopted = Orphan { adopted: true, ..old };
        let known_now = watch(Some(&adopted), &seen(Watched::Unused), at(900), GRACE);
        assert!(!known_now.entry.adopted, "it is ours now");
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let (_, entry) = fates(&[0], GRACE);
        assert!(!watch(Some(&entry), &seen(Watched::Unknown), at(59), GRACE).is_changed);
        assert!(watch(Some(&entry), &seen(Watched::Unknown), at(60), GRACE).is_changed);
    }
}
