//! Rows at the edges of what their columns take: notices that bots wrote, sums near the end of bigint, the largest ids. Each
//! is worked with, refused, or given up by itself; the rows beside it never notice.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;
mod fire_support;

use common::calls::{answer, customer, refused_by};
use common::{balance, run};
use fire_support::Service;
use perennial_testkit::{db_test, db_test_unchecked};

/// What a bot might write into the outbox by hand: kind, and parameters as JSON.
fn notices() -> Vec<(&'static str, String)> {
    let receipt = |changed: &str| {
        format!(
            r#"{{"tariff": "basic", "amount_kopecks": 1, "balance_kopecks": 2, "until": 1800000000000000, {changed}, "z": 0}}"#
        )
    };
    let whole = ["{}", "[]", "null", "7", "\"text\"", "[[[[]]]]"].map(|params| ("renewed", params.to_owned()));
    let texts = [
        "\"</b><a href='tg://x'>\"".to_owned(),
        "\"\u{202E}שלום\u{2066}\\n\\u001b[31m\"".to_owned(),
        format!("\"{}\"", "<&>".repeat(50_000)),
        "\"\"".to_owned(),
        "7".to_owned(),
        "null".to_owned(),
        "{\"a\": 1}".to_owned(),
        format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)),
    ];
    let numbers = [
        "-9223372036854775808",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "-1e400",
        "0.1",
        "-1",
        "0",
        "253401999999999999",
        "253402000000000000",
        "\"1\"",
        "true",
    ];
    let mut all = whole.to_vec();
    all.push(("no_such_kind", "{}".to_owned()));
    all.push(("alert_parked", r#"{"count": -9223372036854775808, "items": []}"#.to_owned()));
    all.push(("alert_parked", format!(r#"{{"count": 1e30, "items": [{}]}}"#, vec!["{}"; 20_000].join(","))));
    all.extend(texts.iter().map(|text| ("renewed", receipt(&format!("\"tariff\": {text}")))));
    for name in ["amount_kopecks", "balance_kopecks", "until"] {
        all.extend(numbers.iter().map(|number| ("renewed", receipt(&format!("\"{name}\": {number}")))));
    }
    all
}

#[test]
fn a_notice_that_cannot_be_said_costs_nobody_his_message() {
    // Receipts of what was never paid: `verify` would name each of them.
    db_test_unchecked(async |db| {
        let service = Service::of(&db).await;
        let client = db.client().await;
        let notices = notices();
        let users = notices.len() + 4;
        let mut sql =
            format!("INSERT INTO users (telegram_id, language) SELECT n, 'en' FROM generate_series(1, {users}) n;");
        for (n, (kind, params)) in (1..).zip(&notices) {
            sql.push_str(&format!(
                "INSERT INTO notices (telegram_id, kind, dedupe_key, params, not_before)
                     VALUES ({n}, '{kind}', 'hostile:{n}', $json${params}$json$, now() - interval '1 hour');"
            ));
        }
        // Behind all of them; languages as a client of Telegram's may claim to speak.
        sql.push_str(&format!(
            "UPDATE users SET language = 'ru' || repeat('-abcd', 200000) WHERE telegram_id = {users};
             UPDATE users SET language = 'xx' WHERE telegram_id = {users} - 1;
             INSERT INTO notices (telegram_id, kind, dedupe_key, params)
                 SELECT n, 'trial_over', 'good:' || n, '{{\"tariff\": \"basic\", \"ended\": 1800000000000000}}'
                 FROM generate_series({users} - 3, {users}) n"
        ));
        run(&client, &sql).await;
        let ended = service.run("renew", &["--max-seconds", "60"]);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert_eq!(
            service.number("SELECT count(*) FROM notices WHERE dedupe_key ~ '^good' AND status = 'sent'").await,
            4
        );
        let open = "SELECT count(*) FROM notices WHERE status NOT IN ('sent', 'dead', 'dropped')";
        assert_eq!(service.number(open).await, 0, "{ended:?}");
        let unsaid =
            "SELECT count(*) FROM notices WHERE status = 'dead' AND last_error !~ '^(text: |.*cannot be read)'";
        assert_eq!(service.number(unsaid).await, 0, "Telegram refused what it should not have been sent");
        let unreadable = service.number("SELECT count(*) FROM notices WHERE last_error LIKE '%cannot be read%'").await;
        assert!(unreadable >= 1, "nothing here is beyond what the program reads");
        for message in service.telegram.messages() {
            assert!(
                !message.text.contains(['\0', '\u{202E}', '\u{1b}']) && !message.text.contains("<a "),
                "{message:?}"
            );
        }
    });
}

const MOST: i64 = i64::MAX;

#[test]
fn sums_at_the_end_of_bigint_are_refused_and_never_wrap() {
    db_test(async |db| {
        let client = db.client().await;
        run(&client, "INSERT INTO tariffs VALUES ('dear', 'basic', 'day', 1, 1000000000000)").await;
        customer(&client, 1, MOST).await;
        assert_eq!(refused_by(&client, "perennial_top_up(1, 1, 'one more')").await, "22003");
        assert_eq!(refused_by(&client, &format!("perennial_top_up(1, {MOST}, 'as much')")).await, "22003");
        answer(&client, "perennial_buy(1, 'dear', true, 'b')").await;
        answer(&client, "perennial_top_up(1, 1000000000000, 'full again')").await;
        assert_eq!(balance(&client, 1).await, MOST);
        let refund = "perennial_refund((SELECT max(id) FROM payments), 'asked', 'r')";
        assert_eq!(refused_by(&client, refund).await, "22003");
        for amount in ["-9223372036854775808", "-1", "0", "NULL"] {
            let code = refused_by(&client, &format!("perennial_top_up(1, {amount}, 'k')")).await;
            assert!(code.starts_with("22") || code.starts_with("23") || code == "PK005", "{amount}: {code}");
        }
        for numbers in ["-2147483648", "-1", "0", "2147483647", "NULL"] {
            for call in ["perennial_start_trial(1, 'dear', {n}, 'k')", "perennial_grant(1, 'dear', {n}, 'k')"] {
                let code = refused_by(&client, &call.replace("{n}", numbers)).await;
                assert!(code.starts_with("22") || code.starts_with("23"), "{call} {numbers}: {code}");
            }
        }
        for user in ["-9223372036854775808", "-1", "0", "NULL"] {
            let code = refused_by(&client, &format!("perennial_ensure_user({user}, 'en', NULL)")).await;
            assert!(code.starts_with("22") || code.starts_with("23"), "{user}: {code}");
        }

        // The pass over the same customer: his day is due at once, the full wallet pays and does not wrap.
        let service = Service::of(&db).await;
        let ended = service.run("renew", &["--max-seconds", "30", "--window", "25h"]);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert_eq!(balance(&client, 1).await, MOST - 1_000_000_000_000);
        let told = service.telegram.messages_of(1);
        assert_eq!(told.len(), 1, "{told:?}");
    });
}

#[test]
fn the_largest_ids_are_charged_ended_and_told_like_all_others() {
    db_test(async |db| {
        let client = db.client().await;
        run(
            &client,
            &format!(
                "INSERT INTO tariffs VALUES ('day', 'basic', 'day', 1, 500);
                 INSERT INTO users (telegram_id, language) VALUES ({MOST}, 'en'), ({MOST} - 1, 'en');
                 INSERT INTO credentials (id, telegram_id) VALUES ({MOST}, {MOST}), ({MOST} - 1, {MOST} - 1);
                 SELECT perennial_top_up({MOST}, 500, 't');
                 INSERT INTO subscriptions (id, telegram_id, source, tariff, credential_id, starts_at, expires_at, auto_renew)
                     VALUES ({MOST}, {MOST}, 'payment', 'day', {MOST}, now() - interval '1 day', now() + interval '1 h', true),
                         ({MOST} - 1, {MOST} - 1, 'payment', 'day', {MOST} - 1, now() - interval '9 d',
                          now() - interval '1 d', true)"
            ),
        )
        .await;
        let service = Service::of(&db).await;
        for (pass, more) in [("renew", "-q"), ("expire-fast", "-q"), ("notify-trials", "-q"), ("reconcile-xray", "-q")]
        {
            let share: &[&str] = if pass == "expire-fast" { &["--max-ends-share", "1"] } else { &[] };
            let ended = service.run(pass, &[&["--max-seconds", "30", more], share].concat());
            assert_eq!(ended.code(), Some(0), "{pass}: {ended:?}");
        }
        assert_eq!(balance(&client, MOST).await, 0);
        assert_eq!(service.telegram.messages_of(MOST).len(), 1);
        assert_eq!(service.number("SELECT count(*) FROM subscriptions WHERE status = 'expired'").await, 1);
        assert_eq!(service.telegram.messages_of(MOST - 1).len(), 1);
        assert_eq!(service.drift().await, [""; 0]);
    });
}
