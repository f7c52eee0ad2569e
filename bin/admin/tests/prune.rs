//! `prune`: what only grows goes by age, and nothing that anybody needs goes with it.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use perennial_core::db::{Actor, DatabaseOptions, RenewalBounds};
use perennial_core::ids::RunId;
use perennial_core::time::{Deadline, Timestamp};
use perennial_testkit::builders::{User, set_bot_clock};
use perennial_testkit::{TestClock, TestDb, db_test};
use renew::{RenewPass, Settings, Summary};
use serde_json::{Value, json};
use support::{admin, json, number, run, said, sql};
use time::macros::datetime;
use tokio_postgres::Client;

/// Older than anything is kept.
const LONG_AGO: Timestamp = datetime!(2023-01-05 12:00 UTC);
const ROLES: &str = include_str!("../../../sql/roles.sql");

/// A pass of `renew` in those days.
async fn renew_then(db: &TestDb) -> Summary {
    let deadline = Deadline::after(Duration::from_secs(600));
    let options = DatabaseOptions::of(Actor { name: "renew", run_id: RunId::new() });
    let database = db.database(options, Arc::new(TestClock::at(LONG_AGO)), deadline.clone());
    let bounds = RenewalBounds { window: Duration::from_secs(30 * 3600), grace: Duration::from_secs(900) };
    let settings = Settings { bounds, batch_rows: 100, workers: 1, max_tries: 3, charge_notice: None, limit: None };
    let pass = RenewPass { db: &database, deadline: &deadline, settings, observer: &|_| {} };
    let mut summary = Summary::default();
    pass.run(&mut summary).await.unwrap();
    summary
}

/// Customer 1 was renewed long ago, 2 was short of money and still is, 3 is in a trial that was never ended, 4 was; all was
/// said to them. Of today: a run, a notice, an audit row.
async fn old_service(db: &TestDb) -> Client {
    let client = db.client().await;
    set_bot_clock(&client, LONG_AGO).await;
    sql(&client, "INSERT INTO tariffs VALUES ('day', 'basic', 'day', 1, 1000, true)").await;
    for user in 1..=4 {
        User::new(user, 0).put(&client).await;
    }
    sql(
        &client,
        "SELECT perennial_top_up(1, 5000, 'top:1'); SELECT perennial_top_up(2, 1000, 'top:2');
         SELECT perennial_buy(u, 'day', true, 'buy:' || u) FROM generate_series(1, 2) u;
         SELECT perennial_start_trial(u, 'day', 72, 'trial:' || u) FROM generate_series(3, 4) u;
         UPDATE subscriptions SET status = 'expiring' WHERE telegram_id = 4;
         UPDATE credentials SET closed_at = now() WHERE telegram_id = 4",
    )
    .await;
    let summary = renew_then(db).await;
    assert_eq!((summary.renewed, summary.short, summary.notices_written), (1, 1, 2), "{summary:?}");
    sql(
        &client,
        "INSERT INTO notices (telegram_id, kind, dedupe_key, subscription_id, created_at)
         SELECT s.telegram_id, 'trial_reminder', 'trial_reminder:' || s.id || ':6h', s.id, '2023-01-05 18:00Z'
         FROM subscriptions s WHERE s.source = 'trial';
         UPDATE notices SET status = 'sent';
         INSERT INTO notices (telegram_id, kind, dedupe_key, status, created_at)
         VALUES (1, 'trial_over', 'given up', 'dead', '2023-01-05Z'), (1, 'trial_over', 'waits', 'pending', '2023-01-05Z'),
             (1, 'trial_over', 'of today', 'sent', now());
         INSERT INTO audit_log (at, actor, action)
         VALUES ('2023-01-06Z', 'notify-trials', 'reminded'), ('2023-01-07Z', 'expire-fast', 'ended'),
             ('2023-01-07Z', 'reconcile-xray', 'quarantined'), ('2023-01-07Z', 'reconcile-xray', 'adopted'),
             ('2023-01-08Z', 'renew', 'nobody knows this'), (now(), 'notify-trials', 'reminded');
         INSERT INTO runs (run_id, pass, version, started_at, finished_at)
         SELECT gen_random_uuid(), 'renew', '0', at::timestamptz, CASE WHEN at <> '2023-01-06Z' THEN at::timestamptz END
         FROM unnest(ARRAY['2023-01-05Z', '2023-01-06Z', '2023-01-07Z', now()::text]) at;
         INSERT INTO runs (run_id, pass, version, started_at)
         SELECT gen_random_uuid(), 'expire-fast', '0', at::timestamptz FROM unnest(ARRAY['2023-01-05Z', '2023-01-06Z']) at",
    )
    .await;
    client
}

fn rows(answer: &Value) -> Value {
    let pruned = &answer["pruned"];
    json!([pruned["runs"]["rows"], pruned["notices"]["rows"], pruned["audit_log"]["rows"]])
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    client.query_typed(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn what_is_old_goes_the_books_stay_whole_and_nobody_is_told_twice() {
    db_test(async |db| {
        let client = old_service(&db).await;
        let money =
            "SELECT count(*) FROM audit_log WHERE action IN ('renewed', 'bought', 'topped_up', 'trial_started')";
        let kept = (number(&client, money).await, number(&client, "SELECT count(*) FROM requests").await);
        run(&db, &["verify"]).good();

        let shown = json(&db, &["prune", "--dry-run", "--audit", "1000d"]);
        assert_eq!((&shown["dry_run"], &rows(&shown)), (&true.into(), &json!([4, 2, 5])));
        let answer = json(&db, &["prune", "--audit", "1000d", "--batch-size", "1"]);
        assert_eq!((&answer["is_done"], &rows(&answer)), (&true.into(), &json!([4, 2, 5])));
        let again = json(&db, &["prune", "--audit", "1000d"]);
        assert_eq!(rows(&again), json!([0, 0, 0]));

        // The newest run of each pass stays.
        let runs = names(&client, "SELECT pass FROM runs ORDER BY pass").await;
        assert_eq!(runs, ["expire-fast", "renew"]);
        let notices =
            names(&client, "SELECT concat(telegram_id, ' ', kind, ' ', status) FROM notices ORDER BY id").await;
        assert_eq!(
            notices,
            [
                // The period that is short of money is open still, and so is the trial.
                "2 balance_short sent",
                "3 trial_reminder sent",
                "1 trial_over dead",
                "1 trial_over pending",
                "1 trial_over sent",
            ]
        );
        let audit = names(&client, "SELECT action FROM audit_log WHERE actor <> 'admin' ORDER BY at, id").await;
        assert!(audit.contains(&"nobody knows this".to_owned()) && !audit.contains(&"ended".to_owned()), "{audit:?}");
        assert_eq!(audit.iter().filter(|action| *action == "reminded").count(), 1, "that of today");
        assert_eq!((number(&client, money).await, number(&client, "SELECT count(*) FROM requests").await), kept);
        let pruned = "SELECT sum((after ->> 'rows')::bigint)::bigint FROM audit_log WHERE action = 'pruned'";
        assert_eq!(number(&client, pruned).await, 11);
        run(&db, &["verify"]).good();

        // The passes of those days over again: what they said they do not say again.
        let before = number(&client, "SELECT count(*) FROM notices").await;
        assert_eq!(renew_then(&db).await.notices_written, 0);
        assert_eq!(number(&client, "SELECT count(*) FROM notices").await, before);
    });
}

/// Never pruned: money, rights, prices, servers, and which database acts.
const KEPT: &[&str] = &[
    "auto_renew_set",
    "bought",
    "cancelled",
    "discount_set",
    "granted",
    "installation_accepted",
    "node_retired",
    "node_revived",
    "price_agreed",
    "refunded",
    "renewed",
    "rotated",
    "tariff_set",
    "topped_up",
    "trial_started",
    "vip_set",
];

/// All actions that the sources write, in the ways they write them.
fn actions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    for folder in ["crates", "bin", "sql/migrations"] {
        look_for_actions(&root.join(folder), &mut found);
    }
    found
}

fn look_for_actions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "tests") {
                look_for_actions(&path, found);
            }
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let ways: &[&str] = match path.extension().and_then(|ending| ending.to_str()) {
            Some("sql") => &["PERFORM audit('"],
            Some("rs") if text.contains("NewAudit") => {
                &["action: \"", "row(\"", "record(tx, \"", "change(session, node, \"", "=> (\"", "=> (\n            \""]
            }
            _ => &[],
        };
        for rest in ways.iter().flat_map(|way| text.split(way).skip(1)) {
            found.extend(rest.split(['"', '\'']).next().map(str::to_owned));
        }
    }
}

#[test]
fn every_action_is_pruned_or_named_as_one_that_stays() {
    db_test(async |db| {
        let client = db.client().await;
        let of_index = "SELECT unnest(regexp_matches(indexdef, '''([a-z_]+)''', 'g')) FROM pg_indexes
                        WHERE indexname = 'audit_log_prunable' ORDER BY 1";
        let of_function = "SELECT unnest(regexp_matches(list[1], '''([a-z_]+)''', 'g'))
                           FROM regexp_matches(pg_get_functiondef('audit_log_prune'::regproc), 'action IN \\(([^)]*)\\)') list
                           ORDER BY 1";
        let prunable = names(&client, of_index).await;
        assert_eq!(names(&client, of_function).await, prunable, "the index is not of use to the function");
        let mut known: Vec<String> = KEPT.iter().map(|action| (*action).to_owned()).chain(prunable).collect();
        known.sort();
        let written: Vec<String> = actions().into_iter().collect();
        assert_eq!(
            written, known,
            "what is about no money and no right is prunable (a migration), the rest stays (KEPT)"
        );
    });
}

#[test]
fn without_being_told_the_audit_log_is_kept_and_ages_come_from_the_settings() {
    db_test(async |db| {
        let client = old_service(&db).await;
        let before = number(&client, "SELECT count(*) FROM audit_log").await;
        let said_so = run(&db, &["prune", "--dry-run"]).good().out;
        assert!(said_so.contains("audit_log: kept") && said_so.contains("runs: 4 rows of before"), "{said_so}");
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log").await, before);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        std::fs::write(&file, "[retention]\nruns = \"3000d\"\nnotices = \"3000d\"\naudit = \"3000d\"").unwrap();
        let answer = json(&db, &["prune", "--dry-run", "--config", file.to_str().unwrap()]);
        assert_eq!(rows(&answer), json!([0, 0, 0]));
        for too_young in [&["--runs", "0s"][..], &["--notices", "29d"], &["--audit", "179d"]] {
            let refused = run(&db, &[&["prune"][..], too_young].concat());
            assert_eq!(refused.code, 78, "{refused:?}");
        }
    });
}

#[test]
fn a_prune_that_is_killed_goes_on_where_it_was() {
    db_test(async |db| {
        let client = old_service(&db).await;
        let runs = "SELECT count(*) FROM runs";
        assert_eq!(number(&client, runs).await, 6);
        // Schema, installation, the clock, and the first batch of one row.
        let mut command = admin(&["prune", "--batch-size", "1"]);
        command.env("DATABASE_URL", db.url()).env("PERENNIAL_CRASH_AT", "tx.after_commit#4");
        let killed = said(&mut command);
        assert_eq!(killed.code, -1, "{killed:?}");
        assert_eq!(number(&client, runs).await, 5);
        assert_eq!(rows(&json(&db, &["prune", "--batch-size", "1"])), json!([3, 2, 0]));
        run(&db, &["verify"]).good();
    });
}

#[test]
fn the_one_way_past_the_protection_of_the_audit_log_is_for_its_role_and_for_what_is_old() {
    db_test(async |db| {
        let client = old_service(&db).await;
        sql(&client, ROLES).await;
        let refused = async |statement: &str| {
            let error = client.batch_execute(statement).await.unwrap_err();
            let code = error.code().map(|code| code.code().to_owned());
            client.batch_execute("ROLLBACK").await.unwrap();
            code.unwrap_or_default()
        };
        let prune = "SELECT audit_log_prune(now() - interval '400 days', '2000-01-01Z', 0, 10)";
        // The transaction that may delete by the function may not delete besides.
        assert_eq!(refused(&format!("BEGIN; {prune}; DELETE FROM audit_log")).await, "23514");
        let young = prune.replace("400 days", "179 days");
        assert_eq!(refused(&format!("BEGIN; {young}")).await, "22023");
        let role = format!("{}_trims", db.name());
        sql(&client, &format!("CREATE ROLE {role} IN ROLE perennial_prune")).await;
        let act = |statement: &str| format!("BEGIN; SET LOCAL ROLE {role}; {statement}");
        for statement in [
            "DELETE FROM audit_log",
            "INSERT INTO prunings VALUES (pg_current_xact_id())",
            "DELETE FROM transfers",
            "DELETE FROM payments",
            "DELETE FROM requests",
            "UPDATE runs SET version = '1'",
        ] {
            assert_eq!(refused(&act(statement)).await, "42501", "{statement}");
        }
        let bot = format!("BEGIN; SET LOCAL ROLE perennial_bot; {prune}");
        assert_eq!(refused(&bot).await, "42501");
        sql(&client, &format!("{}; COMMIT", act(prune))).await;
        assert_eq!(number(&client, "SELECT count(*) FROM audit_log WHERE action IN ('reminded', 'ended')").await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM prunings").await, 0);
        sql(&client, &format!("DROP ROLE {role}")).await;
    });
}
