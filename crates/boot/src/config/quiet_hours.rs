//! `quiet_hours = "23:00-08:00"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use time::Time;

/// When reminders wait, in the user's own time zone; may run over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// First quiet minute.
    pub from: Time,
    /// First loud minute.
    pub until: Time,
}

/// Not a time of day and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no quiet hours: write two different times such as 23:00-08:00")]
pub struct QuietHoursError;

impl FromStr for QuietHours {
    type Err = QuietHoursError;

    fn from_str(text: &str) -> Result<Self, QuietHoursError> {
        let (from, until) = text.split_once('-').ok_or(QuietHoursError)?;
        let hours = Self { from: minute_of_day(from)?, until: minute_of_day(until)? };
        if hours.from == hours.until { Err(QuietHoursError) } else { Ok(hours) }
    }
}

fn minute_of_day(text: &str) -> Result<Time, QuietHoursError> {
    let two_digits = |part: &str| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { part.parse::<u8>().map_err(|_| QuietHoursError) } else { Err(QuietHoursError) }
    };
    let (hour, minute) = text.split_once(':').ok_or(QuietHoursError)?;
    Time::from_hms(two_digits(hour)?, two_digits(minute)?, 0).map_err(|_| QuietHoursError)
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), until.hour(), until.minute())
    }
}

impl<'de> Deserialize<'de> for QuietHours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("\"{text}\": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_read_and_written() {
        for text in ["23:00-08:00", "00:00-06:30", "12:15-12:16"] {
            assert_eq!(text.parse::<QuietHours>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_pair_of_times_is_refused() {
        for text in ["", "23:00", "23-08", "24:00-08:00", "23:60-08:00", "8:00-9:00", "08:00-08:00", "+8:00-09:00"] {
            assert_eq!(text.parse::<QuietHours>(), Err(QuietHoursError), "{text}");
        }
    }
}
