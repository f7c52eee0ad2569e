//! Customers in every state on two servers, what may happen to them, and how both sides must be at rest.

use std::cell::{Cell, RefCell};
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
/// Has an open credential that no row uses, watched for long enough.
pub(crate) const UNUSED: i64 = 8;

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
    /// The one with the unused credential buys; the bot adds after its commit.
    TakeUnused,
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
    /// A server is dropped from the settings, and the passes run without it until it is back.
    Drop,
}

pub(crate) const BOTS: [Act; 4] = [Act::Purchase, Act::FirstPurchase, Act::AddedAndNeverBought, Act::TopUpAndRenew];
pub(crate) const MORE_BOTS: [Act; 4] = [Act::TrialUpgrade, Act::Cancel, Act::Rotate, Act::TakeUnused];
pub(crate) const PASSES: [Act; 3] = [Act::Expire, Act::EndTrials, Act::Reconcile];
pub(crate) const ACCIDENTS: [Act; 5] = [Act::AnHourLater, Act::Retire, Act::Restart, Act::Die, Act::Drop];

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
    /// The second server is not in the settings.
    is_dropped: Cell<bool>,
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
        for (n, balance) in [
            (OVER, 50_000),
            (IN_GRACE, 0),
            (TRIAL, 50_000),
            (PAYER, 0),
            (CLOSING, 0),
            (MISSING, 0),
            (NEW, 50_000),
            (UNUSED, 50_000),
        ] {
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
        world.execute(&format!("INSERT INTO credentials (telegram_id) VALUES ({UNUSED})")).await;
        let watched = format!(
            "INSERT INTO orphans (node, inbound, email, uuid, reason, first_seen_at, last_seen_at, sightings, adopted)
             SELECT n.name, '{TAG}', c.email, c.uuid, 'unused', perennial_now() - interval '1 day', perennial_now(), 9, false
             FROM credentials c, nodes n WHERE c.telegram_id = {UNUSED}"
        );
        world.execute(&watched).await;
        let rows = world.client.query_typed("SELECT email, uuid, telegram_id FROM credentials", &[]).await.unwrap();
        for row in rows.iter().filter(|row| row.get::<_, i64>(2) != MISSING) {
            servers.iter().for_each(|server| server.put(TAG, row.get(0), row.get(1)));
        }
        // Ballast, so that a few removals are a small share.
        for n in 101..=140 {
            servers.iter().for_each(|server| server.put(TAG, &format!("other.{n}"), Uuid::new_v4()));
        }
        let scene = Self { world: world.clone(), servers, cut: Rc::default(), is_dropped: Cell::default() };
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

    /// The servers of the settings.
    pub(crate) fn configured(&self) -> Vec<&Rc<Server>> {
        self.servers.iter().filter(|server| !(self.is_dropped.get() && server.name == "de2")).collect()
    }

    pub(crate) async fn run(&self, subject: Subject, via: Option<Config>) {
        match subject {
            Subject::Expire => {
                let mut pass = self.world.expire();
                pass.via = via;
                // A node retired meanwhile, a row held: said by the exit code, seen at rest.
                drop(pass.run(&self.configured()).await);
            }
            Subject::EndTrials => end_trials(&self.world, via).await,
            Subject::Reconcile => {
                let mut pass: Pass = self.world.pass().limits(None, 100);
                pass.via = via;
                drop(pass.run(&self.configured()).await);
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
            Act::TakeUnused => {
                self.call(actor, &buy(UNUSED)).await;
                self.bot_adds(UNUSED).await;
            }
            Act::Expire => {
                self.expire_briefly().await;
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
            Act::Drop => {
                self.is_dropped.set(true);
                self.expire_briefly().await;
                self.run(Subject::Reconcile, None).await;
            }
        }
    }

    /// The server may be leased by the pass that is held up: it does not wait for it long.
    async fn expire_briefly(&self) {
        let mut pass = self.world.expire();
        pass.deadline = Deadline::after(Duration::from_millis(400));
        drop(pass.run(&self.configured()).await);
    }

    /// While a server is not in the settings nothing is believed of it: what was proven gone everywhere is gone there, too.
    async fn rest_without_it(&self, what: &str) {
        self.passes_of_each().await;
        self.world.assert_both_sides_agree(&self.servers[0], what).await;
        let there = self.servers[1].emails(TAG);
        let proven = format!("SELECT email FROM credentials WHERE retired_at IS NOT NULL AND telegram_id <> {UNUSED}");
        for email in self.world.column(&proven).await {
            assert!(!there.contains(&email), "{what}: {email} is said to be gone, and is on the dropped server");
        }
        self.is_dropped.set(false);
    }

    async fn passes_of_each(&self) {
        for subject in [Subject::EndTrials, Subject::Expire, Subject::Reconcile] {
            self.run(subject, None).await;
        }
        self.world.advance(GRACE + MINUTE).await;
    }

    /// One ordinary pass of each, with the time that a quarantine takes.
    pub(crate) async fn come_to_rest(&self, act: Act, what: &str) {
        // The lease of a copy that died ends.
        self.world.advance(MINUTE).await;
        if self.is_dropped.get() {
            self.rest_without_it(what).await;
        }
        // A stranger is watched first.
        let rounds = if act == Act::AddedAndNeverBought { 3 } else { 1 };
        for _ in 0..rounds {
            self.passes_of_each().await;
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
        progress: &|_| {},
    };
    let settings = notify_trials::Settings {
        stages: &[],
        batch_rows: 200,
        max_tries: 3,
        limit: None,
        observer: &|_| {},
        progress: &|_| {},
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
