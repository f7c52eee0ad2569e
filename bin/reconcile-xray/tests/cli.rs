//! The built program against a server that answers as Xray does: help, exit codes, summary, plan files, signals.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::fake_telegram::{FakeTelegram, TOKEN};
use perennial_testkit::fake_xray::FakeXray;
use perennial_testkit::fake_xray::{Fault, Kind, When};
use perennial_testkit::program::{bare, ended, run};
use perennial_testkit::{TestDb, db_test};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::Client;
use uuid::Uuid;

const TAG: &str = "vless-in";

/// The program with nothing of this process's environment but what a program needs.
fn reconcile(arguments: &[&str]) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_reconcile-xray"));
    command.args(["--config", "/dev/null"]).args(arguments);
    command
}

/// With this database, and these servers as nodes of these names.
fn reconcile_in(db: &TestDb, nodes: &[(&str, &FakeXray)], arguments: &[&str]) -> Command {
    let mut command = reconcile(&["--output", "json"]);
    command.env("DATABASE_URL", db.passes_url("reconcile-xray")).args(arguments);
    for (name, server) in nodes {
        command.args(["--xray", &format!("{name}={}#{TAG}", server.address())]);
    }
    command
}

/// Customers who have paid for days to come; their e-mails and UUIDs.
async fn put_payers(client: &Client, customers: i64) -> Vec<(String, Uuid)> {
    Tariff::months("basic_1m", 1, 19_900).put(client).await;
    let now: OffsetDateTime = client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
    for user in 1..=customers {
        User::new(user, 0).put(client).await;
        Subscription::paid(user, "basic_1m", now + Duration::from_secs(864_000)).put(client).await;
    }
    let rows = client.query_typed("SELECT email, uuid FROM credentials ORDER BY id", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Credentials that are closed; their e-mails and UUIDs.
async fn put_closed(client: &Client, from: i64, to: i64) -> Vec<(String, Uuid)> {
    client
        .batch_execute(&format!(
            "INSERT INTO users (telegram_id) SELECT generate_series({from}, {to});
             INSERT INTO credentials (telegram_id, closed_at) SELECT generate_series({from}, {to}), now()"
        ))
        .await
        .unwrap();
    let sql = "SELECT email, uuid FROM credentials WHERE closed_at IS NOT NULL ORDER BY id";
    client.query_typed(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn the_help_text_is_the_documented_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_reconcile-xray")).env_clear().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, include_str!("help.txt"), "if that is meant, write it into help.txt");
}

#[test]
fn wrong_flags_end_with_2_and_a_hint_on_standard_error() {
    for arguments in [
        &["--missing", "ignore"][..],
        &["--orphan-grace", "soon"],
        &["--max-removals", "some"],
        &["--max-removal-share", "20%"],
        &["--xray", "de1"],
        &["--plan", "a", "--apply", "b"],
    ] {
        let output = reconcile(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(arguments[0]), "{arguments:?}");
    }
}

#[test]
fn a_pass_heals_both_ways_and_the_next_one_changes_nothing() {
    db_test(async |db| {
        let client = db.client().await;
        let payers = put_payers(&client, 30).await;
        let closed = put_closed(&client, 31, 33).await;
        let server = FakeXray::start().unwrap();
        for (email, uuid) in &closed {
            server.put_user(TAG, email, *uuid, "");
        }
        server.put_user(TAG, "other.1", Uuid::new_v4(), "");
        let output = reconcile_in(&db, &[("de1", &server)], &[]).output().unwrap();
        let (code, summary) = ended(&output);
        assert_eq!(code, 0, "{summary}");
        let node = &summary["nodes"][0];
        let expected = serde_json::json!({
            "name": "de1", "reachable": true, "listed": 4, "entitled": 30, "missing": 30, "removed": 3, "quarantined": 0,
            "adopted": 0, "restored": 30, "replaced": 0, "protected": 0, "foreign": 1, "shared_uuid": 0, "failed": 0,
            "left": 0, "refused_because": null, "error": null,
        });
        assert_eq!(*node, expected);
        assert!(payers.iter().all(|(_, uuid)| server.can_connect(*uuid)));
        assert!(!closed.iter().any(|(_, uuid)| server.can_connect(*uuid)));
        // G-18: no secret is printed.
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        assert!(!payers.iter().chain(&closed).any(|(_, uuid)| printed.contains(&uuid.to_string())));

        server.clear_calls();
        assert_eq!(run(reconcile_in(&db, &[("de1", &server)], &[])).0, 0);
        let kinds: Vec<Kind> = server.calls().iter().map(|call| call.kind).collect();
        assert_eq!(kinds, [Kind::List], "a pass that finds nothing to do lists, and that is all");
        let audited =
            "SELECT count(*) FROM audit_log a JOIN runs r ON r.run_id = a.run_id WHERE a.actor = 'reconcile-xray'";
        let audited: i64 = client.query_typed_one(audited, &[]).await.unwrap().get(0);
        assert_eq!(audited, 33);
    });
}

#[test]
fn a_plan_is_written_looked_at_and_applied_past_the_brake() {
    db_test(async |db| {
        let client = db.client().await;
        put_payers(&client, 5).await;
        let server = FakeXray::start().unwrap();
        let closed = put_closed(&client, 6, 25).await;
        for (email, uuid) in &closed {
            server.put_user(TAG, email, *uuid, "");
        }
        let nodes = [("de1", &server)];
        let (code, summary) = run(reconcile_in(&db, &nodes, &[]));
        assert_eq!((code, &summary["outcome"]), (4, &"refused".into()));
        assert!(summary["error"].as_str().unwrap().starts_with("node de1: 20 of 20 users would go"), "{summary}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.json");
        let path = file.to_str().unwrap();
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--plan", path]));
        assert_eq!(code, 0, "{summary}");
        let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(plan["nodes"][0]["items"].as_array().unwrap().len(), 20);
        assert_eq!(plan["nodes"][0]["brakes"][0]["kind"], "max_removal_share");

        let (code, summary) = run(reconcile_in(&db, &nodes, &["--apply", path, "--dry-run"]));
        assert_eq!((code, summary["plan"].as_array().unwrap().len()), (0, 20), "{summary}");
        assert!(closed.iter().all(|(_, uuid)| server.can_connect(*uuid)));
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--apply", path]));
        assert_eq!((code, &summary["nodes"][0]["removed"]), (0, &20.into()), "{summary}");

        std::fs::write(&file, "{}").unwrap();
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--apply", path]));
        assert_eq!(code, 78);
        assert!(summary["error"].as_str().unwrap().contains("is no plan"), "{summary}");
        // A plan that cannot be written is none.
        let nowhere = folder.path().join("nowhere/plan.json");
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--plan", nowhere.to_str().unwrap()]));
        assert_eq!(code, 1, "{summary}");
    });
}

/// Like the other passes it sends what waits; a plan sends nothing.
#[test]
fn a_brake_is_told_to_the_operators_chat() {
    db_test(async |db| {
        let client = db.client().await;
        put_payers(&client, 5).await;
        let (server, telegram) = (FakeXray::start().unwrap(), FakeTelegram::start().unwrap());
        for (email, uuid) in &put_closed(&client, 6, 25).await {
            server.put_user(TAG, email, *uuid, "");
        }
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("perennial.toml");
        std::fs::write(&settings, "[telegram]\nadmin_chat = -5\n[texts]\ndefault_language = \"en\"").unwrap();
        let plan = folder.path().join("plan.json");
        let pass = |arguments: &[&str]| {
            let mut command = bare(env!("CARGO_BIN_EXE_reconcile-xray"));
            command.arg("--config").arg(&settings).args(["--output", "json"]).args(arguments);
            command.args(["--xray", &format!("de1={}#{TAG}", server.address())]);
            command.env("DATABASE_URL", db.passes_url("reconcile-xray"));
            command.env("PERENNIAL_TELEGRAM_API", telegram.api()).env("PERENNIAL_TELEGRAM_TOKEN", TOKEN);
            run(command)
        };
        assert_eq!(pass(&["--plan", plan.to_str().unwrap()]).0, 0);
        assert!(telegram.messages().is_empty());
        let (code, summary) = pass(&[]);
        assert_eq!((code, &summary["notices"]["sent"]), (4, &1.into()), "{summary}");
        let messages = telegram.messages();
        assert_eq!((messages.len(), messages[0].chat_id), (1, -5));
        assert!(messages[0].text.contains("20 of 20 users would go"), "{}", messages[0].text);
    });
}

#[test]
fn a_node_is_named_or_nothing_is_done() {
    db_test(async |db| {
        let client = db.client().await;
        let payers = put_payers(&client, 1).await;
        let [one, other] = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        let nodes = [("de1", &one), ("de2", &other)];
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--node", "de3"]));
        assert_eq!(code, 78);
        let error = summary["error"].as_str().unwrap();
        assert!(error.contains("--node") && error.contains("de3") && error.contains("de1, de2"), "{error}");
        assert_eq!(run(reconcile_in(&db, &nodes, &["--node", "de2"])).0, 0);
        assert!(other.can_connect(payers[0].1) && !one.can_connect(payers[0].1));
        assert!(one.calls().is_empty());
    });
}

#[test]
fn bad_servers_have_their_exit_codes_and_lose_nobody() {
    db_test(async |db| {
        let client = db.client().await;
        let closed = put_closed(&client, 1, 1).await;
        let [(email, uuid)] = closed.as_slice() else { panic!("one") };
        let sound = FakeXray::start().unwrap();
        sound.put_user(TAG, email, *uuid, "");
        let other_tag = FakeXray::builder().inbound("another").start().unwrap();
        let no_service = FakeXray::builder().inbound(TAG).services(&["StatsService"]).start().unwrap();
        let mut dead = FakeXray::start().unwrap();
        dead.crash();
        for (server, code, reachable, said) in [
            (&other_tag, 3, true, TAG),
            (&no_service, 3, true, "HandlerService"),
            (&dead, 69, false, "cannot be reached"),
        ] {
            let (ended, summary) = run(reconcile_in(&db, &[("de1", server)], &[]));
            assert_eq!(ended, code, "{summary}");
            let node = &summary["nodes"][0];
            assert_eq!(node["reachable"], reachable, "{summary}");
            assert!(node["error"].as_str().unwrap().contains(said), "{said}: {summary}");
            assert_eq!(server.count(Kind::Remove) + server.count(Kind::Add), 0);
        }
        let (code, summary) = run(reconcile_in(&db, &[("de1", &dead), ("de2", &sound)], &[]));
        assert_eq!((code, &summary["nodes"][1]["removed"]), (3, &1.into()), "{summary}");
    });
}

#[test]
fn a_hanging_node_costs_the_budget_and_no_more_and_a_stop_ends_it_in_good_order() {
    db_test(async |db| {
        let client = db.client().await;
        let payers = put_payers(&client, 1).await;
        let [up, hanging] = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        hanging.inject(When::on(Kind::List), Fault::RequestLost);
        let nodes = [("de1", &up), ("de2", &hanging)];
        let began = Instant::now();
        let (code, summary) = run(reconcile_in(&db, &nodes, &["--max-seconds", "3"]));
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(code, 3, "{summary}");
        assert!(up.can_connect(payers[0].1));

        let mut command = reconcile_in(&db, &nodes, &["--node", "de2"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let (code, summary) = ended(&child.wait_with_output().unwrap());
        assert_eq!((code, &summary["outcome"]), (75, &"stopped".into()), "{summary}");
    });
}

#[test]
fn what_is_in_force_is_shown_and_nothing_is_touched() {
    let output = reconcile(&["--check-config", "--xray", "de1=http://127.0.0.1:1#in:plus"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["nodes", "de1#in:plus"]) && lines.contains(&vec!["orphan_grace", "10m"]), "{printed}");
}
