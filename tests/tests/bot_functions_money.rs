//! What bots call about money: signs of life, top-ups, purchases and their prices, refunds.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::calls::{NOW, answer, customer, open_shop, refused, refused_by, set_now};
use common::refusal::INVALID_VALUE;
use common::{balance, number, run, text, texts};
use perennial_testkit::{TestDb, db_test};
use serde_json::{Value, json};
use tokio_postgres::Client;

async fn shop(db: &TestDb, kopecks: i64) -> Client {
    let client = db.client().await;
    open_shop(&client).await;
    customer(&client, 1, kopecks).await;
    client
}

/// The end that a call answers, to the minute.
async fn end(client: &Client, call: &str) -> String {
    let answer = answer(client, call).await;
    let end = answer["expires_at"].as_str().unwrap_or_else(|| answer.as_str().unwrap());
    assert!(end.ends_with(":00+00:00"), "{end}");
    end[..16].to_owned()
}

#[test]
fn a_sign_of_life_opens_a_wallet_and_clears_the_mark_of_the_unreachable() {
    db_test(async |db| {
        let client = db.client().await;
        assert_eq!(answer(&client, "perennial_ensure_user(7, 'ru', 'Europe/Moscow')").await, Value::Null);
        assert_eq!(balance(&client, 7).await, 0);
        let user = "SELECT concat_ws(' ', language, time_zone, telegram_unreachable_since IS NULL) FROM users";
        assert_eq!(text(&client, user).await, "ru Europe/Moscow t");

        run(&client, "UPDATE users SET telegram_unreachable_since = now()").await;
        answer(&client, "perennial_ensure_user(7, NULL, NULL)").await;
        assert_eq!(text(&client, user).await, "ru Europe/Moscow t");
        answer(&client, "perennial_ensure_user(7, 'en', 'Asia/Kolkata')").await;
        assert_eq!(text(&client, user).await, "en Asia/Kolkata t");

        // What changed is in the audit log; a sign of life that changes nothing is not.
        answer(&client, "perennial_ensure_user(7, 'en', 'Asia/Kolkata')").await;
        let changes = "SELECT concat_ws(' ', actor, action, before ->> 'language', after ->> 'language')
                       FROM audit_log ORDER BY id";
        assert_eq!(
            texts(&client, changes).await,
            ["bot user_ensured ru", "bot user_ensured ru ru", "bot user_ensured ru en"]
        );
    });
}

#[test]
fn a_top_up_raises_the_balance_by_one_transfer_from_outside() {
    db_test(async |db| {
        let client = shop(&db, 0).await;
        assert_eq!(answer(&client, "perennial_top_up(1, 50050, 'k')").await, json!(50050));
        assert_eq!(answer(&client, "perennial_top_up(1, 1, 'l')").await, json!(50051));
        assert_eq!(balance(&client, 1).await, 50051);
        let sql =
            "SELECT concat_ws(' ', idempotency_key, kind, debit_account, amount_kopecks, created_at = perennial_now())
                   FROM transfers ORDER BY id";
        assert_eq!(texts(&client, sql).await, ["top_up:k top_up 2 50050 t", "top_up:l top_up 2 1 t"]);
    });
}

#[test]
fn a_top_up_of_nothing_or_of_nobody_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 10).await;
        for amount in ["0", "-5", "NULL"] {
            let call = format!("perennial_top_up(1, {amount}, 'k')");
            assert_eq!(refused_by(&client, &call).await, INVALID_VALUE, "{amount}");
        }
        assert_eq!(refused_by(&client, "perennial_top_up(99, 5, 'k')").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_top_up(NULL, 5, 'k')").await, "PK003");
        assert_eq!(refused_by(&client, "perennial_top_up(1, 9223372036854775807, 'k')").await, "22003");
        // A refused call has not used its key.
        assert_eq!(answer(&client, "perennial_top_up(1, 5, 'k')").await, json!(15));
    });
}

#[test]
fn a_purchase_charges_the_wallet_and_starts_a_period() {
    db_test(async |db| {
        let client = shop(&db, 25_000).await;
        let bought = answer(&client, "perennial_buy(1, 'basic_30', true, 'k')").await;
        let uuid = text(&client, "SELECT uuid FROM credentials").await;
        assert_eq!(
            bought,
            json!({"subscription_id": 1, "expires_at": "2026-04-09T12:00:00+00:00", "credential_uuid": uuid, "email": "p.1"})
        );
        assert_eq!(balance(&client, 1).await, 15_000);
        let row = "SELECT concat_ws(' ', source, tariff, status, starts_at = perennial_now(), anchor_day, auto_renew,
                   agreed_price_kopecks, created_at = perennial_now()) FROM subscriptions";
        assert_eq!(text(&client, row).await, "payment basic_30 active t 10 t t");
        let payment = "SELECT concat_ws(' ', p.tariff, p.period_start = s.starts_at, p.period_end = s.expires_at,
                       p.amount_kopecks, t.idempotency_key, t.kind, t.credit_account)
                       FROM payments p JOIN subscriptions s ON s.id = p.subscription_id
                       JOIN transfers t ON t.id = p.transfer_id";
        assert_eq!(text(&client, payment).await, "basic_30 t t 10000 buy:k charge 1");
    });
}

#[test]
fn a_second_purchase_extends_from_the_old_end() {
    db_test(async |db| {
        let client = shop(&db, 100_000).await;
        assert_eq!(end(&client, "perennial_buy(1, 'basic_30', true, 'a')").await, "2026-04-09T12:00");
        set_now(&client, "2026-04-01 00:00+00").await;
        // The later wish about automatic renewal counts; null is no.
        assert_eq!(end(&client, "perennial_buy(1, 'basic_30', NULL, 'b')").await, "2026-05-09T12:00");
        let sql =
            "SELECT concat_ws(' ', count(*), bool_and(auto_renew), count(DISTINCT credential_id)) FROM subscriptions";
        assert_eq!(text(&client, sql).await, "1 f 1");
        assert_eq!(balance(&client, 1).await, 80_000);
    });
}

#[test]
fn the_end_of_the_month_is_remembered_from_purchase_to_purchase() {
    db_test(async |db| {
        let client = shop(&db, 100_000).await;
        set_now(&client, "2026-01-31 20:30+00").await;
        for (key, expected) in [("a", "2026-02-28"), ("b", "2026-03-31"), ("c", "2026-04-30"), ("d", "2026-05-31")] {
            let call = format!("perennial_buy(1, 'basic_1m', true, '{key}')");
            assert_eq!(end(&client, &call).await, format!("{expected}T20:30"));
        }
    });
}

/// 30 days from 1 January end on the 31st; a month from there is 28 days, not the one day to the first of February.
#[test]
fn a_month_after_days_is_a_whole_month() {
    db_test(async |db| {
        let client = shop(&db, 100_000).await;
        set_now(&client, "2026-01-01 10:00+00").await;
        assert_eq!(end(&client, "perennial_buy(1, 'basic_30', true, 'a')").await, "2026-01-31T10:00");
        assert_eq!(end(&client, "perennial_buy(1, 'basic_1m', true, 'b')").await, "2026-02-28T10:00");
        assert_eq!(end(&client, "perennial_buy(1, 'basic_1m', true, 'c')").await, "2026-03-31T10:00");
        assert_eq!(text(&client, "SELECT concat(tariff, ' ', anchor_day) FROM subscriptions").await, "basic_1m 31");
        // Five days given by hand: the next month is as long as any.
        run(&client, "UPDATE subscriptions SET expires_at = expires_at + interval '5 days'").await;
        assert_eq!(end(&client, "perennial_buy(1, 'basic_1m', true, 'd')").await, "2026-05-05T10:00");
        assert_eq!(end(&client, "perennial_buy(1, 'basic_1m', true, 'e')").await, "2026-06-05T10:00");
    });
}

#[test]
fn a_price_is_the_agreed_one_else_the_list_less_vip_else_less_a_valid_discount() {
    db_test(async |db| {
        let client = shop(&db, 1_000_000).await;
        run(&client, "INSERT INTO tariffs VALUES ('odd', 'basic', 'day', 30, 29, true)").await;
        let mut key = 0;
        let mut expected_balance = 1_000_000;
        for (prelude, tariff, price) in [
            ("SELECT", "basic_30", 10_000),
            ("SELECT", "free_30", 0),
            ("INSERT INTO discounts VALUES (1, 10, NULL)", "basic_30", 9_000),
            ("SELECT", "odd", 26),
            ("UPDATE discounts SET percent = 100", "basic_30", 0),
            ("UPDATE discounts SET ends_at = perennial_now()", "basic_30", 10_000),
            ("UPDATE discounts SET ends_at = perennial_now() + interval '1 microsecond'", "basic_30", 0),
            ("UPDATE users SET vip = true", "basic_30", 7_000),
            ("SELECT", "odd", 20),
            ("UPDATE subscriptions SET tariff = 'basic_30', agreed_price_kopecks = 123", "basic_30", 123),
            ("UPDATE subscriptions SET agreed_price_kopecks = 0", "basic_30", 0),
            // An agreed price is of the tariff it was agreed for.
            ("UPDATE subscriptions SET agreed_price_kopecks = 123", "basic_1m", 7_700),
            ("SELECT", "basic_30", 7_000),
        ] {
            run(&client, prelude).await;
            key += 1;
            answer(&client, &format!("perennial_buy(1, '{tariff}', true, '{key}')")).await;
            expected_balance -= price;
            assert_eq!(balance(&client, 1).await, expected_balance, "{prelude}: {tariff}");
            let paid = "SELECT amount_kopecks FROM payments ORDER BY id DESC LIMIT 1";
            assert_eq!(number(&client, paid).await, price, "{prelude}: {tariff}");
        }
    });
}

#[test]
fn a_purchase_without_enough_money_says_how_much_is_missing() {
    db_test(async |db| {
        let client = shop(&db, 9_999).await;
        let refusal = refused(&client, "perennial_buy(1, 'basic_30', true, 'k')").await;
        assert_eq!(refusal.sqlstate, "PK002");
        let detail: Value = serde_json::from_str(&refusal.detail.unwrap()).unwrap();
        assert_eq!(detail, json!({"price_kopecks": 10_000, "balance_kopecks": 9_999, "missing_kopecks": 1}));
        answer(&client, "perennial_top_up(1, 1, 't')").await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'k')").await; // the same key: that call left no trace
        assert_eq!(balance(&client, 1).await, 0);
    });
}

#[test]
fn a_purchase_by_or_of_the_unknown_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 100_000).await;
        for arguments in
            ["99, 'basic_30'", "NULL, 'basic_30'", "1, 'basic_31'", "1, 'gone_30'", "1, NULL", "1, 'Basic_30'"]
        {
            let call = format!("perennial_buy({arguments}, true, 'k')");
            assert_eq!(refused_by(&client, &call).await, "PK003", "{arguments}");
        }
    });
}

#[test]
fn a_purchase_in_another_group_than_the_active_one_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 100_000).await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'a')").await;
        assert_eq!(refused_by(&client, "perennial_buy(1, 'plus_1m', true, 'b')").await, "PK005");
        // Once it is over and claimed, any group may be bought.
        run(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL").await;
        answer(&client, "perennial_buy(1, 'plus_1m', true, 'b')").await;
        let sql = "SELECT access_group FROM perennial_subscriptions WHERE status = 'active'";
        assert_eq!(text(&client, sql).await, "plus");
    });
}

#[test]
fn a_refund_gives_the_money_back_and_takes_the_days() {
    db_test(async |db| {
        let client = shop(&db, 30_000).await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'a')").await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'b')").await;
        set_now(&client, "2026-03-20 12:00+00").await;
        let back = answer(&client, "perennial_refund(2, 'asked for', 'r')").await;
        let expected =
            json!({"refunded_kopecks": 10_000, "balance_kopecks": 20_000, "expires_at": "2026-04-09T12:00:00+00:00"});
        assert_eq!(back, expected);
        assert_eq!(text(&client, "SELECT auto_renew FROM subscriptions").await, "f");
        // The running period: what is left of it is gone, what was used is given.
        assert_eq!(end(&client, "perennial_refund(1, 'asked for', 'r2')").await, "2026-03-20T12:00");
        assert_eq!(balance(&client, 1).await, 30_000);
        let sql = "SELECT count(*) FROM payments p JOIN transfers t ON t.reverses = p.transfer_id
                   WHERE p.voided_at = perennial_now() AND t.created_at = p.voided_at";
        assert_eq!(number(&client, sql).await, 2);
        // The days may be bought again.
        assert_eq!(end(&client, "perennial_buy(1, 'basic_30', true, 'c')").await, "2026-04-19T12:00");
    });
}

#[test]
fn a_refund_of_a_free_period_takes_the_days_alone() {
    db_test(async |db| {
        let client = shop(&db, 0).await;
        answer(&client, "perennial_buy(1, 'free_30', true, 'a')").await;
        let back = answer(&client, "perennial_refund(1, NULL, 'r')").await;
        assert_eq!(back, json!({"refunded_kopecks": 0, "balance_kopecks": 0, "expires_at": NOW}));
        assert_eq!(number(&client, "SELECT count(*) FROM transfers").await, 0);
    });
}

#[test]
fn a_refund_after_the_end_gives_the_money_back_and_leaves_the_row() {
    db_test(async |db| {
        let client = shop(&db, 10_000).await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'a')").await;
        run(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL").await;
        set_now(&client, "2026-06-01 00:00+00").await;
        assert_eq!(end(&client, "perennial_refund(1, 'late', 'r')").await, "2026-04-09T12:00");
        assert_eq!(balance(&client, 1).await, 10_000);
    });
}

#[test]
fn a_refund_of_an_earlier_a_refunded_or_an_unknown_payment_is_refused() {
    db_test(async |db| {
        let client = shop(&db, 30_000).await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'a')").await;
        answer(&client, "perennial_buy(1, 'basic_30', true, 'b')").await;
        assert_eq!(refused_by(&client, "perennial_refund(1, 'x', 'r')").await, "PK005");
        answer(&client, "perennial_refund(2, 'x', 'r')").await;
        assert_eq!(refused_by(&client, "perennial_refund(2, 'x', 'again')").await, "PK005");
        for payment in ["99", "NULL"] {
            let call = format!("perennial_refund({payment}, 'x', 'k')");
            assert_eq!(refused_by(&client, &call).await, "PK003", "{payment}");
        }
    });
}
