//! Alert rules and dashboard: Prometheus takes them, they speak when they should, and use only metrics that are written.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{files, name, project, read, succeed, tool};

const RULES: &str = "deploy/prometheus/perennial.rules.yml";
/// Tests of the rules; the second takes weeks in larger steps.
const TESTS: [&str; 2] = ["perennial.rules.test.yml", "perennial.rules.weeks.test.yml"];
/// What a pass writes, held to its code by that crate's own tests.
const WRITTEN: &str = "crates/boot/src/metrics";
/// Functions and labels of the query language that our names could be taken for.
const PREFIX: &str = "perennial_";

fn promtool() -> Option<Command> {
    tool("promtool", Some("scripts/install-promtool.sh")).map(Command::new)
}

fn written_files() -> Vec<PathBuf> {
    files(WRITTEN).into_iter().filter(|file| name(file).ends_with(".prom")).collect()
}

/// All names that begin with our prefix.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter)).filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// Name and labels of each sample in the written files.
fn samples() -> Vec<String> {
    let texts = written_files().into_iter().map(|file| fs::read_to_string(file).unwrap());
    let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.into_iter().filter(|line| !line.starts_with('#')).collect()
}

fn written_names() -> BTreeSet<String> {
    names(&samples().join("\n"))
}

/// The dashboard's queries with the panel each stands in.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/perennial.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let queries: Vec<(String, String)> = panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap().to_owned();
            let targets = panel["targets"].as_array().unwrap().clone();
            targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
        })
        .collect();
    assert!(queries.len() > 15);
    queries
}

#[test]
fn prometheus_takes_what_the_passes_write() {
    assert_eq!(written_files().len(), 4);
    for file in written_files() {
        let Some(mut promtool) = promtool() else { return };
        succeed(promtool.args(["check", "metrics"]).stdin(Stdio::from(fs::File::open(file).unwrap())));
    }
}

#[test]
fn the_alert_rules_are_right_and_each_speaks_when_it_should() {
    let Some(mut check) = promtool() else { return };
    succeed(check.args(["check", "rules"]).arg(project(RULES)));
    let Some(mut test) = promtool() else { return };
    succeed(test.args(["test", "rules"]).args(TESTS).current_dir(project("deploy/prometheus")));
}

fn tests() -> String {
    TESTS.map(|file| read(&format!("deploy/prometheus/{file}"))).join("\n")
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let (rules, tests) = (read(RULES), tests());
    let blocks: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(blocks.len() > 10);
    for block in blocks {
        let alert = block.lines().next().unwrap();
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
        let section = format!("runbook: docs/operations.md#{}", alert.to_lowercase());
        for wanted in ["severity: ", "summary: ", "description: ", section.as_str()] {
            assert!(block.contains(wanted), "{alert}: {wanted}");
        }
    }
}

#[test]
fn rules_and_dashboard_use_only_metrics_that_are_written() {
    let written = written_names();
    let dashboard = queries().into_iter().map(|(_, query)| query).collect::<Vec<_>>().join("\n");
    for (what, text) in [("rules", read(RULES)), ("rules' tests", tests()), ("dashboard", dashboard)] {
        for used in names(&text).into_iter().filter(|name| name.len() > PREFIX.len()) {
            assert!(written.contains(&used), "{what}: no pass writes {used}");
        }
    }
}

#[test]
fn every_metric_of_the_code_is_in_the_files_that_are_tried_here() {
    let source = read("crates/boot/src/metrics.rs");
    let code = names(&source.split('"').skip(1).step_by(2).collect::<Vec<_>>().join("\n"));
    assert!(code.len() > 12, "{code:?}");
    assert_eq!(code.difference(&written_names()).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// A host that has reported the written samples every minute for two days, counters growing.
fn reported() -> String {
    let series = samples().into_iter().map(|sample| {
        let (series, value) = sample.rsplit_once(' ').unwrap();
        let series = match series.split_once('{') {
            Some((name, labels)) => format!("{name}{{instance=\"h\",{labels}"),
            None => format!("{series}{{instance=\"h\"}}"),
        };
        let growth = if series.contains("_total") { 100 } else { 0 };
        format!("      - series: '{series}'\n        values: '{value}+{growth}x2880'\n")
    });
    series.collect()
}

#[test]
fn every_panel_of_the_dashboard_has_something_to_show() {
    let Some(mut promtool) = promtool() else { return };
    let mut test = format!("evaluation_interval: 1h\ntests:\n  - interval: 1m\n    input_series:\n{}", reported());
    test.push_str("    promql_expr_test:\n");
    for (_, query) in queries() {
        let query = query.replace("$instance", ".*").replace('\'', "''");
        // A comparison in a panel hides what is zero; here each series counts.
        let query = query.strip_suffix(" > 0").unwrap_or(&query).to_owned();
        test.push_str(&format!(
            "      - expr: 'count({query}) > bool 0'\n        eval_time: 36h\n        exp_samples: [{{ labels: '{{}}', value: 1 }}]\n"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, test).unwrap();
    succeed(promtool.args(["test", "rules"]).arg(file));
}

#[test]
fn panels_lie_side_by_side_and_have_numbers_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/perennial.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let numbers: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
    }
}
