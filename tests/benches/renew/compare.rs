//! `renew` against the audited way and against one bulk statement, and batch sizes and workers against each other.

use std::time::{Duration, Instant};

use anyhow::ensure;
use perennial_core::time::Timestamp;
use time::macros::datetime;
use tokio_postgres::Client;

use crate::audited::{self, Commit};
use crate::load::{Book, Layout};
use crate::options::Options;
use crate::report::{self, median};
use crate::space::{Db, Space};
use crate::{bulk, product, server};

/// Ends of loaded books begin here: far from any server's own clock.
pub(crate) const FIRST_END: Timestamp = datetime!(2031-01-01 00:00 UTC);
/// A month of ends, in seconds.
pub(crate) const MONTH: i64 = 30 * 86_400;

const AT_LEAST_AUDITED: f64 = 30.0;
const AT_LEAST_BULK: f64 = 0.7;

/// When the pass runs and what it takes for due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) now: Timestamp,
    pub(crate) window: Duration,
    pub(crate) grace: Duration,
}

impl Due {
    /// The `nth` window of so many seconds from `first_end` on.
    pub(crate) fn window(first_end: Timestamp, nth: i64, seconds: i64) -> Self {
        // Just before the first end, for a window begins after its first moment.
        let now = first_end + time::Duration::seconds(nth * seconds - 1);
        Self { now, window: Duration::from_secs(seconds.unsigned_abs()), grace: Duration::ZERO }
    }
}

/// A way to renew what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Audited(Commit),
    Bulk { connections: usize, batch_rows: i64 },
    Renew { workers: usize, batch_rows: usize },
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Audited(Commit::EachUser) => "audited way, a transaction a user".into(),
            Self::Audited(Commit::EachBatch) => "audited way, a transaction a hundred".into(),
            Self::Bulk { connections, batch_rows } => {
                format!("one statement a batch of {batch_rows}, {}", connections_text(connections))
            }
            Self::Renew { workers, batch_rows } => {
                format!("`renew`, batches of {batch_rows}, {}", connections_text(workers))
            }
        }
    }
}

fn connections_text(number: usize) -> String {
    format!("{number} connection{}", if number == 1 { "" } else { "s" })
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) wal_bytes: i64,
    /// What all processes of the server worked; a busy machine does not change it much.
    pub(crate) server_seconds: f64,
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        report::float(self.rows) / self.seconds
    }

    pub(crate) fn micros_a_row(&self) -> f64 {
        1e6 / self.rate()
    }

    pub(crate) fn server_micros_a_row(&self) -> f64 {
        self.server_seconds * 1e6 / report::float(self.rows)
    }

    pub(crate) fn wal_kilobytes_a_row(&self) -> f64 {
        report::float(self.wal_bytes.unsigned_abs()) / report::float(self.rows) / 1000.0
    }
}

/// Runs a way over what is due in this database, right after a checkpoint.
pub(crate) async fn measure(db: &Db, way: Way, due: Due) -> anyhow::Result<Run> {
    let client = db.client().await?;
    client.batch_execute("CHECKPOINT").await?;
    let wal = wal_position(&client).await?;
    let postmaster = server::postmaster(&client).await?;
    let worked = server::cpu_seconds(postmaster);
    let begun = Instant::now();
    let rows = match way {
        Way::Audited(commit) => audited::run(db, due, commit).await?,
        Way::Bulk { connections, batch_rows } => bulk::run(db, due, connections, batch_rows).await?,
        Way::Renew { workers, batch_rows } => product::run(db, due, workers, batch_rows).await?,
    };
    let seconds = begun.elapsed().as_secs_f64();
    let server_seconds = server::cpu_seconds(postmaster) - worked;
    Ok(Run { rows, seconds, wal_bytes: wal_position(&client).await? - wal, server_seconds })
}

async fn wal_position(client: &Client) -> anyhow::Result<i64> {
    let query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    Ok(client.query_typed_one(query, &[]).await?.try_get(0)?)
}

/// All that a renewal writes, but for ids and the moment of writing.
const WRITTEN: &str = "SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
    SELECT concat_ws('|', 't', idempotency_key, kind, debit_account, credit_account, amount_kopecks) AS line FROM transfers
    UNION ALL SELECT concat_ws('|', 'a', id, balance_kopecks) FROM accounts
    UNION ALL SELECT concat_ws('|', 's', id, status, expires_at, credential_id, last_auto_renewal_at) FROM subscriptions
    UNION ALL SELECT concat_ws('|', 'p', p.subscription_id, p.tariff, p.period_start, p.period_end, p.amount_kopecks,
        t.idempotency_key) FROM payments p LEFT JOIN transfers t ON t.id = p.transfer_id
    UNION ALL SELECT concat_ws('|', 'n', telegram_id, kind, dedupe_key, params, subscription_id, status, urgent,
        useless_after) FROM notices
    UNION ALL SELECT concat_ws('|', 'l', actor, action, telegram_id, subscription_id, before, after, reason) FROM audit_log
) lines";

/// Every way once a round, in turn, each on a fresh copy. All must write the same.
async fn in_turn(space: &Space, of: &Db, ways: &[Way], due: Due, rounds: usize) -> anyhow::Result<Vec<Vec<Run>>> {
    let mut runs = vec![Vec::new(); ways.len()];
    let mut written: Option<String> = None;
    for round in 0..rounds {
        for nth in 0..ways.len() {
            // Not always in the same order: what comes after whom must not matter.
            let nth = (nth + round) % ways.len();
            let db = space.copy(of).await?;
            let run = measure(&db, ways[nth], due).await?;
            let digest: String = db.client().await?.query_typed_one(WRITTEN, &[]).await?.try_get(0)?;
            let first = written.get_or_insert_with(|| digest.clone());
            ensure!(*first == digest, "{} wrote other rows than the way before it", ways[nth].name());
            let (rate, cpu) = (run.rate(), run.server_micros_a_row());
            eprintln!("  {}: {} rows, {rate:.0} rows/s, server's CPU {cpu:.0} µs a row", ways[nth].name(), run.rows);
            runs[nth].push(run);
            db.drop().await?;
        }
    }
    Ok(runs)
}

/// The book that ways are compared on, and what is due of it.
async fn ground(space: &Space, options: &Options) -> anyhow::Result<(Db, Due)> {
    let (subscriptions, due) = if options.quick { (5_000, 500) } else { (100_000, 10_000) };
    let book = Book { subscriptions, layout: Layout::Neighbours, first_end: FIRST_END, spread: MONTH };
    let db = match &options.ground {
        Some(given) => space.named(given),
        None => space.loaded(&book).await?,
    };
    Ok((db, Due::window(FIRST_END, 0, MONTH * due / subscriptions)))
}

/// `renew` over the audited way and one bulk statement a batch (docs/performance.md).
pub(crate) async fn ways(space: &Space, options: &Options) -> anyhow::Result<()> {
    let (of, due) = ground(space, options).await?;
    let mut ways = vec![Way::Audited(Commit::EachUser), Way::Audited(Commit::EachBatch)];
    for number in [1, 2] {
        for batch in [100_u16, 200, 500] {
            ways.push(Way::Renew { workers: number, batch_rows: batch.into() });
            ways.push(Way::Bulk { connections: number, batch_rows: batch.into() });
        }
    }
    ways.retain(|way| way.name().contains(&options.matching));
    let runs = in_turn(space, &of, &ways, due, options.rounds).await?;
    let rate = |way: Way| {
        let nth = ways.iter().position(|other| *other == way);
        nth.map_or(f64::NAN, |nth| median(runs[nth].iter().map(Run::rate)))
    };
    let audited = rate(Way::Audited(Commit::EachUser));
    let lines = ways.iter().zip(&runs).map(|(way, runs)| {
        let bulk = match *way {
            Way::Renew { workers, batch_rows } => {
                let bulk =
                    Way::Bulk { connections: workers, batch_rows: i64::try_from(batch_rows).unwrap_or(i64::MAX) };
                format!("{:.2}", rate(*way) / rate(bulk))
            }
            _ => String::new(),
        };
        vec![
            way.name(),
            format!("{:.0}", rate(*way)),
            format!("{:.0}", median(runs.iter().map(Run::micros_a_row))),
            format!("{:.0}", median(runs.iter().map(Run::server_micros_a_row))),
            format!("{:.1}", median(runs.iter().map(Run::wal_kilobytes_a_row))),
            format!("{:.1}", rate(*way) / audited),
            bulk,
        ]
    });
    let rows = runs.iter().flatten().map(|run| run.rows).max().unwrap_or_default();
    println!("### The audited way, one bulk statement, `renew`: {rows} rows due\n");
    let head = ["way", "rows/s", "µs a row", "server's CPU", "WAL kB a row", "× audited", "of bulk"];
    println!("{}", report::table(&head, lines.collect()));
    println!("Bars: at least {AT_LEAST_AUDITED} × the audited way, at least {AT_LEAST_BULK} of bulk.\n");
    Ok(())
}

/// Which batch size is best, and what workers bring.
pub(crate) async fn batches(space: &Space, options: &Options) -> anyhow::Result<()> {
    let (of, due) = ground(space, options).await?;
    let (sizes, workers): (&[usize], &[usize]) =
        if options.quick { (&[100, 500], &[1, 2]) } else { (&[50, 100, 200, 300, 500, 1000], &[1, 2, 4]) };
    let ways: Vec<Way> = sizes
        .iter()
        .flat_map(|batch_rows| workers.iter().map(|workers| Way::Renew { workers: *workers, batch_rows: *batch_rows }))
        .collect();
    let runs = in_turn(space, &of, &ways, due, options.rounds).await?;
    let rates: Vec<f64> = runs.iter().map(|runs| median(runs.iter().map(Run::rate))).collect();
    let lines = sizes.iter().zip(rates.chunks(workers.len())).map(|(size, rates)| {
        let cells = rates.iter().map(|rate| format!("{rate:.0}"));
        std::iter::once(size.to_string()).chain(cells).collect()
    });
    println!("### Batch size and workers, rows/s\n");
    let head: Vec<String> = std::iter::once("batch size".to_owned())
        .chain(workers.iter().map(|number| format!("{number} worker{}", if *number == 1 { "" } else { "s" })))
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    println!("{}", report::table(&head, lines.collect()));
    Ok(())
}
