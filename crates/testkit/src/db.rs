//! A database for each test: migrated, empty, its own, and checked afterwards.
//!
//! ```no_run
//! use perennial_testkit::db_test;
//!
//! #[test]
//! fn a_new_user_has_a_wallet() {
//!     db_test(async |db| {
//!         let client = db.client().await;
//!         // …
//!     });
//! }
//! ```
//!
//! The server is that of `PERENNIAL_TEST_DATABASE_URL`, else of `DATABASE_URL` (set by `with-postgres` for a whole
//! run), else a cluster that this process starts for itself. On it a migrated template is made once for each set of
//! migrations; each test gets a copy of its files. A test holds one of a limited number of slots on the server, so
//! that any number of tests, threads and processes together stay below the server's connection limit.

mod checks;
mod migrations;
mod server;
mod template;
mod through;

use std::any::Any;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use perennial_core::db::{Database, DatabaseOptions};
use perennial_core::time::{Clock, Deadline};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls};

pub use checks::check_invariants;
pub use migrations::ACCEPT;

use server::{Lease, fatal};

/// Connections one test may open, its own and those of the programs it runs. Slots are counted with it.
pub const CONNECTIONS_PER_TEST: u32 = 16;

/// A test's database.
#[derive(Debug, Clone)]
pub struct TestDb {
    name: String,
    url: String,
}

impl TestDb {
    /// The database's name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL for `tokio-postgres`, `psql` and our own programs, as the user that owns everything in the database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL, parsed.
    ///
    /// # Panics
    /// When the server's URL, given from outside, is none.
    #[must_use]
    pub fn config(&self) -> Config {
        self.url.parse().unwrap_or_else(|error| fatal("cannot read the server's URL", &error))
    }

    /// As [`url`](Self::url), as a pass takes it: through a pooler where `PERENNIAL_TEST_THROUGH=pgbouncer` says so, under the
    /// pass's own role of `sql/roles.sql` with `PERENNIAL_TEST_THROUGH=roles`. A test's own connections, which set up, look
    /// and break things, go straight to the server.
    ///
    /// # Panics
    /// When there is no pooler, or another word stands in the variable.
    #[must_use]
    pub fn passes_url(&self, pass: &str) -> String {
        through::url_for(pass, self)
    }

    /// [`passes_url`](Self::passes_url), parsed.
    ///
    /// # Panics
    /// As that.
    #[must_use]
    pub fn passes_config(&self, pass: &str) -> Config {
        self.passes_url(pass).parse().unwrap_or_else(|error| fatal("cannot read the way of a pass", &error))
    }

    /// The door that passes use, with connections of its own.
    ///
    /// # Panics
    /// When the pool cannot be built.
    #[must_use]
    pub fn database(&self, options: DatabaseOptions, clock: Arc<dyn Clock>, deadline: Deadline) -> Database {
        let database = Database::connect(self.passes_config(options.actor.name), NoTls, options, clock, deadline);
        database.unwrap_or_else(|error| fatal("cannot build the pool", &error))
    }

    /// A new connection, driven by a task of the calling runtime.
    ///
    /// # Panics
    /// When the server does not let it in.
    pub async fn client(&self) -> Client {
        server::connect(&self.url).await
    }
}

/// Runs a test on a database of its own, then looks for broken invariants ([`check_invariants`]).
///
/// # Panics
/// When the body panics, an invariant is broken or there is no server. The database is dropped either way, unless
/// `PERENNIAL_KEEP_DB` is set: then that of a failed test stays and is named.
pub fn db_test(body: impl AsyncFnOnce(TestDb)) {
    run(body, Afterwards::CheckInvariants);
}

/// As [`db_test`], for tests that break the books on purpose: nothing is checked afterwards.
///
/// # Panics
/// When the body panics or there is no server.
pub fn db_test_unchecked(body: impl AsyncFnOnce(TestDb)) {
    run(body, Afterwards::CheckNothing);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    CheckInvariants,
    CheckNothing,
}

fn run(body: impl AsyncFnOnce(TestDb), afterwards: Afterwards) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime for the test: {error}"),
    };
    let (lease, db) = runtime.block_on(async {
        let lease = Lease::wait_for_one().await;
        let name = template::clone_for_a_test(&lease).await;
        let url = lease.url_of(&name);
        (lease, TestDb { name, url })
    });
    let mut outcome = caught(|| runtime.block_on(body(db.clone())));
    if outcome.is_ok() && afterwards == Afterwards::CheckInvariants {
        outcome = caught(|| runtime.block_on(async { check_invariants(&db.client().await).await }));
    }
    clean_up(&runtime, &lease, &db, outcome.is_err());
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Whatever the test left half done is dropped with its database, so nothing of it is looked at after a panic.
fn caught(work: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(work))
}

#[allow(clippy::print_stderr)] // libtest shows it with the failure
fn clean_up(runtime: &Runtime, lease: &Lease, db: &TestDb, failed: bool) {
    let keep = env::var_os("PERENNIAL_KEEP_DB").is_some_and(|value| !value.is_empty());
    if failed && keep {
        eprintln!("database kept: {}", db.url);
        return;
    }
    runtime.block_on(template::drop_database(lease, &db.name));
}
