//! What may happen, and how often.

use super::super::random::Random;
use super::model::{Fault, Place, TariffState};

/// One event. Numbers of users and tariffs count from 0 and wrap round, so that any list of operations makes sense.
#[derive(Debug, Clone)]
pub enum Op {
    TopUp {
        user: usize,
        kopecks: i64,
    },
    Buy {
        user: usize,
        tariff: usize,
        auto_renew: bool,
    },
    Cancel {
        user: usize,
    },
    SetAutoRenew {
        user: usize,
        on: bool,
    },
    /// Of the latest payment that stands.
    Refund {
        user: usize,
    },
    Rotate {
        user: usize,
    },
    SetVip {
        user: usize,
        on: bool,
    },
    SetDiscount {
        user: usize,
        percent: i32,
        ends_in_hours: Option<i64>,
    },
    SetAgreed {
        user: usize,
        kopecks: Option<i64>,
    },
    SetPrice {
        tariff: usize,
        kopecks: i64,
    },
    SetState {
        tariff: usize,
        state: TariffState,
    },
    SetFault {
        user: usize,
        fault: Option<Fault>,
    },
    /// All faults are mended.
    Mend,
    Unpark {
        user: usize,
    },
    /// As `expire-fast` does, when the grace is over.
    End {
        user: usize,
    },
    /// The clock moves on.
    Wait {
        minutes: i64,
    },
    Pass {
        kind: PassKind,
        batch_rows: usize,
        workers: usize,
    },
}

/// What befalls a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassKind {
    Plain,
    /// Rolls back.
    Dry,
    /// Three at once.
    Copies,
    /// Told to stop after so many outcomes.
    Stopped(u32),
    /// Its sessions are ended by the server after so many milliseconds.
    Killed(u64),
}

const PLACES: [Place; 7] =
    [Place::Transfer, Place::Wallet, Place::Subscription, Place::Payment, Place::Notice, Place::Audit, Place::End];

impl Op {
    /// A random one that is no pass and moves no clock.
    pub fn any(random: &mut Random, users: usize) -> Self {
        let user = usize::try_from(random.next() % users as u64).unwrap();
        // Mostly the short ones: they renew most often.
        let tariff = random.one_of(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4]);
        match random.between(1, 100) {
            1..=34 => Self::TopUp { user, kopecks: random.between(1, 300_000) },
            35..=62 => Self::Buy { user, tariff, auto_renew: random.percent(95) },
            63..=70 => Self::SetAutoRenew { user, on: random.percent(80) },
            71..=72 => Self::Cancel { user },
            73..=76 => Self::Refund { user },
            77 => Self::Rotate { user },
            78..=79 => Self::SetVip { user, on: random.percent(50) },
            80..=84 => {
                let percent = random.one_of(&[0, 1, 15, 33, 50, 100]);
                let ends_in_hours = random.percent(50).then(|| random.between(1, 2_000));
                Self::SetDiscount { user, percent, ends_in_hours }
            }
            85..=86 => Self::SetAgreed { user, kopecks: random.percent(60).then(|| random.between(0, 30_000)) },
            87..=88 => Self::SetPrice { tariff, kopecks: random.one_of(&[0, 1, 99, 9_900, 19_900, 49_900]) },
            89 => {
                let state = match random.between(1, 8) {
                    1 => TariffState::Withdrawn,
                    2 => TariffState::Missing,
                    _ => TariffState::Sold,
                };
                Self::SetState { tariff, state }
            }
            90..=91 => Self::any_fault(random, user),
            92..=97 => Self::Unpark { user },
            _ => Self::End { user },
        }
    }

    /// A fault of one row's: anywhere in the transaction, final or not.
    pub fn any_fault(random: &mut Random, user: usize) -> Self {
        let fault = Fault { place: random.one_of(&PLACES), is_final: random.percent(40) };
        // What the read-back sees is always final.
        let fault = Fault { is_final: fault.is_final || fault.place == Place::End, ..fault };
        Self::SetFault { user, fault: random.percent(75).then_some(fault) }
    }

    /// The clock moves on; mostly by less than the window, now and then by an outage.
    pub fn any_wait(random: &mut Random) -> Self {
        // After an outage everybody has to buy again: seldom, or there would be more of that than of renewals.
        Self::Wait {
            minutes: if random.between(1, 300) == 1 { random.between(600, 12_000) } else { random.between(1, 350) },
        }
    }

    /// A pass that gets through everything.
    pub fn is_whole_pass(&self) -> bool {
        matches!(self, Self::Pass { kind: PassKind::Plain | PassKind::Copies, .. })
    }

    pub fn any_pass(random: &mut Random) -> Self {
        let kind = match random.between(1, 100) {
            1..=75 => PassKind::Plain,
            76..=80 => PassKind::Dry,
            81..=88 => PassKind::Copies,
            89..=94 => PassKind::Stopped(u32::try_from(random.between(1, 20)).unwrap()),
            _ => PassKind::Killed(u64::try_from(random.between(1, 40)).unwrap()),
        };
        Self::Pass { kind, batch_rows: random.one_of(&[1, 2, 7, 50, 200, 500]), workers: random.one_of(&[1, 1, 2, 4]) }
    }
}
