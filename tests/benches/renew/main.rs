//! `cargo bench -p perennial-tests --bench renew`: how fast and how small `renew` is (docs/performance.md), measured on a
//! durable server. Everything that is compared runs in one go, in turn, each run on a fresh copy of the same data.
//!
//! Figures are printed as Markdown tables, so that they can be put into `docs/performance.md` as they stand.
#![allow(clippy::float_arithmetic)] // ratios and means of a report; no money
#![allow(clippy::print_stdout, clippy::print_stderr)] // a report for people

mod audited;
mod binary;
mod bulk;
mod compare;
mod load;
mod options;
mod product;
mod report;
mod scale;
mod server;
mod space;

use std::process::{Command, ExitCode};

use anyhow::Context as _;
use options::{Options, Part, USAGE};
use perennial_testkit::{Cluster, ClusterOptions};
use space::Space;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((binary::MEASURE, command)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return binary::measure_here(command);
    }
    let options = match options::parse(words) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        Err(complaint) => {
            eprintln!("renew bench: {complaint}\n\n{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(folder) = &options.keep {
        let server = server::Kept::start(folder)?;
        let status = again_with(&server.url())?;
        server.stop()?;
        return Ok(status);
    }
    if std::env::var_os("DATABASE_URL").is_none_or(|url| url.is_empty()) {
        let cluster = Cluster::start(&ClusterOptions { durable: true, ..ClusterOptions::default() })?;
        let status = again_with(&cluster.url())?;
        cluster.stop()?;
        return Ok(status);
    }
    run(&options)?;
    Ok(ExitCode::SUCCESS)
}

/// This program once more, with the server in its environment.
fn again_with(url: &str) -> anyhow::Result<ExitCode> {
    let words = std::env::args().skip(1);
    let mut arguments = Vec::new();
    let mut skip = false;
    for word in words {
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = word == "--keep";
        if !skip {
            arguments.push(word);
        }
    }
    let program = std::env::current_exe()?;
    let status = Command::new(program).args(arguments).env("DATABASE_URL", url).status()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn run(options: &Options) -> anyhow::Result<()> {
    let space = Space::prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("{}", report::machine(&space).await?);
        for part in &options.parts {
            match part {
                Part::Ways => compare::ways(&space, options).await.context("comparing the ways to renew")?,
                Part::Batches => compare::batches(&space, options).await.context("trying batch sizes")?,
                Part::Scale => scale::due_rows(&space, options).await.context("measuring over size")?,
                Part::Idle => binary::nothing_due(&space, options).await.context("measuring with nothing due")?,
                Part::Memory => binary::memory(&space, options).await.context("measuring memory")?,
            }
        }
        Ok(())
    })
}
