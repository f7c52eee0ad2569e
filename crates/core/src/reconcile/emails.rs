//! Where on a list the user of an e-mail stands.

use std::hash::{BuildHasher, RandomState};

use crate::ports::UserList;

/// The places of a list by e-mail, eight bytes a user. A search in the list itself would look at texts that lie anywhere
/// in memory, twenty of them for one of a million users; that took longer than all else of a comparison.
pub(super) struct ListedEmails {
    hasher: RandomState,
    /// Half of an e-mail's hash above its place, in order.
    entries: Vec<u64>,
}

impl ListedEmails {
    pub(super) fn of(list: &UserList) -> Self {
        let hasher = RandomState::new();
        let entry = |(place, email): (u64, &str)| half(&hasher, email) << 32 | place;
        // No list fits in memory that has 2³² users.
        let mut entries: Vec<u64> = (0..).zip(list.iter().map(|user| user.email)).map(entry).collect();
        entries.sort_unstable();
        Self { hasher, entries }
    }

    /// Where in `list`, which must be the one this was made of, the user of an e-mail stands.
    pub(super) fn find(&self, list: &UserList, email: &str) -> Option<usize> {
        let hash = half(&self.hasher, email);
        let first = self.entries.partition_point(|entry| entry >> 32 < hash);
        let alike = self.entries[first..].iter().take_while(|entry| **entry >> 32 == hash);
        let mut places = alike.filter_map(|entry| usize::try_from(entry & u64::from(u32::MAX)).ok());
        places.find(|place| list.at(*place).is_some_and(|user| user.email == email))
    }
}

fn half(hasher: &RandomState, email: &str) -> u64 {
    hasher.hash_one(email) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ListedUser;

    fn list(users: usize) -> UserList {
        let emails: Vec<String> = (0..users).map(|n| format!("p.{n}")).collect();
        UserList::collect(emails.iter().map(|email| ListedUser { email, uuid: None, flow: "" })).unwrap()
    }

    #[test]
    fn everybody_on_a_list_is_found_where_he_stands_and_nobody_else() {
        let list = list(20_000);
        let listed = ListedEmails::of(&list);
        for (place, user) in list.iter().enumerate() {
            assert_eq!(listed.find(&list, user.email), Some(place));
        }
        assert_eq!((listed.find(&list, "p.20000"), listed.find(&list, "")), (None, None));
        assert_eq!(ListedEmails::of(&UserList::default()).find(&UserList::default(), "p.1"), None);
    }

    #[test]
    fn users_whose_hashes_are_alike_are_told_apart() {
        let list = list(5);
        let mut listed = ListedEmails::of(&list);
        let hash = half(&listed.hasher, "p.3");
        listed.entries = (0..5).map(|place| hash << 32 | place).collect();
        assert_eq!(listed.find(&list, "p.3"), Some(3));
        listed.entries.retain(|entry| entry & 0xff != 3);
        assert_eq!(listed.find(&list, "p.3"), None);
    }
}
