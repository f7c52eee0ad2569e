//! What may happen in the life of the service. A history is a list of these, and any part of it is one, too: users are
//! counted round, and what makes no sense at its time is nothing.

use crate::model::{Model, is_parked};
use crate::random::Random;
use crate::renewing::TariffState;

/// What a customer, the bot or an operator does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    TopUp {
        kopecks: i64,
    },
    Buy {
        tariff: usize,
        auto_renew: bool,
    },
    Trial {
        tariff: usize,
    },
    Grant {
        tariff: usize,
        days: i64,
    },
    CancelPaid,
    CancelTrial,
    SetAutoRenew {
        on: bool,
    },
    /// Of the latest payment that stands.
    Refund,
    Rotate {
        group: usize,
    },
    SetVip {
        on: bool,
    },
    SetDiscount {
        percent: i32,
        hours: Option<i64>,
    },
    /// Blocks the bot in its chat, or lets it write again.
    Block {
        on: bool,
    },
    /// A sign of life.
    Appear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Renew,
    Trials,
    Expire,
    Reconcile,
    Deliver,
}

/// How a pass goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Whole,
    /// Two at once.
    Copies,
    /// Its budget ends after so many rows, calls or messages.
    Cut(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// A call of the bot's, made twice where `again`; after it the bot adds the user to the servers by itself: none, at
    /// once, or late.
    Op {
        user: usize,
        op: Op,
        again: bool,
        adds: Adds,
    },
    SetPrice {
        tariff: usize,
        kopecks: i64,
    },
    SetState {
        tariff: usize,
        state: TariffState,
    },
    /// All rows parked for `renew` come back.
    Unpark,
    Wait {
        minutes: u32,
    },
    /// From now on until the next rest servers and chats are in trouble; the seed says which.
    Trouble {
        seed: u64,
    },
    /// A server forgets all users added at run time.
    Restart {
        node: usize,
    },
    /// Somebody takes users off a server, or puts a stranger there.
    Meddle {
        node: usize,
        seed: u64,
    },
    Pass {
        pass: Pass,
        how: How,
        batch_rows: usize,
        workers: usize,
    },
    /// Nothing goes wrong any more, every pass runs; then everything is compared.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adds {
    Never,
    AtOnce,
    Late,
}

/// What happens until the next rest.
pub(crate) fn some_days(random: &mut Random, model: &Model) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..random.between(1, 3) {
        customers(random, model, &mut actions);
        operators(random, &mut actions);
        let away = random.percent(1);
        let minutes = if away { random.between(1_500, 7_000) } else { random.between(60, 1_320) };
        actions.push(Action::Wait { minutes: u32::try_from(minutes).unwrap() });
        passes(random, &mut actions);
    }
    actions.push(Action::Rest);
    actions
}

fn customers(random: &mut Random, model: &Model, actions: &mut Vec<Action>) {
    let users = model.people.len();
    let mut act = |random: &mut Random, user, op| {
        let adds = random.one_of(&[Adds::Never, Adds::AtOnce, Adds::AtOnce, Adds::Late]);
        actions.push(Action::Op { user, op, again: random.percent(5), adds });
    };
    for (user, person) in model.people.iter().enumerate() {
        let price = |tariff: usize| model.rules.tariffs[tariff].price;
        match &person.paying.sub {
            // Comes back, or is new.
            None if random.percent(30) => {
                let tariff = random.one_of(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4]);
                let kopecks = price(tariff).max(100) * random.between(1, 40);
                let auto_renew = random.percent(95);
                act(random, user, Op::TopUp { kopecks });
                act(random, user, Op::Buy { tariff, auto_renew });
            }
            Some(sub) if person.paying.balance < 2 * price(sub.tariff) && random.percent(30) => {
                let kopecks = price(sub.tariff).max(100) * random.between(1, 60);
                act(random, user, Op::TopUp { kopecks });
            }
            _ => {}
        }
    }
    for _ in 0..random.between(0, i64::try_from(users / 16).unwrap().clamp(2, 40)) {
        let user = usize::try_from(random.next() % users as u64).unwrap();
        let op = any_op(random);
        act(random, user, op);
    }
}

fn any_op(random: &mut Random) -> Op {
    let tariff = random.one_of(&[0, 0, 0, 1, 2, 3, 4]);
    match random.between(1, 100) {
        1..=12 => Op::TopUp { kopecks: random.between(1, 60_000) },
        13..=22 => Op::Buy { tariff, auto_renew: random.percent(90) },
        23..=38 => Op::Trial { tariff },
        39..=48 => Op::Grant { tariff, days: random.between(1, 6) },
        49..=53 => Op::CancelPaid,
        54..=55 => Op::CancelTrial,
        56..=63 => Op::SetAutoRenew { on: random.percent(70) },
        64..=68 => Op::Refund,
        69..=76 => Op::Rotate { group: random.one_of(&[0, 0, 1]) },
        77..=80 => Op::SetVip { on: random.percent(50) },
        81..=86 => Op::SetDiscount {
            percent: random.one_of(&[0, 1, 15, 33, 50, 100]),
            hours: random.percent(50).then(|| random.between(1, 2_000)),
        },
        // Most customers read no messages: a receipt that is sent costs the simulation more than the renewal.
        87..=96 => Op::Block { on: random.percent(90) },
        _ => Op::Appear,
    }
}

fn operators(random: &mut Random, actions: &mut Vec<Action>) {
    let tariff = random.one_of(&[0, 1, 2, 3, 4]);
    match random.between(1, 100) {
        1..=6 => actions.push(Action::SetPrice { tariff, kopecks: random.one_of(&[0, 1, 99, 900, 2_500, 19_900]) }),
        7..=8 => {
            let state = random.one_of(&[TariffState::Withdrawn, TariffState::Missing]);
            actions.push(Action::SetState { tariff, state });
        }
        9..=40 => {
            actions.extend((0..5).map(|tariff| Action::SetState { tariff, state: TariffState::Sold }));
            actions.push(Action::Unpark);
        }
        _ => {}
    }
}

fn passes(random: &mut Random, actions: &mut Vec<Action>) {
    if random.percent(30) {
        actions.push(Action::Trouble { seed: random.next() });
    }
    if random.percent(10) {
        actions.push(Action::Restart { node: random.one_of(&[0, 1]) });
    }
    if random.percent(20) {
        actions.push(Action::Meddle { node: random.one_of(&[0, 1]), seed: random.next() });
    }
    for pass in [Pass::Renew, Pass::Trials, Pass::Expire, Pass::Reconcile, Pass::Deliver] {
        if random.percent(if pass == Pass::Renew { 1 } else { 30 }) {
            continue;
        }
        let how = match random.between(1, 100) {
            1..=80 => How::Whole,
            81..=90 => How::Copies,
            _ => How::Cut(usize::try_from(random.between(1, 20)).unwrap()),
        };
        let (batch_rows, workers) = (random.one_of(&[7, 100, 500, 500]), random.one_of(&[1, 1, 3]));
        actions.push(Action::Pass { pass, how, batch_rows, workers });
    }
}

/// Whether an action concerns one of these users only.
pub(crate) fn is_of(action: &Action, users: &[usize]) -> bool {
    !matches!(action, Action::Op { user, .. } if !users.contains(user))
}

impl Model {
    /// Whom the operator would find parked.
    pub(crate) fn unpark(&mut self) {
        for sub in self.people.iter_mut().filter_map(|person| person.paying.sub.as_mut()) {
            if is_parked(sub) {
                sub.parked = None;
            }
        }
    }
}
