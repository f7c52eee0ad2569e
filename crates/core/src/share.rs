//! A part of a whole, 0 to 1, without floats: brakes compare with it.

use std::fmt;
use std::str::FromStr;

const WHOLE: u32 = 1_000_000;
const DECIMALS: usize = 6;

/// A share between 0 and 1, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl fmt::Debug for Share {
    /// As settings write it: `--check-config` shows settings so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(WHOLE);

    /// So many hundredths, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(if percent > 100 { WHOLE } else { percent * (WHOLE / 100) })
    }

    /// Whether `part` of `total` is more than this share.
    #[must_use]
    pub fn is_exceeded_by(self, part: u64, total: u64) -> bool {
        u128::from(part) * u128::from(WHOLE) > u128::from(total) * u128::from(self.0)
    }

    /// The smallest total of which `part` is no more than this share: counting can stop there.
    #[must_use]
    pub(crate) fn smallest_total(self, part: u64) -> u64 {
        let total = (u128::from(part) * u128::from(WHOLE)).div_ceil(u128::from(self.0.max(1)));
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}

/// Not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a share: write a number from 0 to 1 with at most six decimals, such as 0.3")]
pub struct ShareError;

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(decimals) || decimals.len() > DECIMALS {
            return Err(ShareError);
        }
        let whole: u32 = whole.parse().map_err(|_| ShareError)?;
        let millionths: u32 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| ShareError)?;
        match whole.checked_mul(WHOLE).and_then(|whole| whole.checked_add(millionths)) {
            Some(share) if share <= WHOLE => Ok(Self(share)),
            _ => Err(ShareError),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % WHOLE);
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / WHOLE),
            decimals => write!(f, "{}.{decimals}", self.0 / WHOLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_written() {
        for (text, shown) in [("0", "0"), ("0.3", "0.3"), ("1", "1"), ("1.0", "1"), ("0.000001", "0.000001")] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), shown);
        }
        assert_eq!(Share::percent(30).to_string(), "0.3");
        assert_eq!(Share::percent(100), Share::WHOLE);
    }

    #[test]
    fn a_share_is_exceeded_above_it_alone() {
        let eighth: Share = "0.125".parse().unwrap();
        assert!(!eighth.is_exceeded_by(1, 8) && eighth.is_exceeded_by(2, 15));
        assert!(!Share::WHOLE.is_exceeded_by(u64::MAX, u64::MAX));
        assert!(Share::percent(0).is_exceeded_by(1, u64::MAX) && !Share::percent(0).is_exceeded_by(0, 0));
        for (share, part) in [(eighth, 1), (eighth, 21), (Share::percent(30), 21), (Share::WHOLE, 7)] {
            let total = share.smallest_total(part);
            assert!(!share.is_exceeded_by(part, total) && share.is_exceeded_by(part, total - 1), "{share} {part}");
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", ".", ".5", "5.", "1.1", "-0.1", "30%", "1e-3", "0.0000001", "NaN", "inf", "4295"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text}");
        }
    }
}
