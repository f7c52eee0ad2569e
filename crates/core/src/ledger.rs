//! The ledger from Rust: charges. All money moves through the SQL function `ledger_post`; bots' functions call the same.
//!
//! A transfer has one debit, one credit and a positive amount, so the book always balances; it is never changed. Wallet
//! balances follow from transfers by a trigger. What failed before its commit is simply not there; money committed
//! goes back by a reversal. An idempotency key names the event: used again with the same columns it is recognised,
//! with others refused.

use tokio_postgres::types::Type;

use crate::db::column;
use crate::db::{DbError, Tx};
use crate::ids::AccountId;
use crate::money::Kopecks;

/// A transfer to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransfer {
    /// Names the event; unique in the ledger. Times in it are microseconds since 1970.
    pub key: String,
    wallet: AccountId,
    /// Always positive; the database refuses others.
    pub amount: Kopecks,
}

impl NewTransfer {
    /// The price of a period, from a wallet to revenue.
    #[must_use]
    pub fn charge(key: String, wallet: AccountId, amount: Kopecks) -> Self {
        Self { key, wallet, amount }
    }
}

/// The answer to a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The key asked for.
    pub key: String,
    /// False: it was there before, with the same columns.
    pub fresh: bool,
}

/// Account 1 is revenue.
const POST_TRANSFERS: &str = "-- post_transfers
SELECT l.idempotency_key, l.fresh
FROM ledger_post(
    $1, array_fill('charge'::text, ARRAY[cardinality($1)]), $2, array_fill(1::bigint, ARRAY[cardinality($1)]), $3,
    array_fill(NULL::bigint, ARRAY[cardinality($1)]), /* at */ $4
) l";

impl Tx<'_> {
    /// Posts transfers, all or none; one answer a transfer, in no order. Locks their wallets in ascending id.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a wallet that would be overdrawn (`accounts_wallet_not_overdrawn`), a key used for
    /// another transfer (SQLSTATE PK001), an amount that is not positive.
    pub async fn post_transfers(&self, transfers: &[NewTransfer]) -> Result<Vec<Posted>, DbError> {
        if transfers.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = transfers.iter().map(|transfer| transfer.key.as_str()).collect();
        let wallets: Vec<AccountId> = transfers.iter().map(|transfer| transfer.wallet).collect();
        let amounts: Vec<Kopecks> = transfers.iter().map(|transfer| transfer.amount).collect();
        let rows = self
            .query(
                POST_TRANSFERS,
                &[
                    (&keys, Type::TEXT_ARRAY),
                    (&wallets, Type::INT8_ARRAY),
                    (&amounts, Type::INT8_ARRAY),
                    (/* at */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| Ok(Posted { key: column(row, "idempotency_key")?, fresh: column(row, "fresh")? }))
            .collect()
    }
}
