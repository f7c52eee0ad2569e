//! Every shipped text in Russian, word for word.

mod common;

use common::{
    AMOUNTS, COUNTS, DATES, SPANS, alert, amounts, balance_short, braked, charge_ahead, dates, dead, headings, over, parked,
    renewed, shipped, spans, trial_reminder,
};
use insta::assert_snapshot;
use time::Duration;

const LANGUAGE: &str = "ru";

fn text(kind: &str, params: &perennial_texts::Params) -> String {
    shipped(LANGUAGE, kind, params)
}

#[test]
fn a_receipt() {
    assert_snapshot!(text("renewed", &renewed()), @"");
}

#[test]
fn amounts_are_in_rubles() {
    assert_snapshot!(amounts(LANGUAGE, &AMOUNTS), @"");
}

#[test]
fn dates_name_the_year_when_it_is_another() {
    assert_snapshot!(dates(LANGUAGE, &DATES), @"");
}

#[test]
fn a_short_balance_first() {
    assert_snapshot!(text("balance_short", &balance_short("first", Duration::hours(6))), @"");
}

#[test]
fn a_short_balance_for_the_last_time() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(41))), @"");
}

#[test]
fn a_short_balance_in_the_grace_after_the_end() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(-3))), @"");
}

#[test]
fn a_charge_ahead_that_the_balance_covers() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_900)), @"");
}

#[test]
fn a_charge_ahead_that_the_balance_does_not_cover() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_899)), @"");
}

#[test]
fn a_trial_is_reminded_by_the_time_that_is_left() {
    assert_snapshot!(text("trial_reminder", &trial_reminder("60h", Duration::hours(12))), @"");
    // Sent late, and of a trial whose stages have other names: the text does not know the stage.
    let late = trial_reminder("anything", Duration::minutes(135));
    assert_snapshot!(text("trial_reminder", &late), @"");
}

#[test]
fn spans_in_every_plural_form() {
    assert_snapshot!(spans(LANGUAGE, &SPANS), @"");
}

#[test]
fn a_trial_that_is_over() {
    assert_snapshot!(text("trial_over", &over("trial")), @"");
}

#[test]
fn a_subscription_that_is_over() {
    assert_snapshot!(text("subscription_over", &over("plus_1m")), @"");
}

#[test]
fn parked_subscriptions() {
    assert_snapshot!(text("alert_parked", &alert(5, vec![parked(7), parked(8)])), @"");
    assert_snapshot!(headings(LANGUAGE, "alert_parked", &COUNTS, &parked(7)), @"");
}

#[test]
fn passes_stopped_by_a_brake() {
    assert_snapshot!(text("alert_brake", &alert(1, vec![braked()])), @"");
    assert_snapshot!(headings(LANGUAGE, "alert_brake", &COUNTS, &braked()), @"");
}

#[test]
fn notices_that_are_dead() {
    assert_snapshot!(text("alert_dead", &alert(1, vec![dead()])), @"");
    assert_snapshot!(headings(LANGUAGE, "alert_dead", &COUNTS, &dead()), @"");
}
