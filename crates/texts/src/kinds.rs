//! The kinds of notices and what their params are: one table, by which notices are read, rendered and checked.

use crate::error::TextError;

/// A kind of notice.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
}

/// A param of a kind, or of an item of its list.
#[derive(Debug)]
pub(crate) struct Param {
    /// Its placeholder.
    pub(crate) name: &'static str,
    pub(crate) is: Is,
}

/// What a param is: how it is stored, written, and chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Is {
    /// Kopecks, stored as `<name>_kopecks`.
    Money,
    /// Stored as microseconds since 1970.
    Time,
    /// A number that plurals are chosen by.
    Count,
    /// A number that only names something.
    Id,
    /// A text from outside.
    Text,
    /// A tariff's code.
    Tariff,
    /// The name of a stage: not written, but `<kind>-<stage>` may be a text of its own. Empty: any name.
    Stage(&'static [&'static str]),
    /// A list of objects with these params.
    Items(&'static [Param]),
}

const fn param(name: &'static str, is: Is) -> Param {
    Param { name, is }
}

const TARIFF: Param = param("tariff", Is::Tariff);
const REASON: Param = param("reason", Is::Text);
const PASS: Param = param("pass", Is::Text);
const COUNT: Param = param("count", Is::Count);

/// All kinds.
pub(crate) static KINDS: [Kind; 9] = [
    Kind {
        name: "renewed",
        params: &[TARIFF, param("amount", Is::Money), param("balance", Is::Money), param("until", Is::Time)],
    },
    Kind {
        name: "balance_short",
        params: &[
            TARIFF,
            param("stage", Is::Stage(&["first", "final"])),
            param("price", Is::Money),
            param("balance", Is::Money),
            param("missing", Is::Money),
            param("deadline", Is::Time),
        ],
    },
    Kind {
        name: "charge_ahead",
        params: &[
            TARIFF,
            param("amount", Is::Money),
            param("balance", Is::Money),
            param("missing", Is::Money),
            param("charge_at", Is::Time),
            param("deadline", Is::Time),
        ],
    },
    Kind { name: "trial_reminder", params: &[TARIFF, param("stage", Is::Stage(&[])), param("ends", Is::Time)] },
    Kind { name: "trial_over", params: &[TARIFF, param("ended", Is::Time)] },
    Kind { name: "subscription_over", params: &[TARIFF, param("ended", Is::Time)] },
    Kind {
        name: "alert_parked",
        params: &[COUNT, param("items", Is::Items(&[PASS, param("subscription_id", Is::Id), REASON]))],
    },
    Kind { name: "alert_brake", params: &[COUNT, param("items", Is::Items(&[PASS, REASON]))] },
    Kind {
        name: "alert_dead",
        params: &[COUNT, param("items", Is::Items(&[param("kind", Is::Text), param("telegram_id", Is::Id), REASON]))],
    },
];

/// The kind of this name.
pub(crate) fn find(name: &str) -> Result<&'static Kind, TextError> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| TextError::UnknownKind(name.to_owned()))
}

impl Kind {
    /// The items' params, where the kind has a list.
    pub(crate) fn items(&self) -> Option<&'static [Param]> {
        self.params.iter().find_map(|param| match param.is {
            Is::Items(params) => Some(params),
            _ => None,
        })
    }
}

/// Names of all kinds.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The params of a kind that are times, stored as microseconds since 1970: those that PostgreSQL turns into the
/// receiver's wall time (`AT TIME ZONE`) before a text is rendered. None for a kind that is not known.
pub fn time_params(kind: &str) -> impl Iterator<Item = &'static str> {
    let params = find(kind).map_or(&[][..], |kind| kind.params);
    params.iter().filter(|param| matches!(param.is, Is::Time)).map(|param| param.name)
}
