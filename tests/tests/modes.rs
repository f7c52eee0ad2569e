//! `--mode observe`: a pass that keeps its record and has no effect on anything else.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod fire_support;

use fire_support::{PASSES, Service};
use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::db_test;
use time::OffsetDateTime;

/// All that stands in the database, but for the rows of the runs.
async fn digest(service: &Service) -> String {
    let tables = "SELECT coalesce(string_agg(c.relname, ' ' ORDER BY c.relname), '') FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'runs'";
    let tables: String = service.client.query_typed_one(tables, &[]).await.unwrap().get(0);
    let mut digest = String::new();
    for table in tables.split(' ') {
        let sql = format!("SELECT md5(coalesce(string_agg(t::text, ';' ORDER BY t::text), '')) FROM {table} t");
        let sum: String = service.client.query_typed_one(&sql, &[]).await.unwrap().get(0);
        digest.push_str(&format!("{table} {sum}\n"));
    }
    digest
}

#[test]
fn a_pass_that_observes_counts_what_it_would_do_and_changes_nothing() {
    db_test(async |db| {
        let service = Service::at(db.url()).await;
        service.populate().await;
        // A message waits: nobody sends it.
        service
            .execute("INSERT INTO notices (telegram_id, kind, dedupe_key, params) VALUES (1, 'subscription_over', 'waits', '{}')")
            .await;
        let before = (digest(&service).await, service.outcome().await);
        let folder = tempfile::tempdir().unwrap();
        for pass in PASSES {
            let metrics = folder.path().join(format!("{pass}.prom"));
            let ended = service
                .run(pass, &["--mode", "observe", "--metrics-file", metrics.to_str().unwrap(), "--max-seconds", "40"]);
            assert!(matches!(ended.code(), Some(0 | 3)), "{pass}: {ended:?}");
            assert_eq!((&ended.summary["mode"], &ended.summary["dry_run"]), (&"observe".into(), &false.into()));
            let count = |name: &str| ended.summary["counts"][name].as_u64().unwrap_or(0);
            let nodes = |name: &str| -> u64 {
                let nodes = ended.summary["nodes"].as_array().unwrap();
                nodes.iter().map(|node| node[name].as_u64().unwrap_or(0)).sum()
            };
            match pass {
                "renew" => assert_eq!((count("renewed"), count("short")), (5, 2), "{ended:?}"),
                "notify-trials" => assert_eq!((count("reminded"), count("ended")), (4, 3), "{ended:?}"),
                "expire-fast" => assert_eq!((count("ended"), count("closed")), (6, 5), "{ended:?}"),
                _ => assert_eq!((nodes("restored"), nodes("replaced"), nodes("removed")), (4, 2, 6), "{ended:?}"),
            }
            let written = std::fs::read_to_string(&metrics).unwrap();
            let gauge = format!("perennial_pass_mode{{pass=\"{pass}\",mode=\"observe\"}} 1");
            assert!(written.contains(&gauge), "{written}");
            assert!(written.contains(&format!("perennial_pass_exit_code{{pass=\"{pass}\"}}")));
        }
        assert_eq!(digest(&service).await, before.0);
        assert!(service.outcome().await == before.1, "servers or chats have changed");
        let recorded = "SELECT count(*) FROM runs WHERE mode = 'observe' AND finished_at IS NOT NULL
            AND summary ->> 'mode' = 'observe'";
        assert_eq!(service.number(recorded).await, 4);

        // What would be refused says so, and a plan cannot be applied.
        let braked = service.run("expire-fast", &["--mode", "observe", "--max-ends", "1"]);
        assert_eq!(braked.code(), Some(4), "{braked:?}");
        let plan = folder.path().join("plan.json");
        let plan = plan.to_str().unwrap();
        assert_eq!(service.run("reconcile-xray", &["--mode", "observe", "--plan", plan]).code(), Some(0));
        let refused = service.run("reconcile-xray", &["--mode", "observe", "--apply", plan]);
        assert_eq!(refused.code(), Some(78), "{refused:?}");
        assert!(refused.summary["error"].as_str().unwrap().contains("cannot be done in mode observe"));
        assert_eq!(digest(&service).await, before.0);
    });
}

#[test]
fn a_limited_pass_sends_no_more_messages_than_it_may_have_effects_and_says_so() {
    db_test(async |db| {
        let service = Service::at(db.url()).await;
        service.populate().await;
        let ended = service.run("renew", &["--mode", "limited", "--limit", "2", "--workers", "4"]);
        assert_eq!(ended.code(), Some(75), "{ended:?}");
        assert_eq!((&ended.summary["limit"], &ended.summary["counts"]["renewed"]), (&2.into(), &2.into()));
        assert_eq!((&ended.summary["notices"]["written"], &ended.summary["notices"]["sent"]), (&2.into(), &2.into()));
        assert_eq!(service.telegram.messages().len(), 2);
        assert!(ended.summary["warnings"].to_string().contains("its limit of effects is used up"), "{ended:?}");
        // Those who were told of nothing yet are written to two at a time.
        service
            .execute(
                "INSERT INTO notices (telegram_id, kind, dedupe_key, params)
                      SELECT 40 + n, 'subscription_over', 'old' || n, '{\"tariff\": \"basic_30\", \"ended\": 1}'
                      FROM generate_series(1, 3) n",
            )
            .await;
        let ended = service.run("notify-trials", &["--mode", "limited", "--limit", "2"]);
        assert_eq!((ended.code(), service.telegram.messages().len()), (Some(75), 4), "{ended:?}");
        assert_eq!((&ended.summary["counts"]["reminded"], &ended.summary["counts"]["ended"]), (&2.into(), &0.into()));
        assert_eq!(service.number("SELECT count(*) FROM runs WHERE mode = 'limited'").await, 2);
    });
}

/// Makes each payment take a twentieth of a second.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION slow()";

#[test]
fn a_pass_that_is_killed_has_left_in_its_row_what_it_had_done() {
    db_test(async |db| {
        let service = Service::at(db.url()).await;
        let client = &service.client;
        let tariff = Tariff::days("basic_30", 30, 100);
        tariff.put(client).await;
        let end: OffsetDateTime = client.query_typed_one("SELECT now() + interval '1 hour'", &[]).await.unwrap().get(0);
        for user in 1..=600 {
            User::new(user, 100).put(client).await;
            Subscription::paid(user, tariff.code, end).put(client).await;
        }
        service.execute(SLOW).await;
        let pass = service.start("renew", &["--batch-size", "1", "--no-deliver"]);
        let so_far = "SELECT coalesce((SELECT (summary #>> '{counts,renewed}')::bigint FROM runs), 0)";
        while service.number(so_far).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let killed = pass.kill();
        assert!(killed.was_killed(), "its row was told nothing while it was under way: {killed:?}");
        let (told, done) = (service.number(so_far).await, service.number("SELECT count(*) FROM payments").await);
        assert!(0 < told && told <= done && done < 600, "{told} of {done}");
        let row = "SELECT count(*) FROM runs WHERE finished_at IS NULL AND outcome IS NULL
            AND summary -> 'outcome' = 'null' AND (summary ->> 'charged_kopecks')::bigint > 0";
        assert_eq!(service.number(row).await, 1);
        service.execute("DROP TRIGGER slow ON payments").await;
        assert_eq!(service.run("renew", &["--no-deliver"]).code(), Some(0));
        assert_eq!(service.number("SELECT count(*) FROM payments").await, 600);
    });
}
