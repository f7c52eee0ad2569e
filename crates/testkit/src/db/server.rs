//! Which server the tests use, and a test's place on it.

use std::env;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use perennial_core::causes::with_causes;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use super::CONNECTIONS_PER_TEST;
use crate::cluster::{Cluster, ClusterOptions};

/// How long a full or starting server is asked again.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Connections left to the server's superuser, to tests waiting for a slot and to people.
const CONNECTIONS_IN_RESERVE: u32 = 40;
/// First key of the advisory locks that are the slots: a number of our own, so that no other lock is meant.
const SLOT_CLASS: i32 = 0x5045_5253;

/// The cluster this process started for itself. `Mutex<Option<_>>`, since a static is never dropped:
/// [`stop_at_exit`] is.
static OWN_CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);

/// The place of one test on the server: a connection that holds the slot until it is dropped, and makes and drops
/// databases.
pub(super) struct Lease {
    pub(super) client: Client,
    server_url: &'static str,
}

impl Lease {
    /// Connects and waits until fewer tests than the server can carry are running, in this and all other processes.
    pub(super) async fn wait_for_one() -> Self {
        let server_url = server_url();
        let client = connect(server_url).await;
        let lease = Self { client, server_url };
        lease.take_slot().await;
        lease
    }

    pub(super) fn url_of(&self, database: &str) -> String {
        with_database(self.server_url, database)
    }

    async fn take_slot(&self) {
        let slots = self.slots().await;
        // Without an ORDER BY the rows are tried one by one, and LIMIT ends it at the first lock obtained.
        let first_free =
            "SELECT slot FROM generate_series(0, $2 - 1) AS slot WHERE pg_try_advisory_lock($1, slot) LIMIT 1";
        let parameters = [(&SLOT_CLASS as _, Type::INT4), (&slots as _, Type::INT4)];
        let found = self.client.query_typed(first_free, &parameters).await;
        if found.unwrap_or_else(|error| fatal("cannot look for a free slot", &error)).is_empty() {
            let wait = "SELECT pg_advisory_lock($1, pg_backend_pid() % $2)";
            let waited = self.client.query_typed(wait, &parameters).await;
            waited.unwrap_or_else(|error| fatal("cannot wait for a slot", &error));
        }
    }

    async fn slots(&self) -> i32 {
        let query = "SELECT current_setting('max_connections')::int";
        let row = self.client.query_typed_one(query, &[]).await;
        let limit: i32 = row.unwrap_or_else(|error| fatal("cannot ask for max_connections", &error)).get(0);
        let limit = u32::try_from(limit).unwrap_or_default();
        let slots = limit.saturating_sub(CONNECTIONS_IN_RESERVE) / CONNECTIONS_PER_TEST;
        i32::try_from(slots.max(1)).unwrap_or(i32::MAX)
    }
}

/// Connects without TLS; asks again while the server is starting or full.
pub(super) async fn connect(url: &str) -> Client {
    let started = Instant::now();
    loop {
        match tokio_postgres::connect(url, NoTls).await {
            Ok((client, connection)) => {
                // It ends with the client, or with an error that the client's next call reports.
                drop(tokio::spawn(connection));
                return client;
            }
            Err(error) if is_passing(&error) && started.elapsed() < CONNECT_LIMIT => {
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            Err(error) => fatal("cannot connect to the test server", &error),
        }
    }
}

fn is_passing(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS | &SqlState::CANNOT_CONNECT_NOW))
}

/// The URL of the server's maintenance database. The first call may start a cluster.
fn server_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let given = ["PERENNIAL_TEST_DATABASE_URL", "DATABASE_URL"].into_iter().find_map(|name| {
            let value = env::var(name).ok()?;
            (!value.is_empty()).then_some(value)
        });
        given.unwrap_or_else(start_own_cluster)
    })
}

fn start_own_cluster() -> String {
    let cluster = Cluster::start(&ClusterOptions::default());
    let cluster = cluster.unwrap_or_else(|error| fatal("cannot start a server for the tests", &error));
    let url = cluster.url();
    *own_cluster() = Some(cluster);
    stop_at_exit();
    url
}

fn own_cluster() -> MutexGuard<'static, Option<Cluster>> {
    // A panic elsewhere leaves the option as it was: there is nothing half done in it.
    OWN_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the cluster stopped and its folder removed when the test program ends. A killed program leaves that to the
/// kernel (the server) and to the next start (the folder).
#[allow(unsafe_code)] // std has no hook for the end of a program
fn stop_at_exit() {
    extern "C" fn stop() {
        drop(own_cluster().take());
    }
    // SAFETY: `stop` has the signature wanted, lives as long as the program and does not unwind: it sends a signal,
    // waits and removes files, and each of these reports errors by value. If registering fails, nothing is called.
    let _swept_later = unsafe { libc::atexit(stop) };
}

/// The same server's URL with another database. Takes both forms a connection string has.
fn with_database(url: &str, database: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} dbname={database}"); // key=value pairs: the last one counts
    };
    let (location, query) = rest.split_once('?').map_or((rest, None), |(location, query)| (location, Some(query)));
    let authority = location.split('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}/{database}{query}")
}

/// Fails the test with everything the error knows.
pub(super) fn fatal(what: &str, error: &(dyn Error + 'static)) -> ! {
    panic!("{what}: {}", with_causes(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_connection_string_is_replaced() {
        for (given, wanted) in [
            ("postgresql:///postgres?host=/run/x&user=me", "postgresql:///t?host=/run/x&user=me"),
            ("postgres://me:a%2Fb@db:6543/postgres", "postgres://me:a%2Fb@db:6543/t"),
            ("postgres://me@db", "postgres://me@db/t"),
            ("postgres://me@db?sslmode=disable", "postgres://me@db/t?sslmode=disable"),
            ("host=/run/x dbname=postgres user=me", "host=/run/x dbname=postgres user=me dbname=t"),
        ] {
            let url = with_database(given, "t");
            assert_eq!(url, wanted);
            let parsed: tokio_postgres::Config = url.parse().unwrap();
            assert_eq!(parsed.get_dbname(), Some("t"), "{given}");
        }
    }
}
