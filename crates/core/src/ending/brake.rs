//! The brake: when more rows are over at once than allowed, nothing is ended, since an end is final for a credential.
//!
//! "At once" is everything that is over, whoever would end it: a bad UPDATE that moves all ends stops `notify-trials`, too,
//! though trials may be few. And it holds while a pass is at work: no more rows are worked on than were counted when the
//! brake was asked; when they are done it is asked again, with what was ended so far.

use crate::db::{Database, DbError};

/// So few rows may always end, whatever their share: of three customers one is a third.
pub const BRAKE_FREE: i64 = 20;
/// A share of 1.
const WHOLE: u32 = 1_000_000;
/// Rows that are counted at most.
const MOST_COUNTED: i64 = 10_000_000;
/// All kinds of rights.
const SOURCES: &[&str] = &["trial", "payment", "grant"];

/// When so many rows are due at once that a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// Rows at most; none: no limit by number.
    pub max_ends: Option<u64>,
    /// Largest share of all active rows, in millionths; speaks above [`BRAKE_FREE`] rows.
    pub max_share_millionths: u32,
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
        let ended = if db.is_dry_run() { 0 } else { i64::try_from(ended).unwrap_or(i64::MAX) };
        let over = db.run_tx("count_end_due", async |tx| tx.count_end_due(SOURCES, MOST_COUNTED).await).await?.0;
        let at_once = over.saturating_add(ended);
        if let Some(most) = self.max_ends.filter(|most| at_once.unsigned_abs() > *most) {
            let why = format!("{at_once} subscriptions are over at once, more than max_ends = {most}");
            return Ok(Verdict::Refused(why));
        }
        if at_once > BRAKE_FREE && self.max_share_millionths < WHOLE {
            let enough = fewest_active(at_once, self.max_share_millionths);
            let active = db.run_tx("count_active", async |tx| tx.count_active(enough).await).await?;
            let active = active.saturating_add(ended);
            if active < enough {
                let percent = u64::from(self.max_share_millionths) * 100 / u64::from(WHOLE);
                return Ok(Verdict::Refused(format!(
                    "{at_once} of {active} active subscriptions are over at once, more than max_ends_share ({percent} %)"
                )));
            }
        }
        Ok(Verdict::Clear(usize::try_from(over).unwrap_or(0)))
    }
}

/// The fewest active rows of which `due` are no more than the share: counting can stop there.
fn fewest_active(due: i64, share_millionths: u32) -> i64 {
    let share = u128::from(share_millionths.max(1));
    let enough = (u128::from(due.unsigned_abs()) * u128::from(WHOLE)).div_ceil(share);
    i64::try_from(enough).unwrap_or(i64::MAX)
}
