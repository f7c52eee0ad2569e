//! The users of an answer, read while it arrives.

use perennial_core::ports::{ListedUser, UserListBuilder};
use prost::Name as _;
use uuid::Uuid;

use crate::fields::{self, Malformed, Value};
use crate::wire::Account;

/// Longest entry taken. One of a plain user has a hundred bytes.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// `GetInboundUserResponse`: field 1, once a user.
const USERS: u64 = 1;
/// `User`: e-mail and account.
const EMAIL: u64 = 2;
const ACCOUNT: u64 = 3;
/// `TypedMessage`: name of the type and message.
const TYPE: u64 = 1;
const VALUE: u64 = 2;
/// VLESS's `Account`: UUID and flow.
const ID: u64 = 1;
const FLOW: u64 = 2;

/// Why an answer is no list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its bytes are none.
    Malformed,
    /// Its users are of another protocol: the name of their type.
    NotVless(String),
    /// More than a [`UserListBuilder`] takes.
    TooMany,
}

impl From<Malformed> for Unreadable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Takes the bytes of an answer in pieces of any size. Only the entry that is not all there yet is kept as bytes.
#[derive(Default)]
pub(crate) struct Records {
    users: UserListBuilder,
    partial: Vec<u8>,
}

impl Records {
    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if self.partial.is_empty() {
            let taken = self.read_entries(bytes)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let taken = self.read_entries(&whole)?;
        whole.drain(..taken);
        self.partial = whole;
        Ok(())
    }

    /// The users, if the answer did not break off within one.
    pub(crate) fn finish(self) -> Result<UserListBuilder, Unreadable> {
        if self.partial.is_empty() { Ok(self.users) } else { Err(Unreadable::Malformed) }
    }

    /// Reads the entries that are all there and answers how many bytes they take.
    fn read_entries(&mut self, bytes: &[u8]) -> Result<usize, Unreadable> {
        let mut taken = 0;
        while let Some((number, value, total)) = fields::field(&bytes[taken..], ENTRY_BYTES_MAX)? {
            if number == USERS {
                self.read_user(fields::message(&value)?)?;
            }
            taken += total;
        }
        Ok(taken)
    }

    fn read_user(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let user = user(bytes)?;
        if user.email.is_empty() {
            // Nobody's: such users are in no list of any server known, and without a key nothing can be done about one.
            return Ok(());
        }
        self.users.push(user).ok_or(Unreadable::TooMany)
    }
}

/// Reads a `User`; all of its fields may be absent.
fn user(bytes: &[u8]) -> Result<ListedUser<'_>, Unreadable> {
    let mut user = ListedUser { email: "", uuid: None, flow: "" };
    for field in fields::fields(bytes) {
        match field? {
            (EMAIL, value) => user.email = fields::text(&value)?,
            (ACCOUNT, value) => (user.uuid, user.flow) = typed_account(fields::message(&value)?)?,
            _ => {}
        }
    }
    Ok(user)
}

fn typed_account(bytes: &[u8]) -> Result<(Option<Uuid>, &str), Unreadable> {
    let (mut name, mut account): (&str, &[u8]) = ("", &[]);
    for field in fields::fields(bytes) {
        match field? {
            (TYPE, value) => name = fields::text(&value)?,
            (VALUE, value) => account = fields::message(&value)?,
            _ => {}
        }
    }
    // Elsewhere field 1 is something else: a password read as a UUID would look like a wrong UUID.
    if name.strip_prefix(Account::PACKAGE) != Some(".Account") {
        return Err(Unreadable::NotVless(name.to_owned()));
    }
    Ok(read_account(account)?)
}

fn read_account(bytes: &[u8]) -> Result<(Option<Uuid>, &str), Malformed> {
    let (mut id, mut flow) = ("", "");
    for field in fields::fields(bytes) {
        match field? {
            (ID, value @ Value::Bytes(_)) => id = fields::text(&value)?,
            (FLOW, value @ Value::Bytes(_)) => flow = fields::text(&value)?,
            _ => {}
        }
    }
    Ok((Uuid::try_parse(id).ok(), flow))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::wire::handler::GetInboundUserResponse;
    use crate::wire::{TypedMessage, User};

    fn wire_user(email: &str, id: &str, flow: &str) -> User {
        let account = Account { id: id.to_owned(), flow: flow.to_owned() };
        let typed = TypedMessage { r#type: Account::full_name(), value: account.encode_to_vec() };
        User { level: 0, email: email.to_owned(), account: Some(typed) }
    }

    fn encoded(users: Vec<User>) -> Vec<u8> {
        GetInboundUserResponse { users }.encode_to_vec()
    }

    fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<(String, Option<Uuid>, String)>, Unreadable> {
        let mut records = Records::default();
        for part in bytes.chunks(piece) {
            records.take(part)?;
        }
        let list = records.finish()?.finish();
        Ok(list.iter().map(|user| (user.email.to_owned(), user.uuid, user.flow.to_owned())).collect())
    }

    proptest! {
        #[test]
        fn a_list_is_read_the_same_however_it_is_cut(
            users in prop::collection::vec(("[a-zA-Z0-9.@-]{1,40}", any::<u128>(), "(xtls-rprx-vision)?"), 0..20),
            piece in 1usize..400,
        ) {
            let wire = users.iter().map(|(email, id, flow)| wire_user(email, &Uuid::from_u128(*id).to_string(), flow));
            let bytes = encoded(wire.collect());
            let mut expected: Vec<_> = users
                .iter()
                .map(|(email, id, flow)| (email.to_lowercase(), Some(Uuid::from_u128(*id)), flow.clone()))
                .collect();
            let mut read = read_in_pieces(&bytes, piece).unwrap();
            expected.sort();
            read.sort();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            // Whether they happen to be a list does not matter.
            let _read_or_not = read_in_pieces(&bytes, piece);
        }
    }

    #[test]
    fn a_list_that_breaks_off_within_a_user_is_no_list() {
        let bytes = encoded(vec![wire_user("a", "4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33", ""), wire_user("b", "x", "")]);
        assert_eq!(read_in_pieces(&bytes, 7).unwrap().len(), 2);
        assert_eq!(read_in_pieces(&bytes[..bytes.len() - 1], 7), Err(Unreadable::Malformed));
    }

    #[test]
    fn fields_of_newer_servers_are_stepped_over() {
        let mut bytes = encoded(vec![wire_user("a", "4f1b0c8e7d7d4b529d0e2f6f7e6a1c33", "")]);
        bytes.extend([0x50, 0x01, 0x5a, 0x02, 1, 2]);
        let read = read_in_pieces(&bytes, 3).unwrap();
        assert_eq!(read[0].1, Uuid::try_parse("4f1b0c8e-7d7d-4b52-9d0e-2f6f7e6a1c33").ok());
    }

    #[test]
    fn what_is_no_uuid_is_listed_as_none() {
        assert_eq!(read_in_pieces(&encoded(vec![wire_user("a", "hello", "")]), 9).unwrap()[0].1, None);
    }

    #[test]
    fn users_of_another_protocol_are_no_list() {
        let mut user = wire_user("a", "x", "");
        user.account.as_mut().unwrap().r#type = "xray.proxy.trojan.Account".to_owned();
        let error = read_in_pieces(&encoded(vec![user]), 9).unwrap_err();
        assert_eq!(error, Unreadable::NotVless("xray.proxy.trojan.Account".to_owned()));
    }

    #[test]
    fn an_entry_beyond_the_limit_is_refused_at_once() {
        assert_eq!(read_in_pieces(&[0x0a, 0xff, 0xff, 0xff, 0x7f], 5), Err(Unreadable::Malformed));
    }

    #[test]
    fn what_is_no_text_is_no_list_and_what_has_no_name_is_nobody() {
        for email in [&b"\xff\xfe"[..], b"p.\x80", b"\xed\xa0\x80"] {
            let mut bytes = vec![0x12, u8::try_from(email.len()).unwrap()];
            bytes.extend(email);
            let mut entry = vec![0x0a, u8::try_from(bytes.len()).unwrap()];
            entry.extend(bytes);
            assert_eq!(read_in_pieces(&entry, 3), Err(Unreadable::Malformed), "{email:?}");
        }
        let nobody = encoded(vec![wire_user("", "x", ""), User::default()]);
        assert_eq!(read_in_pieces(&nobody, 3), Ok(Vec::new()));
    }

    #[test]
    fn more_than_can_be_counted_is_no_list() {
        let long = encoded(vec![wire_user(&"x".repeat(1 << 16), "x", "")]);
        assert_eq!(read_in_pieces(&long, 4_096), Err(Unreadable::TooMany));
        let flows = (0..=256).map(|flow| wire_user(&format!("p.{flow}"), "x", &flow.to_string()));
        assert_eq!(read_in_pieces(&encoded(flows.collect()), 1 << 16), Err(Unreadable::TooMany));
    }
}
