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
use support::damage::DAMAGE;
use support::{json, run, sql};
use time::{Duration, OffsetDateTime};
use tokio_postgres::Client;

/// One pass of `renew` that charges 30 h before the end.
async fn renew_once(db: &TestDb) {
    let deadline = Deadline::after(StdDuration::from_secs(60));
    let options = DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() });
    let database = db.database(options, Arc::new(DatabaseClock::new()), deadline.clone());
    let bounds = RenewalBounds { window: StdDuration::from_secs(30 * 3600), grace: StdDuration::from_secs(900) };
    let settings = Settings { bounds, batch_rows: 100, workers: 1, max_tries: 3, charge_notice: None, limit: None };
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
    let bonus = "SELECT ledger_post('{bonus}', '{adjustment}', '{3}', ARRAY[a.id], '{77}', '{NULL}', now()) \
                 FROM accounts a WHERE a.telegram_id = 6";
    sql(&client, bonus).await;

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
