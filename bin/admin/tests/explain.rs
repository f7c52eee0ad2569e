//! `explain`: the story of one user, word for word.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, DatabaseOptions};
use perennial_core::ids::{RunId, TelegramId};
use perennial_core::time::Deadline;
use perennial_testkit::{TestClock, TestDb, db_test};
use support::{json, run, sql};
use time::macros::datetime;

/// Everything that can be told of a user, with all ids and times fixed.
const STORY: &str = "
INSERT INTO tariffs VALUES ('basic_1m', 'basic', 'month', 1, 19900, true);
INSERT INTO users (telegram_id, language, time_zone, vip, created_at)
VALUES (42, 'ru', 'Europe/Moscow', false, '2026-01-01 09:00:00Z');
INSERT INTO discounts VALUES (42, 10, '2026-01-20 00:00:00Z');
INSERT INTO credentials (id, telegram_id, uuid, created_at, closed_at, retired_at) VALUES
    (7, 42, '11112222-3333-4444-5555-666677778888', '2026-01-01 09:05:00Z', '2026-01-05 12:00:00Z', '2026-01-05 12:00:09Z'),
    (8, 42, '9999aaaa-bbbb-cccc-dddd-eeeeffff0000', '2026-01-05 12:00:00Z', NULL, NULL);
INSERT INTO nodes (name) VALUES ('node-1');
INSERT INTO removals VALUES (7, 'node-1', '2026-01-05 12:00:08Z');
INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, status, starts_at, expires_at, auto_renew,
    last_auto_renewal_at, ended_at, expired_at) VALUES
    (5, 42, 'payment', 'basic_1m', 8, 'active', '2026-01-01 09:05:00Z', '2026-03-01 09:05:00Z', true,
        '2026-02-01 03:06:00Z', NULL, NULL),
    (6, 42, 'trial', 'basic_1m', NULL, 'expired', '2025-12-28 09:00:00Z', '2025-12-31 09:00:00Z', false, NULL,
        '2025-12-31 09:01:00Z', '2025-12-31 09:01:04Z');
INSERT INTO transfers (id, idempotency_key, kind, debit_account, credit_account, amount_kopecks, reverses, created_at)
SELECT t.id, t.key, t.kind, coalesce(t.debit, w.id), coalesce(t.credit, w.id), t.kopecks, t.reverses, t.at
FROM accounts w, (VALUES
    (101, 'top_up:0a1b2c3d-0000-4000-8000-000000000000', 'top_up', 2, NULL, 50000, NULL, timestamptz '2026-01-01 09:04:00Z'),
    (102, 'buy:tap-1', 'charge', NULL, 1, 17910, NULL, '2026-01-01 09:05:00Z'),
    (103, 'refund:oops', 'reversal', 1, NULL, 17910, 102, '2026-01-01 09:30:00Z'),
    (104, 'buy:tap-2', 'charge', NULL, 1, 17910, NULL, '2026-01-01 09:31:00Z'),
    (105, 'renew:5:1769936700000000', 'charge', NULL, 1, 19900, NULL, '2026-02-01 03:06:00Z')
) AS t (id, key, kind, debit, credit, kopecks, reverses, at)
WHERE w.telegram_id = 42;
INSERT INTO payments (id, subscription_id, tariff, period_start, period_end, amount_kopecks, transfer_id, created_at, voided_at)
VALUES
    (11, 5, 'basic_1m', '2026-01-01 09:05:00Z', '2026-02-01 09:05:00Z', 17910, 102, '2026-01-01 09:05:00Z', '2026-01-01 09:30:00Z'),
    (12, 5, 'basic_1m', '2026-01-01 09:05:00Z', '2026-02-01 09:05:00Z', 17910, 104, '2026-01-01 09:31:00Z', NULL),
    (13, 5, 'basic_1m', '2026-02-01 09:05:00Z', '2026-03-01 09:05:00Z', 19900, 105, '2026-02-01 03:06:00Z', NULL);
INSERT INTO audit_log (id, at, actor, run_id, action, telegram_id, subscription_id, before, after, reason) VALUES
    (21, '2026-01-01 09:05:00Z', 'bot', NULL, 'bought', 42, 5, NULL,
        '{\"status\": \"active\", \"expires_at\": \"2026-02-01T09:05:00+00:00\", \"amount_kopecks\": 17910}', 'tap-1'),
    (22, '2026-01-05 12:00:00Z', 'bot', NULL, 'rotated', 42, NULL, '{\"email\": \"p.7\"}', '{\"email\": \"p.8\"}',
        'link 11112222-3333-4444-5555-666677778888 leaked'),
    (23, '2026-02-01 03:06:00Z', 'renew', '019ba000-1111-7222-8333-444455556666', 'renewed', 42, 5,
        '{\"expires_at\": \"2026-02-01T09:05:00Z\", \"balance_kopecks\": 32090}',
        '{\"expires_at\": \"2026-03-01T09:05:00Z\", \"balance_kopecks\": 12190, \"amount_kopecks\": 19900, \"tariff\": \"basic_1m\"}',
        NULL),
    (24, '2026-02-10 10:00:00Z', 'admin', NULL, 'parked', 42, 5, NULL, NULL, 'asked us to wait');
INSERT INTO notices (id, telegram_id, kind, dedupe_key, subscription_id, not_before, useless_after, status, attempts,
    last_error, created_at, sent_at) VALUES
    (31, 42, 'renewed', 'renewed:5:1769936700000000', 5, '2026-02-01 03:06:00Z', NULL, 'sent', 1, NULL,
        '2026-02-01 03:06:00Z', '2026-02-01 03:06:02Z'),
    (32, 42, 'balance_short', 'balance_short:5:x:first', 5, '2026-02-20 03:00:00Z', '2026-03-01 09:20:00Z', 'pending', 2,
        'server error', '2026-02-20 03:00:00Z', NULL);
INSERT INTO parked VALUES ('renew', 5, 0, 'asked us to wait', '2026-02-10 10:00:00Z', '2026-02-10 10:00:00Z', NULL);
";

fn database(db: &TestDb) -> perennial_core::db::Database {
    let clock = TestClock::at(datetime!(2026-02-21 00:00 UTC));
    let options = DatabaseOptions::of(Actor { name: "admin", run_id: RunId::new() });
    db.database(options, Arc::new(clock), Deadline::after(Duration::from_secs(60)))
}

#[test]
fn all_that_happened_is_told_in_the_order_of_time() {
    db_test(async |db| {
        sql(&db.client().await, STORY).await;
        let window = Duration::from_secs(6 * 3600);
        let told = admin::explain::explain(&database(&db), TelegramId(42), 1000, window).await.unwrap();
        let wallet = told.json["wallet_id"].as_i64().unwrap();
        let text = told.text.replace(&format!("Wallet {wallet}"), "Wallet W");
        assert_eq!(text.trim_end(), include_str!("explain.txt").trim_end());
    });
}

#[test]
fn the_object_holds_the_same_and_no_whole_secret() {
    db_test(async |db| {
        sql(&db.client().await, STORY).await;
        let object = json(&db, &["explain", "42"]);
        assert_eq!(object["balance_kopecks"], 12_190);
        assert_eq!(object["credentials"][1]["uuid"], "9999…");
        assert_eq!(object["credentials"][0]["state"], "retired");
        assert_eq!(object["subscriptions"][0]["price_kopecks"], 19_900, "the discount is over");
        assert_eq!(object["parked"][0]["reason"], "asked us to wait");
        assert_eq!(object["history"].as_array().unwrap().len(), 22);
        for secret in ["3333-4444", "bbbb-cccc", "1111-7222", "0000-4000"] {
            assert!(!object.to_string().contains(secret), "{secret}");
            assert!(!run(&db, &["explain", "42"]).good().out.contains(secret), "{secret}");
        }
    });
}

#[test]
fn a_long_story_is_cut_at_its_beginning() {
    db_test(async |db| {
        sql(&db.client().await, STORY).await;
        let object = json(&db, &["explain", "42", "--limit", "2"]);
        assert_eq!(object["history_is_cut"], true);
        let told = run(&db, &["explain", "42", "--limit", "2"]).good().out;
        assert!(told.contains("older rows are left out"), "{told}");
        // The balance is still counted from the first transfer on.
        assert!(told.contains("charge -199.00 RUB, the wallet holds 121.90 RUB"), "{told}");
        assert!(!told.contains("transfer 101"), "{told}");
    });
}

#[test]
fn nobody_has_no_story() {
    db_test(async |db| {
        let said = run(&db, &["explain", "43"]);
        assert_eq!((said.code, said.out.as_str()), (3, ""));
        assert_eq!(said.err, "admin: user 43 is not known (`admin ensure-user` writes a user down)\n");
        let said = run(&db, &["explain", "43", "--output", "json"]);
        assert_eq!(said.code, 3);
        assert_eq!(said.json()["error"], "user 43 is not known");
    });
}
