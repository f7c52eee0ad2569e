//! What a trigger meddles with, whenever and however: it costs its row, and nothing of that row is done.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::cell::RefCell;

use perennial_core::db::DbError;
use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::db_test;
use renew::Outcome;
use support::books::assert_sound;
use support::holder::Holder;
use support::sabotage::Sabotage;
use support::{DAY, HOUR, NOW, PRICE, World};

/// Three rows due, a trigger against the second: the others are renewed and of the second nothing is done.
fn only_the_victim_suffers(sabotage: Sabotage) {
    db_test(async |db| {
        let world = World::new(db).await;
        let mut ids = Vec::new();
        for user in 1..=3 {
            ids.push(world.subscriber(user, PRICE, NOW + HOUR).await);
        }
        sabotage.against(&world.client, ids[1], 2).await;
        let ran = world.pass().try_run(&|_| {}).await;
        assert_eq!(ran.renewed(), [ids[0], ids[2]], "{ran:?}");
        world.assert_untouched(ids[1], 2, PRICE, NOW + HOUR).await;
        assert!(world.parked(ids[1]).await.is_some());
        assert_sound(&world.client).await;
    });
}

const PAYMENT: Sabotage = Sabotage {
    what: "",
    table: "payments",
    timing: "BEFORE INSERT",
    when: "NEW.subscription_id = $id",
    body: "RETURN NULL;",
    deferred: false,
};

#[test]
fn an_end_put_back_at_the_commit_takes_the_charge_back() {
    only_the_victim_suffers(Sabotage {
        table: "subscriptions",
        timing: "AFTER UPDATE OF expires_at",
        when: "NEW.id = $id AND NEW.expires_at > OLD.expires_at",
        body: "UPDATE subscriptions SET expires_at = OLD.expires_at WHERE id = NEW.id;",
        deferred: true,
        ..PAYMENT
    });
}

#[test]
fn a_payment_that_a_trigger_swallows_takes_the_charge_back() {
    only_the_victim_suffers(PAYMENT);
}

#[test]
fn a_payment_for_other_days_than_were_decided_takes_the_charge_back() {
    only_the_victim_suffers(Sabotage { body: "NEW.period_end := NEW.period_end - interval '1 day';", ..PAYMENT });
}

#[test]
fn an_audit_row_that_a_trigger_swallows_takes_the_change_back() {
    only_the_victim_suffers(Sabotage {
        table: "audit_log",
        when: "NEW.subscription_id = $id AND NEW.action = 'renewed'",
        ..PAYMENT
    });
}

#[test]
fn an_error_with_any_code_raised_for_one_row_costs_one_row() {
    for code in ["45000", "APP01", "21000", "44000", "54000", "55000"] {
        let body: String = format!("RAISE EXCEPTION 'sabotage' USING ERRCODE = '{code}';");
        only_the_victim_suffers(Sabotage { body: Box::leak(body.into_boxed_str()), ..PAYMENT });
    }
}

#[test]
fn a_trigger_that_is_broken_for_one_row_costs_one_row() {
    only_the_victim_suffers(Sabotage { body: "PERFORM no_such_function(1);", ..PAYMENT });
}

#[test]
fn in_batches_of_one_too_a_row_with_an_error_of_any_code_costs_one_row() {
    db_test(async |db| {
        let world = World::new(db).await;
        let mut ids = Vec::new();
        for user in 1..=3 {
            ids.push(world.subscriber(user, PRICE, NOW + HOUR).await);
        }
        let body = "RAISE EXCEPTION 'sabotage' USING ERRCODE = '45000';";
        Sabotage { body, ..PAYMENT }.against(&world.client, ids[1], 2).await;
        let ran = world.pass().batches_of(1).try_run(&|_| {}).await;
        assert_eq!(ran.renewed(), [ids[0], ids[2]], "{ran:?}");
        assert_eq!(world.parked(ids[1]).await.map(|(tries, ..)| tries), Some(1), "nobody looked whose fault it was");
    });
}

/// The oldest are the bad ones, and fill more than one page.
#[test]
fn pages_full_of_rows_with_an_error_of_any_code_keep_nobody_from_his_turn() {
    for batch_rows in [1, 2, 5] {
        db_test(async |db| {
            let world = World::new(db).await;
            for user in 1..=10 {
                world.subscriber(user, PRICE, NOW + HOUR).await;
            }
            world
                .execute(
                    "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS
                         $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '45000'; END $$;
                     CREATE TRIGGER sabotage BEFORE INSERT ON payments FOR EACH ROW
                         WHEN (NEW.subscription_id <= 10) EXECUTE FUNCTION sabotage()",
                )
                .await;
            let good = world.subscriber(11, PRICE, NOW + HOUR * 2).await;
            let ran = world.pass().batches_of(batch_rows).run().await;
            assert_eq!(ran.renewed(), [good], "batches of {batch_rows}");
            assert_eq!(ran.summary.failed, 10, "batches of {batch_rows}: {ran:?}");
            assert_eq!(world.number("SELECT count(*) FROM parked WHERE tries = 1").await, 10);
        });
    }
}

#[test]
fn an_error_that_everybody_gets_ends_the_pass_and_parks_nobody() {
    for (rows, batch_rows) in [(1, 200), (10, 200), (60, 10), (60, 1)] {
        db_test(async |db| {
            let world = World::new(db).await;
            for user in 1..=rows {
                world.subscriber(user, PRICE, NOW + HOUR).await;
            }
            world
                .execute(
                    "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS
                         $$ BEGIN PERFORM no_such_function(1); RETURN NEW; END $$;
                     CREATE TRIGGER sabotage BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION sabotage()",
                )
                .await;
            let ran = world.pass().batches_of(batch_rows).try_run(&|_| {}).await;
            assert!(ran.error.as_ref().is_some_and(DbError::is_configuration), "{rows} rows by {batch_rows}: {ran:?}");
            assert_eq!(world.number("SELECT count(*) FROM parked").await, 0, "{rows} rows by {batch_rows}");
        });
    }
}

/// Nothing had to be charged for the one who is short of money, so he tells nothing about those who are not.
#[test]
fn an_error_that_every_charge_gets_parks_nobody_though_some_are_short_of_money() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, 0, NOW + HOUR).await;
        for user in 2..=4 {
            world.subscriber(user, PRICE, NOW + HOUR).await;
        }
        world
            .execute(
                "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM no_such_function(1); RETURN NEW; END $$;
                 CREATE TRIGGER sabotage BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION sabotage()",
            )
            .await;
        let ran = world.pass().try_run(&|_| {}).await;
        assert!(ran.error.as_ref().is_some_and(DbError::is_configuration), "{ran:?}");
        assert_eq!((ran.summary.short, world.number("SELECT count(*) FROM parked").await), (1, 0));
    });
}

#[test]
fn a_window_longer_than_the_period_charges_one_period_a_pass() {
    for batch_rows in [1, 2, 500] {
        db_test(async |db| {
            let world = World::new(db).await;
            Tariff::days("daily", 1, 100).put(&world.client).await;
            for user in 1..=3 {
                User::new(user, 10_000).put(&world.client).await;
                Subscription::paid(user, "daily", NOW + HOUR).put(&world.client).await;
            }
            let pass = world.pass().batches_of(batch_rows).window(DAY * 3);
            assert_eq!(pass.run().await.summary.renewed, 3, "batches of {batch_rows}");
        });
    }
}

#[test]
fn after_forty_days_down_a_long_grace_charges_one_period_a_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        world.subscriber(1, PRICE * 10, NOW - DAY * 40).await;
        let pass = world.pass().batches_of(1).window(DAY * 60).grace(DAY * 41);
        assert_eq!(pass.run().await.summary.renewed, 1);
        assert_eq!(world.balance(1).await, PRICE * 9);
    });
}

#[test]
fn a_held_row_that_was_parked_meanwhile_is_not_counted_as_left() {
    db_test(async |db| {
        let world = World::new(db.clone()).await;
        world.subscriber(1, PRICE, NOW + HOUR).await;
        let park = "BEGIN; SELECT FROM subscriptions WHERE id = 1 FOR UPDATE; \
                    INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 1, 0, 'by hand')";
        let holder = RefCell::new(Some(Holder::begin(&db, park)));
        let commit = |outcome: &Outcome| {
            if matches!(outcome, Outcome::Busy(_))
                && let Some(holder) = holder.borrow_mut().take()
            {
                holder.run("COMMIT");
            }
        };
        let ran = world.pass().try_run(&commit).await;
        assert_eq!((ran.summary.busy, ran.summary.left), (0, 0));
    });
}
