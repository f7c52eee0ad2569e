//! UUIDs as a server tells them apart, and which of a list are there twice.

use uuid::Uuid;

use crate::ports::UserList;

/// Bytes 6 and 7 of a UUID, which servers set to zero before they look a user up (since v25.8.29).
const IGNORED: u128 = 0xffff << 64;

/// A UUID as servers compare it: two with one key are one secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UuidKey(u128);

impl std::fmt::Debug for UuidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UuidKey(********)")
    }
}

impl UuidKey {
    /// The key of a UUID.
    #[must_use]
    pub fn of(uuid: Uuid) -> Self {
        Self(uuid.as_u128() & !IGNORED)
    }

    /// Half as long as the key. Random UUIDs do not meet here; where others do, the keys are compared.
    fn hash(self) -> u64 {
        let (high, low) = Uuid::from_u128(self.0).as_u64_pair();
        high ^ low
    }
}

/// Which UUIDs a list holds: eight bytes a user, since a list may have a million.
#[derive(Default)]
pub(super) struct ListedUuids {
    hashes: Vec<u64>,
    /// Those that several users have, in order. Perhaps one too many, never one too few.
    several: Vec<u64>,
}

impl ListedUuids {
    pub(super) fn of(list: &UserList) -> Self {
        let mut hashes: Vec<u64> =
            list.iter().filter_map(|user| user.uuid).map(|uuid| UuidKey::of(uuid).hash()).collect();
        hashes.sort_unstable();
        let mut several: Vec<u64> = hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        several.dedup();
        Self { hashes, several }
    }

    /// Whether a user of the list has it. May say yes by accident.
    pub(super) fn hold(&self, key: UuidKey) -> bool {
        self.hashes.binary_search(&key.hash()).is_ok()
    }

    /// Whether several users of the list have it. May say yes by accident.
    pub(super) fn hold_several(&self, key: UuidKey) -> bool {
        self.several.binary_search(&key.hash()).is_ok()
    }

    /// Whether any may be there twice at all.
    pub(super) fn have_several(&self) -> bool {
        !self.several.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ListedUser;

    #[test]
    fn bytes_six_and_seven_do_not_count() {
        let one = Uuid::parse_str("4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33").unwrap();
        let same = Uuid::parse_str("4f1b0c8e-7d7d-0000-9d0e-2f6f7e6a1c33").unwrap();
        let other = Uuid::parse_str("4f1b0c8e-7d7e-4b52-9d0e-2f6f7e6a1c33").unwrap();
        assert_eq!(UuidKey::of(one), UuidKey::of(same));
        assert_ne!(UuidKey::of(one), UuidKey::of(other));
        assert!(!format!("{:?}", UuidKey::of(one)).contains("4f1b"));
    }

    #[test]
    fn what_several_users_have_is_found() {
        let [one, same, other] = ["1111", "2222", "3333"]
            .map(|third| Uuid::parse_str(&format!("4f1b0c8e-7d7d-{third}-9d0e-2f6f7e6a1c33")).unwrap());
        let other = Uuid::from_u128(other.as_u128() + 1);
        let user = |email, uuid| ListedUser { email, uuid: Some(uuid), flow: "" };
        let list = UserList::collect([user("a", one), user("b", other), user("c", same)]).unwrap();
        let uuids = ListedUuids::of(&list);
        assert!(uuids.have_several());
        assert!(uuids.hold_several(UuidKey::of(one)) && !uuids.hold_several(UuidKey::of(other)));
        assert!(uuids.hold(UuidKey::of(other)) && !uuids.hold(UuidKey::of(Uuid::from_u128(7))));
    }
}
