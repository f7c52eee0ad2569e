//! What is asked again just before a notice is sent, quiet hours, and the receiver's own time.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::time::Duration;

use delivery_support::{DAY, HOUR, MINUTE, NOW, Outbox, about, notice, quiet};
use perennial_core::db::NewNotice;
use perennial_core::ids::SubscriptionId;
use perennial_core::time::{Timestamp, micros};
use perennial_testkit::builders::{Status, Subscription, User};
use perennial_testkit::db_test;
use serde_json::json;
use time::macros::{datetime, time};

/// An active row of this source that ends at `end`.
async fn right(outbox: &Outbox, user: i64, source: &'static str, end: Timestamp) -> SubscriptionId {
    let subscription =
        Subscription { source, auto_renew: source == "payment", ..Subscription::paid(user, "basic_1m", end) };
    subscription.put(&outbox.client).await
}

/// A reminder of a trial that ends at `end`, as `notify-trials` writes it.
fn reminder(user: i64, trial: SubscriptionId, end: Timestamp) -> NewNotice {
    let params = json!({ "tariff": "basic_1m", "stage": "60h", "ends": micros(end) });
    NewNotice { useless_after: Some(end), ..about(user, "trial_reminder", Some(trial), params) }
}

fn short(user: i64, subscription: SubscriptionId, end: Timestamp) -> NewNotice {
    let params = json!({ "price_kopecks": 19_900, "balance_kopecks": 0, "deadline": micros(end) });
    about(user, "balance_short", Some(subscription), params)
}

/// What becomes of a notice, and why.
async fn fate(outbox: &Outbox, id: i64) -> (String, String) {
    drop(outbox.deliver().await);
    let (status, _, why) = outbox.state(id).await;
    (status, why)
}

fn dropped(why: &str) -> (String, String) {
    ("dropped".to_owned(), why.to_owned())
}

fn sent() -> (String, String) {
    ("sent".to_owned(), String::new())
}

#[test]
fn a_reminder_of_a_trial_is_not_sent_to_who_has_paid_meanwhile() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let end = NOW + HOUR * 12;
        for user in 1..=3 {
            User::new(user, 0).put(&outbox.client).await;
        }
        let mut ids = Vec::new();
        for user in 1..=3 {
            let trial = right(&outbox, user, "trial", end).await;
            ids.push(outbox.write(reminder(user, trial, end)).await);
        }
        right(&outbox, 1, "payment", NOW + DAY * 30).await;
        // A paid right that is over is none, and a gift is no payment.
        right(&outbox, 2, "payment", NOW).await;
        right(&outbox, 3, "grant", NOW + DAY * 30).await;
        assert_eq!(fate(&outbox, ids[0]).await, dropped("paid"));
        assert_eq!(fate(&outbox, ids[1]).await, sent());
        assert_eq!(fate(&outbox, ids[2]).await, sent());
    });
}

#[test]
fn a_reminder_of_an_end_that_moved_or_came_is_not_sent() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let end = NOW + HOUR * 12;
        for user in 1..=2 {
            User::new(user, 0).put(&outbox.client).await;
        }
        let moved = right(&outbox, 1, "trial", end).await;
        let moved_notice = outbox.write(reminder(1, moved, end)).await;
        outbox.execute(&format!("UPDATE subscriptions SET expires_at = expires_at + '1 h' WHERE id = {moved}")).await;
        assert_eq!(fate(&outbox, moved_notice).await, dropped("over or moved"));

        let over = Subscription { source: "trial", status: Status::Expiring, ..Subscription::paid(2, "basic_1m", end) };
        let over = over.put(&outbox.client).await;
        let over_notice = outbox.write(reminder(2, over, end)).await;
        assert_eq!(fate(&outbox, over_notice).await, dropped("over or moved"));
    });
}

#[test]
fn what_is_useless_is_dropped_at_that_moment_and_not_before() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let until = NOW + MINUTE;
        let early = outbox.write(NewNotice { useless_after: Some(until), ..notice(1, "news") }).await;
        let late = outbox.write(NewNotice { useless_after: Some(until), ..notice(2, "news") }).await;
        outbox.execute(&format!("UPDATE notices SET not_before = '{until}' WHERE id = {late}")).await;
        outbox.clock.set(until - Duration::from_micros(1));
        assert_eq!(fate(&outbox, early).await, sent());
        outbox.clock.set(until);
        assert_eq!(fate(&outbox, late).await, dropped("too late"));
    });
}

#[test]
fn a_short_balance_is_not_spoken_of_after_the_renewal_or_the_top_up() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let end = NOW + HOUR * 5;
        let mut ids = Vec::new();
        // 1 stays short, 2 was renewed, 3 has topped up enough, 4 not enough.
        for (user, balance) in [(1, 0), (2, 0), (3, 19_900), (4, 19_899)] {
            User::new(user, balance).put(&outbox.client).await;
            let id = right(&outbox, user, "payment", end).await;
            ids.push(outbox.write(short(user, id, end)).await);
        }
        outbox.execute("UPDATE subscriptions SET expires_at = expires_at + '30 d' WHERE telegram_id = 2").await;
        assert_eq!(fate(&outbox, ids[0]).await, sent());
        assert_eq!(fate(&outbox, ids[1]).await, dropped("renewed or over"));
        assert_eq!(fate(&outbox, ids[2]).await, dropped("topped up"));
        assert_eq!(fate(&outbox, ids[3]).await, sent());
    });
}

#[test]
fn a_charge_that_is_announced_needs_a_right_to_renew() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for user in 1..=2 {
            User::new(user, 0).put(&outbox.client).await;
        }
        let live = right(&outbox, 1, "payment", NOW + DAY).await;
        let ahead = |user, id| about(user, "charge_ahead", Some(id), json!({ "charge_at": micros(NOW + HOUR * 18) }));
        let ahead_of_live = outbox.write(ahead(1, live)).await;
        assert_eq!(fate(&outbox, ahead_of_live).await, sent());
        let over = Subscription { status: Status::Expired, ..Subscription::paid(2, "basic_1m", NOW) };
        let over = over.put(&outbox.client).await;
        let ahead_of_over = outbox.write(ahead(2, over)).await;
        assert_eq!(fate(&outbox, ahead_of_over).await, dropped("renewed or over"));
    });
}

#[test]
fn what_will_not_be_charged_is_not_spoken_of_as_if_it_would() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let end = NOW + DAY;
        let mut ids = Vec::new();
        // 1 stays as it is, 2 switches automatic renewal off, 3 is parked, 4 has only failed once.
        for user in 1..=4 {
            User::new(user, 0).put(&outbox.client).await;
            let id = right(&outbox, user, "payment", end).await;
            let params = json!({ "amount_kopecks": 19_900, "deadline": micros(end) });
            ids.push((outbox.write(about(user, "charge_ahead", Some(id), params)).await, id));
        }
        outbox.execute("UPDATE subscriptions SET auto_renew = false WHERE telegram_id = 2").await;
        for (user, next) in [(3, "NULL"), (4, "now()")] {
            let id = ids[user - 1].1;
            let parked = "INSERT INTO parked (pass, subscription, tries, reason, next_try_at)";
            outbox.execute(&format!("{parked} VALUES ('renew', {id}, 1, 'a test', {next})")).await;
        }
        assert_eq!(fate(&outbox, ids[0].0).await, sent());
        assert_eq!(fate(&outbox, ids[1].0).await, dropped("will not be charged"));
        assert_eq!(fate(&outbox, ids[2].0).await, dropped("will not be charged"));
        assert_eq!(fate(&outbox, ids[3].0).await, sent());
        // A short balance of such a row is no news either: nothing would come of a top-up.
        let short_of_off = outbox.write(short(2, ids[1].1, end)).await;
        assert_eq!(fate(&outbox, short_of_off).await, dropped("will not be charged"));
    });
}

#[test]
fn an_ending_is_told_unless_its_receiver_pays_again() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for user in 1..=2 {
            User::new(user, 0).put(&outbox.client).await;
            let over = Subscription { status: Status::Expiring, ..Subscription::paid(user, "basic_1m", NOW) };
            let over = over.put(&outbox.client).await;
            outbox.write(about(user, "subscription_over", Some(over), json!({ "ended": micros(NOW) }))).await;
        }
        right(&outbox, 1, "payment", NOW + DAY * 30).await;
        assert_eq!(outbox.deliver().await.sent, 1);
        assert_eq!(outbox.chats(), [2]);
    });
}

#[test]
fn of_several_reminders_that_waited_only_the_newest_is_sent() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let end = NOW + HOUR;
        User::new(1, 0).put(&outbox.client).await;
        User::new(2, 0).put(&outbox.client).await;
        let (trial, other) = (right(&outbox, 1, "trial", end).await, right(&outbox, 2, "trial", end).await);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(outbox.write(reminder(1, trial, end)).await);
        }
        let others = outbox.write(reminder(2, other, end)).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dropped), (2, 2));
        assert_eq!((outbox.status(ids[2]).await, outbox.status(others).await), ("sent".to_owned(), "sent".to_owned()));
        assert_eq!(outbox.state(ids[0]).await.2, "a newer one follows");
    });
}

#[test]
fn quiet_hours_put_reminders_off_in_the_receivers_own_night_and_nothing_that_is_urgent_or_a_receipt() {
    db_test(async |db| {
        let mut outbox = Outbox::new(db).await;
        outbox.settings.claim.quiet_hours = quiet(time!(23:00), time!(08:00));
        outbox.users(4).await;
        // At 2026-03-11 04:00 UTC it is 01:00 in São Paulo and 09:30 in Kolkata.
        outbox.execute("UPDATE users SET time_zone = 'America/Sao_Paulo' WHERE telegram_id IN (1, 4)").await;
        outbox.execute("UPDATE users SET time_zone = 'Asia/Kolkata' WHERE telegram_id = 2").await;
        outbox.clock.set(datetime!(2026-03-11 04:00 UTC));
        let (night, day, default) = (outbox.reminder(1).await, outbox.reminder(2).await, outbox.reminder(3).await);
        let urgent = outbox.write(NewNotice { urgent: true, ..notice(4, "news") }).await;
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dropped), (2, 0));
        assert_eq!((outbox.status(day).await, outbox.status(urgent).await), ("sent".to_owned(), "sent".to_owned()));
        assert_eq!(outbox.time("not_before", night).await, Some(datetime!(2026-03-11 11:00 UTC)), "08:00 in São Paulo");
        assert_eq!(
            outbox.time("not_before", default).await,
            Some(datetime!(2026-03-11 08:00 UTC)),
            "users without a zone have the default"
        );
        assert_eq!(outbox.state(night).await.1, 0, "waiting is no attempt");
        let ending = outbox.ending(1).await;
        assert_eq!(fate(&outbox, ending).await, sent());

        outbox.settings.claim.default_time_zone = "America/Sao_Paulo".to_owned();
        outbox.clock.set(datetime!(2026-03-11 10:59:59.999999 UTC));
        drop(outbox.deliver().await);
        assert_eq!(
            outbox.time("not_before", default).await,
            Some(datetime!(2026-03-11 11:00 UTC)),
            "the default zone was changed"
        );
        outbox.clock.set(datetime!(2026-03-11 11:00 UTC));
        assert_eq!(outbox.deliver().await.sent, 2);
    });
}

#[test]
fn the_edges_of_quiet_hours_are_half_open_on_both_sides_of_midnight() {
    db_test(async |db| {
        let mut outbox = Outbox::new(db).await;
        let mut chat = 0;
        for (quiet_hours, now, until) in [
            (quiet(time!(23:00), time!(08:00)), datetime!(2026-03-10 22:59:59.999999 UTC), None),
            (quiet(time!(23:00), time!(08:00)), datetime!(2026-03-10 23:00 UTC), Some(datetime!(2026-03-11 08:00 UTC))),
            (quiet(time!(23:00), time!(08:00)), datetime!(2026-03-11 00:00 UTC), Some(datetime!(2026-03-11 08:00 UTC))),
            (quiet(time!(23:00), time!(08:00)), datetime!(2026-03-11 08:00 UTC), None),
            (quiet(time!(13:00), time!(14:30)), datetime!(2026-03-11 12:59:59.9 UTC), None),
            (quiet(time!(13:00), time!(14:30)), datetime!(2026-03-11 13:00 UTC), Some(datetime!(2026-03-11 14:30 UTC))),
            (quiet(time!(13:00), time!(14:30)), datetime!(2026-03-11 14:30 UTC), None),
            (quiet(time!(15:00), time!(00:00)), datetime!(2026-03-11 15:00 UTC), Some(datetime!(2026-03-12 00:00 UTC))),
            (None, datetime!(2026-03-12 03:00 UTC), None),
        ] {
            outbox.settings.claim.quiet_hours = quiet_hours;
            outbox.clock.set(now);
            chat += 1;
            let id = outbox.reminder(chat).await;
            drop(outbox.deliver().await);
            let expected = if until.is_some() { "pending" } else { "sent" };
            assert_eq!(outbox.status(id).await, expected, "{now}");
            assert_eq!(outbox.time("not_before", id).await, Some(until.unwrap_or(now)), "{now}");
            outbox.execute("DELETE FROM notices").await;
        }
    });
}

#[test]
fn times_are_told_by_the_receivers_clock_whatever_the_zone_of_the_host() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        outbox.users(3).await;
        outbox.execute("UPDATE users SET time_zone = 'America/Sao_Paulo' WHERE telegram_id = 1").await;
        outbox.execute("UPDATE users SET time_zone = 'Asia/Kolkata' WHERE telegram_id = 2").await;
        let params = json!({ "ends": micros(datetime!(2026-03-10 20:00 UTC)), "count": 3 });
        for chat in 1..=3 {
            outbox.write(about(chat, "news", None, params.clone())).await;
        }
        drop(outbox.deliver().await);
        let text = |chat: i64| outbox.messenger.messages_of(chat)[0].text.clone();
        assert!(text(1).ends_with(r#"{"ends":"2026-03-10T17:00:00","now":"2026-03-10T09:00:00"}"#), "{}", text(1));
        assert!(text(2).ends_with(r#"{"ends":"2026-03-11T01:30:00","now":"2026-03-10T17:30:00"}"#), "{}", text(2));
        assert!(text(3).ends_with(r#"{"ends":"2026-03-10T20:00:00","now":"2026-03-10T12:00:00"}"#), "{}", text(3));
    });
}

#[test]
fn params_that_are_no_times_cost_their_own_notice_at_most() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        for (ends, chat) in
            [json!("soon"), json!(9.1e30), json!(-5), json!(null), json!([1]), json!(1.5)].into_iter().zip(1..)
        {
            outbox.write(about(chat, "news", None, json!({ "ends": ends }))).await;
        }
        let summary = outbox.deliver().await;
        assert_eq!((summary.sent, summary.dead), (6, 0), "these texts do not need them; see `broken`");
        assert!(outbox.messenger.messages_of(1)[0].text.contains(r#""ends":null"#));
    });
}
