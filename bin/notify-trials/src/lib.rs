//! `notify-trials`: sends due trial reminders and ends trials that are over.
//!
//! **Due** is an active trial whose `next_reminder_at` has come: a new trial's is its start, then the moment of the next
//! stage, and none after the last. A page is listed without locks, longest due first; one transaction claims its rows,
//! decides ([`plan`]), writes the reminders into the outbox and sets the next moments. The dedupe key makes a reminder
//! unique, whoever writes it; whether its receiver pays is asked here and once more just before sending.
//!
//! Then trials that are over are ended by the same operation as in `expire-fast` ([`perennial_core::ending`]); it needs
//! no server. Their credentials are closed and left to `expire-fast` to remove.
//!
//! A crash before a commit leaves nothing, after it the notices in the outbox. A row that breaks its batch costs itself,
//! and is parked for this pass after some tries; it still ends. A row that somebody holds is tried once more at the end.

pub mod flags;
pub mod plan;

use std::collections::HashSet;
use std::time::Duration;

use perennial_core::allowance::Allowance;
use perennial_core::batch::{BUSY_KEPT, Piece, Suspects, run_batch, try_again};
use perennial_core::crash_point;
use perennial_core::db::{Database, DbError, FailedTry, Left, MOST_LEFT, ReminderKey, Tx, Verdict};
use perennial_core::ending::{self, EndSettings, EndSummary};
use perennial_core::ids::{SubscriptionId, TelegramId};
use perennial_core::page::Pages;
use perennial_core::time::{Deadline, Timestamp};

use plan::{Stage, decide};

/// A reminder that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminded {
    /// The trial.
    pub id: SubscriptionId,
    /// Its user.
    pub telegram_id: TelegramId,
    /// Name of the stage.
    pub stage: String,
}

/// Settings of the pass.
#[derive(Clone)]
pub struct Settings<'a> {
    /// The reminders.
    pub stages: &'a [Stage],
    /// Rows a transaction.
    pub batch_rows: usize,
    /// Failed tries after which a row is parked.
    pub max_tries: i32,
    /// Told of every reminder written, after its commit (in a dry run, of every one that would be).
    pub observer: &'a dyn Fn(&Reminded),
    /// Told after each page what was done so far: for the summary of a pass that is stopped hard.
    pub progress: &'a dyn Fn(&Summary),
    /// Trials reminded or ended at most; none: all that are due.
    pub limit: Option<u64>,
    /// How trials that are over are ended, within the same limit; none: not by this pass.
    pub end: Option<EndSettings<'a>>,
}

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Summary {
    /// Trials looked at, and trials past their end.
    pub listed: u64,
    /// Reminders written.
    pub reminded: u64,
    /// Reminders that came due and were not needed: a newer one was due as well, or the user pays.
    pub superseded: u64,
    /// Trials ended.
    pub ended: u64,
    /// Rows somebody else held, at the second try, too.
    pub busy: u64,
    /// Rows that failed, parked ones included.
    pub failed: u64,
    /// Due rows not got to.
    pub left: u64,
    /// Notices written.
    pub notices_written: u64,
    /// Since when the oldest row of `left` has been due.
    pub oldest_due: Duration,
    /// Why the brake refused to end anything.
    pub refused: Option<String>,
    /// The budget ended before the work did.
    pub cut_short: bool,
    /// As many were reminded and ended as may be, and more are due.
    pub at_limit: bool,
    /// `left` is that many or more: counting stopped.
    pub left_at_least: bool,
}

/// What a committed transaction did.
#[derive(Debug, Default)]
struct Written {
    reminded: Vec<Reminded>,
    superseded: u64,
    busy: Vec<ReminderKey>,
}

/// Runs the pass. `summary` is filled as the work goes on, so that it is true also when an error ends the pass.
///
/// # Errors
/// The database's, when they are no row's fault.
pub async fn run(
    db: &Database,
    deadline: &Deadline,
    settings: &Settings<'_>,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let allowance = Allowance::of(settings.limit);
    let reminded = remind(db, deadline, settings, &allowance, summary).await;
    if reminded.as_ref().is_err_and(DbError::is_unavailable) {
        return reminded;
    }
    // Trouble with a message keeps no trial from its end.
    if let Some(end) = settings.end {
        let mut ended = EndSummary::default();
        let before = summary.clone();
        let progress = |ended: &EndSummary| {
            let mut so_far = before.clone();
            so_far.add(ended.clone());
            (settings.progress)(&so_far);
        };
        let end = EndSettings { limit: allowance.left(), progress: &progress, ..end };
        let outcome = ending::end_due(db, deadline, end, &mut ended).await;
        summary.add(ended);
        outcome?;
    }
    reminded
}

async fn remind(
    db: &Database,
    deadline: &Deadline,
    settings: &Settings<'_>,
    allowance: &Allowance,
    summary: &mut Summary,
) -> Result<(), DbError> {
    let beginning = ReminderKey { next_reminder_at: Timestamp::UNIX_EPOCH, id: SubscriptionId(0) };
    let mut pages = Pages::above(beginning, settings.batch_rows);
    let suspects = Suspects::unless(|written: &Written| !written.reminded.is_empty());
    let reminders = Reminders { db, deadline, settings, allowance, suspects };
    let mut busy = Vec::new();
    while let Some(page) = pages.next() {
        if deadline.is_over() || allowance.is_used_up() {
            summary.cut_short = deadline.is_over();
            break;
        }
        let page = page.at_most(allowance.rows(settings.batch_rows));
        let listed = db.run_tx("list_reminders", async |tx| tx.list_reminders_due(&page).await).await?;
        summary.listed += listed.len() as u64;
        reminders.write_page(&listed, summary, &mut busy).await?;
        pages = page.listed(&listed);
        if busy.len() >= BUSY_KEPT {
            reminders.try_again(std::mem::take(&mut busy), summary).await?;
        }
    }
    reminders.try_again(busy, summary).await?;
    summary.at_limit = allowance.is_used_up();
    if !summary.cut_short && !summary.at_limit {
        reminders.suspects.acquit()?;
    }
    // Whatever was not got to, held or failed is due as before, unless its holder has seen to it.
    if summary.cut_short || summary.at_limit || summary.busy + summary.failed > 0 {
        return count_left(db, beginning, summary).await;
    }
    Ok(())
}

struct Reminders<'a> {
    db: &'a Database,
    deadline: &'a Deadline,
    settings: &'a Settings<'a>,
    allowance: &'a Allowance,
    suspects: Suspects<ReminderKey, Written>,
}

impl Reminders<'_> {
    /// Writes the reminders of a page. Trials that somebody holds are added to `busy`.
    async fn write_page(
        &self,
        listed: &[ReminderKey],
        summary: &mut Summary,
        busy: &mut Vec<ReminderKey>,
    ) -> Result<(), DbError> {
        let Settings { stages, max_tries, .. } = *self.settings;
        let batch = run_batch(self.db, self.deadline, "remind", listed, &self.suspects, async |tx, keys| {
            write(tx, keys, stages).await
        });
        let batch = batch.await;
        crash_point!("remind.after_commit");
        for piece in batch.pieces {
            match piece {
                Piece::Done(written) => {
                    self.allowance.spend(written.reminded.len() as u64);
                    summary.count(&written);
                    written.reminded.iter().for_each(self.settings.observer);
                    busy.extend(written.busy);
                }
                Piece::Held(key) => busy.push(key),
                Piece::Failed(key, error) => {
                    record_failed(self.db, key, &error, max_tries).await?;
                    summary.failed += 1;
                }
            }
        }
        (self.settings.progress)(summary);
        batch.error.map_or(Ok(()), Err)
    }

    /// The second try of trials that somebody held. What is held again and still due is left to the next pass.
    async fn try_again(&self, busy: Vec<ReminderKey>, summary: &mut Summary) -> Result<(), DbError> {
        let rows = self.settings.batch_rows;
        let held = try_again(&busy, rows, self.deadline, self.allowance, async |listed, held| {
            self.write_page(listed, summary, held).await
        });
        for listed in held.await?.chunks(rows) {
            let still = self.db.run_tx("still_to_remind", async |tx| tx.still_due_for_reminder(listed).await).await?;
            summary.busy += still.unsigned_abs();
        }
        Ok(())
    }
}

/// One transaction: claim, decide, write.
async fn write(tx: &Tx<'_>, listed: &[ReminderKey], stages: &[Stage]) -> Result<Written, DbError> {
    let claimed = tx.claim_reminders_due(listed).await?;
    let got: HashSet<SubscriptionId> = claimed.iter().map(|trial| trial.id).collect();
    let busy = listed.iter().copied().filter(|key| !got.contains(&key.id)).collect();
    let mut written = Written { busy, ..Written::default() };
    let mut notices = Vec::new();
    let mut reminders = Vec::new();
    let mut moments: Vec<(SubscriptionId, Option<Timestamp>)> = Vec::with_capacity(claimed.len());
    for trial in &claimed {
        let decision = decide(trial, stages, tx.now());
        written.superseded += decision.superseded;
        moments.push((trial.id, decision.next));
        if let Some(reminder) = decision.remind {
            notices.push(plan::notice(trial, &reminder));
            reminders.push((trial, reminder));
        }
    }
    let ids: Vec<SubscriptionId> = claimed.iter().map(|trial| trial.id).collect();
    let (new, (), ()) = futures_util::try_join!(
        tx.insert_new_notices(&notices),
        tx.plan_reminders(&moments),
        tx.forget_failed_tries(&ids),
    )?;
    // A trial that was moved is looked at from its start; what it was told then is no new deed.
    reminders.retain(|(_, reminder)| new.contains(&reminder.dedupe_key));
    let audit: Vec<_> = reminders.iter().map(|(trial, reminder)| plan::audit(trial, reminder)).collect();
    tx.insert_audit(&audit).await?;
    crash_point!("remind.before_commit");
    written.reminded = reminders
        .into_iter()
        .map(|(trial, reminder)| Reminded { id: trial.id, telegram_id: trial.telegram_id, stage: reminder.stage })
        .collect();
    Ok(written)
}

async fn record_failed(db: &Database, key: ReminderKey, why: &DbError, max_tries: i32) -> Result<(), DbError> {
    let verdict = if why.is_final_for_a_row() { Verdict::Park } else { Verdict::Count };
    log::error!(subscription_id = key.id.0, error:% = why; "a trial could not be reminded");
    let tries = [FailedTry { subscription_id: key.id, reason: why.to_string(), verdict }];
    db.run_tx("record_failed", async |tx| tx.record_failed_tries(&tries, max_tries).await).await?;
    Ok(())
}

async fn count_left(db: &Database, cursor: ReminderKey, summary: &mut Summary) -> Result<(), DbError> {
    let left = db.run_tx("count_left", async |tx| tx.count_reminders_left(cursor, MOST_LEFT).await).await?;
    let Left { rows, oldest } = left;
    summary.left += rows;
    summary.left_at_least |= rows >= MOST_LEFT.unsigned_abs();
    summary.cut_short &= rows > 0;
    summary.at_limit &= rows > 0;
    let due_for = oldest.and_then(|since| Duration::try_from(db.now() - since).ok()).unwrap_or_default();
    summary.oldest_due = summary.oldest_due.max(due_for);
    Ok(())
}

impl Summary {
    fn count(&mut self, written: &Written) {
        let reminded = written.reminded.len() as u64;
        self.reminded += reminded;
        self.notices_written += reminded;
        self.superseded += written.superseded;
    }

    fn add(&mut self, ended: EndSummary) {
        self.listed += ended.listed;
        self.ended += ended.ended;
        self.busy += ended.busy;
        self.failed += ended.failed;
        self.left += ended.left;
        self.notices_written += ended.notices_written;
        self.oldest_due = self.oldest_due.max(ended.oldest_due);
        self.refused = ended.refused;
        self.cut_short |= ended.cut_short;
        self.at_limit |= ended.at_limit;
        self.left_at_least |= ended.left_at_least;
    }
}
