//! What the tests of `expire-fast` and `reconcile-xray` share: a database with one clock, servers in memory, a pass over
//! both.
#![allow(dead_code, unreachable_pub, unused_imports)] // a part of every test file, which uses a part of it
#![allow(clippy::unwrap_used)] // what does not work fails the test

pub mod expire;
pub mod gate;
pub mod server;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, Database, DatabaseOptions, DbError};
use perennial_core::ids::{RunId, SubscriptionId};
use perennial_core::node::{Inbound, Node};
use perennial_core::ports::{InboundTag, Xray};
use perennial_core::reconcile::Owners;
use perennial_core::share::Share;
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::builders::{Status, Subscription, Tariff, User, set_bot_clock};
use perennial_testkit::{TestClock, TestDb};
use reconcile_xray::brakes::Limits;
use reconcile_xray::plan_file::{Item, PlanFile};
use reconcile_xray::{Absent, Effect, NodeSummary, Settings, Summary};
use time::macros::datetime;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

pub use server::{Call, Fault, Kind, Server};

/// When the tests begin.
pub const NOW: Timestamp = datetime!(2026-03-10 12:00 UTC);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const GRACE: Duration = Duration::from_secs(600);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const BASIC: Tariff = Tariff::months("basic_1m", 1, 19_900);
/// The inbound of a server made by [`Server::new`], of group `basic`.
pub const TAG: &str = "vless-in";

/// What the database has of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub id: i64,
    pub email: String,
    pub uuid: Uuid,
    pub subscription: SubscriptionId,
}

/// A database, and the clock that both the passes and the bot's functions decide by.
pub struct World {
    pub db: TestDb,
    pub client: Rc<Client>,
    pub clock: Arc<TestClock>,
}

impl World {
    pub async fn new(db: TestDb) -> Self {
        let client = Rc::new(db.client().await);
        set_bot_clock(&client, NOW).await;
        BASIC.put(&client).await;
        Self { db, client, clock: Arc::new(TestClock::at(NOW)) }
    }

    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        set_bot_clock(&self.client, self.clock.now()).await;
    }

    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.client.query_typed_one(sql, &[]).await.unwrap().get(0)
    }

    /// The one column of a query, as text.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.client.query_typed(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Customer `n` with a subscription in this state, which ends so long from now; negative: so long ago.
    pub async fn subscriber(&self, n: i64, status: Status, ends_in: time::Duration) -> Credential {
        User::new(n, 0).put(&self.client).await;
        let end = self.clock.now() + ends_in;
        let subscription = Subscription { status, ..Subscription::paid(n, BASIC.code, end) }.put(&self.client).await;
        self.credential(n, subscription).await
    }

    /// Customer `n` who has paid for ten days to come.
    pub async fn payer(&self, n: i64) -> Credential {
        self.subscriber(n, Status::Active, time::Duration::days(10)).await
    }

    /// The newest credential of a customer.
    pub async fn credential(&self, n: i64, subscription: SubscriptionId) -> Credential {
        let sql = format!("SELECT id, email, uuid FROM credentials WHERE telegram_id = {n} ORDER BY id DESC LIMIT 1");
        let row = self.client.query_typed_one(&sql, &[]).await.unwrap();
        Credential { id: row.get(0), email: row.get(1), uuid: row.get(2), subscription }
    }

    /// A credential of customer `n` without any row: a bot has crashed in between.
    pub async fn unused(&self, n: i64) -> Credential {
        User::new(n, 0).put(&self.client).await;
        self.execute(&format!("INSERT INTO credentials (telegram_id) VALUES ({n})")).await;
        self.credential(n, SubscriptionId(0)).await
    }

    /// Ends a row and closes its credential, as `expire-fast` does.
    pub async fn end(&self, of: &Credential) {
        self.execute(&end_sql(of)).await;
    }

    /// Audit rows: action, node, inbound, e-mail, reason.
    pub async fn audit(&self) -> Vec<String> {
        self.column(
            "SELECT concat_ws(' ', action, coalesce(after, before) ->> 'node', coalesce(after, before) ->> 'inbound', \
             coalesce(after, before) ->> 'email', reason) FROM audit_log ORDER BY id",
        )
        .await
    }

    /// Entries of the quarantine: node, inbound, e-mail, reason, sightings, whether adopted.
    pub async fn orphans(&self) -> Vec<String> {
        self.column(
            "SELECT concat_ws(' ', node, inbound, email, reason, sightings, CASE WHEN adopted THEN 'adopted' END) \
             FROM orphans ORDER BY node, inbound, email",
        )
        .await
    }

    /// Marks nodes as met before, so that nobody unknown is adopted.
    pub async fn have_met(&self, servers: &[&Rc<Server>]) {
        for server in servers {
            self.execute(&format!("INSERT INTO nodes (name, adopted_at) VALUES ('{}', '2026-01-01Z')", server.name))
                .await;
        }
    }

    pub fn pass(&self) -> Pass {
        Pass::over(&self.db, self.clock.clone())
    }

    /// Runs a pass with the usual settings.
    pub async fn run(&self, servers: &[&Rc<Server>]) -> Ran {
        self.pass().run(servers).await
    }

    /// The same over clients of servers of any kind.
    pub async fn run_on<X: Xray>(&self, nodes: Vec<Node<X>>) -> Ran {
        self.pass().run_on(&nodes).await
    }

    /// Nothing is to be done any more, and the pass that finds it so changes nothing, here or there.
    pub async fn assert_at_rest(&self, servers: &[&Rc<Server>]) {
        let before = (self.audit().await, self.orphans().await);
        for server in servers {
            server.clear_calls();
        }
        let ran = self.run(servers).await;
        assert_eq!(ran.code(), 0, "{:?}", ran.summary);
        for server in servers {
            assert_eq!(server.changes(), [] as [Call; 0], "{}", server.name);
        }
        assert_eq!((self.audit().await, self.orphans().await), before);
    }
}

/// The statements that end a row and close its credential.
pub fn end_sql(of: &Credential) -> String {
    let Credential { id, subscription, .. } = of;
    format!(
        "UPDATE subscriptions SET status = 'expiring', ended_at = now() WHERE id = {subscription}; \
         UPDATE credentials SET closed_at = now() WHERE id = {id}"
    )
}

/// How to run a pass.
#[derive(Clone)]
pub struct Pass {
    db: TestDb,
    clock: Arc<dyn Clock>,
    /// The way to the database; none: straight.
    pub via: Option<Config>,
    pub owners: Owners,
    pub absent: Absent,
    pub limits: Limits,
    pub batch_rows: usize,
    pub effect: Effect,
    pub dry_run: bool,
    pub limit: Option<u64>,
    pub deadline: Deadline,
}

/// What a pass did.
pub struct Ran {
    pub summary: Summary,
    pub items: Vec<String>,
    pub error: Option<DbError>,
}

impl Ran {
    /// The exit code of the program.
    pub fn code(&self) -> u8 {
        self.summary.report().exit().code()
    }

    pub fn node(&self, name: &str) -> &NodeSummary {
        self.summary.nodes.iter().find(|node| node.name == name).unwrap()
    }

    /// The only node.
    pub fn only(&self) -> &NodeSummary {
        assert_eq!(self.summary.nodes.len(), 1);
        &self.summary.nodes[0]
    }
}

impl Pass {
    pub fn over(db: &TestDb, clock: Arc<dyn Clock>) -> Self {
        Self {
            db: db.clone(),
            clock,
            via: None,
            owners: Owners::new("p.", &["p.admin".to_owned()]),
            absent: Absent::Restore,
            limits: Limits { max_removals: None, max_share: Share::percent(20) },
            batch_rows: 200,
            effect: Effect::All,
            dry_run: false,
            limit: None,
            deadline: Deadline::after(Duration::from_secs(240)),
        }
    }

    pub fn limits(self, max_removals: Option<u64>, max_percent: u32) -> Self {
        Self { limits: Limits { max_removals, max_share: Share::percent(max_percent) }, ..self }
    }

    pub fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    pub fn report_missing(self) -> Self {
        Self { absent: Absent::Report, ..self }
    }

    /// Stops after so many effects.
    pub fn limit(self, effects: u64) -> Self {
        Self { limit: Some(effects), ..self }
    }

    pub fn dry(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Runs it; an error of the database fails the test.
    pub async fn run(self, servers: &[&Rc<Server>]) -> Ran {
        let nodes: Vec<Node<server::Client>> = servers.iter().map(|server| server.node()).collect();
        self.run_on(&nodes).await
    }

    /// Makes a plan.
    pub async fn plan(self, servers: &[&Rc<Server>]) -> PlanFile {
        let ran = self.effect(Effect::Plan).run(servers).await;
        assert_eq!(ran.code(), 0, "{:?}", ran.summary);
        ran.summary.plan.unwrap()
    }

    pub async fn run_on<X: Xray>(self, nodes: &[Node<X>]) -> Ran {
        let ran = self.try_run(nodes).await;
        assert!(ran.error.is_none(), "the pass failed: {:?}", ran.error);
        ran
    }

    pub async fn try_run<X: Xray>(self, nodes: &[Node<X>]) -> Ran {
        let options = DatabaseOptions {
            dry_run: self.dry_run,
            ..DatabaseOptions::of(Actor { name: "reconcile-xray", run_id: RunId::new() })
        };
        let config = self.via.clone().unwrap_or_else(|| self.db.passes_config("reconcile-xray"));
        let db = Database::connect(config, NoTls, options, self.clock.clone(), self.deadline.clone()).unwrap();
        let items = RefCell::new(Vec::new());
        let on_item = |node: &str, item: &Item| {
            items.borrow_mut().push(format!("{node} {} {} {} {}", item.inbound, item.action, item.email, item.reason));
        };
        let settings = Settings {
            owners: self.owners,
            absent: self.absent,
            orphan_grace: GRACE,
            limits: self.limits,
            batch_rows: self.batch_rows,
            effect: self.effect,
            limit: self.limit,
            on_item: &on_item,
            on_node: &|_| {},
        };
        let mut summary = Summary::default();
        let error = reconcile_xray::run(&db, &self.deadline, nodes, &settings, &mut summary).await.err();
        Ran { summary, items: items.into_inner(), error }
    }
}

/// An inbound of the settings.
pub fn inbound(tag: &str, group: &str) -> Inbound {
    Inbound { tag: InboundTag(tag.to_owned()), group: group.to_owned(), flow: String::new() }
}

/// Who has the right now: open credentials with an active row before its end.
pub async fn rights(client: &Client, now: Timestamp) -> Vec<Credential> {
    let sql = "SELECT c.id, c.email, c.uuid, max(s.id) FROM credentials c JOIN subscriptions s ON s.credential_id = c.id \
               WHERE c.closed_at IS NULL AND s.status = 'active' AND s.expires_at > $1 GROUP BY c.id";
    let rows = client.query_typed(sql, &[(&now, tokio_postgres::types::Type::TIMESTAMPTZ)]).await.unwrap();
    rows.iter()
        .map(|row| Credential {
            id: row.get(0),
            email: row.get(1),
            uuid: row.get(2),
            subscription: SubscriptionId(row.get(3)),
        })
        .collect()
}

impl World {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whoever has the right is let in under its own e-mail, and whoever is closed is not there.
    pub async fn assert_both_sides_agree(&self, server: &Server, what: &str) {
        let emails = server.emails(TAG);
        for right in rights(&self.client, self.now()).await {
            assert!(emails.contains(&right.email), "{what}: {} is not listed", right.email);
            assert!(server.lets_in(TAG, right.uuid), "{what}: {} cannot connect", right.email);
        }
        for closed in self.column("SELECT email FROM credentials WHERE closed_at IS NOT NULL").await {
            assert!(!emails.contains(&closed), "{what}: {closed} is closed and still there");
        }
    }
}
