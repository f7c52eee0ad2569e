use time::macros::datetime;

use super::*;
use crate::report::{EndToProof, Notices};
use perennial_core::db::LedgerTotals;

fn metrics<'a>(report: &'a Report, succeeded_at: Option<Timestamp>) -> Metrics<'a> {
    let exit = if succeeded_at.is_some() { Exit::Done } else { Exit::Unavailable };
    Metrics {
        pass: Pass::Renew,
        mode: Mode::Full,
        exit,
        took: Duration::from_millis(1_034),
        report,
        books: Books::default(),
        succeeded_at,
    }
}

fn full() -> Report {
    Report {
        counts: vec![("listed", 3), ("renewed", 2), ("left", 1)],
        oldest_due_seconds: 60,
        notices: Notices { written: 2, waiting: 5, ..Notices::default() },
        ..Report::default()
    }
}

/// The files beside this one are also what promtool is tried with.
fn must_be(page: &str, expected: &str) {
    assert!(page == expected, "expected:\n{expected}\nwritten:\n{page}");
}

#[test]
fn the_file_is_what_the_collector_reads() {
    let report = full();
    let totals = LedgerTotals { wallets: Kopecks(123), charged: Kopecks(456), refunded: Kopecks(56) };
    let books = Books { totals: Some(totals), parked_rows: Some(7) };
    let page = Metrics { books, ..metrics(&report, Some(datetime!(2026-11-24 12:00 UTC))) }.render("");
    must_be(&page, include_str!("renew.prom"));
}

#[test]
fn a_pass_without_money_and_servers_shows_neither() {
    let report = Report { counts: vec![("listed", 2), ("reminded", 2)], ..Report::default() };
    let page =
        Metrics { pass: Pass::NotifyTrials, ..metrics(&report, Some(datetime!(2026-11-24 12:00 UTC))) }.render("");
    must_be(&page, include_str!("notify-trials.prom"));
}

#[test]
fn proofs_are_shown_by_quantile() {
    let node = serde_json::json!({ "name": "de1", "reachable": true, "removed": 2, "proven": 2 });
    let report = Report {
        counts: vec![("listed", 2), ("ended", 2)],
        end_to_proof: Some(EndToProof { p50: 1, p99: 2, oldest: 3 }),
        nodes: vec![node],
        ..Report::default()
    };
    let page = Metrics { pass: Pass::ExpireFast, ..metrics(&report, Some(datetime!(2026-11-24 12:00 UTC))) }.render("");
    must_be(&page, include_str!("expire-fast.prom"));
}

#[test]
fn servers_are_shown_by_name_and_kind() {
    let up = serde_json::json!({
        "name": "de1", "reachable": true, "listed": 9, "entitled": 8, "missing": 2, "removed": 1, "failed": 0,
        "refused_because": "more than 20 % would go",
    });
    let down = serde_json::json!({ "name": "fi1", "reachable": false, "refused_because": null });
    let report = Report { nodes: vec![up, down], ..Report::default() };
    let page = Metrics { pass: Pass::ReconcileXray, ..metrics(&report, None) }.render("");
    must_be(&page, include_str!("reconcile-xray.prom"));
}

#[test]
fn a_failing_run_keeps_the_time_of_the_last_success() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("renew.prom");
    let line = |wanted: &str| std::fs::read_to_string(&file).unwrap().lines().any(|line| line == wanted);
    let report = full();

    metrics(&report, None).write(&file).unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("last_success"));
    metrics(&report, Some(datetime!(2026-11-24 12:00 UTC))).write(&file).unwrap();
    for _ in 0..2 {
        metrics(&report, None).write(&file).unwrap();
        assert!(line("perennial_pass_last_success_timestamp_seconds{pass=\"renew\"} 1795521600"));
        assert!(line("perennial_pass_exit_code{pass=\"renew\"} 69"));
    }
    metrics(&report, Some(datetime!(2026-11-24 12:10 UTC))).write(&file).unwrap();
    assert!(line("perennial_pass_last_success_timestamp_seconds{pass=\"renew\"} 1795522200"));

    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["renew.prom"], "nothing is left beside it");
}

#[test]
fn a_file_shared_with_another_pass_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("perennial.prom");
    let report = full();
    let write = |pass| Metrics { pass, ..metrics(&report, None) }.write(&file).unwrap().other_pass;
    assert_eq!(write(Pass::Renew), None);
    assert_eq!(write(Pass::Renew), None);
    assert_eq!(write(Pass::ExpireFast).as_deref(), Some("renew"));
}

#[test]
fn a_mangled_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("renew.prom");
    std::fs::write(&file, "perennial_pass_last_success_timestamp_seconds{pass=\"renew\"} 12\" evil\n{pass=\"").unwrap();
    let report = full();
    metrics(&report, None).write(&file).unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("evil"));
}
