//! From the values of a notice to the placeholders of its text.
//!
//! | a param that is | placeholders |
//! |---|---|
//! | an amount | `$x` as written; `$x_is` zero, positive or negative |
//! | a time | `$x` as written; `$x_left` how long until then; `$x_is` past or ahead |
//! | a count | `$x`, a number that plurals are chosen by |
//! | a tariff | `$x` its name; `$x_code` |
//! | a stage | `$x`, its name |
//! | an id, a text | `$x` |
//! | a list | `$x`, its lines |

use std::collections::BTreeMap;

use fluent_bundle::{FluentArgs, FluentValue};
use perennial_core::money::Kopecks;

use crate::error::TextError;
use crate::escape::{self, Place};
use crate::format::Helpers;
use crate::kinds::{Is, Kind, Param};
use crate::params::{self, Moment, Params, Value};

/// What a placeholder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is written.
    Written,
    /// A variant is chosen by one of these words; none: by any word.
    Word(&'static [&'static str]),
    /// Either: it is the same in every language.
    Code,
    /// A variant is chosen by its plural; it may be written, too.
    Plural,
}

const AMOUNT_IS: &[&str] = &["zero", "positive", "negative"];
const TIME_IS: &[&str] = &["past", "ahead"];

impl Param {
    /// The placeholders that this param gives.
    pub(crate) fn placeholders(&self) -> Vec<(String, Use)> {
        let name = self.name;
        let mut given = vec![(name.to_owned(), Use::Written)];
        match self.is {
            Is::Money => given.push((format!("{name}_is"), Use::Word(AMOUNT_IS))),
            Is::Time => {
                given.push((format!("{name}_left"), Use::Written));
                given.push((format!("{name}_is"), Use::Word(TIME_IS)));
            }
            Is::Count => given = vec![(name.to_owned(), Use::Plural)],
            Is::Stage(known) => given = vec![(name.to_owned(), Use::Word(known))],
            Is::Tariff => given.push((format!("{name}_code"), Use::Code)),
            Is::Id | Is::Text | Is::Items(_) => {}
        }
        given
    }
}

/// Refuses values that are missing or of another type than the kind says: a defect of whoever wrote the notice.
pub(crate) fn complete(kind: &Kind, params: &Params) -> Result<(), TextError> {
    complete_values(kind.name, kind.params, &params.values)
}

fn complete_values(kind: &str, params: &[Param], values: &BTreeMap<String, Value>) -> Result<(), TextError> {
    for param in params {
        let value = values.get(param.name).ok_or_else(|| params::missing(kind, param.name))?;
        match (param.is, value) {
            (Is::Items(params), Value::Items(items)) => {
                items.iter().try_for_each(|item| complete_values(kind, params, item))?;
            }
            (Is::Money, Value::Kopecks(_))
            | (Is::Time, Value::Time(_))
            | (Is::Count | Is::Id, Value::Number(_))
            | (Is::Text | Is::Tariff | Is::Stage(_), Value::Text(_)) => {}
            _ => return Err(params::unfit(kind, param)),
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Argument {
    /// Written for people; escaped where it is put.
    Shown(String),
    Number(i64),
    /// Lines of a list, which are HTML already.
    Html(String),
}

/// The placeholders of a text with their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments(Vec<(String, Argument)>);

impl Arguments {
    /// Writes the values of these params. Lists are left to [`Self::with_lines`].
    ///
    /// # Errors
    /// A message by which amounts, dates or spans are written is broken.
    pub(crate) fn new(
        params: &[Param],
        values: &BTreeMap<String, Value>,
        now: Moment,
        helpers: &Helpers<'_>,
    ) -> Result<Self, String> {
        let mut arguments = Self::default();
        for param in params {
            if let Some(value) = values.get(param.name) {
                arguments.add(param, value, now, helpers)?;
            }
        }
        Ok(arguments)
    }

    fn add(&mut self, param: &Param, value: &Value, now: Moment, helpers: &Helpers<'_>) -> Result<(), String> {
        let name = param.name;
        match (param.is, value) {
            (_, Value::Kopecks(kopecks)) => {
                self.show(name, helpers.money(*kopecks)?);
                let is = if *kopecks == Kopecks::ZERO {
                    "zero"
                } else if kopecks.0 > 0 {
                    "positive"
                } else {
                    "negative"
                };
                self.show(&format!("{name}_is"), is.to_owned());
            }
            (_, Value::Time(moment)) => {
                self.show(name, helpers.date(*moment, now)?);
                self.show(&format!("{name}_left"), helpers.left(moment.at - now.at)?);
                let is = if moment.at <= now.at { "past" } else { "ahead" };
                self.show(&format!("{name}_is"), is.to_owned());
            }
            (Is::Count, Value::Number(number)) => self.0.push((name.to_owned(), Argument::Number(*number))),
            (_, Value::Number(number)) => self.show(name, number.to_string()),
            (Is::Tariff, Value::Text(code)) => {
                self.show(name, helpers.tariff(code)?);
                self.show(&format!("{name}_code"), code.clone());
            }
            (_, Value::Text(text)) => self.show(name, text.clone()),
            (_, Value::Items(_)) => {}
        }
        Ok(())
    }

    fn show(&mut self, name: &str, text: String) {
        self.0.push((name.to_owned(), Argument::Shown(text)));
    }

    /// Adds the lines of a list.
    pub(crate) fn with_lines(&self, name: &str, lines: String) -> Self {
        let mut all = self.clone();
        all.0.push((name.to_owned(), Argument::Html(lines)));
        all
    }

    /// Fluent's form of them, escaped for a place.
    pub(crate) fn fluent(&self, place: Place) -> FluentArgs<'static> {
        let value = |argument: &Argument| match argument {
            Argument::Shown(text) => FluentValue::from(escape::value(text, place)),
            Argument::Number(number) => FluentValue::from(*number),
            Argument::Html(lines) => FluentValue::from(lines.clone()),
        };
        self.0.iter().map(|(name, argument)| (name.clone(), value(argument))).collect()
    }
}
