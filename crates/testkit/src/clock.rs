//! A clock of the tests' own.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use perennial_core::time::{Clock, Timestamp, from_micros, micros};

/// A clock that stands still until it is moved: for simulations.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    /// A clock that shows `now`, cut to whole microseconds.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(whole_micros(now)))
    }

    /// Moves the clock to `now`; moving it back is ignored.
    pub fn set(&self, now: Timestamp) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = (*shown).max(whole_micros(now));
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn anchor(&self, _database_now: Timestamp) {}

    /// Nobody waits in a simulation: the clock is moved on.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            self.set(at);
            tokio::task::yield_now().await;
        })
    }
}

/// As PostgreSQL keeps it.
fn whole_micros(moment: Timestamp) -> Timestamp {
    from_micros(micros(moment)).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_shows_whole_microseconds() {
        let at = |micros| from_micros(micros).unwrap();
        let clock = TestClock::at(at(1_767_268_800_123_456) + Duration::from_nanos(789));
        assert_eq!(clock.now(), at(1_767_268_800_123_456));
        clock.set(at(1_767_268_800_000_000));
        assert_eq!(clock.now(), at(1_767_268_800_123_456));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), at(1_767_268_801_123_456));
    }
}
