//! Removal with proof: steps 2 to 4 of the access protocol (docs/access-protocol.md).
//!
//! Each server is worked on by itself, all at once, so that one that is down or hangs holds up no other. One copy at a
//! time leases a server and goes through the closing credentials not proven gone from it: remove from every inbound of
//! their group, then **ask**. The answer to a removal is not believed, good or bad; only absence when asked afterwards
//! is a proof, and it is kept, so that a dead server costs only its own retries. A row is `expired` when its credential
//! is proven gone from every server that is not retired.
//!
//! Only closed credentials are ever removed here, and a closed credential is never granted again. So a removal that
//! arrives late, twice or after a crash can hurt nobody, and nothing has to be put back.

mod start;
mod summary;
mod visit;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};

use crate::allowance::Allowance;
use crate::crash_point;
use crate::db::{Closing, ClosingKey, Database, DbError, NodeRow};
use crate::ids::CredentialId;
use crate::node::{Node, Trouble};
use crate::page::{Listed, Page};
use crate::ports::{Xray, XrayError};
use crate::time::Deadline;
use start::{LATE_COMMITS, Start};
pub use summary::{NodeSummary, Part, RemovalSummary};
use visit::Visit;

/// So many users are removed, or for so long, before all of them are asked for together.
const ROUND_USERS: usize = 10_000;
const ROUND_LIMIT: Duration = Duration::from_secs(5);
/// A copy that dies leaves its server leased for so long.
const LEASE: Duration = Duration::from_secs(20);
/// How long a list of users may take: a million take 4 s.
const LIST_LIMIT: Duration = Duration::from_secs(15);
/// Pause before a leased server is looked at again.
const LEASED_PAUSE: Duration = Duration::from_millis(200);

/// Told of credentials just proven gone from a server: for sessions that live on there.
#[allow(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait AfterRemoval<X> {
    /// Called with no connection held, before the proofs are recorded; must keep its own deadline.
    async fn removed(&self, node: &Node<X>, credentials: &[Closing]);
}

/// How to remove.
#[derive(Clone, Copy)]
pub struct RemovalSettings<'a, A> {
    /// Credentials a transaction.
    pub batch_rows: usize,
    /// Credentials at most from each server; none: all that are closing.
    pub limit: Option<u64>,
    /// Told of what was proven gone.
    pub after: &'a A,
    /// Told again and again what a server's part has done so far: for the summary of a pass that is stopped hard.
    pub progress: &'a dyn Fn(&Part),
}

/// Removes closing credentials from all servers, proves it and confirms.
///
/// # Errors
/// The database's. A server's trouble is in its part of the summary.
pub async fn remove_closing<X: Xray, A: AfterRemoval<X>>(
    db: &Database,
    deadline: &Deadline,
    nodes: &[Node<X>],
    settings: RemovalSettings<'_, A>,
    summary: &mut RemovalSummary,
) -> Result<(), DbError> {
    let RemovalSettings { batch_rows, limit, after, progress } = settings;
    let groups = db.run_tx("closing_groups", async |tx| tx.closing_groups().await).await?;
    let is_served = |group: &str| nodes.iter().any(|node| node.inbounds_of(group).next().is_some());
    summary.unserved_groups = groups.iter().filter(|group| !is_served(group)).cloned().collect();
    let pass = Pass { db, deadline, batch_rows, limit, groups, after, progress };
    let (known, now) = db.run_tx("list_nodes", async |tx| Ok((tx.list_nodes().await?, tx.now()))).await?;
    let start = |node: &Node<X>| Start::of(known.iter().find(|row| row.name == node.name), now);
    let mut parts = nodes.iter().map(|node| pass.work_on(node, start(node))).collect::<stream::FuturesUnordered<_>>();
    let mut first_error = None;
    while let Some((part, outcome)) = parts.next().await {
        summary.merge(part);
        if let Err(error) = outcome {
            first_error.get_or_insert(error);
        }
    }
    // They came as they ended.
    summary.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(error) = first_error {
        return Err(error);
    }
    pass.confirm_rest(known, summary).await
}

struct Pass<'a, A> {
    db: &'a Database,
    deadline: &'a Deadline,
    batch_rows: usize,
    limit: Option<u64>,
    /// Of all that is closing.
    groups: Vec<String>,
    after: &'a A,
    progress: &'a dyn Fn(&Part),
}

impl<A> Pass<'_, A> {
    async fn work_on<X: Xray>(&self, node: &Node<X>, start: Start) -> (Part, Result<(), DbError>)
    where
        A: AfterRemoval<X>,
    {
        let summary = NodeSummary { name: node.name.clone(), ..NodeSummary::default() };
        let mut part = Part { node: summary, ..Part::default() };
        let outcome = match self.prove_unserved(node, start, &mut part).await {
            Ok(()) => self.sweep_leased(node, start, &mut part).await,
            failed => failed,
        };
        (part, outcome)
    }

    /// A credential of a group that a server does not serve was never put there: nothing to ask, also when it is down.
    async fn prove_unserved<X>(&self, node: &Node<X>, start: Start, part: &mut Part) -> Result<(), DbError> {
        let is_unserved = |group: &str| node.inbounds_of(group).next().is_none();
        if !self.groups.iter().any(|group| is_unserved(group)) {
            return Ok(());
        }
        let mut pages = start.pages(self.batch_rows);
        while let Some(page) = pages.next().filter(|_| !self.deadline.is_over()) {
            let closing = self.db.run_tx("list_closing", async |tx| tx.list_closing(&page, &node.name).await).await?;
            let unserved = closing.iter().filter(|closing| is_unserved(&closing.access_group));
            let ids: Vec<CredentialId> = unserved.map(|closing| closing.key.id).collect();
            self.keep_proofs(node, &ids, part).await?;
            pages = page.listed(&closing);
        }
        Ok(())
    }

    /// Sweeps the server under its lease until nothing is closing on it that was not there at the last sweep.
    async fn sweep_leased<X: Xray>(&self, node: &Node<X>, start: Start, part: &mut Part) -> Result<(), DbError>
    where
        A: AfterRemoval<X>,
    {
        let name = &node.name;
        let first = loop {
            if self.deadline.is_over() {
                part.cut_short = true;
                return Ok(());
            }
            let Some(first) = self.first(node, start).await? else {
                return self.keep_start(name, start).await;
            };
            if self.db.run_tx("lease_node", async |tx| tx.lease_node(name, tx.now() + LEASE).await).await? {
                break first;
            }
            if let Some(why) = self.left_alone(name).await? {
                part.node.error = Some(why);
                part.node.reachable = Some(false);
                return Ok(());
            }
            // Another copy is at it. When it has finished, its proofs leave us an empty page.
            tokio::time::sleep(LEASED_PAUSE).await;
        };
        let mut visit = Visit::new(node);
        let outcome = self.sweep(&mut visit, node, first, part).await;
        let settled = self.settle(outcome, part);
        let failed = part.node.reachable == Some(false);
        part.node.error = part.node.error.take().or_else(|| visit.trouble());
        let released = self
            .db
            .run_tx("release_node", async |tx| {
                let failures =
                    tx.list_nodes().await?.into_iter().find(|row| row.name == *name).map_or(0, |row| row.failures);
                tx.release_node(name, failed.then(|| tx.now() + backoff(failures))).await
            })
            .await;
        settled?;
        released?;
        let is_whole = part.node.error.is_none() && part.node.still_there == 0 && !part.cut_short && !part.at_limit;
        if is_whole { self.keep_start(name, start).await } else { Ok(()) }
    }

    /// All that was closed before now is proven gone: the next passes need not look through it again.
    async fn keep_start(&self, name: &str, start: Start) -> Result<(), DbError> {
        if !start.is_old {
            return Ok(());
        }
        let kept =
            self.db.run_tx("keep_start", async |tx| tx.keep_start(name, tx.now() - LATE_COMMITS, start.is_whole).await);
        kept.await
    }

    /// Why nobody may contact the server now, if so.
    async fn left_alone(&self, name: &str) -> Result<Option<String>, DbError> {
        self.db
            .run_tx("list_nodes", async |tx| {
                let now = tx.now();
                let row = tx.list_nodes().await?.into_iter().find(|row| row.name == name);
                Ok(row.and_then(|row| match row.next_try_at {
                    _ if row.retired_at.is_some() => Some(format!("{name}: was retired")),
                    Some(at) if at > now => {
                        let wait = (at - now).whole_seconds().max(1);
                        Some(format!("{name}: left alone for {wait} s more after {} failed contacts", row.failures))
                    }
                    _ => None,
                }))
            })
            .await
    }

    /// Takes over how the work on a server ended. Only the database's trouble is everybody's.
    fn settle(&self, outcome: Result<(), Trouble>, part: &mut Part) -> Result<(), DbError> {
        part.node.reachable = Some(true);
        match outcome {
            Ok(()) => {}
            Err(Trouble::Database(error)) => return Err(error),
            Err(Trouble::OutOfTime) => part.cut_short = true,
            // The call was given up by us. The next pass is a minute away; leaving the server alone would cost more.
            Err(Trouble::Node(XrayError::Unknown { .. })) if self.deadline.is_over() => {
                part.node.reachable = None;
                part.cut_short = true;
            }
            Err(Trouble::Node(error)) => {
                log::warn!(node = part.node.name.as_str(), error:% = error; "a node cannot be worked on");
                // Who refuses has answered.
                let answers = matches!(error, XrayError::Misconfigured { .. } | XrayError::Refused { .. });
                part.node.reachable = Some(answers);
                part.node.error = Some(error.to_string());
            }
        }
        Ok(())
    }

    /// The first credential that is not proven gone.
    async fn first<X>(&self, node: &Node<X>, start: Start) -> Result<Option<ClosingKey>, DbError> {
        let Some(page) = start.pages(1).next() else { return Ok(None) };
        let list = self.db.run_tx("list_closing", async |tx| tx.list_closing(&page, &node.name).await);
        Ok(list.await?.first().map(Listed::key))
    }

    /// Round after round: remove pages of users, ask for all of them at once, keep what is proven.
    async fn sweep<X: Xray>(
        &self,
        visit: &mut Visit<'_, X>,
        node: &Node<X>,
        first: ClosingKey,
        part: &mut Part,
    ) -> Result<(), Trouble>
    where
        A: AfterRemoval<X>,
    {
        let allowance = Allowance::of(self.limit);
        let from = Start::at(first);
        let mut next = from.pages(self.batch_rows).next();
        while next.is_some() {
            if allowance.is_used_up() {
                part.at_limit = self.first(node, from).await?.is_some();
                return Ok(());
            }
            // Who is not proven gone is no effect, and does not stand in the way of those behind him.
            let round = allowance.rows(ROUND_USERS);
            let (mut removed, began) = (Vec::new(), Instant::now());
            let mut closing = self.keep_and_list(node, &mut next, round).await?;
            while !closing.is_empty() {
                // The page after this one is read meanwhile.
                let room =
                    if began.elapsed() < ROUND_LIMIT { round.saturating_sub(removed.len() + closing.len()) } else { 0 };
                let (ahead, outcome) = join(self.keep_and_list(node, &mut next, room), visit.remove(&closing)).await;
                part.node.removed = visit.removed;
                (self.progress)(part);
                outcome?;
                removed.append(&mut closing);
                closing = ahead?;
            }
            crash_point!("removal.removed_not_proven");
            let gone = visit.gone(&removed, LIST_LIMIT.min(self.deadline.remaining() / 3)).await?;
            part.node.still_there += (removed.len() - gone.len()) as u64;
            allowance.spend(gone.len() as u64);
            (self.progress)(part);
            self.after.removed(node, &gone).await;
            let ids: Vec<CredentialId> = gone.iter().map(|credential| credential.key.id).collect();
            crash_point!("removal.proven_not_recorded");
            for ids in ids.chunks(self.batch_rows) {
                self.keep_proofs(node, ids, part).await?;
            }
        }
        Ok(())
    }

    /// The next page, as far as there is room for it; the lease is kept with it.
    async fn keep_and_list<X>(
        &self,
        node: &Node<X>,
        next: &mut Option<Page<ClosingKey>>,
        room: usize,
    ) -> Result<Vec<Closing>, Trouble> {
        let Some(page) = next.take_if(|_| room > 0) else { return Ok(Vec::new()) };
        if self.deadline.is_over() {
            return Err(Trouble::OutOfTime);
        }
        let page = if self.limit.is_some() { page.at_most(room) } else { page };
        let closing = self.db.run_tx("list_closing", async |tx| {
            tx.keep_node(&node.name, tx.now() + LEASE).await?;
            tx.list_closing(&page, &node.name).await
        });
        let closing = closing.await?;
        *next = page.listed(&closing).next();
        Ok(closing)
    }

    async fn keep_proofs<X>(&self, node: &Node<X>, ids: &[CredentialId], part: &mut Part) -> Result<(), DbError> {
        if ids.is_empty() {
            return Ok(());
        }
        part.node.proven += self.db.run_tx("record_proofs", async |tx| tx.record_proofs(&node.name, ids).await).await?;
        (self.progress)(part);
        crash_point!("removal.recorded_not_confirmed");
        let confirmed = self.confirm(ids, &mut part.expired).await;
        (self.progress)(part);
        confirmed
    }

    async fn confirm(&self, ids: &[CredentialId], expired: &mut BTreeMap<u64, u64>) -> Result<(), DbError> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self.db.run_tx("confirm_removals", async |tx| tx.confirm_removals(ids).await).await?;
        for row in rows {
            log::info!(subscription_id = row.id.0; "expired: proven gone from every server");
            let seconds = row.ended_at.map_or(0, |ended| (self.db.now() - ended).whole_seconds().max(0).unsigned_abs());
            *expired.entry(seconds).or_default() += 1;
        }
        Ok(())
    }

    /// Confirms what no server's part came by: proven earlier, and the last missing server was retired since.
    async fn confirm_rest(&self, mut nodes: Vec<NodeRow>, summary: &mut RemovalSummary) -> Result<(), DbError> {
        // A server in trouble first: it is the one that most proofs are missing from.
        nodes.retain(|node| node.retired_at.is_none());
        nodes.sort_by_key(|node| Reverse(node.failures));
        let nodes: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let mut pages = Start::BEGINNING.pages(self.batch_rows);
        while let Some(page) = pages.next() {
            if self.deadline.is_over() {
                summary.cut_short = true;
                break;
            }
            let proven = self.db.run_tx("list_proven", async |tx| tx.list_proven(&page, &nodes).await).await?;
            let ids: Vec<CredentialId> = proven.iter().map(|key| key.id).collect();
            let mut expired = BTreeMap::new();
            self.confirm(&ids, &mut expired).await?;
            summary.add_expired(expired);
            pages = page.listed(&proven);
        }
        Ok(())
    }
}

/// 30 s, doubled with each failed contact up to a quarter of an hour.
fn backoff(failures: i32) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, 5)).unwrap_or(0);
    Duration::from_secs(30 << doublings).min(Duration::from_secs(900))
}
