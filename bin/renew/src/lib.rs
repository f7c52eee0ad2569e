//! `renew`: charges due subscriptions from their wallets and extends them.
//!
//! **Due** is a row that is `active`, with `auto_renew`, of source `payment`, not parked for `renew`, and
//! `now − grace < expires_at <= now + window`. A page of due rows is listed without locks, oldest end first; then one
//! transaction claims what is still as listed and held by nobody, decides ([`plan`]), posts the charges, extends, and
//! writes payments, receipts and audit rows. What stands there then is read back and compared with the decision.
//!
//! - **Crash before the commit:** nothing happened. **After it:** the row is not due any more; the receipt waits in the
//!   outbox. The transfer's key, the payment's unique period and the listed end in every condition each prevent a
//!   second charge by themselves.
//! - **A row that breaks its batch** (constraint, trigger, a difference after the write) costs itself: the batch is run
//!   again row by row. A row that fails is counted, and parked after some passes; what cannot get better by waiting is
//!   parked at once. Connection loss, deadlocks and time-outs are nobody's fault and never counted.
//! - **Short balance** uses nothing up: the next pass tries again, so a top-up works at once.
//! - **At most one period a pass:** a row is listed once, and its new end has another key.
//!
//! Rows past their end by more than the grace belong to `expire-fast`; sending belongs to the delivery of notices.

pub mod flags;
pub mod plan;

use std::cell::Cell;
use std::time::Duration;

use futures_util::stream::{self, Stream, TryStreamExt};
use perennial_core::batch::{Batch, Piece, Suspects, run_batch};
use perennial_core::crash_point;
use perennial_core::db::{Database, DbError, FailedTry, Parking, RenewalBounds, RenewalDue, RenewalKey, Tx, Verdict};
use perennial_core::ids::{SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use perennial_core::page::{Listed, Pages};
use perennial_core::time::{Deadline, Timestamp};

use plan::{Action, Plan};

/// Busy rows kept for their second try; more than these are tried again before the pass goes on, so that memory does
/// not grow with the number of due rows.
const BUSY_KEPT: usize = 20_000;

/// Settings of the pass.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Which rows are due.
    pub bounds: RenewalBounds,
    /// Rows a transaction. More: fewer commits, longer locks.
    pub batch_rows: usize,
    /// Batches at work at once, a connection each.
    pub workers: usize,
    /// Failed tries after which a row is parked.
    pub max_tries: i32,
}

/// What became of a listed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Charged and extended.
    Renewed {
        /// The row.
        id: SubscriptionId,
        /// Its user.
        telegram_id: TelegramId,
        /// What was charged.
        amount: Kopecks,
        /// The new end.
        until: Timestamp,
    },
    /// The wallet does not cover the price.
    Short {
        /// The row.
        id: SubscriptionId,
        /// Its user.
        telegram_id: TelegramId,
        /// What is missing.
        missing: Kopecks,
    },
    /// Left alone until `admin unpark`.
    Parked {
        /// The row.
        id: SubscriptionId,
        /// Why.
        reason: String,
    },
    /// Failed; tried again by the next pass.
    Failed {
        /// The row.
        id: SubscriptionId,
        /// Why.
        reason: String,
        /// Failed tries so far; 0: even that could not be recorded.
        tries: i32,
    },
    /// Somebody else holds it, or had it first.
    Busy(RenewalKey),
}

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Summary {
    /// Rows listed.
    pub listed: u64,
    /// Rows charged and extended.
    pub renewed: u64,
    /// Rows whose wallet did not cover the price.
    pub short: u64,
    /// Rows parked by this pass.
    pub parked: u64,
    /// Rows still due that somebody else held, also at the second try. They are among `left`.
    pub busy: u64,
    /// Rows that failed and are tried again by the next pass.
    pub failed: u64,
    /// Due rows this pass did not get to.
    pub left: u64,
    /// What was charged.
    pub charged: Kopecks,
    /// Notices written.
    pub notices_written: u64,
    /// Notices waiting to be sent, after the pass.
    pub notices_waiting: u64,
    /// Since when the oldest row of `left` has been due.
    pub oldest_due: Duration,
    /// The pass ended before its work did.
    pub cut_short: bool,
}

/// One pass over what is due.
pub struct RenewPass<'a> {
    /// The database.
    pub db: &'a Database,
    /// When to stop.
    pub deadline: &'a Deadline,
    /// How to work.
    pub settings: Settings,
    /// Told of every outcome, after its commit.
    pub observer: &'a dyn Fn(&Outcome),
}

/// What became of one page.
#[derive(Default)]
struct PageResult {
    outcomes: Vec<Outcome>,
    notices_written: u64,
    error: Option<DbError>,
}

impl RenewPass<'_> {
    /// Runs the pass. `summary` is filled as the work goes on, so that it is true also when an error ends the pass.
    ///
    /// # Errors
    /// The database's, when they are no row's fault.
    pub async fn run(&self, summary: &mut Summary) -> Result<(), DbError> {
        let bounds = self.settings.bounds;
        let pass_began = self.db.run_tx("start", async |tx| Ok(tx.now())).await?;
        let due = RenewalDue { bounds, pass_began };
        let start = RenewalKey::after(pass_began - bounds.grace);
        let cursor = Cell::new(start);
        let mut busy = Vec::new();
        let suspects = Suspects::default();
        {
            let mut results = std::pin::pin!(self.results(due, start, &cursor, &suspects));
            while let Some(result) = results.try_next().await? {
                summary.listed += result.outcomes.len() as u64;
                self.record(result, summary, &mut busy)?;
                if busy.len() >= BUSY_KEPT {
                    self.try_again(due, std::mem::take(&mut busy), &suspects, summary).await?;
                }
            }
        }
        self.try_again(due, busy, &suspects, summary).await?;
        suspects.acquit()?;
        summary.cut_short |= self.deadline.is_over();
        self.count_left(due, cursor.get(), summary).await
    }

    /// Lists page after page and renews up to `workers` of them at once; `cursor` is the last key listed.
    fn results<'b>(
        &'b self,
        due: RenewalDue,
        start: RenewalKey,
        cursor: &'b Cell<RenewalKey>,
        suspects: &'b Suspects<RenewalKey>,
    ) -> impl Stream<Item = Result<PageResult, DbError>> + 'b {
        let pages = Pages::above(start, self.settings.batch_rows);
        stream::try_unfold(pages, move |pages| async move {
            let Some(page) = pages.next().filter(|_| !self.deadline.is_over()) else {
                return Ok(None);
            };
            let listed = self.db.run_tx("list_due", async |tx| tx.list_renewal_due(&page, due).await).await?;
            if let Some(last) = listed.last() {
                cursor.set(last.key());
            }
            let pages = page.listed(&listed);
            Ok(Some((listed, pages)))
        })
        .map_ok(move |listed| async move { Ok(self.renew_page(due, listed, suspects).await) })
        .try_buffer_unordered(self.settings.workers)
    }

    /// Renews one page. A row that fails is counted or parked. The error of a page that could not be finished comes with
    /// what was committed before it.
    async fn renew_page(
        &self,
        due: RenewalDue,
        listed: Vec<RenewalKey>,
        suspects: &Suspects<RenewalKey>,
    ) -> PageResult {
        let batch = run_batch(self.db, self.deadline, "renew", &listed, suspects, async |tx, keys| {
            renew(tx, keys, due, self.settings).await
        });
        let Batch { pieces, error } = batch.await;
        crash_point!("renew.after_commit");
        let mut page = PageResult { error, ..PageResult::default() };
        for piece in pieces {
            match piece {
                Piece::Done((outcomes, notices_written)) => {
                    page.outcomes.extend(outcomes);
                    page.notices_written += notices_written;
                }
                Piece::Held(key) => page.outcomes.push(Outcome::Busy(key)),
                Piece::Failed(key, why) => match self.record_failed(key, &why).await {
                    Ok(outcomes) => page.outcomes.extend(outcomes),
                    Err(error) => page.error = page.error.or(Some(error)),
                },
            }
        }
        page
    }

    async fn record_failed(&self, key: RenewalKey, why: &DbError) -> Result<Vec<Outcome>, DbError> {
        let verdict = if why.is_final_for_a_row() { Verdict::Park } else { Verdict::Count };
        let tries = [FailedTry { subscription_id: key.id, reason: why.to_string(), verdict }];
        let limit = self.settings.max_tries;
        match self.db.run_tx("record_failed", async |tx| tx.record_failed_tries(&tries, limit).await).await {
            Ok(recorded) => Ok(recorded.into_iter().map(failed).collect()),
            // What keeps a row from being renewed may keep it from being parked, too. That is still that row's trouble.
            Err(worse) if worse.is_of_a_row() || worse.is_timeout() => {
                log::error!(subscription_id = key.id.0, error:% = worse; "a failed try could not be recorded");
                Ok(vec![Outcome::Failed { id: key.id, reason: why.to_string(), tries: 0 }])
            }
            Err(worse) => Err(worse),
        }
    }

    /// The second try of rows that somebody held. What is held again and still due is left to the next pass.
    async fn try_again(
        &self,
        due: RenewalDue,
        busy: Vec<RenewalKey>,
        suspects: &Suspects<RenewalKey>,
        summary: &mut Summary,
    ) -> Result<(), DbError> {
        let mut held = Vec::new();
        for listed in busy.chunks(self.settings.batch_rows) {
            if self.deadline.is_over() {
                held.extend_from_slice(listed);
                continue;
            }
            let result = self.renew_page(due, listed.to_vec(), suspects).await;
            self.record(result, summary, &mut held)?;
        }
        for listed in held.chunks(self.settings.batch_rows) {
            let still = self.db.run_tx("still_due", async |tx| tx.still_due_for_renewal(listed, due).await).await?;
            summary.busy += still.len() as u64;
            self.leave(still.len() as u64, still.iter().map(|key| key.expires_at).min(), summary);
        }
        Ok(())
    }

    async fn count_left(&self, due: RenewalDue, cursor: RenewalKey, summary: &mut Summary) -> Result<(), DbError> {
        if summary.cut_short {
            let (rows, oldest) =
                self.db.run_tx("count_left", async |tx| tx.count_renewal_left(cursor, due).await).await?;
            self.leave(rows.unsigned_abs(), oldest, summary);
            summary.cut_short = summary.left > 0;
        }
        let waiting = self.db.run_tx("count_waiting", async |tx| tx.count_waiting_notices().await).await?;
        summary.notices_waiting = waiting.unsigned_abs();
        Ok(())
    }

    fn leave(&self, rows: u64, oldest_end: Option<Timestamp>, summary: &mut Summary) {
        summary.left += rows;
        if let Some(end) = oldest_end {
            let due_since = end - self.settings.bounds.window;
            let due_for = Duration::try_from(self.db.now() - due_since).unwrap_or_default();
            summary.oldest_due = summary.oldest_due.max(due_for);
        }
    }

    /// Counts what became of a page and says it, after its commit; then the page's error ends the pass.
    fn record(&self, result: PageResult, summary: &mut Summary, busy: &mut Vec<RenewalKey>) -> Result<(), DbError> {
        summary.notices_written += result.notices_written;
        for outcome in result.outcomes {
            (self.observer)(&outcome);
            summary.count(&outcome);
            if !self.db.is_dry_run() {
                log_outcome(&outcome);
            }
            if let Outcome::Busy(key) = outcome {
                busy.push(key);
            }
        }
        result.error.map_or(Ok(()), Err)
    }
}

impl Summary {
    /// Counts what became of a row.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Renewed { amount, .. } => {
                self.renewed += 1;
                self.charged = self.charged.checked_add(*amount).unwrap_or(self.charged);
            }
            Outcome::Short { .. } => self.short += 1,
            Outcome::Parked { .. } => self.parked += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Busy(_) => {}
        }
    }
}

/// One transaction: claim, decide, write, compare. All statements are set-based and their number is fixed.
async fn renew(
    tx: &Tx<'_>,
    listed: &[RenewalKey],
    due: RenewalDue,
    settings: Settings,
) -> Result<(Vec<Outcome>, u64), DbError> {
    crash_point!("renew.before_claim");
    let claimed = tx.claim_renewal_due(listed, due).await?;
    let plan = Plan::of(claimed, tx.now(), settings.bounds.grace);
    let transfers = plan.transfers();
    let extensions = plan.extensions();
    let payments = plan.payments();
    let notices = plan.notices();
    let audit = plan.audit();
    let short = plan.short_tries();
    let parkings = plan.parkings();
    let recovered = plan.recovered();
    let extended: Vec<SubscriptionId> = extensions.iter().map(|extension| extension.id).collect();

    // Sent one behind the other without waiting in between; the server runs them in this order, and after a failed one
    // refuses the rest.
    let (posted, _, paid, notices_written, (), (), parked, (), (), read_back) = futures_util::try_join!(
        async {
            let posted = tx.post_transfers(&transfers).await?;
            crash_point!("renew.after_transfer");
            Ok(posted)
        },
        async {
            let extended = tx.extend(&extensions).await?;
            crash_point!("renew.after_extension");
            Ok(extended)
        },
        tx.insert_payments(&payments),
        tx.insert_notices(&notices),
        tx.insert_audit(&audit),
        tx.record_short_tries(&short),
        tx.record_failed_tries(&parkings, settings.max_tries),
        tx.forget_failed_tries(&recovered),
        tx.settle(),
        tx.read_back(&extended),
    )?;
    if let Some(old) = posted.iter().find(|posted| !posted.fresh) {
        return Err(DbError::Mismatch { at: "renew", what: format!("transfer {} was posted before", old.key) });
    }
    if let Some(what) = plan.difference(&read_back, &paid) {
        return Err(DbError::Mismatch { at: "renew", what });
    }
    crash_point!("renew.before_commit");
    Ok((outcomes(&plan, parked, listed), notices_written))
}

fn outcomes(plan: &Plan, parked: Vec<Parking>, listed: &[RenewalKey]) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(listed.len());
    let mut claimed = std::collections::HashSet::with_capacity(listed.len());
    for (row, action) in plan.rows() {
        claimed.insert(row.id);
        match action {
            Action::Renew { price, until } => outcomes.push(Outcome::Renewed {
                id: row.id,
                telegram_id: row.telegram_id,
                amount: *price,
                until: *until,
            }),
            Action::Short { price, .. } => outcomes.push(Outcome::Short {
                id: row.id,
                telegram_id: row.telegram_id,
                missing: Kopecks(price.0 - row.balance.0),
            }),
            Action::Park { .. } => {}
        }
    }
    outcomes.extend(parked.into_iter().map(failed));
    outcomes.extend(listed.iter().filter(|key| !claimed.contains(&key.id)).map(|key| Outcome::Busy(*key)));
    outcomes
}

fn failed(row: Parking) -> Outcome {
    let Parking { subscription_id: id, tries, reason, parked, .. } = row;
    if parked { Outcome::Parked { id, reason } } else { Outcome::Failed { id, reason, tries } }
}

fn log_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Renewed { id, amount, .. } => {
            log::info!(subscription_id = id.0, amount_kopecks = amount.0; "renewed");
        }
        Outcome::Short { id, missing, .. } => {
            log::debug!(subscription_id = id.0, missing_kopecks = missing.0; "balance too small, tried again next pass");
        }
        Outcome::Parked { id, reason } => {
            log::error!(subscription_id = id.0, reason = reason.as_str(); "parked; see `admin parked`");
        }
        Outcome::Failed { id, reason, tries } => {
            log::warn!(subscription_id = id.0, reason = reason.as_str(), tries; "failed, tried again next pass");
        }
        Outcome::Busy(key) => log::debug!(subscription_id = key.id.0; "held or changed by somebody else"),
    }
}
