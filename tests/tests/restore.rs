//! Dumps of PostgreSQL's own tools bring the books back exactly, or not at all: never the money twice.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stderr)] // what is skipped is said

mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::calls::{answer, refused_by};
use common::refusal::{CHECK, assert_refused};
use common::{balance, digest, number, run, text, texts};
use perennial_testkit::cluster::find_bin_dir;
use perennial_testkit::{TestDb, check_invariants, db_test};
use tokio_postgres::{Client, NoTls};

/// PostgreSQL's programs, in the server's version where they are found.
struct Tools {
    folder: PathBuf,
    dumps: tempfile::TempDir,
}

impl Tools {
    /// None, loudly, where `pg_dump` or `psql` is not installed.
    fn find() -> Option<Self> {
        let given = env::var_os("PERENNIAL_PG_BINDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let on_path = env::var_os("PATH").unwrap_or_default();
        let folders =
            given.into_iter().chain(find_bin_dir().ok()).chain(env::split_paths(&on_path).collect::<Vec<_>>());
        let found = folders
            .into_iter()
            .find(|folder| ["pg_dump", "pg_restore", "psql"].iter().all(|program| folder.join(program).is_file()));
        let Some(folder) = found else {
            eprintln!("SKIPPED: no pg_dump, pg_restore and psql found, so dumps and restores are not tested here");
            return None;
        };
        Some(Self { folder, dumps: tempfile::tempdir().unwrap() })
    }

    fn run(&self, program: &str, url: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.folder.join(program));
        command.arg("--dbname").arg(url).args(arguments).env("LC_ALL", "C").env("PGOPTIONS", "");
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Dumps a database to a file.
    fn dump(&self, db: &TestDb, arguments: &[&str]) -> PathBuf {
        let file = self.dumps.path().join(format!("dump{}", arguments.join("")));
        let mut all: Vec<&str> = vec!["--file", file.to_str().unwrap()];
        all.extend(arguments);
        must_work("pg_dump", &self.run("pg_dump", db.url(), &all));
        file
    }

    /// Runs a dump as one transaction that ends with the first error.
    fn load(&self, url: &str, file: &Path) -> Output {
        let file = file.to_str().unwrap();
        self.run("psql", url, &["--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", file])
    }
}

fn must_work(program: &str, output: &Output) {
    assert!(output.status.success(), "{program}: {}", stderr(output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An empty database beside the test's own.
struct Copy {
    name: String,
    url: String,
}

impl Copy {
    async fn beside(db: &TestDb, client: &Client, which: &str) -> Self {
        let name = format!("{}_{which}", db.name());
        run(client, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        Self { url: db.url().replace(db.name(), &name), name }
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        drop(tokio::spawn(connection));
        client
    }

    async fn drop(self, client: &Client) {
        run(client, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// Books in which everything has happened: money in and out, refunds, rows in all states, notices, parked rows.
async fn book(db: &TestDb) -> Client {
    let client = db.client().await;
    run(&client, include_str!("../../sql/roles.sql")).await;
    run(
        &client,
        "INSERT INTO tariffs VALUES ('basic_30', 'basic', 'day', 30, 10000, true),
            ('plus_1m', 'plus', 'month', 1, 0, true)",
    )
    .await;
    for user in 1..=20 {
        for call in [
            format!("perennial_ensure_user({user}, 'ru', 'Asia/Kolkata')"),
            format!("perennial_top_up({user}, {}, 'in:{user}')", 25_000 + user),
            format!("perennial_start_trial({user}, 'basic_30', 72, 'trial:{user}')"),
            format!("perennial_buy({user}, 'basic_30', true, 'first:{user}')"),
            format!("perennial_buy({user}, 'basic_30', true, 'second:{user}')"),
        ] {
            answer(&client, &call).await;
        }
    }
    for call in [
        "perennial_refund(2, 'asked for', 'refund')",
        "perennial_rotate(2, 'basic', 'rotate')",
        "perennial_cancel(6, 'cancel')",
        "perennial_ensure_user(21, NULL, NULL)",
        "perennial_buy(21, 'plus_1m', true, 'free')",
    ] {
        answer(&client, call).await;
    }
    run(
        &client,
        "BEGIN;
         UPDATE subscriptions SET status = 'expiring', ended_at = now() WHERE telegram_id IN (4, 5);
         UPDATE credentials SET closed_at = now() WHERE telegram_id IN (4, 5) AND closed_at IS NULL;
         UPDATE subscriptions SET status = 'expired', credential_id = NULL, expired_at = now() WHERE telegram_id = 5;
         UPDATE credentials SET retired_at = now() WHERE telegram_id = 5;
         INSERT INTO discounts VALUES (7, 15, 'infinity');
         INSERT INTO notices (telegram_id, kind, dedupe_key, params) VALUES (7, 'short', 'short:7', '{\"missing\": 1}');
         INSERT INTO parked (pass, subscription, tries, reason) VALUES ('renew', 9, 3, E'line\\n\\ttab \\\\ \"quote\" ё');
         UPDATE users SET vip = true WHERE telegram_id IN (1, 3);
         COMMIT",
    )
    .await;
    client
}

/// The copy is the original to the last bit, its guards stand, and work goes on in it.
async fn assert_exact(client: &Client, copy: &Copy) {
    let copied = copy.client().await;
    assert_eq!(digest(&copied).await, digest(client).await);
    let triggers = "SELECT concat_ws(' ', tgrelid::regclass, tgname, tgenabled, tgtype) FROM pg_trigger
                    WHERE NOT tgisinternal ORDER BY 1";
    assert_eq!(texts(&copied, triggers).await, texts(client, triggers).await);
    let acl = "SELECT concat_ws(' ', proname, proacl, prosecdef, proconfig) FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace ORDER BY 1";
    assert_eq!(texts(&copied, acl).await, texts(client, acl).await);
    check_invariants(&copied).await;

    let repeated = "perennial_buy(3, 'basic_30', true, 'second:3')";
    assert_eq!(answer(&copied, repeated).await, answer(client, repeated).await);
    assert_eq!(refused_by(&copied, "perennial_top_up(3, 1, 'second:3')").await, "PK001");
    assert_refused(&copied, "UPDATE transfers SET amount_kopecks = 1", CHECK, "transfers_append_only").await;
    assert_refused(&copied, "UPDATE accounts SET balance_kopecks = 1", CHECK, "accounts_balance_is_the_ledgers").await;
    let before = balance(&copied, 3).await;
    answer(&copied, "perennial_top_up(3, 20000, 'new')").await;
    answer(&copied, "perennial_buy(3, 'basic_30', true, 'newer')").await;
    answer(&copied, "perennial_ensure_user(99, NULL, NULL)").await; // ids go on where they were
    answer(&copied, "perennial_grant(99, 'plus_1m', 3, 'newest')").await;
    assert_eq!(balance(&copied, 3).await, before + 20_000 - 7_000);
    check_invariants(&copied).await;
}

#[test]
fn a_full_dump_restores_exactly() {
    let Some(tools) = Tools::find() else { return };
    db_test(async |db| {
        let client = book(&db).await;
        let copy = Copy::beside(&db, &client, "plain").await;
        must_work("psql", &tools.load(&copy.url, &tools.dump(&db, &[])));
        assert_exact(&client, &copy).await;
        copy.drop(&client).await;

        let copy = Copy::beside(&db, &client, "custom").await;
        let file = tools.dump(&db, &["--format=custom"]);
        must_work("pg_restore", &tools.run("pg_restore", &copy.url, &["--exit-on-error", file.to_str().unwrap()]));
        assert_exact(&client, &copy).await;
        copy.drop(&client).await;
    });
}

#[test]
fn schema_and_data_with_triggers_disabled_restore_exactly() {
    let Some(tools) = Tools::find() else { return };
    db_test(async |db| {
        let client = book(&db).await;
        let copy = Copy::beside(&db, &client, "two").await;
        must_work("psql", &tools.load(&copy.url, &tools.dump(&db, &["--schema-only"])));
        must_work("psql", &tools.load(&copy.url, &tools.dump(&db, &["--data-only", "--disable-triggers"])));
        assert_exact(&client, &copy).await;
        copy.drop(&client).await;
    });
}

#[test]
fn data_alone_with_triggers_at_work_is_refused_and_nothing_is_doubled() {
    let Some(tools) = Tools::find() else { return };
    db_test(async |db| {
        let client = book(&db).await;
        let schema = tools.dump(&db, &["--schema-only"]);
        let data = tools.dump(&db, &["--data-only"]);
        let total = "SELECT coalesce(sum(balance_kopecks), 0) FROM accounts";
        let all_money = number(&client, total).await;
        // What a migration puts into a new database, and a dump of the schema does not.
        let of_a_migration = "INSERT INTO installation DEFAULT VALUES;
                              INSERT INTO accounts (id, kind) VALUES (1, 'revenue'), (2, 'inflow'), (3, 'adjustment')";
        for (which, prelude) in [("bare", "SELECT"), ("migrated", of_a_migration)] {
            let copy = Copy::beside(&db, &client, which).await;
            must_work("psql", &tools.load(&copy.url, &schema));
            let copied = copy.client().await;
            run(&copied, prelude).await;
            let before = digest(&copied).await;
            let refused = tools.load(&copy.url, &data);
            assert_eq!(refused.status.code(), Some(3), "{which}: {}", stderr(&refused));
            assert_eq!(digest(&copied).await, before, "{which}");

            // Somebody who ignores all errors: still no kopeck too many, and the books are what the ledger says.
            let file = data.to_str().unwrap();
            let ignored = tools.run("psql", &copy.url, &["--no-psqlrc", "-q", "-f", file]);
            assert!(stderr(&ignored).contains("ERROR:"), "{which}");
            assert!(number(&copied, total).await <= all_money, "{which}");
            let from_the_ledger = "SELECT count(*) FROM accounts a WHERE a.balance_kopecks <> (
                SELECT coalesce(sum(CASE t.credit_account WHEN a.id THEN t.amount_kopecks ELSE -t.amount_kopecks END), 0)
                FROM transfers t WHERE a.id IN (t.credit_account, t.debit_account))";
            assert_eq!(number(&copied, from_the_ledger).await, 0, "{which}");
            copy.drop(&client).await;
        }
    });
}

/// The rule that refuses it is named, with what to do instead.
#[test]
fn accounts_with_money_come_back_only_with_triggers_disabled() {
    let Some(tools) = Tools::find() else { return };
    db_test(async |db| {
        let client = book(&db).await;
        let copy = Copy::beside(&db, &client, "accounts").await;
        must_work("psql", &tools.load(&copy.url, &tools.dump(&db, &["--schema-only"])));
        let refused = tools.load(&copy.url, &tools.dump(&db, &["--data-only", "--table=accounts"]));
        let said = stderr(&refused);
        assert!(said.contains("insert of accounts is refused") && said.contains("--disable-triggers"), "{said}");
        // Without the rule it would go through: the later transfers would then count a second time.
        run(&copy.client().await, "ALTER TABLE accounts DISABLE TRIGGER accounts_start_empty").await;
        let with_users = tools.dump(&db, &["--data-only", "--table=users", "--disable-triggers"]);
        must_work("psql", &tools.load(&copy.url, &with_users));
        must_work("psql", &tools.load(&copy.url, &tools.dump(&db, &["--data-only", "--table=accounts"])));
        let sum = "SELECT sum(balance_kopecks) FROM accounts";
        assert_eq!(text(&copy.client().await, sum).await, text(&client, sum).await);
        copy.drop(&client).await;
    });
}
