//! "We will charge N on D": told once a period, before the window of charging is reached.
//!
//! To be told are users of rows that will be charged (`active`, `auto_renew`, of source `payment`, not parked, their
//! tariff sold) with `now + window < expires_at <= now + ahead`. The row remembers for which end its user was told, so
//! that no pass reads past those again; the notice's key holds the period, too. A free period is not announced. What
//! cannot be announced is counted and logged, but never parked: a message gates no money.
//!
//! Whether it is still so (renewed, switched off, parked, over) is asked again just before sending, and the balance in
//! the text is the one of that moment. From the moment of the charge on the notice is useless.

use std::time::Duration;

use perennial_core::allowance::Allowance;
use perennial_core::batch::{Piece, Suspects, run_batch};
use perennial_core::db::{
    AnnouncementBounds, DbError, DueAnnouncement, MOST_LEFT, NewAudit, NewNotice, RenewalKey, Tx,
};
use perennial_core::money::Kopecks;
use perennial_core::page::Pages;
use perennial_core::time::{Timestamp, micros};
use serde_json::json;

use crate::{Outcome, RenewPass, Summary};

impl RenewPass<'_> {
    /// Announces the charges of the time between the window and `ahead`.
    pub(crate) async fn announce(
        &self,
        ahead: Duration,
        allowance: &Allowance,
        summary: &mut Summary,
    ) -> Result<(), DbError> {
        let bounds = AnnouncementBounds { window: self.settings.bounds.window, ahead };
        let beginning = RenewalKey::after(self.db.now() + bounds.window);
        let mut cursor = beginning;
        let mut undone = false;
        let suspects = Suspects::unless(|written: &Written| !written.announced.is_empty());
        let mut pages = Pages::above(cursor, self.settings.batch_rows);
        while let Some(page) = pages.next() {
            if self.deadline.is_over() || allowance.is_used_up() {
                summary.cut_short |= self.deadline.is_over();
                summary.at_limit |= allowance.is_used_up();
                return self.leave_announcements(cursor, bounds, summary).await;
            }
            let page = page.at_most(allowance.rows(self.settings.batch_rows));
            let listed =
                self.db.run_tx("list_announcements", async |tx| tx.list_announcements_due(&page, bounds).await).await?;
            let told = summary.notices_written;
            let page_undone = self.announce_page(&listed, bounds, &suspects, summary).await;
            allowance.spend(summary.notices_written - told);
            undone |= page_undone?;
            cursor = listed.last().copied().unwrap_or(cursor);
            pages = page.listed(&listed);
        }
        suspects.acquit()?;
        // Whatever was held or failed is due as before, unless the other holder has seen to it.
        if undone { self.leave_announcements(beginning, bounds, summary).await } else { Ok(()) }
    }

    /// Answers whether anything was not done.
    async fn announce_page(
        &self,
        listed: &[RenewalKey],
        bounds: AnnouncementBounds,
        suspects: &Suspects<RenewalKey, Written>,
        summary: &mut Summary,
    ) -> Result<bool, DbError> {
        let batch = run_batch(self.db, self.deadline, "announce", listed, suspects, async |tx, keys| {
            write(tx, keys, bounds).await
        });
        let batch = batch.await;
        let mut undone = false;
        for piece in batch.pieces {
            match piece {
                Piece::Done(written) => {
                    undone |= written.is_incomplete;
                    summary.notices_written += written.announced.len() as u64;
                    for outcome in written.announced {
                        self.say(&outcome);
                    }
                }
                Piece::Held(_) => undone = true,
                Piece::Failed(key, why) => {
                    log::warn!(subscription_id = key.id.0, error:% = why; "a charge could not be announced");
                    summary.failed += 1;
                    undone = true;
                }
            }
        }
        batch.error.map_or(Ok(undone), Err)
    }

    async fn leave_announcements(
        &self,
        after: RenewalKey,
        bounds: AnnouncementBounds,
        summary: &mut Summary,
    ) -> Result<(), DbError> {
        let left = self
            .db
            .run_tx("count_announcements", async |tx| tx.count_announcements_left(after, bounds, MOST_LEFT).await)
            .await?;
        self.leave(left, bounds.ahead, summary);
        summary.cut_short &= summary.left > 0;
        Ok(())
    }
}

/// What a committed transaction did.
struct Written {
    announced: Vec<Outcome>,
    /// Somebody else held a row, or had it first.
    is_incomplete: bool,
}

/// One transaction: claim, write, remember.
async fn write(tx: &Tx<'_>, listed: &[RenewalKey], bounds: AnnouncementBounds) -> Result<Written, DbError> {
    let claimed = tx.claim_announcements_due(listed, bounds).await?;
    let told: Vec<RenewalKey> =
        claimed.iter().map(|row| RenewalKey { expires_at: row.expires_at, id: row.id }).collect();
    let worth_it: Vec<&DueAnnouncement> = claimed.iter().filter(|row| row.price > Kopecks::ZERO).collect();
    let notices: Vec<NewNotice> = worth_it.iter().map(|row| notice(row, bounds)).collect();
    let (new, ()) = futures_util::try_join!(tx.insert_new_notices(&notices), tx.record_announced(&told))?;
    // A period that was given back is announced under the key it had: once.
    let new: Vec<&DueAnnouncement> = worth_it.into_iter().filter(|row| new.contains(&key(row))).collect();
    let audit: Vec<NewAudit> = new.iter().map(|row| audit(row, bounds)).collect();
    tx.insert_audit(&audit).await?;
    let announced = new.iter().map(|row| Outcome::Announced {
        id: row.id,
        telegram_id: row.telegram_id,
        amount: row.price,
        charge_at: charge_at(row, bounds),
    });
    Ok(Written { announced: announced.collect(), is_incomplete: claimed.len() < listed.len() })
}

/// The first pass from then on charges it.
fn charge_at(row: &DueAnnouncement, bounds: AnnouncementBounds) -> Timestamp {
    row.expires_at - bounds.window
}

fn key(row: &DueAnnouncement) -> String {
    format!("charge_ahead:{}:{}", row.id, micros(row.expires_at))
}

fn notice(row: &DueAnnouncement, bounds: AnnouncementBounds) -> NewNotice {
    NewNotice {
        telegram_id: row.telegram_id,
        kind: "charge_ahead",
        dedupe_key: key(row),
        params: json!({
            "tariff": row.tariff,
            "amount_kopecks": row.price.0,
            "balance_kopecks": row.balance.0,
            "missing_kopecks": row.price.0.saturating_sub(row.balance.0).max(0),
            "charge_at": micros(charge_at(row, bounds)),
            "deadline": micros(row.expires_at),
        }),
        subscription_id: Some(row.id),
        useless_after: Some(charge_at(row, bounds)),
        urgent: false,
    }
}

fn audit(row: &DueAnnouncement, bounds: AnnouncementBounds) -> NewAudit {
    NewAudit {
        action: "charge_announced",
        telegram_id: Some(row.telegram_id),
        subscription_id: Some(row.id),
        before: None,
        after: Some(json!({ "amount_kopecks": row.price.0, "charge_at": crate::plan::text(charge_at(row, bounds)) })),
        reason: None,
    }
}
