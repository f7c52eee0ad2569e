//! The built program: from its start to its exit, and the memory it took at most.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use time::OffsetDateTime;

use crate::load::{Book, Layout};
use crate::options::Options;
use crate::report::{self, median};
use crate::scale;
use crate::space::{Db, Space};

/// Has this program run another one and measure it. A process's peak memory counts from its fork on, so whoever
/// measures must be small itself; this one, by then, is not.
pub(crate) const MEASURE: &str = "--measure";

const IDLE_RUNS: usize = 21;
const AT_MOST_MILLISECONDS: u32 = 50;
const AT_MOST_MEGABYTES: u32 = 20;

/// Runs a command, and prints microseconds and kilobytes.
pub(crate) fn measure_here(command: &[String]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("nothing to measure")?;
    let begun = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let elapsed = begun.elapsed();
    println!("{} {}", elapsed.as_micros(), peak_of_children()?);
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255)))
}

/// In kilobytes.
#[allow(unsafe_code)] // std does not ask for it
fn peak_of_children() -> anyhow::Result<i64> {
    // SAFETY: `rusage` is plain numbers, for which zeros are fine, and the call writes into ours and nothing else.
    let (answer, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), usage)
    };
    ensure!(answer == 0, "getrusage: {}", std::io::Error::last_os_error());
    Ok(usage.ru_maxrss)
}

/// The program beside this one, as `make bench` builds it.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("this program lies nowhere")?;
    let program = folder.join("renew");
    ensure!(
        program.is_file(),
        "{} is missing: cargo build --release -p perennial-renew --bin renew",
        program.display()
    );
    Ok(program)
}

struct Measured {
    elapsed: Duration,
    megabytes: f64,
}

fn measure(db: &Db, more: &[&str]) -> anyhow::Result<Measured> {
    let output = Command::new(std::env::current_exe()?)
        .arg(MEASURE)
        .arg(program()?)
        .args(more)
        .env("DATABASE_URL", db.url())
        .env("PERENNIAL_CONFIG", "")
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        bail!("renew ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let (micros, kilobytes) = text.trim().split_once(' ').context("nothing was measured")?;
    let kilobytes: u64 = kilobytes.parse()?;
    Ok(Measured { elapsed: Duration::from_micros(micros.parse()?), megabytes: report::float(kilobytes) * 1024.0 / 1e6 })
}

/// Nothing due, start to exit (docs/performance.md).
pub(crate) async fn nothing_due(space: &Space, options: &Options) -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for subscriptions in scale::sizes(options) {
        cases.push((subscriptions, space.loaded(&scale::book(subscriptions, Layout::Neighbours)).await?, Vec::new()));
    }
    for round in 0..=IDLE_RUNS {
        for (_, db, runs) in &mut cases {
            let run = measure(db, &["-q", "--output", "json"])?;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let lines = cases.iter().map(|(subscriptions, _, runs)| {
        let milliseconds = || runs.iter().map(|run| run.elapsed.as_secs_f64() * 1e3);
        vec![
            subscriptions.to_string(),
            format!("{:.1}", median(milliseconds())),
            format!("{:.1}", milliseconds().fold(0.0, f64::max)),
            format!("{:.1}", runs.iter().map(|run| run.megabytes).fold(0.0, f64::max)),
        ]
    });
    println!("### The program with nothing due, start to exit, {IDLE_RUNS} runs\n");
    let head = ["subscriptions", "ms, median", "ms, worst", "peak MB, worst"];
    println!("{}", report::table(&head, lines.collect()));
    println!("Bars: at most {AT_MOST_MILLISECONDS} ms and {AT_MOST_MEGABYTES} MB.\n");
    Ok(())
}

/// Memory over the number of due rows (docs/performance.md).
pub(crate) async fn memory(space: &Space, options: &Options) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let sizes = if options.quick { [1_000, 10_000] } else { [10_000, 500_000] };
    for due in sizes {
        for workers in ["1", "2"] {
            // Due by the server's own clock, which the program goes by: within the hours after the load.
            let book = Book { subscriptions: due, layout: Layout::Scattered, first_end: soon(), spread: 3 * 3600 };
            let db = space.loaded(&book).await?;
            let run = measure(&db, &["-q", "--output", "json", "--max-seconds", "3600", "--workers", workers])?;
            let left = "SELECT count(*) FROM subscriptions WHERE last_auto_renewal_at IS NULL";
            let left: i64 = db.client().await?.query_typed_one(left, &[]).await?.try_get(0)?;
            ensure!(left == 0, "{left} of {due} rows were not renewed");
            lines.push(vec![
                due.to_string(),
                workers.to_owned(),
                format!("{:.1}", run.elapsed.as_secs_f64()),
                format!("{:.0}", report::float(due.unsigned_abs()) / run.elapsed.as_secs_f64()),
                format!("{:.1}", run.megabytes),
            ]);
            db.drop().await?;
        }
    }
    println!("### The program's memory over the number of due rows\n");
    println!("{}", report::table(&["due rows", "workers", "seconds", "rows/s", "peak MB"], lines));
    Ok(())
}

/// Two hours from now, by this machine's clock, which is the server's, too.
#[allow(clippy::disallowed_methods)] // it is the machine's clock that the server shows
fn soon() -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::hours(2)
}
