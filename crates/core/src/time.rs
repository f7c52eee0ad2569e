//! One clock, the database's, and the time budget of a pass.
//!
//! Each transaction reads the database's time with its `BEGIN`; the monotonic clock carries it on in between. A host
//! whose own clock is wrong decides nothing differently. Periods are half-open: at `expires_at <= now` it is over.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ::time::OffsetDateTime;

/// A moment in UTC, in whole microseconds: what `timestamptz` keeps.
pub type Timestamp = OffsetDateTime;

/// Microseconds since 1970, the form in which times stand in idempotency keys and notice parameters.
#[must_use]
pub fn micros(moment: Timestamp) -> i64 {
    // Years −9999 to 9999, the range of `OffsetDateTime`, fit an i64 many times over.
    i64::try_from(moment.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// The moment so many microseconds after 1970, or none beyond the year 9999.
#[must_use]
pub fn from_micros(micros: i64) -> Option<Timestamp> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()
}

/// Tells the time that decisions are made by.
pub trait Clock: Send + Sync {
    /// The time now. Never goes back.
    fn now(&self) -> Timestamp;
    /// Takes over the time that the database just gave.
    fn anchor(&self, database_now: Timestamp);
    /// Waits until this clock shows `at`.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// The database's time, anchored by every transaction and carried on by the monotonic clock.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    anchor: Mutex<Option<(Timestamp, Instant)>>,
}

impl DatabaseClock {
    /// A clock that the first transaction will set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(anchor: Option<(Timestamp, Instant)>) -> Timestamp {
        anchor.map_or(OffsetDateTime::UNIX_EPOCH, |(at, since)| whole_micros(at + since.elapsed()))
    }
}

impl Clock for DatabaseClock {
    /// Before the first transaction: 1970, at which nothing is due.
    fn now(&self) -> Timestamp {
        Self::read(*self.anchor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn anchor(&self, database_now: Timestamp) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        // A server whose clock was set back must not make us decide twice by the same minute.
        let now = Self::read(*anchor).max(database_now);
        *anchor = Some((now, Instant::now()));
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let wait = Duration::try_from(at - self.now()).unwrap_or_default();
        Box::pin(tokio::time::sleep(wait))
    }
}

fn whole_micros(moment: Timestamp) -> Timestamp {
    moment.replace_nanosecond(moment.nanosecond() / 1_000 * 1_000).unwrap_or(moment)
}

/// The time budget of a pass, by the monotonic clock. Clones share one stop.
#[derive(Debug, Clone)]
pub struct Deadline {
    until: Instant,
    stopped: Arc<AtomicBool>,
}

impl Deadline {
    /// A budget that starts now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        let now = Instant::now();
        // A budget beyond what the clock can count is a century; nothing waits that long.
        let until = now.checked_add(budget).unwrap_or(now + Duration::from_secs(3_155_760_000));
        Self { until, stopped: Arc::default() }
    }

    /// Whether no new batch may begin.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.was_stopped() || self.remaining().is_zero()
    }

    /// What is left of the budget, whether stopped or not: the batch in hand may still use it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Ends the budget from outside (SIGTERM): the batch in hand is finished, no other begun.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::macros::datetime;

    #[test]
    fn the_clock_never_goes_back() {
        let clock = DatabaseClock::new();
        clock.anchor(datetime!(2026-01-01 12:00 UTC));
        clock.anchor(datetime!(2026-01-01 11:00 UTC));
        assert!(clock.now() >= datetime!(2026-01-01 12:00 UTC));
    }

    #[test]
    fn times_are_whole_microseconds_and_come_back_from_keys() {
        let moment = whole_micros(datetime!(2026-01-01 12:00:00.123456789 UTC));
        assert_eq!(moment, datetime!(2026-01-01 12:00:00.123456 UTC));
        assert_eq!(from_micros(micros(moment)), Some(moment));
    }

    #[test]
    fn a_stop_ends_the_budget_for_all_clones() {
        let deadline = Deadline::after(Duration::from_secs(3600));
        let clone = deadline.clone();
        assert!(!clone.is_over());
        deadline.stop();
        assert!(clone.is_over() && clone.was_stopped() && !clone.remaining().is_zero());
    }
}
