//! What a due row costs when there are ever more subscriptions that are not due.

use crate::compare::{Due, FIRST_END, MONTH, Run, Way, measure};
use crate::load::{Book, Layout, SCATTERED_ONE_IN};
use crate::options::Options;
use crate::report::{self, median};
use crate::space::{Db, Space};

/// Up to here each run has a copy of its own; beyond it, a window of its own in the same database.
const COPIED_UP_TO: i64 = 100_000;
const WAY: Way = Way::Renew { workers: 1, batch_rows: 200 };
const AT_MOST: f64 = 1.5;

/// Subscriptions in total of each size that is measured.
pub(crate) fn sizes(options: &Options) -> Vec<i64> {
    match (options.quick, options.full) {
        (true, _) => vec![1_000, 110_000],
        (false, false) => vec![10_000, 1_000_000],
        (false, true) => vec![10_000, 1_000_000, 10_000_000],
    }
}

/// The book of a size whose due rows stand like this.
pub(crate) fn book(subscriptions: i64, layout: Layout) -> Book {
    let layout = if subscriptions > COPIED_UP_TO { Layout::Mixed } else { layout };
    Book { subscriptions, layout, first_end: FIRST_END, spread: MONTH }
}

struct Case {
    subscriptions: i64,
    layout: Layout,
    db: Db,
    /// The first window that no run has used yet.
    next: i64,
    runs: Vec<Run>,
}

/// What a due row costs in a larger table (docs/performance.md).
pub(crate) async fn due_rows(space: &Space, options: &Options) -> anyhow::Result<()> {
    let due_rows = if options.quick { 1_000 } else { 10_000 };
    let mut cases = Vec::new();
    for layout in [Layout::Neighbours, Layout::Scattered] {
        for subscriptions in sizes(options) {
            let db = space.loaded(&book(subscriptions, layout)).await?;
            cases.push(Case { subscriptions, layout, db, next: 0, runs: Vec::new() });
        }
    }
    for round in 0..=options.rounds {
        for case in &mut cases {
            let run = case.run(space, due_rows).await?;
            eprintln!(
                "  {} {:?}: {} rows, {:.0} µs a row",
                case.subscriptions,
                case.layout,
                run.rows,
                run.micros_a_row()
            );
            // The first round warms up caches.
            if round > 0 {
                case.runs.push(run);
            }
        }
    }
    for layout in [Layout::Neighbours, Layout::Scattered] {
        let of_layout: Vec<&Case> = cases.iter().filter(|case| case.layout == layout).collect();
        let cost = |case: &Case| median(case.runs.iter().map(Run::micros_a_row));
        let smallest = cost(of_layout[0]);
        let lines = of_layout.iter().map(|case| {
            vec![
                case.subscriptions.to_string(),
                format!("{:.0}", median(case.runs.iter().map(|run| report::float(run.rows)))),
                format!("{:.0}", cost(case)),
                format!("{:.1}", median(case.runs.iter().map(Run::wal_kilobytes_a_row))),
                format!("{:.2}", cost(case) / smallest),
            ]
        });
        println!(
            "### Cost of a due row over size, due rows {}\n",
            match layout {
                Layout::Scattered => "anywhere, no two on a page",
                _ => "in runs of neighbours",
            }
        );
        let head = ["subscriptions", "due", "µs a row", "WAL kB a row", "× smallest"];
        println!("{}", report::table(&head, lines.collect()));
    }
    println!("Bar: at most {AT_MOST} × the smallest.\n");
    Ok(())
}

impl Case {
    async fn run(&mut self, space: &Space, due_rows: i64) -> anyhow::Result<Run> {
        if self.subscriptions <= COPIED_UP_TO {
            let db = space.copy(&self.db).await?;
            let run = measure(&db, WAY, Due::window(FIRST_END, 0, MONTH * due_rows / self.subscriptions)).await?;
            db.drop().await?;
            return Ok(run);
        }
        let book = book(self.subscriptions, self.layout);
        let scattered_all = self.subscriptions / SCATTERED_ONE_IN;
        let (first_end, all) = match self.layout {
            Layout::Scattered => (book.scattered_from(), scattered_all),
            _ => (FIRST_END, self.subscriptions - scattered_all),
        };
        let seconds = MONTH * due_rows / all;
        loop {
            let due = Due::window(first_end, self.next, seconds);
            self.next += 1;
            anyhow::ensure!(self.next * seconds <= MONTH, "all windows of {self_db:?} are used up", self_db = self.db);
            let run = measure(&self.db, WAY, due).await?;
            // A window that an earlier time has used is empty.
            if run.rows > 0 {
                return Ok(run);
            }
        }
    }
}
