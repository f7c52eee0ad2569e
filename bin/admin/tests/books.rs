//! The checks of the books: a healthy service passes, and each kind of damage is named by the check that is there for
//! it.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::sync::Arc;
use std::time::Duration as StdDuration;

use admin::checks::{CHECKS, Check};
use perennial_core::db::{Actor, DatabaseOptions, RenewalBounds};
use perennial_core::ids::RunId;
use perennial_core::time::{DatabaseClock, Deadline};
use perennial_testkit::builders::{Status, Subscription};
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use renew::{RenewPass, Settings, Summary};
use support::{json, run, sql};
use time::{Duration, OffsetDateTime};
use tokio_postgres::Client;

/// One pass of `renew` that charges 30 h before the end.
async fn renew_once(db: &TestDb) {
    let deadline = Deadline::after(StdDuration::from_secs(60));
    let options = DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() });
    let database = db.database(options, Arc::new(DatabaseClock::new()), deadline.clone());
    let bounds = RenewalBounds { window: StdDuration::from_secs(30 * 3600), grace: StdDuration::from_secs(900) };
    let settings = Settings { bounds, batch_rows: 100, workers: 1, max_tries: 3 };
    let pass = RenewPass { db: &database, deadline: &deadline, settings, observer: &|_| {} };
    let mut summary = Summary::default();
    pass.run(&mut summary).await.unwrap();
    assert!(summary.renewed > 0, "{summary:?}");
}

/// Takes the database's word for what the time is.
async fn now(client: &Client) -> OffsetDateTime {
    client.query_typed_one("SELECT now()", &[]).await.unwrap().get(0)
}

/// A service in every legal state that looks odd. Users: 1 renewed · 2 renews free of charge · 3 refunded, bought again ·
/// 4 cancelled · 5 trial, then paid, then rotated · 6 grant · 7 imported without a payment · 8 expired · 9 expiring ·
/// 10 renewed, refunded, renewed again · 11 has nothing.
async fn healthy(db: &TestDb) -> Client {
    let client = db.client().await;
    sql(&client, "INSERT INTO tariffs VALUES ('day', 'basic', 'day', 1, 1000, true)").await;
    for user in 1..=11 {
        sql(&client, &format!("SELECT perennial_ensure_user({user}, 'ru', NULL)")).await;
    }
    sql(&client, "INSERT INTO discounts VALUES (2, 100, NULL)").await;
    for user in [1, 3, 4, 5, 10] {
        sql(&client, &format!("SELECT perennial_top_up({user}, 5000, 'top:{user}')")).await;
    }
    sql(&client, "SELECT perennial_start_trial(5, 'day', 72, 'trial'); SELECT perennial_grant(6, 'day', 3, 'grant')")
        .await;
    for user in [1, 2, 3, 4, 5, 10] {
        sql(&client, &format!("SELECT perennial_buy({user}, 'day', {}, 'buy:{user}')", [1, 2, 10].contains(&user)))
            .await;
    }
    sql(
        &client,
        "SELECT perennial_refund((SELECT payment_id FROM perennial_payments WHERE telegram_id = 3), 'asked', 'r:3')",
    )
    .await;
    sql(&client, "SELECT perennial_buy(3, 'day', false, 'buy again')").await;
    sql(&client, "SELECT perennial_cancel((SELECT id FROM subscriptions WHERE telegram_id = 4), 'cancel')").await;
    sql(&client, "SELECT perennial_rotate(5, 'basic', 'rotate')").await;

    let (day, now) = (Duration::DAY, now(&client).await);
    for (user, status, expires_at) in
        [(7, Status::Active, now + day * 9), (8, Status::Expired, now - day), (9, Status::Expiring, now - day)]
    {
        Subscription { status, ..Subscription::paid(user, "day", expires_at) }.put(&client).await;
    }
    sql(&client, "SELECT ledger_post('{bonus}', '{adjustment}', '{3}', ARRAY[(SELECT id FROM accounts WHERE telegram_id = 6)], '{77}', '{NULL}', now())").await;

    // Periods of a day: due as soon as they are bought.
    renew_once(db).await;
    let latest = "SELECT max(payment_id) FROM perennial_payments WHERE telegram_id = 10";
    sql(&client, &format!("SELECT perennial_refund(({latest}), 'asked', 'r:10')")).await;
    sql(&client, "SELECT perennial_set_auto_renew((SELECT id FROM subscriptions WHERE telegram_id = 10), true)").await;
    renew_once(db).await;
    client
}

async fn complaints(client: &Client, check: &Check) -> Vec<String> {
    let rows = client.query_typed(check.sql, &[]).await;
    let rows = rows.unwrap_or_else(|error| panic!("{}: {error:?}", check.name));
    rows.iter().map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect()
}

/// Check, damage, what the check must say. Constraints are dropped where the schema alone would prevent the damage.
const DAMAGE: &[(&str, &str, &str)] = &[
    (
        "wallet_balance",
        "UPDATE accounts SET balance_kopecks = balance_kopecks + 1 WHERE telegram_id = 11",
        "of user 11 holds 1 kopecks, its transfers say 0",
    ),
    (
        "wallet_balance",
        "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks) SELECT 'x', 'top_up', 2, id, 500 FROM accounts WHERE telegram_id = 11",
        "of user 11 holds 0 kopecks, its transfers say 500",
    ),
    (
        "wallet_balance",
        "DELETE FROM transfers WHERE idempotency_key = 'top_up:top:4'",
        "of user 4 holds 4000 kopecks, its transfers say -1000",
    ),
    (
        "wallet_not_overdrawn",
        "ALTER TABLE accounts DROP CONSTRAINT accounts_wallet_not_overdrawn; UPDATE accounts SET balance_kopecks = -5 WHERE telegram_id = 11",
        "of user 11 holds -5 kopecks",
    ),
    ("one_wallet_a_user", "DELETE FROM accounts WHERE telegram_id = 11", "user 11 has no wallet"),
    (
        "one_wallet_a_user",
        "DROP INDEX accounts_one_wallet_a_user; INSERT INTO accounts (kind, telegram_id, balance_kopecks) VALUES ('wallet', 11, 0)",
        "user 11 has 2 wallets",
    ),
    ("one_wallet_a_user", "DELETE FROM users WHERE telegram_id = 11", "user 11 has a wallet, but is no user"),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET credit_account = 3 WHERE idempotency_key = 'buy:buy:4'",
        "which is no way for its kind",
    ),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET credit_account = debit_account + 1 WHERE idempotency_key = 'buy:buy:4'",
        "which is no way for its kind",
    ),
    (
        "transfer_fits_kind",
        "UPDATE transfers SET debit_account = 999 WHERE idempotency_key = 'buy:buy:4'",
        "moved 1000 kopecks from account 999 to 1",
    ),
    (
        "transfer_fits_kind",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_kind_known; UPDATE transfers SET kind = 'gift' WHERE idempotency_key = 'bonus'",
        "(gift) moved 77 kopecks",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET amount_kopecks = 1 WHERE idempotency_key = 'refund:r:3'",
        "moves 1 kopecks from 1 to",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET reverses = 99999 WHERE idempotency_key = 'refund:r:3'",
        "takes back transfer 99999, which is not there",
    ),
    (
        "reversal_mirrors",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_reversal_names_its_transfer; UPDATE transfers SET reverses = NULL WHERE idempotency_key = 'refund:r:3'",
        "is a reversal of nothing",
    ),
    (
        "reversal_mirrors",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_reversal_names_its_transfer; UPDATE transfers SET reverses = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:5') WHERE idempotency_key = 'bonus'",
        "is of kind adjustment and takes back transfer",
    ),
    (
        "reversal_mirrors",
        "UPDATE transfers SET reverses = (SELECT id FROM transfers WHERE idempotency_key = 'refund:r:10') WHERE idempotency_key = 'refund:r:3'",
        "which is a reversal itself",
    ),
    (
        "reversal_mirrors",
        "ALTER TABLE transfers DROP CONSTRAINT transfers_reverses_key; UPDATE transfers SET reverses = (SELECT reverses FROM transfers WHERE idempotency_key = 'refund:r:10') WHERE idempotency_key = 'refund:r:3'",
        "is one of 2 that take back transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET amount_kopecks = 999 WHERE subscription_id = (SELECT id FROM subscriptions WHERE telegram_id = 4)",
        "of 999 kopecks names transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET subscription_id = (SELECT id FROM subscriptions WHERE telegram_id = 7) WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "of user 7 names transfer",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'top_up:top:4') WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "which is of kind top_up",
    ),
    (
        "payment_matches_transfer",
        "UPDATE payments SET transfer_id = 99999 WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "names transfer 99999, which is not there",
    ),
    (
        "payment_matches_transfer",
        "ALTER TABLE payments DROP CONSTRAINT payments_free_has_no_transfer; UPDATE payments SET transfer_id = NULL WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "of 1000 kopecks has no transfer",
    ),
    (
        "payment_matches_transfer",
        "ALTER TABLE payments DROP CONSTRAINT payments_free_has_no_transfer; UPDATE payments SET amount_kopecks = 0 WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "was free of charge, but names transfer",
    ),
    (
        "payment_matches_transfer",
        "DELETE FROM subscriptions WHERE telegram_id = 4",
        "is of a subscription that is not there",
    ),
    (
        "charge_has_payment",
        "DELETE FROM payments WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "(buy:buy:4) charged 1000 kopecks, but no payment names it",
    ),
    (
        "charge_has_payment",
        "ALTER TABLE payments DROP CONSTRAINT payments_transfer_id_key; UPDATE payments SET transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4') WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:5')",
        "(buy:buy:4) is named by 2 payments",
    ),
    (
        "voided_means_reversed",
        "UPDATE payments SET voided_at = now() WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:4')",
        "is voided, but its transfer",
    ),
    (
        "voided_means_reversed",
        "UPDATE payments SET voided_at = NULL WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key = 'buy:buy:3')",
        "stands, but its transfer",
    ),
    (
        "no_day_paid_twice",
        "UPDATE payments SET period_start = period_start - interval '1 hour' WHERE transfer_id = (SELECT id FROM transfers WHERE idempotency_key LIKE 'renew:%' AND debit_account = (SELECT id FROM accounts WHERE telegram_id = 1))",
        "were paid for before",
    ),
    (
        "one_charge_a_period",
        "INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks) SELECT t.idempotency_key || ':2', 'charge', t.debit_account, 1, 1000 FROM transfers t JOIN accounts a ON a.id = t.debit_account AND a.telegram_id = 1 WHERE t.idempotency_key LIKE 'renew:%'",
        "was charged 2 times for the period that starts at",
    ),
    (
        "renewal_has_payment",
        "INSERT INTO audit_log (actor, action, subscription_id, before, after) SELECT 'renew', 'renewed', id, '{\"expires_at\": \"2026-01-01T00:00:00Z\"}', '{\"expires_at\": \"2026-01-02T00:00:00Z\", \"amount_kopecks\": 1000}' FROM subscriptions WHERE telegram_id = 1",
        "says renewed from 2026-01-01 00:00:00 to 2026-01-02 00:00:00 for 1000 kopecks, but there is no such payment",
    ),
    (
        "renewal_has_payment",
        "INSERT INTO audit_log (actor, action, subscription_id, before, after) VALUES ('renew', 'renewed', NULL, '{\"expires_at\": \"soon\"}', NULL)",
        "but there is no such payment",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'renewed' AND telegram_id = 1",
        "but no audit row says so",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'renewed' AND telegram_id = 2",
        "was free of charge, but no audit row of that moment says so",
    ),
    (
        "renewal_has_payment",
        "DELETE FROM audit_log WHERE action = 'bought' AND telegram_id = 2",
        "was free of charge, but no audit row of that moment says so",
    ),
    (
        "renewal_has_payment",
        "UPDATE audit_log SET after = after || '{\"amount_kopecks\": 1}' WHERE action = 'renewed' AND telegram_id = 1",
        "for 1 kopecks, but there is no such payment",
    ),
    (
        "receipt_has_payment",
        "INSERT INTO notices (telegram_id, kind, dedupe_key) VALUES (1, 'renewed', 'renewed:1:1')",
        "to user 1 is a receipt (renewed:1:1), but that period was not paid for",
    ),
    (
        "receipt_has_payment",
        "INSERT INTO notices (telegram_id, kind, dedupe_key) VALUES (1, 'renewed', 'renewed:x:y'), (1, 'renewed', 'renewed::'), (1, 'renewed', 'renewed:99999999999999999999:1')",
        "is a receipt (renewed:x:y)",
    ),
    (
        "active_has_open_credential",
        "UPDATE credentials SET closed_at = now() WHERE telegram_id = 1",
        "of user 1 is active on credential",
    ),
    (
        "active_has_open_credential",
        "UPDATE subscriptions SET credential_id = (SELECT id FROM credentials WHERE telegram_id = 2) WHERE telegram_id = 1",
        "of user 2",
    ),
    (
        "active_has_open_credential",
        "UPDATE subscriptions SET credential_id = 99999 WHERE telegram_id = 1",
        "is active on credential 99999, which is not there",
    ),
    (
        "active_has_open_credential",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions SET credential_id = NULL WHERE telegram_id = 1",
        "is active without a credential",
    ),
    (
        "one_active_a_source",
        "DROP INDEX subscriptions_one_active_a_source; INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at, anchor_day) SELECT telegram_id, source, tariff, credential_id, expires_at, 1 FROM subscriptions WHERE telegram_id = 1",
        "user 1 has 2 active subscriptions of source payment",
    ),
    (
        "one_trial_a_user",
        "DROP INDEX subscriptions_one_trial_a_user; INSERT INTO subscriptions (telegram_id, source, tariff, status, expires_at, anchor_day) VALUES (5, 'trial', 'day', 'expired', now(), 1)",
        "user 5 has had 2 trials",
    ),
    (
        "credential_until_expired",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions SET status = 'expired' WHERE telegram_id = 9",
        "of user 9 is expired, but still has credential",
    ),
    (
        "credential_until_expired",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_credential_until_expired; UPDATE subscriptions SET credential_id = NULL WHERE telegram_id = 9",
        "of user 9 is expiring without a credential",
    ),
    (
        "one_open_credential_a_group",
        "DROP INDEX credentials_one_open_a_group; UPDATE credentials SET closed_at = NULL WHERE telegram_id = 5",
        "user 5 has 2 open credentials in group basic",
    ),
    (
        "retired_is_closed",
        "ALTER TABLE credentials DROP CONSTRAINT credentials_close_before_retire; UPDATE credentials SET retired_at = now() WHERE telegram_id = 7",
        "of user 7 was retired at",
    ),
];

#[test]
fn a_healthy_service_passes_every_check() {
    // `db_test` runs the checks as well.
    db_test(async |db| {
        let client = healthy(&db).await;
        for check in CHECKS {
            assert_eq!(complaints(&client, check).await, [""; 0], "{}", check.name);
        }
        assert_eq!(json(&db, &["verify"])["good"], true);
    });
}

#[test]
fn every_kind_of_damage_is_named() {
    db_test_unchecked(async |db| {
        let client = healthy(&db).await;
        for (name, damage, said) in DAMAGE {
            let check = CHECKS.iter().find(|check| check.name == *name).unwrap();
            sql(&client, &format!("BEGIN; SET LOCAL session_replication_role = replica; {damage}")).await;
            let complaints = complaints(&client, check).await;
            assert!(complaints.iter().any(|complaint| complaint.contains(said)), "{name}: {said}: {complaints:?}");
            sql(&client, "ROLLBACK").await;
        }
        let untried: Vec<&str> = CHECKS
            .iter()
            .map(|check| check.name)
            .filter(|name| !DAMAGE.iter().any(|(tried, ..)| tried == name))
            .collect();
        assert_eq!(untried, [""; 0]);
    });
}

#[test]
fn no_check_asks_anew_for_every_row() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        for check in CHECKS {
            let plan = client.simple_query(&format!("EXPLAIN\n{}", check.sql)).await.unwrap();
            let plan = format!("{plan:?}");
            assert!(!plan.contains("SubPlan"), "{}: {plan}", check.name);
        }
    });
}

#[test]
fn verify_names_what_is_broken_and_exits_with_3() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        sql(&client, "INSERT INTO users (telegram_id) SELECT generate_series(1, 30)").await;
        let all_good = run(&db, &["verify"]).good();
        assert!(all_good.out.ends_with(&format!("{} checks, all good\n", CHECKS.len())), "{all_good:?}");

        sql(
            &client,
            "SET session_replication_role = replica; UPDATE accounts SET balance_kopecks = 7 WHERE kind = 'wallet'",
        )
        .await;
        let broken = run(&db, &["verify"]);
        assert_eq!(broken.code, 3);
        for said in [
            "BROKEN  wallet_balance: 30 rows\n        A wallet holds what its transfers brought in less what they took out.\n",
            "of user 1 holds 7 kopecks, its transfers say 0\n",
            "        and 10 more\n",
            "checks, 1 not good\n",
        ] {
            assert!(broken.out.contains(said), "{said}: {}", broken.out);
        }
        let as_json = run(&db, &["verify", "wallet_balance", "--output", "json"]);
        assert_eq!(as_json.code, 3);
        let as_json = as_json.json();
        assert_eq!((&as_json["good"], &as_json["checks"][0]["rows"]), (&false.into(), &30.into()));
        assert_eq!(as_json["checks"][0]["shown"].as_array().unwrap().len(), 20);
        assert_eq!(as_json["checks"].as_array().unwrap().len(), 1);
        run(&db, &["verify", "one_wallet_a_user"]).good();
    });
}

#[test]
fn a_check_that_cannot_be_run_is_told_and_does_not_stop_the_others() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        sql(&client, "ALTER TABLE notices RENAME COLUMN dedupe_key TO gone").await;
        let said = run(&db, &["verify"]);
        assert_eq!(said.code, 1);
        assert!(
            said.out.contains("ERROR   receipt_has_payment: cannot be run: db error: ERROR: column"),
            "{}",
            said.out
        );
        assert!(said.out.contains("ok      wallet_not_overdrawn"), "{}", said.out);
    });
}

#[test]
fn a_check_that_is_none_is_a_usage_error() {
    db_test(async |db| {
        let said = run(&db, &["verify", "wallets"]);
        assert_eq!(said.code, 2);
        assert!(said.err.starts_with("admin: there is no check wallets (active_has_open_credential, "), "{said:?}");
    });
}
