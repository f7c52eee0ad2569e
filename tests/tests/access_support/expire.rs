//! A pass of `expire-fast` over the world, and what it did.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use expire_fast::Summary;
use expire_fast::sessions::Sessions;
use perennial_core::db::{Actor, Database, DatabaseOptions, DbError};
use perennial_core::ending::{Brake, EndSettings, Ended};
use perennial_core::ids::RunId;
use perennial_core::node::Node;
use perennial_core::ports::Xray;
use perennial_core::removal::NodeSummary;
use perennial_core::share::Share;
use perennial_core::time::{Clock, Deadline};
use perennial_testkit::TestDb;
use tokio_postgres::{Config, NoTls};

use super::{Server, World, server};

/// How long a row that can be renewed is left to `renew`.
pub const RENEW_GRACE: Duration = Duration::from_secs(15 * 60);
pub const NO_BRAKE: Brake = Brake { max_ends: None, max_share: Share::WHOLE };

/// How to run it.
#[derive(Clone)]
pub struct Expire {
    db: TestDb,
    clock: Arc<dyn Clock>,
    /// The way to the database; none: straight.
    pub via: Option<Config>,
    pub sources: &'static [&'static str],
    pub brake: Brake,
    pub batch_rows: usize,
    pub dry_run: bool,
    pub limit: Option<u64>,
    pub deadline: Deadline,
    /// Told of each user whose right was ended, after the commit.
    pub told: Rc<dyn Fn(i64)>,
}

/// What it did.
#[derive(Debug)]
pub struct Expired {
    pub summary: Summary,
    /// Users told of as ended, in order.
    pub ended: Vec<i64>,
    pub error: Option<DbError>,
}

impl Expired {
    /// The exit code of the program.
    pub fn code(&self) -> u8 {
        self.summary.report().exit().code()
    }

    pub fn count(&self, name: &str) -> u64 {
        self.summary.report().count(name)
    }

    pub fn node(&self, name: &str) -> &NodeSummary {
        self.summary.removals.nodes.iter().find(|node| node.name == name).unwrap()
    }
}

impl Expire {
    pub fn over(db: &TestDb, clock: Arc<dyn Clock>) -> Self {
        Self {
            db: db.clone(),
            clock,
            via: None,
            sources: &["trial", "payment", "grant"],
            brake: NO_BRAKE,
            batch_rows: 200,
            dry_run: false,
            limit: None,
            deadline: Deadline::after(Duration::from_secs(50)),
            told: Rc::new(|_| {}),
        }
    }

    pub async fn run(self, servers: &[&Rc<Server>]) -> Expired {
        let nodes: Vec<Node<server::Client>> = servers.iter().map(|server| server.node()).collect();
        self.run_on(&nodes).await
    }

    /// Runs it; an error of the database fails the test.
    pub async fn run_on<X: Xray>(self, nodes: &[Node<X>]) -> Expired {
        let ran = self.try_run(nodes).await;
        assert!(ran.error.is_none(), "the pass failed: {:?}", ran.error);
        ran
    }

    pub async fn try_run<X: Xray>(self, nodes: &[Node<X>]) -> Expired {
        let options = DatabaseOptions {
            dry_run: self.dry_run,
            ..DatabaseOptions::of(Actor { name: "expire-fast", run_id: RunId::new() })
        };
        let config = self.via.unwrap_or_else(|| self.db.passes_config("expire-fast"));
        let db = Database::connect(config, NoTls, options, self.clock, self.deadline.clone()).unwrap();
        let ended = RefCell::new(Vec::new());
        let observer = |row: &Ended| {
            ended.borrow_mut().push(row.telegram_id.0);
            (self.told)(row.telegram_id.0);
        };
        let settings = EndSettings {
            limit: self.limit,
            sources: self.sources,
            grace: RENEW_GRACE,
            batch_rows: self.batch_rows,
            brake: self.brake,
            observer: &observer,
            progress: &|_| {},
        };
        let sessions = Sessions::new(Vec::new(), &self.deadline);
        let mut summary = Summary::default();
        let ran = expire_fast::run(&db, &self.deadline, nodes, settings, &sessions, &|_| {}, &mut summary).await;
        let error = ran.err();
        Expired { summary, ended: ended.into_inner(), error }
    }
}

impl World {
    pub fn expire(&self) -> Expire {
        Expire::over(&self.db, self.clock.clone())
    }

    /// Runs `expire-fast` with the usual settings.
    pub async fn run_expire(&self, servers: &[&Rc<Server>]) -> Expired {
        self.expire().run(servers).await
    }

    /// Each row: user, source, status, and the state of its credential.
    pub async fn rows(&self) -> Vec<String> {
        self.column(
            "SELECT concat_ws(' ', s.telegram_id, s.source, s.status, CASE WHEN c.id IS NULL THEN 'none' \
             WHEN c.retired_at IS NOT NULL THEN 'retired' WHEN c.closed_at IS NOT NULL THEN 'closing' ELSE 'open' END) \
             FROM subscriptions s LEFT JOIN credentials c ON c.id = s.credential_id ORDER BY s.id",
        )
        .await
    }

    /// Each credential: e-mail and state.
    pub async fn credentials(&self) -> Vec<String> {
        self.column(
            "SELECT concat_ws(' ', email, CASE WHEN retired_at IS NOT NULL THEN 'retired' \
             WHEN closed_at IS NOT NULL THEN 'closing' ELSE 'open' END) FROM credentials ORDER BY id",
        )
        .await
    }

    /// Notices: user and kind.
    pub async fn notices(&self) -> Vec<String> {
        self.column("SELECT concat_ws(' ', telegram_id, kind) FROM notices ORDER BY telegram_id, id").await
    }
}
