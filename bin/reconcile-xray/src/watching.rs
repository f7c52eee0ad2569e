//! Keeps the quarantine in the database.

use perennial_core::crash_point;
use perennial_core::db::{NewAudit, NodeMemory, Orphan, Tx};
use perennial_core::node::Trouble;
use perennial_core::ports::Xray;
use perennial_core::reconcile::{Extra, Why};
use serde_json::json;

use crate::examined::Examined;
use crate::hash::uuid_hash;
use crate::quarantine::{Fate, Seen, Watch, watch};
use crate::worker::{Worker, may_go};

/// Entries a transaction.
const CHUNK: usize = 1_000;
/// Users of one chunk whose watch begins with an audit row each; of more there is one row with their number.
const MOST_NAMED: usize = 100;
/// Before and behind all e-mails that can be watched: these are plain ASCII.
const BEGINNING: &str = "";
const END: &str = "\u{7f}";

impl<X: Xray> Worker<'_, X> {
    /// Takes a sighting of every extra that is watched, forgets those that vanished or became known, and picks those
    /// that may go now. Answers the fates of the watched.
    pub(crate) async fn watch_extras(
        &self,
        examined: &mut Examined,
        memory: &NodeMemory,
    ) -> Result<Vec<Fate>, Trouble> {
        let extras = std::mem::take(&mut examined.comparison.extras);
        let mut all_fates = Vec::new();
        let unlisted = &examined.comparison.unlisted;
        let listed: Vec<_> = (0_u16..).zip(&self.node.inbounds).filter(|(n, _)| !unlisted.contains_key(n)).collect();
        for (number, inbound) in &listed {
            let of_inbound = |extra: &&Extra| extra.place.inbound == *number;
            let watched: Vec<Seen<'_>> = extras
                .iter()
                .filter(of_inbound)
                .filter_map(|extra| {
                    let Why::Watched(reason) = extra.why else { return None };
                    let user = examined.comparison.user(extra.place);
                    let is_first_contact = is_first_contact(memory, &inbound.tag.0);
                    Some(Seen { email: user.email, uuid: user.uuid, reason, is_first_contact })
                })
                .collect();
            let fates = self.watch_inbound(&inbound.tag.0, &watched).await?;
            let mut next = fates.iter().copied();
            for extra in extras.iter().filter(of_inbound) {
                let fate = if matches!(extra.why, Why::Watched(_)) { next.next() } else { None };
                if may_go(extra.why, fate) {
                    examined.going.push(*extra);
                }
            }
            all_fates.extend(fates);
        }
        if !self.only_looks() {
            let tags: Vec<&str> = listed.iter().map(|(_, inbound)| inbound.tag.0.as_str()).collect();
            let name = &self.node.name;
            self.db.run_tx("adopt_node", async |tx| tx.adopt_node(name, &tags).await).await?;
        }
        Ok(all_fates)
    }

    /// Chunk by chunk, in the order of the e-mails: what stands between two of them in the database and is not in the
    /// chunk has vanished.
    async fn watch_inbound(&self, inbound: &str, watched: &[Seen<'_>]) -> Result<Vec<Fate>, Trouble> {
        let mut fates = Vec::with_capacity(watched.len());
        let mut after = BEGINNING;
        let mut chunks = watched.chunks(CHUNK).peekable();
        loop {
            self.must_have_time()?;
            let chunk = chunks.next().unwrap_or(&[]);
            let is_last = chunks.peek().is_none();
            let up_to = if is_last { END } else { chunk.last().map_or(END, |seen| seen.email) };
            let watches =
                self.db.run_tx("watch", async |tx| self.watch_chunk(tx, inbound, chunk, [after, up_to]).await).await?;
            crash_point!("reconcile.orphan_recorded");
            fates.extend(watches);
            if is_last {
                return Ok(fates);
            }
            after = up_to;
        }
    }

    async fn watch_chunk(
        &self,
        tx: &Tx<'_>,
        inbound: &str,
        chunk: &[Seen<'_>],
        between: [&str; 2],
    ) -> Result<Vec<Fate>, perennial_core::db::DbError> {
        let node = self.node.name.as_str();
        let emails: Vec<&str> = chunk.iter().map(|seen| seen.email).collect();
        let known = if emails.is_empty() { Vec::new() } else { tx.find_orphans(node, inbound, &emails).await? };
        let known: std::collections::HashMap<&str, &Orphan> =
            known.iter().map(|entry| (entry.email.as_str(), entry)).collect();
        let watches: Vec<Watch> =
            chunk.iter().map(|seen| watch(known.get(seen.email).copied(), seen, tx.now(), self.grace())).collect();
        if !self.only_looks() {
            tx.forget_orphans(node, inbound, between, &emails).await?;
            let changed: Vec<Orphan> =
                watches.iter().filter(|watch| watch.is_changed).map(|watch| watch.entry.clone()).collect();
            tx.keep_orphans(node, inbound, &changed).await?;
            tx.insert_audit(&audit(node, inbound, &watches)).await?;
        }
        Ok(watches.iter().map(|watch| watch.fate).collect())
    }
}

/// A node never met, or an inbound of it that was added to the settings since.
fn is_first_contact(memory: &NodeMemory, inbound: &str) -> bool {
    let known = &memory.known_inbounds;
    memory.adopted_at.is_none() || (!known.is_empty() && !known.iter().any(|tag| tag == inbound))
}

/// A row for each user whose watch begins, one for all of them when they are many, and one for all that are adopted: a server may
/// list anybody, others at each pass.
fn audit(node: &str, inbound: &str, watches: &[Watch]) -> Vec<NewAudit> {
    let row = |action, after, reason: &str| NewAudit {
        action,
        telegram_id: None,
        subscription_id: None,
        before: None,
        after: Some(after),
        reason: Some(reason.to_owned()),
    };
    let begun: Vec<&Watch> = watches.iter().filter(|watch| watch.is_new && watch.fate != Fate::Adopted).collect();
    let mut rows: Vec<NewAudit> = if begun.len() > MOST_NAMED {
        let after = json!({ "node": node, "inbound": inbound, "users": begun.len() });
        vec![row("quarantined", after, "too many at once to name each")]
    } else {
        let alone = begun.iter().map(|Watch { entry, .. }| {
            let hash = entry.uuid.map(uuid_hash);
            let after = json!({ "node": node, "inbound": inbound, "email": entry.email, "uuid_hash": hash });
            row("quarantined", after, &entry.reason)
        });
        alone.collect()
    };
    let adopted = watches.iter().filter(|watch| watch.is_changed && watch.fate == Fate::Adopted).count();
    if adopted > 0 {
        let after = json!({ "node": node, "inbound": inbound, "users": adopted });
        rows.push(row("adopted", after, "there at first contact, and unknown"));
    }
    rows
}
