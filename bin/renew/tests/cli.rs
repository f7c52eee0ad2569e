//! The built program: help, exit codes, summary, signals.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use perennial_core::ids::SubscriptionId;
use perennial_core::schema;
use perennial_testkit::builders::{Bot, Subscription, Tariff, User};
use perennial_testkit::db::ACCEPT;
use perennial_testkit::program::{bare, ended, keys, run};
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::{Client, NoTls};

const PRICE: i64 = 19_900;

/// The program with nothing of this process's environment but what a program needs.
fn renew() -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_renew"));
    command.args(["--config", "/dev/null"]);
    command
}

fn renew_in(db: &TestDb, arguments: &[&str]) -> Command {
    let mut command = renew();
    command.env("DATABASE_URL", db.passes_url("renew")).args(["--output", "json"]).args(arguments);
    command
}

/// By the server's clock, which is what the program goes by.
async fn now(client: &Client) -> OffsetDateTime {
    client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0)
}

/// So many customers with an hour to go and enough in the wallet; ids count from 1.
async fn put_due(client: &Client, customers: i64) {
    Tariff::months("basic_1m", 1, PRICE).put(client).await;
    let end = now(client).await + Duration::from_secs(3600);
    for user in 1..=customers {
        User::new(user, PRICE).put(client).await;
        Subscription::paid(user, "basic_1m", end).put(client).await;
    }
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_typed_one(sql, &[]).await.unwrap().get(0)
}

const CHARGES: &str = "SELECT count(*) FROM transfers WHERE kind = 'charge'";

/// Makes each payment take a twentieth of a second.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION slow()";

/// Makes the payment of subscription 2 fail.
const FAILING: &str = "
    CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE TRIGGER failing BEFORE INSERT ON payments FOR EACH ROW WHEN (NEW.subscription_id = 2)
        EXECUTE FUNCTION failing()";

#[test]
fn the_help_text_is_the_documented_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_renew")).env_clear().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, include_str!("help.txt"), "if that is meant, write it into help.txt");
}

#[test]
fn wrong_flags_end_with_2_and_a_hint_on_standard_error() {
    for arguments in [&["--window", "tomorrow"][..], &["--batch-size", "0"], &["--workers", "65"], &["--no-such-flag"]]
    {
        let output = renew().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(arguments[0]), "{arguments:?}");
    }
}

#[test]
fn a_pass_charges_what_is_due_and_its_summary_and_row_say_so() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 3).await;
        User::new(4, 100).put(&client).await;
        let end = now(&client).await + Duration::from_secs(7200);
        Subscription::paid(4, "basic_1m", end).put(&client).await;

        let (code, summary) = run(renew_in(&db, &[]));
        assert_eq!(code, 0);
        let expected = [
            "charged_kopecks",
            "counts",
            "dry_run",
            "error",
            "exit_code",
            "mode",
            "nodes",
            "notices",
            "oldest_due_seconds",
            "outcome",
            "pass",
            "run_id",
            "seconds",
            "started_at",
            "version",
            "warnings",
        ];
        assert_eq!(keys(&summary).iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
        let counts = r#"{"busy":0,"failed":0,"left":0,"listed":4,"parked":0,"renewed":3,"short":1}"#;
        assert_eq!(summary["counts"], serde_json::from_str::<Value>(counts).unwrap());
        assert_eq!((&summary["pass"], &summary["outcome"]), (&"renew".into(), &"done".into()));
        assert_eq!((&summary["charged_kopecks"], &summary["error"]), (&(3 * PRICE).into(), &Value::Null));
        assert_eq!((&summary["notices"]["written"], &summary["notices"]["waiting"]), (&4.into(), &4.into()));

        let row = "SELECT concat_ws(' ', pass, outcome, exit_code, finished_at IS NOT NULL, summary ->> 'run_id' = run_id::text) FROM runs";
        let row: String = client.query_typed_one(row, &[]).await.unwrap().get(0);
        assert_eq!(row, "renew done 0 t t");
        let audited = "SELECT count(*) FROM audit_log a JOIN runs r ON r.run_id = a.run_id WHERE a.actor = 'renew'";
        assert_eq!(number(&client, audited).await, 4);

        // Nothing is due any more but the short one, to which nothing is new.
        let (code, summary) = run(renew_in(&db, &[]));
        assert_eq!((code, &summary["counts"]["renewed"], &summary["counts"]["short"]), (0, &0.into(), &1.into()));
    });
}

#[test]
fn a_dry_run_shows_its_plan_and_changes_nothing() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 2).await;
        let (code, summary) = run(renew_in(&db, &["--dry-run"]));
        assert_eq!((code, &summary["dry_run"], &summary["counts"]["renewed"]), (0, &true.into(), &2.into()));
        let plan = summary["plan"].as_array().unwrap();
        assert_eq!(plan.len(), 2);
        assert!(
            plan[0].as_str().unwrap().starts_with("renew subscription 1 of user 1 for 199.00 RUB until 20"),
            "{plan:?}"
        );
        for table in ["transfers WHERE kind = 'charge'", "payments", "notices", "runs", "parked"] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
    });
}

#[test]
fn a_row_that_failed_ends_the_pass_with_3_and_the_others_are_renewed() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 4).await;
        client.batch_execute(FAILING).await.unwrap();
        for (failed, parked) in [(1, 0), (1, 0), (0, 1)] {
            let (code, summary) = run(renew_in(&db, &[]));
            assert_eq!((code, &summary["outcome"]), (3, &"partial".into()));
            let counts = &summary["counts"];
            assert_eq!((&counts["failed"], &counts["parked"]), (&failed.into(), &parked.into()), "{counts}");
        }
        assert_eq!(number(&client, CHARGES).await, 3);
        assert_eq!(run(renew_in(&db, &[])).0, 0, "parked, it is a person's");
    });
}

#[test]
fn a_database_that_cannot_be_reached_ends_the_pass_with_69() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgresql:///nowhere?host={}", folder.path().display());
    for extra in [&[][..], &["--dry-run"]] {
        let mut command = renew();
        command.env("DATABASE_URL", &url).args(["--output", "json"]).args(extra);
        let (code, summary) = run(command);
        assert_eq!((code, &summary["outcome"]), (69, &"failed".into()));
        assert!(summary["error"].as_str().unwrap().contains("the database is not available"), "{summary}");
    }
}

/// Waits until the pass is in the middle of its work.
async fn wait_for_charges(client: &Client, least: i64) {
    let began = Instant::now();
    while number(client, CHARGES).await < least {
        assert!(began.elapsed() < Duration::from_secs(60), "the pass does not begin");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn say(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn sigterm_and_sigint_finish_the_batch_in_hand_and_end_with_75() {
    for signal in [Signal::TERM, Signal::INT] {
        db_test(async |db| {
            let client = db.client().await;
            put_due(&client, 60).await;
            client.batch_execute(SLOW).await.unwrap();
            let child = start(renew_in(&db, &["--batch-size", "2"]));
            wait_for_charges(&client, 4).await;
            say(&child, signal);
            let told = Instant::now();
            let (code, summary) = ended(&child.wait_with_output().unwrap());
            assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
            assert_eq!((code, &summary["outcome"], &summary["error"]), (75, &"stopped".into(), &Value::Null));
            let counts = &summary["counts"];
            let (renewed, left) = (counts["renewed"].as_i64().unwrap(), counts["left"].as_i64().unwrap());
            assert!(renewed >= 4 && left > 0 && renewed + left == 60, "{counts}");
            assert_eq!(number(&client, CHARGES).await, renewed, "what was committed is what is said");
            assert!(summary["oldest_due_seconds"].as_i64().unwrap() > 4 * 3600, "{summary}");

            client.batch_execute("DROP TRIGGER slow ON payments").await.unwrap();
            let (code, summary) = run(renew_in(&db, &[]));
            assert_eq!((code, &summary["counts"]["renewed"]), (0, &left.into()));
        });
    }
}

#[test]
fn a_pass_that_hangs_is_given_up_in_time_and_its_summary_says_what_was_committed_before() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 3).await;
        let hang = SLOW.replace("pg_sleep(0.05)", "pg_sleep(CASE NEW.subscription_id WHEN 2 THEN 60 ELSE 0 END)");
        client.batch_execute(&hang).await.unwrap();
        let child = start(renew_in(&db, &["--batch-size", "1"]));
        wait_for_charges(&client, 1).await;
        say(&child, Signal::TERM);
        let told = Instant::now();
        let (code, summary) = ended(&child.wait_with_output().unwrap());
        assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());
        assert_eq!((code, &summary["outcome"]), (75, &"stopped".into()), "{summary}");
        let counts = &summary["counts"];
        assert_eq!((&counts["renewed"], &counts["listed"]), (&1.into(), &1.into()), "{summary}");
        assert_eq!(summary["charged_kopecks"], PRICE);
        assert_eq!(number(&client, CHARGES).await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM parked").await, 0, "being slow is no row's fault");
    });
}

#[test]
fn a_pass_killed_in_the_middle_leaves_nothing_half_done_and_the_next_does_the_rest() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 40).await;
        client.batch_execute(SLOW).await.unwrap();
        let mut child = start(renew_in(&db, &["--batch-size", "3"]));
        wait_for_charges(&client, 6).await;
        child.kill().unwrap();
        child.wait().unwrap();
        client.batch_execute("DROP TRIGGER slow ON payments").await.unwrap();
        // The server notices a moment later that its client has gone; until then it holds the rows.
        let began = Instant::now();
        while number(&client, CHARGES).await < 40 {
            assert!(began.elapsed() < Duration::from_secs(30));
            assert_eq!(run(renew_in(&db, &[])).0, 0);
        }
        assert_eq!(number(&client, "SELECT count(*) FROM payments").await, 40);
    });
}

#[test]
fn a_used_up_budget_ends_the_pass_in_time_with_75() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 60).await;
        client.batch_execute(SLOW).await.unwrap();
        let began = Instant::now();
        let (code, summary) = run(renew_in(&db, &["--max-seconds", "1", "--batch-size", "2"]));
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!((code, &summary["outcome"]), (75, &"stopped".into()), "{summary}");
        let counts = &summary["counts"];
        assert!(counts["left"].as_i64().unwrap() > 0, "{counts}");
        assert_eq!(counts["renewed"].as_i64().unwrap() + counts["left"].as_i64().unwrap(), 60, "{counts}");
        assert_eq!(number(&client, CHARGES).await, counts["renewed"].as_i64().unwrap());
    });
}

#[test]
fn a_schema_that_is_older_newer_or_missing_ends_the_pass_with_78_and_the_remedy() {
    let version = schema::VERSION;
    let newer = format!("UPDATE refinery_schema_history SET version = version + 1 WHERE version = {version}");
    let older = format!("DELETE FROM refinery_schema_history WHERE version = {version}");
    let missing = "DROP SCHEMA public CASCADE; CREATE SCHEMA public".to_owned();
    for (sql, remedy) in
        [(newer, "upgrade it"), (older, "run `perennial migrate`"), (missing, "run `perennial migrate`")]
    {
        db_test_unchecked(async |db| {
            db.client().await.batch_execute(&sql).await.unwrap();
            let (code, summary) = run(renew_in(&db, &[]));
            assert_eq!((code, &summary["outcome"]), (78, &"failed".into()));
            assert!(summary["error"].as_str().unwrap().ends_with(remedy), "{summary}");
        });
    }
}

/// A run that was here.
const RAN: &str = "INSERT INTO runs (run_id, pass, version, host, mode, started_at, database_oid)
    SELECT gen_random_uuid(), 'renew', '0', '', 'full', now(), d.oid FROM pg_database d WHERE d.datname = current_database()";

#[test]
fn a_copied_database_is_not_acted_on_until_it_is_accepted() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 1).await;
        for (differs, said) in
            [("system_identifier", "from another cluster,"), ("database_oid", "from another database of this cluster,")]
        {
            client.batch_execute(&format!("UPDATE installation SET {differs} = 1; {RAN}")).await.unwrap();
            client.batch_execute("UPDATE runs SET database_oid = 1").await.unwrap();
            let (code, summary) = run(renew_in(&db, &[]));
            assert_eq!(code, 78);
            let error = summary["error"].as_str().unwrap();
            assert!(error.contains(said) && error.contains("perennial installation accept"), "{summary}");
            let new_runs = "SELECT count(*) FROM runs WHERE version <> '0'";
            assert_eq!((number(&client, CHARGES).await, number(&client, new_runs).await), (0, 0));
            client.batch_execute(ACCEPT).await.unwrap();
        }
        assert_eq!(run(renew_in(&db, &[])).0, 0);
        assert_eq!(number(&client, CHARGES).await, 1);
    });
}

/// `createdb -T`: the same cluster, so nothing but the database's oid tells the copy apart. A copy of what no pass ever
/// worked on, such as a template, is a database like any other.
#[test]
fn a_copy_in_the_same_cluster_is_not_acted_on_and_the_renamed_original_is() {
    db_test(async |db| {
        put_due(&db.client().await, 1).await;
        let url_of = |name: &str| db.url().replace(db.name(), name);
        let (server, connection) = tokio_postgres::connect(&url_of("postgres"), NoTls).await.unwrap();
        drop(tokio::spawn(connection));
        let renew_at = |name: &str| {
            let mut command = renew();
            command.env("DATABASE_URL", url_of(name)).args(["--output", "json"]);
            run(command)
        };
        let (copy, renamed) = (format!("{}_copy", db.name()), format!("{}_renamed", db.name()));
        server.batch_execute(&format!("CREATE DATABASE {copy} TEMPLATE {}", db.name())).await.unwrap();
        for _ in 0..2 {
            assert_eq!(renew_at(&copy).0, 0);
        }
        server.batch_execute(&format!("DROP DATABASE {copy} WITH (FORCE)")).await.unwrap();

        let (original, connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        original.batch_execute(RAN).await.unwrap();
        drop(original);
        drop(connection.await);
        server.batch_execute(&format!("CREATE DATABASE {copy} TEMPLATE {}", db.name())).await.unwrap();
        let (code, summary) = renew_at(&copy);
        assert_eq!((code, summary["counts"]["renewed"].as_u64().unwrap_or_default()), (78, 0), "{summary}");
        assert!(summary["error"].as_str().unwrap().contains("another database of this cluster"), "{summary}");
        server.batch_execute(&format!("DROP DATABASE {copy} WITH (FORCE)")).await.unwrap();

        server.batch_execute(&format!("ALTER DATABASE {} RENAME TO {renamed}", db.name())).await.unwrap();
        let (code, summary) = renew_at(&renamed);
        server.batch_execute(&format!("ALTER DATABASE {renamed} RENAME TO {}", db.name())).await.unwrap();
        assert_eq!((code, &summary["counts"]["renewed"]), (0, &1.into()), "{summary}");
    });
}

#[test]
fn settings_that_make_no_sense_end_the_pass_with_78_and_nothing_is_touched() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 1).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("perennial.toml");
        for (settings, said) in [
            ("[renew]\nwindow = \"1h\"\ngrace = \"2h\"\n", "renew.grace"),
            ("[renew]\nwindows = \"6h\"\n", "windows"),
            ("[renew]\nwindow = 6\n", "window"),
            ("owner_prefix = \"other.\"\n", "owner_prefix"),
        ] {
            std::fs::write(&file, settings).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_renew"));
            command
                .env_clear()
                .env("DATABASE_URL", db.passes_url("renew"))
                .args(["--output", "json", "--config"])
                .arg(&file);
            let (code, summary) = run(command);
            assert_eq!(code, 78, "{settings}");
            assert!(summary["error"].as_str().unwrap().contains(said), "{settings}: {summary}");
        }
        let mut without_database = renew();
        without_database.args(["--output", "json"]);
        assert_eq!(run(without_database).0, 78);
        assert_eq!(number(&client, CHARGES).await, 0);
    });
}

#[test]
fn window_and_grace_come_from_the_flags() {
    db_test(async |db| {
        let client = db.client().await;
        put_due(&client, 1).await;
        assert_eq!(run(renew_in(&db, &["--window", "30m"])).1["counts"]["listed"], 0);
        assert_eq!(run(renew_in(&db, &["--window", "61m"])).1["counts"]["renewed"], 1);
        let bot = Bot(&client);
        bot.set_auto_renew(SubscriptionId(1), false).await.unwrap();
    });
}
