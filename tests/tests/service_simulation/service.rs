//! The real thing: the database, two servers in memory, chats, and the passes as their programs run them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use expire_fast::sessions::Sessions;
use notify_trials::plan::{Moment, Stage};
use perennial_core::db::{Actor, ClaimSettings, Database, DatabaseOptions, DbError, RenewalBounds};
use perennial_core::delivery::{DeliverySettings, DeliverySummary, deliver};
use perennial_core::ending::EndSettings;
use perennial_core::ids::RunId;
use perennial_core::node::Node;
use perennial_core::reconcile::Owners;
use perennial_core::share::Share;
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::TestDb;
use perennial_testkit::builders::set_bot_clock;
use reconcile_xray::brakes::Limits;
use reconcile_xray::{Absent, Effect};
use renew::RenewPass;

use crate::access_support::expire::NO_BRAKE;
use crate::access_support::server::Client as XrayClient;
use crate::access_support::{Credential, Fault, GRACE as ORPHAN_GRACE, Kind, Server, World, inbound};
use crate::action::Pass;
use crate::chats::{Chats, Ids};
use crate::model::{AHEAD, GRACE, GROUPS, WINDOW};
use crate::random::Random;

const HOUR: Duration = Duration::from_secs(3600);
/// More than any pass takes: only the simulated clock and a cut decide.
const BUDGET: Duration = Duration::from_secs(30 * 86_400);
/// However slow the machine is: half a minute without a turn is no difference.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) servers: [Rc<Server>; 2],
    pub(crate) chats: Chats,
    /// What the bot has still to add, by group.
    pub(crate) late: Vec<(usize, Credential)>,
    /// E-mails a pass removed while they were somebody's right.
    pub(crate) cut: Rc<RefCell<Vec<String>>>,
    doors: RefCell<HashMap<&'static str, Rc<Database>>>,
}

/// One run of a pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) pass: Pass,
    pub(crate) batch_rows: usize,
    pub(crate) workers: usize,
    /// The budget ends after so many rows, calls or messages.
    pub(crate) cut: Option<usize>,
}

impl Service {
    pub(crate) async fn new(db: TestDb) -> Self {
        let world = World::new(db).await;
        world.execute("DELETE FROM tariffs").await;
        let both = vec![inbound("basic-in", GROUPS[0]), inbound("plus-in", GROUPS[1])];
        let servers = [Server::with("de1", both), Server::with("nl1", vec![inbound("vless-in", GROUPS[0])])];
        world.have_met(&[&servers[0], &servers[1]]).await;
        world.execute("UPDATE nodes SET known_inbounds = ARRAY['basic-in', 'plus-in', 'vless-in']").await;
        let cut = Rc::new(RefCell::new(Vec::new()));
        for server in &servers {
            let (told, client) = (cut.clone(), world.client.clone());
            server.watch(move |call| {
                let (told, client) = (told.clone(), client.clone());
                Box::pin(async move {
                    if call.kind == Kind::Remove {
                        let sql = format!(
                            "SELECT count(*) FROM credentials c JOIN subscriptions s ON s.credential_id = c.id \
                             WHERE c.email = '{}' AND c.closed_at IS NULL",
                            call.email
                        );
                        let used: i64 = client.query_typed_one(&sql, &[]).await.unwrap().get(0);
                        if used > 0 {
                            told.borrow_mut().push(call.email);
                        }
                    }
                })
            });
        }
        let chats = Chats::new(world.clock.clone());
        Self { world, servers, chats, late: Vec::new(), cut, doors: RefCell::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub(crate) async fn wait(&self, minutes: u32) {
        self.world.clock.advance(Duration::from_secs(60) * minutes);
        self.bot_looks_at_the_clock().await;
    }

    /// A pass may have moved the clock.
    pub(crate) async fn bot_looks_at_the_clock(&self) {
        set_bot_clock(&self.world.client, self.now()).await;
    }

    /// Inbounds of a group on a server.
    pub(crate) fn tags(server: &Server, group: usize) -> Vec<String> {
        let settings = server.settings.borrow();
        let tags = settings.iter().filter(|inbound| inbound.group == GROUPS[group]);
        tags.map(|inbound| inbound.tag.0.clone()).collect()
    }

    /// The bot adds a user to all servers by itself.
    pub(crate) fn add(&self, group: usize, credential: &Credential) {
        for server in &self.servers {
            for tag in Self::tags(server, group) {
                server.add_as_bot(&tag, credential);
            }
        }
    }

    /// Servers and chats fail in one of many ways, until [`heal`](Self::heal).
    pub(crate) fn get_into_trouble(&self, seed: u64) {
        let mut random = Random::from_seed(seed);
        self.chats.get_into_trouble(Random::from_seed(seed ^ 1));
        for server in &self.servers {
            let kinds = [Kind::List, Kind::Find, Kind::Add, Kind::Remove];
            match random.between(1, 4) {
                1 => {}
                2 => kinds.into_iter().for_each(|kind| server.fail(kind, usize::MAX, Fault::Unreachable)),
                _ => {
                    for kind in kinds {
                        let fault = match (kind, random.between(1, 6)) {
                            (_, 1) => Fault::Hang(Duration::from_millis(5)),
                            (Kind::List, 2) => Fault::Short(usize::try_from(random.between(0, 50)).unwrap()),
                            (Kind::List | Kind::Find, _) | (_, 2) => Fault::RequestLost,
                            (_, 3) => Fault::AnswerLost,
                            (_, 4) => Fault::Late,
                            _ => Fault::Lie,
                        };
                        server.fail(kind, usize::try_from(random.between(0, 4)).unwrap(), fault);
                    }
                }
            }
        }
    }

    /// Somebody takes users off a server, and puts a stranger of our prefix and one of another there.
    pub(crate) fn meddle(&self, node: usize, seed: u64) {
        let mut random = Random::from_seed(seed);
        let server = &self.servers[node % 2];
        for tag in server.settings.borrow().iter().map(|inbound| inbound.tag.0.clone()) {
            for email in server.emails(&tag).into_iter().filter(|email| !email.starts_with("other.")) {
                if random.percent(3) {
                    server.drop_user(&tag, &email);
                }
            }
            let uuid = uuid::Uuid::from_u64_pair(random.next(), random.next());
            server.put(&tag, &format!("p.x{}", random.between(1, 3)), uuid);
            server.put(&tag, "other.one", uuid::Uuid::from_u128(1));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.chats.heal();
        for server in &self.servers {
            server.heal();
            server.deliver_late();
            server.clear_calls();
        }
        for (group, credential) in std::mem::take(&mut self.late) {
            self.add(group, &credential);
        }
    }

    /// One door a program, kept: a pass on a warm connection, since there are tens of thousands.
    fn door(&self, name: &'static str) -> Rc<Database> {
        let mut doors = self.doors.borrow_mut();
        let open = || {
            let actor = Actor { name, run_id: RunId::new() };
            let options = DatabaseOptions { statement_limit: PATIENCE, ..DatabaseOptions::of(actor) };
            Rc::new(self.world.db.database(options, self.world.clock.clone(), Deadline::after(BUDGET)))
        };
        doors.entry(name).or_insert_with(open).clone()
    }

    fn nodes(&self) -> Vec<Node<XrayClient>> {
        self.servers.iter().map(Server::node).collect()
    }

    pub(crate) async fn run(&self, run: Run) -> Result<(), DbError> {
        let deadline = Deadline::after(BUDGET);
        let told = Cell::new(0);
        let tell = || {
            told.set(told.get() + 1);
            if run.cut == Some(told.get()) {
                deadline.stop();
            }
        };
        if let (Some(calls), Pass::Expire | Pass::Reconcile) = (run.cut, run.pass) {
            let deadline = deadline.clone();
            self.servers[0].at_call(calls, move || Box::pin(async move { deadline.stop() }));
        }
        let done = match run.pass {
            Pass::Renew => self.renew(run, &deadline, &tell).await,
            Pass::Trials => self.trials(run, &deadline, &tell).await,
            Pass::Expire => self.expire(run, &deadline, &tell).await,
            Pass::Reconcile => self.reconcile(run, &deadline).await,
            Pass::Deliver => self.deliver(run, &deadline).await,
        };
        // Disarmed, if the pass did not come that far.
        self.servers[0].has_happened();
        self.chats.uncut();
        done
    }

    async fn renew(&self, run: Run, deadline: &Deadline, tell: &dyn Fn()) -> Result<(), DbError> {
        let settings = renew::Settings {
            bounds: RenewalBounds { window: WINDOW, grace: GRACE },
            batch_rows: run.batch_rows,
            workers: run.workers,
            max_tries: 3,
            charge_notice: Some(AHEAD),
            limit: None,
        };
        let mut summary = renew::Summary::default();
        let db = self.door("renew");
        RenewPass { db: &db, deadline, settings, observer: &|_| tell() }.run(&mut summary).await
    }

    async fn trials(&self, run: Run, deadline: &Deadline, tell: &dyn Fn()) -> Result<(), DbError> {
        let stage = |name: &str, moment| Stage { name: name.to_owned(), moment };
        let stages = [
            stage("6h", Moment::AfterStart(6 * HOUR)),
            stage("60h", Moment::BeforeEnd(12 * HOUR)),
            stage("71h", Moment::BeforeEnd(HOUR)),
        ];
        let end = EndSettings {
            sources: &["trial"],
            grace: Duration::ZERO,
            batch_rows: run.batch_rows,
            brake: NO_BRAKE,
            limit: None,
            observer: &|_| tell(),
            progress: &|_| {},
        };
        let (stages, observer) = (&stages, &|_: &notify_trials::Reminded| tell());
        let settings = notify_trials::Settings {
            stages,
            batch_rows: run.batch_rows,
            max_tries: 3,
            observer,
            end: Some(end),
            limit: None,
            progress: &|_| {},
        };
        let mut summary = notify_trials::Summary::default();
        notify_trials::run(&self.door("notify-trials"), deadline, &settings, &mut summary).await
    }

    async fn expire(&self, run: Run, deadline: &Deadline, tell: &dyn Fn()) -> Result<(), DbError> {
        let settings = EndSettings {
            sources: &["trial", "payment", "grant"],
            grace: GRACE,
            batch_rows: run.batch_rows,
            brake: NO_BRAKE,
            limit: None,
            observer: &|_| tell(),
            progress: &|_| {},
        };
        let sessions = Sessions::new(Vec::new(), deadline);
        let mut summary = expire_fast::Summary::default();
        let db = self.door("expire-fast");
        expire_fast::run(&db, deadline, &self.nodes(), settings, &sessions, &|_| {}, &mut summary).await
    }

    async fn reconcile(&self, run: Run, deadline: &Deadline) -> Result<(), DbError> {
        let settings = reconcile_xray::Settings {
            owners: Owners::new("p.", &[]),
            absent: Absent::Restore,
            orphan_grace: ORPHAN_GRACE,
            limits: Limits { max_removals: None, max_share: Share::WHOLE },
            batch_rows: run.batch_rows,
            effect: Effect::All,
            limit: None,
            on_item: &|_, _| {},
            on_node: &|_| {},
        };
        let mut summary = reconcile_xray::Summary::default();
        let db = self.door("reconcile-xray");
        reconcile_xray::run(&db, deadline, &self.nodes(), &settings, &mut summary).await
    }

    async fn deliver(&self, run: Run, deadline: &Deadline) -> Result<(), DbError> {
        if let Some(messages) = run.cut {
            self.chats.cut_after(messages, deadline);
        }
        let settings = DeliverySettings {
            bot: "telegram".to_owned(),
            rate_per_second: 25,
            send_limit: Duration::from_secs(8),
            claim: ClaimSettings { default_time_zone: "UTC".to_owned(), quiet_hours: None, time_params: Vec::new() },
            limit: None,
        };
        let mut summary = DeliverySummary::default();
        let db = self.door("renew");
        deliver(&db, &self.chats, &Ids, &settings, deadline, &mut summary).await
    }
}
