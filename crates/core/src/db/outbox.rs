//! Statements of the delivery: list, claim with a lease; the token bucket. See [`crate::delivery`].

mod recording;

use std::time::Duration;

use serde_json::Value;
use time::Time;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

pub(crate) use recording::{ClosedNotice, Held, Recorded};

use super::tx::column;
use super::{DbError, Tx};
use crate::ids::TelegramId;
use crate::money::Kopecks;
use crate::page::{Listed, Page};
use crate::time::Timestamp;

/// A waiting notice and its key: longest due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NoticeKey {
    /// When it became due.
    pub(crate) not_before: Timestamp,
    /// The row of `notices`.
    pub(crate) id: i64,
    /// Its chat.
    pub(crate) chat: TelegramId,
}

impl Listed for NoticeKey {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

/// When reminders wait, in the receiver's time zone. May span midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    /// From this local time on.
    pub from: Time,
    /// Until this local time.
    pub until: Time,
}

/// What a claim has to know of the settings.
#[derive(Debug, Clone)]
pub struct ClaimSettings {
    /// For users without a time zone, IANA name.
    pub default_time_zone: String,
    /// When reminders wait.
    pub quiet_hours: Option<QuietHours>,
    /// Names of the parameters that are times, whatever the kind.
    pub time_params: Vec<String>,
}

/// A notice held for sending, with what is true of its receiver now.
#[derive(Debug, Clone)]
pub struct ClaimedNotice {
    /// The row.
    pub id: i64,
    /// Its chat.
    pub chat: TelegramId,
    /// Which text.
    pub kind: String,
    /// Values for the text.
    pub params: Value,
    /// The times among them, and `now`, as local wall time of the receiver: `YYYY-MM-DDTHH:MM:SS`.
    pub local_times: Value,
    /// The receiver's language, where known.
    pub language: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// Not put off by quiet hours.
    pub urgent: bool,
    /// Not sent from then on.
    pub useless_after: Option<Timestamp>,
    /// The receiver's quiet hours are on, until then.
    pub quiet_until: Option<Timestamp>,
    /// The receiver blocked the bot, or is gone.
    pub unreachable: bool,
    /// The receiver has a live paid subscription, other than the one this is about.
    pub paid: bool,
    /// The subscription this is about is `active`, and ends then.
    pub active_until: Option<Timestamp>,
    /// The subscription this is about will be charged when its time comes: it agreed to, and is not parked.
    pub renews: bool,
    /// A newer notice of this kind about this subscription was written.
    pub superseded: bool,
    /// What the receiver's wallet holds.
    pub balance: Option<Kopecks>,
}

const CHECK_TIME_ZONE: &str = "-- check_time_zone
SELECT $1::timestamptz AT TIME ZONE $2";

const ADD_BOT: &str = "-- add_bot
INSERT INTO pace (bot, next_free_at) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT pace_pkey DO NOTHING";

const LOCK_PACE: &str = "-- lock_pace
SELECT p.next_free_at FROM pace p WHERE p.bot = $1 FOR UPDATE SKIP LOCKED";

const TAKE_SLOTS: &str = "-- take_slots
UPDATE pace p SET next_free_at = greatest(p.next_free_at, $2) WHERE p.bot = $1";

const LIST_NOTICES_DUE: &str = "-- list_notices_due
SELECT n.not_before, n.id, n.telegram_id
FROM notices n
WHERE n.status = 'pending' AND (n.not_before, n.id) > ($1, $2) AND n.not_before <= $3
ORDER BY n.not_before, n.id
LIMIT $4";

const CLAIM_NOTICES: &str = "-- claim_notices
SELECT n.id, n.telegram_id, n.kind, n.params, n.attempts, n.urgent, n.useless_after, u.language,
    u.telegram_unreachable_since IS NOT NULL AS unreachable,
    CASE WHEN s.status = 'active' THEN s.expires_at END AS active_until,
    coalesce(s.auto_renew, false) AND NOT EXISTS (
        SELECT FROM parked p WHERE p.pass = 'renew' AND p.subscription = s.id AND p.next_try_at IS NULL
    ) AS renews,
    EXISTS (
        SELECT FROM subscriptions o
        WHERE o.telegram_id = n.telegram_id AND o.source = 'payment' AND o.status = 'active' AND o.expires_at > $2
            AND o.id IS DISTINCT FROM n.subscription_id
    ) AS paid,
    EXISTS (
        SELECT FROM notices o
        WHERE o.telegram_id = n.telegram_id AND o.id > n.id AND o.kind = n.kind AND o.status <> 'dead'
            AND o.subscription_id = n.subscription_id
    ) AS superseded,
    (SELECT w.balance_kopecks FROM accounts w WHERE w.telegram_id = n.telegram_id AND w.kind = 'wallet') AS balance,
    CASE
        WHEN $4::time < $5::time AND here.now::time >= $4 AND here.now::time < $5
            OR $4::time > $5::time AND (here.now::time >= $4 OR here.now::time < $5)
        THEN (date_trunc('day', here.now) + $5
            + CASE WHEN here.now::time >= $5 THEN interval '1 day' ELSE interval '0' END) AT TIME ZONE zone.name
    END AS quiet_until,
    jsonb_build_object('now', to_char(here.now, 'YYYY-MM-DD\"T\"HH24:MI:SS')) || coalesce((
        -- What is no time before the year 9999 stays null, and its text says so: it must not break the whole claim.
        SELECT jsonb_object_agg(t.name, CASE WHEN jsonb_typeof(n.params -> t.name) = 'number' THEN
            CASE WHEN (n.params -> t.name)::numeric BETWEEN 0 AND 253402000000000000 THEN to_char(
                (timestamptz 'epoch' + trunc((n.params -> t.name)::numeric)::bigint * interval '1 microsecond')
                    AT TIME ZONE zone.name,
                'YYYY-MM-DD\"T\"HH24:MI:SS') END END)
        FROM unnest($6) AS t (name)
        WHERE n.params ? t.name
    ), '{}') AS local_times
FROM unnest($1) AS l (id)
JOIN notices n ON n.id = l.id
LEFT JOIN users u ON u.telegram_id = n.telegram_id
LEFT JOIN subscriptions s ON s.id = n.subscription_id
CROSS JOIN LATERAL (SELECT coalesce(u.time_zone, $3) AS name) zone
CROSS JOIN LATERAL (SELECT $2 AT TIME ZONE zone.name AS now) here
WHERE n.status = 'pending' AND n.not_before <= $2
    AND NOT EXISTS (
        SELECT FROM notices o
        WHERE o.telegram_id = n.telegram_id AND o.id <> n.id
            AND (o.status = 'sending' OR o.sent_at > $2 - interval '1 second')
    )
FOR NO KEY UPDATE OF n SKIP LOCKED";

const LEASE: &str = "-- lease_notices
UPDATE notices n SET status = 'sending', attempts = n.attempts + 1, lease_until = $1 WHERE n.id = ANY ($2)";

const PUT_OFF: &str = "-- put_off_notices
UPDATE notices n SET not_before = p.until FROM unnest($1, $2) AS p (id, until) WHERE n.id = p.id";

impl Tx<'_> {
    /// Has PostgreSQL try the name of a time zone.
    ///
    /// # Errors
    /// [`DbError::Refused`] when there is no such zone; the database's.
    pub(crate) async fn check_time_zone(&self, name: &str) -> Result<(), DbError> {
        self.execute(CHECK_TIME_ZONE, &[(/* now */ &self.now(), Type::TIMESTAMPTZ), (&name, Type::TEXT)]).await?;
        Ok(())
    }

    /// Makes sure that the bot has a bucket.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn add_bot(&self, bot: &str) -> Result<(), DbError> {
        self.execute(ADD_BOT, &[(&bot, Type::TEXT), (/* now */ &self.now(), Type::TIMESTAMPTZ)]).await?;
        Ok(())
    }

    /// Locks the bot's bucket until the transaction ends, and answers when its next message may leave; none when
    /// another process is at it. Claims of all processes stand in line here.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn lock_pace(&self, bot: &str) -> Result<Option<Timestamp>, DbError> {
        let row = self.query_opt(LOCK_PACE, &[(&bot, Type::TEXT)]).await?;
        row.map(|row| column(&row, "next_free_at")).transpose()
    }

    /// Moves the bucket on: nothing leaves before `next_free_at`. Never moves it back.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn take_slots(&self, bot: &str, next_free_at: Timestamp) -> Result<(), DbError> {
        self.execute(TAKE_SLOTS, &[(&bot, Type::TEXT), (&next_free_at, Type::TIMESTAMPTZ)]).await?;
        Ok(())
    }

    /// Lists waiting notices that are due, longest due first, without locks.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn list_notices_due(&self, page: &Page<NoticeKey>) -> Result<Vec<NoticeKey>, DbError> {
        let limit = page.limit();
        let rows = self
            .query(
                LIST_NOTICES_DUE,
                &[
                    (&page.after.not_before, Type::TIMESTAMPTZ),
                    (&page.after.id, Type::INT8),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(NoticeKey {
                    not_before: column(row, "not_before")?,
                    id: column(row, "id")?,
                    chat: column(row, "telegram_id")?,
                })
            })
            .collect()
    }

    /// Claims listed notices that still wait and whose chat got nothing within the last second, skipping what others
    /// hold. Local times and quiet hours are reckoned by PostgreSQL in the receiver's zone.
    ///
    /// # Errors
    /// The database's; [`DbError::Refused`] when a time zone does not exist (any more).
    pub async fn claim_notices(&self, ids: &[i64], settings: &ClaimSettings) -> Result<Vec<ClaimedNotice>, DbError> {
        let quiet = settings.quiet_hours.unwrap_or(QuietHours { from: Time::MIDNIGHT, until: Time::MIDNIGHT });
        let rows = self
            .query(
                CLAIM_NOTICES,
                &[
                    (&ids, Type::INT8_ARRAY),
                    (/* now */ &self.now(), Type::TIMESTAMPTZ),
                    (&settings.default_time_zone, Type::TEXT),
                    (/* quiet from */ &quiet.from, Type::TIME),
                    (/* quiet until */ &quiet.until, Type::TIME),
                    (&settings.time_params, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        rows.iter().map(claimed_notice).collect()
    }

    /// Marks claimed notices as being sent until the lease ends.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn lease_notices(&self, ids: &[i64], until: Timestamp) -> Result<(), DbError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.execute(LEASE, &[(&until, Type::TIMESTAMPTZ), (&ids, Type::INT8_ARRAY)]).await?;
        Ok(())
    }

    /// Puts claimed notices off.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn put_off_notices(&self, notices: &[(i64, Timestamp)]) -> Result<(), DbError> {
        if notices.is_empty() {
            return Ok(());
        }
        let (ids, until): (Vec<i64>, Vec<Timestamp>) = notices.iter().copied().unzip();
        self.execute(PUT_OFF, &[(&ids, Type::INT8_ARRAY), (&until, Type::TIMESTAMPTZ_ARRAY)]).await?;
        Ok(())
    }
}

/// The bucket's slot of one message.
pub(crate) fn slot(rate_per_second: u32) -> Duration {
    Duration::from_secs(1) / rate_per_second.max(1)
}

fn claimed_notice(row: &Row) -> Result<ClaimedNotice, DbError> {
    Ok(ClaimedNotice {
        id: column(row, "id")?,
        chat: column(row, "telegram_id")?,
        kind: column(row, "kind")?,
        params: column(row, "params")?,
        local_times: column(row, "local_times")?,
        language: column(row, "language")?,
        attempts: column(row, "attempts")?,
        urgent: column(row, "urgent")?,
        useless_after: column(row, "useless_after")?,
        quiet_until: column(row, "quiet_until")?,
        unreachable: column(row, "unreachable")?,
        paid: column(row, "paid")?,
        active_until: column(row, "active_until")?,
        renews: column(row, "renews")?,
        superseded: column(row, "superseded")?,
        balance: column(row, "balance")?,
    })
}
