//! The database: one door, [`Database::run_tx`], and behind it [`Tx`], whose methods are all statements there are.
//!
//! A transaction is one connection's, READ COMMITTED, with its time limits and the reading of the clock set by its
//! first message, so that a pooler in transaction mode carries nothing over. The closure that gets the [`Tx`] has
//! nothing else to talk to: no network inside a transaction, no connection across network.

pub mod admin;
mod announcements;
mod audit;
mod books;
mod charging;
mod endings;
mod error;
mod installation;
mod left;
mod nodes;
mod notices;
mod outbox;
mod parked;
mod reconcile;
mod removals;
mod renewals;
mod runs;
mod trials;
mod tx;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::time::timeout;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

pub use announcements::{AnnouncementBounds, DueAnnouncement};
pub use audit::NewAudit;
pub use books::LedgerTotals;
pub use charging::{Extension, NewPayment, PaidPeriod, ReadBack, ShortStage, ShortTry};
pub(crate) use endings::{DueToEnd, EndKey, Ending};
pub use error::DbError;
pub use installation::Installation;
pub use left::{Left, MOST_LEFT};
pub use nodes::NodeRow;
pub use notices::{NewNotice, ParkedRow};
pub use outbox::{ClaimSettings, ClaimedNotice, QuietHours};
pub(crate) use outbox::{ClosedNotice, Held, NoticeKey, Recorded, slot};
pub use parked::{FailedTry, Parking, Verdict};
pub use reconcile::{CredentialState, NodeMemory, Orphan, UuidOwner};
pub use removals::{Closing, ClosingKey};
pub use renewals::{DueForRenewal, RenewalBounds, RenewalDue, RenewalKey};
pub use runs::{RECORD_RUN, RunStart};
pub use trials::{DueReminder, ReminderKey};
pub use tx::Tx;
pub(crate) use tx::column;

use crate::crash_point;
use crate::ids::RunId;
use crate::time::{Clock, Deadline, Timestamp};

/// How often `run_tx` runs a body again that gave way to another transaction.
const RETRIES: u32 = 4;
/// How long a connection may take to come.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What a transaction may take beyond the end of the pass's budget; a pass ends within its budget plus 5 s.
const OVERTIME: Duration = Duration::from_secs(3);
/// How long a failed transaction may take to say goodbye before its connection is thrown away.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(1);

/// Who writes: stands in every audit row.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// `renew`, `admin`, …
    pub name: &'static str,
    /// The run that writes.
    pub run_id: RunId,
}

/// How the database is used by one run.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// Connections at most.
    pub pool_size: usize,
    /// Run everything for real, but end every transaction with ROLLBACK.
    pub dry_run: bool,
    /// Limit of one statement.
    pub statement_limit: Duration,
    /// How long a statement may wait for a lock. Passes wait for nobody; this bounds what should not happen.
    pub lock_limit: Duration,
    /// Who writes.
    pub actor: Actor,
}

impl DatabaseOptions {
    /// Defaults for an actor: 3 connections, 30 s a statement, 2 s a lock.
    #[must_use]
    pub fn of(actor: Actor) -> Self {
        Self {
            pool_size: 3,
            dry_run: false,
            statement_limit: Duration::from_secs(30),
            lock_limit: Duration::from_secs(2),
            actor,
        }
    }
}

/// The database of one run. Clones share the connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    options: DatabaseOptions,
    clock: Arc<dyn Clock>,
    deadline: Deadline,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's own Debug may show connection settings, the password among them.
        f.debug_struct("Database").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Database {
    /// Prepares to connect; the first transaction does.
    ///
    /// # Errors
    /// [`DbError::Unforeseen`] when the pool cannot be built.
    pub fn connect<T>(
        mut config: tokio_postgres::Config,
        tls: T,
        options: DatabaseOptions,
        clock: Arc<dyn Clock>,
        deadline: Deadline,
    ) -> Result<Self, DbError>
    where
        T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
        T::Stream: Sync + Send,
        T::TlsConnect: Sync + Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        config.connect_timeout(CONNECT_LIMIT);
        let manager = Manager::from_config(config, tls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager)
            .max_size(options.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(options.statement_limit),
                create: Some(CONNECT_LIMIT),
                recycle: Some(CONNECT_LIMIT),
            })
            .build()
            .map_err(|error| DbError::unforeseen("pool", error))?;
        Ok(Self { pool, options, clock, deadline })
    }

    /// The clock that decisions are made by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until the clock shows `at`.
    pub async fn sleep_until(&self, at: Timestamp) {
        self.clock.sleep_until(at).await;
    }

    /// The same connections, with every transaction rolled back from here on.
    #[must_use]
    pub fn without_effect(&self) -> Self {
        let options = DatabaseOptions { dry_run: true, ..self.options };
        Self { options, ..self.clone() }
    }

    /// Whether every transaction is rolled back.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// Runs `body` in one transaction and commits it (rolls it back when it fails, or in a dry run).
    ///
    /// The body may run several times: 40001, 40P01 and 55P03 are tried again. It must do nothing that a repetition
    /// would double: no counters, no messages.
    ///
    /// # Errors
    /// The body's own, or the database's; see [`DbError`] for what the caller does about each.
    pub async fn run_tx<T>(
        &self,
        name: &'static str,
        body: impl AsyncFn(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let mut tries = 0;
        loop {
            match self.attempt(name, &body).await {
                Err(DbError::Contention { sqlstate, .. }) if tries < RETRIES => {
                    tries += 1;
                    log::debug!(transaction = name, sqlstate = sqlstate.as_str(), tries; "gave way, trying again");
                    tokio::time::sleep(Duration::from_millis(5 << (2 * tries))).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T>(
        &self,
        name: &'static str,
        body: &impl AsyncFn(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        #[allow(clippy::disallowed_methods, reason = "the one door")]
        let connection = self.pool.get().await.map_err(|error| DbError::from_pool(name, error))?;
        let connection = Connection(Some(connection));
        let committing = Cell::new(false);
        let limit = self.transaction_limit();
        let outcome = timeout(limit, async {
            let tx = self.begin(name, connection.client(), limit).await?;
            let value = body(&tx).await?;
            tx.must_be_sound(name)?;
            committing.set(!self.options.dry_run);
            // Tests count these points, and that transaction is made by the clock.
            if name != RECORD_RUN {
                crash_point!("tx.before_commit");
            }
            tx.end(if self.options.dry_run { "ROLLBACK" } else { "COMMIT" }).await?;
            if name != RECORD_RUN {
                crash_point!("tx.after_commit");
            }
            Ok(value)
        })
        .await
        .unwrap_or_else(|_| Err(DbError::Timeout { at: name.to_owned() }));

        match outcome {
            Ok(value) => {
                connection.give_back();
                Ok(value)
            }
            // The server answered the COMMIT with a refusal (a deferred constraint): then it is known.
            Err(DbError::Unavailable { .. } | DbError::Timeout { .. }) if committing.get() => {
                Err(DbError::CommitUnknown { at: name.to_owned() })
            }
            Err(error) => {
                connection.roll_back().await;
                Err(error)
            }
        }
    }

    fn transaction_limit(&self) -> Duration {
        (self.options.statement_limit * 2).min(self.deadline.remaining() + OVERTIME)
    }

    /// Opens the transaction, sets its limits and reads the clock, in one message.
    async fn begin<'a>(
        &'a self,
        name: &'static str,
        client: &'a tokio_postgres::Client,
        limit: Duration,
    ) -> Result<Tx<'a>, DbError> {
        let statement = self.options.statement_limit.min(limit).as_millis().max(1);
        let lock = self.options.lock_limit.min(limit).as_millis().max(1);
        // JIT compiles for longer than our statements run. They look rows up by their keys, a batch at a time; a hash join
        // reads the table whole as soon as that is small beside a batch, and then every batch does.
        let opening = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {statement}; \
             SET LOCAL lock_timeout = {lock}; SET LOCAL idle_in_transaction_session_timeout = {statement}; \
             SET LOCAL search_path = public; SET LOCAL jit = off; \
             SET LOCAL enable_hashjoin = off; \
             SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        );
        let database_now = tx::read_clock(name, client, &opening).await?;
        self.clock.anchor(database_now);
        Ok(Tx::new(client, self.clock.now(), self.options.actor))
    }
}

/// A leased connection. Dropped in the middle of a transaction (a time-out, a cancelled future), it is thrown away:
/// its statement may still be running, and the next user would wait for it.
struct Connection(Option<Object>);

impl Connection {
    fn client(&self) -> &tokio_postgres::Client {
        match &self.0 {
            Some(object) => object,
            None => unreachable!("a connection is given back by value"),
        }
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }

    async fn roll_back(self) {
        let said = timeout(ROLLBACK_LIMIT, self.client().batch_execute("ROLLBACK")).await;
        if matches!(said, Ok(Ok(()))) {
            self.give_back();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
