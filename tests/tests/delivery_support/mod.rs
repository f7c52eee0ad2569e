//! What the tests of delivery share: an outbox with a messenger behind it, both by one clock.
#![allow(dead_code, unreachable_pub)] // a part of every test file, which uses a part of it
#![allow(clippy::unwrap_used)] // what does not work fails the test

pub mod hooked;
pub mod sim_clock;

use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, ClaimSettings, ClaimedNotice, Database, DatabaseOptions, NewNotice, QuietHours};
use perennial_core::delivery::{DeliverySettings, DeliverySummary, Texts, deliver};
use perennial_core::ids::{RunId, SubscriptionId, TelegramId};
use perennial_core::ports::{Button, Messenger};
use perennial_core::time::{Clock, Deadline, Timestamp};
use perennial_testkit::builders::{Tariff, set_bot_clock};
use perennial_testkit::fake_telegram::{FakeMessenger, Limits};
use perennial_testkit::{TestClock, TestDb};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// When the tests begin: noon in UTC.
pub const NOW: Timestamp = datetime!(2026-03-10 12:00 UTC);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const SEND_LIMIT: Duration = Duration::from_secs(8);

/// Writes kind and parameters, as a person would not; the kind `broken` has no text.
pub struct PlainTexts;

impl Texts for PlainTexts {
    fn render(&self, notice: &ClaimedNotice, _now: Timestamp) -> Result<(String, Option<Button>), String> {
        if notice.kind == "broken" {
            return Err("no such text".to_owned());
        }
        Ok((format!("{} {} {}", notice.kind, notice.id, notice.local_times), None))
    }
}

/// An outbox, a messenger and the clock of both.
pub struct Outbox {
    pub db: TestDb,
    pub client: Client,
    pub clock: Arc<TestClock>,
    pub messenger: FakeMessenger,
    pub settings: DeliverySettings,
}

impl Outbox {
    /// An empty one with the documented limits, at [`NOW`].
    pub async fn new(db: TestDb) -> Self {
        let client = db.client().await;
        set_bot_clock(&client, NOW).await;
        Tariff::months("basic_1m", 1, 19_900).put(&client).await;
        let clock = Arc::new(TestClock::at(NOW));
        let messenger = messenger_by(clock.clone());
        Self { db, client, clock, messenger, settings: settings() }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        set_bot_clock(&self.client, self.now()).await;
    }

    pub fn open(&self) -> Database {
        open(&self.db, self.clock.clone())
    }

    /// Users 1 to `last`.
    pub async fn users(&self, last: i64) {
        self.execute(&format!("INSERT INTO users (telegram_id) SELECT generate_series(1, {last})")).await;
    }

    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let sql = format!("SELECT ({sql})::bigint");
        self.client.query_typed_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Writes a notice that is due now, and answers its id.
    pub async fn write(&self, notice: NewNotice) -> i64 {
        let db = self.open();
        let key = notice.dedupe_key.clone();
        let new = db.run_tx("write", async |tx| tx.insert_notices(std::slice::from_ref(&notice)).await).await.unwrap();
        assert_eq!(new, 1, "{key} was written before");
        let sql = "SELECT id FROM notices WHERE dedupe_key = $1";
        self.client.query_typed_one(sql, &[(&key, Type::TEXT)]).await.unwrap().get(0)
    }

    /// A notice that must arrive, as receipts do.
    pub async fn ending(&self, chat: i64) -> i64 {
        self.write(notice(chat, "subscription_over")).await
    }

    /// A reminder that is about nothing that could end.
    pub async fn reminder(&self, chat: i64) -> i64 {
        self.write(notice(chat, "news")).await
    }

    /// Delivers with these settings until nothing is due.
    pub async fn deliver(&self) -> DeliverySummary {
        self.deliver_by(&self.messenger).await
    }

    pub async fn deliver_by<M: Messenger>(&self, messenger: &M) -> DeliverySummary {
        let (db, deadline, mut summary) = (self.open(), budget(), DeliverySummary::default());
        deliver(&db, messenger, &PlainTexts, &self.settings, &deadline, &mut summary).await.unwrap();
        summary
    }

    /// Status, attempts and why, of a notice.
    pub async fn state(&self, id: i64) -> (String, i32, String) {
        let sql = "SELECT status, attempts, coalesce(last_error, '') FROM notices WHERE id = $1";
        let row = self.client.query_typed_one(sql, &[(&id, Type::INT8)]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    pub async fn status(&self, id: i64) -> String {
        self.state(id).await.0
    }

    /// A time of a notice; none: null.
    pub async fn time(&self, column: &str, id: i64) -> Option<Timestamp> {
        let sql = format!("SELECT {column} FROM notices WHERE id = {id}");
        self.client.query_typed_one(&sql, &[]).await.unwrap().get(0)
    }

    /// How many notices have this status.
    pub async fn count(&self, status: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM notices WHERE status = '{status}'")).await
    }

    /// How often a notice arrived, wherever.
    pub fn arrived(&self, id: i64) -> usize {
        let named = format!(" {id} ");
        self.messenger.messages().iter().filter(|message| message.text.contains(&named)).count()
    }

    /// Chats in the order in which they were written to.
    pub fn chats(&self) -> Vec<i64> {
        self.messenger.messages().iter().map(|message| message.chat_id).collect()
    }
}

/// A messenger with the documented limits, by this clock.
pub fn messenger_by(clock: Arc<dyn Clock>) -> FakeMessenger {
    FakeMessenger::new(Limits::DOCUMENTED, move || Duration::try_from(clock.now() - NOW).unwrap_or_default())
}

pub fn open(db: &TestDb, clock: Arc<dyn Clock>) -> Database {
    db.database(DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() }), clock, budget())
}

/// More than any test takes: only the clock of the test decides.
pub fn budget() -> Deadline {
    Deadline::after(DAY * 30)
}

pub fn settings() -> DeliverySettings {
    DeliverySettings {
        bot: "telegram".to_owned(),
        rate_per_second: 25,
        send_limit: SEND_LIMIT,
        claim: ClaimSettings {
            default_time_zone: "UTC".to_owned(),
            quiet_hours: None,
            time_params: vec!["deadline".to_owned(), "ends".to_owned()],
        },
        limit: None,
    }
}

pub fn quiet(from: time::Time, until: time::Time) -> Option<QuietHours> {
    Some(QuietHours { from, until })
}

/// A notice of its own, about no subscription.
pub fn notice(chat: i64, kind: &'static str) -> NewNotice {
    about(chat, kind, None, json!({}))
}

/// A notice of its own about a subscription.
pub fn about(chat: i64, kind: &'static str, subscription_id: Option<SubscriptionId>, params: Value) -> NewNotice {
    NewNotice {
        telegram_id: TelegramId(chat),
        kind,
        dedupe_key: format!("{kind}:{}", RunId::new()),
        params,
        subscription_id,
        useless_after: None,
        urgent: false,
    }
}
