//! What the common numbers may be: the same for flags and settings file.

/// Both ends included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) least: u32,
    pub(crate) most: u32,
}

impl Range {
    const fn new(least: u32, most: u32) -> Self {
        Self { least, most }
    }

    pub(crate) fn holds(self, number: u32) -> bool {
        (self.least..=self.most).contains(&number)
    }

    /// As clap's number parsers take it.
    pub(crate) fn as_i64(self) -> std::ops::RangeInclusive<i64> {
        i64::from(self.least)..=i64::from(self.most)
    }
}

/// Rows a transaction. Beyond the top a batch holds its locks for seconds.
pub(crate) const BATCH_ROWS: Range = Range::new(1, 10_000);
/// Connections at work.
pub(crate) const WORKERS: Range = Range::new(1, 64);
/// Connections at most: workers, the lister and one more.
pub(crate) const POOL_SIZE: Range = Range::new(1, 128);
/// Budget of a pass in seconds: at most a day.
pub(crate) const MAX_SECONDS: Range = Range::new(1, 86_400);
/// Effects of a limited pass. None at all is what observing is for.
pub(crate) const EFFECTS: Range = Range::new(1, 1_000_000_000);
/// Messages a second; Telegram allows a bot about 30.
pub(crate) const RATE_PER_SECOND: Range = Range::new(1, 30);

/// Rows a transaction when nothing else is said: a sixth faster than 200, and whoever waits for a wallet waits 50 ms.
pub(crate) const DEFAULT_BATCH_ROWS: u32 = 500;
/// Connections at work when nothing else is said.
pub(crate) const DEFAULT_WORKERS: u32 = 1;
/// Connections beyond the workers': one lists while they work, one closes the run.
pub(crate) const SPARE_CONNECTIONS: u32 = 2;
