//! What the service does, written a second time in plain Rust: who has which right, what the wallets hold, who is told
//! what. Paid rows, prices and periods are those of the model of renewals; here is all that is around them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use perennial_core::time::{Timestamp, micros};

use crate::renewing::{Model as Renewing, Sub, Tariff, TariffState, User};

/// How long before the end it is charged: more than a step of the simulation, so that nobody lapses for want of a pass.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// How long past the end a funded row is left to `renew`.
pub(crate) const GRACE: Duration = Duration::from_secs(900);
/// How long before its end a charge is announced.
pub(crate) const AHEAD: Duration = Duration::from_secs(36 * 3600);
/// Length of a trial, and when it is reminded of.
pub(crate) const TRIAL_HOURS: u32 = 72;
const HOUR: Duration = Duration::from_secs(3600);
/// Periods of a user that are kept; what is older cannot be refunded any more.
const PAYMENTS_KEPT: usize = 12;

/// Access groups.
pub(crate) const GROUPS: [&str; 2] = ["basic", "plus"];
/// Code, group, whether months, count, price.
type Line = (&'static str, usize, bool, i32, i64);
/// The price list when the simulation begins.
const PRICE_LIST: [Line; 5] = [
    ("day", 0, false, 1, 900),
    ("three_days", 0, false, 3, 2_500),
    ("month", 0, true, 1, 19_900),
    ("plus_two_days", 1, false, 2, 3_000),
    ("plus_quarter", 1, true, 3, 79_900),
];

/// A right besides the paid one: a trial or a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) id: i64,
    pub(crate) tariff: usize,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// Trials only: when it is looked at next.
    pub(crate) next_look: Option<Timestamp>,
}

/// A notice that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) user: usize,
    pub(crate) kind: &'static str,
    pub(crate) key: String,
    pub(crate) sub: i64,
    /// The end it speaks of.
    pub(crate) about: Option<Timestamp>,
    pub(crate) price: i64,
    pub(crate) useless_after: Option<Timestamp>,
}

/// A customer, and all that the database is to have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Wallet, discount, the paid row, its payments.
    pub(crate) paying: User,
    /// The end of the paid row that a charge was announced for.
    pub(crate) told_for: Option<Timestamp>,
    pub(crate) trial: Option<Right>,
    pub(crate) trial_used: bool,
    pub(crate) grant: Option<Right>,
    /// E-mail of the open credential, a group each.
    pub(crate) open: [Option<String>; 2],
    /// Messages did not reach it.
    pub(crate) unreachable: bool,
    /// Written since the database was last looked at, oldest first.
    pub(crate) fresh: Vec<Notice>,
}

/// Which row of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Paid,
    Trial,
    Grant,
}

pub(crate) struct Model {
    /// Prices, window and grace; its users are here, in `people`.
    pub(crate) rules: Renewing,
    pub(crate) people: Vec<Person>,
    /// Written and neither sent nor dropped yet, by id of the row: in the order of writing.
    pub(crate) outbox: BTreeMap<i64, Notice>,
    /// The newest notice ever written of a kind about a row.
    pub(crate) newest: HashMap<(&'static str, i64), i64>,
    /// Keys of all notices ever written: each once.
    pub(crate) keys: HashSet<String>,
    /// Payments given back.
    pub(crate) voided: i64,
    /// Payments made since they were last compared: row, period, amount.
    pub(crate) fresh_payments: Vec<(i64, Timestamp, Timestamp, i64)>,
}

pub(crate) fn group_of(tariff: usize) -> usize {
    PRICE_LIST[tariff].1
}

impl Model {
    pub(crate) fn new(users: usize, now: Timestamp) -> Self {
        let tariffs = PRICE_LIST.map(|(code, _, months, count, price)| Tariff {
            code,
            months,
            count,
            price,
            state: TariffState::Sold,
        });
        let person = |id| Person {
            paying: User { id, ..User::default() },
            told_for: None,
            trial: None,
            trial_used: false,
            grant: None,
            open: [None, None],
            unreachable: false,
            fresh: Vec::new(),
        };
        let rules = Renewing {
            now,
            grace: GRACE,
            window: WINDOW,
            users: Vec::new(),
            tariffs: tariffs.to_vec(),
            faults: BTreeMap::new(),
            inflow: 0,
        };
        let people = (1..).take(users).map(person).collect();
        Self {
            rules,
            people,
            outbox: BTreeMap::new(),
            newest: HashMap::new(),
            keys: HashSet::new(),
            voided: 0,
            fresh_payments: Vec::new(),
        }
    }

    /// From now on this is how the person stands.
    pub(crate) fn put(&mut self, user: usize, person: Person) {
        let known = self.people[user].paying.payments.len();
        let new = person.paying.payments.get(known..).unwrap_or_default();
        self.fresh_payments.extend(new.iter().map(|paid| (paid.sub, paid.start, paid.end, paid.amount)));
        self.people[user] = person;
    }

    pub(crate) fn renewals(&self) -> u64 {
        self.people.iter().map(|person| person.paying.renewals).sum()
    }
}

impl Person {
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Row, i64, Timestamp, usize)> {
        let paid = self.paying.sub.iter().map(|sub| (Row::Paid, sub.id, sub.end, sub.tariff));
        let trial = self.trial.iter().map(|right| (Row::Trial, right.id, right.end, right.tariff));
        let grant = self.grant.iter().map(|right| (Row::Grant, right.id, right.end, right.tariff));
        paid.chain(trial).chain(grant)
    }

    /// A live paid row.
    fn pays(&self, now: Timestamp) -> bool {
        self.paying.sub.as_ref().is_some_and(|sub| sub.end > now)
    }

    /// E-mail of the credential that servers list for a group, and whether they must: within the grace they may.
    pub(crate) fn on_servers(&self, group: usize, now: Timestamp) -> Option<(&str, bool)> {
        let mut ends = self.rows().filter(|row| group_of(row.3) == group).map(|row| row.2).peekable();
        ends.peek()?;
        Some((self.open[group].as_deref()?, ends.any(|end| end > now)))
    }

    fn told(&mut self, notice: Notice, keys: &HashSet<String>) {
        if !keys.contains(&notice.key) && !self.fresh.iter().any(|other| other.key == notice.key) {
            self.fresh.push(notice);
        }
    }

    /// Forgets payments that are too old to matter.
    pub(crate) fn prune(&mut self) {
        let many = self.paying.payments.len();
        if many > 2 * PAYMENTS_KEPT {
            Rc::make_mut(&mut self.paying.payments).drain(..many - PAYMENTS_KEPT);
        }
    }
}

/// What passes do to one person.
impl Model {
    /// `renew`, without its announcements.
    pub(crate) fn renewed(&self, person: &Person, user: usize) -> Person {
        let before = person.paying.sub.clone();
        let paying = self.rules.after_pass(&person.paying);
        let mut after = Person { paying, ..person.clone() };
        let written = std::mem::take(Rc::make_mut(&mut after.paying.notices));
        let Some(sub) = before else { return after };
        let price = after.paying.sub.as_ref().and_then(|sub| sub.short).map_or(0, |(_, _, price)| price);
        for key in written {
            let is_short = key.starts_with("balance_short");
            let notice = Notice {
                user,
                kind: if is_short { "balance_short" } else { "renewed" },
                key,
                sub: sub.id,
                about: is_short.then_some(sub.end),
                price: if is_short { price } else { 0 },
                useless_after: is_short.then(|| sub.end + self.rules.grace),
            };
            after.told(notice, &self.keys);
        }
        after
    }

    /// `renew`'s announcement of a charge to come.
    pub(crate) fn announced(&self, person: &Person, user: usize) -> Person {
        let mut after = person.clone();
        let now = self.rules.now;
        let Some(sub) = &person.paying.sub else { return after };
        let tariff = &self.rules.tariffs[sub.tariff];
        let is_due = sub.auto_renew
            && person.told_for != Some(sub.end)
            && sub.end > now + WINDOW
            && sub.end <= now + AHEAD
            && tariff.state == TariffState::Sold
            && !is_parked(sub);
        if !is_due {
            return after;
        }
        after.told_for = Some(sub.end);
        let charge_at = sub.end - WINDOW;
        if person.paying.price(tariff, sub.agreed, charge_at) > 0 {
            let key = format!("charge_ahead:{}:{}", sub.id, micros(sub.end));
            let (about, useless_after) = (Some(sub.end), Some(charge_at));
            let notice = Notice { user, kind: "charge_ahead", key, sub: sub.id, about, price: 0, useless_after };
            after.told(notice, &self.keys);
        }
        after
    }

    /// `notify-trials`, without its endings.
    pub(crate) fn reminded(&self, person: &Person, user: usize) -> Person {
        let now = self.rules.now;
        let mut after = person.clone();
        let Some(trial) = after.trial.as_mut().filter(|trial| trial.next_look.is_some_and(|at| at <= now)) else {
            return after;
        };
        let (id, end, since) = (trial.id, trial.end, trial.next_look);
        let of_end = format!(":{}", micros(end));
        let stages = [
            (trial.start + 6 * HOUR, "6h", String::new()),
            (end - 12 * HOUR, "60h", of_end.clone()),
            (end - HOUR, "71h", of_end),
        ];
        let stages = stages.into_iter().filter(|(at, ..)| trial.start < *at && *at < end);
        let mut stages: Vec<_> = stages.collect();
        stages.sort_by_key(|(at, ..)| *at);
        trial.next_look = stages.iter().map(|(at, ..)| *at).find(|at| *at > now);
        let newest = stages.into_iter().rfind(|(at, ..)| Some(*at) >= since && *at <= now);
        if let Some((_, stage, suffix)) = newest.filter(|_| now < end && !person.pays(now)) {
            let key = format!("trial_reminder:{id}:{stage}{suffix}");
            let (about, useless_after) = (Some(end), Some(end));
            let notice = Notice { user, kind: "trial_reminder", key, sub: id, about, price: 0, useless_after };
            after.told(notice, &self.keys);
        }
        after
    }

    /// Whether `renew` will charge the paid row within the grace.
    fn is_left_to_renew(&self, person: &Person, row: Row) -> bool {
        let Some(sub) = person.paying.sub.as_ref().filter(|_| row == Row::Paid) else { return false };
        let tariff = &self.rules.tariffs[sub.tariff];
        sub.auto_renew
            && sub.end + self.rules.grace > self.rules.now
            && !is_parked(sub)
            && tariff.state == TariffState::Sold
            && person.paying.balance >= person.paying.price(tariff, sub.agreed, self.rules.now)
    }

    /// Ends those of these rows that are over, in one transaction: what shares a credential ends together.
    pub(crate) fn ended(&self, person: &Person, user: usize, rows: &[Row]) -> Person {
        let now = self.rules.now;
        let mut after = person.clone();
        let is_ending = |row: Row, end| rows.contains(&row) && end <= now && !self.is_left_to_renew(person, row);
        let ending: Vec<_> = person.rows().filter(|(row, _, end, _)| is_ending(*row, *end)).collect();
        for (row, id, end, tariff) in &ending {
            let group = group_of(*tariff);
            let stays = |other: &(Row, i64, Timestamp, usize)| {
                group_of(other.3) == group && !ending.iter().any(|ended| ended.0 == other.0)
            };
            let is_used = person.rows().any(|other| stays(&other));
            if !is_used {
                after.open[group] = None;
                let pays = *row != Row::Paid && person.pays(now);
                let kind = match row {
                    Row::Trial if pays => None,
                    Row::Trial => Some("trial_over"),
                    Row::Paid | Row::Grant => Some("subscription_over"),
                };
                if let Some(kind) = kind {
                    let key = format!("{kind}:{id}:{}", micros(*end));
                    let notice = Notice { user, kind, key, sub: *id, about: None, price: 0, useless_after: None };
                    after.told(notice, &self.keys);
                }
            }
            match row {
                Row::Paid => (after.paying.sub, after.told_for) = (None, None),
                Row::Trial => after.trial = None,
                Row::Grant => after.grant = None,
            }
        }
        after
    }

    /// Rows of all people that are over, as passes list them: oldest end first.
    pub(crate) fn over(&self, sources: &[Row]) -> Vec<(usize, Row)> {
        let now = self.rules.now;
        let of = |(user, person): (usize, &Person)| {
            let rows = person.rows().filter(|(row, _, end, _)| sources.contains(row) && *end <= now);
            rows.map(|(row, id, end, _)| (end, id, user, row)).collect::<Vec<_>>()
        };
        let mut over: Vec<_> = self.people.iter().enumerate().flat_map(of).collect();
        over.sort_by_key(|(end, id, ..)| (*end, *id));
        over.into_iter().map(|(_, _, user, row)| (user, row)).collect()
    }

    /// Why a waiting notice is not sent; none: it is.
    pub(crate) fn dropped(&self, id: i64, notice: &Notice) -> Option<&'static str> {
        let (now, person) = (self.rules.now, &self.people[notice.user]);
        if notice.useless_after.is_some_and(|useless| useless <= now) {
            return Some("too late");
        }
        if person.unreachable {
            return Some("receiver unreachable");
        }
        let end = person.rows().find(|(_, id, ..)| *id == notice.sub).map(|(_, _, end, _)| end);
        let is_over = end.is_none() || notice.about.is_some() && notice.about != end;
        let paid = person.paying.sub.as_ref().is_some_and(|sub| sub.id != notice.sub && sub.end > now);
        let renews =
            person.paying.sub.as_ref().is_some_and(|sub| sub.id == notice.sub && sub.auto_renew && !is_parked(sub));
        let has_newer = self.newest.get(&(notice.kind, notice.sub)).is_some_and(|newest| *newest > id);
        match notice.kind {
            "balance_short" | "charge_ahead" if is_over => Some("renewed or over"),
            "balance_short" | "charge_ahead" if !renews => Some("will not be charged"),
            "balance_short" if person.paying.balance >= notice.price => Some("topped up"),
            "trial_reminder" if paid => Some("paid"),
            "trial_reminder" if is_over => Some("over or moved"),
            "trial_over" | "subscription_over" if paid => Some("paid"),
            "trial_reminder" | "balance_short" if has_newer => Some("a newer one follows"),
            _ => None,
        }
    }
}

pub(crate) fn is_parked(sub: &Sub) -> bool {
    sub.parked.is_some_and(|parked| parked.for_good)
}
