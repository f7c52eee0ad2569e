//! What the database refuses about payments: no period charged twice, nothing paid that was not charged.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::race::Session;
use common::refusal::{CHECK, EXCLUSION, FOREIGN_KEY, UNIQUE, assert_refused, assert_refused_by_state, refusal};
use common::{number, run};
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use tokio_postgres::Client;

/// Customers 1 and 2, each with a subscription of the same number. Customer 1 has paid 5.00 for February (payment 1).
async fn book(db: &TestDb) -> Client {
    let client = db.client().await;
    run(
        &client,
        "INSERT INTO users (telegram_id) VALUES (1), (2);
         INSERT INTO credentials (id, telegram_id) VALUES (1, 1), (2, 2);
         INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at) VALUES
            (1, 1, 'payment', 'basic_1m', 1, '2026-02-01 00:00+00', '2026-03-01 00:00+00'),
            (2, 2, 'payment', 'basic_1m', 2, '2026-02-01 00:00+00', '2026-03-01 00:00+00');
         INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks)
            SELECT a.telegram_id, 'in:' || a.telegram_id, 'top_up', 2, a.id, 10000
            FROM accounts a WHERE kind = 'wallet';",
    )
    .await;
    charge(&client, 3, 1, 500).await;
    run(&client, &payment(1, "2026-02-01", "2026-03-01", 500, "3")).await;
    client
}

/// Takes payment 1 back as a whole: voided, and its transfer reversed.
const REFUND: &str = "BEGIN; UPDATE payments SET voided_at = now() WHERE id = 1;
    INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks, reverses)
        SELECT 90, 'back', 'reversal', 1, debit_account, amount_kopecks, id FROM transfers WHERE id = 3; COMMIT";

/// Charges a customer's wallet under this transfer id.
async fn charge(client: &Client, transfer: i64, user: i64, amount: i64) {
    run(client, &charge_sql(transfer, user, amount)).await;
}

fn charge_sql(transfer: i64, user: i64, amount: i64) -> String {
    format!(
        "INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks)
         SELECT {transfer}, 'charge:{transfer}', 'charge', a.id, 1, {amount} FROM accounts a WHERE telegram_id = {user};"
    )
}

/// An INSERT of one payment; both times are midnights in UTC.
fn payment(subscription: i64, start: &str, end: &str, amount: i64, transfer: &str) -> String {
    format!(
        "INSERT INTO payments (subscription_id, period_start, period_end, amount_kopecks, transfer_id)
         VALUES ({subscription}, '{start} 00:00+00', '{end} 00:00+00', {amount}, {transfer})"
    )
}

/// A charge with its payment in one transaction.
fn paid(subscription: i64, start: &str, end: &str, amount: i64, transfer: i64) -> String {
    let charge = charge_sql(transfer, subscription, amount);
    format!("BEGIN; {charge} {}", payment(subscription, start, end, amount, &transfer.to_string()))
}

#[test]
fn a_second_charge_of_a_period_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let again = paid(1, "2026-02-01", "2026-03-01", 500, 4);
        assert_refused(&client, &again, UNIQUE, "payments_one_a_period").await;
        let shorter = paid(1, "2026-02-01", "2026-02-02", 500, 4);
        assert_refused(&client, &shorter, UNIQUE, "payments_one_a_period").await;
        let free = payment(1, "2026-02-01", "2026-03-01", 0, "NULL");
        assert_refused(&client, &free, UNIQUE, "payments_one_a_period").await;
    });
}

#[test]
fn a_charge_of_days_already_paid_is_refused_whatever_happened_to_the_end() {
    db_test(async |db| {
        let client = book(&db).await;
        // Somebody shortened the subscription: what renew would charge now begins on a paid day.
        run(&client, "UPDATE subscriptions SET expires_at = '2026-02-20 00:00+00' WHERE id = 1").await;
        for (start, end) in [
            ("2026-02-20", "2026-03-20"),
            ("2026-01-20", "2026-02-02"),
            ("2026-02-10", "2026-02-11"),
            ("2026-01-01", "2026-12-01"),
            ("2026-02-28", "2026-03-02"),
        ] {
            let sql = paid(1, start, end, 500, 4);
            assert_refused(&client, &sql, EXCLUSION, "payments_no_day_twice").await;
            assert_refused(&client, &payment(1, start, end, 0, "NULL"), EXCLUSION, "payments_no_day_twice").await;
        }
        // One statement with two rows that overlap each other.
        let both = "INSERT INTO payments (subscription_id, period_start, period_end, amount_kopecks) VALUES
            (2, '2026-05-01 00:00+00', '2026-06-01 00:00+00', 0), (2, '2026-05-31 00:00+00', '2026-06-30 00:00+00', 0)";
        assert_refused(&client, both, EXCLUSION, "payments_no_day_twice").await;
    });
}

#[test]
fn periods_that_touch_and_the_same_days_of_another_subscription_may_be_charged() {
    db_test(async |db| {
        let client = book(&db).await;
        for (subscription, start, end) in
            [(1, "2026-03-01", "2026-04-01"), (1, "2026-01-01", "2026-02-01"), (2, "2026-02-01", "2026-03-01")]
        {
            let transfer = 100 + number(&client, "SELECT count(*) FROM payments").await;
            run(&client, &format!("{}; COMMIT", paid(subscription, start, end, 500, transfer))).await;
        }
        assert_eq!(number(&client, "SELECT count(*) FROM payments").await, 4);
    });
}

#[test]
fn a_voided_period_may_be_charged_again() {
    db_test(async |db| {
        let client = book(&db).await;
        run(&client, REFUND).await;
        run(&client, &format!("{}; COMMIT", paid(1, "2026-02-01", "2026-03-01", 500, 50))).await;
        let again = paid(1, "2026-02-01", "2026-03-01", 500, 51);
        assert_refused(&client, &again, UNIQUE, "payments_one_a_period").await;
    });
}

#[test]
fn a_payment_that_does_not_match_its_transfer_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        let pays = |amount, transfer| payment(1, "2026-03-01", "2026-04-01", amount, transfer);
        for (prelude, amount, transfer) in [
            (charge_sql(4, 1, 500), 499, "4"),
            (charge_sql(4, 1, 500), 501, "4"),
            // Another customer's charge.
            (charge_sql(4, 2, 500), 500, "4"),
            // Money that came in, and a charge taken back.
            (String::new(), 10_000, "1"),
            (
                "INSERT INTO transfers
                    (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks, reverses)
                 SELECT 9, 'back', 'reversal', 1, debit_account, amount_kopecks, id FROM transfers WHERE id = 3;"
                    .to_owned(),
                500,
                "9",
            ),
        ] {
            let sql = format!("BEGIN; {prelude} {}", pays(amount, transfer));
            assert_refused(&client, &sql, CHECK, "payments_match_transfer").await;
        }
        assert_refused(&client, &pays(500, "3"), UNIQUE, "payments_transfer_id_key").await;
        assert_refused(&client, &pays(500, "999"), CHECK, "payments_match_transfer").await;
        assert_refused(&client, &pays(500, "NULL"), CHECK, "payments_free_has_no_transfer").await;
        assert_refused(&client, &pays(0, "3"), CHECK, "payments_free_has_no_transfer").await;
        assert_refused(&client, &pays(-500, "3"), CHECK, "payments_amount_not_negative").await;
    });
}

#[test]
fn a_payment_of_no_time_or_of_no_subscription_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        for (start, end) in [("2026-03-01", "2026-03-01"), ("2026-04-01", "2026-03-01")] {
            let sql = payment(1, start, end, 0, "NULL");
            assert_refused(&client, &sql, CHECK, "payments_period_not_empty").await;
        }
        let sql = payment(99, "2026-03-01", "2026-04-01", 0, "NULL");
        assert_refused(&client, &sql, FOREIGN_KEY, "payments_subscription_exists").await;
    });
}

#[test]
fn a_subscription_that_was_paid_for_stays_and_keeps_its_id() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in ["DELETE FROM subscriptions WHERE id = 1", "DELETE FROM subscriptions"] {
            assert_refused(&client, sql, FOREIGN_KEY, "subscriptions_paid_for_stay").await;
        }
        let sql = "UPDATE subscriptions SET id = 77 WHERE id = 1";
        assert_refused(&client, sql, CHECK, "subscriptions_id_is_fixed").await;
        for sql in ["TRUNCATE subscriptions", "TRUNCATE subscriptions CASCADE"] {
            assert_refused(&client, sql, CHECK, "subscriptions_not_truncated").await;
        }
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM subscriptions WHERE id = 1";
        assert_refused_by_state(&client, sql, "25000").await;
    });
}

/// In place of a foreign key: whoever comes second waits and is refused.
#[test]
fn paying_for_a_subscription_and_deleting_it_at_once_do_not_both_succeed() {
    // What is paid here leaves no trace of a purchase, which the checks would complain about.
    db_test_unchecked(async |db| {
        let client = book(&db).await;
        let (first, second) = (Session::open(&db).await, Session::open(&db).await);
        let (pay, delete) =
            (payment(2, "2026-03-01", "2026-04-01", 0, "NULL"), "DELETE FROM subscriptions WHERE id = 2");
        first.run(&format!("BEGIN; {delete}")).await;
        let second = second.run_until_it_waits(&client, &pay).await;
        first.run("COMMIT").await;
        assert_eq!(second.must_be_refused().await.constraint.as_deref(), Some("payments_subscription_exists"));

        let anew = "INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at)
            VALUES (2, 2, 'payment', 'basic_1m', 2, '2026-02-01 00:00+00', '2026-03-01 00:00+00')";
        run(&client, anew).await;
        let second = Session::open(&db).await;
        first.run(&format!("BEGIN; {pay}")).await;
        let second = second.run_until_it_waits(&client, delete).await;
        first.run("COMMIT").await;
        assert_eq!(second.must_be_refused().await.constraint.as_deref(), Some("subscriptions_paid_for_stay"));
    });
}

#[test]
fn a_payment_changes_once_when_it_is_voided() {
    db_test(async |db| {
        let client = book(&db).await;
        for set in [
            "amount_kopecks = 1",
            "period_start = '2026-02-02 00:00+00'",
            "period_end = '2026-02-02 00:00+00'",
            "subscription_id = 2",
            "transfer_id = 2",
            "tariff = 'other'",
            "id = 7",
            "created_at = created_at + interval '1 second'",
            "voided_at = now(), amount_kopecks = 1",
        ] {
            let sql = format!("UPDATE payments SET {set} WHERE id = 1");
            assert_refused(&client, &sql, CHECK, "payments_only_voided").await;
        }
        run(&client, REFUND).await;
        for set in ["voided_at = NULL", "voided_at = voided_at + interval '1 second'", "tariff = 'other'"] {
            let sql = format!("UPDATE payments SET {set} WHERE id = 1");
            assert_refused(&client, &sql, CHECK, "payments_only_voided").await;
        }
    });
}

#[test]
fn a_payment_is_never_deleted() {
    db_test(async |db| {
        let client = book(&db).await;
        for sql in [
            "DELETE FROM payments",
            "TRUNCATE payments",
            "WITH gone AS (DELETE FROM payments RETURNING 1) SELECT count(*) FROM gone",
        ] {
            assert_refused(&client, sql, CHECK, "payments_never_deleted").await;
        }
    });
}

#[test]
fn of_two_overlapping_payments_at_once_the_second_waits_and_is_refused() {
    // The winner is free of charge without the audit row of a purchase, which the checks would complain about.
    db_test_unchecked(async |db| {
        let client = book(&db).await;
        let (first, second) = (Session::open(&db).await, Session::open(&db).await);
        first.run(&format!("BEGIN; {}", payment(1, "2026-03-01", "2026-04-01", 0, "NULL"))).await;
        let later = payment(1, "2026-03-20", "2026-04-20", 0, "NULL");
        let second = second.run_until_it_waits(&client, &later).await;
        first.run("COMMIT").await;
        let refused = second.must_be_refused().await;
        assert_eq!(refused.constraint.as_deref(), Some("payments_no_day_twice"));
        assert_eq!(number(&client, "SELECT count(*) FROM payments WHERE subscription_id = 1").await, 2);
    });
}

/// A transaction that looks with an old snapshot does not see what was paid since.
#[test]
fn a_payment_at_a_level_that_cannot_see_the_newest_one_is_refused() {
    db_test(async |db| {
        let client = book(&db).await;
        for level in ["REPEATABLE READ", "SERIALIZABLE"] {
            let sql = payment(1, "2026-03-01", "2026-04-01", 0, "NULL");
            let sql = format!("BEGIN ISOLATION LEVEL {level}; {sql}");
            assert_refused_by_state(&client, &sql, "25000").await;
        }
        let hint = refusal(&client, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT need_read_committed()").await.hint;
        assert!(hint.unwrap().contains("READ COMMITTED"));
    });
}

#[test]
fn without_its_trigger_each_forbidden_payment_goes_through() {
    db_test(async |db| {
        let client = book(&db).await;
        for (trigger, sql) in [
            ("payments_fit", payment(1, "2026-02-20", "2026-03-20", 0, "NULL")),
            ("payments_fit", charge_sql(4, 2, 500) + &payment(1, "2026-03-01", "2026-04-01", 499, "4")),
            ("payments_only_voided", "UPDATE payments SET amount_kopecks = 1".to_owned()),
            ("payments_never_deleted", "DELETE FROM payments".to_owned()),
        ] {
            run(&client, &format!("BEGIN; ALTER TABLE payments DISABLE TRIGGER {trigger}; {sql}; ROLLBACK")).await;
        }
    });
}
