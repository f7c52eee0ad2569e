//! The built program: help, exit codes, summary, delivery, and a token that nobody gets to see.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use perennial_core::ids::SubscriptionId;
use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::fake_telegram::{FakeTelegram, Fault, Limits, TOKEN};
use perennial_testkit::program::{bare, ended, keys, run};
use perennial_testkit::{TestDb, db_test, db_test_unchecked};
use serde_json::json;
use time::OffsetDateTime;
use tokio_postgres::Client;

const HOUR: Duration = Duration::from_secs(3_600);
/// The half of the token that is a secret.
const SECRET: &str = "AAFakeFakeFakeFakeFakeFakeFakeFakeFa";

/// The program with nothing of this process's environment but what a program needs.
fn notify_trials() -> Command {
    bare(env!("CARGO_BIN_EXE_notify-trials"))
}

fn pass_over(db: &TestDb, arguments: &[&str]) -> Command {
    let mut command = notify_trials();
    command.env("DATABASE_URL", db.passes_url("notify-trials")).env("PERENNIAL_CONFIG", "/dev/null");
    command.args(["--output", "json"]).args(arguments);
    command
}

/// As [`pass_over`], with a bot.
fn delivering(db: &TestDb, server: &FakeTelegram, arguments: &[&str]) -> Command {
    let mut command = pass_over(db, arguments);
    command.env("PERENNIAL_TELEGRAM_API", server.api()).env("PERENNIAL_TELEGRAM_TOKEN", TOKEN);
    command
}

/// User `n` with a trial of 72 hours that began so long ago, by the server's clock.
async fn trial(client: &Client, user: i64, began: Duration) -> SubscriptionId {
    let now: OffsetDateTime = client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
    User::new(user, 0).put(client).await;
    let starts_at = now - began;
    let paid = Subscription::paid(user, "basic_1m", starts_at + HOUR * 72);
    Subscription { source: "trial", starts_at, auto_renew: false, ..paid }.put(client).await
}

async fn column(client: &Client, sql: &str) -> Vec<String> {
    client.query_typed(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

const NOTICES: &str = "SELECT concat_ws(' ', telegram_id, kind, params ->> 'stage', status) FROM notices \
                       ORDER BY telegram_id";

#[test]
fn the_help_text_is_the_documented_one() {
    let output = notify_trials().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, include_str!("help.txt"), "if that is meant, write it into help.txt");
}

#[test]
fn wrong_flags_end_with_2_and_a_hint_on_standard_error() {
    for arguments in [&["--no-such-flag"][..], &["--batch-size", "0"], &["--no-end=perhaps"], &["--window", "6h"]] {
        let output = notify_trials().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let name = arguments[0].split('=').next().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(name), "{arguments:?}");
    }
}

#[test]
fn a_database_that_cannot_be_reached_ends_with_69() {
    let mut command = notify_trials();
    command.args(["--database-url", "postgresql://nobody@127.0.0.1:1/none", "--output", "json"]);
    assert_eq!(run(command).0, 69);
}

#[test]
fn settings_and_schema_that_do_not_fit_end_with_78() {
    db_test_unchecked(async |db| {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("perennial.toml");
        for text in [
            "[trials]\nstages = [{ name = \"soon\" }]",
            "[trials]\nstage = []",
            "[texts]\nfolder = \"/nowhere\"",
            "[telegram]\ntoken_file = \"/nowhere\"",
        ] {
            std::fs::write(&settings, text).unwrap();
            let (code, summary) = run(pass_over(&db, &["--config", settings.to_str().unwrap()]));
            assert_eq!(code, 78, "{text}: {summary}");
        }
        let server = FakeTelegram::start().unwrap();
        assert_eq!(run(delivering(&db, &server, &["--telegram-api", "api.telegram.org"])).0, 78);
        db.client().await.batch_execute("UPDATE refinery_schema_history SET version = version + 100").await.unwrap();
        assert_eq!(run(pass_over(&db, &[])).0, 78);
    });
}

#[test]
fn nothing_due_is_done_and_the_summary_has_its_members() {
    db_test(async |db| {
        let (code, summary) = run(pass_over(&db, &[]));
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
        assert_eq!(keys(&summary), expected);
        let expected = ["busy", "ended", "failed", "left", "listed", "reminded", "superseded"];
        assert_eq!(keys(&summary["counts"]), expected);
        assert_eq!(keys(&summary["notices"]), ["dead", "dropped", "sent", "waiting", "written"]);
        assert_eq!((&summary["pass"], &summary["outcome"]), (&json!("notify-trials"), &json!("done")));
        assert_eq!(summary["warnings"], json!([]));
    });
}

#[test]
fn a_pass_reminds_ends_and_delivers() {
    db_test(async |db| {
        let client = db.client().await;
        Tariff::months("basic_1m", 1, 19_900).put(&client).await;
        trial(&client, 1, HOUR * 7).await;
        trial(&client, 2, HOUR * 71 + HOUR / 2).await;
        trial(&client, 3, HOUR * 73).await;
        client.batch_execute("UPDATE users SET language = 'en'").await.unwrap();
        let server = FakeTelegram::start().unwrap();
        let (code, summary) = run(delivering(&db, &server, &[]));
        assert_eq!(code, 0, "{summary}");
        assert_eq!((&summary["counts"]["reminded"], &summary["counts"]["ended"]), (&json!(2), &json!(1)));
        assert_eq!(summary["notices"], json!({ "written": 3, "sent": 3, "dropped": 0, "dead": 0, "waiting": 0 }));
        let expected = ["1 trial_reminder 6h sent", "2 trial_reminder 71h sent", "3 trial_over sent"];
        assert_eq!(column(&client, NOTICES).await, expected);
        assert!(server.messages_of(2)[0].text.contains(" minutes left"), "{:?}", server.messages_of(2));
    });
}

#[test]
fn no_end_reminds_only_and_no_deliver_leaves_the_sending_to_others() {
    db_test(async |db| {
        let client = db.client().await;
        trial(&client, 1, HOUR * 7).await;
        trial(&client, 2, HOUR * 73).await;
        let server = FakeTelegram::start().unwrap();
        let (code, summary) = run(delivering(&db, &server, &["--no-end", "--no-deliver"]));
        assert_eq!((code, &summary["counts"]["ended"], server.calls()), (0, &json!(0), 0));
        assert_eq!((&summary["notices"]["waiting"], &summary["warnings"]), (&json!(1), &json!([])));
        // Nor is anything begun that could not be answered in time, and that is said.
        let (code, summary) = run(delivering(&db, &server, &["--no-end", "--max-seconds", "5"]));
        assert_eq!((code, &summary["notices"]["waiting"], server.calls()), (0, &json!(1), 0));
        assert_eq!(summary["warnings"], json!(["1 notice waits: max_seconds left no time to send"]));
        assert_eq!(column(&client, NOTICES).await, ["1 trial_reminder 6h pending"]);
        assert_eq!(column(&client, "SELECT DISTINCT status FROM subscriptions").await, ["active"]);
    });
}

#[test]
fn without_a_token_notices_wait_and_one_warning_says_so() {
    db_test(async |db| {
        let client = db.client().await;
        trial(&client, 1, HOUR * 7).await;
        trial(&client, 2, HOUR * 73).await;
        let (code, summary) = run(pass_over(&db, &[]));
        assert_eq!((code, &summary["counts"]["ended"]), (0, &json!(1)));
        assert_eq!(
            summary["warnings"],
            json!(["2 notices wait: there is no bot token (/etc/perennial/telegram-token)"])
        );
        assert_eq!(summary["notices"]["waiting"], 2);
    });
}

#[test]
fn a_dry_run_shows_its_plan_and_sends_nothing() {
    db_test(async |db| {
        let client = db.client().await;
        let (reminded, ended) = (trial(&client, 1, HOUR * 7).await, trial(&client, 2, HOUR * 73).await);
        let server = FakeTelegram::start().unwrap();
        let (code, summary) = run(delivering(&db, &server, &["--dry-run"]));
        assert_eq!((code, server.calls()), (0, 0));
        let expected = [format!("remind user 1 of trial {reminded}: 6h"), format!("end trial {ended} of user 2")];
        assert_eq!(summary["plan"], json!(expected));
        assert!(column(&client, NOTICES).await.is_empty());
    });
}

#[test]
fn the_brake_ends_with_4_and_tells_the_operator() {
    db_test(async |db| {
        let client = db.client().await;
        for user in 1..=3 {
            trial(&client, user, HOUR * 73).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("perennial.toml");
        let text = "[expire]\nmax_ends = 2\n[telegram]\nadmin_chat = -5\n[texts]\ndefault_language = \"en\"";
        std::fs::write(&settings, text).unwrap();
        let server = FakeTelegram::start().unwrap();
        let (code, summary) = run(delivering(&db, &server, &["--config", settings.to_str().unwrap()]));
        let counts = &summary["counts"];
        assert_eq!((code, &counts["ended"], &counts["left"]), (4, &json!(0), &json!(3)));
        assert!(server.messages_of(-5)[0].text.contains("notify-trials: 3 subscriptions are over at once"));
    });
}

#[test]
fn the_zone_of_the_host_changes_nothing_and_texts_have_the_receivers() {
    db_test(async |db| {
        let client = db.client().await;
        trial(&client, 1, HOUR * 61).await;
        client.batch_execute("UPDATE users SET time_zone = 'America/Sao_Paulo', language = 'en'").await.unwrap();
        let server = FakeTelegram::start().unwrap();
        let mut command = delivering(&db, &server, &[]);
        command.env("TZ", "Asia/Kolkata");
        assert_eq!(run(command).0, 0);
        let end = "SELECT (extract(epoch FROM expires_at) * 1000000)::bigint::text FROM subscriptions";
        assert_eq!(column(&client, "SELECT params ->> 'ends' FROM notices").await, column(&client, end).await);
        let local = "SELECT to_char(expires_at AT TIME ZONE 'America/Sao_Paulo', 'HH24:MI') FROM subscriptions";
        let (local, text) = (column(&client, local).await.concat(), server.messages()[0].text.clone());
        assert!(text.contains(&format!(", {local}.")), "{local} in {text}");
        let next = "SELECT (next_reminder_at = expires_at - interval '1 h')::text FROM subscriptions";
        assert_eq!(column(&client, next).await, ["true"]);
    });
}

#[test]
fn trials_end_whether_or_not_the_messenger_works() {
    let states = |fault: Option<Fault>| {
        let left = std::sync::Mutex::new(Vec::new());
        db_test(async |db| {
            let client = db.client().await;
            for (user, began) in [(1, 7), (2, 61), (3, 73), (4, 80)] {
                trial(&client, user, HOUR * began).await;
            }
            let server = FakeTelegram::start_with(Limits::NONE).unwrap();
            if let Some(fault) = fault.clone() {
                server.fail_all(fault);
            }
            let (code, summary) = run(delivering(&db, &server, &[]));
            assert_eq!((code, &summary["counts"]["ended"], &summary["counts"]["left"]), (0, &json!(2), &json!(0)));
            let state = "SELECT concat_ws(' ', s.telegram_id, s.status, c.closed_at IS NOT NULL, n.kind)
                         FROM subscriptions s JOIN credentials c ON c.id = s.credential_id
                         JOIN notices n ON n.subscription_id = s.id ORDER BY s.telegram_id";
            *left.lock().unwrap() = column(&client, state).await;
            let waiting = if fault.is_some() { "4" } else { "0" };
            assert_eq!(column(&client, "SELECT count(*)::text FROM notices WHERE status = 'pending'").await, [waiting]);
        });
        left.into_inner().unwrap()
    };
    let well = states(None);
    assert_eq!(well[2..], ["3 expiring t trial_over", "4 expiring t trial_over"]);
    for fault in [Fault::Page(503), Fault::UNAUTHORISED, Fault::throttle(3_600)] {
        assert_eq!(states(Some(fault.clone())), well, "{fault:?}");
    }
}

/// Notices that need no subscription, to two chats each number.
const ENDINGS: &str = "INSERT INTO notices (telegram_id, kind, dedupe_key, params)
    SELECT 1 + i / 2, 'trial_over', 'key:' || i, '{\"tariff\": \"basic_1m\", \"ended\": 1773154800000000}'
    FROM generate_series(1, 150) i";

#[test]
fn two_programs_at_once_keep_the_limits_of_the_server() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        client.batch_execute(ENDINGS).await.unwrap();
        let server = FakeTelegram::start().unwrap();
        let begun = Instant::now();
        let start = || delivering(&db, &server, &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (one, other) = (start(), start());
        for child in [one, other] {
            assert_eq!(ended(&child.wait_with_output().unwrap()).0, 0);
        }
        println!("150 messages by two programs in {:?}", begun.elapsed());
        assert_eq!((server.messages().len(), server.throttled()), (150, 0));
        assert_eq!(column(&client, "SELECT DISTINCT status FROM notices").await, ["sent"]);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_running_pass_leaves_no_core_dump_with_the_token_in_it() {
    // A database that takes the call and says nothing: the pass runs until it is stopped.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut command = notify_trials();
    command
        .env("DATABASE_URL", format!("postgres://nobody@127.0.0.1:{port}/nowhere?sslmode=disable"))
        .env("PERENNIAL_CONFIG", "/dev/null")
        .env("PERENNIAL_TELEGRAM_TOKEN", TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut pass = command.spawn().unwrap();
    let called = mute.accept().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pass.id())).unwrap();
    pass.kill().unwrap();
    pass.wait().unwrap();
    drop(called);
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
}

#[test]
fn the_token_is_in_no_output_whatever_goes_wrong() {
    db_test_unchecked(async |db| {
        let client = db.client().await;
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let mut printed = String::new();
        let mut print = |mut command: Command| {
            let output = command.output().unwrap();
            printed.push_str(&String::from_utf8_lossy(&output.stdout));
            printed.push_str(&String::from_utf8_lossy(&output.stderr));
        };
        // Those that hang would take eight seconds each; the client's own tests have them.
        let hangs = |fault: &Fault| matches!(fault, Fault::HangBeforeAnswer { .. } | Fault::HangInBody);
        for (fault, chat) in Fault::every().into_iter().filter(|fault| !hangs(fault)).zip(1..) {
            let sql = format!(
                "INSERT INTO notices (telegram_id, kind, dedupe_key, params)
                 VALUES ({chat}, 'trial_over', 'key:{chat}', '{{\"tariff\": \"basic_1m\", \"ended\": 1773154800000000}}')"
            );
            client.batch_execute(&sql).await.unwrap();
            server.heal();
            server.fail_call(1, fault);
            let format = if chat % 2 == 0 { "json" } else { "text" };
            print(delivering(&db, &server, &["-vv", "--max-seconds", "20", "--log-format", format]));
        }
        client.batch_execute("UPDATE notices SET status = 'pending', not_before = now()").await.unwrap();
        print(delivering(&db, &server, &["-vv", "--telegram-api", "http://127.0.0.1:1"]));
        let mut bad_token = delivering(&db, &server, &["-vv"]);
        bad_token.env("PERENNIAL_TELEGRAM_TOKEN", format!("{TOKEN} {TOKEN}"));
        print(bad_token);
        for flags in [&["--check-config"][..], &["--help"], &["--no-such-flag"]] {
            print(delivering(&db, &server, flags));
        }
        assert!(server.calls() > 20, "{}", server.calls());
        for failure in ["sent or not", "not sent", "cannot be reached", "refused", "throttled", "moved", "bot token"] {
            assert!(printed.contains(failure), "{failure} was not met");
        }
        assert!(!printed.contains(SECRET), "the token was printed");
        let told = "SELECT last_error FROM notices WHERE last_error IS NOT NULL
                    UNION ALL SELECT summary::text FROM runs WHERE summary IS NOT NULL";
        assert!(!column(&client, told).await.concat().contains(SECRET), "the token is in the database");
    });
}
