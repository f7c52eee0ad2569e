//! Plans: shown in a dry run, written by `--plan`, done by `--apply`.

use futures_util::stream::{FuturesUnordered, StreamExt};
use perennial_core::allowance::Allowance;
use perennial_core::db::{Database, DbError};
use perennial_core::node::Trouble;
use perennial_core::ports::Xray;
use perennial_core::reconcile::{Missing, Standing};

use crate::examined::Examined;
use crate::limited;
use crate::plan_file::{Action, Item, PlanFile, PlannedNode};
use crate::worker::Worker;
use crate::{Absent, Ends, Settings, Summary, examine_all};

/// Shows what would be done.
pub(crate) async fn show<'a, X: Xray + 'a>(
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let mut ends = Ends::default();
    let allowance = Allowance::of(settings.limit);
    for (mut worker, mut examined) in examine_all(workers, settings, summary).await? {
        worker.cut(&mut examined, &allowance);
        let outcome = worker.show(&examined).await;
        allowance.spend(worker.summary.effects());
        ends.take(worker, outcome, settings, summary);
    }
    ends.first_error()
}

/// Makes the plan.
pub(crate) async fn make<'a, X: Xray + 'a>(
    db: &Database,
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let mut ends = Ends::default();
    let mut nodes = Vec::new();
    for (worker, examined) in examine_all(workers, settings, summary).await? {
        let name = worker.node.name.clone();
        let outcome = match worker.addition_items(&examined.comparison.missing).await {
            Ok(mut items) => {
                items.extend(examined.removal_items(&worker.node.inbounds));
                let listed = examined.comparison.listed;
                nodes.push(PlannedNode { name: name.clone(), listed, brakes: examined.brakes.clone(), items });
                Ok(())
            }
            Err(trouble) => Err(trouble),
        };
        if let Some(why) = examined.refusal() {
            summary.warnings.push(format!("on node {name} a pass would refuse to remove: {why}; --apply will not"));
        }
        ends.take(worker, outcome, settings, summary);
    }
    ends.first_error()?;
    let (database, now) =
        db.run_tx("database_identity", async |tx| Ok((tx.database_identity().await?, tx.now()))).await?;
    summary.plan = Some(PlanFile::new(database, now, nodes));
    Ok(())
}

/// Does what is to be done and stands in the plan, or nothing at all when any part of it is no longer right.
pub(crate) async fn apply<'a, X: Xray + 'a>(
    db: &Database,
    plan: &PlanFile,
    workers: impl Iterator<Item = Worker<'a, X>>,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let (database, now) =
        db.run_tx("database_identity", async |tx| Ok((tx.database_identity().await?, tx.now()))).await?;
    summary.refused = plan.refusal(&database, now);
    if summary.refused.is_some() {
        return Ok(());
    }
    let mut examined = examine_all(workers, settings, summary).await?;
    for node in plan.nodes.iter().filter(|node| !node.items.is_empty()) {
        if !examined.iter().any(|(worker, _)| worker.node.name == node.name) {
            summary.warnings.push(format!("of the plan, node {} is not worked on in this run", node.name));
        }
    }
    summary.refused = examined.iter().find_map(|(worker, examined)| {
        let node = &worker.node;
        plan.node(&node.name).and_then(|planned| examined.objection(planned, &node.inbounds))
    });
    let mut ends = Ends::default();
    if summary.refused.is_some() {
        for (worker, _) in examined {
            ends.take(worker, Ok(()), settings, summary);
        }
        return ends.first_error();
    }
    for (worker, examined) in &mut examined {
        examined.cut_down_to(plan.node(&worker.node.name), &worker.node.inbounds);
        worker.summary.refused_because = examined.refusal();
    }
    if settings.limit.is_some() && !db.is_dry_run() {
        limited::act(examined, settings, &mut ends, summary).await;
        return ends.first_error();
    }
    let work = async |(mut worker, examined): (Worker<'a, X>, Examined)| {
        let outcome = if db.is_dry_run() { worker.show(&examined).await } else { worker.act(&examined).await };
        (worker, outcome)
    };
    let mut parts: FuturesUnordered<_> = examined.into_iter().map(work).collect();
    while let Some((worker, outcome)) = parts.next().await {
        ends.take(worker, outcome, settings, summary);
    }
    ends.first_error()
}

impl<X: Xray> Worker<'_, X> {
    /// Tells what would be done, and counts it as done.
    async fn show(&mut self, examined: &Examined) -> Result<(), Trouble> {
        for chunk in examined.comparison.missing.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            for item in self.addition_items(chunk).await? {
                self.show_item(&item);
            }
        }
        if examined.brakes.is_empty() {
            for item in examined.removal_items(&self.node.inbounds) {
                self.show_item(&item);
            }
        }
        Ok(())
    }

    fn show_item(&mut self, item: &Item) {
        match item.action {
            Action::Add => self.summary.restored += 1,
            Action::Replace => self.summary.replaced += 1,
            Action::Remove => self.summary.removed += 1,
        }
        (self.settings.on_item)(&self.node.name, item);
    }

    /// Additions, as a plan has them: those that are still to be made.
    async fn addition_items(&self, missing: &[Missing]) -> Result<Vec<Item>, Trouble> {
        let mut items = Vec::new();
        if self.settings.absent == Absent::Report {
            return Ok(items);
        }
        for chunk in missing.chunks(self.settings.batch_rows) {
            self.must_have_time()?;
            let known = self.credentials(chunk.iter().map(|missing| missing.credential)).await?;
            items.extend(chunk.iter().filter_map(|missing| {
                let row = known.get(&missing.credential).filter(|row| row.standing == Standing::Entitled)?;
                Some(Item {
                    inbound: self.inbound(missing.inbound).0.0.clone(),
                    email: row.email.clone(),
                    credential: Some(row.id.0),
                    action: Action::Add,
                    reason: "missing".to_owned(),
                })
            }));
        }
        Ok(items)
    }
}
