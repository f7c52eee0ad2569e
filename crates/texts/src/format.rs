//! Amounts, dates and spans as people of a language write them. How they do is said by messages, too.

use fluent_bundle::FluentArgs;
use perennial_core::money::Kopecks;
use time::Duration;

use crate::layer::Layer;
use crate::params::Moment;

/// The messages by which this module writes; [`crate::check`] wants them in every language.
pub(crate) const HELPERS: [&str; 10] = [
    "format-money",
    "format-group",
    "format-point",
    "format-date",
    "format-date-year",
    "format-days",
    "format-hours",
    "format-minutes",
    "format-moment",
    "format-more",
];

/// The name of a month's message.
pub(crate) fn month(number: u8) -> String {
    format!("format-month-{number}")
}

/// The name of a tariff's message, if its operator wrote one.
pub(crate) fn tariff(code: &str) -> String {
    format!("tariff-{}", code.replace('.', "_"))
}

/// Writes with the messages of a language, or of the next in line where one is missing.
pub(crate) struct Helpers<'a>(pub(crate) &'a [&'a Layer]);

impl Helpers<'_> {
    fn find(&self, id: &str, args: &FluentArgs<'_>) -> Result<Option<String>, String> {
        for layer in self.0 {
            if let Some(text) = layer.text(id, None, args).map_err(|problem| format!("{id}: {problem}"))? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn text(&self, id: &str, args: &FluentArgs<'_>) -> Result<String, String> {
        self.find(id, args)?.ok_or_else(|| format!("{id} is missing"))
    }

    /// `1 234,50 ₽`; whole rubles without kopecks.
    pub(crate) fn money(&self, Kopecks(kopecks): Kopecks) -> Result<String, String> {
        let none = FluentArgs::new();
        let (rubles, rest) = (kopecks.unsigned_abs() / 100, kopecks.unsigned_abs() % 100);
        let mut amount = grouped(rubles, &self.text("format-group", &none)?);
        if kopecks < 0 {
            amount.insert(0, '−');
        }
        if rest > 0 {
            amount.push_str(&self.text("format-point", &none)?);
            amount.push_str(&format!("{rest:02}"));
        }
        self.text("format-money", &FluentArgs::from_iter([("amount", amount)]))
    }

    /// `24 November, 18:30`; with the year when it is another one.
    pub(crate) fn date(&self, moment: Moment, now: Moment) -> Result<String, String> {
        let local = moment.local;
        let number = u8::from(local.month());
        let month = self.text(&month(number), &FluentArgs::new())?;
        let args = FluentArgs::from_iter([
            ("day", local.day().to_string()),
            ("month", month),
            ("month_number", format!("{number:02}")),
            ("year", local.year().to_string()),
            ("hour", format!("{:02}", local.hour())),
            ("minute", format!("{:02}", local.minute())),
        ]);
        self.text(if local.year() == now.local.year() { "format-date" } else { "format-date-year" }, &args)
    }

    /// `2 hours 15 minutes`: the two largest units, rounded as people do. The moment itself stands beside it, exactly.
    pub(crate) fn left(&self, left: Duration) -> Result<String, String> {
        if left < Duration::MINUTE {
            return self.text("format-moment", &FluentArgs::new());
        }
        let minutes = rounded(left).whole_minutes();
        let units = match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
            (0, hours, minutes) => [("format-hours", hours), ("format-minutes", minutes)],
            (days, hours, _) => [("format-days", days), ("format-hours", hours)],
        };
        let written = units.into_iter().filter(|(_, count)| *count > 0);
        let written = written.map(|(id, count)| self.text(id, &FluentArgs::from_iter([("count", count)])));
        Ok(written.collect::<Result<Vec<_>, _>>()?.join(" "))
    }

    /// How a tariff is called; by its code where nobody named it.
    pub(crate) fn tariff(&self, code: &str) -> Result<String, String> {
        Ok(self.find(&tariff(code), &FluentArgs::new())?.unwrap_or_else(|| code.to_owned()))
    }

    /// `…and 3 more`.
    pub(crate) fn more(&self, count: i64) -> Result<String, String> {
        self.text("format-more", &FluentArgs::from_iter([("count", count)]))
    }
}

/// To whole minutes, from an hour on to five of them, from a day on to hours: a reminder for "12 hours before the end"
/// leaves some seconds later, and 11 hours 59 minutes is what nobody would say.
fn rounded(left: Duration) -> Duration {
    let step = match left {
        left if left < Duration::HOUR => 60,
        left if left < Duration::DAY => 5 * 60,
        _ => 60 * 60,
    };
    Duration::seconds((left.whole_seconds() + step / 2) / step * step)
}

/// Digits in groups of three.
fn grouped(number: u64, separator: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}
