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
//! - **Limited**, a pass stops after so many effects: rows renewed, and customers told that money is short or of a charge
//!   to come. It works on one page at a time then, never longer than what is left ([`perennial_core::allowance`]).
//! - **Announcing** a charge (`--charge-notice`) comes last and never stands between anybody and a renewal: [`announce`].
//! - **Turnovers**, the ledger's sums for status and metrics, are put together at the end of each pass.
//!
//! Rows past their end by more than the grace belong to `expire-fast`; sending belongs to the delivery of notices.

mod announce;
pub mod flags;
mod outcome;
pub mod plan;

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::stream::{self, Stream, TryStreamExt};
use perennial_core::allowance::Allowance;
use perennial_core::batch::{BUSY_KEPT, Batch, Piece, Suspects, run_batch, try_again};
use perennial_core::crash_point;
use perennial_core::db::{
    Database, DbError, FailedTry, Left, MOST_LEFT, Parking, RenewalBounds, RenewalDue, RenewalKey, Tx, Verdict,
};
use perennial_core::ids::SubscriptionId;
use perennial_core::money::Kopecks;
use perennial_core::page::{Listed, Pages};
use perennial_core::time::Deadline;

pub use outcome::{Outcome, Summary};

use outcome::log_outcome;
use plan::{Action, Plan};

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
    /// How long before its end a charge is announced, longer than the window; none: it is not.
    pub charge_notice: Option<Duration>,
    /// Effects after which the pass stops; none: it does not.
    pub limit: Option<u64>,
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

/// What a committed transaction did: what became of its rows, and notices written.
type Written = (Vec<Outcome>, u64);

/// What a pass keeps while it is under way.
struct Course {
    due: RenewalDue,
    suspects: Suspects<RenewalKey, Written>,
    allowance: Allowance,
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
        let suspects = Suspects::unless(|(outcomes, _): &Written| {
            outcomes.iter().any(|outcome| matches!(outcome, Outcome::Renewed { .. }))
        });
        let course = Course { due, suspects, allowance: Allowance::of(self.settings.limit) };
        {
            let mut results = std::pin::pin!(self.results(&course, start, &cursor));
            while let Some(result) = results.try_next().await? {
                summary.listed += result.outcomes.len() as u64;
                self.record(&course, result, summary, &mut busy)?;
                if busy.len() >= BUSY_KEPT {
                    self.try_again(&course, std::mem::take(&mut busy), summary).await?;
                }
            }
        }
        self.try_again(&course, busy, summary).await?;
        let Course { suspects, allowance, .. } = course;
        suspects.acquit()?;
        summary.cut_short |= self.deadline.is_over();
        summary.at_limit = allowance.is_used_up();
        self.count_left(due, cursor.get(), summary).await?;
        if let Some(ahead) = self.settings.charge_notice {
            self.announce(ahead, &allowance, summary).await?;
        }
        self.fold_turnovers().await;
        summary.at_limit &= summary.left > 0;
        Ok(())
    }

    /// Lists page after page and renews up to `workers` of them at once; `cursor` is the last key listed.
    fn results<'b>(
        &'b self,
        course: &'b Course,
        start: RenewalKey,
        cursor: &'b Cell<RenewalKey>,
    ) -> impl Stream<Item = Result<PageResult, DbError>> + 'b {
        let Course { due, allowance, .. } = course;
        // With a limit a page is listed when it is known what the one before it has spent.
        let workers = if allowance.is_limited() { 1 } else { self.settings.workers };
        let pages = Pages::above(start, self.settings.batch_rows);
        stream::try_unfold(pages, move |pages| async move {
            let Some(page) = pages.next().filter(|_| !self.deadline.is_over() && !allowance.is_used_up()) else {
                return Ok(None);
            };
            let page = page.at_most(allowance.rows(self.settings.batch_rows));
            let listed = self.db.run_tx("list_due", async |tx| tx.list_renewal_due(&page, *due).await).await?;
            if let Some(last) = listed.last() {
                cursor.set(last.key());
            }
            let pages = page.listed(&listed);
            Ok(Some((listed, pages)))
        })
        .map_ok(move |listed| async move { Ok(self.renew_page(course, listed).await) })
        .try_buffer_unordered(workers)
    }

    /// Renews one page. A row that fails is counted or parked. The error of a page that could not be finished comes with
    /// what was committed before it.
    async fn renew_page(&self, course: &Course, listed: Vec<RenewalKey>) -> PageResult {
        let batch = run_batch(self.db, self.deadline, "renew", &listed, &course.suspects, async |tx, keys| {
            renew(tx, keys, course.due, self.settings).await
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
    async fn try_again(&self, course: &Course, busy: Vec<RenewalKey>, summary: &mut Summary) -> Result<(), DbError> {
        let (due, rows) = (course.due, self.settings.batch_rows);
        let held = try_again(&busy, rows, self.deadline, &course.allowance, async |listed, held| {
            let result = self.renew_page(course, listed.to_vec()).await;
            self.record(course, result, summary, held)
        });
        for listed in held.await?.chunks(rows) {
            let still = self.db.run_tx("still_due", async |tx| tx.still_due_for_renewal(listed, due).await).await?;
            summary.busy += still.len() as u64;
            let oldest = still.iter().map(|key| key.expires_at).min();
            self.leave(Left { rows: still.len() as u64, oldest }, self.settings.bounds.window, summary);
        }
        Ok(())
    }

    async fn count_left(&self, due: RenewalDue, cursor: RenewalKey, summary: &mut Summary) -> Result<(), DbError> {
        if summary.cut_short || summary.at_limit {
            let left = self.db.run_tx("count_left", async |tx| tx.count_renewal_left(cursor, due, MOST_LEFT).await);
            self.leave(left.await?, self.settings.bounds.window, summary);
            summary.cut_short &= summary.left > 0;
        }
        Ok(())
    }

    /// Keeps the ledger's sums few. They are exact either way: trouble with it is a warning, and the next pass's work.
    async fn fold_turnovers(&self) {
        if self.db.is_dry_run() {
            return;
        }
        while !self.deadline.is_over() {
            match self.db.run_tx("fold_turnovers", async |tx| tx.fold_turnovers().await).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return log::warn!(error:% = error; "turnovers were not put together"),
            }
        }
    }

    /// Counts rows that were not got to; they came due so long before their ends.
    fn leave(&self, left: Left, before_end: Duration, summary: &mut Summary) {
        summary.left += left.rows;
        summary.left_at_least |= left.rows >= MOST_LEFT.unsigned_abs();
        if let Some(end) = left.oldest {
            let due_since = end - before_end;
            let due_for = Duration::try_from(self.db.now() - due_since).unwrap_or_default();
            summary.oldest_due = summary.oldest_due.max(due_for);
        }
    }

    fn say(&self, outcome: &Outcome) {
        (self.observer)(outcome);
        if !self.db.is_dry_run() {
            log_outcome(outcome);
        }
    }

    /// Counts what became of a page and says it, after its commit; then the page's error ends the pass.
    fn record(
        &self,
        course: &Course,
        result: PageResult,
        summary: &mut Summary,
        busy: &mut Vec<RenewalKey>,
    ) -> Result<(), DbError> {
        summary.notices_written += result.notices_written;
        course.allowance.spend(result.outcomes.iter().filter(|outcome| outcome.is_effect()).count() as u64);
        for outcome in result.outcomes {
            summary.count(&outcome);
            self.say(&outcome);
            if let Outcome::Busy(key) = outcome {
                busy.push(key);
            }
        }
        result.error.map_or(Ok(()), Err)
    }
}

/// One transaction: claim, decide, write, compare. All statements are set-based and their number is fixed.
async fn renew(tx: &Tx<'_>, listed: &[RenewalKey], due: RenewalDue, settings: Settings) -> Result<Written, DbError> {
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
    let (posted, _, paid, written, (), (), parked, (), (), read_back) = futures_util::try_join!(
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
        tx.insert_new_notices(&notices),
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
    Ok((outcomes(&plan, parked, listed, &written), written.len() as u64))
}

/// `written` are the keys of the notices that are new.
fn outcomes(plan: &Plan, parked: Vec<Parking>, listed: &[RenewalKey], written: &HashSet<String>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(listed.len());
    let mut claimed = HashSet::with_capacity(listed.len());
    for (row, action) in plan.rows() {
        claimed.insert(row.id);
        match action {
            Action::Renew { price, until } => outcomes.push(Outcome::Renewed {
                id: row.id,
                telegram_id: row.telegram_id,
                amount: *price,
                until: *until,
            }),
            Action::Short { price, stage, .. } => outcomes.push(Outcome::Short {
                id: row.id,
                telegram_id: row.telegram_id,
                missing: Kopecks(price.0 - row.balance.0),
                told: written.contains(&plan::short_key(row, *stage)),
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
