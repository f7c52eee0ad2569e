//! Documents that name tests name tests that exist.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::fs;
use std::path::{Path, PathBuf};

use perennial_boot::Exit;
use perennial_testkit::db_test;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Names in `code` in the last column of a table row whose first column is a letter and a number.
fn named_tests(document: &str) -> Vec<(String, String)> {
    let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_row = cells[0].split_once('-').is_some_and(|(letter, number)| letter.len() == 1 && is_number(number));
        is_row.then(|| (cells[0].to_owned(), (*cells.last().unwrap()).to_owned()))
    });
    rows.collect()
}

/// How many rows each letter has: a row that is lost is missed.
const ROWS: &[(&str, usize)] = &[("A", 38), ("T", 28), ("E", 18), ("R", 14), ("G", 19), ("O", 18)];
/// The requirements that are answered.
const REQUIREMENTS: [&str; 6] = ["W-1", "W-2", "W-7", "W-8", "W-9", "W-18"];

/// Each of these rows names tests, and they are there.
fn assert_tested(rows: Vec<(String, String)>) {
    let mut code = String::new();
    for folder in ["crates", "bin", "tests", "deploy"] {
        sources(&root().join(folder), &mut code);
    }
    for (number, tests) in rows {
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{number} names no test");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{number}: there is no test {name}");
        }
    }
}

#[test]
fn every_requirement_names_tests_that_are_there() {
    let rows = named_tests(&fs::read_to_string(root().join("docs/requirements.md")).unwrap());
    assert_eq!(rows.iter().map(|(number, _)| number.as_str()).collect::<Vec<_>>(), REQUIREMENTS);
    assert_tested(rows);
}

#[test]
fn every_known_defect_names_a_test_that_is_there() {
    let document = fs::read_to_string(root().join("docs/known-defects.md")).unwrap();
    let rows = named_tests(&document);
    for (letter, last) in ROWS {
        for number in 1..=*last {
            let number = format!("{letter}-{number:02}");
            assert_eq!(rows.iter().filter(|(row, _)| *row == number).count(), 1, "{number}");
        }
    }
    let known = |number: &str| ROWS.iter().any(|(letter, _)| number.starts_with(&format!("{letter}-")));
    assert!(rows.iter().all(|(number, _)| known(number)), "a letter is missing in ROWS");
    assert_tested(rows);
}

/// The headings of a document, without their marks.
fn headings(document: &str) -> Vec<String> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim().to_owned()).collect()
}

#[test]
fn the_runbook_tells_of_every_exit_code() {
    let told = headings(&fs::read_to_string(root().join("docs/operations.md")).unwrap());
    for exit in [
        Exit::Done,
        Exit::Unforeseen,
        Exit::Usage,
        Exit::Partial,
        Exit::Refused,
        Exit::Unavailable,
        Exit::Stopped,
        Exit::Configuration,
        Exit::Panicked,
        Exit::Signalled(2),
    ] {
        let heading = format!("Exit code {exit}");
        assert!(told.contains(&heading), "docs/operations.md has no heading {heading:?}");
        // A variant that is new here makes this match refuse to compile: it wants a heading and a line above.
        match exit {
            Exit::Done | Exit::Unforeseen | Exit::Usage | Exit::Partial | Exit::Refused => {}
            Exit::Unavailable | Exit::Stopped | Exit::Configuration | Exit::Panicked | Exit::Signalled(_) => {}
        }
    }
}

#[test]
fn the_runbook_tells_of_every_reason_for_which_a_row_is_parked() {
    let told = headings(&fs::read_to_string(root().join("docs/operations.md")).unwrap());
    let plan = fs::read_to_string(root().join("bin/renew/src/plan.rs")).unwrap();
    let reasons: Vec<String> = plan
        .split("Action::Park { reason: format!(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("{}", "…"))
        .collect();
    assert!(reasons.len() >= 2, "the reader finds no reasons: {reasons:?}");
    for reason in reasons {
        assert!(told.contains(&reason), "docs/operations.md has no heading {reason:?}");
    }
}

#[test]
fn the_runbook_tells_of_every_alert() {
    let told = headings(&fs::read_to_string(root().join("docs/operations.md")).unwrap());
    // A source tree without packaging has no alerts to tell of.
    if !root().join("deploy").exists() {
        return;
    }
    let rules = fs::read_to_string(root().join("deploy/prometheus/perennial.rules.yml")).unwrap();
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert:")).map(str::trim).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(told.iter().any(|heading| heading == alert), "docs/operations.md has no heading {alert}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut files = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    files.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            let is_ours = !path.is_empty() && !path.contains(':') && !path.contains(' ');
            assert!(!is_ours || file.parent().unwrap().join(path).exists(), "{}: {link}", file.display());
        }
    }
}

#[test]
fn what_may_be_deleted_may_be_deleted_and_the_rest_is_refused() {
    db_test(async |db| {
        let document = fs::read_to_string(root().join("docs/retention.md")).unwrap();
        let statements = document.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
        let client = db.client().await;
        client.batch_execute(&format!("{OLD_SERVICE} {statements} {statements}")).await.unwrap();
        for table in ["runs", "notices", "requests"] {
            let row = client.query_typed_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 1, "of two rows of {table} the young one stays");
        }
        for table in ["accounts", "transfers", "payments", "credentials", "audit_log"] {
            let refused = client.batch_execute(&format!("DELETE FROM {table}")).await.unwrap_err();
            assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("23514"), "{table}");
        }
    });
}

/// Of each table that may be trimmed, an old row and a young one.
const OLD_SERVICE: &str = "
    INSERT INTO runs (run_id, pass, version, finished_at)
    SELECT gen_random_uuid(), 'renew', '0', now() - age FROM unnest(ARRAY[interval '1 day', '500 days']) AS age;
    INSERT INTO notices (telegram_id, kind, dedupe_key, status, created_at)
    SELECT 1, 'trial_over', age, 'sent', now() - age FROM unnest(ARRAY[interval '1 day', '500 days']) AS age;
    INSERT INTO requests (idempotency_key, function, inputs, created_at)
    SELECT age, 'buy', '{}', now() - age FROM unnest(ARRAY[interval '1 day', '500 days']) AS age;";

/// Unique keys that do not contain the customer, but for those of tables that are small and the same everywhere.
const KEYS_WITHOUT_CUSTOMER: &str = "
    SELECT c.relname || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
    WHERE i.indisunique
        AND c.relname IN ('transfers', 'requests', 'notices', 'credentials', 'payments', 'removals', 'audit_log', 'subscriptions')
    GROUP BY c.relname, i.indexrelid
    HAVING NOT bool_or(a.attname = 'telegram_id')
    ORDER BY 1";

#[test]
fn the_page_about_scaling_names_every_table_whose_keys_do_not_contain_the_customer() {
    db_test(async |db| {
        let document = fs::read_to_string(root().join("docs/scaling.md")).unwrap();
        let rows = db.client().await.query_typed(KEYS_WITHOUT_CUSTOMER, &[]).await.unwrap();
        assert!(rows.len() > 8, "{} keys", rows.len());
        for row in rows {
            let key: String = row.get(0);
            let table = key.split(' ').next().unwrap();
            let is_told = document.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{table}")));
            assert!(is_told, "docs/scaling.md does not tell of {key}");
        }
    });
}

/// What a bot may call and read, as its page writes it: `name(input type, …)` and `name`, each with what it answers.
const BOT_INTERFACE: &str = "
    SELECT p.proname || '(' || (
            SELECT string_agg(i.name || ' ' || format_type(i.type, NULL), ', ' ORDER BY i.nth)
            FROM unnest(p.proargnames, p.proargtypes::oid[]) WITH ORDINALITY AS i (name, type, nth)
            WHERE i.type IS NOT NULL
        ) || ')',
        (SELECT string_agg(o.name, ', ' ORDER BY o.nth)
         FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY AS o (name, mode, nth) WHERE o.mode = 'o')
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'perennial\\_%' AND p.proname <> 'perennial_now'
    UNION ALL
    SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
    GROUP BY c.relname";

#[test]
fn the_page_for_bots_says_every_function_and_view_as_it_is() {
    db_test(async |db| {
        let document = fs::read_to_string(root().join("docs/integration.md")).unwrap();
        let rows = db.client().await.query_typed(BOT_INTERFACE, &[]).await.unwrap();
        assert!(rows.len() >= 13, "{} rows", rows.len());
        for row in rows {
            let (called, answers): (String, Option<String>) = (row.get(0), row.get(1));
            let told = document.lines().find(|line| line.starts_with(&format!("| `{called}`")));
            let told = told.unwrap_or_else(|| panic!("docs/integration.md has no row for `{called}`"));
            // "the same" as the row above it.
            let answers = answers.filter(|_| !told.ends_with("| the same |"));
            assert!(answers.is_none_or(|answers| told.ends_with(&format!("| {answers} |"))), "{told}");
        }
    });
}
