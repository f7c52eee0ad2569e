//! Days past and days to come, for the page: read in the same way, and put in order by pure functions.

use perennial_core::db::Database;
use perennial_core::db::admin::{CalendarDay, EndsOfDay, MoneyOfDay, RunsOfDay};
use perennial_core::pass::Pass;
use perennial_core::time::Timestamp;
use time::Date;

use super::read::of_zone;
use crate::failure::Failure;

/// Days ahead that are looked at.
const AHEAD: usize = 30;

/// What happened on some days, and what will end on the next ones.
#[derive(Debug, Clone)]
pub struct History {
    /// The last days, today last.
    pub days: Vec<Day>,
    /// Today and the days after it: rights that end then.
    pub ahead: Vec<(Date, EndsOfDay)>,
}

/// One day.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    /// Its date in the operator's zone.
    pub date: Date,
    /// What the ledger moved.
    pub money: MoneyOfDay,
    /// What all passes did, as their summaries say.
    pub done: Done,
}

/// What the passes did on one day, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Subscriptions renewed.
    pub renewed: i64,
    /// Rights ended.
    pub ended: i64,
    /// Rows failed.
    pub failed: i64,
    /// Rows parked.
    pub parked: i64,
    /// Runs that ended neither done nor in good order.
    pub bad_runs: i64,
    /// Notices sent, dropped, given up.
    pub sent: i64,
    /// See `sent`.
    pub dropped: i64,
    /// See `sent`.
    pub dead: i64,
    /// Seconds from end to proof: the median run's median; none on a day without a proof.
    pub proof_p50: Option<i64>,
    /// The worst run's 99 of 100.
    pub proof_p99: Option<i64>,
}

impl History {
    /// Reads the last `days` days and the next thirty.
    ///
    /// # Errors
    /// The database's; exit code 78 for an unknown zone.
    pub async fn now(db: &Database, zone: &str, days: u16) -> Result<Self, Failure> {
        let (first, last) = (1 - i32::from(days), 30);
        let calendar = db
            .run_tx("status_days", async |tx| tx.status_days(zone, first, last).await)
            .await
            .map_err(|error| of_zone(error, zone))?;
        let begins: Vec<Timestamp> = calendar.iter().map(|day| day.begins).collect();
        let past = usize::from(days);
        let Some(bounds) = begins.get(..=past).filter(|_| begins.len() == past + AHEAD) else {
            return Err(Failure::unforeseen("the calendar has other days than were asked for"));
        };
        let (from, until) = (&bounds[..past], &bounds[1..]);
        let names = Pass::ALL.map(Pass::name);
        let ahead = &calendar[past - 1..];
        let (begin, end) = (&begins[past - 1..begins.len() - 1], &begins[past..]);
        let (money, runs, ends) = tokio::try_join!(
            db.run_tx("status_money", async |tx| tx.status_money(from, until).await),
            db.run_tx("status_run_days", async |tx| tx.status_run_days(from, until, &names).await),
            db.run_tx("status_forecast", async |tx| tx.status_forecast(begin, end).await),
        )?;
        Ok(Self {
            days: in_order(&calendar[..past], &money, &runs),
            ahead: ahead.iter().map(|day| day.date).zip(ends).collect(),
        })
    }
}

fn in_order(calendar: &[CalendarDay], money: &[MoneyOfDay], runs: &[RunsOfDay]) -> Vec<Day> {
    let days = calendar.iter().enumerate().zip(money);
    days.map(|((number, day), money)| {
        let of_day = runs.iter().filter(|runs| runs.day == number);
        Day { date: day.date, money: *money, done: of_day.fold(Done::default(), Done::and) }
    })
    .collect()
}

impl Done {
    fn and(self, runs: &RunsOfDay) -> Self {
        Self {
            renewed: self.renewed + runs.renewed,
            ended: self.ended + runs.ended,
            failed: self.failed + runs.failed,
            parked: self.parked + runs.parked,
            bad_runs: self.bad_runs + runs.bad_runs,
            sent: self.sent + runs.sent,
            dropped: self.dropped + runs.dropped,
            dead: self.dead + runs.dead,
            // One pass alone proves removals.
            proof_p50: self.proof_p50.or(runs.proof_p50),
            proof_p99: self.proof_p99.max(runs.proof_p99),
        }
    }
}
