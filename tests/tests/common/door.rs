//! The one door to the database, as a pass opens it.

use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, Database, DatabaseOptions, DbError};
use perennial_core::ids::RunId;
use perennial_core::time::{DatabaseClock, Deadline};
use perennial_testkit::TestDb;
use tokio_postgres::NoTls;

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

/// SQLSTATE and constraint of a refusal; anything else fails the test.
pub fn refused<T: std::fmt::Debug>(result: Result<T, DbError>) -> (String, String) {
    match result {
        Err(DbError::Refused { sqlstate, constraint, .. }) => (sqlstate, constraint.unwrap_or_default()),
        other => panic!("this is no refusal: {other:?}"),
    }
}
