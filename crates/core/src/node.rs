//! A server of the settings, and what may come between us and it.

use crate::db::DbError;
use crate::ports::{InboundTag, XrayError};

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
