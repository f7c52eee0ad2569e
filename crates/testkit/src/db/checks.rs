//! The invariants of the books, as queries that name what breaks them.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::server::fatal;

/// Rows of one broken invariant that are shown; the rest is counted.
const ROWS_SHOWN: usize = 20;

/// Runs every query of `sql/checks`: each returns a row (subject, problem) for whatever breaks it.
///
/// # Panics
/// With those rows, when there are any, and when a check cannot be run.
pub async fn check_invariants(client: &Client) {
    check_all_of(client, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/checks")).await;
}

async fn check_all_of(client: &Client, folder: &Path) {
    let mut complaints = Vec::new();
    for file in check_files(folder) {
        complaints.extend(complaints_of(client, &file).await);
    }
    assert!(complaints.is_empty(), "broken invariants:\n{}", complaints.join("\n"));
}

async fn complaints_of(client: &Client, file: &Path) -> Option<String> {
    let name = file.file_stem().unwrap_or_default().display();
    let query = fs::read_to_string(file).unwrap_or_else(|error| fatal(&format!("cannot read check {name}"), &error));
    let answer = client.simple_query(&query).await;
    let answer = answer.unwrap_or_else(|error| fatal(&format!("cannot run check {name}"), &error));
    let broken: Vec<String> = answer
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(complaint(row)),
            _ => None,
        })
        .collect();
    let shown = broken.iter().take(ROWS_SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    (!broken.is_empty()).then(|| format!("{name}: {} rows\n{shown}", broken.len()))
}

fn complaint(row: &SimpleQueryRow) -> String {
    let column = |index| row.try_get(index).ok().flatten().unwrap_or("?");
    format!("  {}: {}", column(0), column(1))
}

/// In the order of their names, so that two runs complain alike.
fn check_files(folder: &Path) -> Vec<PathBuf> {
    // No folder, no checks.
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "sql")).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db_test_unchecked;

    #[test]
    fn a_sound_book_passes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wallets.sql"), "SELECT 'wallet 1', 'is short' WHERE false;").unwrap();
        db_test_unchecked(async |db| check_all_of(&db.client().await, folder.path()).await);
    }

    #[test]
    #[should_panic(expected = "wallets: 2 rows\n  wallet 1: is short\n  wallet 2: is short")]
    fn what_breaks_an_invariant_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let query = "-- each\nSELECT 'wallet ' || n, 'is short' FROM generate_series(1, 2) AS n;";
        fs::write(folder.path().join("wallets.sql"), query).unwrap();
        db_test_unchecked(async |db| check_all_of(&db.client().await, folder.path()).await);
    }

    #[test]
    #[should_panic(expected = "cannot run check wallets")]
    fn a_check_that_cannot_run_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wallets.sql"), "SELECT FROM no_such_table").unwrap();
        db_test_unchecked(async |db| check_all_of(&db.client().await, folder.path()).await);
    }
}
