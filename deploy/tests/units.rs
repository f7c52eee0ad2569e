//! The systemd units: systemd itself can read them, they are shut off well enough, and they fit the programs.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use perennial_deploy::{PRIVATE_FOLDER, programs};
use support::{files, name, project, read, succeed, tool};

const UNITS: &str = "deploy/systemd";
const ALERT: &str = "perennial-alert@.service";
/// Tenths: `systemd-analyze security` counts so.
const MOST_EXPOSED: &str = "20";

/// A folder that looks as the package leaves a host: units in place, and something to be run where they point.
fn host() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    let drop_ins = units.join("perennial-.service.d");
    fs::create_dir_all(&drop_ins).unwrap();
    for file in files(UNITS).iter().filter(|file| file.is_file()) {
        fs::copy(file, units.join(name(file))).unwrap();
    }
    for file in files("deploy/systemd/perennial-.service.d") {
        fs::copy(&file, drop_ins.join(name(&file))).unwrap();
    }
    let passes = programs().into_iter().filter(|program| program.is_pass);
    let mut commands: Vec<String> = passes.map(|pass| format!("{PRIVATE_FOLDER}/{}", pass.called)).collect();
    commands.extend(["/usr/bin/perennial", "/etc/perennial/hooks/alert"].map(str::to_owned));
    for command in commands {
        let file = root.path().join(command.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (root, units)
}

fn units(ending: &str) -> Vec<String> {
    files(UNITS).iter().map(|file| name(file).to_owned()).filter(|name| name.ends_with(ending)).collect()
}

fn systemd_analyze(root: &Path) -> Option<Command> {
    let mut command = Command::new(tool("systemd-analyze", None)?);
    command.arg(format!("--root={}", root.display())).env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "");
    Some(command)
}

#[test]
fn systemd_reads_every_unit_without_a_word() {
    let (root, folder) = host();
    for unit in units(".service").iter().chain(&units(".timer")) {
        let Some(mut command) = systemd_analyze(root.path()) else { return };
        command.args(["--recursive-errors=no", "--man=no", "verify"]).arg(folder.join(unit));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("perennial"), "{unit}: {} {said}", output.status);
    }
}

#[test]
fn no_service_is_exposed() {
    let (root, folder) = host();
    for unit in units(".service") {
        let Some(mut command) = systemd_analyze(root.path()) else { return };
        command.args(["security", "--offline=true", "--no-pager"]).arg(format!("--threshold={MOST_EXPOSED}"));
        succeed(command.arg(folder.join(unit)));
    }
}

/// The value of a key, once in the unit.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let values: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key} in:\n{unit}");
    values[0]
}

#[test]
fn every_pass_has_a_service_and_a_timer_that_fit_it() {
    for pass in programs().into_iter().filter(|program| program.is_pass) {
        let service = read(&format!("{UNITS}/{}.service", pass.page));
        let path = format!("{PRIVATE_FOLDER}/{}", pass.called);
        assert_eq!(value(&service, "ExecStart"), path);
        assert_eq!(value(&service, "Type"), "oneshot");
        assert_eq!(value(&service, "OnFailure"), "perennial-alert@%n.service");
        assert_eq!(value(&service, "SuccessExitStatus"), "75");
        assert!(value(&service, "Environment").ends_with(&format!("/{}.prom", pass.called)));
        let budget = if pass.called == "expire-fast" { 50 } else { 240 };
        let limit: u32 = value(&service, "TimeoutStartSec").parse().unwrap();
        assert!(limit > budget + 5, "{}: {limit} s cut off a pass that may take {budget} s and 5", pass.called);

        let timer = read(&format!("{UNITS}/{}.timer", pass.page));
        assert_eq!(value(&timer, "Persistent"), "true");
        assert!(!value(&timer, "RandomizedDelaySec").is_empty());
        assert_eq!(value(&timer, "WantedBy"), "timers.target");
    }
}

#[test]
fn old_rows_are_trimmed_every_night_by_what_a_person_would_type() {
    let service = read(&format!("{UNITS}/perennial-prune.service"));
    assert_eq!(value(&service, "ExecStart"), "/usr/bin/perennial prune");
    assert_eq!((value(&service, "Type"), value(&service, "SuccessExitStatus")), ("oneshot", "75"));
    assert_eq!(value(&service, "OnFailure"), "perennial-alert@%n.service");
    // Its default of 240 s, and the longest transaction it may have begun then.
    let limit: u32 = value(&service, "TimeoutStartSec").parse().unwrap();
    assert!(limit >= 240 + 60, "{limit} s");
    let timer = read(&format!("{UNITS}/perennial-prune.timer"));
    assert_eq!((value(&timer, "Persistent"), value(&timer, "WantedBy")), ("true", "timers.target"));
}

/// Starts within an hour, in seconds, as `systemd-analyze calendar` counts them.
fn starts(calendar: &str) -> Option<Vec<u64>> {
    let mut command = Command::new(tool("systemd-analyze", None)?);
    command.args(["calendar", "--base-time=2026-01-01 00:00:00 UTC", "--iterations=61", calendar]).env("TZ", "UTC");
    let text = succeed(&mut command);
    let times = text.lines().filter_map(|line| {
        let (label, rest) = line.split_once(": ")?;
        let is_time = label.contains("Next elapse") || label.contains("Iter");
        let time = rest.split_whitespace().find(|word| word.matches(':').count() == 2)?;
        is_time.then(|| time.split(':').map(|part| part.parse::<u64>().unwrap()).fold(0, |sum, part| sum * 60 + part))
    });
    Some(times.take_while(|time| *time < 3_600).collect())
}

#[test]
fn the_timers_keep_the_documented_rhythm_and_the_slow_passes_never_start_together() {
    let mut slow = Vec::new();
    for (pass, every_seconds) in [("renew", 600), ("notify-trials", 300), ("expire-fast", 60), ("reconcile-xray", 600)]
    {
        let timer = read(&format!("{UNITS}/perennial-{pass}.timer"));
        let Some(starts) = starts(value(&timer, "OnCalendar")) else { return };
        assert!(starts.len() >= 3_600 / every_seconds - 1, "{pass}: {starts:?}");
        for pair in starts.windows(2) {
            assert_eq!(pair[1] - pair[0], every_seconds as u64, "{pass}: {starts:?}");
        }
        if pass != "expire-fast" {
            let delay: u64 = value(&timer, "RandomizedDelaySec").trim_end_matches('s').parse().unwrap();
            slow.extend(starts.into_iter().map(|start| (start, start + delay)));
        }
    }
    slow.sort_unstable();
    for pair in slow.windows(2) {
        assert!(pair[0].1 < pair[1].0, "{pair:?}");
    }
}

#[test]
fn the_alert_unit_runs_what_is_shipped() {
    assert_eq!(value(&read(&format!("{UNITS}/{ALERT}")), "ExecStart"), "/etc/perennial/hooks/alert %i");
    assert!(project("deploy/hooks/alert").is_file());
}
