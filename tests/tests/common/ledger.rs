//! The ledger as whoever may call `ledger_post` uses it.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// The account that charges go to.
pub const REVENUE: i64 = 1;
/// The account that top-ups come from.
pub const INFLOW: i64 = 2;

/// A transfer to be posted.
#[derive(Debug, Clone)]
pub struct Posting {
    pub key: String,
    pub kind: &'static str,
    pub debit: i64,
    pub credit: i64,
    pub kopecks: i64,
    /// The transfer it takes back.
    pub reverses: Option<i64>,
}

/// One answer of `ledger_post`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub key: String,
    pub id: i64,
    pub fresh: bool,
}

/// Money from outside into a wallet.
pub fn top_up(key: &str, wallet: i64, kopecks: i64) -> Posting {
    Posting { key: key.to_owned(), kind: "top_up", debit: INFLOW, credit: wallet, kopecks, reverses: None }
}

/// The price of something, from a wallet to revenue.
pub fn charge(key: &str, wallet: i64, kopecks: i64) -> Posting {
    Posting { key: key.to_owned(), kind: "charge", debit: wallet, credit: REVENUE, kopecks, reverses: None }
}

/// Takes a posted transfer back.
pub fn reversal(key: &str, id: i64, of: &Posting) -> Posting {
    let (debit, credit) = (of.credit, of.debit);
    Posting { key: key.to_owned(), kind: "reversal", debit, credit, reverses: Some(id), ..of.clone() }
}

/// Posts in a transaction of its own; answers in the order of their keys.
pub async fn post(client: &Client, postings: &[Posting]) -> Result<Vec<Posted>, Error> {
    let keys: Vec<&str> = postings.iter().map(|posting| posting.key.as_str()).collect();
    let kinds: Vec<&str> = postings.iter().map(|posting| posting.kind).collect();
    let numbers = |of: fn(&Posting) -> i64| postings.iter().map(of).collect::<Vec<i64>>();
    let reverses: Vec<Option<i64>> = postings.iter().map(|posting| posting.reverses).collect();
    let sql = "SELECT l.idempotency_key, l.transfer_id, l.fresh FROM ledger_post($1, $2, $3, $4, $5, $6, now()) l
               ORDER BY l.idempotency_key";
    let rows = client
        .query_typed(
            sql,
            &[
                (&keys, Type::TEXT_ARRAY),
                (&kinds, Type::TEXT_ARRAY),
                (&numbers(|posting| posting.debit), Type::INT8_ARRAY),
                (&numbers(|posting| posting.credit), Type::INT8_ARRAY),
                (&numbers(|posting| posting.kopecks), Type::INT8_ARRAY),
                (&reverses, Type::INT8_ARRAY),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| Posted { key: row.get(0), id: row.get(1), fresh: row.get(2) }).collect())
}

/// New users from 1 on; answers their wallets.
pub async fn wallets(client: &Client, users: i64) -> Vec<i64> {
    super::run(client, &format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {users})")).await;
    let mut wallets = Vec::new();
    for user in 1..=users {
        wallets.push(super::wallet(client, user).await);
    }
    wallets
}
