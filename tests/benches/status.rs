//! `cargo bench -p perennial-tests --bench status [-- SUBSCRIPTIONS…]`: how long `perennial status` takes in a large book, on
//! the screen and with its page of the last 30 days. The bar: a million subscriptions, the page, under 2 s.
//!
//! The program is run as it is, start to exit, and the median of so many runs is printed as a Markdown table, to be put
//! into `docs/performance.md` as it stands.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a report for people

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use perennial_testkit::{TestDb, db_test_unchecked};

const SIZES: [u32; 2] = [100_000, 1_000_000];
const RUNS: usize = 7;
const BOOK: &str = include_str!("status.sql");

fn main() -> anyhow::Result<()> {
    let given: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let program = program()?;
    println!("| subscriptions | screen | page of 30 days |");
    println!("| --- | --- | --- |");
    for subscriptions in if given.is_empty() { SIZES.to_vec() } else { given } {
        let mut outcome = Ok(());
        db_test_unchecked(async |db| outcome = measure(&db, &program, subscriptions).await);
        outcome?;
    }
    Ok(())
}

async fn measure(db: &TestDb, program: &Path, subscriptions: u32) -> anyhow::Result<()> {
    eprintln!("writing a book of {subscriptions} subscriptions …");
    let client = db.client().await;
    for statement in BOOK.replace("$N", &format!("{subscriptions}::bigint")).split(";\n") {
        client.batch_execute(statement).await.with_context(|| statement.to_owned())?;
    }
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("report.html");
    let screen = median(|| status(program, db, &[]))?;
    let with_page = median(|| status(program, db, &["--html", &page.to_string_lossy()]))?;
    println!("| {subscriptions} | {:.2} s | {:.2} s |", screen.as_secs_f64(), with_page.as_secs_f64());
    Ok(())
}

fn status(program: &Path, db: &TestDb, more: &[&str]) -> anyhow::Result<Duration> {
    let mut command = Command::new(program);
    command.arg("status").args(more).env("DATABASE_URL", db.url()).env("PERENNIAL_CONFIG", "/dev/null");
    let begun = Instant::now();
    let output = command.output()?;
    let took = begun.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn median(mut run: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let mut took = (0..RUNS).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    took.sort();
    Ok(took[RUNS / 2])
}

/// The program beside this one, as `make bench` builds it.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.ancestors().nth(2).context("this program lies nowhere")?.join("admin");
    ensure!(
        program.is_file(),
        "{} is missing: cargo build --release -p perennial-admin --bin admin",
        program.display()
    );
    Ok(program)
}
