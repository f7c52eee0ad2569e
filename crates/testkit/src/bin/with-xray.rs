//! `with-xray`: runs a command with two Xray servers beside it and returns the command's exit code.
//!
//! The servers are simulated in this process, or with `--real` the real Xray that `scripts/install-xray.sh` installs; both
//! are empty, and end with the command. The command finds them in `PERENNIAL_XRAY`, as our programs read it.
#![allow(clippy::print_stderr)] // what it does is said on stderr: stdout belongs to the command

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use perennial_testkit::fake_xray::FakeXray;
use perennial_testkit::real_xray::{self, RealXray, Setup, Version};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
Run a command with two Xray servers beside it

Usage: with-xray [--real] [--] COMMAND [ARG]...

Options:
  --real      The real Xray, as scripts/install-xray.sh installs it; else simulated ones
  -h, --help  Print this text

The command gets PERENNIAL_XRAY; its exit code is returned (128 + the number of the signal that ended it). Own exit
codes: 2 usage, 69 no server, 126 the command cannot be run.";

const EXIT_USAGE: u8 = 2;
const EXIT_NO_SERVER: u8 = 69;
const EXIT_CANNOT_RUN: u8 = 126;
/// Both have inbounds of these tags, for the groups `basic` and `plus`.
const BASIC: &str = "vless-in";
const PLUS: &str = "vless-plus";

/// The servers, for as long as they are to run.
enum Servers {
    Fake([FakeXray; 2]),
    Real([RealXray; 2]),
}

impl Servers {
    fn start(real: bool) -> Result<Self, Box<dyn Error>> {
        if !real {
            let start = || FakeXray::builder().inbound(BASIC).inbound(PLUS).start();
            return Ok(Self::Fake([start()?, start()?]));
        }
        let installed = real_xray::find(Version::V26_10_10)?.ok_or("the real Xray is not installed")?;
        let settings = json!({"clients": [], "decryption": "none"});
        let inbounds = vec![(PLUS.to_owned(), "vless".to_owned(), settings)];
        let setup = Setup { inbounds, ..Setup::default() };
        let start = || RealXray::start(&installed, &setup);
        Ok(Self::Real([start()?, start()?]))
    }

    /// As `--xray` has them, separated by blanks.
    fn nodes(&self) -> String {
        let addresses = match self {
            Self::Fake(servers) => servers.each_ref().map(FakeXray::address),
            Self::Real(servers) => servers.each_ref().map(RealXray::address),
        };
        let node = |(n, address): (usize, &String)| format!("de{}={address}#{BASIC}:basic,{PLUS}:plus", n + 1);
        addresses.iter().enumerate().map(node).collect::<Vec<_>>().join(" ")
    }
}

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "-h" || word == "--help") {
        eprintln!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let real = words.next_if(|word| word == "--real").is_some();
    drop(words.next_if(|word| word == "--"));
    let Some(command) = words.next() else {
        eprintln!("with-xray: no command given\n\n{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    // They die with the thread that started them: this one.
    let servers = match Servers::start(real) {
        Ok(servers) => servers,
        Err(error) => return fail(EXIT_NO_SERVER, &*error),
    };
    let kind = if real { "real" } else { "simulated" };
    eprintln!("with-xray: started two {kind} Xray servers");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&command, words.collect(), &servers.nodes())),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(status) => exit_code(status),
        Err(error) => fail(EXIT_CANNOT_RUN, &error),
    }
}

async fn run(command: &OsString, arguments: Vec<OsString>, nodes: &str) -> std::io::Result<ExitStatus> {
    let mut terminated = signal(SignalKind::terminate())?;
    // A terminal sends it to the command, too, whose end is waited for.
    let _interrupted = signal(SignalKind::interrupt())?;
    let mut child = Command::new(command).args(arguments).env("PERENNIAL_XRAY", nodes).spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = terminated.recv() => pass_on(&child)?,
        }
    }
}

fn pass_on(child: &Child) -> std::io::Result<()> {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    pid.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM).map_err(Into::into))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_CANNOT_RUN))
}

fn fail(code: u8, error: &dyn Error) -> ExitCode {
    eprintln!("with-xray: {error}");
    ExitCode::from(code)
}
