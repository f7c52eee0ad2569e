//! What a test puts into its database before it acts: tariffs, customers, subscriptions in any state, one by one or
//! many at once; and the calls that a bot makes.
//!
//! A builder that fails fails the test, so its answers are plain values. A [`Bot`]'s calls may be refused, so they answer
//! results.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use perennial_core::ids::{CredentialId, SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use perennial_core::time::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A row of the price list.
#[derive(Debug, Clone, Copy)]
pub struct Tariff {
    /// Its code.
    pub code: &'static str,
    /// The inbounds it opens.
    pub access_group: &'static str,
    /// `month` or `day`.
    pub unit: &'static str,
    /// Units in a period.
    pub count: i32,
    /// Of one period.
    pub price: Kopecks,
    /// Whether it is sold.
    pub active: bool,
}

impl Tariff {
    /// A tariff of calendar months.
    #[must_use]
    pub const fn months(code: &'static str, count: i32, price: i64) -> Self {
        Self { code, access_group: "basic", unit: "month", count, price: Kopecks(price), active: true }
    }

    /// A tariff of days.
    #[must_use]
    pub const fn days(code: &'static str, count: i32, price: i64) -> Self {
        Self { code, access_group: "basic", unit: "day", count, price: Kopecks(price), active: true }
    }

    /// Writes it, or replaces the one of the same code.
    pub async fn put(&self, client: &Client) {
        let sql = "INSERT INTO tariffs (code, access_group, period_unit, period_count, price_kopecks, active) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (code) DO UPDATE SET access_group = $2, \
                   period_unit = $3, period_count = $4, price_kopecks = $5, active = $6";
        let parameters: [Parameter<'_>; 6] = [
            (&self.code, Type::TEXT),
            (&self.access_group, Type::TEXT),
            (&self.unit, Type::TEXT),
            (&self.count, Type::INT4),
            (&self.price, Type::INT8),
            (&self.active, Type::BOOL),
        ];
        execute(client, sql, &parameters).await;
    }
}

/// A customer with a wallet.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// Who.
    pub telegram_id: TelegramId,
    /// Has the VIP price.
    pub vip: bool,
    /// Percent off, without end.
    pub discount: Option<i32>,
    /// Since when messages cannot be delivered.
    pub unreachable_since: Option<Timestamp>,
    /// What the wallet holds: topped up with, when there is no such user yet.
    pub balance: Kopecks,
}

impl User {
    /// A reachable customer who pays the list price out of this balance.
    #[must_use]
    pub const fn new(telegram_id: i64, balance: i64) -> Self {
        Self {
            telegram_id: TelegramId(telegram_id),
            vip: false,
            discount: None,
            unreachable_since: None,
            balance: Kopecks(balance),
        }
    }

    /// Writes the user and fills the wallet by a top-up.
    pub async fn put(&self, client: &Client) {
        let sql = "INSERT INTO users (telegram_id, vip, telegram_unreachable_since) VALUES ($1, $2, $3)";
        let parameters: [Parameter<'_>; 3] =
            [(&self.telegram_id, Type::INT8), (&self.vip, Type::BOOL), (&self.unreachable_since, Type::TIMESTAMPTZ)];
        execute(client, sql, &parameters).await;
        if let Some(percent) = self.discount {
            set_discount(client, self.telegram_id, percent, None).await;
        }
        if self.balance > Kopecks::ZERO {
            let key = format!("start:{}", self.telegram_id);
            let topped_up = Bot(client).top_up(self.telegram_id, self.balance, &key).await;
            topped_up.unwrap_or_else(|error| fail("top up", &error));
        }
    }
}

/// Gives a user a personal discount, or replaces it.
pub async fn set_discount(client: &Client, user: TelegramId, percent: i32, ends_at: Option<Timestamp>) {
    let sql = "INSERT INTO discounts (telegram_id, percent, ends_at) VALUES ($1, $2, $3) \
               ON CONFLICT (telegram_id) DO UPDATE SET percent = $2, ends_at = $3";
    let parameters: [Parameter<'_>; 3] = [(&user, Type::INT8), (&percent, Type::INT4), (&ends_at, Type::TIMESTAMPTZ)];
    execute(client, sql, &parameters).await;
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The right, on an open credential: the user's, or a new one.
    Active,
    /// Ended, on a credential that is closed and not proven gone.
    Expiring,
    /// Proven gone.
    Expired,
}

/// A subscription, written directly: in states that no function of a bot makes.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// Whose.
    pub telegram_id: TelegramId,
    /// `trial`, `payment` or `grant`.
    pub source: &'static str,
    /// Code of the tariff, which need not exist.
    pub tariff: &'static str,
    /// Group of its credential.
    pub access_group: &'static str,
    /// Where it stands.
    pub status: Status,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Charged instead of the list price.
    pub agreed_price: Option<Kopecks>,
    /// Day that months return to; none: of the start.
    pub anchor_day: Option<i32>,
    /// Whether the customer agreed to be charged.
    pub auto_renew: bool,
}

impl Subscription {
    /// An active paid one that renews, began 30 days before its end and counts months from the day of its end.
    #[must_use]
    pub fn paid(telegram_id: i64, tariff: &'static str, expires_at: Timestamp) -> Self {
        Self {
            telegram_id: TelegramId(telegram_id),
            source: "payment",
            tariff,
            access_group: "basic",
            status: Status::Active,
            starts_at: expires_at - Duration::from_secs(30 * 86_400),
            expires_at,
            agreed_price: None,
            anchor_day: Some(i32::from(expires_at.day())),
            auto_renew: true,
        }
    }

    /// Writes it and answers its id.
    pub async fn put(&self, client: &Client) -> SubscriptionId {
        let credential = match self.status {
            Status::Active => Some(self.open_credential(client).await),
            Status::Expiring => Some(self.closed_credential(client).await),
            Status::Expired => None,
        };
        let status = match self.status {
            Status::Active => "active",
            Status::Expiring => "expiring",
            Status::Expired => "expired",
        };
        let sql = "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, status, starts_at, \
                   expires_at, agreed_price_kopecks, anchor_day, auto_renew) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";
        let parameters: [Parameter<'_>; 10] = [
            (&self.telegram_id, Type::INT8),
            (&self.source, Type::TEXT),
            (&self.tariff, Type::TEXT),
            (&credential, Type::INT8),
            (&status, Type::TEXT),
            (&self.starts_at, Type::TIMESTAMPTZ),
            (&self.expires_at, Type::TIMESTAMPTZ),
            (&self.agreed_price, Type::INT8),
            (&self.anchor_day, Type::INT4),
            (&self.auto_renew, Type::BOOL),
        ];
        one(client, sql, &parameters).await.get(0)
    }

    async fn open_credential(&self, client: &Client) -> CredentialId {
        let sql = "INSERT INTO credentials (telegram_id, access_group) VALUES ($1, $2) \
                   ON CONFLICT (telegram_id, access_group) WHERE closed_at IS NULL \
                   DO UPDATE SET access_group = excluded.access_group RETURNING id";
        one(client, sql, &[(&self.telegram_id, Type::INT8), (&self.access_group, Type::TEXT)]).await.get(0)
    }

    async fn closed_credential(&self, client: &Client) -> CredentialId {
        let sql = "INSERT INTO credentials (telegram_id, access_group, closed_at) VALUES ($1, $2, $3) RETURNING id";
        let parameters: [Parameter<'_>; 3] =
            [(&self.telegram_id, Type::INT8), (&self.access_group, Type::TEXT), (&self.expires_at, Type::TIMESTAMPTZ)];
        one(client, sql, &parameters).await.get(0)
    }
}

/// Many customers with an active paid subscription each, written in a few statements. Ids of users go up from `first`;
/// so do the ends, evenly from `first_end` over `spread`.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Id of the first user.
    pub first: i64,
    /// How many.
    pub size: i64,
    /// Code of the tariff of all of them.
    pub tariff: &'static str,
    /// The first end.
    pub first_end: Timestamp,
    /// From the first end to the last.
    pub spread: Duration,
    /// What each wallet holds.
    pub balance: Kopecks,
}

impl Crowd {
    /// Writes them.
    pub async fn put(&self, client: &Client) {
        let last = self.first + self.size - 1;
        let range: [Parameter<'_>; 2] = [(&self.first, Type::INT8), (&last, Type::INT8)];
        execute(client, "INSERT INTO users (telegram_id) SELECT generate_series($1, $2)", &range).await;
        execute(client, "INSERT INTO credentials (telegram_id) SELECT generate_series($1, $2)", &range).await;
        let step = i64::try_from(self.spread.as_micros()).unwrap_or(i64::MAX) / self.size.max(1);
        let sql = "INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, starts_at, expires_at, auto_renew) \
                   SELECT c.telegram_id, 'payment', $3, c.id, e.at - interval '30 days', e.at, true FROM credentials c, \
                   LATERAL (SELECT $4::timestamptz + (c.telegram_id - $1) * $5 * interval '1 microsecond' AS at) e \
                   WHERE c.telegram_id BETWEEN $1 AND $2 ORDER BY c.telegram_id";
        let parameters: [Parameter<'_>; 5] = [
            (&self.first, Type::INT8),
            (&last, Type::INT8),
            (&self.tariff, Type::TEXT),
            (&self.first_end, Type::TIMESTAMPTZ),
            (&step, Type::INT8),
        ];
        execute(client, sql, &parameters).await;
        if self.balance > Kopecks::ZERO {
            let sql = "SELECT count(*) FROM accounts a, LATERAL ledger_post(ARRAY['start:' || a.telegram_id], \
                       ARRAY['top_up'], ARRAY[2::bigint], ARRAY[a.id], ARRAY[$3], ARRAY[NULL::bigint], $4) l \
                       WHERE a.telegram_id BETWEEN $1 AND $2";
            let parameters: [Parameter<'_>; 4] = [
                (&self.first, Type::INT8),
                (&last, Type::INT8),
                (&self.balance, Type::INT8),
                (&self.first_end, Type::TIMESTAMPTZ),
            ];
            one(client, sql, &parameters).await;
        }
    }
}

/// Stops the clock that the functions of a bot decide by, and sets it: for simulations, together with a
/// [`TestClock`](crate::TestClock) for the passes.
pub async fn set_bot_clock(client: &Client, at: Timestamp) {
    if one(client, "SELECT to_regclass('bot_clock') IS NULL", &[]).await.get(0) {
        let sql = "CREATE TABLE bot_clock (at timestamptz NOT NULL);
                   INSERT INTO bot_clock VALUES ('epoch');
                   CREATE OR REPLACE FUNCTION perennial_now() RETURNS timestamptz LANGUAGE sql VOLATILE
                   AS $$ SELECT at FROM bot_clock $$";
        client.batch_execute(sql).await.unwrap_or_else(|error| fail("make the bot's clock", &error));
    }
    execute(client, "UPDATE bot_clock SET at = $1", &[(&at, Type::TIMESTAMPTZ)]).await;
}

/// What a bot calls.
#[derive(Debug, Clone, Copy)]
pub struct Bot<'a>(pub &'a Client);

impl Bot<'_> {
    /// Puts money from outside into a wallet; answers its balance.
    ///
    /// # Errors
    /// The database's refusal.
    pub async fn top_up(&self, user: TelegramId, amount: Kopecks, key: &str) -> Result<Kopecks, tokio_postgres::Error> {
        let sql = "SELECT perennial_top_up($1, $2, $3)";
        let row =
            self.0.query_typed_one(sql, &[(&user, Type::INT8), (&amount, Type::INT8), (&key, Type::TEXT)]).await?;
        row.try_get(0)
    }

    /// Charges the wallet for a period and starts or extends the user's paid subscription; answers it and its end.
    ///
    /// # Errors
    /// The database's refusal.
    pub async fn buy(
        &self,
        user: TelegramId,
        tariff: &str,
        auto_renew: bool,
        key: &str,
    ) -> Result<(SubscriptionId, Timestamp), tokio_postgres::Error> {
        let sql = "SELECT subscription_id, expires_at FROM perennial_buy($1, $2, $3, $4)";
        let parameters: [Parameter<'_>; 4] =
            [(&user, Type::INT8), (&tariff, Type::TEXT), (&auto_renew, Type::BOOL), (&key, Type::TEXT)];
        let row = self.0.query_typed_one(sql, &parameters).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Ends a subscription now; answers its end.
    ///
    /// # Errors
    /// The database's refusal.
    pub async fn cancel(&self, id: SubscriptionId, key: &str) -> Result<Timestamp, tokio_postgres::Error> {
        let sql = "SELECT perennial_cancel($1, $2)";
        self.0.query_typed_one(sql, &[(&id, Type::INT8), (&key, Type::TEXT)]).await?.try_get(0)
    }

    /// Switches automatic renewal.
    ///
    /// # Errors
    /// The database's refusal.
    pub async fn set_auto_renew(&self, id: SubscriptionId, on: bool) -> Result<(), tokio_postgres::Error> {
        let sql = "SELECT perennial_set_auto_renew($1, $2)";
        self.0.query_typed_one(sql, &[(&id, Type::INT8), (&on, Type::BOOL)]).await?;
        Ok(())
    }

    /// Takes a payment back; answers the subscription's end.
    ///
    /// # Errors
    /// The database's refusal.
    pub async fn refund(&self, payment: i64, key: &str) -> Result<Timestamp, tokio_postgres::Error> {
        let sql = "SELECT expires_at FROM perennial_refund($1, 'asked for', $2)";
        self.0.query_typed_one(sql, &[(&payment, Type::INT8), (&key, Type::TEXT)]).await?.try_get(0)
    }
}

async fn execute(client: &Client, sql: &str, parameters: &[Parameter<'_>]) {
    let written = client.execute_typed(sql, parameters).await;
    written.unwrap_or_else(|error| fail(sql, &error));
}

async fn one(client: &Client, sql: &str, parameters: &[Parameter<'_>]) -> Row {
    let row = client.query_typed_one(sql, parameters).await;
    row.unwrap_or_else(|error| fail(sql, &error))
}

fn fail(what: impl Display, error: &tokio_postgres::Error) -> ! {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    panic!("{what}: {error}: {cause}")
}
