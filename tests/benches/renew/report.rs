//! What is printed: plain tables that are Markdown, too.

use std::time::Instant;

use crate::space::Space;

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        all if all % 2 == 1 => values[all / 2],
        all => f64::midpoint(values[all / 2 - 1], values[all / 2]),
    }
}

#[allow(clippy::cast_precision_loss)] // of numbers that a benchmark counts, nothing is lost
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A table whose first column is text and the others are numbers.
pub(crate) fn table(head: &[&str], lines: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| match column {
        0 => "-".repeat(*width),
        _ => format!("{}:", "-".repeat(width - 1)),
    });
    let rule = format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    let body: String = lines.iter().map(|cells| line(cells.iter().map(String::as_str).collect())).collect();
    format!("{}{rule}{body}", line(head.to_vec()))
}

const SHOWN: [&str; 8] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "autovacuum",
];

/// The machine and the server: what the figures are worth.
pub(crate) async fn machine(space: &Space) -> anyhow::Result<String> {
    let admin = space.admin().await?;
    let mut shown = Vec::new();
    for name in SHOWN {
        let value: String = admin.query_typed_one(&format!("SHOW {name}"), &[]).await?.try_get(0)?;
        shown.push(format!("{name} {value}"));
    }
    admin.batch_execute("CREATE TABLE IF NOT EXISTS perennial_bench_commit (n int)").await?;
    let mut commits = Vec::new();
    for _ in 0..101 {
        let begun = Instant::now();
        admin.batch_execute("INSERT INTO perennial_bench_commit VALUES (1)").await?;
        commits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    admin.batch_execute("DROP TABLE perennial_bench_commit").await?;
    let mut empty = Vec::new();
    for _ in 0..301 {
        let begun = Instant::now();
        admin.batch_execute("").await?;
        empty.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "{cores} cores, load {}; PostgreSQL: {}. A commit that is flushed takes {:.2} ms, an empty round trip {:.0} µs.\n",
        load.split(' ').next().unwrap_or("?"),
        shown.join(", "),
        median(commits.into_iter()),
        median(empty.into_iter()),
    ))
}
