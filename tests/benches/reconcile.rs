//! `cargo bench -p perennial-tests --bench reconcile [-- USERS…]`: what `reconcile-xray` costs where nothing differs
//! (docs/performance.md), next to the least that any comparison needs: listing the node, and reading the table in order.
//!
//! Each figure is that of a process of its own, in turn, over the same database and the same server, which is the
//! testkit's: a million users fit in it. Printed as a Markdown table, to be put into `docs/performance.md` as it stands.
#![allow(clippy::float_arithmetic)] // ratios of a report; no money
#![allow(clippy::print_stdout)] // a report for people

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{StreamExt as _, pin_mut};
use perennial_core::db::{Actor, Database, DatabaseOptions};
use perennial_core::ids::RunId;
use perennial_core::node::{Inbound, Node};
use perennial_core::ports::{InboundTag, Xray as _};
use perennial_core::reconcile::Owners;
use perennial_core::share::Share;
use perennial_core::time::{DatabaseClock, Deadline};
use perennial_testkit::db_test_unchecked;
use perennial_testkit::fake_xray::{FakeXray, Kind};
use perennial_xray::{NodeSettings, XrayNode};
use reconcile_xray::brakes::Limits;
use reconcile_xray::{Absent, Effect, Settings, Summary};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const TAG: &str = "vless-in";
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Of each figure the best of so many is taken.
const ROUNDS: usize = 3;
/// The first argument of a process that measures.
const MEASURE: &str = "--measure";

/// What is measured.
const LISTING: &str = "listing";
const READING: &str = "reading";
const PASS: &str = "pass";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let [first, what, database, server] = arguments.as_slice()
        && first == MEASURE
    {
        return runtime.block_on(measure(what, database, server));
    }
    let sizes: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    println!("| users | listing | ordered read | pass | pass over both | peak memory of the pass |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for users in if sizes.is_empty() { SIZES.to_vec() } else { sizes } {
        db_test_unchecked(async |db| {
            let row = compare(&db.client().await, db.url(), users).await;
            println!("{}", row.unwrap_or_else(|error| format!("| {users} | failed: {error:#} |")));
        });
    }
    Ok(())
}

async fn compare(client: &Client, database: &str, users: usize) -> anyhow::Result<String> {
    load(client, users).await?;
    let server = FakeXray::start()?;
    let rows = client.query_typed_raw("SELECT email, uuid FROM credentials", Vec::<(&str, Type)>::new()).await?;
    pin_mut!(rows);
    while let Some(row) = rows.next().await {
        let row = row?;
        server.put_user(TAG, row.get(0), row.get(1), "");
    }
    let mut best = [Duration::MAX; 3];
    let mut memory = 0;
    for _ in 0..ROUNDS {
        for (best, what) in best.iter_mut().zip([LISTING, READING, PASS]) {
            let (took, kilobytes) = measured(what, database, &server)?;
            *best = took.min(*best);
            memory = if what == PASS { kilobytes.max(memory) } else { memory };
        }
    }
    ensure!(server.count(Kind::Add) + server.count(Kind::Remove) == 0, "a pass has changed something");
    let [listing, reading, pass] = best;
    let ratio = pass.as_secs_f64() / (listing + reading).as_secs_f64();
    Ok(format!("| {users} | {listing:.2?} | {reading:.2?} | {pass:.2?} | {ratio:.2} | {} MB |", memory / 1024))
}

/// So many users, each with a paid subscription, written past the triggers.
async fn load(client: &Client, users: usize) -> anyhow::Result<()> {
    let sql = format!(
        "SET session_replication_role = replica;
         INSERT INTO users (telegram_id) SELECT generate_series(1, {users});
         INSERT INTO credentials (id, telegram_id, email) SELECT telegram_id, telegram_id, 'p.' || telegram_id FROM users;
         INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at, anchor_day)
         SELECT id, 'payment', 'basic_1m', id, now() - interval '1 day', now() + interval '20 days', 1 FROM credentials;
         SET session_replication_role = origin;
         VACUUM ANALYZE users; VACUUM ANALYZE credentials; VACUUM ANALYZE subscriptions"
    );
    for statement in sql.split(';') {
        client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
    }
    Ok(())
}

/// Measures in a process of its own: how long, and its peak memory in kilobytes.
fn measured(what: &str, database: &str, server: &FakeXray) -> anyhow::Result<(Duration, u64)> {
    let output = Command::new(std::env::current_exe()?).args([MEASURE, what, database, &server.address()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {text}{errors}");
    let mut figures = text.split_whitespace().map(str::parse::<u64>);
    let mut figure = || figures.next().and_then(Result::ok).ok_or_else(|| anyhow!("{what} said {text:?}"));
    Ok((Duration::from_micros(figure()?), figure()?))
}

async fn measure(what: &str, database: &str, server: &str) -> anyhow::Result<()> {
    let config: tokio_postgres::Config = database.parse()?;
    let mut settings = NodeSettings::new("de1", server);
    settings.max_list_bytes = 1 << 30;
    let xray = XrayNode::connect(settings)?;
    let began = Instant::now();
    match what {
        LISTING => {
            xray.list_users(&InboundTag(TAG.to_owned())).await?;
        }
        READING => read(config).await?,
        _ => pass(config, xray).await?,
    }
    println!("{} {}", began.elapsed().as_micros(), peak_kilobytes()?);
    Ok(())
}

/// The least that has to be read: who is known, in the order of the list.
async fn read(config: tokio_postgres::Config) -> anyhow::Result<()> {
    let (client, connection) = config.connect(NoTls).await?;
    let read = async {
        let sql = "SELECT id, email, uuid, access_group, closed_at FROM credentials ORDER BY email";
        let rows = client.query_typed_raw(sql, Vec::<(&(dyn ToSql + Sync), Type)>::new()).await?;
        pin_mut!(rows);
        let mut bytes = 0;
        while let Some(row) = rows.next().await {
            let row = row?;
            let (email, uuid): (&str, Uuid) = (row.try_get(1)?, row.try_get(2)?);
            bytes += email.len() + uuid.as_bytes().len();
        }
        anyhow::Ok(bytes)
    };
    tokio::select! {
        bytes = read => ensure!(bytes? > 0, "the table is empty"),
        ended = connection => ended?,
    }
    Ok(())
}

async fn pass(config: tokio_postgres::Config, xray: XrayNode) -> anyhow::Result<()> {
    let options = DatabaseOptions::of(Actor { name: "reconcile-xray", run_id: RunId::new() });
    let deadline = Deadline::after(Duration::from_secs(600));
    let clock = std::sync::Arc::new(DatabaseClock::new());
    let db = Database::connect(config, NoTls, options, clock, deadline.clone())?;
    let inbounds = vec![Inbound { tag: InboundTag(TAG.to_owned()), group: "basic".to_owned(), flow: String::new() }];
    let nodes = [Node { name: "de1".to_owned(), inbounds, xray }];
    let settings = Settings {
        owners: Owners::new("p.", &[]),
        absent: Absent::Restore,
        orphan_grace: Duration::from_secs(600),
        limits: Limits { max_removals: None, max_share: Share::percent(20) },
        batch_rows: 200,
        effect: Effect::All,
        limit: None,
        on_item: &|_, _| {},
        on_node: &|_| {},
    };
    let mut summary = Summary::default();
    reconcile_xray::run(&db, &deadline, &nodes, &settings, &mut summary).await?;
    let node = summary.nodes.first().ok_or_else(|| anyhow!("no node"))?;
    ensure!(node.listed == node.entitled && node.missing == 0 && node.error.is_none(), "{node:?}");
    Ok(())
}

fn peak_kilobytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or_default().trim().trim_end_matches(" kB").parse()?)
}
