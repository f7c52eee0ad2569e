//! Weeks of a small service with everything that goes wrong: lost and late requests, lies, crashes of the pass and of the
//! bot, restarts, strangers, two passes at once. At every moment: nobody who has the right is removed by a pass, and who
//! was let in before it is let in after it. In the end, when nothing goes wrong any more, both sides agree.
//!
//! A failed run prints its seed. `PERENNIAL_SEED` repeats it; `PERENNIAL_SIM_STEPS` sets the size.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, and the seed of a failed run

mod access_support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use access_support::{Call, Credential, Fault, GRACE, Kind, Pass, Server, TAG, World, end_sql, rights};
use perennial_testkit::builders::User;
use perennial_testkit::db_test;
use uuid::Uuid;

const CUSTOMERS: u64 = 25;
const STEPS: u64 = 250;

/// Small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |given| given.parse().unwrap())
}

struct Simulation {
    world: World,
    server: Rc<Server>,
    random: Random,
    /// E-mails a pass removed while they were somebody's right.
    cut: Rc<RefCell<Vec<String>>>,
    passes: u64,
    crashes: u64,
}

impl Simulation {
    async fn new(world: World, seed: u64) -> Self {
        let server = Server::new("de1");
        world.have_met(&[&server]).await;
        for n in 1..=i64::try_from(CUSTOMERS).unwrap() {
            User::new(n, 0).put(&world.client).await;
        }
        let cut = Rc::new(RefCell::new(Vec::new()));
        let (told, client) = (cut.clone(), world.client.clone());
        server.watch(move |call: Call| {
            let (told, client) = (told.clone(), client.clone());
            Box::pin(async move {
                let sql = format!(
                    "SELECT count(*) FROM credentials c JOIN subscriptions s ON s.credential_id = c.id
                     WHERE c.email = '{}' AND c.closed_at IS NULL",
                    call.email
                );
                if call.kind == Kind::Remove {
                    let used: i64 = client.query_typed_one(&sql, &[]).await.unwrap().get(0);
                    if used > 0 {
                        told.borrow_mut().push(call.email);
                    }
                }
            })
        });
        Self { world, server, random: Random(seed | 1), cut, passes: 0, crashes: 0 }
    }

    async fn newest(&self, n: u64) -> Option<Credential> {
        let sql = format!(
            "SELECT c.id, c.email, c.uuid, coalesce((SELECT max(s.id) FROM subscriptions s WHERE s.credential_id = c.id), 0)
             FROM credentials c WHERE c.telegram_id = {n} ORDER BY c.id DESC LIMIT 1"
        );
        let row = self.world.client.query_typed_opt(&sql, &[]).await.unwrap()?;
        let subscription = perennial_core::ids::SubscriptionId(row.get(3));
        Some(Credential { id: row.get(0), email: row.get(1), uuid: row.get(2), subscription })
    }

    async fn has_open(&self, n: u64) -> bool {
        let sql = format!("SELECT count(*) FROM credentials WHERE telegram_id = {n} AND closed_at IS NULL");
        self.world.number(&sql).await > 0
    }

    /// The bot after its commit: adds, or crashes before.
    async fn bot_adds(&mut self, n: u64) {
        if !self.random.one_in(4) {
            let credential = self.newest(n).await.unwrap();
            self.server.add_as_bot(TAG, &credential);
        }
    }

    async fn step(&mut self) {
        let n = 1 + self.random.below(CUSTOMERS);
        let key = Uuid::new_v4();
        match self.random.below(16) {
            0..=3 => {
                self.world.execute(&format!("SELECT perennial_grant({n}, 'basic_1m', 3, '{key}')")).await;
                self.bot_adds(n).await;
            }
            4 | 5 => self.end(n).await,
            6 => {
                if self.has_open(n).await {
                    self.world.execute(&format!("SELECT perennial_rotate({n}, 'basic', '{key}')")).await;
                    self.bot_adds(n).await;
                }
            }
            7 => {
                // A bot that was asleep adds what is closed by now.
                if let Some(credential) = self.newest(n).await {
                    self.server.add_as_bot(TAG, &credential);
                }
            }
            8 => self.server.put(TAG, &format!("p.x{}", self.random.below(5)), key),
            9 => {
                // A bot that crashes between credential and row.
                if !self.has_open(n).await {
                    self.world.execute(&format!("INSERT INTO credentials (telegram_id) VALUES ({n})")).await;
                    self.bot_adds(n).await;
                }
            }
            10 => {
                if self.random.one_in(3) {
                    self.server.restart();
                }
            }
            11 => {
                self.server.deliver_late();
            }
            12 => self.world.advance(Duration::from_secs(self.random.below(900))).await,
            13 => self.world.advance(Duration::from_secs(self.random.below(86_400))).await,
            _ => self.pass().await,
        }
    }

    /// `expire-fast`: ends and closes; the removal works, or is lost.
    async fn end(&mut self, n: u64) {
        let Some(credential) = self.newest(n).await.filter(|credential| credential.subscription.0 > 0) else { return };
        if self.has_open(n).await {
            self.world.execute(&end_sql(&credential)).await;
            if !self.random.one_in(3) {
                self.server.drop_user(TAG, &credential.email);
            }
        }
    }

    async fn pass(&mut self) {
        self.passes += 1;
        let faults = self.random.below(4);
        for _ in 0..faults {
            let kind =
                [Kind::Add, Kind::Remove, Kind::Find, Kind::List][usize::try_from(self.random.below(4)).unwrap()];
            let fault = match (kind, self.random.below(4)) {
                (Kind::List, 0) => Fault::Short(usize::try_from(self.random.below(20)).unwrap()),
                (Kind::Find | Kind::List, _) | (_, 0) => Fault::RequestLost,
                (_, 1) => Fault::AnswerLost,
                (_, 2) => Fault::Late,
                _ => Fault::Lie,
            };
            let times = 1 + usize::try_from(self.random.below(3)).unwrap();
            self.server.fail(kind, times, fault);
        }
        let let_in = self.let_in().await;
        let crash = Rc::new(tokio::sync::Notify::new());
        let crashes = self.random.one_in(3);
        if crashes {
            let (crash, at) = (crash.clone(), usize::try_from(self.random.below(12)).unwrap());
            self.server.at_call(at, move || {
                Box::pin(async move {
                    crash.notify_one();
                    std::future::pending::<()>().await;
                })
            });
        }
        let (both, twice) = ([&self.server], self.random.one_in(4));
        let work = async {
            if twice {
                futures_util::join!(self.one_pass().run(&both), self.one_pass().run(&both));
            } else {
                self.one_pass().run(&both).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = crash.notified() => self.crashes += 1,
        }
        // Disarmed, if the pass did not come that far.
        self.server.has_happened();
        self.server.heal();
        for credential in let_in {
            assert!(self.server.lets_in(TAG, credential.uuid), "{} was let in before the pass", credential.email);
        }
        assert_eq!(*self.cut.borrow(), [] as [String; 0], "removed while in use");
    }

    fn one_pass(&self) -> Pass {
        self.world.pass().limits(None, 100)
    }

    async fn let_in(&self) -> Vec<Credential> {
        let rights = rights(&self.world.client, self.world.now()).await;
        rights.into_iter().filter(|right| self.server.lets_in(TAG, right.uuid)).collect()
    }

    /// Nothing goes wrong any more: an ordinary pass puts right what has the right and what is closed, and two more,
    /// after the grace, what was watched.
    async fn come_to_rest(&self) {
        self.server.deliver_late();
        self.one_pass().run(&[&self.server]).await;
        for right in rights(&self.world.client, self.world.now()).await {
            assert!(self.server.lets_in(TAG, right.uuid), "{} cannot connect", right.email);
        }
        for _ in 0..3 {
            self.world.advance(GRACE).await;
            self.one_pass().run(&[&self.server]).await;
        }
        self.world.assert_both_sides_agree(&self.server, "at rest").await;
        let strangers: Vec<String> =
            self.server.emails(TAG).into_iter().filter(|email| email.starts_with("p.x")).collect();
        assert_eq!(strangers, [] as [String; 0]);
        self.world.assert_at_rest(&[&self.server]).await;
    }
}

#[test]
fn whatever_goes_wrong_nobody_is_cut_and_both_sides_agree_in_the_end() {
    let seed = setting("PERENNIAL_SEED", u64::from_le_bytes(Uuid::new_v4().as_bytes()[..8].try_into().unwrap()));
    let steps = setting("PERENNIAL_SIM_STEPS", STEPS);
    println!("PERENNIAL_SEED={seed} PERENNIAL_SIM_STEPS={steps}");
    db_test(async |db| {
        let mut simulation = Simulation::new(World::new(db).await, seed).await;
        for step in 1..=steps {
            simulation.step().await;
            if step % 50 == 0 {
                simulation.come_to_rest().await;
            }
        }
        simulation.come_to_rest().await;
        println!("{} passes, {} of them crashed", simulation.passes, simulation.crashes);
    });
}
