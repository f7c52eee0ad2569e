//! The one door, `Database::run_tx`, with transfers behind it: what is tried again, what is told, what is left behind.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::door::{door, door_by, options, refused};
use common::ledger::wallets;
use common::race::Session;
use common::refusal::CHECK;
use common::stall::Stall;
use common::{balance, number, run, text, wallet};
use perennial_core::db::{Database, DatabaseOptions, DbError, Tx};
use perennial_core::ids::{AccountId, TelegramId};
use perennial_core::ledger::NewTransfer;
use perennial_core::money::Kopecks;
use perennial_testkit::{TestDb, db_test};
use tokio_postgres::Client;

/// A customer with an empty wallet.
async fn book(db: &TestDb) -> Client {
    let client = db.client().await;
    wallets(&client, 1).await;
    client
}

/// Money from outside, by the function that bots call.
async fn top_up(tx: &Tx<'_>, user: i64, key: &str, kopecks: i64) -> Result<Kopecks, DbError> {
    tx.call_top_up(TelegramId(user), Kopecks(kopecks), key).await
}

/// Tops up in a transaction of its own; answers the balance.
async fn post(database: &Database, key: &str, kopecks: i64) -> Result<Kopecks, DbError> {
    database.run_tx("post", async |tx| top_up(tx, 1, key, kopecks).await).await
}

/// Charges more than there is.
async fn overdraw(tx: &Tx<'_>, client: &Client) -> Result<(), DbError> {
    let wallet = AccountId(wallet(client, 1).await);
    tx.post_transfers(&[NewTransfer::charge("bad".to_owned(), wallet, Kopecks(6))]).await?;
    Ok(())
}

/// Has something happen at each transfer: `when` is `BEFORE INSERT`, or a deferred trigger's at COMMIT.
async fn at_each_transfer(client: &Client, when: When, body: &str) {
    let (kind, timing, deferred) = match when {
        When::Inserted => ("TRIGGER", "BEFORE INSERT", ""),
        When::Committed => ("CONSTRAINT TRIGGER", "AFTER INSERT", "DEFERRABLE INITIALLY DEFERRED"),
    };
    let sql = format!(
        "CREATE SEQUENCE IF NOT EXISTS tries;
         CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {body} RETURN NEW; END $f$;
         CREATE {kind} trouble {timing} ON transfers {deferred} FOR EACH ROW EXECUTE FUNCTION trouble()"
    );
    run(client, &sql).await;
}

#[derive(Clone, Copy)]
enum When {
    Inserted,
    Committed,
}

async fn no_more_trouble(client: &Client) {
    run(client, "DROP TRIGGER trouble ON transfers").await;
}

/// Posts one top-up of 5 kopecks and counts how often the body ran.
async fn post_counted(database: &Database) -> (Result<(), DbError>, u32) {
    let runs = Cell::new(0);
    let result = database
        .run_tx("post", async |tx| {
            runs.set(runs.get() + 1);
            top_up(tx, 1, "key", 5).await?;
            Ok(())
        })
        .await;
    (result, runs.get())
}

#[test]
fn a_transaction_that_gave_way_is_tried_again() {
    for when in [When::Inserted, When::Committed] {
        for sqlstate in ["40001", "40P01", "55P03"] {
            db_test(async |db| {
                let client = book(&db).await;
                let body =
                    format!("IF nextval('tries') <= 2 THEN RAISE 'gave way' USING ERRCODE = '{sqlstate}'; END IF;");
                at_each_transfer(&client, when, &body).await;
                let (result, runs) = post_counted(&door(&db, options())).await;
                assert!(result.is_ok(), "{sqlstate}: {result:?}");
                assert_eq!((runs, balance(&client, 1).await), (3, 5), "{sqlstate}");
            });
        }
    }
}

#[test]
fn a_transaction_that_always_gives_way_is_told_after_five_tries() {
    db_test(async |db| {
        let client = book(&db).await;
        at_each_transfer(&client, When::Inserted, "RAISE 'gave way' USING ERRCODE = '40001';").await;
        let (result, runs) = post_counted(&door(&db, options())).await;
        assert!(matches!(&result, Err(DbError::Contention { sqlstate, .. }) if sqlstate == "40001"), "{result:?}");
        assert!(!result.unwrap_err().is_of_a_row());
        assert_eq!((runs, balance(&client, 1).await), (5, 0));
    });
}

#[test]
fn no_other_error_is_tried_again() {
    for (sqlstate, is_of_a_row) in
        [("23514", true), ("P0001", true), ("22003", true), ("57014", false), ("XX000", false)]
    {
        db_test(async |db| {
            let client = book(&db).await;
            at_each_transfer(&client, When::Inserted, &format!("RAISE 'no' USING ERRCODE = '{sqlstate}';")).await;
            let (result, runs) = post_counted(&door(&db, options())).await;
            assert_eq!((runs, result.unwrap_err().is_of_a_row()), (1, is_of_a_row), "{sqlstate}");
            assert_eq!(balance(&client, 1).await, 0);
        });
    }
}

/// Two wallets, taken in opposite order in two statements each: the server ends one of the two, ours.
#[test]
fn the_victim_of_a_deadlock_is_tried_again() {
    db_test(async |db| {
        let client = db.client().await;
        wallets(&client, 2).await;
        let other = Session::open(&db).await;
        let lock = |user: i64| format!("SELECT FROM accounts WHERE telegram_id = {user} FOR UPDATE");
        // It never looks for a deadlock itself, so that we are the one who finds it.
        other.run(&format!("SET deadlock_timeout = '1min'; BEGIN; {}", lock(2))).await;
        let other = RefCell::new(Some(other));
        let waiting = RefCell::new(None);
        let runs = Cell::new(0);
        let database = door(&db, DatabaseOptions { lock_limit: Duration::from_secs(20), ..options() });
        database
            .run_tx("post", async |tx| {
                runs.set(runs.get() + 1);
                top_up(tx, 1, "one", 5).await?;
                let idle = other.borrow_mut().take();
                if let Some(idle) = idle {
                    let now = idle.run_until_it_waits(&client, &format!("{}; COMMIT", lock(1))).await;
                    *waiting.borrow_mut() = Some(now);
                }
                top_up(tx, 2, "two", 7).await?;
                Ok(())
            })
            .await
            .unwrap();
        let waiting = waiting.take().unwrap();
        waiting.must_end_well().await;
        assert_eq!((runs.get(), balance(&client, 1).await, balance(&client, 2).await), (2, 5, 7));
    });
}

#[test]
fn a_lock_that_does_not_come_within_the_limit_is_contention() {
    db_test(async |db| {
        let client = book(&db).await;
        let holder = Session::open(&db).await;
        holder.run("BEGIN; SELECT FROM accounts WHERE telegram_id = 1 FOR UPDATE").await;
        let database = door(&db, DatabaseOptions { lock_limit: Duration::from_millis(50), ..options() });
        let (result, runs) = post_counted(&database).await;
        assert!(matches!(&result, Err(DbError::Contention { sqlstate, .. }) if sqlstate == "55P03"), "{result:?}");
        assert_eq!(runs, 5);
        holder.run("COMMIT").await;
        assert_eq!((post_counted(&database).await.1, balance(&client, 1).await), (1, 5));
    });
}

/// PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK and no error.
#[test]
fn a_body_that_swallows_a_failed_statement_is_not_told_that_it_was_saved() {
    db_test(async |db| {
        let client = book(&db).await;
        let database = door(&db, options());
        let result = database
            .run_tx("post", async |tx| {
                top_up(tx, 1, "good", 5).await?;
                assert!(overdraw(tx, &client).await.is_err());
                Ok("saved")
            })
            .await;
        assert!(matches!(result, Err(DbError::Unforeseen { .. })), "{result:?}");
        assert_eq!(number(&client, "SELECT count(*) FROM transfers").await, 0);
        post(&database, "good", 5).await.unwrap(); // the connection is as good as new
    });
}

#[test]
fn a_body_that_fails_leaves_nothing() {
    db_test(async |db| {
        let client = book(&db).await;
        let database = door(&db, options());
        let result: Result<(), DbError> = database
            .run_tx("post", async |tx| {
                top_up(tx, 1, "good", 5).await?;
                Err(DbError::Mismatch { at: "test", what: "the end has not moved".into() })
            })
            .await;
        assert!(result.unwrap_err().is_final_for_a_row());
        assert_eq!(number(&client, "SELECT count(*) FROM transfers").await, 0);
    });
}

#[test]
fn a_constraint_that_refuses_at_the_commit_is_told_by_its_name() {
    db_test(async |db| {
        let client = book(&db).await;
        let body = "RAISE 'no' USING ERRCODE = 'check_violation', CONSTRAINT = 'late_rule';";
        at_each_transfer(&client, When::Committed, body).await;
        let database = door(&db, options());
        let (result, runs) = post_counted(&database).await;
        assert_eq!(refused(result), (CHECK.to_owned(), "late_rule".to_owned()));
        assert_eq!((runs, balance(&client, 1).await), (1, 0));
        // A dry run has no COMMIT; what settles before the end is told all the same.
        let settled = database
            .run_tx("post", async |tx| {
                top_up(tx, 1, "key", 5).await?;
                tx.settle().await
            })
            .await;
        assert_eq!(refused(settled).1, "late_rule");
    });
}

#[test]
fn a_dry_run_does_everything_and_keeps_nothing() {
    db_test(async |db| {
        let client = book(&db).await;
        let database = door(&db, DatabaseOptions { dry_run: true, ..options() });
        for _ in 0..2 {
            assert_eq!(post(&database, "key", 5).await.unwrap(), Kopecks(5));
        }
        assert_eq!(refused(database.run_tx("post", async |tx| overdraw(tx, &client).await).await).0, CHECK);
        assert_eq!((number(&client, "SELECT count(*) FROM transfers").await, balance(&client, 1).await), (0, 0));
    });
}

#[test]
fn a_statement_beyond_its_limit_is_out_of_time_and_the_next_transaction_works() {
    db_test(async |db| {
        let client = book(&db).await;
        at_each_transfer(&client, When::Inserted, "PERFORM pg_sleep(30);").await;
        let database = door(&db, DatabaseOptions { statement_limit: Duration::from_millis(200), ..options() });
        let (result, runs) = post_counted(&database).await;
        assert!(matches!(result, Err(DbError::Timeout { .. })), "{result:?}");
        assert_eq!(runs, 1);
        no_more_trouble(&client).await;
        post(&database, "key", 5).await.unwrap();
        assert_eq!(balance(&client, 1).await, 5);
    });
}

#[test]
fn a_server_that_falls_silent_is_out_of_time_and_its_connection_is_not_used_again() {
    db_test(async |db| {
        let client = book(&db).await;
        let stall = Stall::before(&db);
        let limit = Duration::from_millis(300);
        let database = door_by(stall.config(&db), DatabaseOptions { statement_limit: limit, ..options() });
        post(&database, "before", 1).await.unwrap();
        let result = database
            .run_tx("post", async |tx| {
                top_up(tx, 1, "key", 5).await?;
                stall.be_silent(true);
                top_up(tx, 1, "lost", 7).await
            })
            .await;
        assert!(matches!(result, Err(DbError::Timeout { .. })), "{result:?}");
        assert_eq!(stall.accepted(), 1);
        stall.be_silent(false);
        post(&database, "after", 10).await.unwrap();
        assert_eq!(stall.accepted(), 2);
        assert_eq!(balance(&client, 1).await, 11);
    });
}

#[test]
fn a_transaction_dropped_halfway_does_not_come_back_with_the_next_one() {
    db_test(async |db| {
        let client = book(&db).await;
        let stall = Stall::before(&db);
        let database = door_by(stall.config(&db), options());
        let cut = tokio::time::timeout(
            Duration::from_millis(300),
            database.run_tx("post", async |tx| {
                top_up(tx, 1, "key", 5).await?;
                std::future::pending::<Result<(), DbError>>().await
            }),
        );
        assert!(cut.await.is_err());
        post(&database, "after", 10).await.unwrap();
        assert_eq!((stall.accepted(), balance(&client, 1).await), (2, 10));
    });
}

#[test]
fn a_session_that_is_ended_is_unavailable_and_the_next_transaction_gets_another() {
    db_test(async |db| {
        let client = book(&db).await;
        at_each_transfer(&client, When::Inserted, "PERFORM pg_terminate_backend(pg_backend_pid());").await;
        let database = door(&db, options());
        let (result, runs) = post_counted(&database).await;
        assert!(matches!(result, Err(DbError::Unavailable { .. })), "{result:?}");
        assert_eq!((runs, balance(&client, 1).await), (1, 0));
        no_more_trouble(&client).await;
        post(&database, "key", 5).await.unwrap();
        assert_eq!(balance(&client, 1).await, 5);
    });
}

#[test]
fn a_session_ended_while_nobody_used_it_costs_nothing() {
    db_test(async |db| {
        let client = book(&db).await;
        let database = door(&db, options());
        post(&database, "before", 1).await.unwrap();
        let end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert_eq!(number(&client, end).await, 1);
        tokio::time::sleep(Duration::from_millis(50)).await; // for the news to arrive
        post(&database, "after", 1).await.unwrap();
        assert_eq!(balance(&client, 1).await, 2);
    });
}

#[test]
fn a_session_ended_during_the_commit_leaves_the_outcome_unknown() {
    db_test(async |db| {
        let client = book(&db).await;
        at_each_transfer(&client, When::Committed, "PERFORM pg_sleep(30);").await;
        let database = door(&db, options());
        let end_it = async {
            let committing = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                              WHERE datname = current_database() AND query = 'COMMIT' AND wait_event = 'PgSleep'";
            while number(&client, committing).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ((result, runs), ()) = tokio::join!(post_counted(&database), end_it);
        assert!(matches!(result, Err(DbError::CommitUnknown { .. })), "{result:?}");
        assert!(result.unwrap_err().is_unavailable());
        assert_eq!(runs, 1, "it must not be repeated in place");
        // The key tells: it was not done, and is done now.
        no_more_trouble(&client).await;
        assert_eq!(post(&database, "key", 5).await.unwrap(), Kopecks(5));
        assert_eq!(text(&client, "SELECT string_agg(idempotency_key, ' ') FROM transfers").await, "top_up:key");
    });
}
