//! `--charge-notice`: "we will charge N on D", once a period, and never in the way of a charge.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::time::Duration;

use perennial_core::db::{AnnouncementBounds, RenewalKey};
use perennial_core::ids::SubscriptionId;
use perennial_core::page::Pages;
use perennial_core::time::{Deadline, Timestamp, micros};
use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::db_test;
use support::books::assert_sound;
use support::holder::Holder;
use support::{BASIC, DAY, HOUR, MICROSECOND, NOW, PRICE, Ran, WINDOW, World, kopecks};

/// Within a day of [`NOW`] and beyond the window.
const END: Timestamp = time::macros::datetime!(2026-03-11 06:00 UTC);

/// Kind, amount, balance, what is missing; charge, deadline and uselessness in microseconds.
const ANNOUNCED: &str = "SELECT concat_ws(' ', kind, params ->> 'amount_kopecks', params ->> 'balance_kopecks', \
    params ->> 'missing_kopecks', params ->> 'charge_at', params ->> 'deadline', \
    (extract(epoch FROM useless_after) * 1000000)::bigint) FROM notices ORDER BY telegram_id, id";

async fn announce(world: &World) -> Ran {
    world.pass().charge_notice(DAY).run().await
}

async fn told(world: &World) -> Vec<i64> {
    let rows = world.column("SELECT telegram_id::text FROM notices WHERE kind = 'charge_ahead' ORDER BY id").await;
    rows.iter().map(|user| user.parse().unwrap()).collect()
}

#[test]
fn a_coming_charge_is_told_once_with_amount_balance_and_what_is_missing() {
    db_test(async |db| {
        let world = World::new(db).await;
        let rich = world.subscriber(1, PRICE + 100, END).await;
        let poor = world.subscriber(2, PRICE - 4_900, END).await;
        let ran = announce(&world).await;
        assert_eq!((ran.summary.listed, ran.summary.renewed, ran.summary.notices_written), (0, 0, 2));
        let (charge, end) = (micros(END - WINDOW), micros(END));
        assert_eq!(
            world.column(ANNOUNCED).await,
            [
                format!("charge_ahead 19900 20000 0 {charge} {end} {charge}"),
                format!("charge_ahead 19900 15000 4900 {charge} {end} {charge}"),
            ]
        );
        for id in [rich, poor] {
            assert_eq!(world.notices(id).await, [format!("charge_ahead:{id}:{end}")]);
            assert_eq!(world.audit(id).await, ["charge_announced"]);
        }
        // No later pass reads past them again.
        let told_for = "SELECT count(*) FROM subscriptions WHERE charge_told_for = expires_at";
        assert_eq!(world.number(told_for).await, 2);
        for _ in 0..3 {
            world.advance(HOUR).await;
            assert_eq!(announce(&world).await.summary.notices_written, 0);
        }
        world.set_clock(END - WINDOW).await;
        assert_eq!(announce(&world).await.renewed(), [rich]);
        assert_eq!(told(&world).await, [1, 2], "the next period is a month away");
        assert_sound(&world.client).await;
    });
}

#[test]
fn without_the_setting_nothing_is_announced() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, END).await;
        assert_eq!(world.run().await.summary.notices_written, 0);
    });
}

#[test]
fn the_time_of_announcing_is_half_open_to_the_microsecond() {
    db_test(async |db| {
        let world = World::new(db).await;
        for (user, end) in
            [(1, NOW + WINDOW), (2, NOW + WINDOW + MICROSECOND), (3, NOW + DAY), (4, NOW + DAY + MICROSECOND)]
        {
            world.subscriber(user, PRICE, end).await;
        }
        let ran = announce(&world).await;
        assert_eq!(ran.summary.renewed, 1, "the first is charged and needs no announcement");
        assert_eq!(told(&world).await, [2, 3]);
    });
}

#[test]
fn nobody_is_told_of_a_charge_that_will_not_come() {
    db_test(async |db| {
        let world = World::new(db).await;
        for user in 1..=8 {
            User::new(user, 0).put(&world.client).await;
        }
        let paid = |user| Subscription::paid(user, BASIC.code, END);
        paid(1).put(&world.client).await;
        Subscription { auto_renew: false, ..paid(2) }.put(&world.client).await;
        Subscription { source: "grant", ..paid(3) }.put(&world.client).await;
        Subscription { source: "trial", ..paid(4) }.put(&world.client).await;
        let parked = paid(5).put(&world.client).await;
        world
            .execute(&format!(
                "INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', {parked}, 0, 'x')"
            ))
            .await;
        Tariff::months("gone", 1, 100).put(&world.client).await;
        world.execute("UPDATE tariffs SET active = false WHERE code = 'gone'").await;
        Subscription::paid(6, "gone", END).put(&world.client).await;
        Subscription::paid(7, "never_was", END).put(&world.client).await;
        // A free period is renewed without a word.
        Subscription { agreed_price: Some(kopecks(0)), ..paid(8) }.put(&world.client).await;
        for _ in 0..2 {
            let ran = announce(&world).await;
            assert_eq!((ran.summary.failed, ran.summary.left), (0, 0));
        }
        assert_eq!(told(&world).await, [1]);
        assert_eq!(world.number("SELECT count(*) FROM parked").await, 1, "announcing parks nothing");

        world.execute("UPDATE tariffs SET active = true WHERE code = 'gone'").await;
        world.unpark(parked).await;
        announce(&world).await;
        assert_eq!(told(&world).await, [1, 5, 6], "told as soon as the charge will come after all");
    });
}

#[test]
fn an_end_that_moved_is_announced_anew() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, END).await;
        announce(&world).await;
        world.execute("UPDATE subscriptions SET expires_at = expires_at + interval '1 hour'").await;
        announce(&world).await;
        assert_eq!(told(&world).await, [1, 1]);
        world.execute("UPDATE subscriptions SET expires_at = expires_at - interval '1 hour'").await;
        announce(&world).await;
        assert_eq!(told(&world).await, [1, 1], "of the first end the customer knows");
    });
}

#[test]
fn the_amount_is_that_of_the_day_of_the_charge() {
    db_test(async |db| {
        let world = World::new(db).await;
        for user in 1..=2 {
            world.subscriber(user, 0, END).await;
        }
        let charge = END - WINDOW;
        world
            .execute(&format!(
                "INSERT INTO discounts (telegram_id, percent, ends_at)
                 VALUES (1, 50, '{charge}'), (2, 50, timestamptz '{charge}' + interval '1 microsecond')"
            ))
            .await;
        announce(&world).await;
        let amounts = world.column("SELECT params ->> 'amount_kopecks' FROM notices ORDER BY telegram_id").await;
        assert_eq!(amounts, ["19900", "9950"]);
    });
}

#[test]
fn a_row_that_cannot_be_announced_costs_itself_and_is_renewed_all_the_same() {
    db_test(async |db| {
        let world = World::new(db).await;
        let mut ids: Vec<SubscriptionId> = Vec::new();
        for user in 1..=3 {
            ids.push(world.subscriber(user, PRICE, END).await);
        }
        world
            .execute(&format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                 CREATE TRIGGER refuse BEFORE UPDATE OF charge_told_for ON subscriptions
                     FOR EACH ROW WHEN (NEW.id = {}) EXECUTE FUNCTION refuse()",
                ids[1]
            ))
            .await;
        for _ in 0..5 {
            let ran = announce(&world).await;
            assert_eq!((ran.summary.failed, ran.summary.left, ran.summary.parked), (1, 1, 0));
        }
        assert_eq!(told(&world).await, [1, 3]);
        world.set_clock(END - WINDOW).await;
        assert_eq!(announce(&world).await.renewed(), ids);
    });
}

#[test]
fn a_listed_row_is_told_only_while_it_is_as_it_was_listed() {
    db_test(async |db| {
        let world = World::new(db).await;
        let bounds = AnnouncementBounds { window: WINDOW, ahead: DAY };
        let start = RenewalKey::after(NOW + WINDOW);
        let changes = [
            "auto_renew = false",
            "expires_at = expires_at + interval '1 microsecond'",
            "charge_told_for = expires_at",
            "tariff = 'gone'",
            "status = 'expiring'",
            "agreed_price_kopecks = 1",
        ];
        for (user, _) in (1..).zip(changes) {
            world.subscriber(user, 0, END).await;
        }
        let pages = Pages::above(start, 100);
        let page = pages.next().unwrap();
        let db = world.pass().open();
        let listed = db.run_tx("list", async |tx| tx.list_announcements_due(&page, bounds).await).await.unwrap();
        assert_eq!(listed.len(), changes.len());
        for (user, change) in (1..).zip(changes) {
            world.execute(&format!("UPDATE subscriptions SET {change} WHERE telegram_id = {user}")).await;
        }
        let claim = db.run_tx("claim", async |tx| tx.claim_announcements_due(&listed, bounds).await);
        let claimed = claim.await.unwrap();
        let claimed: Vec<_> = claimed.iter().map(|row| (row.telegram_id.0, row.price.0)).collect();
        assert_eq!(claimed, [(6, 1)], "a new price is told as it is now; all others are no longer what was listed");
        // Later the row is within the window: then it is charged, not announced.
        world.set_clock(END - WINDOW).await;
        let claim = db.run_tx("claim", async |tx| tx.claim_announcements_due(&listed, bounds).await);
        assert_eq!(claim.await.unwrap(), []);
        world.execute("UPDATE credentials SET closed_at = now() WHERE telegram_id = 5").await;
    });
}

#[test]
fn a_held_row_is_left_and_told_of_by_the_next_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE, END).await;
        world.subscriber(2, PRICE, END).await;
        let sql = format!("BEGIN; SELECT FROM subscriptions WHERE id = {id} FOR UPDATE");
        let holder = Holder::begin(&world.db, &sql);
        let ran = announce(&world).await;
        assert_eq!((ran.summary.notices_written, ran.summary.left, ran.summary.cut_short), (1, 1, false));
        holder.run("COMMIT");
        let ran = announce(&world).await;
        assert_eq!((ran.summary.notices_written, ran.summary.left), (1, 0));
    });
}

#[test]
fn many_pages_and_two_passes_at_once_tell_everybody_once() {
    db_test(async |db| {
        let world = World::new(db).await;
        world
            .execute(&format!(
                "INSERT INTO users (telegram_id) SELECT generate_series(1, 600);
                 INSERT INTO credentials (telegram_id) SELECT telegram_id FROM users;
                 INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at, auto_renew)
                 SELECT c.telegram_id, 'payment', '{}', c.id, timestamptz '{END}' - interval '30 days',
                     timestamptz '{END}' + c.telegram_id % 7 * interval '1 minute', true FROM credentials c",
                BASIC.code
            ))
            .await;
        let pass = || world.pass().batches_of(50).charge_notice(DAY).run();
        let (one, other) = tokio::join!(pass(), pass());
        assert_eq!(one.summary.notices_written + other.summary.notices_written, 600);
        assert_eq!(world.number("SELECT count(DISTINCT telegram_id) FROM notices").await, 600);
        assert_eq!(world.number("SELECT count(*) FROM notices").await, 600);
    });
}

#[test]
fn a_budget_that_is_over_leaves_the_announcements_and_says_how_many() {
    db_test(async |db| {
        let world = World::new(db).await;
        for user in 1..=3 {
            world.subscriber(user, PRICE, END).await;
        }
        let mut pass = world.pass().charge_notice(DAY);
        pass.deadline = Deadline::after(Duration::ZERO);
        let ran = pass.run().await;
        assert_eq!((ran.summary.notices_written, ran.summary.left, ran.summary.cut_short), (0, 3, true));
        assert_eq!(ran.summary.oldest_due, HOUR * 6, "to be told since a day before the end");
    });
}

#[test]
fn a_dry_run_tells_nobody_and_says_whom_it_would() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE, END).await;
        let ran = world.pass().charge_notice(DAY).dry().run().await;
        assert_eq!(ran.summary.notices_written, 1);
        assert!(ran.of(id).is_some());
        assert_eq!(told(&world).await, [0; 0]);
        assert_eq!(announce(&world).await.summary.notices_written, 1);
    });
}
