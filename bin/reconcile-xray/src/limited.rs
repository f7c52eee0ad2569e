//! A limited pass: so many users are changed at most, on all nodes together.
//!
//! All nodes are looked at first, at once; then one after the other is worked on with what the ones before it have left.
//! Of what is to be done there the first part is done: additions, then what shares a UUID, all of it or none (removing
//! one of them cuts the others), then other replacements and removals. The rest is counted.

use perennial_core::allowance::Allowance;
use perennial_core::db::DbError;
use perennial_core::ports::Xray;

use crate::examined::Examined;
use crate::worker::Worker;
use crate::{Absent, Ends, Settings, Summary, examine_all};

/// Looks at all nodes and works on them within the limit.
pub(crate) async fn run<'a, X: Xray + 'a>(
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let mut ends = Ends::default();
    let examined = examine_all(workers, settings, summary).await?;
    act(examined, settings, &mut ends, summary).await;
    ends.first_error()
}

/// Works on nodes that were looked at.
pub(crate) async fn act<'a, X: Xray + 'a>(
    looked_at: Vec<(Worker<'a, X>, Examined)>,
    settings: &Settings<'_>,
    ends: &mut Ends,
    summary: &mut Summary,
) {
    let allowance = Allowance::of(settings.limit);
    for (mut worker, mut examined) in looked_at {
        worker.cut(&mut examined, &allowance);
        let outcome = worker.act(&examined).await;
        allowance.spend(worker.summary.effects());
        ends.take(worker, outcome, settings, summary);
    }
}

impl<X: Xray> Worker<'_, X> {
    /// Leaves of what is to be done what may be done, and counts the rest.
    pub(crate) fn cut(&mut self, examined: &mut Examined, allowance: &Allowance) {
        let restores = self.settings.absent == Absent::Restore;
        self.summary.left = examined.cut_to(allowance.rows(usize::MAX), restores) as u64;
    }
}
