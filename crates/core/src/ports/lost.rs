//! Calls without an answer: a server that is gone, or a line that loses some.

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
    /// A call was answered, with whatever.
    pub fn note_answer(&mut self) {
        self.in_a_row = 0;
        self.answered += 1;
    }

    /// A call was not.
    pub fn note_loss(&mut self) {
        self.in_a_row += 1;
        self.lost += 1;
    }

    /// Whether anything was ever answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered > 0
    }

    /// Whether nothing more should be asked: nothing is answered any more, or less than half is.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.in_a_row >= IN_A_ROW || (self.lost >= IN_A_ROW && self.lost > self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many calls it is given up, of which the `n`-th is lost where `is_lost` says so.
    fn given_up_after(calls: usize, is_lost: impl Fn(usize) -> bool) -> Option<usize> {
        let mut lost = Lost::default();
        (1..=calls).find(|n| {
            if is_lost(*n) {
                lost.note_loss();
            } else {
                lost.note_answer();
            }
            lost.is_gone()
        })
    }

    #[test]
    fn a_line_that_loses_some_is_worked_on_and_a_server_that_is_gone_is_given_up() {
        for (what, is_lost, expected) in [
            ("dead from the beginning", &(|_| true) as &dyn Fn(usize) -> bool, Some(16)),
            ("dies after a while", &|n| n > 1_000, Some(1_016)),
            ("loses one of ten", &|n| n % 10 == 0, None),
            ("loses fifteen in a row, again and again", &|n| n % 40 < 15, None),
            ("loses two of three", &|n| n % 3 > 0, Some(22)),
        ] {
            assert_eq!(given_up_after(100_000, is_lost), expected, "{what}");
        }
    }
}
