//! Test databases: each test has its own, whatever the others do, and it is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::thread;

use perennial_testkit::db::CONNECTIONS_PER_TEST;
use perennial_testkit::{TestDb, db_test, db_test_unchecked};

async fn exists(db: &TestDb, name: &str) -> bool {
    let query = format!("SELECT FROM pg_database WHERE datname = '{name}'");
    !db.client().await.query_typed(&query, &[]).await.unwrap().is_empty()
}

#[test]
fn two_tests_at_once_get_databases_of_their_own() {
    let names = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                db_test_unchecked(async |db| {
                    let client = db.client().await;
                    client.batch_execute("CREATE TABLE only_mine (n int)").await.unwrap();
                    names.lock().unwrap().insert(db.name().to_owned());
                });
            });
        }
    });
    let names = names.into_inner().unwrap();
    assert_eq!(names.len(), 2);
    db_test(async |db| {
        for name in &names {
            assert!(!exists(&db, name).await, "{name} is still there");
        }
    });
}

#[test]
fn a_failed_test_fails_with_its_own_message_and_leaves_no_database() {
    let name = Mutex::new(String::new());
    let failed = catch_unwind(|| {
        db_test(async |db| {
            *name.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = db.name().to_owned();
            let _open = db.client().await;
            panic!("on purpose");
        });
    });
    assert_eq!(failed.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    let name = name.into_inner().unwrap();
    db_test(async |db| assert!(!exists(&db, &name).await));
}

#[test]
fn any_number_of_tests_at_once_stays_below_the_connection_limit() {
    const TESTS: usize = 24;
    thread::scope(|scope| {
        for _ in 0..TESTS {
            scope.spawn(|| {
                db_test_unchecked(async |db| {
                    let mut open = Vec::new();
                    for _ in 0..CONNECTIONS_PER_TEST - 1 {
                        open.push(db.client().await);
                    }
                    for client in &open {
                        client.batch_execute("SELECT 1").await.unwrap();
                    }
                });
            });
        }
    });
}
