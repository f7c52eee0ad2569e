//! What was asked of a server.

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A user is to be put on an inbound.
    Add,
    /// A user is to be taken off an inbound.
    Remove,
    /// A removal without an e-mail: the client asks for the inbound's protocol.
    AskProtocol,
    /// All users of an inbound.
    List,
    /// One user of an inbound.
    Find,
    /// The tags of all inbounds.
    ListInbounds,
    /// Uptime.
    SysStats,
    /// Everybody's addresses.
    UsersStats,
    /// Everybody's names.
    AllOnline,
    /// One user's addresses.
    OnlineIps,
    /// A request that is none.
    Malformed,
}

/// A call as it arrived, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub kind: Kind,
    /// Of which inbound; empty where that is no question.
    pub tag: String,
    /// About whom; empty: nobody.
    pub email: String,
}

impl Call {
    pub(super) fn new(kind: Kind, tag: &str, email: &str) -> Self {
        Self { kind, tag: tag.to_owned(), email: email.to_owned() }
    }
}
