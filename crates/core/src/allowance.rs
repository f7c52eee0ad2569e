//! How many effects a limited pass may still have: what keeps it from having one too many.
//!
//! A page is never longer than what is left, and a row has one effect at most; what a page has had is spent after its
//! commit and before the next page is listed. So no number of rows that fail, or that are run again one by one, has more
//! than were allowed. That holds while one page is at work at a time, to which a limited pass keeps.

use std::cell::Cell;

/// Effects that are left to a pass.
#[derive(Debug)]
pub struct Allowance(Cell<Option<u64>>);

impl Allowance {
    /// So many; none: as many as there is work.
    #[must_use]
    pub const fn of(limit: Option<u64>) -> Self {
        Self(Cell::new(limit))
    }

    /// There is an end to it.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.0.get().is_some()
    }

    /// What is left; none: as many as there is work.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.0.get()
    }

    /// Nothing more may be done.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.0.get() == Some(0)
    }

    /// How many of `rows` may be worked on at once.
    #[must_use]
    pub fn rows(&self, rows: usize) -> usize {
        let left = self.0.get().and_then(|left| usize::try_from(left).ok());
        left.map_or(rows, |left| left.min(rows))
    }

    /// Takes off what was done.
    pub fn spend(&self, effects: u64) {
        self.0.set(self.0.get().map(|left| left.saturating_sub(effects)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_not_there_any_more() {
        let allowance = Allowance::of(Some(5));
        assert!(allowance.is_limited() && !allowance.is_used_up());
        assert_eq!((allowance.rows(200), allowance.rows(3)), (5, 3));
        allowance.spend(3);
        assert_eq!((allowance.rows(200), allowance.left()), (2, Some(2)));
        allowance.spend(9);
        assert!(allowance.is_used_up());
        assert_eq!(allowance.rows(200), 0);
    }

    #[test]
    fn without_a_limit_nothing_runs_out() {
        let allowance = Allowance::of(None);
        allowance.spend(u64::MAX);
        assert!(!allowance.is_limited() && !allowance.is_used_up());
        assert_eq!((allowance.rows(200), allowance.left()), (200, None));
    }
}
