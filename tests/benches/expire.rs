//! `cargo bench -p perennial-tests --bench expire [-- USERS…]`: what `expire-fast` makes of the real Xray, next to a bare
//! client at the same concurrency (docs/performance.md).
//!
//! On one server with ten times as many users, so many are taken off, in turn: by a client of plain tonic, sixteen calls
//! under way, no answer asked for again and no database; and by the pass, which also proves by listing that they are gone and
//! writes that down. The pass is timed as a whole from the first removal on, and in its removals alone. Printed as a
//! Markdown table, to be put into `docs/performance.md` as it stands. Wants `scripts/install-xray.sh` to have run.
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss)] // rates of a report; no money
#![allow(clippy::print_stdout)] // a report for people

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use expire_fast::Summary;
use expire_fast::sessions::Sessions;
use futures_util::{StreamExt as _, stream};
use perennial_core::db::{Actor, Database, DatabaseOptions};
use perennial_core::ending::{Brake, EndSettings};
use perennial_core::ids::RunId;
use perennial_core::node::{Inbound, Node};
use perennial_core::ports::{
    Addition, FoundUser, InboundTag, NodeStatus, OnlineUser, Removal, UserList, Xray, XrayError, XrayUser,
};
use perennial_core::share::Share;
use perennial_core::time::{DatabaseClock, Deadline};
use perennial_testkit::bare_xray::BareXray;
use perennial_testkit::db_test_unchecked;
use perennial_testkit::real_xray::{self, RealXray, Setup, Version};
use perennial_xray::{NodeSettings, XrayNode};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const TAG: &str = "vless-in";
const SIZES: [usize; 2] = [1_000, 10_000];
/// As the pass has it.
const IN_FLIGHT: usize = 16;
/// Of each figure the best of so many is taken.
const ROUNDS: usize = 3;
/// For each user that is taken off so many are on the server.
const CROWD: usize = 10;

fn main() -> anyhow::Result<()> {
    let Some(installed) = real_xray::find(Version::V26_10_10)? else { return Ok(()) };
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "| removed | bare client | removals of the pass | over bare | whole pass: removed, proven, recorded | over bare |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for users in if given.is_empty() { SIZES.to_vec() } else { given } {
        let server = RealXray::start(&installed, &Setup::default())?;
        db_test_unchecked(async |db| {
            let row = compare(&db.client().await, db.config(), &server, users).await;
            println!("{}", row.unwrap_or_else(|error| format!("| {users} | failed: {error:#} |")));
        });
    }
    Ok(())
}

async fn compare(
    client: &Client,
    config: tokio_postgres::Config,
    server: &RealXray,
    users: usize,
) -> anyhow::Result<String> {
    let xray = XrayNode::connect(NodeSettings::new("de1", server.address()))?;
    let plain = BareXray::connect(server.address(), TAG).await?;
    put_users(&xray, "other.", users..users * CROWD).await?;
    let (mut bare, mut removals, mut whole) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        put_users(&xray, "p.", 0..users).await?;
        bare = bare.min(remove_barely(&plain, users).await?);
        put_users(&xray, "p.", 0..users).await?;
        load(client, users).await?;
        let took = pass(config.clone(), &xray, users).await?;
        removals = removals.min(took.0);
        whole = whole.min(took.1);
    }
    let rate = |took: Duration| users as f64 / took.as_secs_f64();
    let over = |took: Duration| bare.as_secs_f64() / took.as_secs_f64();
    Ok(format!(
        "| {users} of {} | {:.0}/s | {:.0}/s | {:.2} | {:.0}/s | {:.2} |",
        users * CROWD,
        rate(bare),
        rate(removals),
        over(removals),
        rate(whole),
        over(whole)
    ))
}

async fn put_users(xray: &XrayNode, prefix: &str, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    let tag = InboundTag(TAG.to_owned());
    let add = numbers.map(|n| {
        let user = XrayUser { email: format!("{prefix}{n}"), uuid: Uuid::new_v4(), flow: String::new() };
        let tag = &tag;
        async move { xray.add_user(tag, &user).await }
    });
    let mut added = stream::iter(add).buffer_unordered(IN_FLIGHT);
    while let Some(answer) = added.next().await {
        ensure!(answer? == Addition::Added, "somebody was there before");
    }
    Ok(())
}

async fn remove_barely(plain: &BareXray, users: usize) -> anyhow::Result<Duration> {
    let emails: Vec<String> = (0..users).map(|n| format!("p.{n}")).collect();
    let began = Instant::now();
    let mut calls = stream::iter(&emails).map(|email| plain.remove(email)).buffer_unordered(IN_FLIGHT);
    while let Some(removed) = calls.next().await {
        removed?;
    }
    Ok(began.elapsed())
}

/// So many users whose right has ended, with closed credentials, written past the triggers.
async fn load(client: &Client, users: usize) -> anyhow::Result<()> {
    let last = users - 1;
    for statement in [
        "SET session_replication_role = replica".to_owned(),
        "TRUNCATE subscriptions, credentials, removals, users, nodes, audit_log CASCADE".to_owned(),
        format!("INSERT INTO users (telegram_id) SELECT n + 1 FROM generate_series(0, {last}) n"),
        format!(
            "INSERT INTO credentials (id, telegram_id, email, closed_at)
             SELECT n + 1, n + 1, 'p.' || n, now() FROM generate_series(0, {last}) n"
        ),
        "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, status, starts_at, expires_at, ended_at, \
         anchor_day) SELECT id, 'payment', 'x', id, 'expiring', now() - interval '30 days', now(), now(), 1 FROM credentials"
            .to_owned(),
        "SET session_replication_role = origin".to_owned(),
        "VACUUM ANALYZE credentials, subscriptions, removals".to_owned(),
    ] {
        client.batch_execute(&statement).await.map_err(|error| anyhow!("{statement}: {error:?}"))?;
    }
    Ok(())
}

/// Notes when the first removal was sent and the last answered.
struct Timed<'a> {
    xray: &'a XrayNode,
    first: Cell<Option<Instant>>,
    last: Cell<Option<Instant>>,
}

impl Xray for Timed<'_> {
    async fn list_users(&self, inbound: &InboundTag) -> Result<UserList, XrayError> {
        self.xray.list_users(inbound).await
    }

    async fn find_user(&self, inbound: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError> {
        self.xray.find_user(inbound, email).await
    }

    async fn add_user(&self, inbound: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError> {
        self.xray.add_user(inbound, user).await
    }

    async fn remove_user(&self, inbound: &InboundTag, email: &str) -> Result<Removal, XrayError> {
        if self.first.get().is_none() {
            self.first.set(Some(Instant::now()));
        }
        let answer = self.xray.remove_user(inbound, email).await;
        self.last.set(Some(Instant::now()));
        answer
    }

    async fn status(&self) -> Result<NodeStatus, XrayError> {
        self.xray.status().await
    }

    async fn online(&self, emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError> {
        self.xray.online(emails).await
    }
}

/// How long its removals took, and all of it from the first removal on.
async fn pass(config: tokio_postgres::Config, xray: &XrayNode, users: usize) -> anyhow::Result<(Duration, Duration)> {
    let deadline = Deadline::after(Duration::from_secs(600));
    let options = DatabaseOptions::of(Actor { name: "expire-fast", run_id: RunId::new() });
    let clock = std::sync::Arc::new(DatabaseClock::new());
    let db = Database::connect(config, NoTls, options, clock, deadline.clone())?;
    let inbounds = vec![Inbound { tag: InboundTag(TAG.to_owned()), group: "basic".to_owned(), flow: String::new() }];
    let xray = Timed { xray, first: Cell::default(), last: Cell::default() };
    let nodes = [Node { name: "de1".to_owned(), inbounds, xray }];
    let settings = EndSettings {
        limit: None,
        sources: &["trial", "payment", "grant"],
        grace: Duration::ZERO,
        batch_rows: 500,
        brake: Brake { max_ends: None, max_share: Share::WHOLE },
        observer: &|_| {},
        progress: &|_| {},
    };
    let mut summary = Summary::default();
    let sessions = Sessions::new(Vec::new(), &deadline);
    expire_fast::run(&db, &deadline, &nodes, settings, &sessions, &|_| {}, &mut summary).await?;
    ensure!(summary.report().count("expired") == users as u64, "{summary:?}");
    let Timed { first, last, .. } = &nodes[0].xray;
    let (first, last) = first.get().zip(last.get()).ok_or_else(|| anyhow!("nobody was removed"))?;
    Ok((last - first, first.elapsed()))
}
