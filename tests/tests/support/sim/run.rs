//! Does each operation twice, in the database and in the model, and compares.

use std::rc::Rc;
use std::time::Duration;

use perennial_core::ids::SubscriptionId;
use perennial_testkit::builders::set_discount;
use tokio_postgres::error::SqlState;

use super::super::{GRACE, NOW, WINDOW, World, kopecks, telegram_id};
use super::model::{Model, Payment, Sub, Tariff, TariffState, User, anchor_at, period_end};
use super::op::Op;

/// What a simulation did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub operations: u64,
    pub refused: u64,
    pub passes: u64,
    pub broken_off: u64,
    pub failed: u64,
}

pub struct Simulation {
    pub world: World,
    pub model: Model,
    pub figures: Figures,
    keys: u64,
}

const FAULTS: &str = "
    CREATE INDEX ON payments (created_at);
    CREATE TABLE faults (subscription bigint PRIMARY KEY, telegram_id bigint, place text, is_final boolean);
    CREATE FUNCTION fault(wanted text, row_id bigint, of_user bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        found_final boolean;
    BEGIN
        IF current_setting('application_name') <> 'pass' THEN
            RETURN;
        END IF;
        SELECT f.is_final INTO found_final FROM faults f
        WHERE f.place = wanted AND (f.subscription = row_id OR f.telegram_id = of_user);
        IF found_final THEN
            RAISE EXCEPTION 'injected' USING ERRCODE = 'check_violation';
        ELSIF NOT found_final THEN
            RAISE EXCEPTION 'injected';
        END IF;
    END $$;
    CREATE FUNCTION fault_transfer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM fault('Transfer', NULL, (SELECT a.telegram_id FROM accounts a WHERE a.id = NEW.debit_account)); RETURN NEW;
    END $$;
    CREATE FUNCTION fault_wallet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM fault('Wallet', NULL, NEW.telegram_id); RETURN NEW;
    END $$;
    CREATE FUNCTION fault_subscription() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM fault('Subscription', NEW.id, NULL); RETURN NEW;
    END $$;
    CREATE FUNCTION fault_payment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM fault('Payment', NEW.subscription_id, NULL); RETURN NEW;
    END $$;
    CREATE FUNCTION fault_notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM fault('Notice', NEW.subscription_id, NULL); RETURN NEW;
    END $$;
    CREATE FUNCTION fault_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.action = 'renewed' THEN PERFORM fault('Audit', NEW.subscription_id, NULL); END IF; RETURN NEW;
    END $$;
    CREATE FUNCTION fault_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') = 'pass'
            AND EXISTS (SELECT FROM faults f WHERE f.place = 'End' AND f.subscription = NEW.id) THEN
            NEW.expires_at := OLD.expires_at;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fault BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION fault_transfer();
    CREATE TRIGGER fault BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION fault_wallet();
    CREATE TRIGGER fault BEFORE UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION fault_subscription();
    CREATE TRIGGER fault BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION fault_payment();
    CREATE TRIGGER fault BEFORE INSERT ON notices FOR EACH ROW EXECUTE FUNCTION fault_notice();
    CREATE TRIGGER fault BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fault_audit();
    CREATE TRIGGER fault_end BEFORE UPDATE OF expires_at ON subscriptions FOR EACH ROW EXECUTE FUNCTION fault_end();";

impl Simulation {
    pub async fn new(db: perennial_testkit::TestDb, users: usize) -> Self {
        let world = World::new(db).await;
        world.execute("DELETE FROM tariffs").await;
        world.execute(FAULTS).await;
        let model = Model {
            now: NOW,
            grace: GRACE,
            window: WINDOW,
            users: (1..).take(users).map(|id| User { id, ..User::default() }).collect(),
            tariffs: [
                ("days_1", false, 1),
                ("days_3", false, 3),
                ("days_10", false, 10),
                ("month", true, 1),
                ("quarter", true, 3),
            ]
            .into_iter()
            .map(|(code, months, count)| Tariff { code, months, count, price: 9_900, state: TariffState::Sold })
            .collect(),
            faults: std::collections::BTreeMap::new(),
            inflow: 0,
        };
        world.execute(&format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {users})")).await;
        let simulation = Self { world, model, figures: Figures::default(), keys: 0 };
        for tariff in 0..simulation.model.tariffs.len() {
            simulation.write_tariff(tariff).await;
        }
        simulation
    }

    pub fn renewals(&self) -> u64 {
        self.model.users.iter().map(|user| user.renewals).sum()
    }

    /// Customers whose subscription nobody but themselves can bring back.
    pub fn lapsed(&self) -> Vec<usize> {
        let over = self.model.now - self.model.grace;
        let users = self.model.users.iter().enumerate();
        let lapsed = users.filter(|(_, user)| user.sub.as_ref().is_none_or(|sub| sub.end <= over));
        lapsed.map(|(index, _)| index).collect()
    }

    /// Customers whose subscription the next pass will try to renew.
    pub fn due(&self) -> Vec<usize> {
        let users = self.model.users.iter().enumerate();
        let due = users.filter(|(_, user)| user.sub.as_ref().is_some_and(|sub| self.model.is_due(sub)));
        due.map(|(index, _)| index).collect()
    }

    pub fn sells(&self, tariff: usize) -> bool {
        self.model.tariffs[tariff].state == TariffState::Sold
    }

    /// Lets PostgreSQL plan by what is there, as it does in a service that is older than a minute.
    pub async fn analyze(&self) {
        self.world.execute("ANALYZE").await;
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("sim {}", self.keys)
    }

    async fn write_tariff(&self, index: usize) {
        let Tariff { code, months, count, price, state } = &self.model.tariffs[index];
        self.world.execute(&format!("DELETE FROM tariffs WHERE code = '{code}'")).await;
        if *state != TariffState::Missing {
            let (unit, active) = (if *months { "month" } else { "day" }, *state == TariffState::Sold);
            let values = format!("'{code}', '{unit}', {count}, {price}, {active}");
            let columns = "code, period_unit, period_count, price_kopecks, active";
            self.world.execute(&format!("INSERT INTO tariffs ({columns}) VALUES ({values})")).await;
        }
    }

    /// Does one operation in both and compares what the database shows of the users it concerns.
    pub async fn apply(&mut self, op: &Op) {
        self.figures.operations += 1;
        let users = self.model.users.len();
        let tariffs = self.model.tariffs.len();
        match *op {
            Op::TopUp { user, kopecks: amount } => self.top_up(user % users, amount).await,
            Op::Buy { user, tariff, auto_renew } => self.buy(user % users, tariff % tariffs, auto_renew).await,
            Op::Refund { user } => self.refund(user % users).await,
            Op::SetPrice { tariff, kopecks } => {
                self.model.tariffs[tariff % tariffs].price = kopecks;
                self.write_tariff(tariff % tariffs).await;
            }
            Op::SetState { tariff, state } => {
                self.model.tariffs[tariff % tariffs].state = state;
                self.write_tariff(tariff % tariffs).await;
            }
            Op::SetVip { user, on } => {
                let user = &mut self.model.users[user % users];
                user.vip = on;
                self.world.execute(&format!("UPDATE users SET vip = {on} WHERE telegram_id = {}", user.id)).await;
            }
            Op::SetDiscount { user, percent, ends_in_hours } => {
                let hours = ends_in_hours.map(|hours| Duration::from_secs(3600) * u32::try_from(hours).unwrap());
                let ends_at = hours.map(|hours| self.model.now + hours);
                let user = &mut self.model.users[user % users];
                user.discount = Some((percent, ends_at));
                set_discount(&self.world.client, telegram_id(user.id), percent, ends_at).await;
            }
            Op::Wait { minutes } => {
                self.model.now += Duration::from_secs(60) * u32::try_from(minutes).unwrap();
                self.world.set_clock(self.model.now).await;
            }
            Op::Mend => {
                self.world.execute("DELETE FROM faults").await;
                self.model.faults.clear();
            }
            Op::Pass { kind, batch_rows, workers } => self.pass(kind, batch_rows, workers).await,
            ref other => self.on_subscription(other).await,
        }
    }

    async fn top_up(&mut self, user: usize, amount: i64) {
        let key = self.key();
        let user = &mut self.model.users[user];
        user.balance += amount;
        self.model.inflow += amount;
        let balance = self.world.bot().top_up(telegram_id(user.id), kopecks(amount), &key).await.unwrap();
        assert_eq!(balance.0, user.balance);
    }

    async fn buy(&mut self, user: usize, tariff: usize, auto_renew: bool) {
        let key = self.key();
        let now = self.model.now;
        let sold = self.model.tariffs[tariff].clone();
        let user = &mut self.model.users[user];
        let bought = self.world.bot().buy(telegram_id(user.id), sold.code, auto_renew, &key).await;
        let agreed = user.sub.as_ref().filter(|sub| sub.tariff == tariff).and_then(|sub| sub.agreed);
        let price = user.price(&sold, agreed, now);
        if sold.state != TariffState::Sold || user.balance < price {
            let code = if sold.state == TariffState::Sold { "PK002" } else { "PK003" };
            assert_eq!(bought.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some(code));
            self.figures.refused += 1;
            return;
        }
        let (id, end) = bought.unwrap();
        let current = user.sub.take();
        let paid_until = current.as_ref().and_then(|sub| user.paid_until(sub.id));
        let start = current.as_ref().map_or(now, |sub| sub.end.max(now)).max(paid_until.unwrap_or(now));
        let anchor = match &current {
            Some(sub) if start > now => anchor_at(start, sub.anchor),
            _ => i32::from(start.day()),
        };
        let until = period_end(start, &sold, anchor);
        assert_eq!(end, until, "the end of a purchase");
        if let Some(sub) = &current {
            assert_eq!(sub.id, id.0, "a purchase extends the active row");
        }
        user.balance -= price;
        Rc::make_mut(&mut user.payments).push(Payment { sub: id.0, start, end, amount: price, at: now, voided: false });
        user.sub = Some(Sub { id: id.0, tariff, end, anchor, auto_renew, agreed, short: None, parked: None });
    }

    async fn refund(&mut self, user: usize) {
        let key = self.key();
        let now = self.model.now;
        let user = &mut self.model.users[user];
        let standing = Rc::make_mut(&mut user.payments).iter_mut().filter(|paid| !paid.voided);
        let Some(paid) = standing.max_by_key(|paid| (paid.sub, paid.start)) else { return };
        let sql = "SELECT id FROM payments WHERE voided_at IS NULL AND subscription_id";
        let sql = format!(
            "{sql} = {} AND period_start = (SELECT max(period_start) FROM payments WHERE voided_at IS NULL \
                           AND subscription_id = {})",
            paid.sub, paid.sub
        );
        let id = self.world.number(&sql).await;
        self.world.bot().refund(id, &key).await.unwrap();
        paid.voided = true;
        user.balance += paid.amount;
        if let Some(sub) = user.sub.as_mut().filter(|sub| sub.id == paid.sub) {
            sub.end = sub.end.min(paid.start.max(now));
            sub.auto_renew = false;
        }
    }

    /// Operations that need an active subscription; without one they are nothing.
    async fn on_subscription(&mut self, op: &Op) {
        let key = self.key();
        let now = self.model.now;
        let (Op::Cancel { user }
        | Op::SetAutoRenew { user, .. }
        | Op::Rotate { user }
        | Op::SetAgreed { user, .. }
        | Op::SetFault { user, .. }
        | Op::Unpark { user }
        | Op::End { user }) = *op
        else {
            unreachable!("{op:?}")
        };
        let users = self.model.users.len();
        let user = &mut self.model.users[user % users];
        let paid_until = user.sub.as_ref().and_then(|sub| user.paid_until(sub.id));
        let Some(sub) = user.sub.as_mut() else { return };
        let id = SubscriptionId(sub.id);
        match *op {
            // Cancelled: its days come back with a purchase.
            Op::SetAutoRenew { on: true, .. } if paid_until > Some(sub.end) => {
                let refused = self.world.bot().set_auto_renew(id, true).await.unwrap_err();
                assert_eq!(refused.code().map(SqlState::code), Some("PK005"));
                self.figures.refused += 1;
            }
            Op::Cancel { .. } => {
                sub.end = sub.end.min(now);
                sub.auto_renew = false;
                assert_eq!(self.world.bot().cancel(id, &key).await.unwrap(), sub.end);
            }
            Op::SetAutoRenew { on, .. } => {
                sub.auto_renew = on;
                self.world.bot().set_auto_renew(id, on).await.unwrap();
            }
            Op::Rotate { .. } => {
                self.world.execute(&format!("SELECT perennial_rotate({}, 'basic', '{key}')", user.id)).await;
            }
            Op::SetAgreed { kopecks, .. } => {
                sub.agreed = kopecks;
                let price = kopecks.map_or("NULL".to_owned(), |price| price.to_string());
                let sql = format!("UPDATE subscriptions SET agreed_price_kopecks = {price} WHERE id = {id}");
                self.world.execute(&sql).await;
            }
            Op::SetFault { fault, .. } => {
                self.world.execute(&format!("DELETE FROM faults WHERE subscription = {id}")).await;
                self.model.faults.remove(&id.0);
                if let Some(fault) = fault {
                    let values = format!("{id}, {}, '{:?}', {}", user.id, fault.place, fault.is_final);
                    self.world.execute(&format!("INSERT INTO faults VALUES ({values})")).await;
                    self.model.faults.insert(id.0, fault);
                }
            }
            Op::Unpark { .. } => {
                sub.parked = None;
                self.world.unpark(id).await;
            }
            Op::End { .. } if sub.end <= now - GRACE => {
                let sql = "UPDATE subscriptions SET status = 'expiring', ended_at = perennial_now() WHERE id";
                let close =
                    "UPDATE credentials SET closed_at = perennial_now() WHERE closed_at IS NULL AND telegram_id";
                self.world.execute(&format!("{sql} = {id}; {close} = {}", user.id)).await;
                self.model.faults.remove(&id.0);
                self.world.execute(&format!("DELETE FROM faults WHERE subscription = {id}")).await;
                user.sub = None;
            }
            _ => {}
        }
    }
}
