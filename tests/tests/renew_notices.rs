//! What a customer is told, and how often; and what a refund does to the names of charges and receipts.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_core::money::Kopecks;
use perennial_core::time::{Timestamp, micros};
use perennial_testkit::builders::Tariff;
use perennial_testkit::db_test;
use support::books::assert_sound;
use support::{BASIC, DAY, GRACE, HOUR, MICROSECOND, NOW, PRICE, World, telegram_id};

const END: Timestamp = time::macros::datetime!(2026-03-10 18:00 UTC);

/// Kind, stage, what is missing, and until when it is of use.
const NOTICES: &str = "SELECT concat_ws(' ', kind, params ->> 'stage', params ->> 'missing_kopecks', \
                       to_char(useless_after AT TIME ZONE 'UTC', 'HH24:MI')) FROM notices ORDER BY id";

#[test]
fn a_short_wallet_is_told_once_first_and_once_finally_however_many_passes_run() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE - 4_900, END).await;
        let mut written = 0;
        while world.clock_now() < END + GRACE {
            written += world.run().await.summary.notices_written;
            world.advance(HOUR / 6).await;
        }
        assert_eq!(written, 2);
        assert_eq!(world.column(NOTICES).await, ["balance_short first 4900 18:15", "balance_short final 4900 18:15"]);
        assert_eq!(world.audit(id).await, ["renewal_short", "renewal_short"], "history shows what was new");
        let start = micros(END);
        assert_eq!(
            world.notices(id).await,
            [format!("balance_short:{id}:{start}:first"), format!("balance_short:{id}:{start}:final")]
        );
        assert_sound(&world.client).await;
    });
}

#[test]
fn the_final_notice_is_due_an_hour_before_the_end_to_the_microsecond() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, END).await;
        world.run().await;
        world.set_clock(END - HOUR - MICROSECOND).await;
        assert_eq!(world.run().await.summary.notices_written, 0);
        world.set_clock(END - HOUR).await;
        assert_eq!(world.run().await.summary.notices_written, 1);
    });
}

#[test]
fn a_row_first_seen_in_its_last_hour_is_told_once_and_finally() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, END).await;
        world.set_clock(END - HOUR / 2).await;
        world.run().await;
        world.advance(HOUR / 4).await;
        world.run().await;
        assert_eq!(world.column(NOTICES).await, ["balance_short final 19900 18:15"]);
    });
}

#[test]
fn a_top_up_that_is_not_enough_and_a_new_price_are_history_and_no_notice() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, 100, END).await;
        world.run().await;
        world.bot().top_up(telegram_id(1), Kopecks(200), "a little").await.unwrap();
        assert_eq!(world.run().await.summary.notices_written, 0);
        Tariff { price: Kopecks(29_900), ..BASIC }.put(&world.client).await;
        assert_eq!(world.run().await.summary.notices_written, 0);
        assert_eq!(world.run().await.summary.notices_written, 0);
        let tries = "SELECT concat_ws(' ', before ->> 'balance_kopecks', after ->> 'price_kopecks', \
                     after ->> 'missing_kopecks') FROM audit_log WHERE action = 'renewal_short' ORDER BY id";
        assert_eq!(world.column(tries).await, ["100 19900 19800", "300 19900 19600", "300 29900 29600"]);
        let seen = "SELECT concat_ws(' ', short_stage, short_balance_kopecks, short_price_kopecks) FROM subscriptions";
        assert_eq!(world.column(seen).await, ["first 300 29900"]);
        assert_eq!(world.end(id).await, END);
    });
}

#[test]
fn every_period_has_notices_of_its_own() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, 0, END).await;
        world.run().await;
        world.bot().top_up(telegram_id(1), Kopecks(PRICE), "enough").await.unwrap();
        world.run().await;
        world.set_clock(world.end(id).await - HOUR * 2).await;
        world.run().await;
        let expected = ["balance_short first 19900 18:15", "renewed", "balance_short first 19900 18:15"];
        assert_eq!(world.column(NOTICES).await, expected);
        let keys = world.notices(id).await;
        assert_ne!(keys[0], keys[2]);
    });
}

#[test]
fn a_user_who_cannot_be_told_is_not_told_less_often_or_more() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, END).await;
        world.execute("UPDATE users SET telegram_unreachable_since = now()").await;
        for _ in 0..3 {
            world.run().await;
        }
        assert_eq!(world.column(NOTICES).await.len(), 1);
    });
}

/// The latest payment of subscription 1 that stands.
const LATEST: &str = "SELECT id FROM payments WHERE voided_at IS NULL ORDER BY period_start DESC LIMIT 1";

#[test]
fn a_refunded_period_is_charged_again_only_when_asked_for_and_under_a_numbered_key() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE, END).await;
        let start = micros(END);
        for number in ["", ":2", ":3"] {
            assert_eq!(world.run().await.renewed(), [id], "{number}");
            assert_eq!(world.balance(1).await, 0);
            assert_eq!(world.charges(1).await.last(), Some(&format!("renew:{id}:{start}{number}")));
            assert_eq!(world.notices(id).await.last(), Some(&format!("renewed:{id}:{start}{number}")));

            let payment = world.number(LATEST).await;
            let end = world.bot().refund(payment, &format!("refund {number}")).await.unwrap();
            assert_eq!((end, world.balance(1).await), (END, PRICE), "{number}");
            assert_eq!(world.run().await.summary.listed, 0, "a refund switches automatic renewal off");
            world.bot().set_auto_renew(id, true).await.unwrap();
            // One period a pass, and a pass begins after the last.
            world.advance(MICROSECOND).await;
        }
        assert_sound(&world.client).await;
    });
}

#[test]
fn a_period_refunded_in_its_middle_ends_at_once_and_is_charged_anew_from_there() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE, END).await;
        world.run().await;
        world.set_clock(END + DAY * 10).await;
        let payment = world.number(LATEST).await;
        let end = world.bot().refund(payment, "refund").await.unwrap();
        assert_eq!(end, END + DAY * 10);
        world.bot().set_auto_renew(id, true).await.unwrap();
        assert_eq!(world.run().await.renewed(), [id]);
        assert_eq!(world.charges(1).await.last(), Some(&format!("renew:{id}:{}", micros(end))));
        assert_sound(&world.client).await;
    });
}

#[test]
fn a_cancelled_period_switched_on_again_is_parked_and_never_charged_for_days_already_paid() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE * 2, END).await;
        world.run().await;
        world.bot().cancel(id, "cancel").await.unwrap();
        assert_eq!(world.run().await.summary.listed, 0, "a cancelled row is never charged");
        // Cancelled before its paid period even began, the old end is charged by nobody: those days are not paid.
        assert_eq!(world.end(id).await, NOW);
        world.set_clock(NOW + MICROSECOND).await;
        assert!(world.bot().set_auto_renew(id, true).await.is_err(), "it is bought again, not switched on");
        // Somebody does it by hand all the same.
        let by_hand = format!("UPDATE subscriptions SET auto_renew = true WHERE id = {id}");
        world.client.batch_execute(&by_hand).await.unwrap();
        let ran = world.run().await;
        assert_eq!((ran.summary.renewed, ran.summary.parked), (0, 1), "{ran:?}");
        assert_eq!(world.balance(1).await, PRICE);
        let (_, reason, for_good) = world.parked(id).await.unwrap();
        assert!(reason.contains("payments_no_day_twice") && for_good, "{reason}");
        assert_sound(&world.client).await;
    });
}
