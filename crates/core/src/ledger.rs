//! The ledger: accounts and transfers. The only code that moves money.
//!
//! A transfer has one debit, one credit and a positive amount, so the book always balances; it is never changed. Wallet
//! balances follow from transfers by a trigger. What failed before its commit is simply not there; money committed
//! goes back by a reversal. An idempotency key names the event: used again with the same columns it is recognised,
//! with others refused (SQL function `ledger_post`, which bots' functions use too).

use tokio_postgres::types::Type;

use crate::db::column;
use crate::db::{DbError, Tx};
use crate::ids::{AccountId, TransferId};
use crate::money::Kopecks;

/// Income from charges.
pub const REVENUE: AccountId = AccountId(1);
/// Money from outside.
pub const INFLOW: AccountId = AccountId(2);

/// A transfer to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransfer {
    /// Names the event; unique in the ledger. Times in it are microseconds since 1970.
    pub key: String,
    kind: &'static str,
    debit: AccountId,
    credit: AccountId,
    /// Always positive; the database refuses others.
    pub amount: Kopecks,
    reverses: Option<TransferId>,
}

impl NewTransfer {
    /// Money from outside into a wallet.
    #[must_use]
    pub fn top_up(key: String, wallet: AccountId, amount: Kopecks) -> Self {
        Self { key, kind: "top_up", debit: INFLOW, credit: wallet, amount, reverses: None }
    }

    /// The price of a period, from a wallet to revenue.
    #[must_use]
    pub fn charge(key: String, wallet: AccountId, amount: Kopecks) -> Self {
        Self { key, kind: "charge", debit: wallet, credit: REVENUE, amount, reverses: None }
    }

    /// Takes a committed transfer back: accounts swapped, same amount. The database allows it once, and never of a
    /// reversal.
    #[must_use]
    pub fn reverse(key: String, posted: &Transfer) -> Self {
        Self {
            key,
            kind: "reversal",
            debit: posted.credit,
            credit: posted.debit,
            amount: posted.amount,
            reverses: Some(posted.id),
        }
    }
}

/// A transfer in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Account that gave.
    pub debit: AccountId,
    /// Account that received.
    pub credit: AccountId,
    /// Positive.
    pub amount: Kopecks,
}

/// The answer to a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The key asked for.
    pub key: String,
    /// The transfer under it.
    pub id: TransferId,
    /// False: it was there before, with the same columns.
    pub fresh: bool,
}

const POST_TRANSFERS: &str = "-- post_transfers
SELECT l.idempotency_key, l.transfer_id, l.fresh FROM ledger_post($1, $2, $3, $4, $5, $6, $7) l";

const GET_TRANSFER: &str = "-- get_transfer
SELECT t.id, t.debit_account, t.credit_account, t.amount_kopecks FROM transfers t WHERE t.id = $1";

impl Tx<'_> {
    /// Posts transfers, all or none; one answer a transfer, in no order. Locks their wallets in ascending id.
    ///
    /// # Errors
    /// [`DbError::Refused`] for a wallet that would be overdrawn (`accounts_wallet_not_overdrawn`), a key used for
    /// another transfer (SQLSTATE PK001), an amount that is not positive, a second reversal.
    pub async fn post_transfers(&self, transfers: &[NewTransfer]) -> Result<Vec<Posted>, DbError> {
        if transfers.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = transfers.iter().map(|transfer| transfer.key.as_str()).collect();
        let kinds: Vec<&str> = transfers.iter().map(|transfer| transfer.kind).collect();
        let debits: Vec<AccountId> = transfers.iter().map(|transfer| transfer.debit).collect();
        let credits: Vec<AccountId> = transfers.iter().map(|transfer| transfer.credit).collect();
        let amounts: Vec<Kopecks> = transfers.iter().map(|transfer| transfer.amount).collect();
        let reversed: Vec<Option<TransferId>> = transfers.iter().map(|transfer| transfer.reverses).collect();
        let rows = self
            .query(
                POST_TRANSFERS,
                &[
                    (&keys, Type::TEXT_ARRAY),
                    (&kinds, Type::TEXT_ARRAY),
                    (&debits, Type::INT8_ARRAY),
                    (&credits, Type::INT8_ARRAY),
                    (&amounts, Type::INT8_ARRAY),
                    (&reversed, Type::INT8_ARRAY),
                    (/* at */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Posted {
                    key: column(row, "idempotency_key")?,
                    id: column(row, "transfer_id")?,
                    fresh: column(row, "fresh")?,
                })
            })
            .collect()
    }

    /// Reads one transfer.
    ///
    /// # Errors
    /// [`DbError::Unforeseen`] when there is none.
    pub async fn get_transfer(&self, id: TransferId) -> Result<Transfer, DbError> {
        let row = self
            .query_opt(GET_TRANSFER, &[(&id, Type::INT8)])
            .await?
            .ok_or_else(|| DbError::unforeseen("get_transfer", format!("there is no transfer {id}")))?;
        Ok(Transfer {
            id: column(&row, "id")?,
            debit: column(&row, "debit_account")?,
            credit: column(&row, "credit_account")?,
            amount: column(&row, "amount_kopecks")?,
        })
    }
}
