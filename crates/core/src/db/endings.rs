//! Statements of the one operation that ends subscriptions (step 1 of docs/access-protocol.md); see [`crate::ending`].

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::tx::column;
use super::{DbError, Left, Tx};
use crate::ids::{CredentialId, SubscriptionId, TelegramId};
use crate::page::{Listed, Page};
use crate::time::Timestamp;

/// A listed row and its key: oldest end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndKey {
    /// The end as listed.
    pub(crate) expires_at: Timestamp,
    /// The row.
    pub(crate) id: SubscriptionId,
}

impl Listed for EndKey {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

/// A row past its end, locked together with its credential.
#[derive(Debug, Clone)]
pub(crate) struct DueToEnd {
    /// The row.
    pub(crate) id: SubscriptionId,
    /// Its user.
    pub(crate) telegram_id: TelegramId,
    /// `trial`, `payment` or `grant`.
    pub(crate) source: String,
    /// Code of its tariff.
    pub(crate) tariff: String,
    /// When it ended by the calendar.
    pub(crate) expires_at: Timestamp,
    /// Its credential, locked `FOR UPDATE`.
    pub(crate) credential: CredentialId,
    /// `renew` will charge it: it renews itself, is not parked, and the wallet covers the price.
    pub(crate) renewable: bool,
    /// The user has a live paid subscription besides.
    pub(crate) paid: bool,
}

/// A row to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The row.
    pub(crate) id: SubscriptionId,
    /// The end it was decided by.
    pub(crate) expires_at: Timestamp,
    /// Another active row goes on using the credential: nothing has to be removed anywhere.
    pub(crate) credential_in_use: bool,
}

const LIST_END_DUE: &str = "-- list_end_due
SELECT s.expires_at, s.id
FROM subscriptions s
WHERE s.status = 'active'
    AND (s.expires_at, s.id) > ($1, $2)
    AND s.expires_at <= $3
    AND s.source = ANY ($4)
ORDER BY s.expires_at, s.id
LIMIT $5";

// In the order of an index: a walk through the table would first pass the ended rows of all the years.
const COUNT_ACTIVE: &str = "-- count_active
SELECT count(*) AS rows
FROM (SELECT FROM subscriptions s WHERE s.status = 'active' ORDER BY s.expires_at DESC, s.id DESC LIMIT $1) a";

const CLAIM_END_DUE: &str = "-- claim_end_due
SELECT s.id, s.telegram_id, s.source, s.tariff, s.expires_at, s.credential_id,
    s.auto_renew AND s.source = 'payment' AND p.subscription IS NULL AND coalesce(t.active, false)
        AND w.balance_kopecks >= price_kopecks(t.price_kopecks, s.agreed_price_kopecks, u.vip, d.percent) AS renewable,
    EXISTS (
        SELECT FROM subscriptions o
        WHERE o.telegram_id = s.telegram_id AND o.source = 'payment' AND o.status = 'active' AND o.id <> s.id
            AND o.expires_at > $3
    ) AS paid
FROM unnest($1, $2) AS l (expires_at, id)
JOIN subscriptions s ON s.id = l.id AND s.expires_at = l.expires_at
JOIN credentials c ON c.id = s.credential_id
JOIN users u ON u.telegram_id = s.telegram_id
JOIN accounts w ON w.telegram_id = s.telegram_id AND w.kind = 'wallet'
LEFT JOIN tariffs t ON t.code = s.tariff
LEFT JOIN discounts d ON d.telegram_id = s.telegram_id AND (d.ends_at IS NULL OR d.ends_at > $3)
LEFT JOIN parked p ON p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
WHERE s.status = 'active' AND s.expires_at <= $3
FOR NO KEY UPDATE OF s SKIP LOCKED
FOR UPDATE OF c SKIP LOCKED";

const STILL_DUE_TO_END: &str = "-- still_due_to_end
SELECT count(*) AS rows
FROM unnest($1, $2) AS l (expires_at, id)
JOIN subscriptions s ON s.id = l.id AND s.expires_at = l.expires_at
WHERE s.status = 'active'";

const CREDENTIALS_IN_USE: &str = "-- credentials_in_use
SELECT DISTINCT s.credential_id
FROM subscriptions s
WHERE s.credential_id = ANY ($1) AND s.status = 'active' AND s.id <> ALL ($2)";

const WRITE_ENDINGS: &str = "-- write_endings
UPDATE subscriptions s
SET status = CASE WHEN e.in_use THEN 'expired' ELSE 'expiring' END,
    credential_id = CASE WHEN e.in_use THEN NULL ELSE s.credential_id END,
    ended_at = $1,
    expired_at = CASE WHEN e.in_use THEN $1 END
FROM unnest($2, $3, $4) AS e (id, expires_at, in_use)
WHERE s.id = e.id AND s.status = 'active' AND s.expires_at = e.expires_at";

const CLOSE_CREDENTIALS: &str = "-- close_credentials
UPDATE credentials c SET closed_at = $1 WHERE c.id = ANY ($2) AND c.closed_at IS NULL";

impl Tx<'_> {
    /// Lists active rows of these sources that are past their end, oldest end first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn list_end_due(&self, page: &Page<EndKey>, sources: &[&str]) -> Result<Vec<EndKey>, DbError> {
        let rows = page.limit();
        let listed = self
            .query(
                LIST_END_DUE,
                &[
                    (&page.after.expires_at, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&sources, Type::TEXT_ARRAY),
                    (&rows, Type::INT8),
                ],
            )
            .await?;
        listed.iter().map(|row| Ok(EndKey { expires_at: column(row, "expires_at")?, id: column(row, "id")? })).collect()
    }

    /// How many active rows of these sources are past their end, `at_most` so many, and the earliest end among them.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn count_end_due(&self, sources: &[&str], at_most: i64) -> Result<Left, DbError> {
        self.count_listed(
            LIST_END_DUE,
            &[
                (/* all of them */ &Timestamp::UNIX_EPOCH, Type::TIMESTAMPTZ),
                (&SubscriptionId(0), Type::INT8),
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&sources, Type::TEXT_ARRAY),
                (&at_most, Type::INT8),
            ],
        )
        .await
    }

    /// How many rows are active, `at_most` so many: counting stops there.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn count_active(&self, at_most: i64) -> Result<i64, DbError> {
        let row = self.query_opt(COUNT_ACTIVE, &[(&at_most, Type::INT8)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }

    /// Claims listed rows that are still past their end: locks each (`FOR NO KEY UPDATE`) with its credential (`FOR
    /// UPDATE`), skipping what others hold. A credential that is not got leaves its row unclaimed.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn claim_end_due(&self, listed: &[EndKey]) -> Result<Vec<DueToEnd>, DbError> {
        let (ends, ids) = columns(listed);
        let rows = self
            .query(
                CLAIM_END_DUE,
                &[
                    (&ends, Type::TIMESTAMPTZ_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
        rows.iter().map(due_to_end).collect()
    }

    /// How many listed rows are as they were listed: nobody has ended them, and nothing has moved their ends.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn still_due_to_end(&self, listed: &[EndKey]) -> Result<i64, DbError> {
        let (ends, ids) = columns(listed);
        let row =
            self.query_opt(STILL_DUE_TO_END, &[(&ends, Type::TIMESTAMPTZ_ARRAY), (&ids, Type::INT8_ARRAY)]).await?;
        row.map_or(Ok(0), |row| column(&row, "rows"))
    }

    /// Which of these claimed credentials other active rows use, apart from the `ending` ones. A statement of its own:
    /// its snapshot is younger than the locks, so no row attached before them is missed (docs/access-protocol.md).
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn credentials_in_use(
        &self,
        credentials: &[CredentialId],
        ending: &[SubscriptionId],
    ) -> Result<Vec<CredentialId>, DbError> {
        let rows =
            self.query(CREDENTIALS_IN_USE, &[(&credentials, Type::INT8_ARRAY), (&ending, Type::INT8_ARRAY)]).await?;
        rows.iter().map(|row| column(row, "credential_id")).collect()
    }

    /// Ends claimed rows. Answers how many.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn write_endings(&self, endings: &[Ending]) -> Result<u64, DbError> {
        if endings.is_empty() {
            return Ok(0);
        }
        let ids: Vec<SubscriptionId> = endings.iter().map(|row| row.id).collect();
        let ends: Vec<Timestamp> = endings.iter().map(|row| row.expires_at).collect();
        let in_use: Vec<bool> = endings.iter().map(|row| row.credential_in_use).collect();
        self.execute(
            WRITE_ENDINGS,
            &[
                (/* now */ &self.now(), Type::TIMESTAMPTZ),
                (&ids, Type::INT8_ARRAY),
                (&ends, Type::TIMESTAMPTZ_ARRAY),
                (&in_use, Type::BOOL_ARRAY),
            ],
        )
        .await
    }

    /// Closes locked credentials that no active row uses. Answers how many were open.
    ///
    /// # Errors
    /// The database's; at COMMIT `credentials_close_unused` if an active row uses one after all.
    pub(crate) async fn close_credentials(&self, credentials: &[CredentialId]) -> Result<u64, DbError> {
        if credentials.is_empty() {
            return Ok(0);
        }
        self.execute(CLOSE_CREDENTIALS, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&credentials, Type::INT8_ARRAY)])
            .await
    }
}

fn columns(listed: &[EndKey]) -> (Vec<Timestamp>, Vec<SubscriptionId>) {
    listed.iter().map(|key| (key.expires_at, key.id)).unzip()
}

fn due_to_end(row: &Row) -> Result<DueToEnd, DbError> {
    Ok(DueToEnd {
        id: column(row, "id")?,
        telegram_id: column(row, "telegram_id")?,
        source: column(row, "source")?,
        tariff: column(row, "tariff")?,
        expires_at: column(row, "expires_at")?,
        credential: column(row, "credential_id")?,
        renewable: column(row, "renewable")?,
        paid: column(row, "paid")?,
    })
}
