//! The one calendar, SQL function `period_end`, against sums of our own: every day of three years, chained over two
//! years, under session time zones that would move it.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{run, text};
use perennial_testkit::db_test;
use time::{Date, Duration, Month, OffsetDateTime, Time};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// Two common years and a leap one. Moscow changed its offset in 2014, São Paulo moved its clocks at midnight in 2018.
const YEARS: [i32; 3] = [2014, 2018, 2024];
const ZONES: [&str; 4] = ["UTC", "Europe/Moscow", "America/Sao_Paulo", "Asia/Kolkata"];
/// Periods sold, in months.
const MONTHS: [i32; 4] = [1, 3, 6, 12];
/// How far each subscription is renewed.
const CHAIN_MONTHS: i32 = 25;

/// One call of `period_end` and what it must answer.
#[derive(Debug, Clone, Copy)]
struct Case {
    start: OffsetDateTime,
    count: i32,
    anchor: i32,
    end: OffsetDateTime,
}

/// Each day of the years, just after midnight, by day and just before midnight.
fn starts() -> Vec<OffsetDateTime> {
    let times = [(0, 0, 0, 1), (12, 34, 56, 789_012), (23, 59, 59, 999_999)];
    let times = times.map(|(hour, minute, second, micro)| Time::from_hms_micro(hour, minute, second, micro).unwrap());
    let days = YEARS.into_iter().flat_map(|year| {
        let first = Date::from_calendar_date(year, Month::January, 1).unwrap();
        (0..i64::from(time::util::days_in_year(year))).map(move |day| first + Duration::days(day))
    });
    days.flat_map(|day| times.map(|time| day.with_time(time).assume_utc())).collect()
}

/// So many months after a start, on the anchor day or, where the month is shorter, on its last.
fn months_after(start: OffsetDateTime, months: i32, anchor: u8) -> OffsetDateTime {
    let since_year_zero = start.year() * 12 + i32::from(u8::from(start.month())) - 1 + months;
    let year = since_year_zero.div_euclid(12);
    let month = Month::try_from(u8::try_from(since_year_zero.rem_euclid(12) + 1).unwrap()).unwrap();
    let day = anchor.min(month.length(year));
    start.replace_date(Date::from_calendar_date(year, month, day).unwrap())
}

async fn ends(client: &Client, unit: &str, cases: &[Case]) -> Vec<OffsetDateTime> {
    let starts: Vec<OffsetDateTime> = cases.iter().map(|case| case.start).collect();
    let counts: Vec<i32> = cases.iter().map(|case| case.count).collect();
    let anchors: Vec<i32> = cases.iter().map(|case| case.anchor).collect();
    let sql = "SELECT period_end(c.start, $1, c.count, c.anchor)
               FROM unnest($2, $3, $4) WITH ORDINALITY AS c (start, count, anchor, n) ORDER BY c.n";
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&unit, Type::TEXT),
        (&starts, Type::TIMESTAMPTZ_ARRAY),
        (&counts, Type::INT4_ARRAY),
        (&anchors, Type::INT4_ARRAY),
    ];
    let rows = client.query_typed(sql, &parameters).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Asks in one statement a time zone and names the first case that differs.
async fn assert_ends(client: &Client, unit: &str, cases: &[Case]) {
    for zone in ZONES {
        run(client, &format!("SET TimeZone = '{zone}'")).await;
        let answered = ends(client, unit, cases).await;
        assert_eq!(answered.len(), cases.len());
        for (case, end) in cases.iter().zip(answered) {
            assert_eq!(end, case.end, "{zone}: {case:?}");
        }
    }
}

#[test]
fn months_end_on_the_anchor_day_which_comes_back_after_shorter_ones() {
    let mut cases = Vec::new();
    for first in starts() {
        for count in MONTHS {
            // Counted from the first start, not from period to period: nothing may be forgotten on the way.
            let after = |periods: i32| months_after(first, periods * count, first.day());
            for period in 1..=CHAIN_MONTHS / count {
                cases.push(Case {
                    start: after(period - 1),
                    count,
                    anchor: i32::from(first.day()),
                    end: after(period),
                });
            }
        }
    }
    assert!(cases.len() > 100_000);
    db_test(async |db| assert_ends(&db.client().await, "month", &cases).await);
}

#[test]
fn the_thirty_first_is_remembered_through_february() {
    let at = |year, month, day| {
        let date = Date::from_calendar_date(year, Month::try_from(month).unwrap(), day).unwrap();
        date.with_hms(21, 30, 0).unwrap().assume_utc()
    };
    let days = [(2023, 12, 31), (2024, 1, 31), (2024, 2, 29), (2024, 3, 31), (2024, 4, 30), (2024, 5, 31)];
    let cases: Vec<Case> = days
        .windows(2)
        .map(|pair| Case {
            start: at(pair[0].0, pair[0].1, pair[0].2),
            count: 1,
            anchor: 31,
            end: at(pair[1].0, pair[1].1, pair[1].2),
        })
        .collect();
    db_test(async |db| assert_ends(&db.client().await, "month", &cases).await);
}

/// An end that was moved does not lie on the anchor day: the next month is counted from it and is a whole one.
#[test]
fn a_month_from_a_moved_end_is_neither_shorter_nor_longer_than_a_month() {
    let mut cases = Vec::new();
    for start in starts().into_iter().skip(1).step_by(3) {
        for anchor in 1..=31_u8 {
            let lies_on_it = start.day() == anchor.min(start.month().length(start.year()));
            let day = if lies_on_it { anchor } else { start.day() };
            let end = months_after(start, 1, day);
            assert!((28..=31).contains(&(end - start).whole_days()), "{start} with {anchor}");
            cases.push(Case { start, count: 1, anchor: i32::from(anchor), end });
        }
    }
    db_test(async |db| assert_ends(&db.client().await, "month", &cases).await);
}

#[test]
fn a_day_has_twenty_four_hours_also_when_clocks_are_moved() {
    let mut cases = Vec::new();
    for start in starts() {
        for count in [1, 7, 30, 365, 3660] {
            cases.push(Case { start, count, anchor: 1, end: start + Duration::days(i64::from(count)) });
        }
    }
    db_test(async |db| assert_ends(&db.client().await, "day", &cases).await);
}

#[test]
fn a_unit_that_is_none_has_no_end() {
    db_test(async |db| {
        let client = db.client().await;
        assert_eq!(text(&client, "SELECT period_end(now(), 'week', 1, 1)").await, "-");
    });
}
