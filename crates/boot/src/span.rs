//! Lengths of time as settings write them: `90s`, `15m`, `6h`, `3d`. One parser for flags and the settings file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// Ten years. What is longer is a slip of the hand, and would leave the range of `timestamptz` sums.
const LONGEST_SECONDS: u64 = 3_660 * 86_400;

/// A length of time in whole seconds, at most 3660 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl fmt::Debug for Span {
    /// As settings write it: `--check-config` shows settings so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// Not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: write a whole number and one of s, m, h, d, such as 90s, 15m, 6h or 3d")]
pub struct SpanError {
    problem: String,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let refuse = |problem: &str| Err(SpanError { problem: problem.to_owned() });
        let Some(unit) = text.chars().next_back() else { return refuse("no length of time") };
        let Some((_, seconds)) = UNITS.iter().find(|(letter, _)| *letter == unit) else {
            return refuse(if unit.is_ascii_digit() { "no unit" } else { "unknown unit" });
        };
        let number = &text[..text.len() - 1];
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return refuse("no whole number");
        }
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(*seconds)) {
            Some(seconds) if seconds <= LONGEST_SECONDS => Ok(Self(seconds)),
            _ => refuse("longer than 3660d"),
        }
    }
}

impl fmt::Display for Span {
    /// In the largest unit that divides it: what was parsed comes back, `60m` as `1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, seconds) =
            UNITS.into_iter().find(|(_, seconds)| self.0 != 0 && self.0.is_multiple_of(*seconds)).unwrap_or(('s', 1));
        write!(f, "{}{letter}", self.0 / seconds)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time in quotes, such as \"15m\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(|error| E::custom(format!("\"{text}\": {error}")))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, seconds, shown) in [
            ("90s", 90, "90s"),
            ("15m", 900, "15m"),
            ("60m", 3_600, "1h"),
            ("6h", 21_600, "6h"),
            ("3d", 259_200, "3d"),
            ("0s", 0, "0s"),
            ("0d", 0, "0s"),
            ("3660d", 316_224_000, "3660d"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_secs(seconds), "{text}");
            assert_eq!(span.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused_with_a_remedy() {
        for (text, problem) in [
            ("", "no length of time"),
            ("15", "no unit"),
            ("m", "no whole number"),
            ("-5m", "no whole number"),
            ("1.5h", "no whole number"),
            (" 5m", "no whole number"),
            ("5 m", "no whole number"),
            ("+5m", "no whole number"),
            ("1h30m", "no whole number"),
            ("15min", "unknown unit"),
            ("15M", "unknown unit"),
            ("15м", "unknown unit"),
            ("3661d", "longer than 3660d"),
            ("18446744073709551616s", "longer than 3660d"),
            ("18446744073709551615d", "longer than 3660d"),
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{problem}: write a whole number and one of s, m, h, d, such as 90s, 15m, 6h or 3d"),
                "{text}"
            );
        }
    }
}
