//! What `deliver_rest` adds to delivery: alerts to the operator's chat, shipped texts, and a pass that does not mind a
//! messenger that is down.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::path::Path;

use delivery_support::{HOUR, Outbox, about, budget};
use perennial_boot::{Config, Delivery, DeliveryOptions, Exit, Report};
use perennial_core::db::{Actor, Database, DatabaseOptions, FailedTry, RunStart, Verdict};
use perennial_core::ids::{RunId, SubscriptionId};
use perennial_core::time::micros;
use perennial_testkit::fake_telegram::{FakeTelegram, Fault, Limits, TOKEN};
use perennial_testkit::{db_test, db_test_unchecked};
use serde_json::json;

const ADMIN: i64 = -100_777;

/// A run of `renew` that is on record, as [`perennial_boot::run`] begins one.
async fn run_of(outbox: &Outbox, dry_run: bool) -> Database {
    let actor = Actor { name: "renew", run_id: RunId::new() };
    let options = DatabaseOptions { dry_run, ..DatabaseOptions::of(actor) };
    let db = outbox.db.database(options, outbox.clock.clone(), budget());
    db.run_tx("start", async |tx| tx.start_run(RunStart { version: "0", host: "", mode: "full" }).await).await.unwrap();
    db
}

/// Delivery to a server, as settings and token make it.
fn delivery(server: &FakeTelegram, settings: &str, no_deliver: bool) -> Delivery {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let config = Config::parse(settings, Path::new("test.toml")).unwrap();
    let options = DeliveryOptions { telegram_api: Some(server.api()), telegram_token_file: Some(token), no_deliver };
    options.delivery(&config).unwrap()
}

const WITH_ADMIN: &str = "[telegram]\nadmin_chat = -100777\n[texts]\ndefault_language = \"en\"";

async fn park(db: &Database, ids: impl Iterator<Item = i64>, reason: &str) {
    let tries: Vec<FailedTry> = ids
        .map(|id| FailedTry { subscription_id: SubscriptionId(id), reason: reason.to_owned(), verdict: Verdict::Park })
        .collect();
    db.run_tx("park", async |tx| tx.record_failed_tries(&tries, 3).await).await.unwrap();
}

fn with_count(name: &'static str, rows: u64) -> Report {
    Report { counts: vec![(name, rows)], ..Report::default() }
}

#[test]
fn parked_rows_of_a_run_are_told_of_in_one_message_with_the_first_ten_and_the_count() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let delivery = delivery(&server, WITH_ADMIN, false);
        // What an earlier run has parked was told of then.
        let earlier = run_of(&outbox, false).await;
        park(&earlier, 1..=3, "long ago").await;
        outbox.advance(HOUR).await;
        let run = run_of(&outbox, false).await;
        park(&run, 11..=22, "the tariff <gone> is withdrawn").await;
        let mut report = with_count("parked", 12);
        delivery.deliver_rest(&run, &budget(), &mut report).await.unwrap();
        assert_eq!((report.notices.written, report.notices.sent, report.notices.waiting), (1, 1, 0));
        let messages = server.messages_of(ADMIN);
        assert_eq!(messages.len(), 1);
        let text = &messages[0].text;
        assert!(text.contains("<b>12 subscriptions are parked</b>"), "{text}");
        assert!(text.contains("renew, subscription 20: the tariff &lt;gone&gt; is withdrawn"), "{text}");
        assert!(
            text.contains("…and 2 more") && !text.contains("subscription 21") && !text.contains("long ago"),
            "{text}"
        );
        // Asked again by the same run, nothing is told twice.
        delivery.deliver_rest(&run, &budget(), &mut report).await.unwrap();
        assert_eq!(server.messages().len(), 1);
    });
}

#[test]
fn a_brake_is_told_of_once_an_hour() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let delivery = delivery(&server, WITH_ADMIN, false);
        for (minutes, expected) in [(0, 1), (5, 1), (50, 1), (10, 2)] {
            outbox.advance(delivery_support::MINUTE * minutes).await;
            let run = run_of(&outbox, false).await;
            let mut report = Report { refused_because: Some("100 are over at once".to_owned()), ..Report::default() };
            delivery.deliver_rest(&run, &budget(), &mut report).await.unwrap();
            assert_eq!(report.exit(), Exit::Refused);
            assert_eq!(server.messages_of(ADMIN).len(), expected, "after {minutes} more minutes");
        }
        assert!(server.messages()[0].text.contains("renew: 100 are over at once"));
    });
}

#[test]
fn dead_notices_of_a_run_are_told_of_by_the_next_and_dead_alerts_by_nobody() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let delivery = delivery(&server, WITH_ADMIN, false);
        // No such kind, so no text.
        outbox.write(about(5, "from_the_future", None, json!({}))).await;
        let mut report = Report::default();
        delivery.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report).await.unwrap();
        assert_eq!((report.notices.dead, report.notices.written, report.exit()), (1, 1, Exit::Done));
        let mut report = Report::default();
        server.fail_chat(ADMIN, Fault::TOO_LONG);
        delivery.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report).await.unwrap();
        assert_eq!(
            (report.notices.dead, report.notices.written),
            (1, 0),
            "an alert about an alert would go on for ever"
        );
        server.heal();
        outbox.execute("UPDATE notices SET status = 'pending' WHERE kind = 'alert_dead'").await;
        let mut report = Report::default();
        delivery.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report).await.unwrap();
        let text = &server.messages_of(ADMIN)[0].text;
        assert!(text.contains("from_the_future, user 5: text: "), "{text}");
    });
}

#[test]
fn without_a_chat_and_in_a_dry_run_no_alert_is_written_and_without_delivery_it_is() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let report = || Report { refused_because: Some("100 are over at once".to_owned()), ..Report::default() };
        let nowhere = delivery(&server, "", false);
        nowhere.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report()).await.unwrap();
        delivery(&server, WITH_ADMIN, false)
            .deliver_rest(&run_of(&outbox, true).await, &budget(), &mut report())
            .await
            .unwrap();
        assert_eq!(outbox.number("SELECT count(*) FROM notices").await, 0);
        let mut later = report();
        delivery(&server, WITH_ADMIN, true)
            .deliver_rest(&run_of(&outbox, false).await, &budget(), &mut later)
            .await
            .unwrap();
        assert_eq!((later.notices.written, later.notices.waiting, server.calls()), (1, 1, 0));
    });
}

#[test]
fn a_messenger_that_is_down_changes_no_exit_code_and_every_notice_waits() {
    db_test_unchecked(async |db| {
        let outbox = Outbox::new(db).await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let delivery = delivery(&server, WITH_ADMIN, false);
        outbox.users(50).await;
        let until = micros(outbox.now() + HOUR);
        let params = json!({ "tariff": "basic_1m", "amount_kopecks": 19_900, "balance_kopecks": 0, "until": until });
        for user in 1..=50 {
            outbox.write(about(user, "renewed", None, params.clone())).await;
        }
        for fault in [Fault::Page(502), Fault::SERVER_ERROR, Fault::Cut { taken: false }, Fault::UNAUTHORISED] {
            server.fail_all(fault.clone());
            let mut report = Report::default();
            delivery.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report).await.unwrap();
            assert_eq!((report.exit(), report.notices.sent, report.notices.waiting), (Exit::Done, 0, 50), "{fault:?}");
            assert!(report.warnings.iter().any(|warning| warning.contains("delivery stopped")), "{report:?}");
        }
        server.heal();
        outbox.advance(HOUR).await;
        let mut report = Report::default();
        delivery.deliver_rest(&run_of(&outbox, false).await, &budget(), &mut report).await.unwrap();
        assert_eq!((report.notices.sent, report.notices.waiting), (50, 0));
        let text = &server.messages_of(1)[0].text;
        assert!(text.contains("199") && text.contains("10 March, 13:00"), "{text}");
    });
}
