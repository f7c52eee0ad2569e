//! Which rows are charged, and how much: bounds to the microsecond, prices to the kopeck, months to the day.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::time::Duration;

use perennial_core::ids::SubscriptionId;
use perennial_core::money::Kopecks;
use perennial_core::time::Timestamp;
use perennial_testkit::builders::{Status, Subscription, Tariff, User, set_bot_clock, set_discount};
use perennial_testkit::db_test;
use support::books::assert_sound;
use support::{BASIC, DAY, GRACE, HOUR, MICROSECOND, NOW, PRICE, WINDOW, World, telegram_id};
use time::macros::datetime;

#[test]
fn window_and_grace_are_half_open_to_the_microsecond() {
    db_test(async |db| {
        let world = World::new(db).await;
        let ends = [
            ("past the grace", NOW - GRACE - MICROSECOND, false),
            ("the grace is over", NOW - GRACE, false),
            ("the last moment of the grace", NOW - GRACE + MICROSECOND, true),
            ("just over", NOW - MICROSECOND, true),
            ("over now", NOW, true),
            ("a moment to go", NOW + MICROSECOND, true),
            ("the first moment of the window", NOW + WINDOW, true),
            ("a moment too early", NOW + WINDOW + MICROSECOND, false),
        ];
        let mut rows = Vec::new();
        for (user, (what, end, due)) in (1..).zip(ends) {
            rows.push((world.subscriber(user, PRICE, end).await, user, what, end, due));
        }
        let ran = world.run().await;
        assert_eq!((ran.summary.listed, ran.summary.renewed), (5, 5));
        for (id, user, what, end, due) in rows {
            assert_eq!(world.balance(user).await, if due { 0 } else { PRICE }, "{what}");
            assert_eq!(world.end(id).await > end, due, "{what}");
        }
        // The clock moves on by a microsecond: the early row comes in, and nothing else does.
        world.advance(MICROSECOND).await;
        assert_eq!(world.run().await.summary.renewed, 1);
        assert_sound(&world.client).await;
    });
}

#[test]
fn the_passs_own_window_and_grace_are_kept() {
    db_test(async |db| {
        let world = World::new(db).await;
        let late = world.subscriber(1, PRICE, NOW - HOUR).await;
        let early = world.subscriber(2, PRICE, NOW + DAY * 3).await;
        assert_eq!(world.pass().window(DAY * 3 - MICROSECOND).grace(HOUR).run().await.summary.listed, 0);
        let ran = world.pass().window(DAY * 3).grace(HOUR + MICROSECOND).run().await;
        assert_eq!(ran.renewed(), [late, early]);
    });
}

#[test]
fn who_did_not_agree_to_be_charged_or_has_no_right_is_left_alone() {
    db_test(async |db| {
        let world = World::new(db).await;
        let paid = |user| Subscription::paid(user, BASIC.code, NOW + HOUR);
        let rows = [
            ("a trial", Subscription { source: "trial", ..paid(1) }),
            ("a grant", Subscription { source: "grant", ..paid(2) }),
            ("automatic renewal off", Subscription { auto_renew: false, ..paid(3) }),
            ("ended, not proven gone", Subscription { status: Status::Expiring, ..paid(4) }),
            ("expired", Subscription { status: Status::Expired, ..paid(5) }),
        ];
        let mut ids = Vec::new();
        for (what, row) in &rows {
            User::new(row.telegram_id.0, PRICE).put(&world.client).await;
            ids.push((row.put(&world.client).await, row.telegram_id.0, *what));
        }
        assert_eq!(world.run().await.summary.listed, 0);
        for (id, user, what) in ids {
            assert_eq!(world.balance(user).await, PRICE, "{what}");
            world.assert_untouched(id, user, PRICE, NOW + HOUR).await;
        }
    });
}

#[test]
fn a_user_who_cannot_be_reached_is_charged_like_any_other_and_the_receipt_waits() {
    db_test(async |db| {
        let world = World::new(db).await;
        User { unreachable_since: Some(NOW - DAY), ..User::new(1, PRICE) }.put(&world.client).await;
        let id = Subscription::paid(1, BASIC.code, NOW + HOUR).put(&world.client).await;
        let ran = world.run().await;
        assert_eq!(ran.renewed(), [id]);
        assert_eq!((world.balance(1).await, world.notices(id).await.len()), (0, 1));
    });
}

/// Percent off, and until when.
type Discount = (i32, Option<Timestamp>);
/// What is tried; VIP, discount, agreed price, list price; and what they come to.
type Priced = (&'static str, bool, Option<Discount>, Option<i64>, i64, i64);

const PRICES: &[Priced] = &[
    ("list price", false, None, None, PRICE, PRICE),
    ("VIP", true, None, None, PRICE, 13_930),
    ("discount", false, Some((15, None)), None, PRICE, 16_915),
    ("VIP beats a smaller discount", true, Some((15, None)), None, PRICE, 13_930),
    ("VIP beats a larger discount", true, Some((50, None)), None, PRICE, 13_930),
    ("rounded down to a kopeck", false, Some((33, None)), None, 199, 133),
    ("0.29 is 29 kopecks", false, None, None, 29, 29),
    ("1 % off a kopeck", false, Some((1, None)), None, 1, 0),
    ("100 % off", false, Some((100, None)), None, PRICE, 0),
    ("price 0", false, None, None, 0, 0),
    ("agreed price", false, None, Some(9_900), PRICE, 9_900),
    ("agreed price beats VIP and discount", true, Some((50, None)), Some(9_900), PRICE, 9_900),
    ("agreed price above the list", false, None, Some(29_900), PRICE, 29_900),
    ("agreed for nothing", false, None, Some(0), PRICE, 0),
    (
        "the discount's last moment",
        false,
        Some((50, Some(datetime!(2026-03-10 12:00:00.000001 UTC)))),
        None,
        PRICE,
        9_950,
    ),
    ("the discount has just ended", false, Some((50, Some(NOW))), None, PRICE, PRICE),
];

#[test]
fn the_charge_is_what_the_one_pricing_function_says_to_the_kopeck() {
    db_test(async |db| {
        let world = World::new(db).await;
        let mut rows = Vec::new();
        for (user, (what, vip, discount, agreed, list, price)) in (1..).zip(PRICES) {
            // Leaked: a code lives as long as the test.
            let code: &'static str = Box::leak(format!("tariff_{user}").into_boxed_str());
            Tariff::months(code, 1, *list).put(&world.client).await;
            User { vip: *vip, ..User::new(user, 100_000) }.put(&world.client).await;
            if let Some((percent, ends_at)) = discount {
                set_discount(&world.client, telegram_id(user), *percent, *ends_at).await;
            }
            let agreed_price = agreed.map(Kopecks);
            let row = Subscription { agreed_price, ..Subscription::paid(user, code, NOW + HOUR) };
            rows.push((row.put(&world.client).await, user, code, *what, *price));
        }
        let ran = world.run().await;
        assert_eq!(ran.summary.renewed, PRICES.len() as u64);
        for (id, user, code, what, price) in rows {
            assert_eq!(100_000 - world.balance(user).await, price, "{what}");
            let paid = format!("SELECT amount_kopecks FROM payments WHERE subscription_id = {id}");
            assert_eq!(world.number(&paid).await, price, "{what}");
            // Quoted is charged: the same customer buys the next period for the same price.
            world.bot().buy(telegram_id(user), code, true, &format!("again {user}")).await.unwrap();
            assert_eq!(100_000 - world.balance(user).await, 2 * price, "{what}, bought");
        }
        assert_sound(&world.client).await;
    });
}

#[test]
fn a_free_period_is_renewed_from_an_empty_wallet_and_has_a_payment_and_a_receipt() {
    db_test(async |db| {
        let world = World::new(db).await;
        User { discount: Some(100), ..User::new(1, 0) }.put(&world.client).await;
        let id = Subscription::paid(1, BASIC.code, NOW + HOUR).put(&world.client).await;
        assert_eq!(world.run().await.renewed(), [id]);
        let free = "SELECT count(*) FROM payments WHERE amount_kopecks = 0 AND transfer_id IS NULL";
        assert_eq!(world.number(free).await, 1);
        assert_eq!(world.notices(id).await.len(), 1);
        assert_eq!(world.run().await.summary.listed, 0, "once a period, though it is free");
    });
}

#[test]
fn a_price_changed_between_passes_is_charged_from_the_next_one_on() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE * 3, NOW + HOUR).await;
        world.run().await;
        Tariff { price: Kopecks(29_900), ..BASIC }.put(&world.client).await;
        world.set_clock(world.end(id).await - HOUR).await;
        assert_eq!(world.run().await.summary.charged, Kopecks(29_900));
        assert_eq!(world.balance(1).await, PRICE * 3 - PRICE - 29_900);
    });
}

#[test]
fn a_renewal_keeps_the_subscriptions_own_tariff_whatever_was_bought_or_topped_up_last() {
    db_test(async |db| {
        let world = World::new(db).await;
        Tariff { access_group: "plus", ..Tariff::days("plus_90", 90, 50_000) }.put(&world.client).await;
        User::new(1, 60_000).put(&world.client).await;
        let plus = Subscription { access_group: "plus", ..Subscription::paid(1, "plus_90", NOW + HOUR) };
        let id = plus.put(&world.client).await;
        world.bot().top_up(telegram_id(1), Kopecks(PRICE), "a basic period's worth").await.unwrap();
        assert_eq!(world.run().await.summary.charged, Kopecks(50_000));
        assert_eq!(world.end(id).await, NOW + HOUR + DAY * 90);
        let tariffs =
            "SELECT s.tariff || ' ' || p.tariff FROM subscriptions s JOIN payments p ON p.subscription_id = s.id";
        assert_eq!(world.column(tariffs).await, ["plus_90 plus_90"]);
    });
}

/// Renews again and again, an hour before each end, and answers the ends as dates.
async fn ends_of(world: &World, id: SubscriptionId, renewals: usize) -> Vec<String> {
    let mut ends = Vec::new();
    for _ in 0..renewals {
        world.set_clock(world.end(id).await - HOUR).await;
        assert_eq!(world.run().await.renewed(), [id]);
        ends.push(world.end(id).await.date().to_string());
    }
    ends
}

#[test]
fn months_return_to_the_day_of_the_purchase_after_short_ones() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.set_clock(datetime!(2026-12-31 21:30 UTC)).await;
        User::new(1, PRICE * 30).put(&world.client).await;
        let (id, end) = world.bot().buy(telegram_id(1), BASIC.code, true, "first").await.unwrap();
        assert_eq!(end, datetime!(2027-01-31 21:30 UTC));
        let expected = [
            "2027-02-28",
            "2027-03-31",
            "2027-04-30",
            "2027-05-31",
            "2027-06-30",
            "2027-07-31",
            "2027-08-31",
            "2027-09-30",
            "2027-10-31",
            "2027-11-30",
            "2027-12-31",
            "2028-01-31",
            "2028-02-29",
            "2028-03-31",
        ];
        assert_eq!(ends_of(&world, id, expected.len()).await, expected);
        assert_eq!(world.balance(1).await, PRICE * 15);
        assert_sound(&world.client).await;
    });
}

#[test]
fn several_months_and_days_are_counted_in_utc_whatever_zone_the_server_is_set_to() {
    db_test(async |db| {
        let name = db.name().to_owned();
        let world = World::new(db).await;
        // Clocks there go forward on 29 March 2026; new sessions of this database begin in that zone.
        world.execute(&format!("ALTER DATABASE {name} SET timezone = 'Europe/Berlin'")).await;
        Tariff::months("half_year", 6, 100).put(&world.client).await;
        Tariff::days("month_of_30", 30, 100).put(&world.client).await;
        for (user, code) in [(1, "half_year"), (2, "month_of_30")] {
            User::new(user, 10_000).put(&world.client).await;
            let end = datetime!(2026-08-31 23:30 UTC);
            let half_year = Subscription { anchor_day: Some(31), ..Subscription::paid(user, code, end) };
            half_year.put(&world.client).await;
        }
        world.set_clock(datetime!(2026-08-31 20:00 UTC)).await;
        assert_eq!(world.run().await.summary.renewed, 2);
        assert_eq!(world.end(SubscriptionId(1)).await, datetime!(2027-02-28 23:30 UTC));
        assert_eq!(world.end(SubscriptionId(2)).await, datetime!(2026-09-30 23:30 UTC));
    });
}

#[test]
fn after_forty_days_down_nothing_is_charged_that_has_run_out_and_no_more_than_a_period_of_what_has_not() {
    db_test(async |db| {
        let world = World::new(db).await;
        let gone = world.subscriber(1, PRICE * 9, NOW + HOUR).await;
        let alive = world.subscriber(2, PRICE * 9, NOW + DAY * 40 + HOUR).await;
        world.advance(DAY * 40).await;
        assert_eq!(world.run().await.renewed(), [alive]);
        world.assert_untouched(gone, 1, PRICE * 9, NOW + HOUR).await;
        assert_eq!(world.balance(2).await, PRICE * 8);
        for _ in 0..3 {
            assert_eq!(world.run().await.summary.listed, 0);
        }
        assert_eq!(world.balance(2).await, PRICE * 8);
    });
}

#[test]
fn what_is_due_is_decided_by_the_databases_time_and_not_by_the_hosts() {
    db_test(async |db| {
        let world = World::new(db).await;
        // The clock of a bot that thinks it is years ago or years ahead changes nothing for the pass.
        let id = world.subscriber(1, PRICE, NOW + HOUR).await;
        set_bot_clock(&world.client, NOW + DAY * 1000).await;
        assert_eq!(world.run().await.renewed(), [id]);
        let clock = std::sync::Arc::new(perennial_core::time::DatabaseClock::new());
        let pass = support::Pass::over(&world.db, clock);
        let due_by_the_server = "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at, auto_renew) \
                                 SELECT 2, 'payment', 'basic_1m', c.id, clock_timestamp() + interval '1 hour', true \
                                 FROM credentials c WHERE c.telegram_id = 2";
        User::new(2, PRICE).put(&world.client).await;
        world.execute("INSERT INTO credentials (telegram_id) VALUES (2)").await;
        world.execute(due_by_the_server).await;
        let before = Duration::ZERO;
        let ran = pass.run().await;
        assert_eq!(ran.summary.renewed, 1);
        assert_eq!(ran.summary.oldest_due, before);
    });
}
