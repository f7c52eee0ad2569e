//! `with-postgres`: runs a command with a PostgreSQL server beside it and returns the command's exit code.
//!
//! The server is a throw-away cluster that ends with the command; when `DATABASE_URL` is set, that server is used
//! instead and nothing is started. The command finds it in `DATABASE_URL`, and the server's programs in
//! `PERENNIAL_PG_BINDIR`.
#![allow(clippy::print_stderr)] // what it does is said on stderr: stdout belongs to the command

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use perennial_core::causes::with_causes;
use perennial_testkit::cluster::find_bin_dir;
use perennial_testkit::{Cluster, ClusterError, ClusterOptions};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
Run a command with a PostgreSQL server beside it

Usage: with-postgres [OPTIONS] [--] COMMAND [ARG]...

Options:
  --durable         Keep the data on a disk and flush it as in production, for benchmarks
  --set NAME=VALUE  Change a setting of the server; may be given more than once
  --keep            Leave the data folder behind
  -h, --help        Print this text

Environment:
  DATABASE_URL      When set, this server is used and none is started
  PG_BINDIR         The server's programs are taken from this folder
  PERENNIAL_PG_DIR  The data folder is made in this one

The command gets DATABASE_URL and PERENNIAL_PG_BINDIR; its exit code is returned (128 + the number of the
signal that ended it). Own exit codes: 2 usage, 69 no server, 126 and 127 the command cannot be run.";

const EXIT_USAGE: u8 = 2;
const EXIT_NO_SERVER: u8 = 69;
const EXIT_CANNOT_RUN: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

struct Arguments {
    options: ClusterOptions,
    command: OsString,
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let parsed = match parse(env::args_os().skip(1)) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(complaint) => {
            eprintln!("with-postgres: {complaint}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(parsed)),
        Err(error) => fail(EXIT_CANNOT_RUN, &error),
    }
}

/// `None` asks for the help text.
fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Option<Arguments>, String> {
    let base = env::var_os("PERENNIAL_PG_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut options = ClusterOptions { base, ..ClusterOptions::default() };
    let command = loop {
        let word = words.next().ok_or("no command given")?;
        match word.to_str() {
            Some("--durable") => options.durable = true,
            Some("--keep") => options.keep_data = true,
            Some("--set") => options.settings.push(setting(words.next())?),
            Some("-h" | "--help") => return Ok(None),
            Some("--") => break words.next().ok_or("no command given")?,
            Some(flag) if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ => break word,
        }
    };
    Ok(Some(Arguments { options, command, arguments: words.collect() }))
}

fn setting(word: Option<OsString>) -> Result<(String, String), String> {
    let word = word.and_then(|word| word.into_string().ok()).unwrap_or_default();
    let (name, value) = word.split_once('=').ok_or("--set wants NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

async fn run(parsed: Arguments) -> ExitCode {
    // Before the server is started: a signal that comes meanwhile must still lead to an orderly end.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(EXIT_CANNOT_RUN, &error),
    };
    let mut command = Command::new(&parsed.command);
    command.args(&parsed.arguments);
    let cluster = match provide_server(&parsed.options, &mut command) {
        Ok(cluster) => cluster,
        Err(error) => return fail(EXIT_NO_SERVER, &error),
    };
    let outcome = run_command(&mut command, &mut signals).await;
    if let Some(Err(error)) = cluster.map(Cluster::stop) {
        eprintln!("with-postgres: {}", with_causes(&error));
    }
    match outcome {
        Ok(status) => exit_code(status),
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_CANNOT_RUN };
            eprintln!("with-postgres: cannot run {}: {error}", parsed.command.display());
            ExitCode::from(code)
        }
    }
}

/// Starts a cluster unless a server is given, and tells the command where it is.
fn provide_server(options: &ClusterOptions, command: &mut Command) -> Result<Option<Cluster>, ClusterError> {
    if env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()) {
        let durable = if options.durable { ", durable or not as it is configured" } else { "" };
        eprintln!("with-postgres: DATABASE_URL is set: using that server{durable}, starting none");
        if let Ok(bin_dir) = find_bin_dir() {
            command.env("PERENNIAL_PG_BINDIR", bin_dir);
        }
        return Ok(None);
    }
    let cluster = Cluster::start(options)?;
    let durable = if options.durable { " durable" } else { "" };
    eprintln!(
        "with-postgres: started a{durable} server of {} in {}",
        cluster.bin_dir().display(),
        cluster.folder().display()
    );
    command.env("DATABASE_URL", cluster.url()).env("PERENNIAL_PG_BINDIR", cluster.bin_dir());
    Ok(Some(cluster))
}

async fn run_command(command: &mut Command, signals: &mut Signals) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal,
        };
        // `id` is empty once the child is reaped, so the number cannot have gone to another process.
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid
            && !(signal == Signal::INT && came_from_terminal())
        {
            // It may just have ended; then the next turn of the loop sees its status.
            let _just_ended = kill_process(pid, signal);
        }
    }
}

/// Whether Ctrl-C reaches the command without our help: the terminal signals the whole foreground group. Passed on,
/// it would count twice, and a second one makes a pass stop without finishing its batch.
fn came_from_terminal() -> bool {
    File::open("/dev/tty").is_ok_and(|tty| tcgetpgrp(&tty).is_ok_and(|group| group == getpgrp()))
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("with-postgres: {}", with_causes(error));
    ExitCode::from(code)
}
