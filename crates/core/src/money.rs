//! Money in whole kopecks. No floats, no conversion from a bare integer by accident; rubles exist only where a message
//! is written.

use std::fmt;

use postgres_types::{FromSql, ToSql};

/// An amount in kopecks (1/100 ruble). Negative only as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, ToSql, FromSql)]
#[postgres(transparent)]
pub struct Kopecks(pub i64);

impl Kopecks {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or none beyond the range of a `bigint`.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or none beyond the range of a `bigint`.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// As people write it: `199.00`, `-0.05`.
    #[must_use]
    pub fn in_rubles(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let kopecks = self.0.unsigned_abs();
        format!("{sign}{}.{:02}", kopecks / 100, kopecks % 100)
    }
}

impl fmt::Display for Kopecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubles_are_written_without_floats() {
        for (kopecks, text) in
            [(0, "0.00"), (29, "0.29"), (19_900, "199.00"), (-5, "-0.05"), (i64::MIN, "-92233720368547758.08")]
        {
            assert_eq!(Kopecks(kopecks).in_rubles(), text);
        }
    }

    #[test]
    fn sums_beyond_a_bigint_are_refused() {
        assert_eq!(Kopecks(i64::MAX).checked_add(Kopecks(1)), None);
        assert_eq!(Kopecks(i64::MIN).checked_sub(Kopecks(1)), None);
    }
}
