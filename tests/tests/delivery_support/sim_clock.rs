//! One simulated clock for several deliverers at once: it stands still while any of them works, and when all of them
//! wait it goes on to the first that is to wake.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use perennial_core::time::{Clock, Timestamp};

/// The clock.
#[derive(Debug)]
pub struct SimClock(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Timestamp,
    at_work: usize,
    sleepers: BTreeMap<u64, (Timestamp, Waker)>,
    next_id: u64,
}

impl SimClock {
    /// A clock that waits for so many deliverers.
    pub fn of(deliverers: usize, now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { now, at_work: deliverers, sleepers: BTreeMap::new(), next_id: 0 })))
    }

    /// A deliverer is done: nobody waits for it any more.
    pub fn leave(&self) {
        let mut state = self.state();
        state.at_work -= 1;
        state.go_on();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn go_on(&mut self) {
        if self.sleepers.len() < self.at_work {
            return;
        }
        if let Some(first) = self.sleepers.values().map(|(at, _)| *at).min() {
            self.now = self.now.max(first);
            self.sleepers.values().filter(|(at, _)| *at <= first).for_each(|(_, waker)| waker.wake_by_ref());
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn anchor(&self, _database_now: Timestamp) {}

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let mut state = self.state();
        state.next_id += 1;
        Box::pin(Sleep { clock: self, id: state.next_id, at })
    }
}

struct Sleep<'a> {
    clock: &'a SimClock,
    id: u64,
    at: Timestamp,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.id, (self.at, cx.waker().clone()));
        state.go_on();
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.id);
    }
}
