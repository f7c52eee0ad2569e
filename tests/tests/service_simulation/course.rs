//! The course of a simulation: each action is done twice, in the service and in the model, and compared.

use std::collections::HashMap;

use futures_util::future::join_all;
use perennial_testkit::TestDb;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::access_support::Credential;
use crate::action::{Action, Adds, How, Op, Pass};
use crate::books::assert_sound;
use crate::model::{GROUPS, Model, Notice, group_of};
use crate::ops::Answer;
use crate::renewing::TariffState;
use crate::service::{Run, Service};

/// Before everything is compared, what waits for another try gets its time: the longest pause is an hour.
const REST_MINUTES: u32 = 70;
/// Rests after which a stranger must be gone: it is watched for ten minutes, and a restart may put that off.
const STRANGER_RESTS: u32 = 3;
/// Calls of bots under way at once.
const CALLS_AT_ONCE: usize = 64;

/// What a simulation did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    pub(crate) passes: u64,
    pub(crate) disturbed: u64,
    pub(crate) rests: u64,
}

pub(crate) struct Course {
    pub(crate) service: Service,
    pub(crate) model: Model,
    pub(crate) figures: Figures,
    pub(crate) notices_seen: i64,
    pub(crate) payments_seen: i64,
    /// Users of our prefix that nobody knows: server, tag, e-mail, and how many rests they have seen.
    strangers: HashMap<(usize, String, String), u32>,
    keys: u64,
}

struct Call<'a> {
    user: usize,
    op: &'a Op,
    sql: String,
    again: bool,
    adds: Adds,
}

impl Course {
    pub(crate) async fn new(db: TestDb, users: usize) -> Self {
        let service = Service::new(db).await;
        service.world.execute(&format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {users})")).await;
        let model = Model::new(users, service.now());
        // Most have blocked the bot.
        let blocked = (1..).take(users).filter(|id| id % 10 != 0);
        service.chats.blocked.borrow_mut().extend(blocked);
        let (figures, strangers) = (Figures::default(), HashMap::new());
        let course = Self { service, model, figures, notices_seen: 0, payments_seen: 0, strangers, keys: 0 };
        for tariff in 0..course.model.rules.tariffs.len() {
            course.write_tariff(tariff).await;
        }
        course.service.world.execute("ANALYZE").await;
        course
    }

    /// Does these one after the other. Answers the first difference.
    pub(crate) async fn run(&mut self, actions: &[Action]) -> Result<(), String> {
        let mut calls: Vec<Call<'_>> = Vec::new();
        for action in actions {
            if let Action::Op { user, op, again, adds } = action {
                let user = user % self.model.people.len();
                if calls.len() >= CALLS_AT_ONCE || calls.iter().any(|call| call.user == user) {
                    self.make(std::mem::take(&mut calls)).await?;
                }
                let (again, adds) = (*again && !matches!(op, Op::Refund), *adds);
                self.keys += 1;
                if let Op::Block { on } = op {
                    self.block(user, *on);
                } else if let Some(sql) = self.model.call(user, op, &format!("k{}", self.keys)) {
                    calls.push(Call { user, op, sql, again, adds });
                }
                continue;
            }
            self.make(std::mem::take(&mut calls)).await?;
            self.act(action).await?;
            self.model.rules.now = self.service.now();
        }
        self.make(calls).await
    }

    fn block(&self, user: usize, on: bool) {
        let id = self.model.people[user].paying.id;
        let mut blocked = self.service.chats.blocked.borrow_mut();
        if on {
            blocked.insert(id)
        } else {
            blocked.remove(&id)
        };
    }

    /// Makes calls of different customers, one behind the other without waiting in between.
    async fn make(&mut self, calls: Vec<Call<'_>>) -> Result<(), String> {
        if calls.is_empty() {
            return Ok(());
        }
        self.service.bot_looks_at_the_clock().await;
        let client = self.service.world.client.clone();
        let (first, again) = futures_util::join!(
            join_all(calls.iter().map(|call| client.query_typed(&call.sql, &[]))),
            join_all(calls.iter().filter(|call| call.again).map(|call| client.query_typed(&call.sql, &[]))),
        );
        let mut again = again.into_iter().peekable();
        for (call, answered) in calls.iter().zip(first) {
            self.figures.calls += 1;
            let (answer, uuid) = answer(call.op, &answered)?;
            self.figures.refused += u64::from(matches!(answer, Answer::Refused(_)));
            if let Some(repeated) = again.next_if(|_| call.again) {
                let (repeated, _) = self::answer(call.op, &repeated)?;
                if repeated != answer {
                    return Err(format!("{}: answered {answer:?}, and when called again {repeated:?}", call.sql));
                }
            }
            self.model.takes(call.user, call.op, &answer)?;
            if let Some(uuid) = uuid {
                self.add(call, &answer, uuid);
            }
        }
        Ok(())
    }

    /// After its commit the bot adds the user to the servers: at once, late, or not at all.
    fn add(&mut self, call: &Call<'_>, answer: &Answer, uuid: Uuid) {
        let group = match call.op {
            Op::Buy { tariff, .. } | Op::Trial { tariff } | Op::Grant { tariff, .. } => group_of(*tariff),
            Op::Rotate { group } => *group,
            _ => return,
        };
        let (Answer::Right(_, _, email) | Answer::Credential(email)) = answer else { return };
        let subscription = perennial_core::ids::SubscriptionId(0);
        let credential = Credential { id: 0, email: email.clone(), uuid, subscription };
        match call.adds {
            Adds::Never => {}
            Adds::AtOnce => self.service.add(group, &credential),
            Adds::Late => self.service.late.push((group, credential)),
        }
    }

    async fn write_tariff(&self, index: usize) {
        let tariff = &self.model.rules.tariffs[index];
        let (unit, active) = (if tariff.months { "month" } else { "day" }, tariff.state == TariffState::Sold);
        let (code, group) = (tariff.code, GROUPS[group_of(index)]);
        let mut sql = format!("DELETE FROM tariffs WHERE code = '{code}'");
        if tariff.state != TariffState::Missing {
            sql += &format!(
                "; INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active) \
                 VALUES ('{code}', '{group}', '{unit}', {}, {}, {active})",
                tariff.count, tariff.price
            );
        }
        self.service.world.execute(&sql).await;
    }

    async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Op { .. } => {}
            Action::SetPrice { tariff, kopecks } => {
                self.model.rules.tariffs[*tariff].price = *kopecks;
                self.write_tariff(*tariff).await;
            }
            Action::SetState { tariff, state } => {
                if self.model.rules.tariffs[*tariff].state != *state {
                    self.model.rules.tariffs[*tariff].state = *state;
                    self.write_tariff(*tariff).await;
                }
            }
            Action::Unpark => {
                self.model.unpark();
                self.service.world.execute("DELETE FROM parked WHERE pass = 'renew'").await;
            }
            Action::Wait { minutes } => self.service.wait(*minutes).await,
            Action::Trouble { seed } => self.service.get_into_trouble(*seed),
            Action::Restart { node } => self.service.servers[node % 2].restart(),
            Action::Meddle { node, seed } => {
                self.service.meddle(*node, *seed);
                self.strangers.retain(|(at, ..), _| at != node);
            }
            Action::Pass { pass, how, batch_rows, workers } => {
                let run = Run { pass: *pass, batch_rows: *batch_rows, workers: *workers, cut: None };
                self.pass(run, *how).await?;
            }
            Action::Rest => self.rest().await?,
        }
        Ok(())
    }

    async fn pass(&mut self, run: Run, how: How) -> Result<(), String> {
        self.figures.passes += 1;
        self.figures.disturbed += u64::from(how != How::Whole);
        // No two passes at the same moment: a row that was renewed at this very one is left out.
        self.service.wait(1).await;
        self.model.rules.now = self.service.now();
        let failed = |error| format!("{run:?}, {how:?}: {error}");
        match (run.pass, how) {
            (Pass::Deliver, _) => {
                let cut = if let How::Cut(messages) = how { Some(messages) } else { None };
                self.deliver(Run { cut, ..run }, false).await
            }
            (pass, How::Whole) => {
                self.service.run(run).await.map_err(failed)?;
                self.model.pass_whole(pass, run.batch_rows);
                self.assert_nobody_cut()
            }
            (pass, How::Copies) => {
                self.settle(HashMap::new()).await?;
                let may = self.model.pass_somehow(pass, how, run.batch_rows);
                let (one, other) = futures_util::join!(self.service.run(run), self.service.run(run));
                one.and(other).map_err(failed)?;
                self.assert_nobody_cut()?;
                self.settle(may).await
            }
            (pass, How::Cut(after)) => {
                self.settle(HashMap::new()).await?;
                let may = self.model.pass_somehow(pass, how, run.batch_rows);
                self.service.run(Run { cut: Some(after), ..run }).await.map_err(failed)?;
                self.assert_nobody_cut()?;
                self.settle(may).await
            }
        }
    }

    fn assert_nobody_cut(&self) -> Result<(), String> {
        let cut = self.service.cut.borrow();
        if cut.is_empty() { Ok(()) } else { Err(format!("removed from a server while in use: {cut:?}")) }
    }

    async fn deliver(&mut self, run: Run, at_rest: bool) -> Result<(), String> {
        self.settle(HashMap::new()).await?;
        let dropped = |(id, notice): (&i64, &Notice)| Some((*id, self.model.dropped(*id, notice)?));
        let dropped: HashMap<i64, &'static str> = self.model.outbox.iter().filter_map(dropped).collect();
        self.service.run(run).await.map_err(|error| format!("{run:?}: {error}"))?;
        self.model.rules.now = self.service.now();
        self.settle(HashMap::new()).await?;
        self.settle_outbox(&dropped, at_rest).await?;
        if at_rest && self.service.chats.throttled() > 0 {
            return Err("messages were sent too fast".to_owned());
        }
        Ok(())
    }

    /// Nothing goes wrong any more: an ordinary pass of each program, and everything is as it should be.
    async fn rest(&mut self) -> Result<(), String> {
        self.figures.rests += 1;
        self.service.heal();
        self.service.wait(REST_MINUTES).await;
        for pass in [Pass::Renew, Pass::Trials, Pass::Expire, Pass::Reconcile, Pass::Reconcile] {
            self.pass(Run { pass, batch_rows: 500, workers: 1, cut: None }, How::Whole).await?;
        }
        self.deliver(Run { pass: Pass::Deliver, batch_rows: 500, workers: 1, cut: None }, true).await?;
        self.settle_payments().await?;
        self.compare_servers()?;
        self.model.people.iter_mut().for_each(crate::model::Person::prune);
        // When there is twice as much as the last time, and the last time.
        if self.figures.rests.is_power_of_two() {
            self.service.world.execute("ANALYZE").await;
            self.assert_sound().await;
        }
        Ok(())
    }

    /// The books as a whole: all of `perennial verify`, and more.
    pub(crate) async fn assert_sound(&self) {
        assert_sound(&self.service.world.client).await;
    }

    /// Entitled ⇔ present, on every inbound of the group.
    fn compare_servers(&mut self) -> Result<(), String> {
        let now = self.model.rules.now;
        let knows_anybody = self.model.people.iter().any(|person| person.open.iter().any(Option::is_some));
        for (node, server) in self.service.servers.iter().enumerate() {
            for group in 0..GROUPS.len() {
                let may: HashMap<&str, bool> =
                    self.model.people.iter().filter_map(|one| one.on_servers(group, now)).collect();
                for tag in Service::tags(server, group) {
                    let listed = server.emails(&tag);
                    let on = |what: &str, email: &str| Err(format!("{email} {what} on {} {tag} at {now}", server.name));
                    if let Some((email, _)) = may.iter().find(|(email, must)| **must && !lists(&listed, email)) {
                        return on("is missing", email);
                    }
                    for email in listed.iter().filter(|email| !email.starts_with("other.")) {
                        if may.contains_key(email.as_str()) {
                            continue;
                        }
                        if !email.starts_with("p.x") {
                            return on("is still", email);
                        }
                        let rests = self.strangers.entry((node, tag.clone(), email.clone())).or_default();
                        *rests += 1;
                        // Where the database knows nobody, a brake keeps them.
                        if *rests > STRANGER_RESTS && knows_anybody {
                            return on("is unknown and still", email);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// By the order of the list.
fn lists(listed: &[String], email: &str) -> bool {
    listed.binary_search_by(|other| other.as_str().cmp(email)).is_ok()
}

/// What a call answered, with the UUID where there is one.
fn answer(op: &Op, rows: &Result<Vec<Row>, tokio_postgres::Error>) -> Result<(Answer, Option<Uuid>), String> {
    let row = match rows {
        Ok(rows) => rows.first().ok_or("no answer")?,
        Err(error) => {
            let code = error.code().map(SqlState::code).filter(|code| code.starts_with("PK"));
            return Ok((Answer::Refused(code.ok_or_else(|| format!("{op:?}: {error:?}"))?.to_owned()), None));
        }
    };
    Ok(match op {
        Op::TopUp { .. } | Op::Refund => (Answer::Balance(row.get(0)), None),
        Op::Buy { .. } | Op::Trial { .. } | Op::Grant { .. } => {
            (Answer::Right(row.get(0), row.get(1), row.get(2)), Some(row.get(3)))
        }
        Op::CancelPaid | Op::CancelTrial => (Answer::End(row.get(0)), None),
        Op::Rotate { .. } => (Answer::Credential(row.get(0)), Some(row.get(1))),
        _ => (Answer::Done, None),
    })
}
