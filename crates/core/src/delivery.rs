//! Delivery: takes due notices out of the outbox and sends them, with what is left of a pass's budget.
//!
//! Claim a second's worth with a lease, send with no connection held, record if the attempt is still ours. One bucket in
//! the database paces all processes: a claim locks it, takes as many slots as it has messages, and each message leaves
//! at its slot; `retry_after` moves the bucket, so everybody obeys it. A claim takes one notice a chat, and none of a
//! chat that was written to within the last second.
//!
//! Just before sending everything is asked again: not useless yet, receiver reachable, not renewed or paid meanwhile.
//!
//! **Crash between send and record:** receipts and endings are sent again (at least once), reminders are not (at most
//! once); both are counted. The same holds for an answer that never came ([`MessengerError::Unknown`]).
//!
//! Nothing here touches money or access, and no failure here changes the exit code.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::db::{ClaimSettings, ClaimedNotice, Database, DbError, NoticeKey, Recorded, Tx, slot};
use crate::ids::TelegramId;
use crate::page::Pages;
use crate::ports::{Button, Message, Messenger, MessengerError};
use crate::time::{Deadline, Timestamp, from_micros, micros};

/// Kinds that are sent again when nobody knows whether they were: a receipt or an ending twice is better than never.
pub const AT_LEAST_ONCE: &[&str] = &["renewed", "trial_over", "subscription_over", "alert"];
/// After so many attempts a notice is dead; a person may retry it.
pub const MAX_ATTEMPTS: i32 = 20;
/// Params that name the end of a subscription that a notice is about.
const ABOUT_END: [&str; 2] = ["deadline", "ends"];
/// So many failures in a row and the messenger is taken to be down for the rest of the pass.
const FAILURES_TO_STOP: u32 = 5;
/// Pause when other processes hold the bucket, or all chats were just written to.
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// Pauses in a row without anything to send, after which the rest is left to the next pass.
const IDLE_PAUSES: u32 = 25;
/// Notices listed to find a second's worth of different chats.
const LISTED: usize = 500;
/// Pages of these in one claim.
const LISTED_PAGES: usize = 4;

/// How to deliver.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Name of the bot's bucket.
    pub bot: String,
    /// Messages a second of all processes together.
    pub rate_per_second: u32,
    /// The messenger's own deadline for one message.
    pub send_limit: Duration,
    /// Zones, quiet hours, which parameters are times.
    pub claim: ClaimSettings,
}

/// Writes the text of a notice.
pub trait Texts {
    /// The text of a notice at `now`, HTML, and its button.
    ///
    /// # Errors
    /// What is wrong with the text, for the operator; the notice is dead until it is retried.
    fn render(&self, notice: &ClaimedNotice, now: Timestamp) -> Result<(String, Option<Button>), String>;
}

/// What was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct DeliverySummary {
    /// Messages sent.
    pub sent: u64,
    /// Notices dropped: useless, receiver unreachable, or a reminder of which nobody knows whether it was sent.
    pub dropped: u64,
    /// Notices given up: refused for good, text broken, too many attempts.
    pub dead: u64,
    /// Attempts that failed and are made again later.
    pub put_back: u64,
    /// Reminders dropped since nobody knows whether they were sent; among `dropped`.
    pub maybe_lost: u64,
    /// Receipts and endings sent again since nobody knows whether they were; some may arrive twice.
    pub maybe_doubled: u64,
    /// Times the messenger said "too fast".
    pub throttled: u64,
    /// Why delivery ended early, for a person.
    pub warnings: Vec<String>,
}

/// What is done with a claimed notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is sent now.
    Send,
    /// It will not be sent.
    Drop(&'static str),
    /// It waits for the end of quiet hours.
    PutOff(Timestamp),
}

/// Decides about a claimed notice at `now`.
#[must_use]
pub fn decide(notice: &ClaimedNotice, now: Timestamp) -> Fate {
    if notice.useless_after.is_some_and(|useless| useless <= now) {
        return Fate::Drop("too late");
    }
    if notice.unreachable {
        return Fate::Drop("receiver unreachable");
    }
    let about_end = ABOUT_END.iter().find_map(|param| notice.params.get(param)?.as_i64());
    match notice.kind.as_str() {
        // About a certain end of a subscription: pointless once that end has moved.
        "balance_short" | "charge_ahead" if notice.active_until.map(micros) != about_end => {
            return Fate::Drop("renewed or over");
        }
        "trial_reminder" if notice.paid => return Fate::Drop("paid"),
        "trial_reminder" if notice.active_until.map(micros) != about_end => return Fate::Drop("over or moved"),
        "trial_over" | "subscription_over" if notice.paid => return Fate::Drop("paid"),
        _ => {}
    }
    match notice.quiet_until {
        Some(until) if !notice.urgent && !is_at_least_once(&notice.kind) => Fate::PutOff(until),
        _ => Fate::Send,
    }
}

/// A batch held for sending.
struct Claim {
    notices: Vec<ClaimedNotice>,
    first_slot: Timestamp,
    lease_until: Timestamp,
    dropped: u64,
}

/// Why nothing was claimed.
enum Claimed {
    Batch(Claim),
    /// Nothing is due.
    Nothing,
    /// Something is due, but others are at it, or its chat was just written to.
    Held,
    /// The bucket is empty until then.
    Wait(Timestamp),
}

/// Sends due notices until none is due or the budget ends.
///
/// # Errors
/// The database's; `summary` is true up to there.
pub async fn deliver<M: Messenger, T: Texts>(
    db: &Database,
    messenger: &M,
    texts: &T,
    settings: &DeliverySettings,
    deadline: &Deadline,
    summary: &mut DeliverySummary,
) -> Result<(), DbError> {
    let pass = Delivery { db, messenger, texts, settings, deadline };
    db.run_tx("add_bot", async |tx| tx.add_bot(&settings.bot).await).await?;
    let mut idle = 0;
    let mut failures = 0;
    // A message begun must have its answer within the budget.
    while !deadline.is_over() && deadline.remaining() > settings.send_limit {
        let (again, lost) = db.run_tx("end_leases", async |tx| tx.end_leases(AT_LEAST_ONCE).await).await?;
        summary.maybe_doubled += again;
        summary.maybe_lost += lost;
        summary.dropped += lost;
        match db.run_tx("claim_notices", async |tx| pass.claim(tx).await).await? {
            Claimed::Nothing => break,
            Claimed::Held if idle >= IDLE_PAUSES => break,
            Claimed::Held => {
                idle += 1;
                db.sleep_until(db.now() + IDLE_PAUSE).await;
            }
            Claimed::Wait(until) if until > db.now() + deadline.remaining() => break,
            Claimed::Wait(until) => db.sleep_until(until).await,
            Claimed::Batch(claim) => {
                idle = 0;
                summary.dropped += claim.dropped;
                if pass.send_all(claim, &mut failures, summary).await?.is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}

struct Delivery<'a, M, T> {
    db: &'a Database,
    messenger: &'a M,
    texts: &'a T,
    settings: &'a DeliverySettings,
    deadline: &'a Deadline,
}

impl<M: Messenger, T: Texts> Delivery<'_, M, T> {
    /// One transaction: lock the bucket, list, claim, decide, take slots, lease.
    async fn claim(&self, tx: &Tx<'_>) -> Result<Claimed, DbError> {
        let now = tx.now();
        let second = Duration::from_secs(1);
        let Some(next_free) = tx.lock_pace(&self.settings.bot).await? else {
            return Ok(Claimed::Held);
        };
        if next_free > now + second {
            // The last second before it is used for claiming, so that the bucket never runs dry.
            return Ok(Claimed::Wait(next_free - second));
        }
        let ids = self.one_a_chat(tx).await?;
        if ids.is_empty() {
            return Ok(Claimed::Nothing);
        }
        let claimed = tx.claim_notices(&ids, &self.settings.claim).await?;
        let mut sending = Vec::new();
        let mut dropped = Vec::new();
        let mut put_off = Vec::new();
        for notice in claimed {
            match decide(&notice, now) {
                Fate::Send => sending.push(notice),
                Fate::Drop(why) => dropped.push((notice.id, why.to_owned())),
                Fate::PutOff(until) => put_off.push((notice.id, until)),
            }
        }
        if sending.is_empty() && dropped.is_empty() && put_off.is_empty() {
            return Ok(Claimed::Held);
        }
        let slot = slot(self.settings.rate_per_second);
        let first_slot = next_free.max(now);
        let count = u32::try_from(sending.len()).unwrap_or(u32::MAX);
        let last_slot = first_slot + slot * count;
        // Longer than any of them can take, waiting for its slot included.
        let lease_until = last_slot + self.settings.send_limit * 2;
        let leased: Vec<i64> = sending.iter().map(|notice| notice.id).collect();
        tx.drop_notices(&dropped).await?;
        tx.put_off_notices(&put_off).await?;
        tx.lease_notices(&leased, lease_until).await?;
        tx.take_slots(&self.settings.bot, last_slot).await?;
        Ok(Claimed::Batch(Claim { notices: sending, first_slot, lease_until, dropped: dropped.len() as u64 }))
    }

    /// The longest due notice of each of a second's worth of chats.
    async fn one_a_chat(&self, tx: &Tx<'_>) -> Result<Vec<i64>, DbError> {
        let wanted = self.settings.rate_per_second.max(1) as usize;
        let beginning =
            NoticeKey { not_before: from_micros(0).unwrap_or_else(|| tx.now()), id: 0, chat: TelegramId(0) };
        let mut chats = HashSet::new();
        let mut ids = Vec::new();
        let mut pages = Pages::above(beginning, LISTED);
        for _ in 0..LISTED_PAGES {
            let Some(page) = pages.next() else { break };
            let listed = tx.list_notices_due(&page).await?;
            ids.extend(listed.iter().filter(|key| chats.insert(key.chat)).map(|key| key.id));
            // Some more than wanted: a few may be held by their chats.
            if ids.len() >= wanted {
                break;
            }
            pages = page.listed(&listed);
        }
        ids.truncate(wanted);
        Ok(ids)
    }

    /// Sends a batch, each message at its slot, and records each answer as it comes. Breaks when the messenger is down,
    /// throttles or refuses the token: what is not sent yet goes back.
    async fn send_all(
        &self,
        claim: Claim,
        failures: &mut u32,
        summary: &mut DeliverySummary,
    ) -> Result<std::ops::ControlFlow<()>, DbError> {
        let slot = slot(self.settings.rate_per_second);
        let mut waiting: VecDeque<ClaimedNotice> = claim.notices.into();
        let mut flying = FuturesUnordered::new();
        let mut next_slot = claim.first_slot;
        let mut halt = None;
        loop {
            let may_send = halt.is_none() && !waiting.is_empty() && !self.deadline.is_over();
            tokio::select! {
                biased;
                Some(answer) = flying.next(), if !flying.is_empty() => {
                    self.record(answer, claim.lease_until, failures, &mut halt, summary).await?;
                }
                () = self.db.sleep_until(next_slot), if may_send => {
                    next_slot += slot;
                    flying.extend(waiting.pop_front().map(|notice| self.send(notice)));
                }
                else => break,
            }
        }
        for notice in waiting {
            self.put_back(&notice, claim.lease_until, halt.as_ref()).await?;
        }
        Ok(match halt {
            None | Some(Halt { for_good: false, .. }) => std::ops::ControlFlow::Continue(()),
            Some(halt) => {
                log::error!("delivery stopped: {}", halt.why);
                summary.warnings.push(format!("delivery stopped: {}", halt.why));
                std::ops::ControlFlow::Break(())
            }
        })
    }

    async fn send(&self, notice: ClaimedNotice) -> Answer {
        let result = match self.texts.render(&notice, self.db.now()) {
            Ok((html, button)) => {
                let message = Message { chat_id: notice.chat.0, html, button };
                self.messenger.send(&message).await
            }
            Err(reason) => Err(MessengerError::Refused { reason: format!("text: {reason}") }),
        };
        Answer { notice, result }
    }

    async fn record(
        &self,
        answer: Answer,
        lease_until: Timestamp,
        failures: &mut u32,
        halt: &mut Option<Halt>,
        summary: &mut DeliverySummary,
    ) -> Result<(), DbError> {
        let Answer { notice, result } = answer;
        if let Err(error) = &result {
            log::warn!(notice_id = notice.id, kind = notice.kind.as_str(), error:% = error; "a notice was not sent");
        }
        *failures = if is_down(&result) { *failures + 1 } else { 0 };
        *halt = halt.take().or_else(|| halting(&result, *failures));
        let recorded = recorded(&notice, &result, self.db.now());
        let unreachable = matches!(result, Err(MessengerError::Unreachable { .. }));
        let throttle = match &result {
            Err(MessengerError::Throttled { wait }) => Some(self.db.now() + *wait),
            _ => None,
        };
        let bot = &self.settings.bot;
        let ours = self.db.run_tx("record_delivery", async |tx| {
            if unreachable {
                tx.mark_unreachable(notice.chat).await?;
            }
            if let Some(until) = throttle {
                tx.take_slots(bot, until).await?;
            }
            tx.record_delivery(&notice, lease_until, &recorded).await
        });
        if ours.await? {
            summary.count(&notice, &result, &recorded);
        } else {
            log::warn!(notice_id = notice.id; "the lease of a notice ended before its answer came");
        }
        Ok(())
    }

    /// Gives an unsent notice back, its attempt uncounted.
    async fn put_back(
        &self,
        notice: &ClaimedNotice,
        lease_until: Timestamp,
        halt: Option<&Halt>,
    ) -> Result<(), DbError> {
        let result = Recorded {
            status: "pending",
            attempts: notice.attempts,
            error: halt.map(|halt| halt.why.clone()),
            message_id: None,
            not_before: None,
            moved_to: None,
        };
        self.db.run_tx("put_back", async |tx| tx.record_delivery(notice, lease_until, &result).await).await?;
        Ok(())
    }
}

struct Answer {
    notice: ClaimedNotice,
    result: Result<i64, MessengerError>,
}

struct Halt {
    why: String,
    /// Not only for this batch.
    for_good: bool,
}

fn halting(result: &Result<i64, MessengerError>, failures: u32) -> Option<Halt> {
    match result {
        Err(error @ MessengerError::Unauthorised { .. }) => Some(Halt { why: error.to_string(), for_good: true }),
        Err(error @ MessengerError::Throttled { .. }) => Some(Halt { why: error.to_string(), for_good: false }),
        Err(error) if failures >= FAILURES_TO_STOP => Some(Halt { why: error.to_string(), for_good: true }),
        _ => None,
    }
}

fn is_down(result: &Result<i64, MessengerError>) -> bool {
    matches!(result, Err(MessengerError::Transient { .. } | MessengerError::Unknown { .. }))
}

fn is_at_least_once(kind: &str) -> bool {
    AT_LEAST_ONCE.iter().any(|known| kind == *known || kind.starts_with("alert_"))
}

/// What is written down of an attempt, by the kind's policy.
fn recorded(notice: &ClaimedNotice, result: &Result<i64, MessengerError>, now: Timestamp) -> Recorded {
    let attempts = notice.attempts + 1;
    let base = Recorded {
        status: "pending",
        attempts,
        error: result.as_ref().err().map(ToString::to_string),
        message_id: None,
        not_before: None,
        moved_to: None,
    };
    let later = |base: Recorded| {
        if attempts >= MAX_ATTEMPTS {
            Recorded { status: "dead", ..base }
        } else {
            Recorded { not_before: Some(now + backoff(attempts)), ..base }
        }
    };
    match result {
        Ok(message_id) => Recorded { status: "sent", message_id: Some(*message_id), ..base },
        Err(MessengerError::Throttled { wait }) => {
            Recorded { attempts: notice.attempts, not_before: Some(now + *wait), ..base }
        }
        Err(MessengerError::Unauthorised { .. }) => Recorded { attempts: notice.attempts, ..base },
        Err(MessengerError::ChatMoved { to }) => Recorded { moved_to: Some(TelegramId(*to)), ..later(base) },
        Err(MessengerError::Unreachable { .. }) => Recorded { status: "dropped", ..base },
        Err(MessengerError::Refused { .. }) => Recorded { status: "dead", ..base },
        Err(MessengerError::Transient { .. }) => later(base),
        Err(MessengerError::Unknown { .. }) if is_at_least_once(&notice.kind) => later(base),
        Err(MessengerError::Unknown { .. }) => Recorded { status: "dropped", ..base },
    }
}

/// 30 s, doubled with each attempt up to an hour.
fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 8) - 1).unwrap_or(0);
    Duration::from_secs(30 << doublings).min(Duration::from_secs(3600))
}

impl DeliverySummary {
    fn count(&mut self, notice: &ClaimedNotice, result: &Result<i64, MessengerError>, recorded: &Recorded) {
        match recorded.status {
            "sent" => self.sent += 1,
            "dropped" => self.dropped += 1,
            "dead" => self.dead += 1,
            _ => self.put_back += 1,
        }
        match result {
            Err(MessengerError::Unknown { .. }) if is_at_least_once(&notice.kind) => self.maybe_doubled += 1,
            Err(MessengerError::Unknown { .. }) => self.maybe_lost += 1,
            Err(MessengerError::Throttled { .. }) => self.throttled += 1,
            _ => {}
        }
    }
}
