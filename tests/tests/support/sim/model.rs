//! What renewing means, written a second time, without SQL and without the product's own code: prices, calendar, due
//! rows, dunning, parking. Whoever changes a rule has to say it here, too.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use perennial_core::time::{Timestamp, micros};
use time::{Date, Month};

/// An hour before the end the last notice is due.
const FINAL: Duration = Duration::from_secs(3600);
/// Failed tries after which a row is parked.
pub const MAX_TRIES: i32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TariffState {
    Sold,
    Withdrawn,
    /// Its row is gone.
    Missing,
}

#[derive(Debug, Clone)]
pub struct Tariff {
    pub code: &'static str,
    /// Months, else days.
    pub months: bool,
    pub count: i32,
    pub price: i64,
    pub state: TariffState,
}

/// Where a trigger of the test's raises an error, in the order of the statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Transfer,
    Wallet,
    Subscription,
    Payment,
    /// Not a trigger of the test's: the schema refuses days already paid for.
    PaidDays,
    Notice,
    Audit,
    /// The end is put back silently; the read-back sees it.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// A repetition cannot heal it: parked at the first try.
    pub is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked {
    pub tries: i32,
    pub for_good: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sub {
    pub id: i64,
    pub tariff: usize,
    pub end: Timestamp,
    pub anchor: i32,
    pub auto_renew: bool,
    pub agreed: Option<i64>,
    /// Stage of the last notice, balance and price at the last recorded failed try.
    pub short: Option<(&'static str, i64, i64)>,
    pub parked: Option<Parked>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub sub: i64,
    pub start: Timestamp,
    pub end: Timestamp,
    pub amount: i64,
    /// When it was made.
    pub at: Timestamp,
    pub voided: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    pub balance: i64,
    pub vip: bool,
    pub discount: Option<(i32, Option<Timestamp>)>,
    pub sub: Option<Sub>,
    /// Oldest first. Shared by copies of the user until one of them changes, as are the notices.
    pub payments: Rc<Vec<Payment>>,
    /// Dedupe keys.
    pub notices: Rc<BTreeSet<String>>,
    pub renewals: u64,
}

/// What the database shows of a user, to be compared as one: a pass does all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub balance: i64,
    pub sub: Option<(i64, i64, bool)>,
    pub short: Option<(String, i64, i64)>,
    pub parked: Option<(i32, bool)>,
    /// Payments made at this moment that stand, and their sum.
    pub payments: i64,
    pub paid: i64,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub now: Timestamp,
    pub grace: Duration,
    pub window: Duration,
    pub users: Vec<User>,
    pub tariffs: Vec<Tariff>,
    pub faults: BTreeMap<i64, Fault>,
    /// All that ever came in.
    pub inflow: i64,
}

/// The day that months return to: the anchor while the start lies on it, else the day of the start.
pub fn anchor_at(start: Timestamp, anchor: i32) -> i32 {
    let last = i32::from(start.month().length(start.year()));
    if i32::from(start.day()) == anchor.min(last) { anchor } else { i32::from(start.day()) }
}

/// The end of a period. Months go by the calendar and return to the anchor day.
pub fn period_end(start: Timestamp, tariff: &Tariff, anchor: i32) -> Timestamp {
    if !tariff.months {
        return start + Duration::from_secs(86_400) * u32::try_from(tariff.count).unwrap();
    }
    let months = start.year() * 12 + i32::from(u8::from(start.month())) - 1 + tariff.count;
    let year = months.div_euclid(12);
    let month = Month::try_from(u8::try_from(months.rem_euclid(12) + 1).unwrap()).unwrap();
    let day = u8::try_from(anchor_at(start, anchor)).unwrap().min(month.length(year));
    start.replace_date(Date::from_calendar_date(year, month, day).unwrap())
}

impl User {
    /// What a period of a tariff costs now.
    pub fn price(&self, tariff: &Tariff, agreed: Option<i64>, now: Timestamp) -> i64 {
        let discount = self.discount.filter(|(_, ends_at)| ends_at.is_none_or(|end| end > now));
        let off = if self.vip { 30 } else { discount.map_or(0, |(percent, _)| percent) };
        agreed.unwrap_or(tariff.price * i64::from(100 - off) / 100)
    }

    /// Until when the days of a subscription are paid for.
    pub fn paid_until(&self, sub: i64) -> Option<Timestamp> {
        self.payments.iter().filter(|paid| paid.sub == sub && !paid.voided).map(|paid| paid.end).max()
    }

    pub fn seen(&self, now: Timestamp) -> Seen {
        let standing = self.payments.iter().rev().take_while(|paid| paid.at == now).filter(|paid| !paid.voided);
        Seen {
            balance: self.balance,
            sub: self.sub.as_ref().map(|sub| (sub.id, micros(sub.end), sub.auto_renew)),
            short: self.sub.as_ref().and_then(|sub| sub.short).map(|(stage, b, p)| (stage.to_owned(), b, p)),
            parked: self.sub.as_ref().and_then(|sub| sub.parked).map(|parked| (parked.tries, parked.for_good)),
            payments: i64::try_from(standing.clone().count()).unwrap(),
            paid: standing.map(|paid| paid.amount).sum(),
        }
    }
}

impl Model {
    pub fn is_due(&self, sub: &Sub) -> bool {
        sub.auto_renew
            && !sub.parked.is_some_and(|parked| parked.for_good)
            && sub.end > self.now - self.grace
            && sub.end <= self.now + self.window
    }

    /// The user after one pass over everything.
    pub fn after_pass(&self, user: &User) -> User {
        let mut after = user.clone();
        let Some(sub) = user.sub.clone().filter(|sub| self.is_due(sub)) else { return after };
        let tariff = &self.tariffs[sub.tariff];
        if tariff.state != TariffState::Sold {
            after.park(true);
            return after;
        }
        let price = user.price(tariff, sub.agreed, self.now);
        let failed = if user.balance >= price {
            after.renew(&sub, price, period_end(sub.end, tariff, sub.anchor), self.now);
            self.fault_of_renewal(user, &after, &sub, price)
        } else {
            let (notified, recorded) = after.fall_short(&sub, price, self.now);
            self.faults.get(&sub.id).copied().filter(|fault| match fault.place {
                Place::Subscription => recorded,
                Place::Notice => notified,
                _ => false,
            })
        };
        if let Some(fault) = failed {
            after = user.clone();
            after.park(fault.is_final);
        }
        after
    }

    /// What goes wrong first when this row is renewed.
    fn fault_of_renewal(&self, before: &User, after: &User, sub: &Sub, price: i64) -> Option<Fault> {
        let new = after.payments.last().unwrap();
        let paid_before = before
            .payments
            .iter()
            .any(|paid| paid.sub == sub.id && !paid.voided && paid.start < new.end && new.start < paid.end);
        let refused = paid_before.then_some(Fault { place: Place::PaidDays, is_final: true });
        let moves_no_money = |fault: &Fault| price == 0 && fault.place <= Place::Wallet;
        let installed = self.faults.get(&sub.id).copied().filter(|fault| !moves_no_money(fault));
        refused.into_iter().chain(installed).min_by_key(|fault| fault.place)
    }
}

impl User {
    fn renew(&mut self, sub: &Sub, price: i64, until: Timestamp, at: Timestamp) {
        let voided = self.payments.iter().filter(|paid| paid.sub == sub.id && paid.start == sub.end && paid.voided);
        let number = match voided.count() {
            0 => String::new(),
            refunds => format!(":{}", refunds + 1),
        };
        Rc::make_mut(&mut self.notices).insert(format!("renewed:{}:{}{number}", sub.id, micros(sub.end)));
        self.balance -= price;
        Rc::make_mut(&mut self.payments).push(Payment {
            sub: sub.id,
            start: sub.end,
            end: until,
            amount: price,
            at,
            voided: false,
        });
        self.renewals += 1;
        let sub = self.sub.as_mut().unwrap();
        (sub.end, sub.short, sub.parked) = (until, None, None);
    }

    /// Answers whether a notice was due, and whether anything was new.
    fn fall_short(&mut self, sub: &Sub, price: i64, now: Timestamp) -> (bool, bool) {
        let balance = self.balance;
        let last_hour = sub.end - now <= FINAL;
        let (stage, notified) = match sub.short.map(|(stage, ..)| stage) {
            Some("final") => ("final", false),
            Some(_) if !last_hour => ("first", false),
            before => (if last_hour { "final" } else { "first" }, before.is_none() || last_hour),
        };
        let recorded = notified || sub.short.is_none_or(|(_, b, p)| (b, p) != (balance, price));
        if notified {
            Rc::make_mut(&mut self.notices).insert(format!("balance_short:{}:{}:{stage}", sub.id, micros(sub.end)));
        }
        let sub = self.sub.as_mut().unwrap();
        sub.parked = None;
        if recorded {
            sub.short = Some((stage, balance, price));
        }
        (notified, recorded)
    }

    fn park(&mut self, at_once: bool) {
        let sub = self.sub.as_mut().unwrap();
        let tries = sub.parked.map_or(0, |parked| parked.tries) + 1;
        sub.parked = Some(Parked { tries, for_good: at_once || tries >= MAX_TRIES });
    }
}
