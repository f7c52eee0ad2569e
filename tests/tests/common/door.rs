//! The one door to the database, as a pass opens it.

use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, Database, DatabaseOptions, DbError};
use perennial_core::ids::{AccountId, RunId};
use perennial_core::ledger::{NewTransfer, Posted};
use perennial_core::money::Kopecks;
use perennial_core::time::{DatabaseClock, Deadline};
use perennial_testkit::TestDb;
use tokio_postgres::{Client, NoTls};

/// The usual options, with one connection, so that it is seen whether it is used again.
pub fn options() -> DatabaseOptions {
    DatabaseOptions { pool_size: 1, ..DatabaseOptions::of(Actor { name: "test", run_id: RunId::new() }) }
}

/// A door with ten minutes left.
pub fn door(db: &TestDb, options: DatabaseOptions) -> Database {
    db.database(options, Arc::new(DatabaseClock::new()), Deadline::after(Duration::from_secs(600)))
}

/// A door by another way.
pub fn door_by(config: tokio_postgres::Config, options: DatabaseOptions) -> Database {
    let deadline = Deadline::after(Duration::from_secs(600));
    Database::connect(config, NoTls, options, Arc::new(DatabaseClock::new()), deadline).unwrap()
}

/// Posts in a transaction of its own.
pub async fn post(database: &Database, transfers: &[NewTransfer]) -> Result<Vec<Posted>, DbError> {
    database.run_tx("post", async |tx| tx.post_transfers(transfers).await).await
}

pub fn top_up(key: &str, wallet: AccountId, kopecks: i64) -> NewTransfer {
    NewTransfer::top_up(key.to_owned(), wallet, Kopecks(kopecks))
}

pub fn charge(key: &str, wallet: AccountId, kopecks: i64) -> NewTransfer {
    NewTransfer::charge(key.to_owned(), wallet, Kopecks(kopecks))
}

/// New users from 1 on; answers their wallets.
pub async fn wallets(client: &Client, users: i64) -> Vec<AccountId> {
    super::run(client, &format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {users})")).await;
    let mut wallets = Vec::new();
    for user in 1..=users {
        wallets.push(AccountId(super::wallet(client, user).await));
    }
    wallets
}

/// SQLSTATE and constraint of a refusal; anything else fails the test.
pub fn refused<T: std::fmt::Debug>(result: Result<T, DbError>) -> (String, String) {
    match result {
        Err(DbError::Refused { sqlstate, constraint, .. }) => (sqlstate, constraint.unwrap_or_default()),
        other => panic!("this is no refusal: {other:?}"),
    }
}
