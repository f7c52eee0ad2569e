//! `status`: the screen word for word, the object, what needs a person, and that a large service is looked at quickly.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::sync::Arc;
use std::time::Duration;

use admin::status::{Lines, Read, Status};
use perennial_core::db::{Actor, DatabaseOptions};
use perennial_core::ids::RunId;
use perennial_core::time::Deadline;
use perennial_testkit::{TestClock, TestDb, db_test};
use serde_json::json;
use support::{json, run, sql};
use time::macros::datetime;

/// A service in the middle of its day, with all times fixed: it is 2026-02-21 12:00 in UTC, 15:00 in Moscow.
const SERVICE: &str = include_str!("status.sql");

async fn read(db: &TestDb) -> Read {
    let clock = TestClock::at(datetime!(2026-02-21 12:00 UTC));
    let options = DatabaseOptions::of(Actor { name: "admin", run_id: RunId::new() });
    let database = db.database(options, Arc::new(clock), Deadline::after(Duration::from_secs(60)));
    let lines = Lines {
        window: Duration::from_secs(6 * 3600),
        grace: Duration::from_secs(900),
        zone: "Europe/Moscow".to_owned(),
    };
    Read::now(&database, &lines).await.unwrap()
}

#[test]
fn one_screen_tells_how_the_service_is_doing() {
    db_test(async |db| {
        sql(&db.client().await, SERVICE).await;
        let status = Status::of(&read(&db).await);
        assert_eq!(status.text().trim_end(), include_str!("status.txt").trim_end(), "{}", status.text());
    });
}

#[test]
fn the_object_says_the_same() {
    db_test(async |db| {
        sql(&db.client().await, SERVICE).await;
        let object = Status::of(&read(&db).await).json();
        assert_eq!(object["today"]["renewals"], json!({ "transfers": 1, "kopecks": 19_900 }));
        assert_eq!(
            object["today"]["top_ups"],
            json!({ "transfers": 1, "kopecks": 50_000 }),
            "yesterday's is not today's"
        );
        assert_eq!(object["today"]["refunds"], json!({ "transfers": 1, "kopecks": 9_900 }));
        assert_eq!(object["active"], json!({ "payment": 2, "trial": 1 }));
        assert_eq!(object["due"][0]["rows"], 1);
        assert_eq!(object["due"][2]["late"], 1);
        assert_eq!(object["passes"][0]["last"]["counts"]["renewed"], 2);
        assert_eq!(object["nodes"][0]["compared"]["drift"], json!({ "removed": 1, "restored": 3 }));
    });
}

#[test]
fn an_empty_service_is_told_what_to_switch_on() {
    db_test(async |db| {
        let said = run(&db, &["status"]).good();
        for part in [
            "no tariff is sold: `admin tariff set` writes one",
            "renew has never run here",
            "active rights  0",
            "0.00 RUB in 0 wallets",
        ] {
            assert!(said.out.contains(part), "{part}: {}", said.out);
        }
        let object = json(&db, &["status"]);
        assert_eq!(object["attention"].as_array().unwrap().len(), 5, "{object}");
        assert!(object["passes"][3]["last"].is_null());
    });
}

#[test]
fn a_day_begins_where_the_operator_lives() {
    db_test(async |db| {
        let settings = tempfile::NamedTempFile::new().unwrap();
        let path = settings.path().to_str().unwrap();
        std::fs::write(settings.path(), "[texts]\ndefault_time_zone = \"Asia/Tokyo\"\n").unwrap();
        let object = json(&db, &["status", "--config", path]);
        assert!(object["today"]["since"].as_str().unwrap().ends_with("15:00:00Z"), "{object}");

        std::fs::write(settings.path(), "[texts]\ndefault_time_zone = \"Mars/Olympus\"\n").unwrap();
        let said = run(&db, &["status", "--config", path]);
        assert_eq!(said.code, 78, "{said:?}");
        assert!(said.err.contains("texts.default_time_zone = \"Mars/Olympus\" is no time zone"), "{said:?}");
    });
}

#[test]
fn a_copy_may_be_looked_at_and_says_that_it_is_one() {
    db_test(async |db| {
        sql(&db.client().await, "UPDATE installation SET system_identifier = 1").await;
        let said = run(&db, &["status"]).good();
        assert!(said.out.contains("this database is a copy"), "{said:?}");
    });
}
