//! What the database says when it refuses, and that it changed nothing.

use tokio_postgres::{Client, Error};

use super::digest;

/// A refusal: SQLSTATE and, where a constraint or one of our triggers refused, its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: String,
    pub constraint: Option<String>,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Refusal {
    /// The server's refusal; anything else fails the test.
    pub fn of(error: &Error) -> Self {
        let server = error.as_db_error().unwrap_or_else(|| panic!("the server did not refuse: {error:?}"));
        Self {
            sqlstate: server.code().code().to_owned(),
            constraint: server.constraint().map(str::to_owned),
            message: server.message().to_owned(),
            detail: server.detail().map(str::to_owned),
            hint: server.hint().map(str::to_owned),
        }
    }

    fn expect(&self, sql: &str, sqlstate: &str, constraint: Option<&str>) {
        let got = (self.sqlstate.as_str(), self.constraint.as_deref());
        assert_eq!(got, (sqlstate, constraint), "{sql}: {}", self.message);
    }
}

/// CHECK, and our own triggers.
pub const CHECK: &str = "23514";
/// A unique index.
pub const UNIQUE: &str = "23505";
/// A foreign key.
pub const FOREIGN_KEY: &str = "23503";
/// NOT NULL.
pub const NOT_NULL: &str = "23502";
/// Two things that exclude each other.
pub const EXCLUSION: &str = "23P01";
/// A value that is none: an unknown time zone, a top-up of nothing.
pub const INVALID_VALUE: &str = "22023";

/// The refusal of a statement that must not work, which must have changed nothing.
pub async fn refusal(client: &Client, sql: &str) -> Refusal {
    let before = digest(client).await;
    let refusal = match client.batch_execute(sql).await {
        Ok(()) => panic!("this was not refused: {sql}"),
        Err(error) => Refusal::of(&error),
    };
    // A refused statement of an explicit transaction leaves it open; outside of one this only warns.
    client.batch_execute("ROLLBACK").await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert_eq!(digest(client).await, before, "{sql} was refused and changed something");
    refusal
}

/// Asserts that a statement is refused, by this constraint, and changes nothing.
pub async fn assert_refused(client: &Client, sql: &str, sqlstate: &str, constraint: &str) {
    refusal(client, sql).await.expect(sql, sqlstate, Some(constraint));
}

/// As [`assert_refused`], for refusals that have no constraint to name.
pub async fn assert_refused_by_state(client: &Client, sql: &str, sqlstate: &str) {
    refusal(client, sql).await.expect(sql, sqlstate, None);
}

/// Asserts that statements work, and their COMMIT is refused and changes nothing.
pub async fn assert_refused_at_commit(client: &Client, sql: &str, sqlstate: &str, constraint: &str) {
    let before = digest(client).await;
    client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    match client.batch_execute("COMMIT").await {
        Ok(()) => panic!("this was committed: {sql}"),
        Err(error) => Refusal::of(&error).expect(sql, sqlstate, Some(constraint)),
    }
    assert_eq!(digest(client).await, before, "{sql} was refused and changed something");
}
