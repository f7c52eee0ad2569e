//! Ending subscriptions: step 1 of the access protocol (docs/access-protocol.md), one operation for `expire-fast` and
//! `notify-trials`.
//!
//! In one transaction a batch: claim `active` rows past their end with their credentials, set them `expiring`, close
//! each credential that no other active row uses, and write notice and audit row. A row whose credential another active
//! row goes on using is `expired` at once and nothing is removed anywhere (a trial over while a paid row lives). No
//! network is needed; removal comes after the commit and may come at any time later, because nobody can be granted a
//! closed credential again.
//!
//! A row that `renew` will charge (it renews itself, is not parked, the wallet covers the price) is left to it for the
//! grace; then it ends too. A batch that fails is run again row by row. Ending is never parked: a row that fails is
//! counted and tried by the next pass. A row that somebody holds is tried once more at the end.
//!
//! **The brake:** when more rows are over at once than allowed, none is ended; a bad UPDATE must not cut off everybody
//! ([`brake`]).

mod brake;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use crate::allowance::Allowance;
use crate::batch::{BUSY_KEPT, Piece, Suspects, run_batch, try_again};
use crate::crash_point;
use crate::db::{Database, DbError, DueToEnd, EndKey, Ending, Left, MOST_LEFT, NewAudit, NewNotice, Tx};
use crate::ids::{CredentialId, SubscriptionId, TelegramId};
use crate::page::Pages;
use crate::time::{Deadline, Timestamp, micros};
use brake::Verdict;
pub use brake::{BRAKE_FREE, Brake};

/// Before all that is over.
const BEGINNING: EndKey = EndKey { expires_at: Timestamp::UNIX_EPOCH, id: SubscriptionId(0) };

/// What to end and how.
#[derive(Clone, Copy)]
pub struct EndSettings<'a> {
    /// Which rows: `trial`, `payment`, `grant`.
    pub sources: &'a [&'a str],
    /// How long past the end a row is left to `renew`.
    pub grace: Duration,
    /// Rows a transaction.
    pub batch_rows: usize,
    /// The brake.
    pub brake: Brake,
    /// Rows ended at most; none: all that are due.
    pub limit: Option<u64>,
    /// Told of every ended row, after its commit (in a dry run, of every row that would end).
    pub observer: &'a dyn Fn(&Ended),
    /// Told after each page what was done so far: for the summary of a pass that is stopped hard.
    pub progress: &'a dyn Fn(&EndSummary),
}

/// A row that was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The row.
    pub id: SubscriptionId,
    /// Its user.
    pub telegram_id: TelegramId,
    /// Its credential was closed; false: another row goes on using it.
    pub closed: bool,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ended(Ended),
    LeftToRenew,
    Busy(EndKey),
    Failed,
}

/// What a committed transaction did: the fates of its rows, and notices written.
type Written = (Vec<Fate>, u64);

/// What was ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct EndSummary {
    /// Rows listed.
    pub listed: u64,
    /// Rows ended.
    pub ended: u64,
    /// Of these, rows whose access really ends: their credentials were closed.
    pub closed: u64,
    /// Rows left to `renew` for the grace.
    pub left_to_renew: u64,
    /// Rows somebody else held, at the second try, too.
    pub busy: u64,
    /// Rows that failed.
    pub failed: u64,
    /// Due rows not got to.
    pub left: u64,
    /// Since when the oldest row of `left` has been over.
    pub oldest_due: Duration,
    /// Notices written.
    pub notices_written: u64,
    /// Why the brake lets nothing (more) end; none: it does.
    pub refused: Option<String>,
    /// The budget ended before the work did.
    pub cut_short: bool,
    /// As many were ended as may be, and more are due.
    pub at_limit: bool,
    /// `left` is that many or more: counting stopped.
    pub left_at_least: bool,
}

/// Ends what is over.
///
/// # Errors
/// The database's, when they are no row's fault; `summary` is true up to there.
pub async fn end_due(
    db: &Database,
    deadline: &Deadline,
    settings: EndSettings<'_>,
    summary: &mut EndSummary,
) -> Result<(), DbError> {
    let mut pages = Pages::above(BEGINNING, settings.batch_rows);
    let suspects = Suspects::unless(|(fates, _): &Written| fates.iter().any(|fate| matches!(fate, Fate::Ended(_))));
    let pass = Pass { db, deadline, settings, allowance: Allowance::of(settings.limit), suspects };
    let (mut busy, mut cleared) = (Vec::new(), 0);
    while let Some(page) = pages.next().filter(|_| !deadline.is_over() && !pass.allowance.is_used_up()) {
        if cleared == 0 {
            match settings.brake.ask(db, summary.ended).await? {
                Verdict::Clear(0) => break,
                Verdict::Clear(rows) => cleared = rows,
                Verdict::Refused(why) => {
                    summary.refused = Some(why);
                    break;
                }
            }
        }
        let page = page.at_most(pass.allowance.rows(settings.batch_rows).min(cleared));
        let listed = db.run_tx("list_end_due", async |tx| tx.list_end_due(&page, settings.sources).await).await?;
        summary.listed += listed.len() as u64;
        cleared -= listed.len();
        pass.end_page(&listed, summary, &mut busy).await?;
        pages = page.listed(&listed);
        if busy.len() >= BUSY_KEPT {
            pass.try_again(std::mem::take(&mut busy), summary).await?;
        }
    }
    if summary.refused.is_none() {
        pass.try_again(busy, summary).await?;
    }
    summary.at_limit = pass.allowance.is_used_up();
    pass.suspects.acquit()?;
    summary.cut_short = deadline.is_over();
    if summary.cut_short || summary.at_limit || summary.busy > 0 || summary.failed > 0 || summary.refused.is_some() {
        count_left(db, settings, summary).await?;
    }
    Ok(())
}

struct Pass<'a> {
    db: &'a Database,
    deadline: &'a Deadline,
    settings: EndSettings<'a>,
    allowance: Allowance,
    suspects: Suspects<EndKey, Written>,
}

impl Pass<'_> {
    /// Ends the rows of a page. Those that somebody holds are added to `busy`.
    async fn end_page(
        &self,
        listed: &[EndKey],
        summary: &mut EndSummary,
        busy: &mut Vec<EndKey>,
    ) -> Result<(), DbError> {
        let grace = self.settings.grace;
        let batch = run_batch(self.db, self.deadline, "end", listed, &self.suspects, async |tx, keys| {
            end(tx, keys, grace).await
        });
        let batch = batch.await;
        crash_point!("end.after_commit");
        for piece in batch.pieces {
            let (fates, notices_written) = match piece {
                Piece::Done(written) => written,
                Piece::Held(key) => (vec![Fate::Busy(key)], 0),
                Piece::Failed(key, error) => {
                    log::error!(subscription_id = key.id.0, error:% = error; "could not be ended, tried again next pass");
                    (vec![Fate::Failed], 0)
                }
            };
            let before = summary.ended;
            summary.count(&fates, notices_written);
            self.allowance.spend(summary.ended - before);
            for fate in &fates {
                match fate {
                    Fate::Ended(ended) => (self.settings.observer)(ended),
                    Fate::Busy(key) => busy.push(*key),
                    Fate::LeftToRenew | Fate::Failed => {}
                }
            }
        }
        (self.settings.progress)(summary);
        batch.error.map_or(Ok(()), Err)
    }

    /// The second try of rows that somebody held. What is held again and still due is left to the next pass.
    async fn try_again(&self, busy: Vec<EndKey>, summary: &mut EndSummary) -> Result<(), DbError> {
        let rows = self.settings.batch_rows;
        let held = try_again(&busy, rows, self.deadline, &self.allowance, async |listed, held| {
            self.end_page(listed, summary, held).await
        });
        for listed in held.await?.chunks(rows) {
            let still = self.db.run_tx("still_due_to_end", async |tx| tx.still_due_to_end(listed).await).await?;
            summary.busy += still.unsigned_abs();
        }
        Ok(())
    }
}

/// One transaction: claim, look whose credential is still used, write.
async fn end(tx: &Tx<'_>, listed: &[EndKey], grace: Duration) -> Result<Written, DbError> {
    let claimed = tx.claim_end_due(listed).await?;
    let got: HashSet<SubscriptionId> = claimed.iter().map(|row| row.id).collect();
    let now = tx.now();
    let (renewing, ending): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|row| is_left_to_renew(row, now, grace));
    let ids: Vec<SubscriptionId> = ending.iter().map(|row| row.id).collect();
    let credentials: Vec<CredentialId> = ending.iter().map(|row| row.credential).collect();
    let in_use: HashSet<CredentialId> = if ids.is_empty() {
        HashSet::new()
    } else {
        tx.credentials_in_use(&credentials, &ids).await?.into_iter().collect()
    };

    let endings: Vec<Ending> = ending
        .iter()
        .map(|row| Ending {
            id: row.id,
            expires_at: row.expires_at,
            credential_in_use: in_use.contains(&row.credential),
        })
        .collect();
    let closing: Vec<CredentialId> = credentials.into_iter().filter(|id| !in_use.contains(id)).collect();
    let notices: Vec<NewNotice> =
        ending.iter().filter(|row| !in_use.contains(&row.credential)).filter_map(notice).collect();
    let audit: Vec<NewAudit> = ending.iter().map(|row| audit(row, in_use.contains(&row.credential))).collect();
    let (written, _, notices_written, ()) = futures_util::try_join!(
        tx.write_endings(&endings),
        tx.close_credentials(&closing),
        tx.insert_notices(&notices),
        tx.insert_audit(&audit),
    )?;
    if written != endings.len() as u64 {
        let what = format!("{} rows were to end, {written} did", endings.len());
        return Err(DbError::Mismatch { at: "end", what });
    }

    crash_point!("end.before_commit");
    let mut fates: Vec<Fate> = ending
        .iter()
        .map(|row| {
            let closed = !in_use.contains(&row.credential);
            Fate::Ended(Ended { id: row.id, telegram_id: row.telegram_id, closed })
        })
        .collect();
    fates.extend(std::iter::repeat_n(Fate::LeftToRenew, renewing.len()));
    fates.extend(listed.iter().filter(|key| !got.contains(&key.id)).map(|key| Fate::Busy(*key)));
    Ok((fates, notices_written))
}

/// A last-minute top-up counts: within the grace `renew` still charges a funded row.
fn is_left_to_renew(row: &DueToEnd, now: Timestamp, grace: Duration) -> bool {
    row.renewable && row.expires_at + grace > now
}

/// "Over", by the kind of right. Nobody who pays is told that his trial is over.
fn notice(row: &DueToEnd) -> Option<NewNotice> {
    let kind = match row.source.as_str() {
        "trial" if row.paid => return None,
        "trial" => "trial_over",
        _ => "subscription_over",
    };
    Some(NewNotice {
        telegram_id: row.telegram_id,
        kind,
        dedupe_key: format!("{kind}:{}:{}", row.id, micros(row.expires_at)),
        params: json!({ "tariff": row.tariff, "ended": micros(row.expires_at) }),
        subscription_id: Some(row.id),
        useless_after: None,
        urgent: false,
    })
}

fn audit(row: &DueToEnd, credential_in_use: bool) -> NewAudit {
    let after = if credential_in_use { "expired" } else { "expiring" };
    NewAudit {
        action: "ended",
        telegram_id: Some(row.telegram_id),
        subscription_id: Some(row.id),
        before: Some(json!({ "status": "active", "credential_id": row.credential.0 })),
        after: Some(json!({ "status": after, "source": row.source })),
        reason: Some(if credential_in_use { "over; another row uses the credential" } else { "over" }.to_owned()),
    }
}

async fn count_left(db: &Database, settings: EndSettings<'_>, summary: &mut EndSummary) -> Result<(), DbError> {
    let Left { rows, oldest } =
        db.run_tx("count_end_due", async |tx| tx.count_end_due(settings.sources, MOST_LEFT).await).await?;
    summary.left = rows.saturating_sub(summary.left_to_renew);
    summary.left_at_least = rows >= MOST_LEFT.unsigned_abs();
    summary.oldest_due = oldest.and_then(|end| Duration::try_from(db.now() - end).ok()).unwrap_or_default();
    summary.cut_short &= summary.left > 0;
    summary.at_limit &= summary.left > 0;
    Ok(())
}

impl EndSummary {
    fn count(&mut self, fates: &[Fate], notices_written: u64) {
        self.notices_written += notices_written;
        for fate in fates {
            match fate {
                Fate::Ended(row) => {
                    self.ended += 1;
                    self.closed += u64::from(row.closed);
                }
                Fate::LeftToRenew => self.left_to_renew += 1,
                // It is counted when it is held again.
                Fate::Busy(_) => {}
                Fate::Failed => self.failed += 1,
            }
        }
    }
}
