//! The wrapper: what the command sees, what the caller gets back, what is left when it is killed.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn wrapper() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    // These tests may themselves run below the wrapper.
    command.env_remove("DATABASE_URL").env_remove("PERENNIAL_PG_DIR");
    command
}

fn run_shell(script: &str) -> Output {
    wrapper().args(["sh", "-c", script]).output().unwrap()
}

/// Starts the wrapper and gives the first line that the command writes, too.
fn start_shell(wrapper: &mut Command, script: &str) -> (Child, String) {
    let mut child = wrapper.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn within_half_a_minute(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_commands_exit_code_is_returned() {
    assert_eq!(run_shell("exit 7").status.code(), Some(7));
    assert_eq!(run_shell("exit 0").status.code(), Some(0));
    assert_eq!(run_shell("kill -9 $$").status.code(), Some(128 + 9));
}

#[test]
fn the_command_finds_the_server_and_it_is_gone_afterwards() {
    let output = run_shell(r#"echo "$DATABASE_URL"; test -x "$PERENNIAL_PG_BINDIR/postgres" && echo found"#);
    let text = String::from_utf8(output.stdout).unwrap();
    let (url, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, "found\n");
    let config: tokio_postgres::Config = url.parse().unwrap();
    let [tokio_postgres::config::Host::Unix(folder)] = config.get_hosts() else { panic!("{url}") };
    assert!(!folder.exists());
}

#[test]
fn a_given_server_is_used_and_none_is_started() {
    let output =
        wrapper().env("DATABASE_URL", "postgres://me:secret@there/db").args(["printenv", "DATABASE_URL"]).output();
    let output = output.unwrap();
    assert_eq!(output.stdout, b"postgres://me:secret@there/db\n");
    let said = stderr_of(&output);
    assert!(said.contains("starting none"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn wrong_calls_have_exit_codes_of_their_own() {
    for (arguments, code) in
        [(&[][..], 2), (&["--durible", "true"], 2), (&["no-such-command"], 127), (&["/etc/passwd"], 126)]
    {
        assert_eq!(wrapper().args(arguments).output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
    let output = wrapper().env("PG_BINDIR", "/nowhere").arg("true").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr_of(&output).contains("/nowhere"));
}

#[test]
fn the_command_ends_by_its_own_will_when_the_wrapper_is_asked_to_stop() {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut child, line) = start_shell(&mut wrapper(), script);
    assert_eq!(line, "ready");
    send(i32::try_from(child.id()).unwrap(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_killed_wrapper_leaves_no_server_and_its_folder_is_swept_by_the_next() {
    let base = tempfile::Builder::new().prefix("pk-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(base.path(), Permissions::from_mode(0o755)).unwrap();
    let below = |base: &Path| {
        let mut command = wrapper();
        command.env("PERENNIAL_PG_DIR", base);
        command
    };
    let (mut child, command_pid) = start_shell(&mut below(base.path()), "echo $$; exec sleep 60");
    let folder: PathBuf = fs::read_dir(base.path()).unwrap().next().unwrap().unwrap().path();
    let server = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let server = PathBuf::from("/proc").join(server.lines().next().unwrap()).join("cmdline");
    // A dead process whom nobody has waited for yet has no command line any more.
    let runs = || fs::read(&server).is_ok_and(|text| !text.is_empty());
    assert!(runs());

    child.kill().unwrap();
    child.wait().unwrap();
    within_half_a_minute("the server outlived its wrapper", || !runs());
    send(command_pid.parse().unwrap(), Signal::KILL);

    let next = below(base.path()).arg("true").output().unwrap();
    assert!(next.status.success(), "{}", stderr_of(&next));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}
