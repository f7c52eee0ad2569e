//! Delivery: takes due notices out of the outbox and sends them, with what is left of a pass's budget.
//!
//! Claim a second's worth with a lease, send with no connection held, record if the attempt is still ours. One bucket in
//! the database paces all processes: a claim locks it, takes as many slots as it has messages, and each message leaves
//! at its slot; `retry_after` moves the bucket, so everybody obeys it. Whoever misses a slot gives the message back
//! instead of hurrying: a process that was held up must not send into the slots of the others. A claim takes one notice
//! a chat, and none of a chat that was written to within the last second.
//!
//! Just before sending everything is asked again: not useless yet, receiver reachable, not renewed or paid meanwhile.
//!
//! **Crash between send and record:** receipts and endings are sent again (at least once), reminders are not (at most
//! once); both are counted. The same holds for an answer that never came ([`MessengerError::Unknown`]). What was held but not
//! begun is just sent later: the next few are marked before they leave. So that a messenger that hangs costs few reminders, one
//! message is under way until one was answered, then a second's worth.
//!
//! Nothing here touches money or access, and no failure of the messenger's changes the exit code.

mod claiming;
mod policy;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::allowance::Allowance;
use crate::crash_point;
use crate::db::{ClaimSettings, ClaimedNotice, Database, DbError, Held};
use crate::ids::TelegramId;
use crate::ports::{Button, Messenger, MessengerError};
use crate::time::{Deadline, Timestamp};

use claiming::{Claimed, Leased};
pub use policy::{AT_LEAST_ONCE, Fate, MAX_ATTEMPTS, decide};
use policy::{is_at_least_once, is_down, recorded};

/// So many failures in a row and the messenger is taken to be down for the rest of the pass.
const FAILURES_TO_STOP: u32 = 3;
/// Pause when other processes hold the bucket, or all chats were just written to.
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// Pauses in a row without anything to send, after which the rest is left to the next pass.
const IDLE_PAUSES: u32 = 25;
/// How often is looked whether a stop was asked for: the messenger may have said to wait for minutes.
const LOOK: Duration = Duration::from_millis(500);
/// A message this late for its slot is given back. At 25 a second it keeps any second below 28, and Telegram allows 30.
const LATE: Duration = Duration::from_millis(100);
/// The most that slots are put into the future because claims take long.
const MAX_LEAD: Duration = Duration::from_secs(1);
/// Messages that leave within this time are marked together: few transactions, and few reminders that a crash costs.
const BEGUN_AHEAD: Duration = Duration::from_millis(200);
/// Of the dead notices so many are named.
const NAMED_DEAD: usize = 10;

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
    /// Attempts at most; none: as many as there are notices due.
    pub limit: Option<u64>,
}

/// Writes the text of a notice.
pub trait Texts {
    /// The text of a notice at `now`, HTML, and its button.
    ///
    /// # Errors
    /// What is wrong with the text, for the operator; the notice is dead until it is retried.
    fn render(&self, notice: &ClaimedNotice, now: Timestamp) -> Result<(String, Option<Button>), String>;
}

/// A notice that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadNotice {
    /// Which text.
    pub kind: String,
    /// Its chat.
    pub chat: TelegramId,
    /// Why.
    pub reason: String,
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
    /// The first of these.
    pub first_dead: Vec<DeadNotice>,
    /// Attempts that failed and are made again later.
    pub put_back: u64,
    /// Reminders dropped since nobody knows whether they were sent; among `dropped`.
    pub maybe_lost: u64,
    /// Receipts and endings sent again since nobody knows whether they were; some may arrive twice.
    pub maybe_doubled: u64,
    /// Times the messenger said "too fast".
    pub throttled: u64,
    /// What a person should know: why delivery ended early, a chat that moved.
    pub warnings: Vec<String>,
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
    // In a dry run nothing would be recorded, and everything sent for ever.
    if db.is_dry_run() || !pass.has_time() {
        return Ok(());
    }
    let zone = &settings.claim.default_time_zone;
    match db.run_tx("check_time_zone", async |tx| tx.check_time_zone(zone).await).await {
        Err(DbError::Refused { message, .. }) => {
            let why = format!("delivery stopped: the default time zone cannot be used: {message}");
            log::error!("{why}");
            summary.warnings.push(why);
            return Ok(());
        }
        outcome => outcome?,
    }
    db.run_tx("add_bot", async |tx| tx.add_bot(&settings.bot).await).await?;
    pass.run(summary).await
}

struct Delivery<'a, M, T> {
    db: &'a Database,
    messenger: &'a M,
    texts: &'a T,
    settings: &'a DeliverySettings,
    deadline: &'a Deadline,
}

/// Where a delivery stands.
struct Course {
    /// Held, each until its slot.
    waiting: VecDeque<Leased>,
    /// When to claim more; none: nothing was due.
    claim_at: Option<Timestamp>,
    /// Nothing can be sent any more.
    is_stopped: bool,
    /// Pauses in a row without anything to send.
    idle: u32,
    /// Attempts in a row that got no answer worth the name.
    failures: u32,
    /// The last attempt was answered: a second's worth may be under way.
    is_proven: bool,
    /// How long claims take, where slots were missed for it.
    lead: Duration,
    /// Attempts that may still be made.
    allowance: Allowance,
}

struct Answer {
    leased: Leased,
    result: Result<i64, MessengerError>,
}

impl<M: Messenger, T: Texts> Delivery<'_, M, T> {
    /// A message begun must have its answer within the budget.
    fn has_time(&self) -> bool {
        !self.deadline.is_over() && self.deadline.remaining() > self.settings.send_limit
    }

    async fn run(&self, summary: &mut DeliverySummary) -> Result<(), DbError> {
        let mut course = Course {
            waiting: VecDeque::new(),
            claim_at: Some(self.db.now()),
            is_stopped: false,
            idle: 0,
            failures: 0,
            is_proven: false,
            lead: Duration::ZERO,
            allowance: Allowance::of(self.settings.limit),
        };
        let mut flying = FuturesUnordered::new();
        loop {
            if !self.has_time() {
                self.give_back(course.waiting.drain(..), None).await?;
                course.is_stopped = true;
            }
            let may_claim = !course.is_stopped && self.room(&course, flying.len()) > 0;
            let claim_at = course.claim_at.filter(|_| may_claim);
            if claim_at.is_some_and(|at| at <= self.db.now()) {
                self.claim_more(&mut course, flying.len(), summary).await?;
                continue;
            }
            let wake = course.waiting.front().map(|leased| leased.slot).into_iter().chain(claim_at).min();
            let wake = wake.map(|at| at.min(self.db.now() + LOOK));
            tokio::select! {
                biased;
                Some(answer) = flying.next(), if !flying.is_empty() => {
                    self.record(answer, &mut course, summary).await?;
                }
                () = self.db.sleep_until(wake.unwrap_or_else(|| self.db.now())), if wake.is_some() => {
                    self.give_back_late(&mut course).await?;
                    self.begin(&mut course).await?;
                    flying.extend(self.next_due(&mut course).map(|leased| self.send(leased)));
                }
                else => return Ok(()),
            }
        }
    }

    /// How many more may be claimed now. Not before the queue is nearly empty: claims are paid for in transactions.
    fn room(&self, course: &Course, flying: usize) -> usize {
        let rate = self.settings.rate_per_second.max(1) as usize;
        let at_once = if course.is_proven { rate } else { 1 };
        let may_wait = course.allowance.rows(at_once.saturating_sub(flying));
        if course.waiting.len() > rate / 5 { 0 } else { may_wait.saturating_sub(course.waiting.len()) }
    }

    async fn claim_more(
        &self,
        course: &mut Course,
        flying: usize,
        summary: &mut DeliverySummary,
    ) -> Result<(), DbError> {
        let is_quiet = flying == 0 && course.waiting.is_empty();
        let claimed = self.claim(self.room(course, flying), course.lead, summary).await?;
        let now = self.db.now();
        course.claim_at = match claimed {
            Claimed::Nothing => None,
            Claimed::Held if is_quiet && course.idle >= IDLE_PAUSES => None,
            Claimed::Held => {
                course.idle += u32::from(is_quiet);
                Some(now + IDLE_PAUSE)
            }
            Claimed::Wait(until) if until > now + self.deadline.remaining() => None,
            Claimed::Wait(until) => Some(until),
            Claimed::Batch(batch) => {
                course.idle = 0;
                course.waiting.extend(batch.leased);
                Some(now)
            }
        };
        Ok(())
    }

    /// Before a message leaves that is not marked yet, marks it and those that leave right after it.
    async fn begin(&self, course: &mut Course) -> Result<(), DbError> {
        let now = self.db.now();
        if !course.waiting.front().is_some_and(|next| next.slot <= now && !next.is_begun) {
            return Ok(());
        }
        let soon = |leased: &Leased| !leased.is_begun && leased.slot <= now + BEGUN_AHEAD;
        let next: Vec<Held> = course.waiting.iter().filter(|leased| soon(leased)).map(Leased::held).collect();
        let ours = self.db.run_tx("begin_notices", async |tx| tx.begin_notices(&next).await).await?;
        crash_point!("delivery.begun");
        course.waiting.retain(|leased| !soon(leased) || ours.contains(&leased.notice.id));
        course.waiting.iter_mut().filter(|leased| soon(leased)).for_each(|leased| leased.is_begun = true);
        Ok(())
    }

    /// The next message, if its slot has come.
    fn next_due(&self, course: &mut Course) -> Option<Leased> {
        let now = self.db.now();
        let due = course.waiting.pop_front_if(|leased| leased.slot <= now && leased.is_begun)?;
        course.allowance.spend(1);
        Some(due)
    }

    /// Gives back what has missed its slot. Should claiming itself be what takes so long, the next slots begin later.
    async fn give_back_late(&self, course: &mut Course) -> Result<(), DbError> {
        let now = self.db.now();
        let late = course.waiting.iter().take_while(|leased| leased.slot + LATE < now).count();
        if late > 0 {
            course.lead = (course.lead * 2 + LATE).min(MAX_LEAD);
            course.claim_at = course.claim_at.or(Some(now));
            log::debug!(late; "messages missed their slots and get new ones");
            self.give_back(course.waiting.drain(..late), None).await?;
        }
        Ok(())
    }

    async fn send(&self, leased: Leased) -> Answer {
        let result = self.messenger.send(&leased.message).await;
        Answer { leased, result }
    }

    async fn record(&self, answer: Answer, course: &mut Course, summary: &mut DeliverySummary) -> Result<(), DbError> {
        let Answer { leased: Leased { notice, lease_until, .. }, result } = answer;
        crash_point!("delivery.sent_not_recorded");
        if let Err(error) = &result {
            log::warn!(notice_id = notice.id, kind = notice.kind.as_str(), error:% = error; "a notice was not sent");
        }
        let now = self.db.now();
        let recorded = recorded(&notice, &result, now);
        let unreachable = matches!(result, Err(MessengerError::Unreachable { .. }));
        let throttle = match &result {
            Err(MessengerError::Throttled { wait }) => Some(now + *wait),
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
            summary.count(&notice, &result, recorded.status);
        } else {
            log::warn!(notice_id = notice.id; "the lease of a notice ended before its answer came");
        }
        course.failures = if is_down(&result) { course.failures + 1 } else { 0 };
        course.is_proven = !is_down(&result) && throttle.is_none();
        let Err(error) = result else { return Ok(()) };
        let stops = matches!(error, MessengerError::Unauthorised { .. }) || course.failures >= FAILURES_TO_STOP;
        if stops && !std::mem::replace(&mut course.is_stopped, true) {
            log::error!("delivery stopped: {error}");
            summary.warnings.push(format!("delivery stopped: {error}"));
        }
        if matches!(error, MessengerError::ChatMoved { .. }) {
            // It is due again at once.
            course.claim_at.get_or_insert(now);
        }
        if stops || throttle.is_some() {
            self.give_back(course.waiting.drain(..), Some(error.to_string())).await?;
        }
        Ok(())
    }

    /// Gives unsent notices back, their attempts uncounted.
    async fn give_back(&self, unsent: impl Iterator<Item = Leased>, why: Option<String>) -> Result<(), DbError> {
        let unsent: Vec<Held> = unsent.map(|leased| leased.held()).collect();
        if unsent.is_empty() {
            return Ok(());
        }
        self.db.run_tx("give_back", async |tx| tx.give_back_notices(&unsent, why.as_deref()).await).await
    }
}

impl DeliverySummary {
    fn count(&mut self, notice: &ClaimedNotice, result: &Result<i64, MessengerError>, status: &str) {
        match status {
            "sent" => self.sent += 1,
            "dropped" => self.dropped += 1,
            "dead" => {
                let reason = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
                self.bury(DeadNotice { kind: notice.kind.clone(), chat: notice.chat, reason });
            }
            _ => self.put_back += 1,
        }
        // Alerts go to the operator's chat, which nobody else would miss.
        let is_alert = notice.kind.starts_with("alert_");
        match result {
            Err(MessengerError::Unknown { .. }) if !is_at_least_once(&notice.kind) => self.maybe_lost += 1,
            Err(MessengerError::Unknown { .. }) if status == "pending" => self.maybe_doubled += 1,
            Err(MessengerError::Throttled { .. }) => self.throttled += 1,
            Err(MessengerError::ChatMoved { to }) => {
                self.warn_once(format!("the chat {} moved to {to}: correct the setting that names it", notice.chat));
            }
            Err(error @ MessengerError::Unreachable { .. }) if is_alert => {
                self.warn_once(format!("the chat {} for alerts {error}", notice.chat));
            }
            _ => {}
        }
    }

    fn bury(&mut self, dead: DeadNotice) {
        self.dead += 1;
        log::warn!(kind = dead.kind.as_str(), reason = dead.reason.as_str(); "a notice was given up");
        if self.first_dead.len() < NAMED_DEAD {
            self.first_dead.push(dead);
        }
    }

    fn warn_once(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}
