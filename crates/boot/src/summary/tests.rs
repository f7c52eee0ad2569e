use perennial_core::money::Kopecks;
use time::macros::datetime;
use uuid::uuid;

use super::*;

fn summary<'a>(exit: Exit, report: &'a Report, error: Option<&'a str>) -> Summary<'a> {
    Summary {
        pass: Pass::Renew,
        run_id: RunId(uuid!("01940000-0000-7000-8000-000000000000")),
        dry_run: false,
        mode: Mode::Full,
        limit: None,
        started_at: datetime!(2026-11-24 12:00:00.500000789 UTC),
        took: Duration::from_micros(1_234_567),
        exit,
        report,
        error,
        plan: None,
    }
}

#[test]
fn the_json_line_is_the_documented_object_also_after_a_failure() {
    let version = crate::VERSION;
    let expected = format!(
        r#"{{"pass":"renew","run_id":"01940000-0000-7000-8000-000000000000","version":"{version}","dry_run":false,"mode":"full","started_at":"2026-11-24T12:00:00.5Z","seconds":1.234,"outcome":"failed","exit_code":69,"counts":{{"listed":0,"renewed":0,"short":0,"parked":0,"busy":0,"failed":0,"left":0}},"charged_kopecks":0,"oldest_due_seconds":0,"notices":{{"written":0,"sent":0,"dropped":0,"dead":0,"waiting":0}},"nodes":[],"warnings":[],"error":"begin: the database is not available"}}"#
    );
    let report = Report::empty(Pass::Renew);
    let line = summary(Exit::Unavailable, &report, Some("begin: the database is not available")).json_line();
    assert_eq!(line, expected);
}

#[test]
fn without_an_error_the_member_is_null() {
    let report = Report::empty(Pass::Renew);
    let object = summary(Exit::Done, &report, None).json();
    assert_eq!((&object["error"], &object["outcome"]), (&serde_json::Value::Null, &"done".into()));
}

#[test]
fn each_pass_shows_its_counts_in_order() {
    for (pass, counts) in [
        (Pass::Renew, "listed renewed short parked busy failed left"),
        (Pass::NotifyTrials, "listed reminded superseded ended busy failed left"),
        (Pass::ExpireFast, "listed ended closed removed proven expired waiting_for_node busy failed left"),
        (Pass::ReconcileXray, ""),
    ] {
        let report = Report::empty(pass);
        let names: Vec<&str> = report.counts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.join(" "), counts, "{pass}");
    }
}

#[test]
fn a_dry_run_adds_its_plan_and_expire_fast_its_proofs() {
    let report = Report { end_to_proof: Some(EndToProof { p50: 1, p99: 2, oldest: 3 }), ..Report::default() };
    let plan = Kept { lines: vec!["renew 1".to_owned()], omitted: 2 };
    let object = Summary { plan: Some(&plan), dry_run: true, ..summary(Exit::Done, &report, None) }.json();
    assert_eq!(object["plan"], serde_json::json!(["renew 1"]));
    assert_eq!(object["plan_omitted"], 2);
    assert_eq!(object["end_to_proof_seconds"], serde_json::json!({"p50": 1, "p99": 2, "oldest": 3}));
}

#[test]
fn what_is_no_ordinary_pass_says_so_first() {
    let report = Report::empty(Pass::Renew);
    for (mode, limit, dry_run, said) in [
        (Mode::Full, None, false, "renew: done"),
        (Mode::Observe, None, false, "renew (observing, nothing was changed): done"),
        (Mode::Limited, Some(5), false, "renew (limited to 5 effects): done"),
        (Mode::Observe, None, true, "renew (dry run, nothing was changed): done"),
    ] {
        let summary = Summary { mode, limit, dry_run, ..summary(Exit::Done, &report, None) };
        assert!(summary.text(false).starts_with(said), "{}", summary.text(false));
        let object = summary.json();
        assert_eq!((&object["mode"], &object["limit"]), (&mode.name().into(), &limit.into()), "{mode}");
    }
}

fn full() -> Report {
    Report {
        counts: vec![("listed", 12), ("renewed", 11), ("waiting_for_node", 1)],
        charged: Some(Kopecks(218_905)),
        oldest_due_seconds: 90,
        notices: Notices { written: 11, waiting: 11, ..Notices::default() },
        nodes: vec![
            serde_json::json!({"name": "ams-1", "reachable": true, "removed": 2, "restored": 0}),
            serde_json::json!({"name": "ams-2", "reachable": null, "removed": 0, "error": null}),
        ],
        warnings: vec!["no token: notices wait".to_owned()],
        ..Report::default()
    }
}

#[test]
fn elsewhere_than_on_a_terminal_the_lines_are_aligned() {
    let report = full();
    assert_eq!(
        summary(Exit::Partial, &report, None).text(false),
        "renew: done, but not everything succeeded after 1.234 s (exit code 3)\n\
         \x20 listed            12\n\
         \x20 renewed           11\n\
         \x20 waiting for node  1\n\
         \x20 charged           2189.05 RUB\n\
         \x20 oldest due        90 s\n\
         \x20 notices written   11\n\
         \x20 notices waiting   11\n\
         \x20 node ams-1        reachable true, removed 2\n\
         \x20 node ams-2        not asked\n\
         warning: no token: notices wait\n"
    );
}

#[test]
fn on_a_terminal_it_is_a_table() {
    let report = Report { counts: vec![("listed", 12), ("renewed", 3)], ..Report::default() };
    let text = Summary { dry_run: true, ..summary(Exit::Done, &report, Some("why")) }.text(true);
    assert_eq!(
        text,
        "renew (dry run, nothing was changed): done after 1.234 s (exit code 0)\n\
         ┌──────────────┐\n\
         │ listed    12 │\n\
         │ renewed    3 │\n\
         └──────────────┘\n\
         error: why\n"
    );
}

#[test]
fn a_failure_before_any_work_is_two_lines() {
    let report = Report::empty(Pass::Renew);
    assert_eq!(
        summary(Exit::Configuration, &report, Some("schema: old: run `perennial migrate`")).text(false),
        "renew: failed, the configuration is wrong after 1.234 s (exit code 78)\nerror: schema: old: run `perennial migrate`\n"
    );
}
