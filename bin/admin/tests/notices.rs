//! `notices` and `texts`: the outbox and the texts by hand.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_testkit::db_test;
use support::{admin, json, number, run, said, sql};
use tokio_postgres::Client;

/// Six notices: two dead endings and a dead warning, a waiting and a dropped one, one being sent.
const SOME: &str = "
    INSERT INTO users (telegram_id) VALUES (7);
    INSERT INTO notices (id, telegram_id, kind, dedupe_key, status, attempts, last_error, lease_until, subscription_id)
    VALUES (1, 7, 'trial_over', 'a', 'dead', 20, 'refused: chat not found', NULL, 70),
        (2, 7, 'trial_over', 'b', 'dead', 3, 'text: trial_over: ended is missing', NULL, NULL),
        (3, 7, 'balance_short', 'c', 'dead', 1, 'refused: x', NULL, NULL),
        (4, 7, 'balance_short', 'd', 'pending', 2, 'not sent: 502', NULL, NULL),
        (5, 7, 'trial_over', 'e', 'dropped', 0, 'too late', NULL, NULL),
        (6, 7, 'trial_over', 'f', 'sending', 1, NULL, now() + interval '1 minute', NULL)";

async fn states(client: &Client) -> String {
    let query = "SELECT string_agg(concat(id, ' ', status, ' ', attempts), ', ' ORDER BY id) FROM notices";
    client.query_typed_one(query, &[]).await.unwrap().get(0)
}

#[test]
fn dead_notices_are_listed_newest_first_with_their_reasons_page_after_page() {
    db_test(async |db| {
        sql(&db.client().await, SOME).await;
        let all = run(&db, &["notices", "list"]).good().out;
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines.len(), 4, "{all}");
        assert!(
            lines[1].starts_with(" 3     7  balance_short      1  ") && lines[1].ends_with("  refused: x"),
            "{all}"
        );
        assert!(lines[3].ends_with("refused: chat not found"), "{all}");
        let first = json(&db, &["notices", "list", "--limit", "2"]);
        assert_eq!((&first["count"], &first["next_before"]), (&3.into(), &2.into()));
        let second = json(&db, &["notices", "list", "--limit", "2", "--before", "2"]);
        assert_eq!((&second["notices"][0]["id"], &second["next_before"]), (&1.into(), &serde_json::Value::Null));
        assert_eq!(second["notices"][0]["subscription_id"], 70);
        let endings = json(&db, &["notices", "list", "--kind", "trial_over"]);
        assert_eq!(endings["count"], 2);
        let waiting = json(&db, &["notices", "list", "--state", "pending"]);
        assert_eq!(
            (&waiting["notices"][0]["id"], &waiting["notices"][0]["reason"]),
            (&4.into(), &"not sent: 502".into())
        );
        let sent = run(&db, &["notices", "list", "--state", "sent"]).good();
        assert_eq!(sent.out, "no notice is sent\n");
    });
}

#[test]
fn dead_notices_are_tried_again_from_the_first_attempt_on() {
    db_test(async |db| {
        let client = db.client().await;
        sql(&client, SOME).await;
        let one = run(&db, &["notices", "retry", "1"]).good();
        assert_eq!(one.out, "1 notice waits to be sent again\n");
        assert!(states(&client).await.starts_with("1 pending 0, 2 dead 3, 3 dead 1, 4 pending 2,"));
        let again = run(&db, &["notices", "retry", "1", "4", "6", "99"]);
        assert_eq!(again.code, 3);
        assert_eq!(
            again.out,
            "0 notices wait to be sent again\n\
             notice 1 is left as it was: it is pending; only what is dead can be retried\n\
             notice 4 is left as it was: it is pending; only what is dead can be retried\n\
             notice 6 is left as it was: it is being sent just now; try again\n\
             notice 99 is left as it was: there is no such notice\n"
        );
        assert_eq!(json(&db, &["notices", "retry", "--kind", "trial_over"])["changed"], 1);
        assert_eq!(json(&db, &["notices", "retry", "--all"])["changed"], 1);
        assert_eq!(
            states(&client).await,
            "1 pending 0, 2 pending 0, 3 pending 0, 4 pending 2, 5 dropped 0, 6 sending 1"
        );
        let audited = "SELECT count(*) FROM audit_log WHERE action = 'notice_retried' AND actor = 'admin' \
                       AND telegram_id = 7 AND before ->> 'status' = 'dead' AND after ->> 'status' = 'pending'";
        assert_eq!(number(&client, audited).await, 3);
        assert_eq!(number(&client, "SELECT count(*) FROM notices WHERE not_before > now()").await, 0);
    });
}

#[test]
fn what_waits_or_is_dead_can_be_dropped() {
    db_test(async |db| {
        let client = db.client().await;
        sql(&client, SOME).await;
        let one = run(&db, &["notices", "drop", "4", "--reason", "a test"]).good();
        assert_eq!(one.out, "1 notice will not be sent\n");
        let why = "SELECT count(*) FROM notices WHERE id = 4 AND last_error = 'a test'";
        assert_eq!(number(&client, why).await, 1);
        assert_eq!(run(&db, &["notices", "drop", "5"]).code, 3, "dropped already");
        assert_eq!(run(&db, &["notices", "drop", "6"]).code, 3, "being sent");
        assert_eq!(json(&db, &["notices", "drop", "--kind", "balance_short"])["changed"], 1);
        assert_eq!(json(&db, &["notices", "drop", "--state", "pending"])["changed"], 0);
        assert_eq!(json(&db, &["notices", "drop", "--state", "dead", "--kind", "trial_over"])["changed"], 2);
        let audited = "SELECT count(*) FROM audit_log WHERE action = 'notice_dropped' AND reason IS NOT NULL AND after ->> 'notice_id' IS NOT NULL";
        assert_eq!(number(&client, audited).await, 4);
        let none = run(&db, &["notices", "drop", "--kind", "trial_over"]).good();
        assert_eq!(none.out, "there is no such notice\n");
        let unknown = run(&db, &["notices", "drop", "--kind", "trial_ended"]);
        assert!(unknown.code == 2 && unknown.err.contains("no kind of notice trial_ended (renewed, "), "{unknown:?}");
        for wrong in [&["notices", "drop"][..], &["notices", "drop", "1", "--state", "dead"], &["notices", "retry"]] {
            assert_eq!(run(&db, wrong).code, 2, "{wrong:?}");
        }
    });
}

#[test]
fn many_are_changed_batch_after_batch_and_whoever_is_held_is_left() {
    db_test(async |db| {
        let client = db.client().await;
        let many = "INSERT INTO notices (telegram_id, kind, dedupe_key, status) \
                    SELECT 7, 'trial_over', n::text, 'dead' FROM generate_series(1, 1203) n";
        sql(&client, many).await;
        sql(&client, "BEGIN; SELECT FROM notices WHERE id = 600 FOR UPDATE").await;
        let said = run(&db, &["notices", "retry", "--all", "--output", "json"]);
        assert_eq!((said.code, said.json()["changed"].as_i64()), (3, Some(1202)));
        assert_eq!(said.json()["left"][0]["id"], 600);
        sql(&client, "COMMIT").await;
        assert_eq!(json(&db, &["notices", "retry", "--all"])["changed"], 1);
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'notice_retried'").await, 1203);
    });
}

#[test]
fn of_very_many_it_is_said_that_there_are_more_than_were_counted() {
    db_test(async |db| {
        let many = "INSERT INTO notices (telegram_id, kind, dedupe_key, status) \
                    SELECT n, 'trial_over', n::text, 'sent' FROM generate_series(1, 100001) n";
        sql(&db.client().await, many).await;
        let said = run(&db, &["notices", "list", "--state", "sent", "--limit", "1"]).good();
        let last = said.out.lines().last().unwrap();
        assert_eq!(last, "1 of more than 100000 notices shown; --before 100001 shows older ones");
    });
}

#[test]
fn a_tariff_without_a_name_is_told_what_to_write() {
    db_test(async |db| {
        let set = &["tariff", "set", "gold.1m", "--price-kopecks", "100", "--months", "1"];
        let set = run(&db, set).good();
        let advice = "tariff gold.1m has no name in en and ru: customers read gold.1m; write `tariff-gold_1m = …` into \
                      en.ftl and ru.ftl in the folder that [texts] folder names\n";
        assert!(set.out.ends_with(advice), "{set:?}");
        let checked = run(&db, &["texts", "check"]).good();
        assert!(checked.out.ends_with(advice), "{checked:?}");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("ru.ftl"), "tariff-gold_1m = Золотой\n").unwrap();
        let half = json(&db, &["texts", "check", "--folder", path]);
        assert_eq!(
            half["tariffs_without_name"],
            serde_json::json!([{ "tariff": "gold.1m", "languages": ["en"] }]),
            "{half}"
        );
        std::fs::write(folder.path().join("en.ftl"), "tariff-gold_1m = Gold\n").unwrap();
        let whole = run(&db, &["texts", "check", "--folder", path]).good();
        assert!(whole.out.ends_with(": all texts are there and can be used\n"), "{whole:?}");
        run(&db, &["tariff", "set", "gold.1m", "--withdraw"]).good();
        let withdrawn = run(&db, &["texts", "check"]).good();
        assert!(!withdrawn.out.contains("gold"), "nobody reads of it: {withdrawn:?}");
    });
    let dead = said(admin(&["texts", "check"]).env("DATABASE_URL", "postgresql:///x?host=/nonexistent&user=x")).good();
    assert!(dead.out.contains("names of tariffs were not looked for: database x@/nonexistent:5432/x: "), "{dead:?}");
}

#[test]
fn texts_are_checked_without_a_database() {
    let shipped = said(&mut admin(&["texts", "check"])).good();
    assert_eq!(shipped.out, "the shipped texts: all texts are there and can be used\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();

    write("ru.ftl", "renewed = Продлено до { $until }\n");
    let fine = said(&mut admin(&["texts", "check", "--folder", path])).good();
    assert!(fine.out.ends_with(": all texts are there and can be used\n"), "{fine:?}");

    write("de.ftl", "renewed = Verlängert bis { $until }\n");
    let incomplete = said(&mut admin(&["texts", "check", "--folder", path])).good();
    assert!(incomplete.out.lines().any(|line| line.starts_with("missing ") && line.contains("balance_short")));

    write("ru.ftl", "renewed = Продлено до { $untill }\ntrial_over = <b>Всё\n");
    let broken = said(&mut admin(&["texts", "check", "--folder", path]));
    assert_eq!(broken.code, 78, "{broken:?}");
    for wrong in ["renewed", "trial_over"] {
        let named = broken.out.lines().any(|line| line.starts_with("wrong ") && line.contains(wrong));
        assert!(named, "{wrong}: {}", broken.out);
    }
    let as_json = said(&mut admin(&["texts", "check", "--folder", path, "--output", "json"])).json();
    assert!(as_json["wrong"].as_i64() >= Some(2), "{as_json}");

    let nowhere = said(&mut admin(&["texts", "check", "--folder", "/nonexistent"]));
    assert_eq!(nowhere.code, 78);
    assert!(nowhere.err.contains("/nonexistent cannot be read"), "{nowhere:?}");
}
