//! The total case list of the access protocol (docs/access-protocol.md): what is to be done with one e-mail on one
//! inbound. Pure.

/// What the database says of an e-mail. The credential's own state, not that of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no such credential.
    Unknown,
    /// Closing or retired: for good.
    Closed,
    /// Open, and no row uses it: left over from a bot that crashed in between.
    Unused,
    /// Open, and used by an `active` row past its end, or by an `expiring` one.
    Used,
    /// Open, and used by an `active` row before its end.
    Entitled,
}

/// What a server says of an e-mail on one inbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNode {
    /// Not there.
    Absent,
    /// There, with the UUID and flow it must have. Where there is nothing to compare with: there.
    Right,
    /// There, but nobody can connect with it.
    Wrong(Wrong),
}

/// What is wrong with a user on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Another UUID. Bytes 6 and 7 do not count: the server ignores them.
    Uuid,
    /// Another flow than the inbound's.
    Flow,
}

/// Whether an inbound serves the access group of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupMatch {
    /// It does, or nobody knows of a credential.
    Own,
    /// It serves another group.
    Other,
}

/// Whose an e-mail is, by its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Ours: the owner prefix, and only characters that our e-mails have.
    Us,
    /// Under a protected prefix: never touched, also when it begins like ours.
    Protected,
    /// Somebody else's.
    Other,
}

/// Why a user is watched before it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// The database does not know it.
    Unknown,
    /// Its credential is open and no row uses it.
    Unused,
    /// Its credential is open and belongs on inbounds of another group.
    OtherGroup,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Not there, and need not be.
    Nothing,
    /// There, and may stay.
    Keep,
    /// Ask again, add, ask again.
    Add,
    /// Remove now; it is final.
    Remove,
    /// Remove and add anew.
    Replace(Wrong),
    /// Quarantine; then ask again and remove.
    Watch(Watched),
    /// Never touched: protected prefix.
    Protected,
    /// Never touched: somebody else's.
    Foreign,
}

/// Decides about one e-mail on one inbound.
///
/// What is closed is removed wherever it is found: nobody can be granted it again. An open credential on an inbound of
/// another group is an extra of ours **there**: it is watched and removed from that inbound alone, and never retired for
/// it. A group is fixed for life, so nobody can become entitled to it on that inbound meanwhile.
///
/// A user past its end stays until `expire-fast` has ended it; one with a wrong UUID or flow is replaced also then,
/// because it may be renewed.
#[must_use]
pub fn decide(on_node: OnNode, standing: Standing, group: GroupMatch, owner: Owner) -> Decision {
    match (on_node, standing) {
        (OnNode::Absent, Standing::Entitled) if group == GroupMatch::Own => Decision::Add,
        (OnNode::Absent, _) => Decision::Nothing,
        _ if owner == Owner::Protected => Decision::Protected,
        (_, Standing::Closed) => Decision::Remove,
        (_, Standing::Unknown) if owner == Owner::Us => Decision::Watch(Watched::Unknown),
        (_, Standing::Unknown) => Decision::Foreign,
        _ if group == GroupMatch::Other => Decision::Watch(Watched::OtherGroup),
        (_, Standing::Unused) => Decision::Watch(Watched::Unused),
        (OnNode::Right, _) => Decision::Keep,
        (OnNode::Wrong(wrong), _) => Decision::Replace(wrong),
    }
}

/// Tells whose an e-mail is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    prefix: String,
    protected: Vec<String>,
}

impl Owners {
    /// Ours begin with `prefix`; those that begin with one of `protected` are never touched.
    #[must_use]
    pub fn new(prefix: &str, protected: &[String]) -> Self {
        // Servers compare without case, and lists are lower-cased.
        Self { prefix: prefix.to_lowercase(), protected: protected.iter().map(|p| p.to_lowercase()).collect() }
    }

    /// Whose this lower-cased e-mail is.
    #[must_use]
    pub fn of(&self, email: &str) -> Owner {
        if self.protected.iter().any(|prefix| email.starts_with(prefix)) {
            Owner::Protected
        } else if email.starts_with(&self.prefix) && is_plain(email) {
            Owner::Us
        } else {
            Owner::Other
        }
    }
}

/// What the database takes as an e-mail (`credentials_email_is_plain`): anything else was never given out by us.
pub(super) fn is_plain(email: &str) -> bool {
    (1..=128).contains(&email.len())
        && email.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@-".contains(&b))
}

impl Standing {
    /// May be put back after it was taken off to be replaced.
    #[must_use]
    pub fn is_in_use(self) -> bool {
        matches!(self, Self::Used | Self::Entitled)
    }

    /// Open: not closing, not retired.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Unknown | Self::Closed)
    }
}

impl Wrong {
    /// The word for it in plans and audit rows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Uuid => "wrong_uuid",
            Self::Flow => "wrong_flow",
        }
    }
}

impl Watched {
    /// The word for it in `orphans`, plans and audit rows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unused => "unused",
            Self::OtherGroup => "other_group",
        }
    }
}

#[cfg(test)]
mod tests;
