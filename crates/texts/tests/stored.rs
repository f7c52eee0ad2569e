//! Params as the passes store them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use common::{NOW, moment, renewed};
use perennial_core::time::micros;
use perennial_texts::{Params, TextError, Texts, kinds, time_params};
use serde_json::{Value as Json, json};
use time::{Duration, PrimitiveDateTime};

fn at(local: PrimitiveDateTime) -> i64 {
    micros(moment(local).at)
}

/// What PostgreSQL answers to `AT TIME ZONE`, for a receiver three hours ahead of UTC.
fn read(kind: &str, stored: &Json) -> Result<Params, TextError> {
    Params::from_json(kind, stored, moment(NOW), |name| {
        let at = perennial_core::time::from_micros(stored[name].as_i64()?)? + Duration::hours(3);
        Some(PrimitiveDateTime::new(at.date(), at.time()))
    })
}

fn stored_receipt() -> Json {
    json!({
        "tariff": "basic_30",
        "amount_kopecks": 19_900,
        "balance_kopecks": 123_450,
        "until": at(time::macros::datetime!(2026-12-24 18:30)),
    })
}

#[test]
fn a_stored_receipt_is_read_as_it_was_written() {
    assert_eq!(read("renewed", &stored_receipt()), Ok(renewed()));
}

#[test]
fn every_kind_says_which_params_are_times() {
    let all: Vec<_> = kinds().map(|kind| (kind, time_params(kind).collect::<Vec<_>>().join(" "))).collect();
    let expected = [
        ("renewed", "until"),
        ("balance_short", "deadline"),
        ("charge_ahead", "charge_at deadline"),
        ("trial_reminder", "ends"),
        ("trial_over", "ended"),
        ("subscription_over", "ended"),
        ("alert_parked", ""),
        ("alert_brake", ""),
        ("alert_dead", ""),
    ];
    assert_eq!(all, expected.map(|(kind, times)| (kind, times.to_owned())));
    assert_eq!(time_params("unheard_of").count(), 0);
}

#[test]
fn a_list_is_read_with_or_without_its_count() {
    let item = json!({ "pass": "renew", "subscription_id": 7, "reason": "tariff old is withdrawn" });
    let texts = Texts::load(None, None).unwrap();
    let html = |stored: &Json| texts.render("alert_parked", None, &read("alert_parked", stored).unwrap()).unwrap().html;
    assert!(html(&json!({ "items": [item, item] })).starts_with("<b>2 subscriptions are parked</b>"));
    assert!(html(&json!({ "items": [item], "count": 70 })).contains("…and 69 more"));
}

#[test]
fn keys_of_a_newer_program_are_left_alone() {
    let mut stored = stored_receipt();
    stored["bonus_kopecks"] = json!(500);
    assert_eq!(read("renewed", &stored), Ok(renewed()));
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    for (key, value, expected) in [
        ("amount_kopecks", json!(null), "renewed: amount_kopecks is missing"),
        ("amount_kopecks", json!("19900"), "renewed: amount is not a whole number of kopecks"),
        ("amount_kopecks", json!(199.5), "renewed: amount is not a whole number of kopecks"),
        ("tariff", json!(30), "renewed: tariff is not a text"),
        ("until", json!("2026-12-24"), "renewed: until is not a time in microseconds since 1970"),
        ("until", json!(i64::MAX), "renewed: until is not a time in microseconds since 1970"),
    ] {
        let mut stored = stored_receipt();
        stored[key] = value;
        assert_eq!(read("renewed", &stored).unwrap_err().to_string(), expected);
    }
    let error = Params::from_json("renewed", &stored_receipt(), moment(NOW), |_| None).unwrap_err();
    assert_eq!(error.to_string(), "renewed: local until is missing");
    assert_eq!(read("renewed", &json!(7)).unwrap_err().to_string(), "renewed: tariff is missing");
    let error = read("alert_dead", &json!({ "items": [{ "kind": "renewed" }] })).unwrap_err();
    assert_eq!(error.to_string(), "alert_dead: telegram_id is missing");
}
