//! A service in which each pass has something of everything to do.

use perennial_core::time::Timestamp;
use perennial_testkit::builders::{Status, Subscription, Tariff, User};
use std::time::Duration;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Service, TAG};

const PRICE: i64 = 19_900;
const HOUR: Duration = Duration::from_secs(3_600);
/// In days, so that what is compared does not depend on the month the test runs in.
const TARIFF: Tariff = Tariff::days("basic_30", 30, PRICE);

/// Funded customers whose renewal is due; one of them is refused by a trigger.
pub const DUE: std::ops::RangeInclusive<i64> = 1..=6;
pub const REFUSED: i64 = 4;
/// Due, with too little money.
pub const SHORT: std::ops::RangeInclusive<i64> = 11..=12;
/// In trials, a reminder due.
pub const REMINDED: std::ops::RangeInclusive<i64> = 21..=24;
/// Trials that are over; the last one has paid since.
pub const TRIAL_OVER: std::ops::RangeInclusive<i64> = 31..=33;
/// Paid subscriptions that are over.
pub const OVER: std::ops::RangeInclusive<i64> = 41..=43;
/// Entitled and on no server; on the servers with another UUID.
pub const MISSING: std::ops::RangeInclusive<i64> = 51..=52;
pub const WRONG_UUID: i64 = 53;
/// On the servers with a credential that is retired, or that no row uses.
pub const RETIRED: i64 = 61;
pub const UNUSED: i64 = 62;
/// An e-mail with our prefix that the database does not know.
pub const STRANGER: &str = "p.999999";

impl Service {
    /// Fills database and servers. Ids of users are those above, whatever else is counted.
    pub async fn populate(&self) {
        let client = &self.client;
        let now: Timestamp = client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
        self.execute("CREATE TABLE base AS SELECT clock_timestamp() AS at").await;
        client.execute_typed("UPDATE base SET at = $1", &[(&now, Type::TIMESTAMPTZ)]).await.unwrap();
        TARIFF.put(client).await;
        let paid = |user, end| Subscription::paid(user, TARIFF.code, end);
        let trial = |user, began: Timestamp| Subscription {
            source: "trial",
            starts_at: began,
            auto_renew: false,
            ..paid(user, began + HOUR * 72)
        };
        for user in DUE.chain([REFUSED]).take(6) {
            User::new(user, PRICE + user).put(client).await;
            paid(user, now + HOUR).put(client).await;
        }
        for user in SHORT {
            User::new(user, user).put(client).await;
            paid(user, now + HOUR).put(client).await;
        }
        for user in REMINDED {
            User::new(user, 0).put(client).await;
            trial(user, now - HOUR * 7).put(client).await;
        }
        for user in TRIAL_OVER {
            User::new(user, 0).put(client).await;
            trial(user, now - HOUR * 73).put(client).await;
        }
        paid(*TRIAL_OVER.end(), now + HOUR * 500).put(client).await;
        for user in OVER {
            User::new(user, 0).put(client).await;
            paid(user, now - HOUR).put(client).await;
        }
        for user in MISSING.chain([WRONG_UUID]) {
            User::new(user, 0).put(client).await;
            paid(user, now + HOUR * 500).put(client).await;
        }
        for user in [RETIRED, UNUSED] {
            User::new(user, 0).put(client).await;
            self.execute(&format!("INSERT INTO credentials (telegram_id) VALUES ({user})")).await;
        }
        let over = Subscription { status: Status::Expired, ..paid(RETIRED, now - HOUR * 100) };
        over.put(client).await;
        self.execute(&format!(
            "UPDATE credentials SET closed_at = now(), retired_at = now() WHERE telegram_id = {RETIRED}"
        ))
        .await;
        self.execute(&format!(
            "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '23514'; END $$;
             CREATE TRIGGER refuse_one BEFORE INSERT ON payments FOR EACH ROW
                 WHEN (NEW.subscription_id = {REFUSED}) EXECUTE FUNCTION refuse_one();
             INSERT INTO nodes (name, adopted_at, known_inbounds)
                 SELECT n, now() - interval '1 day', ARRAY['{TAG}'] FROM unnest(ARRAY['n1', 'n2']) n;"
        ))
        .await;
        self.fill_nodes().await;
    }

    async fn fill_nodes(&self) {
        let sql = "SELECT email, uuid, telegram_id FROM credentials";
        let unknown = Uuid::from_u128(0x1234_5678_1234_4234_8234_1234_5678_1234);
        for row in self.client.query_typed(sql, &[]).await.unwrap() {
            let (email, uuid, user): (&str, Uuid, i64) = (row.get(0), row.get(1), row.get(2));
            let uuid = if user == WRONG_UUID { Uuid::from_u128(unknown.as_u128() + 1) } else { uuid };
            for node in self.nodes.iter().filter(|_| !MISSING.contains(&user)) {
                node.put_user(TAG, email, uuid, "");
            }
        }
        for node in &self.nodes {
            node.put_user(TAG, STRANGER, unknown, "");
        }
        // Both were seen an hour ago: they may go now.
        self.execute(&format!(
            "INSERT INTO orphans (node, inbound, email, uuid, reason, first_seen_at, last_seen_at, sightings)
             SELECT n, '{TAG}', o.email, o.uuid, o.reason, now() - interval '1 hour', now() - interval '1 hour', 1
             FROM unnest(ARRAY['n1', 'n2']) n,
                 (SELECT email, uuid, 'unused' FROM credentials WHERE telegram_id = {UNUSED}
                  UNION ALL SELECT '{STRANGER}', '{unknown}', 'unknown') o (email, uuid, reason)"
        ))
        .await;
    }
}
