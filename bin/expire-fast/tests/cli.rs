//! The built program against servers that answer as Xray does, and against the real one where it is installed: help, exit
//! codes, summary, metrics, the hook, signals.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::fake_xray::{FakeXray, Fault, Kind, When};
use perennial_testkit::program::{bare, ended, keys, run};
use perennial_testkit::real_xray::{self, CLIENT_ADDRESS, RealXray, Setup, Version, is_echoed};
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_postgres::Client;
use uuid::Uuid;

const TAG: &str = "vless-in";

/// The program with nothing of this process's environment but what a program needs.
fn expire_fast(arguments: &[&str]) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_expire-fast"));
    command.env("PERENNIAL_CONFIG", "/dev/null").args(arguments);
    command
}

/// With this database, and these addresses as nodes of these names.
fn pass_over(db: &TestDb, nodes: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = expire_fast(&["--output", "json"]);
    command.env("DATABASE_URL", db.passes_url("expire-fast")).args(arguments);
    for (name, address) in nodes {
        command.args(["--xray", &format!("{name}={address}#{TAG}")]);
    }
    command
}

/// Customers `from` to `to`, whose right ended two minutes ago; negative minutes: ends so long from now.
async fn put(client: &Client, from: i64, to: i64, minutes_ago: i64) -> Vec<(String, Uuid)> {
    Tariff::months("basic_1m", 1, 19_900).put(client).await;
    let now: OffsetDateTime = client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
    for user in from..=to {
        User::new(user, 0).put(client).await;
        Subscription::paid(user, "basic_1m", now - time::Duration::minutes(minutes_ago)).put(client).await;
    }
    let sql = format!("SELECT email, uuid FROM credentials WHERE telegram_id BETWEEN {from} AND {to} ORDER BY id");
    client.query_typed(&sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn serve(server: &FakeXray, users: &[(String, Uuid)]) {
    users.iter().for_each(|(email, uuid)| server.put_user(TAG, email, *uuid, ""));
}

async fn count(client: &Client, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM subscriptions WHERE {condition}");
    client.query_typed_one(&sql, &[]).await.unwrap().get(0)
}

#[test]
fn the_help_text_is_the_documented_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_expire-fast")).env_clear().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, include_str!("help.txt"), "if that is meant, write it into help.txt");
}

#[test]
fn wrong_flags_end_with_2_and_a_hint_on_standard_error() {
    for arguments in [
        &["--grace", "soon"][..],
        &["--max-ends", "some"],
        &["--max-ends-share", "30%"],
        &["--xray", "de1"],
        &["--no-end"],
        &["--window", "6h"],
    ] {
        let output = expire_fast(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(arguments[0]), "{arguments:?}");
    }
}

#[test]
fn what_is_in_force_is_shown_and_nothing_is_touched() {
    let arguments = ["--check-config", "--xray", "de1=http://127.0.0.1:1#in:plus", "--max-ends", "77"];
    let mut command = expire_fast(&arguments);
    let output = command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    for shown in ["de1", "plus", "15m", "77", "0.3"] {
        assert!(printed.contains(shown), "{shown}: {printed}");
    }
}

#[test]
fn database_settings_and_schema_have_their_exit_codes() {
    let arguments = ["--database-url", "postgresql://nobody@127.0.0.1:1/none", "--output", "json"];
    assert_eq!(run(expire_fast(&arguments)).0, 69);
    db_test_unchecked(async |db| {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("perennial.toml");
        for text in [
            "[expire]\nmax_end = 3",
            "[expire]\ngrace = \"soon\"",
            "[[node]]\nname = \"de1\"\napi = \"10.0.0.5\"",
            "[[node]]\nname = \"de1\"\napi = \"https://h:1\"\nca_file = \"/nowhere\"\n[[node.inbound]]\ntag = \"t\"",
        ] {
            std::fs::write(&settings, text).unwrap();
            let (code, summary) = run(pass_over(&db, &[], &["--config", settings.to_str().unwrap()]));
            assert_eq!(code, 78, "{text}: {summary}");
        }
        db.client().await.batch_execute("UPDATE refinery_schema_history SET version = version + 100").await.unwrap();
        assert_eq!(run(pass_over(&db, &[], &[])).0, 78);
    });
}

#[test]
fn a_pass_removes_proves_and_says_so_in_summary_log_and_metrics() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 30, 2).await;
        let paying = put(&client, 31, 80, -60).await;
        let servers = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        for server in &servers {
            serve(server, &over);
            serve(server, &paying);
        }
        let addresses = servers.each_ref().map(FakeXray::address);
        let nodes = [("de1", addresses[0].as_str()), ("de2", addresses[1].as_str())];
        let folder = tempfile::tempdir().unwrap();
        let metrics = folder.path().join("expire-fast.prom");
        let arguments = ["--metrics-file", metrics.to_str().unwrap(), "--max-ends-share", "0.5"];
        let output = pass_over(&db, &nodes, &arguments).output().unwrap();
        let (code, summary) = ended(&output);
        assert_eq!((code, &summary["outcome"]), (0, &json!("done")), "{summary}");
        let expected = json!({
            "listed": 30, "ended": 30, "closed": 30, "removed": 60, "proven": 60, "expired": 30, "waiting_for_node": 0,
            "busy": 0, "failed": 0, "left": 0,
        });
        assert_eq!(summary["counts"], expected);
        assert_eq!(keys(&summary["end_to_proof_seconds"]), ["oldest", "p50", "p99"]);
        let node = json!({
            "name": "de1", "reachable": true, "removed": 30, "proven": 30, "still_there": 0, "error": null,
        });
        assert_eq!(summary["nodes"][0], node);
        assert_eq!(summary["notices"]["written"], 30);
        assert!(servers.iter().all(|server| server.users(TAG).len() == 50));
        assert!(paying.iter().all(|(_, uuid)| servers[0].can_connect(*uuid)));
        assert_eq!(count(&client, "status = 'expired' AND credential_id IS NULL").await, 30);
        // G-18: no secret is printed.
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!over.iter().any(|(_, uuid)| printed.contains(&uuid.to_string())));
        assert!(printed.contains("expired: proven gone from every server"), "{printed}");

        let text = std::fs::read_to_string(&metrics).unwrap();
        for line in [
            "perennial_pass_rows{pass=\"expire-fast\",outcome=\"proven\"} 60",
            "perennial_end_to_proof_seconds{pass=\"expire-fast\",quantile=\"0.99\"} ",
            "perennial_unproven_oldest_seconds{pass=\"expire-fast\"} 0",
            "perennial_pass_exit_code{pass=\"expire-fast\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    });
}

#[test]
fn the_oldest_end_without_a_proof_shows_in_the_metrics() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 1, 2).await;
        let server = FakeXray::start().unwrap();
        serve(&server, &over);
        // A server that says OK and keeps the user.
        server.inject(When::on(Kind::Remove), Fault::Lie);
        let folder = tempfile::tempdir().unwrap();
        let metrics = folder.path().join("expire-fast.prom");
        let arguments = ["--metrics-file", metrics.to_str().unwrap()];
        let address = server.address();
        let pass = || run(pass_over(&db, &[("de1", &address)], &arguments));
        let (code, summary) = pass();
        assert_eq!((code, &summary["counts"]["waiting_for_node"]), (3, &json!(1)), "{summary}");
        assert_eq!(summary["nodes"][0]["still_there"], 1);
        client.batch_execute("UPDATE subscriptions SET ended_at = ended_at - interval '1 hour'").await.unwrap();
        let oldest = pass().1["end_to_proof_seconds"]["oldest"].as_u64().unwrap();
        assert!((3_600..3_700).contains(&oldest), "{oldest}");
        let text = std::fs::read_to_string(&metrics).unwrap();
        assert!(
            text.contains(&format!("perennial_unproven_oldest_seconds{{pass=\"expire-fast\"}} {oldest}")),
            "{text}"
        );
        server.clear_faults();
        assert_eq!(pass().0, 0);
        assert_eq!(count(&client, "status = 'expired'").await, 1);
    });
}

#[test]
fn the_brake_ends_with_4_and_a_dry_run_shows_what_it_holds_back() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 25, 2).await;
        let server = FakeXray::start().unwrap();
        serve(&server, &over);
        let address = server.address();
        let nodes = [("de1", address.as_str())];
        let (code, summary) = run(pass_over(&db, &nodes, &[]));
        assert_eq!((code, &summary["outcome"]), (4, &json!("refused")), "{summary}");
        let error = summary["error"].as_str().unwrap();
        assert!(error.contains("25 of 25 active subscriptions") && error.contains("max_ends_share"), "{error}");
        assert_eq!((&summary["counts"]["left"], server.calls().len()), (&json!(25), 0));

        let (code, summary) = run(pass_over(&db, &nodes, &["--dry-run", "--max-ends-share", "1"]));
        assert_eq!((code, summary["plan"].as_array().unwrap().len()), (0, 25), "{summary}");
        assert_eq!((count(&client, "status = 'active'").await, server.calls().len()), (25, 0));
        let (code, summary) = run(pass_over(&db, &nodes, &["--max-ends", "25", "--max-ends-share", "1"]));
        assert_eq!((code, &summary["counts"]["expired"]), (0, &json!(25)), "{summary}");
    });
}

#[test]
fn bad_servers_have_their_exit_codes_and_prove_nothing() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 1, 2).await;
        let other_tag = FakeXray::builder().inbound("another").start().unwrap();
        let no_service = FakeXray::builder().inbound(TAG).services(&["StatsService"]).start().unwrap();
        let plain = FakeXray::builder().inbound(TAG).on_tcp().start().unwrap();
        let mut dead = FakeXray::start().unwrap();
        dead.crash();
        let tls_to_plain = plain.address().replace("http://", "https://");
        for (address, code, reachable, said) in [
            (other_tag.address(), 3, true, TAG),
            (no_service.address(), 3, true, "HandlerService"),
            (tls_to_plain, 69, false, "cannot be reached"),
            (dead.address(), 69, false, "cannot be reached"),
        ] {
            client.batch_execute("UPDATE nodes SET next_try_at = NULL").await.unwrap();
            let (ended, summary) = run(pass_over(&db, &[("de1", &address)], &[]));
            let node = &summary["nodes"][0];
            assert_eq!((ended, &node["reachable"]), (code, &json!(reachable)), "{said}: {summary}");
            assert!(node["error"].as_str().unwrap().contains(said), "{said}: {summary}");
            assert_eq!(count(&client, "status = 'expiring'").await, 1, "{said}");
        }
        client.batch_execute("UPDATE nodes SET next_try_at = NULL").await.unwrap();
        serve(&plain, &over);
        let (code, summary) = run(pass_over(&db, &[("de1", &plain.address())], &[]));
        assert_eq!((code, &summary["counts"]["expired"]), (0, &json!(1)), "{summary}");
    });
}

#[test]
fn a_hanging_node_costs_the_budget_at_most_and_a_stop_ends_the_pass_in_good_order() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 3, 2).await;
        let servers = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        servers.iter().for_each(|server| serve(server, &over));
        servers[1].inject(When::any(), Fault::RequestLost);
        let addresses = servers.each_ref().map(FakeXray::address);
        let nodes = [("de1", addresses[0].as_str()), ("de2", addresses[1].as_str())];
        let began = Instant::now();
        let (code, summary) = run(pass_over(&db, &nodes, &["--max-seconds", "2"]));
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
        assert_eq!((code, &summary["nodes"][0]["proven"]), (75, &json!(3)), "{summary}");
        assert!(servers[0].users(TAG).is_empty());

        client.batch_execute("UPDATE nodes SET leased_until = NULL, next_try_at = NULL").await.unwrap();
        let child = pass_over(&db, &nodes, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let (code, summary) = ended(&child.wait_with_output().unwrap());
        assert_eq!((code, &summary["outcome"]), (75, &json!("stopped")), "{summary}");
        let failures: i64 =
            client.query_typed_one("SELECT sum(failures)::bigint FROM nodes", &[]).await.unwrap().get(0);
        assert_eq!(failures, 0, "that our time was over is not the node's fault");
    });
}

/// Two stops: the second one ends it at once, with what was committed and nothing of what was under way.
#[test]
fn a_pass_that_is_stopped_hard_says_what_was_committed_before() {
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 3, 2).await;
        let servers = [FakeXray::start().unwrap(), FakeXray::start().unwrap()];
        servers.iter().for_each(|server| serve(server, &over));
        let hangs = "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         PERFORM pg_sleep(CASE NEW.node WHEN 'de2' THEN 60 ELSE 0 END); RETURN NEW; END $$;
                     CREATE TRIGGER hang BEFORE INSERT ON removals FOR EACH ROW EXECUTE FUNCTION hang()";
        client.batch_execute(hangs).await.unwrap();
        let addresses = servers.each_ref().map(FakeXray::address);
        let nodes = [("de1", addresses[0].as_str()), ("de2", addresses[1].as_str())];
        let pass = pass_over(&db, &nodes, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut pass = pass.unwrap();
        let proven = "SELECT count(*) FROM removals";
        while client.query_typed_one(proven, &[]).await.unwrap().get::<_, i64>(0) < 3 {
            std::thread::sleep(Duration::from_millis(20));
        }
        while pass.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&pass), Signal::TERM).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        let (code, summary) = ended(&pass.wait_with_output().unwrap());
        assert_eq!(code, 143, "{summary}");
        let counts = &summary["counts"];
        assert_eq!([&counts["listed"], &counts["ended"], &counts["closed"]], [&json!(3); 3], "{summary}");
        let of = |node: usize, count: &str| summary["nodes"][node][count].clone();
        assert_eq!([of(0, "removed"), of(0, "proven"), of(1, "proven")], [3, 3, 0].map(|n| json!(n)), "{summary}");
        assert_eq!(summary["notices"]["written"], json!(3), "{summary}");
        client.batch_execute("DROP TRIGGER hang ON removals").await.unwrap();
    });
}

/// A hook that keeps what it is told.
fn hook(folder: &Path, then: &str) -> String {
    let settings = folder.join("perennial.toml");
    let script = format!("cat > {}/told; {then}", folder.display());
    std::fs::write(&settings, format!("[expire]\non_removed = [\"sh\", \"-c\", \"{script}\"]")).unwrap();
    settings.to_str().unwrap().to_owned()
}

fn told(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("told")).unwrap()).unwrap()
}

#[test]
fn who_is_removed_and_still_connected_is_reported_and_handed_to_the_hook() {
    for (then, failure) in [("true", None), ("exit 7", Some("exit status: 7")), ("sleep 60", Some("took longer"))] {
        db_test(async |db| {
            let client = db.client().await;
            let over = put(&client, 1, 3, 2).await;
            let server = FakeXray::start().unwrap();
            serve(&server, &over);
            server.set_online(&over[1].0, &["203.0.113.7", "203.0.113.8"]);
            let folder = tempfile::tempdir().unwrap();
            let settings = hook(folder.path(), then);
            let address = server.address();
            let began = Instant::now();
            let (code, summary) = run(pass_over(&db, &[("de1", &address)], &["--config", &settings]));
            // Sessions are beside the point: the removal is proven whatever becomes of them.
            assert_eq!((code, &summary["counts"]["expired"]), (0, &json!(3)), "{then}: {summary}");
            assert!(began.elapsed() < Duration::from_secs(15), "{then}: {:?}", began.elapsed());
            let warnings = summary["warnings"].to_string();
            assert!(warnings.contains("1 users were removed and are still connected"), "{then}: {warnings}");
            let said = warnings.contains("the hook on_removed failed 1 times");
            assert_eq!(said, failure.is_some(), "{then}: {warnings}");
            assert!(failure.is_none_or(|failure| warnings.contains(failure)), "{then}: {warnings}");
            let told = told(folder.path());
            let addresses = json!(["203.0.113.7", "203.0.113.8"]);
            assert_eq!((&told["node"], &told["users"][0]["addresses"]), (&json!("de1"), &addresses));
            assert_eq!(told["users"].as_array().unwrap().len(), 1, "who is not connected is not named");
            assert_eq!(told["users"][0]["email_hash"].as_str().unwrap().len(), 64);
        });
    }
}

#[test]
fn on_a_real_server_the_removed_cannot_connect_their_open_sessions_are_reported_and_the_others_stay() {
    let Some(installed) = real_xray::find(Version::V26_10_10).unwrap() else { return };
    db_test(async |db| {
        let client = db.client().await;
        let over = put(&client, 1, 2, 2).await;
        let paying = put(&client, 3, 4, -60).await;
        let all: Vec<_> = over.iter().chain(&paying).map(|(e, u)| (e.clone(), *u, String::new())).collect();
        let server = RealXray::start(&installed, &Setup { users: all, ..Setup::default() }).unwrap();
        let tunnel = server.client(over[0].1).unwrap();
        let mut open = tunnel.open().unwrap();
        assert!(is_echoed(&mut open));
        assert!(server.can_connect(paying[0].1).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let settings = hook(folder.path(), "true");
        let address = server.address();
        let (code, summary) = run(pass_over(&db, &[("de1", &address)], &["--config", &settings]));
        assert_eq!((code, &summary["counts"]["expired"]), (0, &json!(2)), "{summary}");
        // Xray ends no session when its user is taken off.
        assert!(is_echoed(&mut open), "the open session goes on");
        assert!(summary["warnings"].to_string().contains("1 users were removed and are still connected"), "{summary}");
        assert_eq!(told(folder.path())["users"][0]["addresses"], json!([CLIENT_ADDRESS]));
        assert!(!tunnel.passes_traffic() && !server.can_connect(over[1].1).unwrap(), "no new one begins");
        assert!(server.can_connect(paying[1].1).unwrap());
        let (code, summary) = run(pass_over(&db, &[("de1", &address)], &[]));
        assert_eq!((code, &summary["counts"]["removed"]), (0, &json!(0)), "{summary}");
    });
}
