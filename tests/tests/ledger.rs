//! The ledger: posting is all or nothing, a key names one transfer for ever, a reversal takes one back once.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::door::{door, options, refused};
use common::ledger::{INFLOW, Posted, Posting, REVENUE, charge, post, reversal, top_up, wallets};
use common::refusal::{CHECK, FOREIGN_KEY, Refusal, UNIQUE};
use common::{balance, digest, number, text};
use perennial_core::ids::AccountId;
use perennial_core::ledger::NewTransfer;
use perennial_core::money::Kopecks;
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio_postgres::Client;

/// Two customers with empty wallets.
async fn book(db: &TestDb) -> (Client, i64, i64) {
    let client = db.client().await;
    let wallets = wallets(&client, 2).await;
    (client, wallets[0], wallets[1])
}

/// Key and freshness of the answers.
fn fresh(posted: &[Posted]) -> Vec<(&str, bool)> {
    posted.iter().map(|posted| (posted.key.as_str(), posted.fresh)).collect()
}

/// SQLSTATE and constraint of a posting that must not work.
async fn refusal(client: &Client, postings: &[Posting]) -> (String, String) {
    let refusal = Refusal::of(&post(client, postings).await.unwrap_err());
    (refusal.sqlstate, refusal.constraint.unwrap_or_default())
}

#[test]
fn a_transfer_posted_again_is_recognised() {
    db_test(async |db| {
        let (client, wallet, other) = book(&db).await;
        let all = [top_up("a", wallet, 500), top_up("b", other, 70)];
        let first = post(&client, &all).await.unwrap();
        assert_eq!(fresh(&first), [("a", true), ("b", true)]);
        let before = digest(&client).await;
        let mut again = post(&client, &all).await.unwrap();
        assert_eq!(fresh(&again), [("a", false), ("b", false)]);
        again.iter_mut().for_each(|posted| posted.fresh = true);
        assert_eq!(again, first);
        assert_eq!(digest(&client).await, before);

        // Some known, some new: each is told.
        let more = [top_up("c", wallet, 1), top_up("a", wallet, 500)];
        assert_eq!(fresh(&post(&client, &more).await.unwrap()), [("a", false), ("c", true)]);
        assert_eq!((balance(&client, 1).await, balance(&client, 2).await), (501, 70));
        assert_eq!(post(&client, &[]).await.unwrap(), []);
    });
}

#[test]
fn a_key_used_for_another_transfer_is_refused() {
    db_test(async |db| {
        let (client, wallet, other) = book(&db).await;
        let original = top_up("key", wallet, 500);
        let id = post(&client, std::slice::from_ref(&original)).await.unwrap()[0].id;
        let before = digest(&client).await;
        for different in [
            top_up("key", wallet, 501),
            top_up("key", other, 500),
            charge("key", wallet, 500),
            reversal("key", id, &original),
        ] {
            // The new one beside it is not posted either.
            let refusal = refusal(&client, &[top_up("new", wallet, 1), different.clone()]).await;
            let expected = ("PK001".to_owned(), "transfers_idempotency_key_key".to_owned());
            assert_eq!(refusal, expected, "{different:?}");
            assert_eq!(digest(&client).await, before, "{different:?}");
        }
    });
}

#[test]
fn a_key_twice_in_one_posting_is_one_transfer_or_refused() {
    db_test(async |db| {
        let (client, wallet, _) = book(&db).await;
        assert_eq!(refusal(&client, &[top_up("key", wallet, 5), top_up("key", wallet, 6)]).await.0, "PK001");
        let twice = [top_up("key", wallet, 5), top_up("key", wallet, 5)];
        assert_eq!(fresh(&post(&client, &twice).await.unwrap()), [("key", true)]);
        assert_eq!(balance(&client, 1).await, 5);
    });
}

#[test]
fn a_posting_is_all_or_nothing() {
    db_test(async |db| {
        let (client, wallet, other) = book(&db).await;
        post(&client, &[top_up("start", wallet, 100)]).await.unwrap();
        let before = digest(&client).await;
        for (bad, sqlstate, constraint) in [
            (charge("bad", wallet, 101), CHECK, "accounts_wallet_not_overdrawn"),
            (charge("bad", other, 10), CHECK, "accounts_wallet_not_overdrawn"),
            (top_up("bad", wallet, 0), CHECK, "transfers_amount_positive"),
            (top_up("bad", wallet, -1), CHECK, "transfers_amount_positive"),
            (top_up("", wallet, 1), CHECK, "transfers_key_not_empty"),
            (top_up("bad", 99, 1), FOREIGN_KEY, "transfers_accounts_exist"),
            (top_up("bad", REVENUE, 1), CHECK, "transfers_accounts_fit_kind"),
            (charge("bad", INFLOW, 1), CHECK, "transfers_accounts_fit_kind"),
            (top_up("bad", wallet, i64::MAX), "22003", ""),
        ] {
            let refusal = refusal(&client, &[top_up("good", other, 1), bad.clone()]).await;
            assert_eq!(refusal, (sqlstate.to_owned(), constraint.to_owned()), "{bad:?}");
            assert_eq!(digest(&client).await, before, "{bad:?}");
        }
    });
}

#[test]
fn a_reversal_takes_a_transfer_back_once() {
    db_test(async |db| {
        let (client, wallet, _) = book(&db).await;
        let original = top_up("in", wallet, 500);
        let id = post(&client, std::slice::from_ref(&original)).await.unwrap()[0].id;
        let back = reversal("back", id, &original);
        let reversed = post(&client, std::slice::from_ref(&back)).await.unwrap();
        assert_eq!(balance(&client, 1).await, 0);
        assert_eq!(fresh(&post(&client, std::slice::from_ref(&back)).await.unwrap()), [("back", false)]);

        post(&client, &[top_up("in again", wallet, 900)]).await.unwrap();
        let again = reversal("back again", id, &original);
        assert_eq!(refusal(&client, &[again]).await, (UNIQUE.to_owned(), "transfers_reverses_key".to_owned()));
        let of_the_reversal = reversal("forth", reversed[0].id, &back);
        let expected = (CHECK.to_owned(), "transfers_accounts_fit_kind".to_owned());
        assert_eq!(refusal(&client, &[of_the_reversal]).await, expected);
        assert_eq!(balance(&client, 1).await, 900);
    });
}

/// Its charges pay for nothing, which `sql/checks` would complain about.
#[test]
fn charges_from_rust_go_to_revenue_at_the_time_of_their_transaction_and_are_recognised() {
    db_test_unchecked(async |db| {
        let (client, wallet, other) = book(&db).await;
        post(&client, &[top_up("in", wallet, 500), top_up("in too", other, 70)]).await.unwrap();
        let database = door(&db, options());
        let charge = |key: &str, wallet, kopecks| NewTransfer::charge(key.into(), AccountId(wallet), Kopecks(kopecks));
        let both = [charge("a", wallet, 300), charge("b", other, 70)];
        let charged = async |charges: &[NewTransfer]| {
            database
                .run_tx("post", async |tx| {
                    let mut posted = tx.post_transfers(charges).await?;
                    posted.sort_by(|a, b| a.key.cmp(&b.key));
                    Ok((posted.into_iter().map(|posted| (posted.key, posted.fresh)).collect::<Vec<_>>(), tx.now()))
                })
                .await
        };
        let (posted, now) = charged(&both).await.unwrap();
        assert_eq!(posted, [("a".to_owned(), true), ("b".to_owned(), true)]);
        let sql =
            "SELECT string_agg(concat_ws(' ', idempotency_key, kind, debit_account, credit_account, amount_kopecks,
                       (extract(epoch FROM created_at) * 1000000)::bigint), ', ' ORDER BY idempotency_key)
                   FROM transfers WHERE idempotency_key IN ('a', 'b')";
        let at = perennial_core::time::micros(now);
        let expected = format!("a charge {wallet} {REVENUE} 300 {at}, b charge {other} {REVENUE} 70 {at}");
        assert_eq!(text(&client, sql).await, expected);
        assert_eq!((balance(&client, 1).await, balance(&client, 2).await), (200, 0));

        let before = digest(&client).await;
        assert_eq!(charged(&both).await.unwrap().0, [("a".to_owned(), false), ("b".to_owned(), false)]);
        assert_eq!(charged(&[]).await.unwrap().0, []);
        for (bad, sqlstate, constraint) in [
            (charge("a", wallet, 301), "PK001", "transfers_idempotency_key_key"),
            (charge("c", wallet, 201), CHECK, "accounts_wallet_not_overdrawn"),
            (charge("c", wallet, 0), CHECK, "transfers_amount_positive"),
        ] {
            let result = charged(&[charge("good", wallet, 1), bad.clone()]).await;
            assert_eq!(refused(result), (sqlstate.to_owned(), constraint.to_owned()), "{bad:?}");
        }
        assert_eq!(digest(&client).await, before);
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
    posting: Posting,
    wallet: usize,
    /// What it added to the wallet.
    effect: i64,
    reversed: bool,
    id: Option<i64>,
}

impl Model {
    /// What a posting of these moves would leave, or none when the database must refuse it.
    fn after(&self, moves: &[Move], wallets: &[i64], batch: usize) -> (Vec<Posting>, Option<Self>) {
        let mut next = self.clone();
        let mut postings = Vec::new();
        let mut sound = true;
        for (place, wanted) in moves.iter().enumerate() {
            let key = format!("{batch}:{place}");
            let (posting, wallet, effect) = match wanted {
                Move::TopUp { wallet, kopecks } => (top_up(&key, wallets[*wallet], *kopecks), *wallet, *kopecks),
                Move::Charge { wallet, kopecks } => (charge(&key, wallets[*wallet], *kopecks), *wallet, -kopecks),
                Move::Reverse(_) | Move::PostAgain(_) if self.posted.is_empty() => continue,
                Move::PostAgain(index) => {
                    postings.push(index.get(&self.posted).posting.clone());
                    continue;
                }
                Move::Reverse(index) => {
                    let place = index.index(self.posted.len());
                    let Known { posting, wallet, effect, id, .. } = &self.posted[place];
                    sound &= posting.reverses.is_none() && !next.posted[place].reversed;
                    next.posted[place].reversed = true;
                    (reversal(&key, id.unwrap(), posting), *wallet, -effect)
                }
            };
            postings.push(posting.clone());
            next.balances[wallet] += effect;
            next.posted.push(Known { posting, wallet, effect, reversed: false, id: None });
        }
        sound &= next.balances.iter().all(|balance| *balance >= 0);
        (postings, sound.then_some(next))
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
            let mut model = Model::default();
            for (batch, moves) in batches.iter().enumerate() {
                let (postings, after) = model.after(moves, &wallets, batch);
                let result = post(&client, &postings).await;
                match after {
                    Some(after) => {
                        let posted = result.unwrap_or_else(|error| panic!("batch {batch} was refused: {error}"));
                        model = after;
                        for known in &mut model.posted {
                            let answer = posted.iter().find(|posted| posted.key == known.posting.key);
                            assert!(answer.is_none_or(|answer| answer.fresh == known.id.is_none()), "{answer:?}");
                            known.id = known.id.or(answer.map(|answer| answer.id));
                        }
                    }
                    None => {
                        let sqlstate = Refusal::of(&result.unwrap_err()).sqlstate;
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
