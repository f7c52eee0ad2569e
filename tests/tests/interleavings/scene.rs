//! Customers in every state on two servers, what may happen to them, and how both sides must be at rest.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::access_support::{BASIC, Call, GRACE, Kind, MINUTE, Pass, Server, TAG, World};
use perennial_core::db::{Actor, Database, DatabaseOptions};
use perennial_core::ending::EndSettings;
use perennial_core::ids::RunId;
use perennial_core::time::Deadline;
use perennial_testkit::builders::{Status, Subscription, User};
use renew::{RenewPass, Settings};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// Customers of the scene, by number.
pub(crate) const OVER: i64 = 1;
pub(crate) const IN_GRACE: i64 = 2;
pub(crate) const TRIAL: i64 = 3;
pub(crate) const PAYER: i64 = 4;
pub(crate) const CLOSING: i64 = 5;
pub(crate) const MISSING: i64 = 6;
pub(crate) const NEW: i64 = 7;

/// What somebody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// One whose end is past pays again; the bot adds after its commit.
    Purchase,
    /// A new customer; the bot adds after its commit.
    FirstPurchase,
    /// A new customer; the bot adds, and crashes before its commit.
    AddedAndNeverBought,
    /// Money comes in within the grace, and `renew` charges it.
    TopUpAndRenew,
    /// The trial is over, its user buys.
    TrialUpgrade,
    /// A payer ends it now.
    Cancel,
    /// A payer's credential is replaced; the bot adds the new one.
    Rotate,
    /// The passes, from beginning to end.
    Expire,
    EndTrials,
    Reconcile,
    /// The process was suspended for an hour: the others have ended, removed, sold and repaired meanwhile.
    AnHourLater,
    /// A server is said to be gone for good.
    Retire,
    /// All servers forget what came in at run time.
    Restart,
    /// The process dies here.
    Die,
}

pub(crate) const ACTS: [Act; 14] = [
    Act::Purchase,
    Act::FirstPurchase,
    Act::AddedAndNeverBought,
    Act::TopUpAndRenew,
    Act::TrialUpgrade,
    Act::Cancel,
    Act::Rotate,
    Act::Expire,
    Act::EndTrials,
    Act::Reconcile,
    Act::AnHourLater,
    Act::Retire,
    Act::Restart,
    Act::Die,
];

/// The pass that is looked at point by point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Expire,
    EndTrials,
    Reconcile,
}

pub(crate) struct Scene {
    pub(crate) world: Rc<World>,
    pub(crate) servers: [Rc<Server>; 2],
    /// Who was removed by us while open.
    cut: Rc<RefCell<Vec<String>>>,
}

impl Scene {
    pub(crate) async fn set(world: &Rc<World>) -> Self {
        world
            .execute(
                "SET session_replication_role = replica;
                 DELETE FROM payments; DELETE FROM transfers; DELETE FROM requests; DELETE FROM notices;
                 DELETE FROM subscriptions; DELETE FROM credentials; DELETE FROM removals; DELETE FROM orphans;
                 DELETE FROM nodes; DELETE FROM accounts WHERE telegram_id IS NOT NULL; DELETE FROM users;
                 SET session_replication_role = origin",
            )
            .await;
        let servers = [Server::new("de1"), Server::new("de2")];
        world.have_met(&[&servers[0], &servers[1]]).await;
        for (n, balance) in
            [(OVER, 50_000), (IN_GRACE, 0), (TRIAL, 50_000), (PAYER, 0), (CLOSING, 0), (MISSING, 0), (NEW, 50_000)]
        {
            User::new(n, 0).put(&world.client).await;
            if balance > 0 {
                world.execute(&format!("SELECT perennial_top_up({n}, {balance}, '{}')", Uuid::new_v4())).await;
            }
        }
        let minute_ago = world.now() - MINUTE;
        let later = world.now() + Duration::from_secs(864_000);
        let row = |n, end| Subscription::paid(n, BASIC.code, end);
        Subscription { auto_renew: false, ..row(OVER, minute_ago) }.put(&world.client).await;
        row(IN_GRACE, minute_ago).put(&world.client).await;
        Subscription { source: "trial", auto_renew: false, ..row(TRIAL, minute_ago) }.put(&world.client).await;
        row(PAYER, later).put(&world.client).await;
        Subscription { status: Status::Expiring, ..row(CLOSING, minute_ago) }.put(&world.client).await;
        row(MISSING, later).put(&world.client).await;
        let rows = world.client.query_typed("SELECT email, uuid, telegram_id FROM credentials", &[]).await.unwrap();
        for row in rows.iter().filter(|row| row.get::<_, i64>(2) != MISSING) {
            servers.iter().for_each(|server| server.put(TAG, row.get(0), row.get(1)));
        }
        // Ballast, so that a few removals are a small share.
        for n in 101..=140 {
            servers.iter().for_each(|server| server.put(TAG, &format!("other.{n}"), Uuid::new_v4()));
        }
        let scene = Self { world: world.clone(), servers, cut: Rc::default() };
        for server in &scene.servers {
            scene.guard(server);
        }
        scene
    }

    /// Whoever is taken off must be closed or unknown, at that very moment.
    pub(crate) fn guard(&self, server: &Rc<Server>) {
        let (cut, world) = (self.cut.clone(), self.world.clone());
        server.watch(move |call: Call| {
            let (cut, world) = (cut.clone(), world.clone());
            Box::pin(async move {
                if call.kind != Kind::Remove {
                    return;
                }
                let open =
                    format!("SELECT count(*) FROM credentials WHERE email = '{}' AND closed_at IS NULL", call.email);
                if world.number(&open).await > 0 {
                    cut.borrow_mut().push(call.email);
                }
            })
        });
    }

    pub(crate) fn both(&self) -> [&Rc<Server>; 2] {
        [&self.servers[0], &self.servers[1]]
    }

    pub(crate) async fn run(&self, subject: Subject, via: Option<Config>) {
        match subject {
            Subject::Expire => {
                let mut pass = self.world.expire();
                pass.via = via;
                // A node retired meanwhile, a row held: said by the exit code, seen at rest.
                drop(pass.run(&self.both()).await);
            }
            Subject::EndTrials => end_trials(&self.world, via).await,
            Subject::Reconcile => {
                let mut pass: Pass = self.world.pass().limits(None, 1_000_000);
                pass.via = via;
                drop(pass.run(&self.both()).await);
            }
        }
    }

    /// The newest open credential of a customer is added everywhere, as a bot does after its commit.
    pub(crate) async fn bot_adds(&self, n: i64) {
        let open = format!("SELECT count(*) FROM credentials WHERE telegram_id = {n} AND closed_at IS NULL");
        if self.world.number(&open).await > 0 {
            let credential = self.world.credential(n, perennial_core::ids::SubscriptionId(0)).await;
            self.servers.iter().for_each(|server| server.add_as_bot(TAG, &credential));
        }
    }

    pub(crate) async fn call(&self, actor: &Client, sql: &str) {
        // A refusal is an answer, too: what is asked for may not be possible any more.
        drop(actor.batch_execute(sql).await);
    }

    pub(crate) async fn act(&self, act: Act, actor: &Client) {
        let key = Uuid::new_v4();
        let buy = |n: i64| format!("SELECT perennial_buy({n}, '{}', false, '{key}')", BASIC.code);
        match act {
            Act::Purchase => {
                self.call(actor, &buy(OVER)).await;
                self.bot_adds(OVER).await;
            }
            Act::FirstPurchase => {
                self.call(actor, &buy(NEW)).await;
                self.bot_adds(NEW).await;
            }
            Act::AddedAndNeverBought => {
                self.call(actor, &format!("BEGIN; {}", buy(NEW))).await;
                let row = actor.query_typed("SELECT email, uuid FROM credentials WHERE telegram_id = 7", &[]).await;
                for row in row.unwrap() {
                    self.servers.iter().for_each(|server| server.put(TAG, row.get(0), row.get(1)));
                }
                self.call(actor, "ROLLBACK").await;
            }
            Act::TopUpAndRenew => {
                self.call(actor, &format!("SELECT perennial_top_up({IN_GRACE}, 50000, '{key}')")).await;
                renew(&self.world).await;
            }
            Act::TrialUpgrade => {
                self.call(actor, &buy(TRIAL)).await;
                self.bot_adds(TRIAL).await;
            }
            Act::Cancel => {
                let row = format!("SELECT id FROM subscriptions WHERE telegram_id = {PAYER}");
                self.call(actor, &format!("SELECT perennial_cancel(({row}), '{key}')")).await;
            }
            Act::Rotate => {
                self.call(actor, &format!("SELECT perennial_rotate({PAYER}, 'basic', '{key}')")).await;
                self.bot_adds(PAYER).await;
            }
            Act::Expire => {
                // The server may be leased by the pass that is held up: it does not wait for it long.
                let mut pass = self.world.expire();
                pass.deadline = Deadline::after(Duration::from_millis(400));
                drop(pass.run(&self.both()).await);
            }
            Act::EndTrials => self.run(Subject::EndTrials, None).await,
            Act::Reconcile => self.run(Subject::Reconcile, None).await,
            Act::AnHourLater => {
                self.world.advance(MINUTE * 60).await;
                self.run(Subject::Expire, None).await;
                self.call(actor, &buy(OVER)).await;
                self.call(actor, &buy(TRIAL)).await;
                self.bot_adds(OVER).await;
                self.run(Subject::Reconcile, None).await;
            }
            Act::Retire => {
                self.call(actor, "UPDATE nodes SET retired_at = perennial_now() WHERE name = 'de2'").await;
            }
            Act::Restart => self.servers.iter().for_each(|server| server.restart()),
            Act::Die => {}
        }
    }

    /// One ordinary pass of each, with the time that a quarantine takes.
    pub(crate) async fn come_to_rest(&self, act: Act) {
        // The lease of a copy that died ends.
        self.world.advance(MINUTE).await;
        // A stranger is watched first.
        let rounds = if act == Act::AddedAndNeverBought { 3 } else { 1 };
        for _ in 0..rounds {
            for subject in [Subject::EndTrials, Subject::Expire, Subject::Reconcile] {
                self.run(subject, None).await;
            }
            self.world.advance(GRACE + MINUTE).await;
        }
    }

    pub(crate) async fn assert_rested(&self, before: &[(i64, Uuid)], act: Act, what: &str) {
        assert_eq!(*self.cut.borrow(), [] as [String; 0], "{what}: removed while open");
        let retired = act == Act::Retire;
        for server in self.servers.iter().filter(|server| !(retired && server.name == "de2")) {
            self.world.assert_both_sides_agree(server, what).await;
        }
        let paid_for_nothing = "SELECT count(*) FROM payments p JOIN subscriptions s ON s.id = p.subscription_id
            WHERE p.period_end > perennial_now() AND p.voided_at IS NULL AND s.status <> 'active'";
        assert_eq!(self.world.number(paid_for_nothing).await, 0, "{what}: paid, and ended all the same");
        let waiting = "SELECT count(*) FROM subscriptions WHERE status = 'expiring'";
        assert_eq!(self.world.number(waiting).await, 0, "{what}: not proven");
        let broken = "SELECT count(*) FROM subscriptions s JOIN credentials c ON c.id = s.credential_id
                      WHERE s.status = 'active' AND c.closed_at IS NOT NULL";
        assert_eq!(self.world.number(broken).await, 0, "{what}: a right on a closed credential");
        for (user, uuid) in before.iter().filter(|_| act != Act::Rotate) {
            let kept = format!(
                "SELECT count(*) FROM credentials WHERE telegram_id = {user} AND uuid = '{uuid}' AND closed_at IS NULL"
            );
            assert!(act == Act::Cancel || self.world.number(&kept).await == 1, "{what}: user {user} has another UUID");
        }
    }
}

pub(crate) async fn end_trials(world: &World, via: Option<Config>) {
    let deadline = Deadline::after(Duration::from_secs(50));
    let options = DatabaseOptions::of(Actor { name: "notify-trials", run_id: RunId::new() });
    let config = via.unwrap_or_else(|| world.db.passes_config("notify-trials"));
    let db = Database::connect(config, NoTls, options, world.clock.clone(), deadline.clone()).unwrap();
    let end = EndSettings {
        limit: None,
        sources: &["trial"],
        grace: Duration::ZERO,
        batch_rows: 200,
        brake: crate::access_support::expire::NO_BRAKE,
        observer: &|_| {},
    };
    let settings = notify_trials::Settings {
        stages: &[],
        batch_rows: 200,
        max_tries: 3,
        limit: None,
        observer: &|_| {},
        end: Some(end),
    };
    let mut summary = notify_trials::Summary::default();
    notify_trials::run(&db, &deadline, &settings, &mut summary).await.unwrap();
}

pub(crate) async fn renew(world: &World) {
    let deadline = Deadline::after(Duration::from_secs(50));
    let options = DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() });
    let db = world.db.database(options, world.clock.clone(), deadline.clone());
    let bounds = perennial_core::db::RenewalBounds {
        window: Duration::from_secs(6 * 3_600),
        grace: crate::access_support::expire::RENEW_GRACE,
    };
    let settings = Settings { bounds, batch_rows: 200, workers: 1, max_tries: 3, charge_notice: None, limit: None };
    let mut summary = renew::Summary::default();
    RenewPass { db: &db, deadline: &deadline, settings, observer: &|_| {} }.run(&mut summary).await.unwrap();
}
