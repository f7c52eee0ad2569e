//! Two calls of bots at once for one customer: the second waits and sees what the first did.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{answer, customer, open_shop, query};
use common::race::{Session, Waiting};
use common::{balance, number, text};
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// Lets one call stand uncommitted until the other one waits for it.
async fn at_once(db: &TestDb, client: &Client, first: &str, second: &str) -> Waiting {
    let (one, other) = (Session::open(db).await, Session::open(db).await);
    one.run(&format!("BEGIN; {}", query(first))).await;
    let waiting = other.run_until_it_waits(client, &query(second)).await;
    one.run("COMMIT").await;
    waiting
}

async fn shop(db: &TestDb, kopecks: i64) -> Client {
    let client = db.client().await;
    open_shop(&client).await;
    customer(&client, 1, kopecks).await;
    client
}

const BUY_A: &str = "perennial_buy(1, 'basic_30', true, 'a')";
const BUY_B: &str = "perennial_buy(1, 'basic_30', true, 'b')";

#[test]
fn two_purchases_at_once_are_two_periods_one_after_the_other() {
    db_test(async |db| {
        let client = shop(&db, 20_000).await;
        at_once(&db, &client, BUY_A, BUY_B).await.must_end_well().await;
        assert_eq!(balance(&client, 1).await, 0);
        let sql =
            "SELECT concat(count(*), ' ', max(expires_at) = perennial_now() + interval '60 days') FROM subscriptions";
        assert_eq!(text(&client, sql).await, "1 t");
        let sql = "SELECT count(DISTINCT period_start) FROM payments";
        assert_eq!(number(&client, sql).await, 2);
    });
}

#[test]
fn of_two_purchases_at_once_with_money_for_one_the_second_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 19_999).await;
        let refused = at_once(&db, &client, BUY_A, BUY_B).await.must_be_refused().await;
        assert_eq!(refused.sqlstate, "PK002");
        let detail: serde_json::Value = serde_json::from_str(&refused.detail.unwrap()).unwrap();
        assert_eq!(detail["missing_kopecks"], 1);
        assert_eq!(balance(&client, 1).await, 9_999);
    });
}

#[test]
fn a_top_up_at_once_with_a_purchase_is_not_lost() {
    db_test(async |db| {
        let client = shop(&db, 10_000).await;
        at_once(&db, &client, BUY_A, "perennial_top_up(1, 77, 't')").await.must_end_well().await;
        assert_eq!(balance(&client, 1).await, 77);
        at_once(&db, &client, "perennial_top_up(1, 9923, 't2')", BUY_B).await.must_end_well().await;
        assert_eq!(balance(&client, 1).await, 0);
    });
}

#[test]
fn of_two_trials_at_once_the_second_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 0).await;
        let trial = |key: &str| format!("perennial_start_trial(1, 'basic_30', 72, '{key}')");
        let refused = at_once(&db, &client, &trial("a"), &trial("b")).await.must_be_refused().await;
        assert_eq!(refused.sqlstate, "PK004");
    });
}

#[test]
fn of_two_refunds_at_once_the_second_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 10_000).await;
        answer(&client, BUY_A).await;
        let refund = |key: &str| format!("perennial_refund(1, 'asked for', '{key}')");
        let refused = at_once(&db, &client, &refund("r"), &refund("s")).await.must_be_refused().await;
        assert_eq!(refused.sqlstate, "PK005");
        assert_eq!(balance(&client, 1).await, 10_000);
    });
}

#[test]
fn a_cancellation_at_once_with_a_purchase_ends_what_was_bought() {
    db_test(async |db| {
        let client = shop(&db, 20_000).await;
        answer(&client, BUY_A).await;
        at_once(&db, &client, BUY_B, "perennial_cancel(1, 'c')").await.must_end_well().await;
        let sql = "SELECT expires_at = perennial_now() AND NOT auto_renew FROM subscriptions";
        assert_eq!(text(&client, sql).await, "t");
    });
}

#[test]
fn a_purchase_at_once_with_a_cancellation_renews_as_it_says() {
    db_test(async |db| {
        let client = shop(&db, 20_000).await;
        answer(&client, BUY_A).await;
        at_once(&db, &client, "perennial_cancel(1, 'c')", BUY_B).await.must_end_well().await;
        let sql = "SELECT expires_at = perennial_now() + interval '60 days' AND auto_renew FROM subscriptions";
        assert_eq!(text(&client, sql).await, "t");
    });
}

#[test]
fn two_signs_of_life_of_a_new_customer_at_once_make_one_wallet() {
    db_test(async |db| {
        let client = db.client().await;
        let call = "perennial_ensure_user(1, 'ru', NULL)";
        at_once(&db, &client, call, call).await.must_end_well().await;
        assert_eq!(number(&client, "SELECT count(*) FROM accounts WHERE kind = 'wallet'").await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log").await, 1);
    });
}

#[test]
fn two_rotations_at_once_leave_one_open_credential_that_holds_the_row() {
    db_test(async |db| {
        let client = shop(&db, 10_000).await;
        answer(&client, BUY_A).await;
        let rotate = |key: &str| format!("perennial_rotate(1, 'basic', '{key}')");
        at_once(&db, &client, &rotate("r"), &rotate("s")).await.must_end_well().await;
        let sql = "SELECT concat(count(*), ' ', count(*) FILTER (WHERE closed_at IS NULL)) FROM credentials";
        assert_eq!(text(&client, sql).await, "3 1");
        let sql = "SELECT c.closed_at IS NULL FROM subscriptions s JOIN credentials c ON c.id = s.credential_id";
        assert_eq!(text(&client, sql).await, "t");
    });
}
