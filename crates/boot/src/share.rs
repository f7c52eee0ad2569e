//! A part of a whole, 0 to 1, without floats: brakes compare with it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

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
    /// So many hundredths, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(if percent > 100 { WHOLE } else { percent * (WHOLE / 100) })
    }

    /// In millionths of the whole.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// That share of `total`, rounded down.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        // A share is at most 1, so the part fits where the total did.
        u64::try_from(u128::from(total) * u128::from(self.0) / u128::from(WHOLE)).unwrap_or(total)
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

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share from 0 to 1, such as 0.3")
            }

            fn visit_f64<E: serde::de::Error>(self, share: f64) -> Result<Share, E> {
                // The shortest form that gives the same number back, so 0.3 is "0.3".
                share.to_string().parse().map_err(|error| E::custom(format!("{share}: {error}")))
            }

            fn visit_i64<E: serde::de::Error>(self, share: i64) -> Result<Share, E> {
                share.to_string().parse().map_err(|error| E::custom(format!("{share}: {error}")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_written() {
        for (text, shown, of_thousand) in
            [("0", "0", 0), ("0.3", "0.3", 300), ("1", "1", 1000), ("1.0", "1", 1000), ("0.0019", "0.0019", 1)]
        {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.to_string().as_str(), share.of(1000)), (shown, of_thousand));
        }
        assert_eq!(Share::percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(Share::percent(30).to_string(), "0.3");
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", ".", ".5", "5.", "1.1", "-0.1", "30%", "1e-3", "0.0000001", "NaN", "inf", "4295"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text}");
        }
    }
}
