//! The repository's statements: each fits the migrated schema, and those of `renew` stay quick in a large table, also
//! when the server plans them without looking at the values.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::collections::BTreeSet;

use perennial_testkit::{db_test, db_test_unchecked};
use support::World;
use support::plans::{is_seq_scan, nodes, plan};
use support::statements::{self, Statement};

#[test]
fn every_statement_fits_the_migrated_schema_with_the_types_it_is_sent_with() {
    db_test(async |db| {
        let client = db.client().await;
        let statements = statements::all();
        let typed = statements.iter().filter(|statement| statement.types.is_some()).count();
        assert!(typed > 20, "the reader has found the types of {typed} statements only");
        for statement in &statements {
            let prepared = client.batch_execute(&statement.prepare()).await;
            prepared.unwrap_or_else(|error| panic!("{}: {}", statement.name, error.as_db_error().unwrap()));
        }
    });
}

#[test]
fn every_statement_has_a_name_of_its_own() {
    let statements = statements::all();
    let names: BTreeSet<&str> = statements.iter().map(|statement| statement.name.as_str()).collect();
    assert_eq!(names.len(), statements.len());
}

#[test]
fn every_list_is_a_keyset_of_limited_length_with_static_text() {
    for statement in statements::all() {
        let Statement { name, sql, .. } = statement;
        assert!(!sql.contains("OFFSET"), "{name}");
        assert!(!sql.contains("IS NULL OR (") && !sql.contains("::text IS NULL"), "{name}");
        if name.starts_with("list_") && name.ends_with("_due") {
            assert!(sql.contains("ORDER BY") && sql.contains("LIMIT $"), "{name}");
            assert!(!sql.contains("FOR "), "a list locks nothing: {name}");
        }
    }
}

/// A large book, written without triggers: 210 000 rows over two months, each with a payment, one in fifty parked.
const LARGE_BOOK: &str = "
    SET session_replication_role = replica;
    INSERT INTO users (telegram_id) SELECT generate_series(1, 210000);
    INSERT INTO accounts (kind, telegram_id, balance_kopecks) SELECT 'wallet', telegram_id, 0 FROM users;
    INSERT INTO credentials (id, telegram_id, email) SELECT telegram_id, telegram_id, 'p.' || telegram_id FROM users;
    INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at, anchor_day, auto_renew)
    SELECT n, n, 'payment', 'basic_1m', n, e.at - interval '30 days', e.at, 1, n % 10 <> 0
    FROM users u, LATERAL (SELECT u.telegram_id AS n) i,
        LATERAL (SELECT timestamptz '2026-03-05 12:00+00' + n * interval '25 seconds' AS at) e;
    INSERT INTO payments (subscription_id, period_start, period_end, amount_kopecks)
    SELECT id, starts_at, expires_at, 0 FROM subscriptions;
    INSERT INTO parked (pass, subscription, tries, reason)
    SELECT 'renew', id, 3, 'a test' FROM subscriptions WHERE id % 50 = 0;
    SET session_replication_role = origin;
    ANALYZE";

/// The oldest rows of a table are the ended ones, and `expire-fast` asks this before it ends anything.
#[test]
fn counting_who_is_active_does_not_read_past_all_who_ever_were() {
    db_test_unchecked(async |db| {
        let world = World::new(db).await;
        let years = "SET session_replication_role = replica;
             INSERT INTO subscriptions (id, telegram_id, source, tariff, status, credential_id, expires_at, anchor_day)
             SELECT n, n, 'payment', 'basic_1m', CASE WHEN n <= 20000 THEN 'expired' ELSE 'active' END,
                 CASE WHEN n > 20000 THEN n END, timestamptz '2026-03-05 12:00+00' + n * interval '25 seconds', 1
             FROM generate_series(1, 30000) n;
             SET session_replication_role = origin;
             ANALYZE subscriptions; SET plan_cache_mode = force_generic_plan";
        world.execute(years).await;
        let plan = plan(&world.client, &statements::named("count_active")).await;
        let nodes = nodes(&plan);
        assert!(nodes.iter().all(|node| !is_seq_scan(node, &[]) && node["Node Type"] != "Sort"), "{plan:#}");
        assert!(nodes.iter().any(|node| node["Index Name"] == "subscriptions_end_due"), "{plan:#}");
    });
}

#[test]
fn lists_and_claims_of_renew_are_index_scans_in_a_large_book_whatever_the_values() {
    db_test_unchecked(async |db| {
        let world = World::new(db).await;
        world.execute(LARGE_BOOK).await;
        for parked in ["one in fifty parked", "nearly all parked"] {
            world.execute("DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan").await;
            // What is left is counted by the lists themselves. Of who was told of a charge nothing is read again.
            for (name, index, small) in [
                ("list_renewal_due", "subscriptions_renewal_due", &[][..]),
                ("list_announcements_due", "subscriptions_charge_untold", &["tariffs"][..]),
            ] {
                let plan = plan(&world.client, &statements::named(name)).await;
                let what = format!("{name}, {parked}: {plan:#}");
                let nodes = nodes(&plan);
                assert!(nodes.iter().all(|node| !is_seq_scan(node, small)), "{what}");
                assert!(nodes.iter().all(|node| node["Node Type"] != "Sort"), "{what}");
                let scan = nodes.iter().find(|node| node["Index Name"] == index).expect(&what);
                // Both ends are conditions of the index: a range, not a walk from its start.
                let range = scan["Index Cond"].as_str().unwrap_or_default();
                assert!(range.contains("ROW(expires_at, id) > ROW($1, $2)"), "{what}");
                assert!(range.contains("expires_at <= $3"), "{what}");
            }
            for name in ["claim_announcements_due", "record_announced"] {
                let plan = plan(&world.client, &statements::named(name)).await;
                let small = ["tariffs", "discounts"];
                assert!(nodes(&plan).iter().all(|node| !is_seq_scan(node, &small)), "{name}, {parked}: {plan:#}");
            }
            for name in ["claim_renewal_due", "still_due_for_renewal", "extend", "read_back", "record_short_tries"] {
                let plan = plan(&world.client, &statements::named(name)).await;
                let small = ["tariffs", "discounts"];
                assert!(nodes(&plan).iter().all(|node| !is_seq_scan(node, &small)), "{name}, {parked}: {plan:#}");
            }
            world
                .execute(
                    "INSERT INTO parked (pass, subscription, tries, reason)
                     SELECT 'renew', id, 3, 'a test' FROM subscriptions WHERE id % 7 <> 0
                     ON CONFLICT DO NOTHING;
                     ANALYZE",
                )
                .await;
        }
    });
}

/// What `reconcile-xray` and `expire-fast` read whole, page by page.
#[test]
fn lists_of_credentials_are_ranges_of_an_index_in_a_large_book_whatever_the_values() {
    db_test_unchecked(async |db| {
        let world = World::new(db).await;
        world.execute(LARGE_BOOK).await;
        let closed = "SET session_replication_role = replica;
             UPDATE credentials SET closed_at = now() WHERE id % 20 = 0;
             SET session_replication_role = origin; ANALYZE;
             SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off";
        world.execute(closed).await;
        for (name, index, range) in [
            ("list_open_credentials", "credentials_open", "id > $1"),
            ("list_closing", "credentials_closing", "ROW(closed_at, id) > ROW($1, $2)"),
        ] {
            let plan = plan(&world.client, &statements::named(name)).await;
            let what = format!("{name}: {plan:#}");
            let nodes = nodes(&plan);
            assert!(
                nodes.iter().all(|node| !is_seq_scan(node, &["removals"]) && node["Node Type"] != "Sort"),
                "{what}"
            );
            let scan = nodes.iter().find(|node| node["Index Name"] == index).expect(&what);
            assert!(scan["Index Cond"].as_str().unwrap_or_default().contains(range), "{what}");
        }
    });
}
