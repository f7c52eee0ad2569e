//! Every shipped text in English, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use common::{
    AMOUNTS, COUNTS, DATES, SPANS, alert, amounts, balance_short, braked, charge_ahead, dates, dead, headings, over,
    parked, renewed, shipped, spans, trial_reminder,
};
use insta::assert_snapshot;
use time::Duration;

const LANGUAGE: &str = "en";

fn text(kind: &str, params: &perennial_texts::Params) -> String {
    shipped(LANGUAGE, kind, params)
}

#[test]
fn a_receipt() {
    assert_snapshot!(text("renewed", &renewed()), @r"
    <b>Your subscription has been renewed</b>

    Plan: basic_30
    Charged: 199~₽
    Balance: 1,234.50~₽
    Valid until 24 December, 18:30
    ");
}

#[test]
fn amounts_are_in_rubles() {
    assert_snapshot!(amounts(LANGUAGE, &AMOUNTS), @r"
    0: Charged: 0~₽
    1: Charged: 0.01~₽
    9: Charged: 0.09~₽
    10: Charged: 0.10~₽
    100: Charged: 1~₽
    101: Charged: 1.01~₽
    99900: Charged: 999~₽
    100000: Charged: 1,000~₽
    123450: Charged: 1,234.50~₽
    123456789: Charged: 1,234,567.89~₽
    -5: Charged: −0.05~₽
    -9223372036854775808: Charged: −92,233,720,368,547,758.08~₽
    ");
}

#[test]
fn dates_name_the_year_when_it_is_another() {
    assert_snapshot!(dates(LANGUAGE, &DATES), @r"
    Valid until 1 January, 00:00
    Valid until 28 February, 09:05
    Valid until 31 March, 23:59
    Valid until 2 April, 12:00
    Valid until 3 May, 12:00
    Valid until 4 June, 12:00
    Valid until 5 July, 12:00
    Valid until 6 August, 12:00
    Valid until 7 September, 12:00
    Valid until 8 October, 12:00
    Valid until 24 November, 18:30
    Valid until 31 December, 23:59
    Valid until 1 January 2027, 00:00
    ");
}

#[test]
fn a_short_balance_first() {
    assert_snapshot!(text("balance_short", &balance_short("first", Duration::hours(6))), @r"
    <b>Your balance does not cover the renewal</b>

    Plan: basic_30, 199~₽
    Balance: 50.01~₽
    Missing: <b>148.99~₽</b>

    Top up by 25 November, 00:30 (6 hours left), and it will renew automatically.
    ");
}

#[test]
fn a_short_balance_for_the_last_time() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(41))), @r"
    <b>Last reminder: your balance does not cover the renewal</b>

    Plan: basic_30, 199~₽
    Balance: 50.01~₽
    Missing: <b>148.99~₽</b>

    Top up by 24 November, 19:11 (41 minutes left), and it will renew automatically.
    ");
}

#[test]
fn a_short_balance_in_the_grace_after_the_end() {
    assert_snapshot!(text("balance_short", &balance_short("final", Duration::minutes(-3))), @r"
    <b>Last reminder: your balance does not cover the renewal</b>

    Plan: basic_30, 199~₽
    Balance: 50.01~₽
    Missing: <b>148.99~₽</b>

    The subscription ended on 24 November, 18:27. Top up right now: for a few minutes it can still be renewed.
    ");
}

#[test]
fn a_charge_ahead_that_the_balance_covers() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_900)), @r"
    <b>Renewal on 25 November, 18:30</b>

    We will charge 199~₽ for the plan basic_30.
    Balance: 199~₽
    That is enough, there is nothing to do.
    ");
}

#[test]
fn a_charge_ahead_that_the_balance_does_not_cover() {
    assert_snapshot!(text("charge_ahead", &charge_ahead(19_899)), @r"
    <b>Renewal on 25 November, 18:30</b>

    We will charge 199~₽ for the plan basic_30.
    Balance: 198.99~₽
    Missing: <b>0.01~₽</b>. Top up by 26 November, 00:30.
    ");
}

#[test]
fn a_trial_is_reminded_by_the_time_that_is_left() {
    assert_snapshot!(text("trial_reminder", &trial_reminder("60h", Duration::hours(12))), @r"
    <b>Your trial: 12 hours left</b>

    It ends on 25 November, 06:30. Buy a subscription before then, and you will stay connected.
    ");
    // Sent late, and of a trial whose stages have other names: the text does not know the stage.
    let late = trial_reminder("anything", Duration::minutes(135));
    assert_snapshot!(text("trial_reminder", &late), @r"
    <b>Your trial: 2 hours 15 minutes left</b>

    It ends on 24 November, 20:45. Buy a subscription before then, and you will stay connected.
    ");
}

#[test]
fn spans_in_every_plural_form() {
    assert_snapshot!(spans(LANGUAGE, &SPANS), @r"
    -5: <b>Your trial: less than a minute left</b>
    0: <b>Your trial: less than a minute left</b>
    59: <b>Your trial: less than a minute left</b>
    60: <b>Your trial: 1 minute left</b>
    120: <b>Your trial: 2 minutes left</b>
    300: <b>Your trial: 5 minutes left</b>
    660: <b>Your trial: 11 minutes left</b>
    1260: <b>Your trial: 21 minutes left</b>
    1320: <b>Your trial: 22 minutes left</b>
    3599: <b>Your trial: 1 hour left</b>
    3600: <b>Your trial: 1 hour left</b>
    3660: <b>Your trial: 1 hour left</b>
    8140: <b>Your trial: 2 hours 15 minutes left</b>
    18060: <b>Your trial: 5 hours left</b>
    77520: <b>Your trial: 21 hours 30 minutes left</b>
    86399: <b>Your trial: 1 day left</b>
    86400: <b>Your trial: 1 day left</b>
    89940: <b>Your trial: 1 day 1 hour left</b>
    90000: <b>Your trial: 1 day 1 hour left</b>
    183600: <b>Your trial: 2 days 3 hours left</b>
    432000: <b>Your trial: 5 days left</b>
    990000: <b>Your trial: 11 days 11 hours left</b>
    1893600: <b>Your trial: 21 days 22 hours left</b>
    ");
}

#[test]
fn a_trial_that_is_over() {
    assert_snapshot!(text("trial_over", &over("trial")), @r"
    <b>Your trial is over</b>

    It ended on 24 November, 18:29. Buy a subscription to get access again.
    ");
}

#[test]
fn a_subscription_that_is_over() {
    assert_snapshot!(text("subscription_over", &over("plus_1m")), @r"
    <b>Your subscription is over</b>

    Plan: plus_1m
    It ended on 24 November, 18:29. Buy a new period to get access again.
    ");
}

#[test]
fn parked_subscriptions() {
    assert_snapshot!(text("alert_parked", &alert(5, vec![parked(7), parked(8)])), @r"
    <b>5 subscriptions are parked</b>

    • renew, subscription 7: tariff old_30 is withdrawn
    • renew, subscription 8: tariff old_30 is withdrawn
    …and 3 more

    Look: <code>perennial parked</code>. Try again: <code>perennial unpark PASS SUBSCRIPTION_ID</code>.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_parked", &COUNTS, &parked(7)), @r"
    <b>A subscription is parked</b>
    <b>2 subscriptions are parked</b>
    <b>5 subscriptions are parked</b>
    <b>11 subscriptions are parked</b>
    <b>21 subscriptions are parked</b>
    <b>22 subscriptions are parked</b>
    <b>100 subscriptions are parked</b>
    ");
}

#[test]
fn passes_stopped_by_a_brake() {
    assert_snapshot!(text("alert_brake", &alert(1, vec![braked()])), @r"
    <b>A brake has stopped a pass</b>

    • expire-fast: 42 subscriptions are over at once

    Nothing was ended or removed there. A person must look.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_brake", &COUNTS, &braked()), @r"
    <b>A brake has stopped a pass</b>
    <b>Brakes have stopped 2 passes</b>
    <b>Brakes have stopped 5 passes</b>
    <b>Brakes have stopped 11 passes</b>
    <b>Brakes have stopped 21 passes</b>
    <b>Brakes have stopped 22 passes</b>
    <b>Brakes have stopped 100 passes</b>
    ");
}

#[test]
fn notices_that_are_dead() {
    assert_snapshot!(text("alert_dead", &alert(1, vec![dead()])), @r"
    <b>A notice could not be delivered</b>

    • renewed, user 1000000007: not sent: HTTP 502

    Look: <code>perennial notices list</code>.
    ");
    assert_snapshot!(headings(LANGUAGE, "alert_dead", &COUNTS, &dead()), @r"
    <b>A notice could not be delivered</b>
    <b>2 notices could not be delivered</b>
    <b>5 notices could not be delivered</b>
    <b>11 notices could not be delivered</b>
    <b>21 notices could not be delivered</b>
    <b>22 notices could not be delivered</b>
    <b>100 notices could not be delivered</b>
    ");
}
