//! Claiming: which notices are sent next, when, and with which text.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::policy::{AT_LEAST_ONCE, Fate, MAX_ATTEMPTS, decide, refresh};
use super::{DeadNotice, Delivery, DeliverySummary, Texts};
use crate::crash_point;
use crate::db::{ClaimedNotice, ClosedNotice, DbError, Held, NoticeKey, Tx, slot};
use crate::ids::TelegramId;
use crate::page::Pages;
use crate::ports::{Message, Messenger};
use crate::time::Timestamp;

/// Notices listed to find chats to write to.
const LISTED: usize = 500;
/// Pages of these in one claim.
const LISTED_PAGES: usize = 4;
/// Chats looked at for each message wanted: many may have been written to just now, or need no message any more.
const CANDIDATES: usize = 4;
/// So long before its slots are used the bucket may be claimed from, so that it never runs dry.
const AHEAD: Duration = Duration::from_secs(1);

/// A notice held for sending at its slot.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) notice: ClaimedNotice,
    pub(super) message: Message,
    pub(super) slot: Timestamp,
    pub(super) lease_until: Timestamp,
    /// From now on nobody can say that it was not sent.
    pub(super) is_begun: bool,
}

impl Leased {
    pub(super) fn held(&self) -> Held {
        Held { id: self.notice.id, attempts: self.notice.attempts, lease_until: self.lease_until }
    }
}

/// What a claim gave.
pub(super) enum Claimed {
    Batch(Batch),
    /// Nothing is due.
    Nothing,
    /// Something is due, but others are at it, or its chat was just written to.
    Held,
    /// The bucket is empty until then.
    Wait(Timestamp),
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) leased: Vec<Leased>,
    dropped: u64,
    dead: Vec<DeadNotice>,
}

impl Batch {
    fn append(&mut self, other: Self) {
        self.leased.extend(other.leased);
        self.dropped += other.dropped;
        self.dead.extend(other.dead);
    }
}

impl<M: Messenger, T: Texts> Delivery<'_, M, T> {
    /// Claims at most `room` notices, with slots of the bucket that begin `lead` from now at the earliest.
    pub(super) async fn claim(
        &self,
        room: usize,
        lead: Duration,
        summary: &mut DeliverySummary,
    ) -> Result<Claimed, DbError> {
        self.end_leases(summary).await?;
        let ids = self.db.run_tx("list_notices", async |tx| self.candidates(tx).await).await?;
        if ids.is_empty() {
            return Ok(Claimed::Nothing);
        }
        let claimed = self.db.run_tx("claim_notices", async |tx| self.take(tx, &ids, room, lead).await).await;
        let claimed = match claimed {
            Err(error) if error.may_be_of_a_row() => self.one_by_one(&ids, room, lead, error).await?,
            other => other?,
        };
        crash_point!("delivery.claimed");
        if let Claimed::Batch(batch) = &claimed {
            summary.dropped += batch.dropped;
            for dead in &batch.dead {
                summary.bury(dead.clone());
            }
        }
        Ok(claimed)
    }

    async fn end_leases(&self, summary: &mut DeliverySummary) -> Result<(), DbError> {
        let ended = self.db.run_tx("end_leases", async |tx| tx.end_leases(AT_LEAST_ONCE, MAX_ATTEMPTS).await).await?;
        summary.maybe_doubled += ended.repeated;
        summary.maybe_lost += ended.dropped;
        summary.dropped += ended.dropped;
        for dead in ended.dead {
            summary.bury(dead);
        }
        Ok(())
    }

    /// The longest due notice of each of some chats.
    async fn candidates(&self, tx: &Tx<'_>) -> Result<Vec<i64>, DbError> {
        let wanted = self.settings.rate_per_second.max(1) as usize * CANDIDATES;
        let beginning = NoticeKey { not_before: Timestamp::UNIX_EPOCH, id: 0, chat: TelegramId(0) };
        let mut chats = HashSet::new();
        let mut ids = Vec::new();
        let mut pages = Pages::above(beginning, LISTED);
        for _ in 0..LISTED_PAGES {
            let Some(page) = pages.next().filter(|_| ids.len() < wanted) else { break };
            let listed = tx.list_notices_due(&page).await?;
            ids.extend(listed.iter().filter(|key| chats.insert(key.chat)).map(|key| key.id));
            pages = page.listed(&listed);
        }
        ids.truncate(wanted);
        Ok(ids)
    }

    /// One transaction: lock the bucket, claim, decide, write the texts, take slots, lease. A text is written before
    /// its slot is taken: one that cannot be written costs nobody a message.
    async fn take(&self, tx: &Tx<'_>, ids: &[i64], room: usize, lead: Duration) -> Result<Claimed, DbError> {
        let now = tx.now();
        let Some(next_free) = tx.lock_pace(&self.settings.bot).await? else {
            return Ok(Claimed::Held);
        };
        if next_free > now + AHEAD {
            return Ok(Claimed::Wait(next_free - AHEAD));
        }
        let place: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let mut claimed = tx.claim_notices(ids, &self.settings.claim).await?;
        claimed.sort_by_key(|notice| place.get(&notice.id).copied());
        if claimed.is_empty() {
            return Ok(Claimed::Held);
        }
        let mut batch = Batch::default();
        let mut sending = Vec::new();
        let mut closing = Vec::new();
        let mut put_off = Vec::new();
        for mut notice in claimed {
            refresh(&mut notice);
            match decide(&notice, now) {
                Fate::Drop(why) => {
                    batch.dropped += 1;
                    closing.push(ClosedNotice { id: notice.id, status: "dropped", reason: why.to_owned() });
                }
                Fate::PutOff(until) => put_off.push((notice.id, until)),
                Fate::Send if sending.len() >= room => {}
                Fate::Send => match self.texts.render(&notice, now) {
                    Ok((html, button)) => {
                        let message = Message { chat_id: notice.chat.0, html, button };
                        sending.push((notice, message));
                    }
                    Err(reason) => {
                        let reason = format!("text: {reason}");
                        closing.push(ClosedNotice { id: notice.id, status: "dead", reason: reason.clone() });
                        batch.dead.push(DeadNotice { kind: notice.kind, chat: notice.chat, reason });
                    }
                },
            }
        }
        tx.close_notices(&closing).await?;
        tx.put_off_notices(&put_off).await?;
        if !sending.is_empty() {
            let step = slot(self.settings.rate_per_second);
            let mut next_slot = next_free.max(now + lead);
            let end = next_slot + step * u32::try_from(sending.len()).unwrap_or(u32::MAX);
            // Longer than any of them can take, waiting for its slot included.
            let lease_until = end + self.settings.send_limit * 2;
            let leased: Vec<i64> = sending.iter().map(|(notice, _)| notice.id).collect();
            tx.lease_notices(&leased, lease_until).await?;
            tx.take_slots(&self.settings.bot, end).await?;
            for (notice, message) in sending {
                batch.leased.push(Leased { notice, message, slot: next_slot, lease_until, is_begun: false });
                next_slot += step;
            }
        }
        Ok(Claimed::Batch(batch))
    }

    /// A notice that breaks its claim (a time zone that PostgreSQL no longer knows) costs itself: the others are
    /// claimed without it, and it is dead with its reason.
    async fn one_by_one(&self, ids: &[i64], room: usize, lead: Duration, error: DbError) -> Result<Claimed, DbError> {
        let mut batch = Batch::default();
        let mut broken = Vec::new();
        let mut some_passed = false;
        for id in ids {
            if batch.leased.len() >= room {
                break;
            }
            match self.db.run_tx("claim_notice", async |tx| self.take(tx, &[*id], 1, lead).await).await {
                Ok(Claimed::Batch(one)) => {
                    some_passed = true;
                    batch.append(one);
                }
                Ok(_) => {}
                Err(error) if error.may_be_of_a_row() => broken.push((*id, error)),
                Err(error) => return Err(error),
            }
        }
        // An error that may be anybody's is a notice's own fault only if others came through.
        if !some_passed && broken.iter().any(|(_, error)| !error.is_of_a_row()) {
            return Err(error);
        }
        let closing: Vec<ClosedNotice> = broken
            .iter()
            .map(|(id, error)| ClosedNotice { id: *id, status: "dead", reason: error.to_string() })
            .collect();
        if closing.is_empty() && !some_passed {
            return Ok(Claimed::Held);
        }
        batch.dead.extend(self.db.run_tx("close_notices", async |tx| tx.close_notices(&closing).await).await?);
        Ok(Claimed::Batch(batch))
    }
}
