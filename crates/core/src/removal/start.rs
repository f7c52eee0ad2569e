//! Where to begin.

use std::time::Duration;

use crate::db::{ClosingKey, NodeRow};
use crate::ids::CredentialId;
use crate::page::Pages;
use crate::time::Timestamp;

/// A transaction, or a program that was suspended in it, may commit what it closed so long ago.
pub(super) const LATE_COMMITS: Duration = Duration::from_secs(7200);
/// How often what a server remembers is kept anew.
const KEEP_EVERY: Duration = Duration::from_secs(1800);
/// Whatever a server remembers as proven, everything is looked at so often.
const LOOK_WHOLE: Duration = Duration::from_secs(3600);

/// Where a pass begins to look for closing credentials that are not proven gone from a server. A server that is down
/// keeps all that is closing in the list for days, and no other server's part may look through it every minute. So
/// each remembers up to when all was proven, and looks at everything once an hour all the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// What comes after it.
    after: ClosingKey,
    /// Everything is looked at.
    pub(super) is_whole: bool,
    /// Worth keeping anew.
    pub(super) is_old: bool,
}

impl Start {
    pub(super) const BEGINNING: Self = Self {
        after: ClosingKey { closed_at: Timestamp::UNIX_EPOCH, id: CredentialId(0) },
        is_whole: true,
        is_old: true,
    };

    pub(super) fn of(row: Option<&NodeRow>, now: Timestamp) -> Self {
        let Some((to, whole)) = row.and_then(|row| row.proven_to.zip(row.looked_whole_at)) else {
            return Self::BEGINNING;
        };
        // A clock that went back would hide what it closed.
        if whole + LOOK_WHOLE <= now || whole > now || to > now {
            return Self::BEGINNING;
        }
        let after = ClosingKey { closed_at: to, id: CredentialId(0) };
        Self { after, is_whole: false, is_old: to + LATE_COMMITS + KEEP_EVERY <= now }
    }

    /// At this credential.
    pub(super) fn at(first: ClosingKey) -> Self {
        let after = ClosingKey { id: CredentialId(first.id.0 - 1), ..first };
        Self { after, is_whole: false, is_old: false }
    }

    pub(super) fn pages(self, rows: usize) -> Pages<ClosingKey> {
        Pages::above(self.after, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = time::macros::datetime!(2026-04-01 12:00 UTC);

    fn node(proven_to: Timestamp, looked_whole_at: Timestamp) -> Start {
        let row = NodeRow {
            name: "de1".to_owned(),
            adopted_at: None,
            last_list_size: None,
            failures: 0,
            next_try_at: None,
            retired_at: None,
            proven_to: Some(proven_to),
            looked_whole_at: Some(looked_whole_at),
        };
        Start::of(Some(&row), NOW)
    }

    #[test]
    fn what_was_proven_long_ago_is_not_looked_through_again() {
        let minutes = |n: u32| Duration::from_secs(60) * n;
        let start = node(NOW - minutes(149), NOW - minutes(59));
        assert!(!start.is_whole && !start.is_old && start.after.closed_at == NOW - minutes(149));
        assert!(node(NOW - minutes(150), NOW - minutes(59)).is_old);
    }

    #[test]
    fn everything_is_looked_at_once_an_hour_and_when_the_clock_went_back() {
        let hour = Duration::from_secs(3600);
        assert!(Start::of(None, NOW).is_whole);
        assert!(node(NOW, NOW - hour).is_whole);
        assert!(node(NOW, NOW + hour).is_whole && node(NOW + hour, NOW).is_whole);
    }
}
