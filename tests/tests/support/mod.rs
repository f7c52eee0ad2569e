//! What the tests of `renew` share: a world with one clock, a pass to run over it, and questions about what it left.
#![allow(dead_code, unreachable_pub)] // a part of every test file, which uses a part of it
#![allow(clippy::unwrap_used)] // what does not work fails the test

pub mod books;
pub mod holder;
pub mod link;
pub mod mixed;
pub mod plans;
pub mod random;
pub mod sabotage;
pub mod sim;
pub mod statements;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, Database, DatabaseOptions, DbError, RenewalBounds};
use perennial_core::ids::{RunId, SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::builders::{Bot, Subscription, Tariff, User, set_bot_clock};
use perennial_testkit::{TestClock, TestDb};
use renew::{Outcome, RenewPass, Settings, Summary};
use time::macros::datetime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

/// When the tests begin.
pub const NOW: Timestamp = datetime!(2026-03-10 12:00 UTC);
/// The usual window.
pub const WINDOW: Duration = Duration::from_secs(6 * 3600);
/// The usual grace.
pub const GRACE: Duration = Duration::from_secs(900);
/// The finest step a `timestamptz` can take.
pub const MICROSECOND: Duration = Duration::from_micros(1);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);
/// A calendar month for 199 rubles.
pub const BASIC: Tariff = Tariff::months("basic_1m", 1, 19_900);
pub const PRICE: i64 = 19_900;

/// A database, and the clock that both the passes and the bot's functions decide by.
pub struct World {
    pub db: TestDb,
    pub client: Client,
    pub clock: Arc<TestClock>,
}

impl World {
    /// An empty book with one tariff, at [`NOW`].
    pub async fn new(db: TestDb) -> Self {
        let client = db.client().await;
        set_bot_clock(&client, NOW).await;
        BASIC.put(&client).await;
        Self { db, client, clock: Arc::new(TestClock::at(NOW)) }
    }

    /// Moves the clock on.
    pub async fn advance(&self, by: Duration) {
        self.set_clock(self.clock.now() + by).await;
    }

    /// Moves the clock on to this moment.
    pub async fn set_clock(&self, now: Timestamp) {
        self.clock.set(now);
        set_bot_clock(&self.client, now).await;
    }

    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A pass with the usual settings, to be changed before it runs.
    pub fn pass(&self) -> Pass {
        Pass::over(&self.db, self.clock.clone())
    }

    /// Runs a pass with the usual settings.
    pub async fn run(&self) -> Ran {
        self.pass().run().await
    }

    pub fn bot(&self) -> Bot<'_> {
        Bot(&self.client)
    }

    /// Customer `n` with this much in the wallet and a paid subscription that ends at `end`.
    pub async fn subscriber(&self, n: i64, balance: i64, end: Timestamp) -> SubscriptionId {
        User::new(n, balance).put(&self.client).await;
        Subscription::paid(n, BASIC.code, end).put(&self.client).await
    }

    pub async fn balance(&self, user: i64) -> i64 {
        self.number(&format!("SELECT balance_kopecks FROM accounts WHERE telegram_id = {user}")).await
    }

    pub async fn end(&self, id: SubscriptionId) -> Timestamp {
        self.value("SELECT expires_at FROM subscriptions WHERE id = $1", &[(&id, Type::INT8)]).await
    }

    /// One number, by a query of one's own.
    pub async fn number(&self, sql: &str) -> i64 {
        self.value(sql, &[]).await
    }

    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn value<T>(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> T
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        self.client.query_typed_one(sql, parameters).await.unwrap().get(0)
    }

    /// Tries, reason and whether it is parked for good, of a row that `renew` failed on.
    pub async fn parked(&self, id: SubscriptionId) -> Option<(i32, String, bool)> {
        let sql = "SELECT tries, reason, next_try_at IS NULL FROM parked WHERE pass = 'renew' AND subscription = $1";
        let row = self.client.query_typed_opt(sql, &[(&id, Type::INT8)]).await.unwrap()?;
        Some((row.get(0), row.get(1), row.get(2)))
    }

    pub async fn unpark(&self, id: SubscriptionId) {
        self.execute(&format!("DELETE FROM parked WHERE pass = 'renew' AND subscription = {id}")).await;
    }

    /// Keys of all charges that concern a user's wallet, oldest first.
    pub async fn charges(&self, user: i64) -> Vec<String> {
        let sql = format!(
            "SELECT t.idempotency_key FROM transfers t JOIN accounts a ON a.id = t.debit_account \
             WHERE a.telegram_id = {user} AND t.kind = 'charge' ORDER BY t.id"
        );
        self.column(&sql).await
    }

    /// Dedupe keys of a subscription's notices, oldest first.
    pub async fn notices(&self, id: SubscriptionId) -> Vec<String> {
        self.column(&format!("SELECT dedupe_key FROM notices WHERE subscription_id = {id} ORDER BY id")).await
    }

    /// What the audit log says was done with a subscription, oldest first.
    pub async fn audit(&self, id: SubscriptionId) -> Vec<String> {
        self.column(&format!("SELECT action FROM audit_log WHERE subscription_id = {id} ORDER BY id")).await
    }

    /// The one column of a query.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.client.query_typed(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Nothing of a renewal stands anywhere: no charge, no payment, no receipt, the old end.
    pub async fn assert_untouched(&self, id: SubscriptionId, user: i64, balance: i64, end: Timestamp) {
        assert_eq!(self.end(id).await, end, "the end has moved");
        assert_eq!(self.balance(user).await, balance, "the wallet has changed");
        assert_eq!(self.charges(user).await, [""; 0], "a charge is in the ledger");
        assert_eq!(self.number(&format!("SELECT count(*) FROM payments WHERE subscription_id = {id}")).await, 0);
        assert_eq!(self.notices(id).await, [""; 0], "a notice was written");
        let audit: Vec<String> = self.audit(id).await.into_iter().filter(|action| action != "parked").collect();
        assert_eq!(audit, [""; 0], "the audit log says that something was done");
    }
}

/// How to run a pass. Owns what it needs, so that it can be sent to a thread.
#[derive(Clone)]
pub struct Pass {
    db: TestDb,
    clock: Arc<dyn Clock>,
    pub batch_rows: usize,
    pub workers: usize,
    pub pool_size: usize,
    pub bounds: RenewalBounds,
    pub max_tries: i32,
    pub charge_notice: Option<Duration>,
    pub limit: Option<u64>,
    pub dry_run: bool,
    pub lock_limit: Duration,
    pub statement_limit: Duration,
    pub deadline: Deadline,
    /// Another way to the database than the test's own.
    pub via: Option<Config>,
}

/// What a pass did.
#[derive(Debug)]
pub struct Ran {
    pub summary: Summary,
    pub outcomes: Vec<Outcome>,
    pub error: Option<DbError>,
}

impl Pass {
    pub fn over(db: &TestDb, clock: Arc<dyn Clock>) -> Self {
        let options = DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() });
        Self {
            db: db.clone(),
            clock,
            batch_rows: 200,
            workers: 1,
            pool_size: 3,
            bounds: RenewalBounds { window: WINDOW, grace: GRACE },
            max_tries: 3,
            charge_notice: None,
            limit: None,
            dry_run: false,
            lock_limit: options.lock_limit,
            statement_limit: options.statement_limit,
            deadline: Deadline::after(Duration::from_secs(240)),
            via: None,
        }
    }

    pub fn batches_of(self, batch_rows: usize) -> Self {
        Self { batch_rows, ..self }
    }

    pub fn workers(self, workers: usize) -> Self {
        Self { workers, pool_size: workers + 2, ..self }
    }

    pub fn window(mut self, window: Duration) -> Self {
        self.bounds.window = window;
        self
    }

    pub fn grace(mut self, grace: Duration) -> Self {
        self.bounds.grace = grace;
        self
    }

    /// Announces charges this long ahead.
    pub fn charge_notice(self, ahead: Duration) -> Self {
        Self { charge_notice: Some(ahead), ..self }
    }

    /// Stops after so many effects.
    pub fn limit(self, effects: u64) -> Self {
        Self { limit: Some(effects), ..self }
    }

    pub fn dry(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Runs it; an error of the database fails the test.
    pub async fn run(self) -> Ran {
        let ran = self.try_run(&|_| {}).await;
        assert!(ran.error.is_none(), "the pass failed: {:?}", ran.error);
        ran
    }

    /// The database as the pass sees it.
    pub fn open(&self) -> Database {
        let options = DatabaseOptions {
            pool_size: self.pool_size,
            dry_run: self.dry_run,
            lock_limit: self.lock_limit,
            statement_limit: self.statement_limit,
            ..DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() })
        };
        let config = self.via.clone().unwrap_or_else(|| self.db.passes_config("renew"));
        Database::connect(config, NoTls, options, self.clock.clone(), self.deadline.clone()).unwrap()
    }

    /// Runs it; the observer is told of every outcome.
    pub async fn try_run(self, observer: &dyn Fn(&Outcome)) -> Ran {
        let db = self.open();
        let settings = Settings {
            bounds: self.bounds,
            batch_rows: self.batch_rows,
            workers: self.workers,
            max_tries: self.max_tries,
            charge_notice: self.charge_notice,
            limit: self.limit,
        };
        let outcomes = RefCell::new(Vec::new());
        let observer = |outcome: &Outcome| {
            observer(outcome);
            outcomes.borrow_mut().push(outcome.clone());
        };
        let mut summary = Summary::default();
        let pass = RenewPass { db: &db, deadline: &self.deadline, settings, observer: &observer };
        let error = pass.run(&mut summary).await.err();
        Ran { summary, outcomes: outcomes.into_inner(), error }
    }
}

impl Ran {
    /// Ids of the rows that were renewed, in ascending order.
    pub fn renewed(&self) -> Vec<SubscriptionId> {
        let mut ids: Vec<SubscriptionId> = self
            .outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Renewed { id, .. } => Some(*id),
                _ => None,
            })
            .collect();
        ids.sort();
        ids
    }

    /// What became of one row, last of all.
    pub fn of(&self, wanted: SubscriptionId) -> Option<&Outcome> {
        self.outcomes.iter().rev().find(|outcome| match outcome {
            Outcome::Renewed { id, .. }
            | Outcome::Short { id, .. }
            | Outcome::Parked { id, .. }
            | Outcome::Failed { id, .. }
            | Outcome::Announced { id, .. } => *id == wanted,
            Outcome::Busy(key) => key.id == wanted,
        })
    }
}

pub fn telegram_id(n: i64) -> TelegramId {
    TelegramId(n)
}

pub fn kopecks(n: i64) -> Kopecks {
    Kopecks(n)
}
