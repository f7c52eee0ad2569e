//! Which values the database takes: dates, time zones, languages, prices, discounts, notices.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::refusal::{CHECK, INVALID_VALUE, UNIQUE, assert_refused, assert_refused_by_state, refusal};
use common::{number, run, text};
use perennial_testkit::db_test;

#[test]
fn infinite_and_absurd_dates_of_a_subscription_are_refused() {
    db_test(async |db| {
        let client = db.client().await;
        run(
            &client,
            "INSERT INTO users (telegram_id) VALUES (1), (2);
             INSERT INTO credentials (id, telegram_id) VALUES (1, 1), (2, 2);
             INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, expires_at)
             VALUES (1, 1, 'payment', 'basic_1m', 1, now())",
        )
        .await;
        let times = [
            "infinity",
            "-infinity",
            "0026-03-10 00:00+00",
            "1999-12-31 23:59:59.999999+00",
            "9000-01-01 00:00:00.000001+00",
            "202603-10-01 00:00+00",
        ];
        for time in times {
            for column in ["starts_at", "expires_at"] {
                let sql = format!("UPDATE subscriptions SET {column} = '{time}' WHERE id = 1");
                assert_refused(&client, &sql, CHECK, "subscriptions_times_sane").await;
            }
            let sql = format!(
                "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at)
                 VALUES (2, 'payment', 'basic_1m', 2, '{time}')"
            );
            assert_refused(&client, &sql, CHECK, "subscriptions_times_sane").await;
        }
        for time in ["2000-01-01 00:00+00", "9000-01-01 00:00+00"] {
            run(&client, &format!("UPDATE subscriptions SET expires_at = '{time}' WHERE id = 1")).await;
        }
    });
}

#[test]
fn other_values_of_a_subscription_are_checked() {
    db_test(async |db| {
        let client = db.client().await;
        run(
            &client,
            "INSERT INTO users (telegram_id) VALUES (1);
             INSERT INTO credentials (id, telegram_id) VALUES (1, 1);
             INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at)
             VALUES (1, 1, 'payment', 'basic_1m', 1, '2026-01-31 23:30+00', '2026-02-28 23:30+00');
             ALTER TABLE subscriptions ALTER id RESTART WITH 100",
        )
        .await;
        for (set, constraint) in [
            ("anchor_day = 0", "subscriptions_anchor_day_in_range"),
            ("anchor_day = 32", "subscriptions_anchor_day_in_range"),
            ("source = 'gift'", "subscriptions_source_known"),
            ("agreed_price_kopecks = -1", "subscriptions_agreed_price_sane"),
            ("agreed_price_kopecks = 1000000000001", "subscriptions_agreed_price_sane"),
            ("short_stage = 'second'", "subscriptions_short_stage_known"),
        ] {
            assert_refused(&client, &format!("UPDATE subscriptions SET {set}"), CHECK, constraint).await;
        }
        // The anchor day is that of the start in UTC, whatever the session's time zone.
        assert_eq!(number(&client, "SELECT anchor_day FROM subscriptions").await, 31);
        run(
            &client,
            "SET TimeZone = 'Asia/Tokyo';
             INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at)
             VALUES (1, 'grant', 'basic_1m', 1, '2026-01-31 23:30+00', '2026-02-28 23:30+00')",
        )
        .await;
        assert_eq!(number(&client, "SELECT anchor_day FROM subscriptions WHERE source = 'grant'").await, 31);
    });
}

#[test]
fn an_unknown_time_zone_is_refused() {
    db_test(async |db| {
        let client = db.client().await;
        for zone in ["Europe/Moskow", "", "Moscow time", "infinity", "/etc/passwd", "../UTC"] {
            let sql = format!("INSERT INTO users (telegram_id, time_zone) VALUES (1, '{zone}')");
            assert_refused_by_state(&client, &sql, INVALID_VALUE).await;
            let sql = format!("SELECT perennial_ensure_user(1, 'ru', '{zone}')");
            assert_refused_by_state(&client, &sql, INVALID_VALUE).await;
        }
        for (id, zone) in (1..).zip(["Europe/Moscow", "UTC", "America/Sao_Paulo", "Asia/Kolkata", "Etc/GMT-5"]) {
            run(&client, &format!("INSERT INTO users (telegram_id, time_zone) VALUES ({id}, '{zone}')")).await;
        }
        let sql = "UPDATE users SET time_zone = 'Mars/Olympus' WHERE telegram_id = 1";
        assert_refused_by_state(&client, sql, INVALID_VALUE).await;
    });
}

#[test]
fn a_user_has_a_positive_id_a_language_that_is_one_and_a_wallet() {
    db_test(async |db| {
        let client = db.client().await;
        for (values, constraint) in [
            ("0, NULL", "users_telegram_id_positive"),
            ("-5, NULL", "users_telegram_id_positive"),
            ("5, ''", "users_language_is_a_tag"),
            ("5, 'e'", "users_language_is_a_tag"),
            ("5, 'ru_RU'", "users_language_is_a_tag"),
            ("5, 'ru; drop'", "users_language_is_a_tag"),
            ("5, E'ru\\n'", "users_language_is_a_tag"),
        ] {
            let sql = format!("INSERT INTO users (telegram_id, language) VALUES ({values})");
            assert_refused(&client, &sql, CHECK, constraint).await;
        }
        run(
            &client,
            "INSERT INTO users (telegram_id, language) VALUES (1, 'ru'), (2, 'pt-br'), (3, 'zh-Hans-CN'), (4, NULL)",
        )
        .await;
        run(&client, "INSERT INTO users (telegram_id) VALUES (4), (5) ON CONFLICT DO NOTHING").await;
        let wallets = "SELECT string_agg(concat(telegram_id, ':', balance_kopecks), ' ' ORDER BY telegram_id)
                       FROM accounts WHERE kind = 'wallet'";
        assert_eq!(text(&client, wallets).await, "1:0 2:0 3:0 4:0 5:0");
    });
}

#[test]
fn a_price_list_with_impossible_entries_is_refused() {
    db_test(async |db| {
        let client = db.client().await;
        for (values, constraint) in [
            ("('', 'basic', 'day', 30, 1)", "tariffs_code_is_plain"),
            ("('a b', 'basic', 'day', 30, 1)", "tariffs_code_is_plain"),
            ("('a', '', 'day', 30, 1)", "tariffs_access_group_is_plain"),
            ("('a', 'basic', 'week', 30, 1)", "tariffs_period_unit_known"),
            ("('a', 'basic', 'day', 0, 1)", "tariffs_period_count_sane"),
            ("('a', 'basic', 'day', 3661, 1)", "tariffs_period_count_sane"),
            ("('a', 'basic', 'day', 30, -1)", "tariffs_price_sane"),
            ("('a', 'basic', 'day', 30, 1000000000001)", "tariffs_price_sane"),
        ] {
            let sql = format!(
                "INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks) VALUES {values}"
            );
            assert_refused(&client, &sql, CHECK, constraint).await;
        }
        run(
            &client,
            "INSERT INTO tariffs VALUES ('a', 'basic', 'day', 30, 0), ('b', 'basic', 'month', 12, 1000000000000)",
        )
        .await;
        let again = "INSERT INTO tariffs VALUES ('a', 'basic', 'day', 31, 0)";
        assert_refused(&client, again, UNIQUE, "tariffs_pkey").await;

        run(&client, "INSERT INTO users (telegram_id) VALUES (1)").await;
        for percent in [-1, 101] {
            let sql = format!("INSERT INTO discounts (telegram_id, percent) VALUES (1, {percent})");
            assert_refused(&client, &sql, CHECK, "discounts_percent_in_range").await;
        }
        run(&client, "INSERT INTO discounts (telegram_id, percent, ends_at) VALUES (1, 100, 'infinity')").await;
    });
}

#[test]
fn a_notice_is_written_once_and_is_leased_exactly_while_it_is_sent() {
    db_test(async |db| {
        let client = db.client().await;
        let insert = "INSERT INTO notices (telegram_id, kind, dedupe_key, status, lease_until) VALUES";
        run(&client, &format!("{insert} (1, 'short', 'short:1', 'pending', NULL)")).await;
        for (values, sqlstate, constraint) in [
            ("(2, 'short', 'short:1', 'pending', NULL)", UNIQUE, "notices_dedupe_key_key"),
            ("(1, 'Short!', 'a', 'pending', NULL)", CHECK, "notices_kind_is_plain"),
            ("(1, 'short', 'a', 'lost', NULL)", CHECK, "notices_status_known"),
            ("(1, 'short', 'a', 'sending', NULL)", CHECK, "notices_lease_while_sending"),
            ("(1, 'short', 'a', 'sent', now())", CHECK, "notices_lease_while_sending"),
        ] {
            assert_refused(&client, &format!("{insert} {values}"), sqlstate, constraint).await;
        }
        for sql in [
            "INSERT INTO orphans (node, inbound, email) VALUES ('unknown', 'in', 'p.1')",
            "INSERT INTO removals (credential, node) VALUES (1, 'unknown')",
        ] {
            assert_eq!(refusal(&client, sql).await.sqlstate, "23503", "{sql}");
        }
    });
}

#[test]
fn every_moment_is_stored_with_its_zone_and_no_amount_is_a_float() {
    db_test(async |db| {
        let client = db.client().await;
        let unsafe_types = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
            AND data_type IN ('timestamp without time zone', 'time without time zone', 'date', 'real', 'double precision')";
        assert_eq!(number(&client, unsafe_types).await, 0);
        let moments = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
            AND data_type = 'timestamp with time zone'";
        assert!(number(&client, moments).await > 30);
    });
}
