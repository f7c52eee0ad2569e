//! Runs the built program on a test's database.
// Helpers of tests; each test file uses some of them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod damage;

use std::path::PathBuf;
use std::process::{Command, Output};

use perennial_testkit::TestDb;
use serde_json::Value;
use tokio_postgres::Client;

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as an object.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The same, after asserting that all went well.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// The program with nothing of our environment.
pub fn admin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_admin"));
    // No settings file of this host either: the named one is empty.
    command.env_clear().env("PERENNIAL_CONFIG", "/dev/null").args(arguments);
    command
}

pub fn said(command: &mut Command) -> Said {
    Said::of(&command.output().unwrap())
}

/// Runs the program on a database.
pub fn run(db: &TestDb, arguments: &[&str]) -> Said {
    // These hold a lock of their session, and refuse a pooler.
    let needs_a_session = arguments.first().is_some_and(|command| ["migrate", "installation"].contains(command));
    let url = if needs_a_session { db.url().to_owned() } else { db.passes_url("admin") };
    said(admin(arguments).env("DATABASE_URL", url))
}

/// Runs the program with `--output json` and answers the object it printed.
#[track_caller]
pub fn json(db: &TestDb, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    run(db, &all).good().json()
}

pub async fn sql(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

pub async fn number(client: &Client, query: &str) -> i64 {
    let row = client.query_typed_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    row.get(0)
}

/// Asserts that the passes are there, beside the program under test, where the demo looks for them. They are not built
/// here: other tests run the same files at this moment, and as they were built for them.
#[track_caller]
pub fn programs() {
    let admin = PathBuf::from(env!("CARGO_BIN_EXE_admin"));
    for pass in ["renew", "notify-trials", "expire-fast", "reconcile-xray"] {
        let program = admin.with_file_name(format!("{pass}{}", std::env::consts::EXE_SUFFIX));
        assert!(program.is_file(), "{} is missing: cargo build --workspace --bins", program.display());
    }
}
