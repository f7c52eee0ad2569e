//! Values for the tests of the texts: 24 November 2026, half past six in the evening where the receiver lives.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::BTreeMap;

use perennial_core::money::Kopecks;
use perennial_texts::{Moment, Params, Texts, Value};
use time::macros::datetime;
use time::{Duration, PrimitiveDateTime};

/// Now, on the receiver's clock.
pub(crate) const NOW: PrimitiveDateTime = datetime!(2026-11-24 18:30);

/// A moment on the receiver's clock, which is three hours ahead of UTC.
pub(crate) fn moment(local: PrimitiveDateTime) -> Moment {
    Moment { at: (local - Duration::hours(3)).assume_utc(), local }
}

pub(crate) fn time(local: PrimitiveDateTime) -> Value {
    Value::Time(moment(local))
}

pub(crate) fn in_(left: Duration) -> Value {
    time(NOW + left)
}

pub(crate) fn rubles(kopecks: i64) -> Value {
    Value::Kopecks(Kopecks(kopecks))
}

pub(crate) fn words(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn params() -> Params {
    Params::new(moment(NOW))
}

pub(crate) fn renewed() -> Params {
    params()
        .with("tariff", words("basic_30"))
        .with("amount", rubles(19_900))
        .with("balance", rubles(123_450))
        .with("until", time(datetime!(2026-12-24 18:30)))
}

pub(crate) fn balance_short(stage: &str, left: Duration) -> Params {
    params()
        .with("tariff", words("basic_30"))
        .with("stage", words(stage))
        .with("price", rubles(19_900))
        .with("balance", rubles(5_001))
        .with("missing", rubles(14_899))
        .with("deadline", in_(left))
}

pub(crate) fn charge_ahead(balance: i64) -> Params {
    params()
        .with("tariff", words("basic_30"))
        .with("amount", rubles(19_900))
        .with("balance", rubles(balance))
        .with("missing", rubles((19_900 - balance).max(0)))
        .with("charge_at", in_(Duration::hours(24)))
        .with("deadline", in_(Duration::hours(30)))
}

pub(crate) fn trial_reminder(stage: &str, left: Duration) -> Params {
    params().with("tariff", words("trial")).with("stage", words(stage)).with("ends", in_(left))
}

pub(crate) fn over(tariff: &str) -> Params {
    params().with("tariff", words(tariff)).with("ended", in_(Duration::minutes(-1)))
}

pub(crate) fn alert(count: i64, items: Vec<BTreeMap<String, Value>>) -> Params {
    params().with("count", Value::Number(count)).with("items", Value::Items(items))
}

pub(crate) fn item(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn parked(id: i64) -> BTreeMap<String, Value> {
    item(&[
        ("pass", words("renew")),
        ("subscription_id", Value::Number(id)),
        ("reason", words("tariff old_30 is withdrawn")),
    ])
}

pub(crate) fn braked() -> BTreeMap<String, Value> {
    item(&[("pass", words("expire-fast")), ("reason", words("42 subscriptions are over at once"))])
}

pub(crate) fn dead() -> BTreeMap<String, Value> {
    item(&[
        ("kind", words("renewed")),
        ("telegram_id", Value::Number(1_000_000_007)),
        ("reason", words("not sent: HTTP 502")),
    ])
}

/// The shipped text. A no-break space is shown as ~, which no text has.
pub(crate) fn shipped(language: &str, kind: &str, params: &Params) -> String {
    let texts = Texts::load(None, None).expect("the shipped texts are good");
    let rendered = texts.render(kind, Some(language), params).expect("the shipped texts can be rendered");
    assert_eq!(rendered.button, None, "the shipped texts have no buttons");
    assert!(!rendered.html.contains('~'));
    rendered.html.replace('\u{A0}', "~")
}

/// How long is left, as the trial's reminder says it, for spans in seconds.
pub(crate) fn spans(language: &str, seconds: &[i64]) -> String {
    let line = |seconds: &i64| {
        let text = shipped(language, "trial_reminder", &trial_reminder("6h", Duration::seconds(*seconds)));
        format!("{seconds}: {}", text.lines().next().unwrap_or_default())
    };
    seconds.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A receipt's line with the amount, for amounts in kopecks.
pub(crate) fn amounts(language: &str, kopecks: &[i64]) -> String {
    let line = |kopecks: &i64| {
        let text = shipped(language, "renewed", &renewed().with("amount", rubles(*kopecks)));
        format!("{kopecks}: {}", text.lines().nth(3).unwrap_or_default())
    };
    kopecks.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A receipt's line with the end, for ends.
pub(crate) fn dates(language: &str, dates: &[PrimitiveDateTime]) -> String {
    let line = |date: &PrimitiveDateTime| {
        let text = shipped(language, "renewed", &renewed().with("until", time(*date)));
        text.lines().last().unwrap_or_default().to_owned()
    };
    dates.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The first lines of an alert, for counts.
pub(crate) fn headings(language: &str, kind: &str, counts: &[i64], item: &BTreeMap<String, Value>) -> String {
    let line = |count: &i64| {
        let text = shipped(language, kind, &alert(*count, vec![item.clone()]));
        text.lines().next().unwrap_or_default().to_owned()
    };
    counts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Spans in every plural form, each unit alone and with the next.
pub(crate) const SPANS: [i64; 23] = [
    -5,
    0,
    59,
    60,
    2 * 60,
    5 * 60,
    11 * 60,
    21 * 60,
    22 * 60,
    3_599,
    3_600,
    3_660,
    2 * 3_600 + 15 * 60 + 40,
    5 * 3_600 + 60,
    21 * 3_600 + 32 * 60,
    86_399,
    86_400,
    86_400 + 59 * 60,
    90_000,
    2 * 86_400 + 3 * 3_600,
    5 * 86_400,
    11 * 86_400 + 11 * 3_600,
    21 * 86_400 + 22 * 3_600,
];

pub(crate) const AMOUNTS: [i64; 12] = [0, 1, 9, 10, 100, 101, 99_900, 100_000, 123_450, 123_456_789, -5, i64::MIN];

pub(crate) const DATES: [PrimitiveDateTime; 13] = [
    datetime!(2026-01-01 00:00),
    datetime!(2026-02-28 09:05),
    datetime!(2026-03-31 23:59),
    datetime!(2026-04-02 12:00),
    datetime!(2026-05-03 12:00),
    datetime!(2026-06-04 12:00),
    datetime!(2026-07-05 12:00),
    datetime!(2026-08-06 12:00),
    datetime!(2026-09-07 12:00),
    datetime!(2026-10-08 12:00),
    datetime!(2026-11-24 18:30),
    datetime!(2026-12-31 23:59),
    datetime!(2027-01-01 00:00),
];

pub(crate) const COUNTS: [i64; 7] = [1, 2, 5, 11, 21, 22, 100];

/// The shipped languages.
pub(crate) const LANGUAGES: [&str; 2] = ["en", "ru"];

/// Params of a kind, with `value` wherever a text from outside may stand.
pub(crate) fn every(kind: &str, value: &str) -> Params {
    let tariff = |params: Params| params.with("tariff", words(value));
    let with_reason = |mut item: BTreeMap<String, Value>| {
        item.insert("reason".to_owned(), words(value));
        item
    };
    match kind {
        "renewed" => tariff(renewed()),
        "balance_short" => tariff(balance_short("first", Duration::hours(1))),
        "charge_ahead" => tariff(charge_ahead(0)),
        "trial_reminder" => tariff(trial_reminder(value, Duration::hours(1))),
        "trial_over" | "subscription_over" => over(value),
        "alert_parked" => alert(1, vec![with_reason(parked(7))]),
        "alert_brake" => alert(1, vec![with_reason(braked())]),
        "alert_dead" => alert(1, vec![with_reason(dead())]),
        _ => panic!("no sample of {kind}: write one"),
    }
}
