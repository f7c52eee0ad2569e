//! The sample hooks and the lines for cron, run as they would be.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use perennial_deploy::{PRIVATE_FOLDER, programs};
use support::{project, read};

/// Writes a program for the shell.
fn script(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A host with one pass, `renew`, that ends with `code`, and an alert hook that writes down what it is told.
struct Host(tempfile::TempDir);

impl Host {
    fn new(code: u8) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let renew = "echo \"summary $* ${PERENNIAL_METRICS_FILE:-none}\"; echo warning >&2; exit";
        script(&host.path("programs/renew"), &format!("{renew} {code}"));
        script(&host.path("alert"), &format!("echo \"$1 $MONITOR_EXIT_STATUS\" >> {}", host.path("told").display()));
        host
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn run(&self) -> Output {
        Command::new(project("deploy/hooks/run-pass"))
            .args(["renew", "--window", "1h"])
            .env("PERENNIAL_PROGRAMS", self.path("programs"))
            .env("PERENNIAL_LOGS", self.path("logs"))
            .env("PERENNIAL_METRICS", self.path("metrics"))
            .env("PERENNIAL_ALERT", self.path("alert"))
            .output()
            .unwrap()
    }

    fn told(&self) -> String {
        fs::read_to_string(self.path("told")).unwrap_or_default()
    }
}

#[test]
fn a_pass_that_fails_under_cron_is_told_of_and_one_that_stops_early_is_not() {
    for (code, told) in [(0, ""), (75, ""), (3, "perennial-renew 3\n"), (69, "perennial-renew 69\n")] {
        let host = Host::new(code);
        let output = host.run();
        assert_eq!(output.status.code(), Some(code.into()));
        assert_eq!(host.told(), told);
    }
}

#[test]
fn without_a_place_for_logs_cron_mails_warnings_alone() {
    let output = Host::new(0).run();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "warning\n");
}

#[test]
fn log_and_metrics_are_kept_where_there_are_places_for_them() {
    let host = Host::new(0);
    for folder in ["logs", "metrics"] {
        fs::create_dir(host.path(folder)).unwrap();
    }
    for _ in 0..2 {
        let output = host.run();
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
    let metrics = host.path("metrics/renew.prom");
    let line = format!("summary --window 1h {}\nwarning\n", metrics.display());
    assert_eq!(fs::read_to_string(host.path("logs/renew.log")).unwrap(), line.repeat(2));
}

#[test]
fn an_alert_is_told_once_an_hour_for_each_unit_and_exit_code_with_what_the_pass_said_last() {
    let host = Host::new(0);
    let bin = host.path("bin");
    script(&bin.join("logger"), &format!("echo \"$*\" >> {}", host.path("told").display()));
    script(&bin.join("curl"), &format!("cat >> {}", host.path("posted").display()));
    fs::write(host.path("log"), "the last line\n").unwrap();
    let alert = |unit: &str, code: &str| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(project("deploy/hooks/alert"));
        command.arg(unit).env("PATH", path).env("MONITOR_EXIT_STATUS", code).env("PERENNIAL_LOG", host.path("log"));
        command.env("PERENNIAL_ALERT_STAMPS", host.path("stamps")).env("PERENNIAL_ALERT_URL", "https://hook.example/x");
        assert!(command.status().unwrap().success());
    };
    for _ in 0..3 {
        alert("perennial-renew.service", "3");
    }
    alert("perennial-renew.service", "4");
    alert("perennial-expire-fast.service", "4");
    let told = host.told();
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("perennial-renew.service failed, exit code 4: refused at a brake"), "{told}");
    let posted = fs::read_to_string(host.path("posted")).unwrap();
    assert_eq!(posted.matches("the last line").count(), 3, "{posted}");

    // An hour later it is told again.
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let stamp = fs::File::options().write(true).open(host.path("stamps/perennial-renew.service.3")).unwrap();
    stamp.set_modified(long_ago).unwrap();
    alert("perennial-renew.service", "3");
    assert_eq!(host.told().lines().count(), 4);
}

/// What the hook sent to the node: the command's arguments, then its standard input.
fn cut(input: &str, hosts: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let ssh = folder.path().join("ssh");
    script(&ssh, &format!("(echo \"$1\"; cat) > {}", seen.display()));
    fs::write(folder.path().join("hosts"), hosts).unwrap();
    let mut hook = Command::new(project("deploy/hooks/on-removed"))
        .env("PERENNIAL_SSH", &ssh)
        .env("PERENNIAL_HOSTS", folder.path().join("hosts"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    hook.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    (hook.wait_with_output().unwrap(), fs::read_to_string(seen).unwrap_or_default())
}

#[test]
fn the_hook_cuts_the_addresses_of_the_removed_on_the_node_they_were_removed_from() {
    if support::tool("jq", None).is_none() {
        return;
    }
    let users = r#"[{"email_hash":"a","addresses":["203.0.113.7","2001:db8::1"]},{"email_hash":"b","addresses":["203.0.113.7"]}]"#;
    let hosts = "ams-1 cutter@10.0.0.5\nams-10 cutter@10.0.0.6\n";
    let (output, seen) = cut(&format!(r#"{{"node":"ams-1","users":{users}}}"#), hosts);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(seen, "cutter@10.0.0.5\n2001:db8::1\n203.0.113.7\n");

    let evil = r#"{"node":"ams-1","users":[{"email_hash":"a","addresses":["$(reboot)","1.2.3.4; reboot"]}]}"#;
    let (output, seen) = cut(evil, hosts);
    assert!(output.status.success() && seen.is_empty(), "{seen}");

    let (output, seen) = cut(r#"{"node":"fi-1","users":[]}"#, hosts);
    assert!(!output.status.success() && seen.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no host for node fi-1"));
}

#[test]
fn cron_starts_every_pass_in_the_documented_rhythm() {
    let crontab = read("deploy/crontab");
    let lines: Vec<Vec<&str>> = crontab
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit() || first == '*'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (pass, minutes) in
        [("renew", "2-59/10"), ("notify-trials", "*/5"), ("expire-fast", "*"), ("reconcile-xray", "7-59/10")]
    {
        let run_pass = format!("{PRIVATE_FOLDER}/run-pass");
        assert!(lines.contains(&vec![minutes, "*", "*", "*", "*", "perennial", run_pass.as_str(), pass]), "{pass}");
    }
    let prune: Vec<&str> = "23 3 * * * perennial /usr/bin/perennial prune >/dev/null".split(' ').collect();
    assert!(lines.contains(&prune));
    assert_eq!(lines.len(), programs().iter().filter(|program| program.is_pass).count() + 1);
}
