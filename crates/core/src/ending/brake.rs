//! The brake: when more rows are over at once than allowed, nothing is ended, since an end is final for a credential.
//!
//! "At once" is everything that is over, whoever would end it: a bad UPDATE that moves all ends stops `notify-trials`, too,
//! though trials may be few. And it holds while a pass is at work: no more rows are worked on than were counted when the
//! brake was asked; when they are done it is asked again, with what was ended so far.

use crate::db::{Database, DbError};
use crate::share::Share;

/// So few rows may always end, whatever their share: of three customers one is a third.
pub const BRAKE_FREE: i64 = 20;
/// Rows that are counted at most.
const MOST_COUNTED: i64 = 10_000_000;
/// All kinds of rights.
const SOURCES: &[&str] = &["trial", "payment", "grant"];

/// When so many rows are due at once that a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// Rows at most; none: no limit by number.
    pub max_ends: Option<u64>,
    /// Largest share of all active rows; speaks above [`BRAKE_FREE`] rows.
    pub max_share: Share,
}

/// What the brake says.
pub(super) enum Verdict {
    /// So many rows are over, and may end.
    Clear(usize),
    /// Nothing may end, and why.
    Refused(String),
}

impl Brake {
    /// Looks at what is over now, and at the `ended` rows of this pass, which were over at once with it. Counting is
    /// bounded by what the limits need.
    pub(super) async fn ask(self, db: &Database, ended: u64) -> Result<Verdict, DbError> {
        // In a dry run, what would end is over still.
        let ended = if db.is_dry_run() { 0 } else { ended };
        let over = db.run_tx("count_end_due", async |tx| tx.count_end_due(SOURCES, MOST_COUNTED).await).await?.rows;
        let at_once = over + ended;
        if let Some(most) = self.max_ends.filter(|most| at_once > *most) {
            let why = format!("{at_once} subscriptions are over at once, more than max_ends = {most}");
            return Ok(Verdict::Refused(why));
        }
        if at_once > BRAKE_FREE.unsigned_abs() && self.max_share != Share::WHOLE {
            let enough = i64::try_from(self.max_share.smallest_total(at_once)).unwrap_or(i64::MAX);
            let active = db.run_tx("count_active", async |tx| tx.count_active(enough).await).await?;
            let active = active.unsigned_abs() + ended;
            if self.max_share.is_exceeded_by(at_once, active) {
                return Ok(Verdict::Refused(format!(
                    "{at_once} of {active} active subscriptions are over at once, more than max_ends_share = {}",
                    self.max_share
                )));
            }
        }
        Ok(Verdict::Clear(usize::try_from(over).unwrap_or(usize::MAX)))
    }
}
