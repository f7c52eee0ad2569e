//! The examples for bots (docs/examples) do on a real database, under the role a bot has, what they say.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stderr)] // what is skipped is said

mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{number, run};
use perennial_testkit::{TestDb, db_test};
use serde_json::{Value, json};

const ROLES: &str = include_str!("../../sql/roles.sql");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of what scripts/install-example-tools.sh installs. None, loudly, where it is missing; in CI that fails.
fn tools(start: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cache")).join("perennial");
    let folders = std::fs::read_dir(cache).into_iter().flatten().map(|entry| entry.unwrap().path());
    let found = folders.into_iter().find(|folder| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)) && folder.is_dir()
    });
    if found.is_none() {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{start}: run scripts/install-example-tools.sh");
        eprintln!("SKIPPED: {start} is missing; scripts/install-example-tools.sh installs it");
    }
    found
}

/// Runs an example as a bot that may do nothing but call the functions and read the views.
async fn example(db: &TestDb, command: &mut Command) -> Value {
    let client = db.client().await;
    run(&client, ROLES).await;
    run(&client, "INSERT INTO tariffs VALUES ('basic_1m', 'basic', 'month', 1, 30000, true)").await;
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options=-c%20role%3Dperennial_bot", db.url());
    let output = command.args(["1001", "basic_1m", "50000"]).env("DATABASE_URL", url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let charges = "SELECT count(*) FROM transfers WHERE kind = 'charge'";
    assert_eq!(number(&client, charges).await, 1, "two calls with one key charge once");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_told(told: &Value) {
    let mut told = told.clone();
    assert!(told["email"].as_str().unwrap().starts_with("p."), "{told}");
    assert!(told["subscription_id"].as_i64().unwrap() > 0, "{told}");
    let members = told.as_object_mut().unwrap();
    members.remove("email");
    members.remove("subscription_id");
    let expected = json!({
        "topped_up_to": 50_000, "same_answer": true, "second_purchase": "PK002", "balance_kopecks": 20_000,
    });
    assert_eq!(told, expected);
}

#[test]
fn the_example_in_python_sells_once_and_is_told_why_not_twice() {
    let Some(packages) = tools("example-python-") else { return };
    db_test(async |db| {
        let mut python = Command::new("python3");
        python.arg(root().join("docs/examples/bot.py")).env("PYTHONPATH", packages);
        assert_told(&example(&db, &mut python).await);
    });
}

#[test]
fn the_example_in_typescript_sells_once_and_is_told_why_not_twice() {
    let Some(packages) = tools("example-node-") else { return };
    db_test(async |db| {
        // Modules are looked for beside the file that names them.
        let copy = packages.join(format!("bot-{}.mts", std::process::id()));
        std::fs::copy(root().join("docs/examples/bot.ts"), &copy).unwrap();
        let mut node = Command::new(packages.join("node_modules/.bin/tsx"));
        let told = example(&db, node.arg(&copy)).await;
        std::fs::remove_file(&copy).unwrap();
        assert_told(&told);
    });
}
