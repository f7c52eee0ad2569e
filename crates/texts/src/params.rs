//! The values of a text.

use std::collections::BTreeMap;

use perennial_core::money::Kopecks;
use perennial_core::time::{Timestamp, from_micros};
use serde_json::Value as Json;
use time::PrimitiveDateTime;

use crate::error::TextError;
use crate::kinds::{self, Is, Param};

/// A moment, and the receiver's wall clock at it. The wall clock comes from PostgreSQL, which knows the time zones; the
/// moment itself is what spans are counted by, since wall clocks jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The moment.
    pub at: Timestamp,
    /// What the receiver's clock shows then.
    pub local: PrimitiveDateTime,
}

/// A value of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An amount.
    Kopecks(Kopecks),
    /// A time.
    Time(Moment),
    /// A number: of things, or that names one.
    Number(i64),
    /// A text from outside; escaped where it is written.
    Text(String),
    /// The items of a list, each with its values by name.
    Items(Vec<BTreeMap<String, Value>>),
}

/// The values of a text by name, and when it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    pub(crate) now: Moment,
    pub(crate) values: BTreeMap<String, Value>,
}

impl Params {
    /// No values yet. `now` decides how long it still is until something, and whether a year is worth mentioning.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { now, values: BTreeMap::new() }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// Reads the params of a notice as they are stored: kopecks as integers named `<name>_kopecks`, times as microseconds
    /// since 1970. `local` gives the wall clock at each of the kind's [`time_params`](crate::time_params). Keys that the
    /// kind does not have are left alone: a newer program may have written them.
    ///
    /// # Errors
    /// The kind is not known, or a value is missing or of another type.
    pub fn from_json(
        kind: &str,
        stored: &Json,
        now: Moment,
        local: impl Fn(&str) -> Option<PrimitiveDateTime>,
    ) -> Result<Self, TextError> {
        let reading = Reading { kind, local: &local };
        Ok(Self { now, values: reading.object(kinds::find(kind)?.params, stored)? })
    }
}

struct Reading<'a> {
    kind: &'a str,
    local: &'a dyn Fn(&str) -> Option<PrimitiveDateTime>,
}

impl Reading<'_> {
    fn object(&self, params: &[Param], stored: &Json) -> Result<BTreeMap<String, Value>, TextError> {
        let mut values = BTreeMap::new();
        for param in params {
            let key = param.key();
            let value = match stored.get(&key).filter(|value| !value.is_null()) {
                Some(value) => self.value(param, value)?,
                // The list says it, unless it is only the beginning of one.
                None if matches!(param.is, Is::Count) => match stored["items"].as_array() {
                    Some(items) => Value::Number(i64::try_from(items.len()).unwrap_or(i64::MAX)),
                    None => return Err(missing(self.kind, &key)),
                },
                None => return Err(missing(self.kind, &key)),
            };
            values.insert(param.name.to_owned(), value);
        }
        Ok(values)
    }

    fn value(&self, param: &Param, stored: &Json) -> Result<Value, TextError> {
        let unfit = || unfit(self.kind, param);
        match param.is {
            Is::Money => stored.as_i64().map(|kopecks| Value::Kopecks(Kopecks(kopecks))).ok_or_else(unfit),
            Is::Count | Is::Id => stored.as_i64().map(Value::Number).ok_or_else(unfit),
            Is::Text | Is::Tariff | Is::Stage(_) => {
                stored.as_str().map(|text| Value::Text(text.to_owned())).ok_or_else(unfit)
            }
            Is::Time => {
                let at = stored.as_i64().and_then(from_micros).ok_or_else(unfit)?;
                let local =
                    (self.local)(param.name).ok_or_else(|| missing(self.kind, &format!("local {}", param.name)))?;
                Ok(Value::Time(Moment { at, local }))
            }
            Is::Items(params) => {
                let items = stored.as_array().ok_or_else(unfit)?;
                items.iter().map(|item| self.object(params, item)).collect::<Result<_, _>>().map(Value::Items)
            }
        }
    }
}

pub(crate) fn missing(kind: &str, param: &str) -> TextError {
    TextError::Missing { kind: kind.to_owned(), param: param.to_owned() }
}

pub(crate) fn unfit(kind: &str, param: &Param) -> TextError {
    let expected = match param.is {
        Is::Money => "a whole number of kopecks",
        Is::Time => "a time in microseconds since 1970",
        Is::Count | Is::Id => "a whole number",
        Is::Text | Is::Tariff | Is::Stage(_) => "a text",
        Is::Items(_) => "a list",
    };
    TextError::Unfit { kind: kind.to_owned(), param: param.name.to_owned(), expected }
}

impl Param {
    /// Its key in the stored params.
    fn key(&self) -> String {
        match self.is {
            Is::Money => format!("{}_kopecks", self.name),
            _ => self.name.to_owned(),
        }
    }
}
