//! Calls without an answer: a server that is gone, or a line that loses some.

use super::XrayError;

/// So many calls in a row without an answer, and the server is gone. As many are under way at once, so that one that
/// is dead costs one deadline.
const IN_A_ROW: u64 = 16;

/// Counts calls without an answer, over all that is done on one server in one pass.
///
/// One that loses a few of many goes on being worked on however long that takes, because it makes progress; so a count
/// of all that were ever lost would say nothing.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    in_a_row: u64,
    lost: u64,
    answered: u64,
}

impl Lost {
    /// Notes how a call ended. Answers whether nothing more should be asked: nothing is answered any more, or less than
    /// half is. Who cannot be reached is down if nothing was ever answered; later it is a loss like any other.
    pub fn note(&mut self, error: Option<&XrayError>) -> bool {
        let is_down = match error {
            Some(XrayError::Unreachable { .. }) => self.answered == 0,
            Some(XrayError::Unknown { .. }) => false,
            Some(XrayError::Misconfigured { .. } | XrayError::Refused { .. }) | None => {
                self.in_a_row = 0;
                self.answered += 1;
                return false;
            }
        };
        self.in_a_row += 1;
        self.lost += 1;
        is_down || self.in_a_row >= IN_A_ROW || (self.lost >= IN_A_ROW && self.lost > self.answered)
    }

    /// Whether anything was ever answered.
    #[must_use]
    pub(crate) fn has_answered(&self) -> bool {
        self.answered > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many calls it is given up, of which the `n`-th is lost where `is_lost` says so.
    fn given_up_after(calls: usize, is_lost: impl Fn(usize) -> bool) -> Option<usize> {
        let mut lost = Lost::default();
        let error = XrayError::Unknown { node: "de1".to_owned(), reason: "lost".to_owned() };
        (1..=calls).find(|n| lost.note(Some(&error).filter(|_| is_lost(*n))))
    }

    #[test]
    fn who_cannot_be_reached_is_down_unless_something_was_answered_before() {
        let error = XrayError::Unreachable { node: "de1".to_owned(), reason: "refused".to_owned() };
        assert!(Lost::default().note(Some(&error)));
        let mut lost = Lost::default();
        assert!(!lost.note(None) && !lost.note(Some(&error)));
        assert_eq!((1..100).find(|_| lost.note(Some(&error))), Some(15));
    }

    #[test]
    fn a_line_that_loses_some_is_worked_on_and_a_server_that_is_gone_is_given_up() {
        for (what, is_lost, expected) in [
            ("dead from the beginning", &(|_| true) as &dyn Fn(usize) -> bool, Some(16)),
            ("dies after a while", &|n| n > 1_000, Some(1_016)),
            ("loses one of ten", &|n| n % 10 == 0, None),
            ("loses fifteen in a row, again and again", &|n| n % 60 < 15, None),
            ("loses two of three", &|n| n % 3 > 0, Some(23)),
        ] {
            assert_eq!(given_up_after(100_000, is_lost), expected, "{what}");
        }
    }
}
