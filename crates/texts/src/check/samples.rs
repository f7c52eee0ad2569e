//! Values to try the texts with: one of everything that makes a difference.

use std::collections::BTreeMap;

use perennial_core::money::Kopecks;
use perennial_core::time::{Timestamp, from_micros};
use time::{Duration, PrimitiveDateTime};

use crate::kinds::{Is, Kind, Param};
use crate::params::{Moment, Params, Value};

/// 2026-11-24 15:30 UTC.
const NOW_MICROS: i64 = 1_795_534_200_000_000;
/// One for each form of every language, and one that is grouped.
const COUNTS: [i64; 9] = [1, 2, 3, 5, 11, 21, 22, 100, 1_000_000];
/// Items of a list that is cut.
const MANY_ITEMS: usize = 60;
const LONG: &str = "a reason that somebody wrote at length <with signs & such> \u{202E}and more ";

/// All combinations of the samples of a kind's params. Of several times only the first is tried in all the ways in which
/// a time is written.
pub(super) fn of(kind: &Kind) -> Vec<Params> {
    let now = from_micros(NOW_MICROS).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut all = vec![Params::new(moment(now))];
    let mut has_time = false;
    for param in kind.params {
        let mut samples = of_param(param, now);
        if matches!(param.is, Is::Time) && std::mem::replace(&mut has_time, true) {
            samples.truncate(2);
        }
        let with = |params: &Params, value: &Value| params.clone().with(param.name, value.clone());
        all =
            all.iter().flat_map(|params| samples.iter().map(|value| with(params, value)).collect::<Vec<_>>()).collect();
    }
    all
}

fn moment(at: Timestamp) -> Moment {
    Moment { at, local: PrimitiveDateTime::new(at.date(), at.time()) }
}

fn of_param(param: &Param, now: Timestamp) -> Vec<Value> {
    match param.is {
        Is::Money => [0, 123_450, -5].map(|kopecks| Value::Kopecks(Kopecks(kopecks))).into(),
        // Past; each unit of a span in several forms; another year.
        Is::Time => [-60, 30, 60, 2 * 60, 5 * 60, 3_661, 2 * 3_660, 5 * 3_660, 90_061, 8_000_000]
            .map(|seconds| Value::Time(moment(now + Duration::seconds(seconds))))
            .into(),
        Is::Count => COUNTS.map(Value::Number).into(),
        Is::Id => vec![Value::Number(i64::MAX)],
        Is::Text => vec![Value::Text(LONG.repeat(5))],
        Is::Tariff => vec![Value::Text("sample_30".to_owned())],
        Is::Stage(known) => {
            let stages = if known.is_empty() { &["sample"] } else { known };
            stages.iter().map(|stage| Value::Text((*stage).to_owned())).collect()
        }
        Is::Items(params) => {
            let item: BTreeMap<String, Value> = params
                .iter()
                .filter_map(|param| Some((param.name.to_owned(), of_param(param, now).into_iter().next()?)))
                .collect();
            [1, MANY_ITEMS].map(|count| Value::Items(vec![item.clone(); count])).into()
        }
    }
}
