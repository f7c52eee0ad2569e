//! All that happened to one user, for `perennial explain`.

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::parking::{ParkedEntry, parked_entry};
use super::terms::Discount;
use crate::db::tx::Parameter;
use crate::db::{DbError, Tx};
use crate::ids::{AccountId, CredentialId, RunId, SubscriptionId, TelegramId, TransferId, VpnUuid};
use crate::money::Kopecks;
use crate::time::Timestamp;

mod read;
mod statements;

/// A user, his wallet and his terms as they are now.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Who.
    pub telegram_id: TelegramId,
    /// IETF tag.
    pub language: Option<String>,
    /// IANA name.
    pub time_zone: Option<String>,
    /// Has the VIP price.
    pub vip: bool,
    /// Messages cannot be delivered since then.
    pub unreachable_since: Option<Timestamp>,
    /// When he was first seen.
    pub created_at: Timestamp,
    /// The personal discount on record, over or not.
    pub discount: Option<Discount>,
    /// The wallet.
    pub wallet: AccountId,
    /// What it holds.
    pub balance: Kopecks,
}

/// A subscription as it is now, with what it would cost now.
#[derive(Debug, Clone)]
pub struct HistoricSubscription {
    /// The row.
    pub id: SubscriptionId,
    /// `trial`, `payment`, `grant`.
    pub source: String,
    /// Code of its tariff.
    pub tariff: String,
    /// Whether that is sold; none: there is no such tariff.
    pub tariff_active: Option<bool>,
    /// `active`, `expiring`, `expired`.
    pub status: String,
    /// Its credential; none when expired.
    pub credential: Option<CredentialId>,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Price agreed for it.
    pub agreed_price: Option<Kopecks>,
    /// What the next period costs; none without a tariff.
    pub price: Option<Kopecks>,
    /// Whether the customer agreed to be charged.
    pub auto_renew: bool,
    /// The last automatic renewal.
    pub last_auto_renewal_at: Option<Timestamp>,
    /// When a pass ended it.
    pub ended_at: Option<Timestamp>,
    /// When its removal was proven.
    pub expired_at: Option<Timestamp>,
}

/// A credential of the user.
#[derive(Debug, Clone)]
pub struct HistoricCredential {
    /// The row.
    pub id: CredentialId,
    /// Group of inbounds.
    pub access_group: String,
    /// The secret.
    pub uuid: VpnUuid,
    /// Its e-mail on the servers.
    pub email: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// When it was proven gone everywhere.
    pub retired_at: Option<Timestamp>,
}

/// Proof that a credential is gone from a server.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The credential.
    pub credential: CredentialId,
    /// The server.
    pub node: String,
    /// When.
    pub proven_at: Timestamp,
}

/// A movement on the user's wallet.
#[derive(Debug, Clone)]
pub struct HistoricTransfer {
    /// The row.
    pub id: TransferId,
    /// Its idempotency key.
    pub key: String,
    /// `top_up`, `charge`, `adjustment`, `reversal`.
    pub kind: String,
    /// Into the wallet; out of it when negative.
    pub moved: Kopecks,
    /// What the wallet held after it.
    pub balance: Kopecks,
    /// The transfer it takes back.
    pub reverses: Option<TransferId>,
    /// When.
    pub created_at: Timestamp,
}

/// A paid period.
#[derive(Debug, Clone)]
pub struct HistoricPayment {
    /// The row.
    pub id: i64,
    /// For which subscription.
    pub subscription_id: SubscriptionId,
    /// Under which tariff.
    pub tariff: String,
    /// From when.
    pub period_start: Timestamp,
    /// Until when.
    pub period_end: Timestamp,
    /// For how much.
    pub amount: Kopecks,
    /// The charge.
    pub transfer_id: Option<TransferId>,
    /// When it was paid.
    pub created_at: Timestamp,
    /// When it was taken back.
    pub voided_at: Option<Timestamp>,
}

/// A row of the audit log.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// The row.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// In which run.
    pub run_id: Option<RunId>,
    /// What.
    pub action: String,
    /// To which subscription.
    pub subscription_id: Option<SubscriptionId>,
    /// State before.
    pub before: Option<Value>,
    /// State after.
    pub after: Option<Value>,
    /// Why.
    pub reason: Option<String>,
}

/// A message to the user.
#[derive(Debug, Clone)]
pub struct HistoricNotice {
    /// The row.
    pub id: i64,
    /// Which text.
    pub kind: String,
    /// About which subscription.
    pub subscription_id: Option<SubscriptionId>,
    /// `pending`, `sending`, `sent`, `dropped`, `dead`.
    pub status: String,
    /// Tries to send it.
    pub attempts: i32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// Not sent before.
    pub not_before: Timestamp,
    /// Not sent from then on.
    pub useless_after: Option<Timestamp>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

/// All that is on record about one user; each list in the order of its ids.
#[derive(Debug, Clone)]
pub struct History {
    /// When it was read.
    pub read_at: Timestamp,
    /// The user.
    pub customer: Customer,
    /// His subscriptions.
    pub subscriptions: Vec<HistoricSubscription>,
    /// His credentials.
    pub credentials: Vec<HistoricCredential>,
    /// Their removals from servers.
    pub removals: Vec<Removal>,
    /// Movements on his wallet.
    pub transfers: Vec<HistoricTransfer>,
    /// His payments.
    pub payments: Vec<HistoricPayment>,
    /// What was written down about him.
    pub audit: Vec<AuditEntry>,
    /// Messages to him.
    pub notices: Vec<HistoricNotice>,
    /// Passes that leave a row of his alone, or have failed on it.
    pub parked: Vec<ParkedEntry>,
    /// A list was longer than asked for: its oldest rows are left out.
    pub cut: bool,
}

impl Tx<'_> {
    /// Reads all about one user, at most the `limit` newest rows of each kind; none: no such user.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_history(&self, user: TelegramId, limit: i64) -> Result<Option<History>, DbError> {
        let row = self.query_opt(statements::CUSTOMER, &[(&user, Type::INT8)]).await?;
        let Some(customer) = row.as_ref().map(read::customer).transpose()? else { return Ok(None) };
        let mut cut = false;
        let now = self.now();
        let of_user: [Parameter<'_>; 1] = [(&user, Type::INT8)];
        let of_wallet: [Parameter<'_>; 1] = [(&customer.wallet, Type::INT8)];
        let of_user_at: [Parameter<'_>; 2] = [(&user, Type::INT8), (&now, Type::TIMESTAMPTZ)];
        let mut newest = Newest { tx: self, limit, cut: &mut cut };
        let subscriptions = newest.rows(statements::SUBSCRIPTIONS, &of_user_at, read::subscription).await?;
        let credentials = newest.rows(statements::CREDENTIALS, &of_user, read::credential).await?;
        let transfers = newest.rows(statements::TRANSFERS, &of_wallet, read::transfer).await?;
        let payments = newest.rows(statements::PAYMENTS, &of_user, read::payment).await?;
        let audit = newest.rows(statements::AUDIT, &of_user, read::audit).await?;
        let notices = newest.rows(statements::NOTICES, &of_user, read::notice).await?;
        let ids: Vec<CredentialId> = credentials.iter().map(|row| row.id).collect();
        let removals = self.query(statements::REMOVALS, &[(&ids, Type::INT8_ARRAY)]).await?;
        let parked = self.query(statements::PARKED, &of_user).await?;
        Ok(Some(History {
            read_at: now,
            customer,
            subscriptions,
            credentials,
            removals: removals.iter().map(read::removal).collect::<Result<_, _>>()?,
            transfers,
            payments,
            audit,
            notices,
            parked: parked.iter().map(parked_entry).collect::<Result<_, _>>()?,
            cut,
        }))
    }
}

/// Reads the newest rows of each kind.
struct Newest<'t, 'c> {
    tx: &'t Tx<'c>,
    limit: i64,
    cut: &'t mut bool,
}

impl Newest<'_, '_> {
    /// Rows of one kind, oldest first. The statement lists newest first; its last parameter is how many.
    async fn rows<T>(
        &mut self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: fn(&Row) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        // One more than wanted tells whether there are more.
        let more = self.limit.saturating_add(1);
        let mut all = parameters.to_vec();
        all.push((&more, Type::INT8));
        let mut rows = self.tx.query(sql, &all).await?;
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        *self.cut |= rows.len() > wanted;
        rows.truncate(wanted);
        rows.iter().rev().map(read).collect()
    }
}
