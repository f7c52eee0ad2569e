//! The functions that bots call, called by an operator. Each is signed with the actor's name, so the audit log tells
//! the two apart. Refusals: [`DbError::Refused`] with SQLSTATE `PK001` (key used with other inputs), `PK002` (not
//! enough money), `PK003` (unknown user, tariff, subscription, payment), `PK004` (trial used), `PK005` (not possible in
//! this state), and the server's own for values that cannot be.

use postgres_types::{FromSql, ToSql};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::db::tx::{Parameter, column};
use crate::db::{DbError, Tx};
use crate::ids::{SubscriptionId, TelegramId, VpnUuid};
use crate::money::Kopecks;
use crate::time::Timestamp;

/// A row of `payments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSql, FromSql)]
#[postgres(transparent)]
pub struct PaymentId(pub i64);

/// A right that a call gave or extended.
#[derive(Debug, Clone)]
pub struct GivenRight {
    /// The row.
    pub subscription_id: SubscriptionId,
    /// Its end.
    pub expires_at: Timestamp,
    /// The secret its user connects with.
    pub uuid: VpnUuid,
    /// E-mail of the credential.
    pub email: String,
}

/// A credential that took another's place.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The new secret.
    pub uuid: VpnUuid,
    /// The new e-mail.
    pub email: String,
}

/// A payment taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refunded {
    /// What went back into the wallet.
    pub refunded: Kopecks,
    /// What the wallet holds now.
    pub balance: Kopecks,
    /// End of the subscription now.
    pub expires_at: Timestamp,
}

const SIGN: &str = "-- sign
SELECT set_config('perennial.actor', $1, true)";

const ENSURE_USER: &str = "-- ensure_user
SELECT perennial_ensure_user($1, $2, $3)";

const TOP_UP: &str = "-- top_up
SELECT perennial_top_up($1, $2, $3) AS balance_kopecks";

const BUY: &str = "-- buy
SELECT g.subscription_id, g.expires_at, g.credential_uuid, g.email FROM perennial_buy($1, $2, $3, $4) g";

const GRANT: &str = "-- grant
SELECT g.subscription_id, g.expires_at, g.credential_uuid, g.email FROM perennial_grant($1, $2, $3, $4) g";

const START_TRIAL: &str = "-- start_trial
SELECT g.subscription_id, g.expires_at, g.credential_uuid, g.email FROM perennial_start_trial($1, $2, $3, $4) g";

const CANCEL: &str = "-- cancel
SELECT perennial_cancel($1, $2) AS expires_at";

const SET_AUTO_RENEW: &str = "-- set_auto_renew
SELECT perennial_set_auto_renew($1, $2) AS auto_renew";

const ROTATE: &str = "-- rotate
SELECT r.credential_uuid, r.email FROM perennial_rotate($1, $2, $3) r";

const REFUND: &str = "-- refund
SELECT r.refunded_kopecks, r.balance_kopecks, r.expires_at FROM perennial_refund($1, $2, $3) r";

impl Tx<'_> {
    /// Writes a user down, or what is new about him: a sign of life. What is not given stays.
    ///
    /// # Errors
    /// The database's, among them its refusal of a language or time zone that is none.
    pub async fn call_ensure_user(
        &self,
        user: TelegramId,
        language: Option<&str>,
        time_zone: Option<&str>,
    ) -> Result<(), DbError> {
        self.call(ENSURE_USER, &[(&user, Type::INT8), (&language, Type::TEXT), (&time_zone, Type::TEXT)]).await?;
        Ok(())
    }

    /// Puts money from outside into a wallet and answers its balance.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_top_up(&self, user: TelegramId, amount: Kopecks, key: &str) -> Result<Kopecks, DbError> {
        let row = self.call(TOP_UP, &[(&user, Type::INT8), (&amount, Type::INT8), (&key, Type::TEXT)]).await?;
        column(&row, "balance_kopecks")
    }

    /// Charges the wallet for one period and starts or extends the paid subscription.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_buy(
        &self,
        user: TelegramId,
        tariff: &str,
        auto_renew: bool,
        key: &str,
    ) -> Result<GivenRight, DbError> {
        let parameters: [Parameter<'_>; 4] =
            [(&user, Type::INT8), (&tariff, Type::TEXT), (&auto_renew, Type::BOOL), (&key, Type::TEXT)];
        given_right(&self.call(BUY, &parameters).await?)
    }

    /// Gives days free of charge.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_grant(
        &self,
        user: TelegramId,
        tariff: &str,
        days: i32,
        key: &str,
    ) -> Result<GivenRight, DbError> {
        let parameters: [Parameter<'_>; 4] =
            [(&user, Type::INT8), (&tariff, Type::TEXT), (&days, Type::INT4), (&key, Type::TEXT)];
        given_right(&self.call(GRANT, &parameters).await?)
    }

    /// Starts the user's only trial.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_start_trial(
        &self,
        user: TelegramId,
        tariff: &str,
        hours: i32,
        key: &str,
    ) -> Result<GivenRight, DbError> {
        let parameters: [Parameter<'_>; 4] =
            [(&user, Type::INT8), (&tariff, Type::TEXT), (&hours, Type::INT4), (&key, Type::TEXT)];
        given_right(&self.call(START_TRIAL, &parameters).await?)
    }

    /// Ends a subscription now and answers its end; one that is over already keeps its own.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_cancel(&self, id: SubscriptionId, key: &str) -> Result<Timestamp, DbError> {
        column(&self.call(CANCEL, &[(&id, Type::INT8), (&key, Type::TEXT)]).await?, "expires_at")
    }

    /// Switches automatic renewal and answers what it is now.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_set_auto_renew(&self, id: SubscriptionId, on: bool) -> Result<bool, DbError> {
        column(&self.call(SET_AUTO_RENEW, &[(&id, Type::INT8), (&on, Type::BOOL)]).await?, "auto_renew")
    }

    /// Gives the user a new credential in place of the open one of a group.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_rotate(&self, user: TelegramId, access_group: &str, key: &str) -> Result<Rotated, DbError> {
        let row = self.call(ROTATE, &[(&user, Type::INT8), (&access_group, Type::TEXT), (&key, Type::TEXT)]).await?;
        Ok(Rotated { uuid: column(&row, "credential_uuid")?, email: column(&row, "email")? })
    }

    /// Takes a payment back: its money returns to the wallet, its days leave the subscription.
    ///
    /// # Errors
    /// Refusals as in the module's head.
    pub async fn call_refund(&self, payment: PaymentId, reason: &str, key: &str) -> Result<Refunded, DbError> {
        let row = self.call(REFUND, &[(&payment, Type::INT8), (&reason, Type::TEXT), (&key, Type::TEXT)]).await?;
        Ok(Refunded {
            refunded: column(&row, "refunded_kopecks")?,
            balance: column(&row, "balance_kopecks")?,
            expires_at: column(&row, "expires_at")?,
        })
    }

    /// Signs for this transaction, then calls.
    async fn call(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, DbError> {
        self.query(SIGN, &[(&self.actor().name, Type::TEXT)]).await?;
        self.query_opt(sql, parameters)
            .await?
            .ok_or_else(|| DbError::unforeseen("call", "a function of the schema answered no row"))
    }
}

fn given_right(row: &Row) -> Result<GivenRight, DbError> {
    Ok(GivenRight {
        subscription_id: column(row, "subscription_id")?,
        expires_at: column(row, "expires_at")?,
        uuid: column(row, "credential_uuid")?,
        email: column(row, "email")?,
    })
}
