//! What a pass may leave: the one outcome of a whole pass, all those that are possible where copies ran or it was cut.

use std::collections::{BTreeMap, HashMap};

use crate::action::{How, Pass};
use crate::model::{Model, Person, Row};

const ALL: [Row; 3] = [Row::Paid, Row::Trial, Row::Grant];

impl Model {
    /// Takes over what a whole pass does to everybody.
    pub(crate) fn pass_whole(&mut self, pass: Pass, batch_rows: usize) {
        match pass {
            Pass::Renew => self.each(|model, person, user| model.announced(&model.renewed(person, user), user)),
            Pass::Trials => {
                self.each(Self::reminded);
                self.end(&[Row::Trial], batch_rows);
            }
            Pass::Expire => self.end(&ALL, batch_rows),
            Pass::Reconcile | Pass::Deliver => {}
        }
    }

    fn each(&mut self, does: impl Fn(&Self, &Person, usize) -> Person) {
        for user in 0..self.people.len() {
            let after = does(self, &self.people[user], user);
            self.put(user, after);
        }
    }

    fn end(&mut self, sources: &[Row], batch_rows: usize) {
        for (user, rows) in self.batches(sources, batch_rows) {
            let after = self.ended(&self.people[user], user, &rows);
            self.put(user, after);
        }
    }

    /// The rows that are over, batch by batch: those of one person that are in the same batch stand together.
    fn batches(&self, sources: &[Row], batch_rows: usize) -> Vec<(usize, Vec<Row>)> {
        let over = self.over(sources);
        let batch = |rows: &[(usize, Row)]| {
            let mut of: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
            for (user, row) in rows {
                of.entry(*user).or_default().push(*row);
            }
            of
        };
        over.chunks(batch_rows).flat_map(batch).collect()
    }

    /// How each person may stand after a pass that did not run alone, or not to its end. Who is not named stands as before.
    pub(crate) fn pass_somehow(&self, pass: Pass, how: How, batch_rows: usize) -> HashMap<usize, Vec<Person>> {
        let mut may: HashMap<usize, Vec<Person>> = HashMap::new();
        for (user, person) in self.people.iter().enumerate() {
            let outcomes = match (pass, how) {
                (Pass::Renew, How::Cut(_)) => {
                    let renewed = self.renewed(person, user);
                    let told = [self.announced(person, user), self.announced(&renewed, user)];
                    [person.clone(), renewed].into_iter().chain(told).collect()
                }
                (Pass::Renew, _) => vec![self.announced(&self.renewed(person, user), user)],
                (Pass::Trials, How::Cut(_)) => {
                    let reminded = self.reminded(person, user);
                    let ended = [self.ended(person, user, &[Row::Trial]), self.ended(&reminded, user, &[Row::Trial])];
                    [person.clone(), reminded].into_iter().chain(ended).collect()
                }
                (Pass::Trials, _) => vec![self.ended(&self.reminded(person, user), user, &[Row::Trial])],
                (Pass::Expire, How::Copies) => self.ended_by_copies(person, user),
                _ => continue,
            };
            if outcomes.iter().any(|outcome| outcome != person) {
                may.insert(user, outcomes);
            }
        }
        if let (Pass::Expire, How::Cut(_)) = (pass, how) {
            for (user, rows) in self.batches(&ALL, batch_rows) {
                let outcomes = may.entry(user).or_insert_with(|| vec![self.people[user].clone()]);
                let after = outcomes.last().map(|before| self.ended(before, user, &rows));
                outcomes.extend(after);
            }
        }
        may
    }

    /// Rows that share a credential may have been ended together or one after the other, in either order; and one that
    /// each copy held half of is left to the next pass.
    fn ended_by_copies(&self, person: &Person, user: usize) -> Vec<Person> {
        let mut outcomes = vec![person.clone()];
        let mut at = 0;
        while at < outcomes.len() {
            for rows in [&ALL[..], &ALL[..1], &ALL[1..2], &ALL[2..], &ALL[..2], &ALL[1..], &[Row::Paid, Row::Grant]] {
                let after = self.ended(&outcomes[at], user, rows);
                if !outcomes.contains(&after) {
                    outcomes.push(after);
                }
            }
            at += 1;
        }
        if outcomes.len() == 2 {
            // A single row has nothing to share: one of the copies ends it.
            outcomes.remove(0);
        }
        outcomes
    }
}
