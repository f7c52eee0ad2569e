//! What the tests by force share: a living service, two fake Xray servers, a fake Telegram, and the built programs as
//! processes that can be killed, suspended, and led to the database by other ways.
#![allow(dead_code, unreachable_pub)] // a part of every test file, which uses a part of it
#![allow(clippy::unwrap_used)] // what does not work fails the test

pub mod outcome;
pub mod population;
pub mod proxy;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use perennial_testkit::TestDb;
use perennial_testkit::fake_telegram::{FakeTelegram, TOKEN};
use perennial_testkit::fake_xray::FakeXray;
use perennial_testkit::program::bare;
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

/// The four passes.
pub const PASSES: [&str; 4] = ["renew", "notify-trials", "expire-fast", "reconcile-xray"];
/// The inbound of each fake server.
pub const TAG: &str = "vless-in";
const NO_BRAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fire_support/no_brake.toml");

/// One of the built programs.
///
/// # Panics
/// When it is missing or was built without the points that tests have it die at.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join(name);
    let built = std::fs::read(&program).unwrap_or_default();
    let point = b"tx.before_commit";
    assert!(
        name == "admin" || built.windows(point.len()).any(|window| window == point),
        "{} is missing, or has no crash points: cargo build --workspace --bins --features perennial-core/crash-points",
        program.display()
    );
    program
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A service: its database, its servers, its bot.
pub struct Service {
    pub client: Client,
    pub nodes: [FakeXray; 2],
    pub telegram: FakeTelegram,
    /// How the programs reach the database, the servers, and Telegram.
    pub url: String,
    /// Each by a way of its own, as long as `url` is that of the test's database.
    pub db: Option<TestDb>,
    pub addresses: [String; 2],
    pub telegram_api: String,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub summary: Value,
    pub errors: String,
    pub seconds: f64,
}

impl Ended {
    /// The exit code; none: killed.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    fn of(output: Output, began: Instant) -> Self {
        let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status, summary, errors, seconds: began.elapsed().as_secs_f64() }
    }
}

impl Service {
    /// With nothing in it.
    pub async fn at(url: &str) -> Self {
        let nodes = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        let telegram = FakeTelegram::start().unwrap();
        let addresses = [nodes[0].address(), nodes[1].address()];
        let telegram_api = telegram.api();
        Self { client: connect(url).await, nodes, telegram, url: url.to_owned(), db: None, addresses, telegram_api }
    }

    /// On a test's own database, with nothing in it; programs reach it by the way of passes.
    pub async fn of(db: &TestDb) -> Self {
        Self { db: Some(db.clone()), ..Self::at(db.url()).await }
    }

    /// A pass with all it needs, and nothing else of this process's environment.
    pub fn command(&self, pass: &str) -> Command {
        let mut command = bare(program(pass));
        let own = self.db.as_ref().filter(|db| db.url() == self.url);
        let url = own.map_or_else(|| self.url.clone(), |db| db.passes_url(pass));
        // It has no flag for the brake on ends.
        let config = if pass == "notify-trials" { NO_BRAKE } else { "/dev/null" };
        command.env("DATABASE_URL", url).args(["--config", config]);
        if pass == "admin" {
            return command;
        }
        command.args(["--output", "json"]);
        command.env("PERENNIAL_TELEGRAM_API", &self.telegram_api).env("PERENNIAL_TELEGRAM_TOKEN", TOKEN);
        if matches!(pass, "expire-fast" | "reconcile-xray") {
            let nodes = (1..).zip(&self.addresses).map(|(n, address)| format!("n{n}={address}#{TAG}"));
            command.env("PERENNIAL_XRAY", nodes.collect::<Vec<_>>().join(" "));
        }
        command
    }

    /// Runs a pass to its end.
    pub fn run(&self, pass: &str, arguments: &[&str]) -> Ended {
        end(self.command(pass).args(arguments))
    }

    /// Starts a pass and leaves it to the caller.
    pub fn start(&self, pass: &str, arguments: &[&str]) -> Running {
        begin(self.command(pass).args(arguments))
    }

    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let sql = format!("SELECT ({sql})::bigint");
        self.client.query_typed_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Puts the moment behind us until which a dead process holds what it held.
    pub async fn leases_end(&self) {
        self.execute(
            "UPDATE nodes SET leased_until = now() WHERE leased_until > now();
             UPDATE notices SET lease_until = now() WHERE status = 'sending' AND lease_until > now();
             UPDATE pace SET next_free_at = least(next_free_at, now())",
        )
        .await;
    }
}

/// A program under way.
pub struct Running {
    child: Child,
    began: Instant,
}

pub fn begin(command: &mut Command) -> Running {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Running { child, began: Instant::now() }
}

pub fn end(command: &mut Command) -> Ended {
    begin(command).wait()
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As `kill -9`.
    pub fn kill(mut self) -> Ended {
        // It may have ended by itself a moment ago.
        drop(self.child.kill());
        self.wait()
    }

    pub fn wait(self) -> Ended {
        Ended::of(self.child.wait_with_output().unwrap(), self.began)
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Suspended by itself, at a point of `PERENNIAL_STOP_AT`.
    pub fn is_suspended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {name}");
    }
}

/// Asks again and again, for at most a minute.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came about: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
