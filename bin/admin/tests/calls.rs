//! The commands that move money, give rights and set prices: what they do, what they refuse, what the audit log says.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use perennial_testkit::{TestDb, db_test};
use support::{json, number, run, sql};

fn with_tariff(db: &TestDb) {
    run(db, &["tariff", "set", "basic_30", "--price-kopecks", "19900", "--days", "30"]).good();
    run(db, &["ensure-user", "1", "--language", "ru", "--time-zone", "Europe/Moscow"]).good();
}

#[test]
fn a_customer_is_served_by_hand() {
    db_test(async |db| {
        with_tariff(&db);
        assert_eq!(json(&db, &["top-up", "1", "--kopecks", "50000"])["balance_kopecks"], 50_000);
        let bought = json(&db, &["buy", "1", "--tariff", "basic_30", "--auto-renew", "on"]);
        let subscription = bought["subscription_id"].to_string();
        assert!(bought["email"].as_str().unwrap().starts_with("p."));
        assert_eq!(json(&db, &["set-auto-renew", &subscription, "off"])["auto_renew"], false);
        assert_eq!(json(&db, &["set-auto-renew", &subscription, "on"])["auto_renew"], true);
        assert_ne!(json(&db, &["rotate", "1"])["email"], bought["email"]);

        let client = db.client().await;
        let payment = number(&client, "SELECT max(id) FROM payments").await.to_string();
        let refunded = json(&db, &["refund", &payment, "--reason", "asked"]);
        assert_eq!((&refunded["refunded_kopecks"], &refunded["balance_kopecks"]), (&19_900.into(), &50_000.into()));
        let trial = json(&db, &["start-trial", "1", "--tariff", "basic_30", "--hours", "72"]);
        let ended = run(&db, &["cancel", &trial["subscription_id"].to_string()]).good();
        assert!(ended.out.contains("its access is removed by the next passes"), "{ended:?}");
        let signed = "SELECT count(*) FROM audit_log WHERE actor <> 'admin'";
        assert_eq!(number(&client, signed).await, 0);
        assert!(number(&client, "SELECT count(*) FROM audit_log").await >= 9);
    });
}

#[test]
fn the_same_key_gives_the_first_answer_and_does_nothing_twice() {
    db_test(async |db| {
        with_tariff(&db);
        let first = run(&db, &["top-up", "1", "--kopecks", "30000", "--key", "k"]).good();
        let second = run(&db, &["top-up", "1", "--kopecks", "30000", "--key", "k"]).good();
        assert_eq!(first.out, second.out);
        assert_eq!(first.out, "user 1: 300.00 RUB topped up, the wallet holds 300.00 RUB\n");
        let other = run(&db, &["top-up", "1", "--kopecks", "30001", "--key", "k"]);
        assert_eq!(other.code, 3);
        assert_eq!(
            other.err,
            "admin: idempotency key k was used for top_up with other inputs (take another --key, or leave it out)\n"
        );

        let made = run(&db, &["buy", "1", "--tariff", "basic_30", "--auto-renew", "off"]).good().out;
        let key = made.lines().find_map(|line| line.strip_prefix("key ")).unwrap().split(':').take(2);
        let key = key.collect::<Vec<_>>().join(":");
        let again = json(&db, &["buy", "1", "--tariff", "basic_30", "--auto-renew", "off", "--key", &key]);
        assert_eq!(again["idempotency_key"], key);
        assert_eq!(number(&db.client().await, "SELECT count(*) FROM payments").await, 1);
    });
}

#[test]
fn refusals_are_one_line_with_a_hint_and_3() {
    db_test(async |db| {
        with_tariff(&db);
        run(&db, &["start-trial", "1", "--tariff", "basic_30", "--hours", "1"]).good();
        for (arguments, said) in [
            (&["top-up", "2", "--kopecks", "1"][..], "user 2 is not known (`admin ensure-user` writes a user down)"),
            (
                &["buy", "1", "--tariff", "basic_30", "--auto-renew", "on"],
                "tariff basic_30 costs 19900 kopecks, the wallet of user 1 holds 0 (`admin top-up` first)",
            ),
            (
                &["buy", "1", "--tariff", "gold", "--auto-renew", "on"],
                "tariff gold is not sold (`admin ensure-user` writes a user down, `admin tariff list` shows what is sold)",
            ),
            (
                &["start-trial", "1", "--tariff", "basic_30", "--hours", "1"],
                "user 1 has used the trial (a user has one trial for life; `admin grant` gives days)",
            ),
            (&["cancel", "77"], "subscription 77 is not known (`admin explain` shows what a user has)"),
            (&["refund", "77", "--reason", "x"], "payment 77 is not known (`admin explain` shows what a user has)"),
            (&["ensure-user", "3", "--language", "?"], "the language is no tag (such as ru, en or pt-BR)"),
            (&["discount", "end", "9"], "user 9 is not known (`admin ensure-user` writes a user down)"),
            (&["vip", "on", "9"], "user 9 is not known (`admin ensure-user` writes a user down)"),
            (&["park", "renew", "77"], "subscription 77 is not known (`admin explain` lists a user's subscriptions)"),
            (&["unpark", "renew", "77"], "subscription 77 is not parked for renew (`admin parked` lists what is)"),
            (
                &["agree-price", "77", "--none"],
                "subscription 77 is not known (`admin explain` lists a user's subscriptions)",
            ),
            (&["tariff", "set", "a b", "--price-kopecks", "1", "--days", "1"], "the code is not plain"),
        ] {
            let answer = run(&db, arguments);
            assert_eq!((answer.code, answer.out.as_str()), (3, ""), "{arguments:?}: {answer:?}");
            assert!(answer.err.starts_with(&format!("admin: {said}")), "{arguments:?}: {}", answer.err);
            assert_eq!(answer.err.lines().count(), 1, "{}", answer.err);
        }
        let as_json = run(&db, &["top-up", "2", "--kopecks", "1", "--output", "json"]);
        assert_eq!((as_json.code, &as_json.json()["sqlstate"]), (3, &"PK003".into()));
        assert_eq!(as_json.json()["exit_code"], 3);
    });
}

#[test]
fn a_tariff_is_changed_by_what_is_given_and_audited() {
    db_test(async |db| {
        let missing = run(&db, &["tariff", "set", "plus_1m", "--months", "1"]);
        assert_eq!(missing.code, 2);
        assert_eq!(missing.err, "admin: tariff plus_1m is new (give --price-kopecks and --months or --days)\n");
        run(&db, &["tariff", "list"]).good().out.starts_with("there are no tariffs");
        run(&db, &["tariff", "set", "plus_1m", "--months", "1", "--price-kopecks", "34900", "--group", "plus"]).good();
        let changed = run(&db, &["tariff", "set", "plus_1m", "--price-kopecks", "39900", "--withdraw"]).good();
        assert_eq!(
            changed.out,
            "tariff plus_1m is changed\n  price   349.00 RUB → 399.00 RUB\n  period  1 month\n  group   plus\n  \
             sold    yes → withdrawn\n"
        );
        let same = run(&db, &["tariff", "set", "plus_1m", "--price-kopecks", "39900"]).good();
        assert!(same.out.starts_with("tariff plus_1m is as it was\n"), "{same:?}");
        let list = run(&db, &["tariff", "list"]).good().out;
        assert_eq!(list, "code     group  period        price  sold\nplus_1m  plus   1 month  399.00 RUB  withdrawn\n");
        let client = db.client().await;
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'tariff_set'").await, 2);
        let before = "SELECT (before ->> 'price_kopecks')::bigint FROM audit_log ORDER BY id DESC LIMIT 1";
        assert_eq!(number(&client, before).await, 34_900);
    });
}

#[test]
fn prices_of_one_customer_are_changed_and_audited() {
    db_test(async |db| {
        with_tariff(&db);
        let client = db.client().await;
        run(&db, &["vip", "on", "1"]).good();
        assert_eq!(run(&db, &["vip", "on", "1"]).good().out, "user 1 has the VIP price, as before\n");
        run(&db, &["vip", "off", "1"]).good();
        run(&db, &["discount", "set", "1", "--percent", "20", "--until", "2090-01-01T00:00:00Z"]).good();
        let forever = json(&db, &["discount", "set", "1", "--percent", "15"]);
        assert_eq!(forever["discount"]["percent"], 15);
        assert_eq!(forever["discount"]["ends_at"], serde_json::Value::Null);
        assert_eq!(number(&client, "SELECT percent::bigint FROM discounts").await, 15);
        run(&db, &["discount", "end", "1"]).good();
        run(&db, &["discount", "end", "1"]).good();
        assert_eq!(number(&client, "SELECT count(*) FROM discounts").await, 0);
        let days = json(&db, &["discount", "set", "1", "--percent", "0", "--days", "3"]);
        assert!(days["discount"]["ends_at"].is_string());
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'vip_set'").await, 2);
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'discount_set'").await, 4);

        let granted = json(&db, &["grant", "1", "--tariff", "basic_30", "--days", "3"]);
        let id = granted["subscription_id"].to_string();
        assert_eq!(json(&db, &["agree-price", &id, "--kopecks", "9900"])["agreed_price_kopecks"], 9_900);
        let none = run(&db, &["agree-price", &id, "--none"]).good();
        assert_eq!(none.out, format!("subscription {id} of user 1 is charged by the price list\n"));
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'price_agreed'").await, 2);
        sql(&client, "UPDATE subscriptions SET status = 'expired', credential_id = NULL").await;
        assert_eq!(run(&db, &["agree-price", &id, "--kopecks", "1"]).code, 3);
    });
}

#[test]
fn rows_are_parked_listed_and_released() {
    db_test(async |db| {
        with_tariff(&db);
        let client = db.client().await;
        assert_eq!(run(&db, &["parked"]).good().out, "nothing is parked\n");
        let granted = json(&db, &["grant", "1", "--tariff", "basic_30", "--days", "3"]);
        let id = granted["subscription_id"].to_string();
        run(&db, &["park", "renew", &id, "--reason", "disputed"]).good();
        sql(
            &client,
            "INSERT INTO parked VALUES ('renew', 900, 3, 'tariff x is withdrawn', '2026-01-02Z', '2026-01-03Z', NULL)",
        )
        .await;
        sql(&client, "INSERT INTO parked VALUES ('renew', 901, 1, 'odd', '2026-01-02Z', '2026-01-03Z', now())").await;
        let list = run(&db, &["parked"]).good().out;
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 3, "{list}");
        assert_eq!(lines[0], "pass   subscription  user    tries  since                 reason");
        assert_eq!(lines[1], "renew           900     ?        3  2026-01-02T00:00:00Z  tariff x is withdrawn");
        assert!(lines[2].ends_with("disputed") && lines[2].contains("by hand"), "{list}");
        let all = json(&db, &["parked", "--all"]);
        assert_eq!((&all["count"], &all["parked"][2]["subscription_id"]), (&3.into(), &901.into()));
        let cut = run(&db, &["parked", "--limit", "1"]).good().out;
        assert!(cut.ends_with("1 of 2 rows shown; --limit shows more\n"), "{cut}");

        run(&db, &["unpark", "renew", &id]).good();
        run(&db, &["unpark", "renew", "900"]).good();
        assert_eq!(run(&db, &["parked"]).good().out, "nothing is parked\n");
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'parked'").await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action = 'unparked'").await, 2);
    });
}
