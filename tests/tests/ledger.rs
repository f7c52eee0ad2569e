//! The ledger from Rust: posting is all or nothing, a key names one transfer for ever, a reversal takes one back once.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::door::{charge, door, options, post, refused, top_up, wallets};
use common::refusal::{CHECK, UNIQUE};
use common::{balance, digest, number, text};
use perennial_core::db::{Database, DbError};
use perennial_core::ids::{AccountId, TransferId};
use perennial_core::ledger::{INFLOW, NewTransfer, Posted, REVENUE, Transfer};
use perennial_core::money::Kopecks;
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio_postgres::Client;

/// Two customers with empty wallets.
async fn book(db: &TestDb) -> (Client, Database, AccountId, AccountId) {
    let client = db.client().await;
    let wallets = wallets(&client, 2).await;
    (client, door(db, options()), wallets[0], wallets[1])
}

async fn get(database: &Database, id: TransferId) -> Result<Transfer, DbError> {
    database.run_tx("get", async |tx| tx.get_transfer(id).await).await
}

/// Key and freshness of the answers, in the order of their keys.
fn fresh(posted: &[Posted]) -> Vec<(&str, bool)> {
    let mut all: Vec<(&str, bool)> = posted.iter().map(|posted| (posted.key.as_str(), posted.fresh)).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_transfer_posted_again_is_recognised() {
    db_test(async |db| {
        let (client, database, wallet, other) = book(&db).await;
        let all = [top_up("a", wallet, 500), top_up("b", other, 70)];
        let first = post(&database, &all).await.unwrap();
        assert_eq!(fresh(&first), [("a", true), ("b", true)]);
        let before = digest(&client).await;
        let mut again = post(&database, &all).await.unwrap();
        assert_eq!(fresh(&again), [("a", false), ("b", false)]);
        again.iter_mut().for_each(|posted| posted.fresh = true);
        again.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(again, first);
        assert_eq!(digest(&client).await, before);

        // Some known, some new: each is told.
        let more = [top_up("c", wallet, 1), top_up("a", wallet, 500)];
        assert_eq!(fresh(&post(&database, &more).await.unwrap()), [("a", false), ("c", true)]);
        assert_eq!((balance(&client, 1).await, balance(&client, 2).await), (501, 70));
        assert_eq!(post(&database, &[]).await.unwrap(), []);
    });
}

#[test]
fn a_key_used_for_another_transfer_is_refused() {
    db_test(async |db| {
        let (client, database, wallet, other) = book(&db).await;
        let posted = post(&database, &[top_up("key", wallet, 500)]).await.unwrap();
        let original = get(&database, posted[0].id).await.unwrap();
        let before = digest(&client).await;
        for different in [
            top_up("key", wallet, 501),
            top_up("key", other, 500),
            charge("key", wallet, 500),
            NewTransfer::reverse("key".to_owned(), &original),
        ] {
            // The new one beside it is not posted either.
            let result = post(&database, &[top_up("new", wallet, 1), different.clone()]).await;
            let expected = ("PK001".to_owned(), "transfers_idempotency_key_key".to_owned());
            assert_eq!(refused(result), expected, "{different:?}");
            assert_eq!(digest(&client).await, before, "{different:?}");
        }
    });
}

#[test]
fn a_key_twice_in_one_posting_is_one_transfer_or_refused() {
    db_test(async |db| {
        let (client, database, wallet, _) = book(&db).await;
        let result = post(&database, &[top_up("key", wallet, 5), top_up("key", wallet, 6)]).await;
        assert_eq!(refused(result).0, "PK001");
        let twice = [top_up("key", wallet, 5), top_up("key", wallet, 5)];
        assert_eq!(fresh(&post(&database, &twice).await.unwrap()), [("key", true)]);
        assert_eq!(balance(&client, 1).await, 5);
    });
}

#[test]
fn a_posting_is_all_or_nothing() {
    db_test(async |db| {
        let (client, database, wallet, other) = book(&db).await;
        post(&database, &[top_up("start", wallet, 100)]).await.unwrap();
        let before = digest(&client).await;
        for (bad, sqlstate, constraint) in [
            (charge("bad", wallet, 101), CHECK, "accounts_wallet_not_overdrawn"),
            (charge("bad", other, 10), CHECK, "accounts_wallet_not_overdrawn"),
            (top_up("bad", wallet, 0), CHECK, "transfers_amount_positive"),
            (top_up("bad", wallet, -1), CHECK, "transfers_amount_positive"),
            (top_up("", wallet, 1), CHECK, "transfers_key_not_empty"),
            (top_up("bad", AccountId(99), 1), "23503", "transfers_accounts_exist"),
            (top_up("bad", REVENUE, 1), CHECK, "transfers_accounts_fit_kind"),
            (charge("bad", INFLOW, 1), CHECK, "transfers_accounts_fit_kind"),
            (top_up("bad", wallet, i64::MAX), "22003", ""),
        ] {
            let result = post(&database, &[top_up("good", other, 1), bad.clone()]).await;
            assert_eq!(refused(result), (sqlstate.to_owned(), constraint.to_owned()), "{bad:?}");
            assert_eq!(digest(&client).await, before, "{bad:?}");
        }
    });
}

#[test]
fn a_reversal_takes_a_transfer_back_once() {
    db_test(async |db| {
        let (client, database, wallet, _) = book(&db).await;
        let posted = post(&database, &[top_up("in", wallet, 500)]).await.unwrap();
        let original = get(&database, posted[0].id).await.unwrap();
        let expected = Transfer { id: posted[0].id, debit: INFLOW, credit: wallet, amount: Kopecks(500) };
        assert_eq!(original, expected);

        let reversal = NewTransfer::reverse("back".to_owned(), &original);
        let reversed = post(&database, std::slice::from_ref(&reversal)).await.unwrap();
        assert_eq!(balance(&client, 1).await, 0);
        let back = get(&database, reversed[0].id).await.unwrap();
        assert_eq!((back.debit, back.credit, back.amount), (wallet, INFLOW, Kopecks(500)));
        assert_eq!(fresh(&post(&database, &[reversal]).await.unwrap()), [("back", false)]);

        post(&database, &[top_up("in again", wallet, 900)]).await.unwrap();
        let again = NewTransfer::reverse("back again".to_owned(), &original);
        assert_eq!(refused(post(&database, &[again]).await), (UNIQUE.to_owned(), "transfers_reverses_key".to_owned()));
        let of_the_reversal = NewTransfer::reverse("forth".to_owned(), &back);
        let expected = (CHECK.to_owned(), "transfers_accounts_fit_kind".to_owned());
        assert_eq!(refused(post(&database, &[of_the_reversal]).await), expected);
        assert_eq!(balance(&client, 1).await, 900);
    });
}

#[test]
fn a_transfer_bears_the_time_of_its_transaction_and_one_that_is_not_there_is_a_defect() {
    db_test(async |db| {
        let (client, database, wallet, _) = book(&db).await;
        let now = database
            .run_tx("post", async |tx| {
                tx.post_transfers(&[top_up("in", wallet, 1)]).await?;
                Ok(tx.now())
            })
            .await
            .unwrap();
        let sql = "SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM transfers";
        assert_eq!(number(&client, sql).await, perennial_core::time::micros(now));
        assert!(matches!(get(&database, TransferId(99)).await, Err(DbError::Unforeseen { .. })));
    });
}

/// One transfer of a random list. Earlier ones are meant by their place among all that were posted.
#[derive(Debug, Clone)]
enum Move {
    TopUp { wallet: usize, kopecks: i64 },
    Charge { wallet: usize, kopecks: i64 },
    Reverse(Index),
    PostAgain(Index),
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0..WALLETS, 1..1000_i64).prop_map(|(wallet, kopecks)| Move::TopUp { wallet, kopecks }),
        3 => (0..WALLETS, 1..1000_i64).prop_map(|(wallet, kopecks)| Move::Charge { wallet, kopecks }),
        2 => any::<Index>().prop_map(Move::Reverse),
        1 => any::<Index>().prop_map(Move::PostAgain),
    ]
}

const WALLETS: usize = 3;

/// The books as this test keeps them.
#[derive(Debug, Clone, Default)]
struct Model {
    balances: [i64; WALLETS],
    posted: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    transfer: NewTransfer,
    wallet: usize,
    /// What it added to the wallet.
    effect: i64,
    is_reversal: bool,
    reversed: bool,
    id: Option<TransferId>,
}

impl Model {
    /// What a posting of these moves would leave, or none when the database must refuse it.
    fn after(&self, moves: &[Move], wallets: &[AccountId], batch: usize) -> (Vec<NewTransfer>, Option<Self>) {
        let mut next = self.clone();
        let mut transfers = Vec::new();
        let mut sound = true;
        for (place, wanted) in moves.iter().enumerate() {
            let key = format!("{batch}:{place}");
            let (transfer, wallet, effect, is_reversal) = match wanted {
                Move::TopUp { wallet, kopecks } => (top_up(&key, wallets[*wallet], *kopecks), *wallet, *kopecks, false),
                Move::Charge { wallet, kopecks } => {
                    (charge(&key, wallets[*wallet], *kopecks), *wallet, -kopecks, false)
                }
                Move::Reverse(_) | Move::PostAgain(_) if self.posted.is_empty() => continue,
                Move::PostAgain(index) => {
                    transfers.push(index.get(&self.posted).transfer.clone());
                    continue;
                }
                Move::Reverse(index) => {
                    let place = index.index(self.posted.len());
                    let Known { wallet, effect, is_reversal, id, .. } = self.posted[place].clone();
                    let (debit, credit) = self.accounts_of(place, wallets);
                    let original = Transfer { id: id.unwrap(), debit, credit, amount: Kopecks(effect.abs()) };
                    sound &= !is_reversal && !next.posted[place].reversed;
                    next.posted[place].reversed = true;
                    (NewTransfer::reverse(key, &original), wallet, -effect, true)
                }
            };
            transfers.push(transfer.clone());
            next.balances[wallet] += effect;
            next.posted.push(Known { transfer, wallet, effect, is_reversal, reversed: false, id: None });
        }
        sound &= next.balances.iter().all(|balance| *balance >= 0);
        (transfers, sound.then_some(next))
    }

    /// Debit and credit of a posted transfer: top-ups and what reverses them concern inflow, the others revenue.
    fn accounts_of(&self, place: usize, wallets: &[AccountId]) -> (AccountId, AccountId) {
        let known = &self.posted[place];
        let wallet = wallets[known.wallet];
        let system = if known.is_reversal == (known.effect < 0) { INFLOW } else { REVENUE };
        if known.effect > 0 { (system, wallet) } else { (wallet, system) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn balances_follow_from_any_list_of_postings(batches in vec(vec(a_move(), 1..5), 1..30)) {
        // Its charges pay for nothing, which `sql/checks` would complain about.
        db_test_unchecked(async |db| {
            let client = db.client().await;
            let wallets = wallets(&client, 3).await;
            let database = door(&db, options());
            let mut model = Model::default();
            for (batch, moves) in batches.iter().enumerate() {
                let (transfers, after) = model.after(moves, &wallets, batch);
                let result = post(&database, &transfers).await;
                match after {
                    Some(after) => {
                        let posted = result.unwrap_or_else(|error| panic!("batch {batch} was refused: {error}"));
                        model = after;
                        for known in &mut model.posted {
                            let answer = posted.iter().find(|posted| posted.key == known.transfer.key);
                            assert!(answer.is_none_or(|answer| answer.fresh == known.id.is_none()), "{answer:?}");
                            known.id = known.id.or(answer.map(|answer| answer.id));
                        }
                    }
                    None => {
                        let (sqlstate, _) = refused(result);
                        assert!(sqlstate.starts_with("23"), "batch {batch}: {sqlstate}");
                    }
                }
                let sql = "SELECT string_agg(balance_kopecks::text, ' ' ORDER BY id)
                           FROM accounts WHERE kind = 'wallet'";
                assert_eq!(text(&client, sql).await, model.balances.map(|balance| balance.to_string()).join(" "));
            }
            let count = number(&client, "SELECT count(*) FROM transfers").await;
            assert_eq!(count, i64::try_from(model.posted.len()).unwrap());
        });
    }
}
