//! How fast is too fast: the numbers of Telegram's FAQ for bots.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The limits of a server. What it counts are messages it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages in any second, over all chats.
    pub per_second: usize,
    /// Messages to one chat at once; then one a second.
    pub chat_burst: u32,
    /// Messages to one group (a negative id) in any minute.
    pub group_per_minute: usize,
    /// How long all calls are refused after a call too many.
    pub wait_seconds: u32,
}

impl Limits {
    /// As documented: 30 a second over all, one a second in a chat with short bursts, 20 a minute in a group.
    pub const DOCUMENTED: Self = Self { per_second: 30, chat_burst: 3, group_per_minute: 20, wait_seconds: 3 };
    /// No limit is ever reached.
    pub const NONE: Self =
        Self { per_second: usize::MAX, chat_burst: u32::MAX, group_per_minute: usize::MAX, wait_seconds: 1 };
}

/// Counts messages against the limits. Times are since the server's start and never go back.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    last_second: VecDeque<Duration>,
    /// When a chat's burst is whole again.
    chats: HashMap<i64, Duration>,
    groups: HashMap<i64, VecDeque<Duration>>,
    closed_until: Duration,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_second: VecDeque::new(),
            chats: HashMap::new(),
            groups: HashMap::new(),
            closed_until: Duration::ZERO,
        }
    }

    /// Refuses every call for so long.
    pub(super) fn close(&mut self, now: Duration, seconds: u32) {
        self.closed_until = self.closed_until.max(now + Duration::from_secs(seconds.into()));
    }

    /// Ends a wait that is under way.
    pub(super) fn open(&mut self) {
        self.closed_until = Duration::ZERO;
    }

    /// Seconds until calls are taken again, rounded up; none: now.
    pub(super) fn closed_for(&self, now: Duration) -> Option<u32> {
        let left = self.closed_until.checked_sub(now).filter(|left| !left.is_zero())?;
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Counts a message, or says how many seconds all calls are refused because it is one too many.
    pub(super) fn count(&mut self, now: Duration, chat_id: i64) -> Result<(), u32> {
        forget(&mut self.last_second, now, SECOND);
        let group = self.groups.entry(chat_id).or_default();
        forget(group, now, MINUTE);
        let whole_at = self.chats.get(&chat_id).copied().unwrap_or_default().max(now) + SECOND;
        let burst = SECOND.saturating_mul(self.limits.chat_burst);
        let is_group_full = chat_id < 0 && group.len() >= self.limits.group_per_minute;
        if self.last_second.len() >= self.limits.per_second || whole_at - now > burst || is_group_full {
            self.close(now, self.limits.wait_seconds);
            return Err(self.limits.wait_seconds);
        }
        self.last_second.push_back(now);
        self.chats.insert(chat_id, whole_at);
        if chat_id < 0 {
            group.push_back(now);
        }
        Ok(())
    }
}

fn forget(times: &mut VecDeque<Duration>, now: Duration, span: Duration) {
    while times.front().is_some_and(|time| now.saturating_sub(*time) >= span) {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn thirty_in_any_second_pass_and_the_next_closes_the_server() {
        let mut meter = Meter::new(Limits::DOCUMENTED);
        for chat in 1..=30 {
            assert_eq!(meter.count(at(10 * chat), i64::try_from(chat).unwrap()), Ok(()));
        }
        assert_eq!(meter.count(at(1_009), 31), Err(3));
        assert_eq!(meter.closed_for(at(1_010)), Some(3));
        assert_eq!(meter.closed_for(at(4_008)), Some(1));
        assert_eq!(meter.closed_for(at(4_009)), None);
        assert_eq!(meter.count(at(4_009), 31), Ok(()));
    }

    #[test]
    fn a_chat_takes_a_short_burst_and_then_one_a_second() {
        let mut meter = Meter::new(Limits::DOCUMENTED);
        for _ in 0..3 {
            assert_eq!(meter.count(at(0), 7), Ok(()));
        }
        assert_eq!(meter.count(at(1), 7), Err(3));
        meter.open();
        for second in 1..100 {
            assert_eq!(meter.count(at(second * 1_000), 7), Ok(()), "second {second}");
        }
    }

    #[test]
    fn a_group_takes_twenty_a_minute() {
        let mut meter = Meter::new(Limits::DOCUMENTED);
        for second in 0..20 {
            assert_eq!(meter.count(at(second * 1_000), -5), Ok(()));
        }
        assert_eq!(meter.count(at(20_000), -5), Err(3));
        assert_eq!(meter.count(at(60_000), -5), Ok(()));
    }
}
