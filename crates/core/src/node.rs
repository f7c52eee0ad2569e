//! A server of the settings, and what may come between us and it.

use crate::db::DbError;
use crate::ports::{InboundTag, XrayError};
use crate::time::Deadline;

/// A server of the settings.
#[derive(Debug)]
pub struct Node<X> {
    /// Its name.
    pub name: String,
    /// Its inbounds that serve our users.
    pub inbounds: Vec<Inbound>,
    /// Its API.
    pub xray: X,
}

/// An inbound of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Its tag.
    pub tag: InboundTag,
    /// The access group it serves.
    pub group: String,
    /// The flow its users need.
    pub flow: String,
}

impl<X> Node<X> {
    /// The inbounds that serve a group.
    pub(crate) fn inbounds_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Inbound> {
        self.inbounds.iter().filter(move |inbound| inbound.group == group)
    }
}

/// Why work on a server did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The server did not do or give what it was asked for.
    Node(XrayError),
    /// The database.
    Database(DbError),
    /// The time of the pass is over.
    OutOfTime,
}

impl Trouble {
    /// A call that got no answer because the pass was told to stop was given up by us, and nothing is said about the server.
    /// One that waited until the budget was over, and longer, is the server's: a hang is no success.
    #[must_use]
    pub fn or_stopped(self, deadline: &Deadline) -> Self {
        match self {
            Self::Node(XrayError::Unknown { .. }) if deadline.was_stopped() => Self::OutOfTime,
            trouble => trouble,
        }
    }
}

impl From<XrayError> for Trouble {
    fn from(error: XrayError) -> Self {
        Self::Node(error)
    }
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_without_an_answer_is_the_servers_trouble_unless_the_pass_was_stopped() {
        let node = || "de1".to_owned();
        let lost = || Trouble::from(XrayError::Unknown { node: node(), reason: "no answer".to_owned() });
        let dead = || Trouble::from(XrayError::Unreachable { node: node(), reason: "refused".to_owned() });
        let [ample, used_up, stopped] = [60, 0, 60].map(|seconds| Deadline::after(Duration::from_secs(seconds)));
        stopped.stop();
        for within in [&ample, &used_up] {
            assert!(matches!(lost().or_stopped(within), Trouble::Node(XrayError::Unknown { .. })));
        }
        assert!(matches!(lost().or_stopped(&stopped), Trouble::OutOfTime));
        assert!(matches!(dead().or_stopped(&stopped), Trouble::Node(XrayError::Unreachable { .. })));
    }
}
