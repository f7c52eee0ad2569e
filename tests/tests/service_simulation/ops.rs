//! What a customer or the bot does, in the model: the call it is, the answer it must get, and what it changes.

use std::rc::Rc;
use std::time::Duration;

use perennial_core::time::Timestamp;

use crate::action::Op;
use crate::model::{GROUPS, Model, Person, Right, TRIAL_HOURS, group_of};
use crate::renewing::{Payment, Sub, TariffState, anchor_at, period_end};

/// What a call answered, or the code it was refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Refused(String),
    /// A right: row, end, e-mail.
    Right(i64, Timestamp, String),
    /// A new credential: its e-mail.
    Credential(String),
    Balance(i64),
    End(Timestamp),
    Done,
}

impl Model {
    /// The call; none where it would make no sense.
    pub(crate) fn call(&self, user: usize, op: &Op, key: &str) -> Option<String> {
        let person = &self.people[user];
        let id = person.paying.id;
        let code = |tariff: usize| self.rules.tariffs[tariff].code;
        let right = "SELECT subscription_id, expires_at, email, credential_uuid FROM";
        Some(match op {
            Op::TopUp { kopecks } => format!("SELECT perennial_top_up({id}, {kopecks}, '{key}')"),
            Op::Buy { tariff, auto_renew } => {
                format!("{right} perennial_buy({id}, '{}', {auto_renew}, '{key}')", code(*tariff))
            }
            Op::Trial { tariff } => {
                format!("{right} perennial_start_trial({id}, '{}', {TRIAL_HOURS}, '{key}')", code(*tariff))
            }
            Op::Grant { tariff, days } => {
                format!("{right} perennial_grant({id}, '{}', {days}, '{key}')", code(*tariff))
            }
            Op::CancelPaid => format!("SELECT perennial_cancel({}, '{key}')", person.paying.sub.as_ref()?.id),
            Op::CancelTrial => format!("SELECT perennial_cancel({}, '{key}')", person.trial.as_ref()?.id),
            Op::SetAutoRenew { on } => {
                format!("SELECT perennial_set_auto_renew({}, {on})", person.paying.sub.as_ref()?.id)
            }
            Op::Refund => {
                let sub = person.last_paid()?.sub;
                format!(
                    "SELECT balance_kopecks FROM perennial_refund((SELECT p.id FROM payments p \
                     WHERE p.subscription_id = {sub} AND p.voided_at IS NULL ORDER BY p.period_start DESC LIMIT 1), \
                     'asked for', '{key}')"
                )
            }
            Op::Rotate { group } => {
                format!("SELECT email, credential_uuid FROM perennial_rotate({id}, '{}', '{key}')", GROUPS[*group])
            }
            Op::SetVip { on } => format!("UPDATE users SET vip = {on} WHERE telegram_id = {id} RETURNING 1"),
            Op::SetDiscount { percent, hours } => {
                let end = hours.map_or("NULL".to_owned(), |n| format!("perennial_now() + interval '{n} hours'"));
                format!(
                    "INSERT INTO discounts (telegram_id, percent, ends_at) VALUES ({id}, {percent}, {end}) \
                     ON CONFLICT (telegram_id) DO UPDATE SET percent = excluded.percent, ends_at = excluded.ends_at \
                     RETURNING 1"
                )
            }
            Op::Appear => format!("SELECT perennial_ensure_user({id}, 'ru', 'UTC')"),
            Op::Block { .. } => return None,
        })
    }

    /// Does it in the model. Answers the difference, if the answer is not the one it must be.
    pub(crate) fn takes(&mut self, user: usize, op: &Op, answer: &Answer) -> Result<(), String> {
        let mut person = self.people[user].clone();
        let wanted = match op {
            Op::TopUp { kopecks } => {
                person.paying.balance += kopecks;
                Answer::Balance(person.paying.balance)
            }
            Op::Buy { tariff, auto_renew } => self.bought(&mut person, *tariff, *auto_renew, answer),
            Op::Trial { tariff } => self.tried(&mut person, *tariff, answer),
            Op::Grant { tariff, days } => self.granted(&mut person, *tariff, *days, answer),
            Op::Refund => self.refunded(&mut person),
            Op::Rotate { group } => match (&person.open[*group], answer) {
                (None, _) => refused("PK003"),
                (Some(old), Answer::Credential(new)) if old != new => {
                    person.open[*group] = Some(new.clone());
                    answer.clone()
                }
                (Some(_), _) => Answer::Credential("a new one".to_owned()),
            },
            _ => self.changed(&mut person, op),
        };
        if *answer != wanted {
            let person = &self.people[user];
            return Err(format!(
                "{op:?} of user {user} at {}: answered {answer:?}, not {wanted:?}: {person:?}",
                self.rules.now
            ));
        }
        self.put(user, person);
        Ok(())
    }

    fn changed(&self, person: &mut Person, op: &Op) -> Answer {
        let now = self.rules.now;
        let paid_until = person.paying.sub.as_ref().and_then(|sub| person.paying.paid_until(sub.id));
        match (op, &mut person.paying.sub, &mut person.trial) {
            (Op::CancelPaid, Some(sub), _) => {
                sub.end = sub.end.min(now);
                sub.auto_renew = false;
                Answer::End(sub.end)
            }
            (Op::CancelTrial, _, Some(trial)) => {
                if trial.end > now {
                    (trial.end, trial.next_look) = (now, Some(trial.start));
                }
                Answer::End(trial.end)
            }
            (Op::SetAutoRenew { on }, Some(sub), _) => {
                if *on && paid_until > Some(sub.end) {
                    return refused("PK005");
                }
                sub.auto_renew = *on;
                Answer::Done
            }
            (Op::SetVip { on }, ..) => {
                person.paying.vip = *on;
                Answer::Done
            }
            (Op::SetDiscount { percent, hours }, ..) => {
                let ends_at = hours.map(|hours| now + Duration::from_secs(3600) * u32::try_from(hours).unwrap_or(0));
                person.paying.discount = Some((*percent, ends_at));
                Answer::Done
            }
            (Op::Appear, ..) => {
                person.unreachable = false;
                Answer::Done
            }
            _ => Answer::Done,
        }
    }

    fn bought(&self, person: &mut Person, tariff: usize, auto_renew: bool, answer: &Answer) -> Answer {
        let (now, sold, group) = (self.rules.now, &self.rules.tariffs[tariff], group_of(tariff));
        if sold.state != TariffState::Sold {
            return refused("PK003");
        }
        let current = person.paying.sub.clone();
        if current.as_ref().is_some_and(|sub| group_of(sub.tariff) != group) {
            return refused("PK005");
        }
        let price = person.paying.price(sold, None, now);
        if person.paying.balance < price {
            return refused("PK002");
        }
        let paid_until = current.as_ref().and_then(|sub| person.paying.paid_until(sub.id));
        let start = current.as_ref().map_or(now, |sub| sub.end.max(now)).max(paid_until.unwrap_or(now));
        let anchor = match &current {
            Some(sub) if start > now => anchor_at(start, sub.anchor),
            _ => i32::from(start.day()),
        };
        let end = period_end(start, sold, anchor);
        let (id, right) = person.given(current.map(|sub| sub.id), end, group, answer);
        person.paying.balance -= price;
        let payment = Payment { sub: id, start, end, amount: price, at: now, voided: false };
        Rc::make_mut(&mut person.paying.payments).push(payment);
        person.paying.sub = Some(Sub { id, tariff, end, anchor, auto_renew, agreed: None, short: None, parked: None });
        right
    }

    fn tried(&self, person: &mut Person, tariff: usize, answer: &Answer) -> Answer {
        if self.rules.tariffs[tariff].state != TariffState::Sold {
            return refused("PK003");
        }
        if person.trial_used {
            return refused("PK004");
        }
        let start = self.rules.now;
        let end = start + Duration::from_secs(3600) * TRIAL_HOURS;
        let (id, right) = person.given(None, end, group_of(tariff), answer);
        person.trial = Some(Right { id, tariff, start, end, next_look: Some(start) });
        person.trial_used = true;
        right
    }

    fn granted(&self, person: &mut Person, tariff: usize, days: i64, answer: &Answer) -> Answer {
        let (now, group) = (self.rules.now, group_of(tariff));
        if self.rules.tariffs[tariff].state != TariffState::Sold {
            return refused("PK003");
        }
        let current = person.grant.clone();
        if current.as_ref().is_some_and(|grant| group_of(grant.tariff) != group) {
            return refused("PK005");
        }
        let since = current.as_ref().map_or(now, |grant| grant.end.max(now));
        let end = since + Duration::from_secs(86_400) * u32::try_from(days).unwrap_or(0);
        let (id, right) = person.given(current.map(|grant| grant.id), end, group, answer);
        person.grant = Some(Right { id, tariff, start: since, end, next_look: None });
        right
    }

    fn refunded(&mut self, person: &mut Person) -> Answer {
        let now = self.rules.now;
        let Some(paid) = person.last_paid() else { return Answer::Done };
        let (sub, start, amount) = (paid.sub, paid.start, paid.amount);
        for paid in Rc::make_mut(&mut person.paying.payments) {
            paid.voided |= (paid.sub, paid.start) == (sub, start);
        }
        self.voided += 1;
        person.paying.balance += amount;
        if let Some(current) = person.paying.sub.as_mut().filter(|current| current.id == sub) {
            current.end = current.end.min(start.max(now));
            current.auto_renew = false;
        }
        Answer::Balance(person.paying.balance)
    }
}

impl Person {
    fn last_paid(&self) -> Option<&Payment> {
        self.paying.payments.iter().filter(|paid| !paid.voided).max_by_key(|paid| (paid.sub, paid.start))
    }

    /// The row and the credential of a right given until `end`: those that are there, or new ones of the answer's.
    fn given(&mut self, row: Option<i64>, end: Timestamp, group: usize, answer: &Answer) -> (i64, Answer) {
        let Answer::Right(new_row, _, new_email) = answer else {
            return (0, Answer::Right(row.unwrap_or(0), end, "the open one".to_owned()));
        };
        let id = row.unwrap_or(*new_row);
        let email = self.open[group].get_or_insert_with(|| new_email.clone()).clone();
        (id, Answer::Right(id, end, email))
    }
}

fn refused(code: &str) -> Answer {
    Answer::Refused(code.to_owned())
}
