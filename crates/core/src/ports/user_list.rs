//! The users of an inbound, kept small: a million of them must fit beside the answer they are read from.

use std::fmt;

use uuid::Uuid;

/// A user as a server lists it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ListedUser<'a> {
    /// Lower-cased: the server compares so.
    pub email: &'a str,
    /// None where the server keeps something that is no UUID.
    pub uuid: Option<Uuid>,
    /// Empty: none.
    pub flow: &'a str,
}

impl fmt::Debug for ListedUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListedUser").field("email", &self.email).field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// Different flows on one list. Two are known; each is looked for among those met so far, a user at a time.
const FLOWS_MAX: usize = 256;

/// The users of an inbound in byte order of their e-mails: one text for all e-mails and 28 bytes a user.
#[derive(Default, Clone)]
pub struct UserList {
    emails: String,
    flows: Vec<String>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    bytes: u16,
    flow: u16,
    uuid: Option<Uuid>,
}

impl fmt::Debug for UserList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserList").field("users", &self.entries.len()).finish_non_exhaustive()
    }
}

/// A [`UserList`] in the making: users go in as they arrive, in any order, so that nobody has to hold the whole answer.
#[derive(Default)]
pub struct UserListBuilder {
    list: UserList,
}

impl UserListBuilder {
    /// Takes a user. Its e-mail is lower-cased, as the server compares it.
    ///
    /// Answers none when that is beyond what fits: 4 GiB of e-mails, an e-mail over 64 KiB, more than 256 different
    /// flows.
    pub fn push(&mut self, user: ListedUser<'_>) -> Option<()> {
        let emails = &mut self.list.emails;
        let start = u32::try_from(emails.len()).ok()?;
        emails.extend(user.email.chars().flat_map(char::to_lowercase));
        let bytes = u16::try_from(emails.len() - start as usize).ok()?;
        let flow = self.list.flow_number(user.flow)?;
        self.list.entries.push(Entry { start, bytes, flow, uuid: user.uuid });
        Some(())
    }

    /// The users so far, in order.
    #[must_use]
    pub fn finish(self) -> UserList {
        let mut list = self.list;
        let UserList { emails, entries, .. } = &mut list;
        entries.sort_unstable_by(|left, right| email_of(emails, left).cmp(email_of(emails, right)));
        list
    }
}

impl UserList {
    /// A list of what `users` gives, in any order; none when it does not fit, see [`UserListBuilder::push`].
    pub fn collect<'a>(users: impl IntoIterator<Item = ListedUser<'a>>) -> Option<Self> {
        let mut list = UserListBuilder::default();
        for user in users {
            list.push(user)?;
        }
        Some(list.finish())
    }

    fn flow_number(&mut self, flow: &str) -> Option<u16> {
        let known = self.flows.iter().position(|known| known == flow);
        let number = known.unwrap_or(self.flows.len());
        if number == self.flows.len() {
            if number == FLOWS_MAX {
                return None;
            }
            self.flows.push(flow.to_owned());
        }
        u16::try_from(number).ok()
    }

    /// How many users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The user at a place in the order.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<ListedUser<'_>> {
        self.entries.get(place).map(|entry| self.user(entry))
    }

    /// An e-mail that is there more than once, if there is one: no server has two users of one key.
    #[must_use]
    pub fn doubled(&self) -> Option<&str> {
        let email = |entry| email_of(&self.emails, entry);
        self.entries.windows(2).find(|pair| email(&pair[0]) == email(&pair[1])).map(|pair| email(&pair[0]))
    }

    /// All users in byte order of their e-mails.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ListedUser<'_>> {
        self.entries.iter().map(|entry| self.user(entry))
    }

    /// The user of an e-mail, which must be lower-case.
    #[must_use]
    pub fn find(&self, email: &str) -> Option<ListedUser<'_>> {
        let place = self.entries.binary_search_by(|entry| email_of(&self.emails, entry).cmp(email)).ok()?;
        self.at(place)
    }

    fn user(&self, entry: &Entry) -> ListedUser<'_> {
        ListedUser {
            email: email_of(&self.emails, entry),
            uuid: entry.uuid,
            flow: self.flows.get(usize::from(entry.flow)).map_or("", String::as_str),
        }
    }
}

fn email_of<'a>(emails: &'a str, entry: &Entry) -> &'a str {
    let start = entry.start as usize;
    &emails[start..start + usize::from(entry.bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(email: &str) -> ListedUser<'_> {
        ListedUser { email, uuid: Some(Uuid::nil()), flow: "" }
    }

    #[test]
    fn users_come_in_byte_order_of_their_lower_cased_e_mails() {
        let list = UserList::collect(["p.9", "P.10", "admin", "p.1"].map(listed)).unwrap();
        let emails: Vec<&str> = list.iter().map(|user| user.email).collect();
        assert_eq!(emails, ["admin", "p.1", "p.10", "p.9"]);
        assert_eq!(list.find("p.10").map(|user| user.email), Some("p.10"));
        assert!(list.find("p.2").is_none());
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn flows_are_kept_apart() {
        let users = [ListedUser { flow: "xtls-rprx-vision", ..listed("a") }, listed("b")];
        let list = UserList::collect(users).unwrap();
        let flows: Vec<&str> = list.iter().map(|user| user.flow).collect();
        assert_eq!(flows, ["xtls-rprx-vision", ""]);
    }
}
