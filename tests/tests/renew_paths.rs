//! The ways one charge can go, each on a real database: done, changed by a trigger, broken by an error, short of money, told
//! before. What goes wrong with one row costs that row its transaction, whole, and no other row anything.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_core::ids::SubscriptionId;
use perennial_core::time::Timestamp;
use perennial_testkit::builders::{Subscription, Tariff};
use perennial_testkit::{db_test, db_test_unchecked};
use renew::Outcome;
use support::books::assert_sound;
use support::sabotage::Sabotage;
use support::{BASIC, HOUR, NOW, PRICE, World};
use time::macros::datetime;

/// Five rows due; the third is the one that things happen to.
const USERS: [i64; 5] = [1, 2, 3, 4, 5];
const VICTIM: i64 = 3;

async fn five_due(world: &World) -> Vec<SubscriptionId> {
    let mut ids = Vec::new();
    for user in USERS {
        ids.push(world.subscriber(user, PRICE + 100, end_of(user)).await);
    }
    ids
}

fn end_of(user: i64) -> Timestamp {
    NOW + HOUR * u32::try_from(user).unwrap()
}

/// The four others are renewed, and the victim is as if the pass had not been.
async fn assert_only_the_victim_suffers(world: &World, ids: &[SubscriptionId], what: &str) {
    for (user, id) in USERS.into_iter().zip(ids) {
        if user == VICTIM {
            world.assert_untouched(*id, user, PRICE + 100, end_of(user)).await;
        } else {
            assert_eq!(world.balance(user).await, 100, "{what}: user {user}");
            assert!(world.end(*id).await > end_of(user), "{what}: user {user}");
        }
    }
    assert_sound(&world.client).await;
}

/// Repaired and unparked, the victim is renewed under its first key: nothing of the failed try was kept.
async fn assert_the_victim_recovers(world: &World, id: SubscriptionId, what: &str) {
    world.unpark(id).await;
    let ran = world.run().await;
    assert_eq!(ran.renewed(), [id], "{what}");
    let start = perennial_core::time::micros(end_of(VICTIM));
    assert_eq!(world.charges(VICTIM).await, [format!("renew:{id}:{start}")], "{what}");
    assert_eq!(world.parked(id).await, None, "{what}");
    assert_sound(&world.client).await;
}

#[test]
fn a_funded_row_is_charged_extended_recorded_and_receipted_in_one_pass() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE + 100, NOW + HOUR).await;
        let ran = world.run().await;

        assert_eq!((ran.summary.listed, ran.summary.renewed, ran.summary.charged.0), (1, 1, PRICE));
        assert_eq!((ran.summary.left, ran.summary.busy, ran.summary.cut_short), (0, 0, false));
        assert_eq!(ran.summary.notices_written, 1);
        let until = datetime!(2026-04-10 13:00 UTC);
        assert_eq!(world.end(id).await, until);
        assert_eq!(world.balance(1).await, 100);
        assert_eq!(world.charges(1).await, [format!("renew:{id}:1773147600000000")]);
        assert_eq!(world.notices(id).await, [format!("renewed:{id}:1773147600000000")]);
        assert_eq!(world.audit(id).await, ["renewed"]);
        let payment = "SELECT concat_ws(' ', tariff, period_start AT TIME ZONE 'UTC', period_end AT TIME ZONE 'UTC', \
                       amount_kopecks) FROM payments";
        assert_eq!(world.column(payment).await, ["basic_1m 2026-03-10 13:00:00 2026-04-10 13:00:00 19900"]);
        let renewed_at = "SELECT (last_auto_renewal_at AT TIME ZONE 'UTC')::text FROM subscriptions";
        assert_eq!(world.column(renewed_at).await, ["2026-03-10 12:00:00"]);
        assert_sound(&world.client).await;
    });
}

/// The extension did not do what was decided.
const CHANGED_BY_A_TRIGGER: &[(Sabotage, &str)] = &[
    (Sabotage { what: "BEFORE keeps the old end", body: "NEW.expires_at := OLD.expires_at;", ..BEFORE }, "ends at"),
    (Sabotage { what: "BEFORE skips the update", body: "RETURN NULL;", ..BEFORE }, "ends at 2026-03-10T15:00:00Z"),
    (Sabotage { what: "BEFORE sets no end", body: "NEW.expires_at := NULL;", ..BEFORE }, "expires_at"),
    (
        Sabotage {
            what: "BEFORE sets an earlier end",
            body: "NEW.expires_at := OLD.expires_at - interval '1 day';",
            ..BEFORE
        },
        "ends at",
    ),
    (
        Sabotage {
            what: "BEFORE sets a later end",
            body: "NEW.expires_at := NEW.expires_at + interval '1 microsecond';",
            ..BEFORE
        },
        "ends at",
    ),
    (Sabotage { what: "BEFORE ends the row", body: "NEW.status := 'expiring';", ..BEFORE }, "not active any more"),
    (
        Sabotage {
            what: "AFTER puts the old end back",
            body: "UPDATE subscriptions SET expires_at = OLD.expires_at WHERE id = NEW.id;",
            ..AFTER
        },
        "ends at 2026-03-10T15:00:00Z",
    ),
    (
        Sabotage {
            what: "AFTER ends the row",
            body: "UPDATE subscriptions SET status = 'expiring' WHERE id = NEW.id;",
            ..AFTER
        },
        "not active any more",
    ),
    (
        Sabotage { what: "AFTER deletes the row", body: "DELETE FROM subscriptions WHERE id = NEW.id;", ..AFTER },
        "payments_subscription_exists",
    ),
    (
        Sabotage {
            what: "BEFORE moves the row to a new credential",
            body: "UPDATE credentials SET closed_at = now() WHERE id = OLD.credential_id;
                   INSERT INTO credentials (telegram_id) VALUES (NEW.telegram_id) RETURNING id INTO NEW.credential_id;",
            ..BEFORE
        },
        "another credential or UUID",
    ),
    (
        Sabotage {
            what: "AFTER moves the row to a new credential",
            body: "UPDATE credentials SET closed_at = now() WHERE id = OLD.credential_id;
                   WITH c AS (INSERT INTO credentials (telegram_id) VALUES (NEW.telegram_id) RETURNING id)
                   UPDATE subscriptions s SET credential_id = c.id FROM c WHERE s.id = NEW.id;",
            ..AFTER
        },
        "another credential or UUID",
    ),
    (
        Sabotage {
            what: "BEFORE gives another UUID",
            body: "UPDATE credentials SET uuid = gen_random_uuid() WHERE id = NEW.credential_id;",
            ..BEFORE
        },
        "another credential or UUID",
    ),
    (
        Sabotage {
            what: "AFTER gives another UUID",
            body: "UPDATE credentials SET uuid = gen_random_uuid() WHERE id = NEW.credential_id;",
            ..AFTER
        },
        "another credential or UUID",
    ),
];

const BEFORE: Sabotage = Sabotage {
    what: "",
    table: "subscriptions",
    timing: "BEFORE UPDATE OF expires_at",
    when: "NEW.id = $id AND pg_trigger_depth() = 1",
    body: "",
    deferred: false,
};
const AFTER: Sabotage = Sabotage { timing: "AFTER UPDATE OF expires_at", ..BEFORE };

#[test]
fn an_end_or_credential_that_a_trigger_changed_takes_the_charge_back_and_parks_the_row() {
    for (sabotage, reason) in CHANGED_BY_A_TRIGGER {
        db_test(async |db| {
            let world = World::new(db).await;
            let ids = five_due(&world).await;
            let victim = ids[2];
            // The schema itself keeps a UUID for life; here it must not help.
            world.execute("ALTER TABLE credentials DISABLE TRIGGER credentials_go_one_way").await;
            sabotage.against(&world.client, victim, VICTIM).await;

            let ran = world.run().await;
            let what = sabotage.what;
            assert_eq!((ran.summary.renewed, ran.summary.parked, ran.summary.failed), (4, 1, 0), "{what}: {ran:?}");
            assert_only_the_victim_suffers(&world, &ids, what).await;
            let (tries, said, for_good) = world.parked(victim).await.unwrap();
            assert!(said.contains(reason), "{what}: {said}");
            assert_eq!((tries, for_good), (1, true), "{what}");
            assert_eq!(world.audit(victim).await, ["parked"], "{what}");

            assert_eq!(world.run().await.summary.listed, 0, "{what}: parked, it is not tried again");
            sabotage.remove(&world.client).await;
            assert_the_victim_recovers(&world, victim, what).await;
        });
    }
}

const OF_USER: &str = "NEW.telegram_id = $user";

/// An error at each statement of the transaction, before the row is written and after.
const RAISED: &[Sabotage] = &[
    Sabotage::raise("the transfer, before", "transfers", "BEFORE INSERT", "NEW.idempotency_key LIKE 'renew:$id:%'"),
    Sabotage::raise("the transfer, after", "transfers", "AFTER INSERT", "NEW.idempotency_key LIKE 'renew:$id:%'"),
    Sabotage::raise("the wallet, before", "accounts", "BEFORE UPDATE", OF_USER),
    Sabotage::raise("the wallet, after", "accounts", "AFTER UPDATE", OF_USER),
    Sabotage::raise("the extension, before", "subscriptions", "BEFORE UPDATE", "NEW.id = $id"),
    Sabotage::raise("the extension, after", "subscriptions", "AFTER UPDATE", "NEW.id = $id"),
    Sabotage::raise("the payment, before", "payments", "BEFORE INSERT", "NEW.subscription_id = $id"),
    Sabotage::raise("the payment, after", "payments", "AFTER INSERT", "NEW.subscription_id = $id"),
    Sabotage::raise("the receipt, before", "notices", "BEFORE INSERT", OF_USER),
    Sabotage::raise("the receipt, after", "notices", "AFTER INSERT", OF_USER),
    Sabotage::raise(
        "the audit row, before",
        "audit_log",
        "BEFORE INSERT",
        "NEW.subscription_id = $id AND NEW.action = 'renewed'",
    ),
    Sabotage::raise(
        "the audit row, after",
        "audit_log",
        "AFTER INSERT",
        "NEW.subscription_id = $id AND NEW.action = 'renewed'",
    ),
    Sabotage {
        deferred: true,
        ..Sabotage::raise("at the commit", "payments", "AFTER INSERT", "NEW.subscription_id = $id")
    },
];

#[test]
fn an_error_at_any_statement_leaves_nothing_of_its_row_and_the_next_pass_renews_it() {
    for sabotage in RAISED {
        db_test(async |db| {
            let world = World::new(db).await;
            let ids = five_due(&world).await;
            let victim = ids[2];
            sabotage.against(&world.client, victim, VICTIM).await;

            let ran = world.run().await;
            let what = sabotage.what;
            assert_eq!((ran.summary.renewed, ran.summary.parked, ran.summary.failed), (4, 0, 1), "{what}: {ran:?}");
            let failed = ran.of(victim).unwrap();
            assert!(
                matches!(failed, Outcome::Failed { tries: 1, reason, .. } if reason.contains("sabotage")),
                "{failed:?}"
            );
            assert_only_the_victim_suffers(&world, &ids, what).await;
            let (tries, said, for_good) = world.parked(victim).await.unwrap();
            assert!(said.contains("sabotage (P0001)") && tries == 1 && !for_good, "{what}: {said}");

            sabotage.remove(&world.client).await;
            let ran = world.run().await;
            assert_eq!(ran.renewed(), [victim], "{what}");
            assert_eq!(world.parked(victim).await, None, "{what}: its failed try is forgotten");
            assert_sound(&world.client).await;
        });
    }
}

#[test]
fn a_short_balance_uses_nothing_up_and_a_top_up_is_followed_by_the_renewal() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE - 1, NOW + HOUR * 5).await;
        let ran = world.run().await;
        assert!(matches!(ran.of(id), Some(Outcome::Short { missing, .. }) if missing.0 == 1), "{ran:?}");
        assert_eq!(world.end(id).await, NOW + HOUR * 5);
        assert_eq!((world.balance(1).await, world.charges(1).await.len()), (PRICE - 1, 0));
        let attempt = "SELECT concat_ws(' ', short_stage, short_balance_kopecks, short_price_kopecks, \
                       coalesce(last_auto_renewal_at::text, 'never')) FROM subscriptions";
        assert_eq!(world.column(attempt).await, ["first 19899 19900 never"]);

        world.bot().top_up(support::telegram_id(1), support::kopecks(1), "enough").await.unwrap();
        let ran = world.run().await;
        assert_eq!(ran.renewed(), [id]);
        assert_eq!(world.balance(1).await, 0);
        assert_eq!(world.audit(id).await, ["renewal_short", "renewed"], "the history shows both");
        let start = perennial_core::time::micros(NOW + HOUR * 5);
        assert_eq!(world.charges(1).await, [format!("renew:{id}:{start}")]);
        assert_eq!(world.column(attempt).await, ["2026-03-10 12:00:00+00"], "the new period begins clean");
        assert_sound(&world.client).await;
    });
}

#[test]
fn a_receipt_is_written_once_and_never_stands_between_the_money_and_the_period() {
    db_test(async |db| {
        let world = World::new(db).await;
        let id = world.subscriber(1, PRICE, NOW + HOUR).await;
        // As if the receipt of this period had been written already.
        let start = perennial_core::time::micros(NOW + HOUR);
        let written = format!(
            "INSERT INTO notices (telegram_id, kind, dedupe_key, subscription_id) \
                               VALUES (1, 'renewed', 'renewed:{id}:{start}', {id})"
        );
        world.execute(&written).await;
        let ran = world.run().await;
        assert_eq!((ran.summary.renewed, ran.summary.notices_written), (1, 0));
        assert_eq!(world.notices(id).await.len(), 1);
        assert_eq!(world.run().await.summary.listed, 0);
        assert_eq!(world.notices(id).await.len(), 1);
        assert_sound(&world.client).await;
    });
}

#[test]
fn a_broken_row_and_a_withdrawn_tariff_in_one_batch_are_each_parked_for_their_own_reason() {
    db_test_unchecked(async |db| {
        let world = World::new(db).await;
        let ids = five_due(&world).await;
        Tariff { active: false, ..Tariff::months("gone_1m", 1, 100) }.put(&world.client).await;
        world.execute(&format!("UPDATE subscriptions SET tariff = 'gone_1m' WHERE id = {}", ids[0])).await;
        world.execute(&format!("UPDATE subscriptions SET tariff = 'never_was' WHERE id = {}", ids[4])).await;
        Sabotage { body: "RETURN NULL;", ..BEFORE }.against(&world.client, ids[2], VICTIM).await;
        let ran = world.run().await;
        assert_eq!((ran.summary.renewed, ran.summary.parked, ran.summary.failed), (2, 3, 0), "{ran:?}");
        assert_eq!(world.parked(ids[0]).await, Some((1, "tariff gone_1m is withdrawn".into(), true)));
        assert_eq!(world.parked(ids[4]).await, Some((1, "tariff never_was does not exist".into(), true)));
        assert_eq!(Subscription::paid(1, BASIC.code, NOW).tariff, "basic_1m");
    });
}

#[test]
fn a_key_that_was_used_before_never_extends_a_row_for_nothing() {
    // The same charge, whose payment is gone, and another one under the same name; neither may count as paid.
    for (amount, final_at_once) in [(PRICE, true), (PRICE - 1, false)] {
        db_test_unchecked(async |db| {
            let world = World::new(db).await;
            let id = world.subscriber(1, PRICE * 3, NOW + HOUR).await;
            let start = perennial_core::time::micros(NOW + HOUR);
            let charge = format!(
                "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks) \
                 SELECT 'renew:{id}:{start}', 'charge', a.id, 1, {amount} FROM accounts a WHERE a.telegram_id = 1"
            );
            world.execute(&charge).await;
            let ran = world.run().await;
            assert_eq!(ran.summary.renewed, 0, "{ran:?}");
            assert_eq!((world.balance(1).await, world.end(id).await), (PRICE * 3 - amount, NOW + HOUR));
            let (tries, reason, for_good) = world.parked(id).await.unwrap();
            assert_eq!((tries, for_good), (1, final_at_once), "{reason}");
        });
    }
}
