use perennial_core::money::Kopecks;
use time::macros::datetime;

use super::*;
use crate::report::{Books, EndToProof, Notices};

fn metrics<'a>(report: &'a Report, succeeded_at: Option<Timestamp>) -> Metrics<'a> {
    let exit = if succeeded_at.is_some() { Exit::Done } else { Exit::Unavailable };
    Metrics { pass: "renew", exit, took: Duration::from_millis(1_034), report, succeeded_at }
}

fn full() -> Report {
    Report {
        counts: vec![("listed", 3), ("renewed", 2), ("left", 1)],
        oldest_due_seconds: 60,
        notices: Notices { written: 2, waiting: 5, ..Notices::default() },
        books: Books { wallets: Some(Kopecks(123)), revenue: Some(Kopecks(456)), parked_rows: Some(7) },
        ..Report::default()
    }
}

#[test]
fn the_file_is_what_the_collector_reads() {
    let report = full();
    let page = metrics(&report, Some(datetime!(2026-11-24 12:00 UTC))).render("");
    assert_eq!(
        page,
        "\
# HELP perennial_pass_last_success_timestamp_seconds When the pass last succeeded, Unix time of the database
# TYPE perennial_pass_last_success_timestamp_seconds gauge
perennial_pass_last_success_timestamp_seconds{pass=\"renew\"} 1795521600
# HELP perennial_pass_duration_seconds How long the last pass took
# TYPE perennial_pass_duration_seconds gauge
perennial_pass_duration_seconds{pass=\"renew\"} 1.034
# HELP perennial_pass_exit_code Exit code of the last pass
# TYPE perennial_pass_exit_code gauge
perennial_pass_exit_code{pass=\"renew\"} 0
# HELP perennial_pass_rows Rows of the last pass by outcome
# TYPE perennial_pass_rows gauge
perennial_pass_rows{pass=\"renew\",outcome=\"listed\"} 3
perennial_pass_rows{pass=\"renew\",outcome=\"renewed\"} 2
# HELP perennial_pass_left Rows due that the last pass left
# TYPE perennial_pass_left gauge
perennial_pass_left{pass=\"renew\"} 1
# HELP perennial_pass_oldest_due_seconds Age of the oldest row due and left
# TYPE perennial_pass_oldest_due_seconds gauge
perennial_pass_oldest_due_seconds{pass=\"renew\"} 60
# HELP perennial_notices Notices of the last pass by state
# TYPE perennial_notices gauge
perennial_notices{pass=\"renew\",state=\"written\"} 2
perennial_notices{pass=\"renew\",state=\"sent\"} 0
perennial_notices{pass=\"renew\",state=\"dropped\"} 0
perennial_notices{pass=\"renew\",state=\"dead\"} 0
perennial_notices{pass=\"renew\",state=\"waiting\"} 5
# HELP perennial_wallets_kopecks All money in wallets
# TYPE perennial_wallets_kopecks gauge
perennial_wallets_kopecks 123
# HELP perennial_revenue_kopecks_total All charges less refunds
# TYPE perennial_revenue_kopecks_total counter
perennial_revenue_kopecks_total 456
# HELP perennial_parked_rows Rows parked for the pass
# TYPE perennial_parked_rows gauge
perennial_parked_rows{pass=\"renew\"} 7
"
    );
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
    assert_eq!(write("renew"), None);
    assert_eq!(write("renew"), None);
    assert_eq!(write("expire-fast").as_deref(), Some("renew"));
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

#[test]
fn proofs_are_shown_by_quantile() {
    let report = Report { end_to_proof: Some(EndToProof { p50: 1, p99: 2, oldest: 3 }), ..Report::default() };
    let page = Metrics { pass: "expire-fast", ..metrics(&report, None) }.render("");
    for (quantile, seconds) in [("0.5", 1), ("0.99", 2), ("oldest", 3)] {
        let line = format!("perennial_end_to_proof_seconds{{pass=\"expire-fast\",quantile=\"{quantile}\"}} {seconds}");
        assert!(page.lines().any(|shown| shown == line), "{page}");
    }
}
