//! The demo on a database of its own: what it makes up is sound, and what it shows is so.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::sync::Mutex;

use admin::cli::Demo;
use perennial_boot::XrayOptions;
use perennial_testkit::fake_xray::FakeXray;
use perennial_testkit::{db_test, db_test_unchecked};
use support::{admin, number, programs, run, said, sql};

#[test]
fn the_demo_shows_that_nothing_is_done_twice() {
    programs();
    // The checks are run once more afterwards.
    db_test(async |db| {
        let said = run(&db, &["demo", "--users", "1000", "--output", "json"]).good();
        let shown = said.json();
        assert_eq!(shown["good"], true);
        let (before, after) = (&shown["before"], &shown["after"]);
        assert_eq!(before["due_now"], 274);
        assert_eq!((&before["the_wallet_covers_it"], &after["the_wallet_covers_it"]), (&210.into(), &0.into()));
        assert_eq!((&before["the_wallet_is_short"], &after["the_wallet_is_short"]), (&60.into(), &60.into()));
        assert_eq!((&before["parked_for_renew"], &after["parked_for_renew"]), (&0.into(), &4.into()));
        assert_eq!(shown["renew"][0]["counts"]["renewed"], 210);
        assert_eq!(shown["renew"][1]["counts"]["renewed"], 0);
        assert_eq!(after, &shown["after_the_second_run"]);
        // Every kind that renew writes, in both languages, as a customer reads it.
        let messages = shown["messages"]["shown"].as_array().unwrap();
        for (kind, language, words) in [
            ("renewed", "ru", "Подписка продлена"),
            ("renewed", "en", "Your subscription has been renewed"),
            ("balance_short", "ru", "Не хватает"),
            ("balance_short", "en", "Your balance does not cover the renewal"),
            ("charge_ahead", "ru", "Спишем"),
            ("charge_ahead", "en", "We will charge"),
        ] {
            let is_it = |message: &serde_json::Value| {
                message["kind"] == kind
                    && message["language"] == language
                    && message["html"].as_str().is_some_and(|html| html.contains(words))
            };
            assert!(messages.iter().any(is_it), "{kind} {language}: {messages:?}");
        }
        assert!(shown["explain"]["history"].as_array().unwrap().len() > 5);

        // Nobody is written to: everything waits.
        let client = db.client().await;
        assert_eq!(
            number(
                &client,
                "SELECT count(*) FROM notices WHERE status <> 'pending' AND created_at > now() - interval '1 minute'"
            )
            .await,
            0
        );

        // Again on the same database: more people, and the same is shown of them.
        let more = run(&db, &["demo", "--users", "200", "--seed", "7"]).good();
        for line in ["200 people made up, with seed 7", "nothing was done twice", "The story of one customer"] {
            assert!(more.out.contains(line), "{line}: {}", more.out);
        }
        assert_eq!(number(&client, "SELECT count(*) FROM users").await, 1200);
    });
}

#[test]
fn with_servers_all_four_passes_are_shown_and_a_drift_is_healed() {
    programs();
    db_test(async |db| {
        let servers = [(); 2].map(|()| FakeXray::builder().inbound("b").inbound("p").start().unwrap());
        let addresses = servers.each_ref().map(|server| format!("{}#b:basic,p:plus", server.address()));
        let nodes = format!("de1={} de2={}", addresses[0], addresses[1]);
        let mut command = admin(&["demo", "--users", "300", "--output", "json"]);
        let shown =
            said(command.env("DATABASE_URL", db.passes_url("admin")).env("PERENNIAL_XRAY", nodes)).good().json();
        assert_eq!(shown["good"], true, "{shown}");
        let steps = shown["access"]["steps"].as_array().unwrap();
        let counts = |at: usize, name: &str| steps[at]["nodes"][0][name].as_u64().unwrap();
        let titles: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
        assert_eq!(titles, ["filled", "ended", "drifted", "healed"]);
        assert!(counts(0, "there") > 200 && counts(0, "there") == counts(0, "entitled"));
        assert_eq!(counts(1, "there"), counts(0, "there") - 10, "ten have cancelled");
        assert_eq!((counts(2, "missing"), counts(2, "extra")), (1, 1));
        for server in &servers {
            let there = server.users("b").len() + server.users("p").len();
            assert_eq!(there as u64, counts(3, "entitled"));
            assert!(!server.users("b").iter().any(|user| user.email.ends_with("stranger")));
        }
    });
}

#[test]
fn the_same_seed_makes_the_same_people() {
    let people = |seed| {
        let found = Mutex::new(Vec::new());
        db_test(async |db| {
            let client = db.client().await;
            admin::demo::fill(&client, &Demo { users: 300, seed, xray: XrayOptions::default() }).await.unwrap();
            let query = "SELECT concat_ws(' ', u.telegram_id, u.language, u.time_zone, u.vip, s.tariff, s.status, c.uuid, \
                         w.balance_kopecks) FROM users u JOIN accounts w USING (telegram_id) \
                         LEFT JOIN subscriptions s USING (telegram_id) LEFT JOIN credentials c USING (telegram_id) \
                         ORDER BY 1";
            let rows = client.query_typed(query, &[]).await.unwrap();
            *found.lock().unwrap() = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        });
        found.into_inner().unwrap()
    };
    let first = people(3);
    assert!(first.len() >= 300);
    assert_eq!(first, people(3));
    assert_ne!(first, people(4));
}

#[test]
fn a_database_with_anybody_else_in_it_is_refused() {
    db_test(async |db| {
        let client = db.client().await;
        sql(&client, "INSERT INTO users (telegram_id) VALUES (12345)").await;
        let said = run(&db, &["demo"]);
        assert_eq!(said.code, 4);
        assert_eq!(
            said.err,
            "admin: this database holds user 12345, whom no demo made up (the demo wants a new database (createdb))\n"
        );
        assert_eq!(number(&client, "SELECT count(*) FROM users").await, 1);
    });
    db_test_unchecked(async |db| {
        sql(&db.client().await, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE public.wp_posts ()")
            .await;
        let said = run(&db, &["demo"]);
        assert_eq!(said.code, 4);
        assert!(said.err.contains("tables that are not ours"), "{said:?}");
    });
}
