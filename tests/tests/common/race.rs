//! Two connections in each other's way, in an order that the test decides.

use std::time::{Duration, Instant};

use perennial_testkit::TestDb;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::refusal::Refusal;
use super::{first_column, number, run};

/// How long a session may take to get where it has to wait.
const LIMIT: Duration = Duration::from_secs(20);

/// A connection on which statements can be left waiting.
pub struct Session {
    client: Client,
    pid: i64,
}

impl Session {
    pub async fn open(db: &TestDb) -> Self {
        let client = db.client().await;
        let pid = number(&client, "SELECT pg_backend_pid()").await;
        Self { client, pid }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// Sends statements and comes back when they wait for a lock that another session holds.
    pub async fn run_until_it_waits(self, observer: &Client, sql: &str) -> Waiting {
        let Self { client, pid } = self;
        let text = sql.to_owned();
        let task = tokio::spawn(async move {
            let result = client.simple_query(&text).await;
            let result = result.map(|messages| first_column(&messages));
            (client, result)
        });
        let started = Instant::now();
        while number(observer, &format!("SELECT cardinality(pg_blocking_pids({pid}))")).await == 0 {
            assert!(!task.is_finished(), "this did not wait: {sql}");
            assert!(started.elapsed() < LIMIT, "neither done nor waiting: {sql}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Waiting { task, pid }
    }
}

/// Statements that wait for a lock.
pub struct Waiting {
    task: JoinHandle<(Client, Result<Vec<String>, Error>)>,
    pid: i64,
}

impl Waiting {
    /// How they ended, now that nothing is in their way: the first column of the rows they gave.
    pub async fn end(self) -> (Session, Result<Vec<String>, Error>) {
        let (client, result) = tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap();
        (Session { client, pid: self.pid }, result)
    }

    /// Waits until they are done, which must work.
    pub async fn must_end_well(self) -> (Session, Vec<String>) {
        let (session, result) = self.end().await;
        (session, result.unwrap())
    }

    /// Waits until they are done, which must be by a refusal.
    pub async fn must_be_refused(self) -> Refusal {
        Refusal::of(&self.end().await.1.unwrap_err())
    }
}
