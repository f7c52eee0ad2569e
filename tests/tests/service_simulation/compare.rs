//! Compares the database with the model, table by table, each by one query.

use std::collections::HashMap;

use perennial_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::course::Course;
use crate::model::{Model, Notice, Person, is_parked};

const SEEN: &str = "
    SELECT a.balance_kopecks, u.telegram_unreachable_since IS NOT NULL,
        s.id, s.expires_at, s.auto_renew, s.tariff, s.anchor_day, s.charge_told_for,
        s.short_stage, s.short_balance_kopecks, s.short_price_kopecks, p.subscription IS NOT NULL,
        t.id, t.expires_at, t.next_reminder_at, g.id, g.expires_at, g.tariff, b.email, c.email
    FROM users u
    JOIN accounts a ON a.telegram_id = u.telegram_id
    LEFT JOIN subscriptions s ON s.telegram_id = u.telegram_id AND s.source = 'payment' AND s.status = 'active'
    LEFT JOIN parked p ON p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
    LEFT JOIN subscriptions t ON t.telegram_id = u.telegram_id AND t.source = 'trial' AND t.status = 'active'
    LEFT JOIN subscriptions g ON g.telegram_id = u.telegram_id AND g.source = 'grant' AND g.status = 'active'
    LEFT JOIN credentials b ON b.telegram_id = u.telegram_id AND b.access_group = 'basic' AND b.closed_at IS NULL
    LEFT JOIN credentials c ON c.telegram_id = u.telegram_id AND c.access_group = 'plus' AND c.closed_at IS NULL
    ORDER BY u.telegram_id";

/// What is compared of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    balance: i64,
    /// Row, end, renews itself, tariff, anchor day, told for.
    paid: Option<(i64, Timestamp, bool, String, i32, Option<Timestamp>)>,
    short: Option<(String, i64, i64)>,
    parked: bool,
    /// Row, end, next look.
    trial: Option<(i64, Timestamp, Option<Timestamp>)>,
    grant: Option<(i64, Timestamp, String)>,
    open: [Option<String>; 2],
}

impl Seen {
    fn in_database(row: &Row) -> Self {
        let id = |column| row.get::<_, Option<i64>>(column);
        Self {
            balance: row.get(0),
            paid: id(2).map(|id| (id, row.get(3), row.get(4), row.get(5), row.get(6), row.get(7))),
            short: row.get::<_, Option<String>>(8).map(|stage| (stage, row.get(9), row.get(10))),
            parked: row.get(11),
            trial: id(12).map(|id| (id, row.get(13), row.get(14))),
            grant: id(15).map(|id| (id, row.get(16), row.get(17))),
            open: [row.get(18), row.get(19)],
        }
    }

    fn in_model(model: &Model, person: &Person) -> Self {
        let code = |tariff: usize| model.rules.tariffs[tariff].code.to_owned();
        let paid = person.paying.sub.as_ref();
        Self {
            balance: person.paying.balance,
            paid: paid.map(|s| (s.id, s.end, s.auto_renew, code(s.tariff), s.anchor, person.told_for)),
            short: paid.and_then(|s| s.short).map(|(stage, balance, price)| (stage.to_owned(), balance, price)),
            parked: paid.is_some_and(is_parked),
            trial: person.trial.as_ref().map(|right| (right.id, right.end, right.next_look)),
            grant: person.grant.as_ref().map(|right| (right.id, right.end, code(right.tariff))),
            open: person.open.clone(),
        }
    }
}

impl Course {
    /// Compares everybody, and what was written to whom since the last time, with how they may stand: as in the model, or
    /// for some in one of these ways. What stands is taken over.
    pub(crate) async fn settle(&mut self, mut may: HashMap<usize, Vec<Person>>) -> Result<(), String> {
        let client = self.service.world.client.clone();
        let notices = "SELECT id, telegram_id, dedupe_key FROM notices WHERE id > $1 ORDER BY id";
        let after = [(&self.notices_seen as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8)];
        let (people, notices) = futures_util::join!(client.query_typed(SEEN, &[]), client.query_typed(notices, &after));
        let mut written: HashMap<i64, Vec<(String, i64)>> = HashMap::new();
        for row in notices.unwrap() {
            self.notices_seen = row.get(0);
            written.entry(row.get(1)).or_default().push((row.get(2), row.get(0)));
        }
        for (user, row) in people.unwrap().iter().enumerate() {
            let outcomes = may.remove(&user).unwrap_or_else(|| vec![self.model.people[user].clone()]);
            let mut new = written.remove(&outcomes[0].paying.id).unwrap_or_default();
            new.sort();
            let actual = Seen::in_database(row);
            let is_it = |person: &&Person| Seen::in_model(&self.model, person) == actual && has_told(person, &new);
            let Some(person) = outcomes.iter().find(is_it) else {
                let wanted = outcomes.iter().map(|person| (Seen::in_model(&self.model, person), &person.fresh));
                let wanted: Vec<_> = wanted.collect();
                return Err(format!(
                    "user {user} at {}:\nin the database {actual:#?}\nwith new notices {new:?}\nby the model {wanted:#?}",
                    self.model.rules.now
                ));
            };
            let mut person = person.clone();
            self.take_over_notices(&mut person, &new);
            self.take_over_reach(user, &mut person, row.get(1))?;
            self.model.put(user, person);
        }
        Ok(())
    }

    fn take_over_notices(&mut self, person: &mut Person, new: &[(String, i64)]) {
        for notice in std::mem::take(&mut person.fresh) {
            if let Some((_, id)) = new.iter().find(|(key, _)| *key == notice.key) {
                self.model.keys.insert(notice.key.clone());
                let newest = self.model.newest.entry((notice.kind, notice.sub)).or_default();
                *newest = (*newest).max(*id);
                self.model.outbox.insert(*id, notice);
            }
        }
    }

    /// Only who has blocked the bot is found unreachable, and only a sign of life ends it.
    fn take_over_reach(&self, user: usize, person: &mut Person, unreachable: bool) -> Result<(), String> {
        let is_blocked = self.service.chats.is_blocked(person.paying.id);
        if unreachable != person.unreachable && !(unreachable && is_blocked) {
            return Err(format!("user {user}: unreachable {unreachable}, not {}", person.unreachable));
        }
        person.unreachable = unreachable;
        Ok(())
    }

    /// Looks what became of waiting notices by a delivery that began when these were to be dropped, and why. At rest
    /// nothing waits any more.
    pub(crate) async fn settle_outbox(
        &mut self,
        dropped: &HashMap<i64, &'static str>,
        at_rest: bool,
    ) -> Result<(), String> {
        let open: Vec<i64> = self.model.outbox.keys().copied().collect();
        let sql = "SELECT id, status, coalesce(last_error, '') FROM notices WHERE id = ANY ($1)";
        let rows = self.service.world.client.query_typed(sql, &[(&open, Type::INT8_ARRAY)]).await.unwrap();
        for row in rows {
            let (id, status, reason): (i64, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let notice = &self.model.outbox[&id];
            let difference = self.difference_of_notice(id, notice, status, reason, dropped.get(&id).copied(), at_rest);
            if let Some(difference) = difference {
                let sent = self.service.chats.sent.borrow().get(&id).copied();
                let person = &self.model.people[notice.user];
                return Err(format!("{difference}: {status} ({reason}), {sent:?}, {notice:?} of {person:?}"));
            }
            if matches!(status, "sent" | "dropped") {
                self.model.outbox.remove(&id);
                self.service.chats.sent.borrow_mut().remove(&id);
            }
        }
        Ok(())
    }

    fn difference_of_notice(
        &self,
        id: i64,
        notice: &Notice,
        status: &str,
        reason: &str,
        dropped: Option<&str>,
        at_rest: bool,
    ) -> Option<&'static str> {
        let sent = self.service.chats.sent.borrow().get(&id).copied().unwrap_or_default();
        let is_blocked = self.service.chats.is_blocked(self.model.people[notice.user].paying.id);
        let is_reminder = matches!(notice.kind, "balance_short" | "charge_ahead" | "trial_reminder");
        if sent.taken > 1 + sent.lost || is_reminder && sent.taken > 1 {
            return Some("was sent twice");
        }
        match status {
            "pending" | "sending" if at_rest => Some("still waits"),
            "pending" | "sending" => None,
            "sent" if dropped.is_some() => Some("was to be dropped"),
            "sent" if sent.taken == 0 => Some("never came"),
            "sent" => None,
            "dropped" if dropped == Some(reason) || is_blocked => None,
            // The clock went on while others were sent.
            "dropped" if self.model.dropped(id, notice) == Some(reason) => None,
            "dropped" if is_reminder && sent.unknown > 0 => None,
            "dropped" => Some("was lost"),
            _ => Some("was given up"),
        }
    }

    /// Payments made since the last time, and how many were given back in all.
    pub(crate) async fn settle_payments(&mut self) -> Result<(), String> {
        let client = &self.service.world.client;
        let made = "SELECT id, subscription_id, period_start, period_end, amount_kopecks FROM payments WHERE id > $1";
        let rows = client.query_typed(made, &[(&self.payments_seen, Type::INT8)]).await.unwrap();
        let mut actual: Vec<(i64, Timestamp, Timestamp, i64)> =
            rows.iter().map(|row| (row.get(1), row.get(2), row.get(3), row.get(4))).collect();
        self.payments_seen = rows.iter().map(|row| row.get(0)).max().unwrap_or(self.payments_seen);
        let mut wanted = std::mem::take(&mut self.model.fresh_payments);
        actual.sort_unstable();
        wanted.sort_unstable();
        if actual != wanted {
            let more: Vec<_> = actual.iter().filter(|paid| !wanted.contains(paid)).collect();
            let fewer: Vec<_> = wanted.iter().filter(|paid| !actual.contains(paid)).collect();
            return Err(format!("payments that should not be there: {more:?}; that are missing: {fewer:?}"));
        }
        let counts = "SELECT (SELECT count(*) FROM payments WHERE voided_at IS NOT NULL),
            (SELECT count(*) FROM subscriptions WHERE status = 'expiring'),
            (SELECT count(*) FROM credentials WHERE closed_at IS NOT NULL AND retired_at IS NULL)";
        let row = client.query_typed_one(counts, &[]).await.unwrap();
        let counts: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let wanted = (self.model.voided, 0, 0);
        if counts != wanted {
            return Err(format!("payments given back, rows expiring, credentials closing: {counts:?}, not {wanted:?}"));
        }
        Ok(())
    }
}

/// Whether these are the keys of what was written to the person.
fn has_told(person: &Person, new: &[(String, i64)]) -> bool {
    let mut keys: Vec<&str> = person.fresh.iter().map(|notice| notice.key.as_str()).collect();
    keys.sort_unstable();
    keys.iter().copied().eq(new.iter().map(|(key, _)| key.as_str()))
}
