//! Moments that are none, and those at the edges of what the tables take: refused at the door, or worked with. No such row
//! keeps a pass from any other.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;
mod fire_support;

use common::refusal::CHECK;
use common::{number, run, texts};
use fire_support::{PASSES, Service, end};
use perennial_testkit::db_test;

const NEVER_MOMENTS: [&str; 6] =
    ["infinity", "-infinity", "0001-01-01", "1999-12-31", "9999-12-31 23:59:59.999999", "294276-12-31"];
const EDGES: [&str; 2] = ["2000-01-01 00:00+00", "9000-01-01 00:00+00"];

/// Each column alone, in a copy of its table that has nothing but the rule in question: a new table or column without one
/// is found here.
#[test]
fn every_time_of_every_table_lies_in_its_years() {
    db_test(async |db| {
        let client = db.client().await;
        let columns = texts(
            &client,
            "SELECT table_name || ' ' || column_name FROM information_schema.columns
             JOIN information_schema.tables USING (table_schema, table_name)
             WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone'
             ORDER BY 1",
        )
        .await;
        assert!(columns.len() > 30, "{columns:?}");
        for column in columns {
            let (table, column) = column.split_once(' ').unwrap();
            run(
                &client,
                &format!(
                    "CREATE TEMP TABLE copy (LIKE public.{table} INCLUDING CONSTRAINTS);
                     DO $$ DECLARE c text; BEGIN
                         FOR c IN SELECT conname FROM pg_constraint
                             WHERE conrelid = 'copy'::regclass AND conname <> '{table}_times_sane'
                         LOOP EXECUTE format('ALTER TABLE copy DROP CONSTRAINT %I', c); END LOOP;
                         FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'copy'::regclass AND attnum > 0
                         LOOP EXECUTE format('ALTER TABLE copy ALTER %I DROP IDENTITY IF EXISTS, ALTER %1$I DROP NOT NULL', c);
                         END LOOP;
                     END $$"
                ),
            )
            .await;
            for moment in EDGES {
                run(&client, &format!("INSERT INTO copy ({column}) VALUES ('{moment}')")).await;
            }
            for moment in NEVER_MOMENTS {
                if (table, column, moment) == ("discounts", "ends_at", "infinity") {
                    continue;
                }
                let sql = format!("INSERT INTO copy ({column}) VALUES ('{moment}')");
                let error = client.batch_execute(&sql).await.expect_err(&format!("{table}.{column} took {moment}"));
                let error = error.as_db_error().unwrap();
                let constraint = format!("{table}_times_sane");
                assert_eq!((error.code().code(), error.constraint()), (CHECK, Some(&*constraint)), "{table}.{column}");
            }
            run(&client, "DROP TABLE copy").await;
        }
    });
}

/// Everything long past or far ahead at once, beside customers with whom all is well.
#[test]
fn moments_at_the_edges_are_worked_with() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        service
            .execute(
                "INSERT INTO discounts VALUES (1, 50, 'infinity'), (2, 50, '2000-01-01'), (3, 50, '9000-01-01');
                 INSERT INTO parked (pass, subscription, tries, reason, first_failed_at, last_failed_at, next_try_at)
                     VALUES ('renew', 5, 1, 'x', '2000-01-01', '9000-01-01', '2000-01-01'),
                            ('notify-trials', 24, 1, 'x', '2000-01-01', '2000-01-01', '9000-01-01');
                 UPDATE subscriptions SET starts_at = '2000-01-01', next_reminder_at = '2000-01-01' WHERE telegram_id = 21;
                 UPDATE subscriptions SET expires_at = '9000-01-01', next_reminder_at = '2000-01-01' WHERE telegram_id = 22;
                 UPDATE subscriptions SET expires_at = '2000-01-01', starts_at = '2000-01-01' WHERE telegram_id = 41;
                 UPDATE subscriptions SET expires_at = '9000-01-01', last_auto_renewal_at = '2000-01-01',
                     charge_told_for = '9000-01-01' WHERE telegram_id = 51;
                 UPDATE credentials SET created_at = '2000-01-01';
                 UPDATE nodes SET adopted_at = '2000-01-01', next_try_at = '2000-01-01', leased_until = '2000-01-01';
                 UPDATE orphans SET first_seen_at = '2000-01-01', last_seen_at = '2000-01-01';
                 INSERT INTO pace VALUES ('telegram', '2000-01-01');
                 INSERT INTO notices (telegram_id, kind, dedupe_key, params, not_before, useless_after, created_at) VALUES
                     (61, 'trial_over', 'old', '{\"tariff\": \"t\", \"ended\": 0}', '2000-01-01', '9000-01-01', '2000-01-01'),
                     (62, 'trial_over', 'far', '{\"tariff\": \"t\", \"ended\": 253401999999999999}', '2000-01-01', NULL, now())",
            )
            .await;
        for pass in PASSES.into_iter().chain(["reconcile-xray"]) {
            let all: &[&str] = match pass {
                "renew" => &["--max-seconds", "30", "--window", "30d", "--charge-notice", "3660d"],
                "reconcile-xray" => &["--max-seconds", "30", "--max-removal-share", "1"],
                _ => &["--max-seconds", "30"],
            };
            let ended = service.run(pass, all);
            assert!(matches!(ended.code(), Some(0 | 3)), "{pass}: {ended:?}");
        }
        let of_our_five = "SELECT count(*) FROM transfers WHERE kind = 'charge' AND debit_account IN
            (SELECT id FROM accounts WHERE telegram_id IN (1, 2, 3, 5, 6))";
        assert_eq!(service.number(of_our_five).await, 5);
        assert_eq!(service.number("SELECT amount_kopecks FROM payments WHERE subscription_id = 1").await, 9_950);
        assert_eq!(service.number("SELECT amount_kopecks FROM payments WHERE subscription_id = 2").await, 19_900);
        let untold = "SELECT count(*) FROM notices WHERE dedupe_key IN ('old', 'far') AND status <> 'sent'";
        assert_eq!(service.number(untold).await, 0);
        assert_eq!(service.number("SELECT count(*) FROM subscriptions WHERE status = 'expiring'").await, 0);
        assert_eq!(service.drift().await, [""; 0]);
        for command in
            [&["verify"][..], &["status"], &["parked"], &["nodes", "list"], &["explain", "1"], &["explain", "22"]]
        {
            let ended = end(service.command("admin").args(command));
            assert_eq!(ended.code(), Some(0), "{command:?}: {ended:?}");
        }
    });
}

/// What is put off for ever by hand is left alone, and so is nothing else.
#[test]
fn what_waits_until_the_year_9000_holds_up_nobody() {
    db_test(async |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        service
            .execute(
                "UPDATE nodes SET next_try_at = '9000-01-01' WHERE name = 'n1';
                 UPDATE nodes SET leased_until = '9000-01-01' WHERE name = 'n2';
                 INSERT INTO pace VALUES ('telegram', '9000-01-01');
                 INSERT INTO notices (telegram_id, kind, dedupe_key, status, attempts, lease_until)
                     VALUES (6, 'trial_over', 'held', 'sending', 1, '9000-01-01')",
            )
            .await;
        for pass in PASSES {
            let ended = service.run(pass, &["--max-seconds", "3"]);
            assert!(matches!(ended.code(), Some(0 | 3 | 69 | 75)), "{pass}: {ended:?}");
        }
        let client = db.client().await;
        assert_eq!(number(&client, "SELECT count(*) FROM transfers WHERE kind = 'charge'").await, 5);
        assert_eq!(
            number(&client, "SELECT count(*) FROM subscriptions WHERE expires_at <= now() AND status = 'active'").await,
            0
        );
        assert_eq!(service.telegram.messages().len(), 0);
    });
}
