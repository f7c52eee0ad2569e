//! Migrating real databases: empty, half-way, ahead, edited, from several sides at once.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use futures_util::future::try_join_all;
use perennial_core::schema::{HISTORY_TABLE, VERSION};
use perennial_migrate::{MigrateError, apply, must_be_direct};
use perennial_testkit::{TestDb, db_test_unchecked};
use tokio_postgres::Client;

/// Takes the schema out of a test's database.
async fn emptied(db: &TestDb) -> Client {
    let client = db.client().await;
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    client
}

async fn history(client: &Client) -> Vec<String> {
    let sql = format!("SELECT concat_ws(' ', version, name, checksum) FROM {HISTORY_TABLE} ORDER BY version");
    client.query_typed(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_template_of_tests_has_the_history_that_we_write() {
    db_test_unchecked(async |db| {
        let of_the_template = history(&db.client().await).await;
        let mut client = emptied(&db).await;
        apply(&mut client, None).await.unwrap();
        assert_eq!(history(&client).await, of_the_template);
    });
}

#[test]
fn a_second_time_nothing_is_applied() {
    db_test_unchecked(async |db| {
        let mut client = emptied(&db).await;
        let applied = apply(&mut client, None).await.unwrap();
        assert_eq!(
            applied.iter().map(|migration| migration.version).collect::<Vec<_>>(),
            (1..=VERSION).collect::<Vec<_>>()
        );
        assert_eq!(apply(&mut client, None).await.unwrap(), []);
    });
}

#[test]
fn a_target_stops_the_migration_there() {
    db_test_unchecked(async |db| {
        let mut client = emptied(&db).await;
        assert_eq!(apply(&mut client, Some(2)).await.unwrap().len(), 2);
        let back = apply(&mut client, Some(1)).await.unwrap_err();
        assert!(matches!(back, MigrateError::NoSuchTarget { wanted: 1, .. }), "{back}");
        assert_eq!(apply(&mut client, None).await.unwrap().len(), VERSION as usize - 2);
    });
}

#[test]
fn a_newer_database_is_refused() {
    db_test_unchecked(async |db| {
        let mut client = db.client().await;
        let newer =
            format!("INSERT INTO {HISTORY_TABLE} VALUES ({}, 'later', '2030-01-01T00:00:00Z', '1')", VERSION + 1);
        client.batch_execute(&newer).await.unwrap();
        let error = apply(&mut client, None).await.unwrap_err();
        assert!(matches!(error, MigrateError::Newer { found, known } if found == VERSION + 1 && known == VERSION));
    });
}

#[test]
fn an_edited_migration_is_refused_and_nothing_applied() {
    db_test_unchecked(async |db| {
        let mut client = emptied(&db).await;
        apply(&mut client, Some(2)).await.unwrap();
        let edited = format!("UPDATE {HISTORY_TABLE} SET checksum = '1' WHERE version = 2");
        client.batch_execute(&edited).await.unwrap();
        let error = apply(&mut client, None).await.unwrap_err();
        assert!(matches!(error, MigrateError::Divergent(_)), "{error}");
        assert_eq!(history(&client).await.len(), 2);
    });
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind() {
    db_test_unchecked(async |db| {
        let mut client = emptied(&db).await;
        client.batch_execute("CREATE TABLE payments (of_another_program int)").await.unwrap();
        let error = apply(&mut client, None).await.unwrap_err();
        let MigrateError::Database { source, .. } = &error else { panic!("{error}") };
        assert!(source.to_string().contains("\"payments\" already exists"), "{source}");
        assert!(history(&client).await.is_empty());
        assert!(client.batch_execute("SELECT FROM users").await.is_err());
        let held = client.query_typed_one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            &[],
        );
        assert_eq!(held.await.unwrap().get::<_, i64>(0), 0, "the lock is given back");
    });
}

#[test]
fn of_six_at_once_one_migrates_and_none_fails() {
    db_test_unchecked(async |db| {
        drop(emptied(&db).await);
        let all = try_join_all((0..6).map(async |_| apply(&mut db.client().await, None).await)).await.unwrap();
        let applied: Vec<usize> = all.iter().map(Vec::len).filter(|applied| *applied > 0).collect();
        assert_eq!(applied, [VERSION as usize]);
    });
}

#[test]
fn two_connections_of_one_session_are_seen() {
    db_test_unchecked(async |db| {
        let (first, second) = (db.client().await, db.client().await);
        must_be_direct(&first, &second).await.unwrap();
        // What a pooler in transaction mode makes of two idle clients.
        let error = must_be_direct(&first, &first).await.unwrap_err();
        assert!(matches!(error, MigrateError::Pooled), "{error}");
    });
}
