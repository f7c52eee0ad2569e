//! Passes of a simulation, and what is compared after them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use perennial_core::time::micros;
use tokio_postgres::Row;

use super::super::books::assert_sound;
use super::super::{Pass, Ran};
use super::model::{Seen, User};
use super::op::PassKind;
use super::run::Simulation;

const SEEN: &str = "
    SELECT u.telegram_id, a.balance_kopecks, s.id, (extract(epoch FROM s.expires_at) * 1000000)::bigint, s.auto_renew,
        s.short_stage, s.short_balance_kopecks, s.short_price_kopecks, p.tries, p.next_try_at IS NULL,
        coalesce(n.payments, 0), coalesce(n.paid, 0)
    FROM users u
    JOIN accounts a ON a.telegram_id = u.telegram_id
    LEFT JOIN subscriptions s ON s.telegram_id = u.telegram_id AND s.source = 'payment' AND s.status = 'active'
    LEFT JOIN parked p ON p.pass = 'renew' AND p.subscription = s.id
    LEFT JOIN (
        SELECT x.telegram_id, count(*) AS payments, sum(q.amount_kopecks)::bigint AS paid
        FROM payments q JOIN subscriptions x ON x.id = q.subscription_id
        WHERE q.created_at = (SELECT perennial_now()) AND q.voided_at IS NULL
        GROUP BY x.telegram_id
    ) n ON n.telegram_id = u.telegram_id
    ORDER BY u.telegram_id";

fn seen(row: &Row) -> Seen {
    Seen {
        balance: row.get(1),
        sub: row.get::<_, Option<i64>>(2).map(|id| (id, row.get(3), row.get(4))),
        short: row.get::<_, Option<String>>(5).map(|stage| (stage, row.get(6), row.get(7))),
        parked: row.get::<_, Option<i32>>(8).map(|tries| (tries, row.get(9))),
        payments: row.get(10),
        paid: row.get(11),
    }
}

/// What may stand in the database after a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    /// Every row was got through.
    After,
    /// As `After`, but several passes may have counted the same failed try.
    AfterByCopies,
    /// Row by row, it was got through or not reached.
    BeforeOrAfter,
    /// Nothing was changed.
    Before,
}

impl Simulation {
    pub(super) async fn pass(&mut self, kind: PassKind, batch_rows: usize, workers: usize) {
        self.figures.passes += 1;
        let unchanged: Vec<User> = self.model.users.clone();
        self.compare(&unchanged, May::Before).await;
        let after: Vec<User> = unchanged.iter().map(|user| self.model.after_pass(user)).collect();
        let pass = self.a_pass(batch_rows, workers);
        // Several copies may each count a failed try, so how many there were cannot be foretold.
        let counted = self.model.faults.values().any(|fault| !fault.is_final);
        let may = match kind {
            PassKind::Dry => {
                pass.dry().run().await;
                May::Before
            }
            PassKind::Copies if !counted => {
                let copies = [1, 2, 3].map(|n| self.a_pass(batch_rows * n, workers).run());
                let renewed: u64 = join_all(copies).await.iter().map(|ran| ran.summary.renewed).sum();
                assert_eq!(renewed, renewals(&after) - renewals(&unchanged), "renewals by all copies");
                May::AfterByCopies
            }
            PassKind::Stopped(rows) => self.stopped(pass, rows).await,
            PassKind::Killed(millis) => self.killed(pass, millis).await,
            PassKind::Plain | PassKind::Copies => {
                let summary = pass.run().await.summary;
                assert_eq!(summary.renewed, renewals(&after) - renewals(&unchanged), "renewals");
                assert_eq!((summary.left, summary.busy, summary.cut_short), (0, 0, false), "left by a quiet pass");
                self.figures.failed += summary.failed + summary.parked;
                May::After
            }
        };
        self.compare(&after, may).await;
    }

    fn a_pass(&self, batch_rows: usize, workers: usize) -> Pass {
        let mut pass = self.world.pass().batches_of(batch_rows).workers(workers);
        let mut config = self.world.db.passes_config("renew");
        config.application_name("pass");
        pass.via = Some(config);
        pass
    }

    async fn stopped(&mut self, pass: Pass, rows: u32) -> May {
        let deadline = pass.deadline.clone();
        let told = Cell::new(0);
        let stop = |_: &renew::Outcome| {
            told.set(told.get() + 1);
            if told.get() == rows {
                deadline.stop();
            }
        };
        let Ran { summary, error, .. } = pass.try_run(&stop).await;
        assert!(error.is_none(), "{error:?}");
        self.figures.broken_off += u64::from(summary.cut_short);
        if summary.cut_short { May::BeforeOrAfter } else { May::After }
    }

    async fn killed(&mut self, pass: Pass, millis: u64) -> May {
        let at_work = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pass'";
        let kill = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.world.execute(&format!("SELECT pg_terminate_backend(pid) {at_work}")).await;
        };
        let (ran, ()) = futures_util::join!(pass.try_run(&|_| {}), kill);
        // A session without a client may still be committing.
        while self.world.number(&format!("SELECT count(*) {at_work}")).await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let Some(error) = ran.error else { return May::After };
        assert!(error.is_unavailable(), "{error:?}");
        self.figures.broken_off += 1;
        May::BeforeOrAfter
    }

    /// Compares every user, and takes over into the model what stands.
    async fn compare(&mut self, after: &[User], may: May) {
        let rows = self.world.client.query_typed(SEEN, &[]).await.unwrap();
        let now = self.model.now;
        for ((row, user), after) in rows.iter().zip(&mut self.model.users).zip(after) {
            let actual = seen(row);
            let (seen_before, seen_after) = (user.seen(now), after.seen(now));
            let wanted = match may {
                May::Before => seen_before.clone(),
                May::BeforeOrAfter if actual == seen_before => seen_before.clone(),
                May::After | May::BeforeOrAfter => seen_after.clone(),
                May::AfterByCopies => {
                    let tries = |(wanted, for_good), (tries, _)| (i32::max(wanted, tries), for_good);
                    let parked = seen_after.parked.zip(actual.parked).map(|(wanted, actual)| tries(wanted, actual));
                    Seen { parked: parked.or(seen_after.parked), ..seen_after.clone() }
                }
            };
            assert_eq!(actual, wanted, "user {} at {now}; before: {seen_before:?}\nmodel: {user:#?}", user.id);
            if may != May::Before && actual != seen_before {
                *user = after.clone();
                if let (Some(sub), Some((tries, _))) = (user.sub.as_mut(), actual.parked) {
                    sub.parked.as_mut().unwrap().tries = tries;
                }
            }
        }
    }

    /// Compares the books as a whole: every payment, every notice, every kopeck.
    pub async fn finish(mut self) {
        let unchanged: Vec<User> = self.model.users.clone();
        self.compare(&unchanged, May::Before).await;
        assert_sound(&self.world.client).await;

        let payments = "SELECT subscription_id, (extract(epoch FROM period_start) * 1000000)::bigint, \
                        (extract(epoch FROM period_end) * 1000000)::bigint, amount_kopecks, voided_at IS NOT NULL \
                        FROM payments";
        let rows = self.world.client.query_typed(payments, &[]).await.unwrap();
        let mut actual: Vec<(i64, i64, i64, i64, bool)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect();
        let made = self.model.users.iter().flat_map(|user| user.payments.iter());
        let mut wanted: Vec<_> =
            made.map(|paid| (paid.sub, micros(paid.start), micros(paid.end), paid.amount, paid.voided)).collect();
        actual.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(actual, wanted, "payments");

        let notices = self.world.column("SELECT dedupe_key FROM notices").await;
        let wanted: BTreeSet<&String> = self.model.users.iter().flat_map(|user| user.notices.iter()).collect();
        assert_eq!(notices.iter().collect::<BTreeSet<_>>(), wanted, "notices");

        let wallets: i64 = self.model.users.iter().map(|user| user.balance).sum();
        let kept = self.model.users.iter().flat_map(|user| user.payments.iter()).filter(|paid| !paid.voided);
        let revenue: i64 = kept.map(|paid| paid.amount).sum();
        assert_eq!(wallets + revenue, self.model.inflow, "what came in is there");
        let in_ledger = "SELECT coalesce(sum(amount_kopecks) FILTER (WHERE credit_account = 1), 0)::bigint \
                         - coalesce(sum(amount_kopecks) FILTER (WHERE debit_account = 1), 0)::bigint FROM transfers";
        assert_eq!(self.world.number(in_ledger).await, revenue, "revenue");
    }
}

fn renewals(users: &[User]) -> u64 {
    users.iter().map(|user| user.renewals).sum()
}
