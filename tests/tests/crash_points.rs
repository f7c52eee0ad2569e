//! Real processes, killed at every named point: the one that follows brings the service to where an undisturbed one
//! would have, in the database, on the servers and in the chats.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stdout)] // figures, shown with --no-capture

mod fire_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fire_support::outcome::Outcome;
use fire_support::{Ended, PASSES, Service, end, program};
use perennial_core::delivery::AT_LEAST_ONCE;
use perennial_testkit::db_test;

/// Rows a transaction, and workers.
const CONFIGURATIONS: [[&str; 2]; 3] = [["1", "1"], ["100", "1"], ["2", "3"]];
/// Cases played at once: most of their time they wait for a slot of the messenger's.
const AT_ONCE: usize = 4;
const COMMON: [&str; 4] = ["--max-seconds", "30", "-q", "-q"];

fn arguments<'a>(pass: &str, configuration: [&'a str; 2]) -> Vec<&'a str> {
    let mut arguments = COMMON.to_vec();
    arguments.extend(["--batch-size", configuration[0], "--workers", configuration[1]]);
    if pass == "reconcile-xray" {
        arguments.extend(["--max-removal-share", "1"]);
    }
    arguments
}

/// Runs `pass` over a fresh service, dying at a point if one is given, then again; answers what came of it and how often
/// each point was passed.
fn play(pass: &'static str, configuration: [&'static str; 2], at: Option<String>) -> Option<(Outcome, Vec<String>)> {
    let mut played = None;
    let place = &mut played;
    db_test(async move |db| {
        let service = Service::of(&db).await;
        service.populate().await;
        let trace = tempfile::NamedTempFile::new().unwrap();
        let run = |variable: &str, value: &std::ffi::OsStr| -> Ended {
            end(service.command(pass).args(arguments(pass, configuration)).env(variable, value))
        };
        if let Some(at) = &at {
            let ended = run("PERENNIAL_CRASH_AT", at.as_ref());
            if !ended.was_killed() {
                // The workers shared the work in another way than in the run that was counted.
                assert!(!at.ends_with("#1"), "{pass} did not come by {at}: {ended:?}");
                return;
            }
            service.leases_end().await;
        }
        let ended = run("PERENNIAL_TRACE_POINTS", trace.path().as_os_str());
        assert!(matches!(ended.code(), Some(0 | 3)), "{pass} after {at:?}: {ended:?}");
        if pass == "reconcile-xray" {
            // Who is retired on one server's account goes from the other's in the next pass, killed or not.
            let again = service.run(pass, &arguments(pass, configuration));
            assert_eq!(again.code(), Some(0), "{again:?}");
        }
        let held = service.number("SELECT count(*) FROM notices WHERE status = 'sending'").await;
        assert_eq!(held, 0, "{pass} after {at:?} left notices under way: {}", ended.summary);
        let points = std::fs::read_to_string(trace.path()).unwrap();
        *place = Some((service.outcome().await, points.lines().map(str::to_owned).collect()));
    });
    played
}

/// The names of all points of the source.
fn points_of_the_source() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    let mut folders = vec![root.join("crates"), root.join("bin")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("crash.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let calls = text.split("crash_point!(\"").skip(1);
                names.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    names
}

/// A receipt or an ending under way may come twice, a reminder under way may be dropped; nothing else may differ.
fn assert_alike(context: &str, expected: &Outcome, found: &Outcome, may_repeat: bool) {
    assert_eq!(found.books, expected.books, "{context}");
    assert_eq!(found.nodes, expected.nodes, "{context}");
    if !may_repeat {
        assert_eq!((&found.notices, &found.messages), (&expected.notices, &expected.messages), "{context}");
        return;
    }
    let keys = |outcome: &Outcome| outcome.notices.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(found), keys(expected), "{context}");
    for (notice, status) in &found.notices {
        let chat: i64 = notice.split(' ').next().unwrap().parse().unwrap();
        let times = found.messages.get(&chat).copied().unwrap_or(0);
        let kind = notice.split(' ').nth(1).unwrap();
        let (statuses, most): (&[&str], _) =
            if AT_LEAST_ONCE.contains(&kind) { (&["sent"], 1..=2) } else { (&["sent", "dropped"], 0..=1) };
        let is_right = statuses.contains(&status.as_str()) && most.contains(&times);
        assert!(is_right, "{context}: {notice} {status}, came {times} times");
    }
}

fn every_point_of(pass: &'static str) {
    let all = std::env::var_os("PERENNIAL_SOAK").is_some();
    let mut cases = Vec::new();
    let mut passed_by = BTreeSet::new();
    for configuration in CONFIGURATIONS {
        let (expected, points) = play(pass, configuration, None).unwrap();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for point in points {
            *counts.entry(point).or_default() += 1;
        }
        for (point, times) in &counts {
            let chosen = match configuration {
                _ if all => (1..=*times).collect(),
                ["1", _] => BTreeSet::from([1, *times]),
                _ => BTreeSet::from([1]),
            };
            cases.extend(chosen.into_iter().map(|nth| (configuration, expected.clone(), point.clone(), nth)));
        }
        passed_by.extend(counts.into_keys());
    }
    let (cases, kills) = (Mutex::new(cases.into_iter()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some((configuration, expected, point, nth)) = next else { break };
                    let at = format!("{point}#{nth}");
                    let Some((found, _)) = play(pass, configuration, Some(at.clone())) else { continue };
                    kills.fetch_add(1, Ordering::SeqCst);
                    let context = format!("{pass} killed at {at}, batches of {configuration:?} workers");
                    // A transaction may be one of delivery's.
                    let may_repeat = point.starts_with("delivery.") || point.starts_with("tx.");
                    assert_alike(&context, &expected, &found, may_repeat);
                }
            });
        }
    });
    let kills = kills.into_inner();
    println!("{pass}: killed {kills} times at {} points", passed_by.len());
    let of_the_pass: &[&str] = match pass {
        "renew" => &["renew.", "batch.", "delivery.", "tx."],
        "notify-trials" => &["remind.", "end.", "delivery.", "tx."],
        "expire-fast" => &["end.", "removal.", "delivery.", "tx."],
        _ => &["reconcile.", "tx."],
    };
    let expected: BTreeSet<String> = points_of_the_source()
        .into_iter()
        .filter(|point| of_the_pass.iter().any(|beginning| point.starts_with(beginning)))
        .collect();
    let missed: Vec<&String> = expected.difference(&passed_by).collect();
    assert!(missed.is_empty(), "{pass} never came by {missed:?}");
}

#[test]
fn renew_killed_anywhere_charges_once_and_loses_nothing() {
    every_point_of("renew");
}

#[test]
fn notify_trials_killed_anywhere_reminds_at_most_once_and_ends_what_is_over() {
    every_point_of("notify-trials");
}

#[test]
fn expire_fast_killed_anywhere_leaves_nobody_on_and_cuts_nobody_off() {
    every_point_of("expire-fast");
}

#[test]
fn reconcile_xray_killed_anywhere_repairs_the_rest_next_time() {
    every_point_of("reconcile-xray");
}

#[test]
fn every_point_belongs_to_a_pass_that_is_killed_at_it() {
    let known = ["renew.", "batch.", "remind.", "end.", "removal.", "delivery.", "reconcile.", "tx."];
    let points = points_of_the_source();
    assert!(points.len() > 15, "{points:?}");
    let strange: Vec<&String> = points.iter().filter(|point| !known.iter().any(|k| point.starts_with(k))).collect();
    assert!(strange.is_empty(), "{strange:?}");
    for pass in PASSES {
        assert!(program(pass).is_file());
    }
}
