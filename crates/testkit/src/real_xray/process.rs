//! The process of a server or client, and ports that stay its own.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use tokio::net::TcpSocket;

/// How long a server may take until it answers. It takes 50 ms on a machine with nothing else to do.
const START_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// What runs the module. It blocks, and ends with status 23 where the configuration is wrong.
const PROGRAM: &str = "import sys, xray; xray.startFromJSON(open(sys.argv[1]).read())";

/// A port that nobody else gets while this lives, except for those who share it by `SO_REUSEPORT` and name it.
#[derive(Debug)]
pub(super) struct HeldPort {
    pub(super) port: u16,
    /// Bound, and never listens, so no connection comes to it.
    _socket: TcpSocket,
}

impl HeldPort {
    /// Any port that is free.
    pub(super) fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = socket.local_addr()?.port();
        if listens(port) {
            return Err(io::Error::other(format!("somebody listens on port {port} already")));
        }
        Ok(Self { port, _socket: socket })
    }
}

/// A process that dies with this value, and with the thread that started it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
}

impl Process {
    /// Starts Xray on a configuration and waits until it listens.
    pub(super) fn start(python: &Path, folder: &Path, config: &Value, ports: &[u16]) -> io::Result<Self> {
        let file = folder.join("config.json");
        fs::write(&file, config.to_string())?;
        let api = folder.join("api.sock");
        for left_over in [api.clone(), folder.join("api.sock.lock")] {
            // Of a process that was killed.
            let _was_there = fs::remove_file(left_over);
        }
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(python);
        command.args(["-I", "-c", PROGRAM]).arg(&file).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Self { child: spawn_bound(&mut command)? };
        let (has_socket, begun) = (config["api"]["listen"].is_string(), Instant::now());
        loop {
            if (!has_socket || UnixStream::connect(&api).is_ok()) && ports.iter().all(|&port| listens(port)) {
                return Ok(process);
            }
            let ended = process.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > START_LIMIT {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("Xray did not start ({ended:?}): {log}")));
            }
            thread::sleep(PAUSE);
        }
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops it where it stands. The kernel stops one thread after the other: this waits for the last.
    pub(super) fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let begun = Instant::now();
        while !self.stands_still()? {
            if begun.elapsed() > START_LIMIT {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    fn stands_still(&self) -> io::Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that ended between the two looks stands still, too.
            let stat = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
            if state.is_some_and(|state| state != 'T') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn end(&mut self) {
        // It may have ended by itself.
        let _gone_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[allow(unsafe_code)] // `pre_exec` is unsafe by signature; what runs in it is not.
fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    let parent = i32::try_from(std::process::id()).ok().and_then(Pid::from_raw);
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the call above: then no signal ever comes.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two system calls
    // (`prctl`, `getppid`), takes no lock and allocates nothing: both errors are built from plain numbers.
    unsafe { command.pre_exec(bind) };
    command.spawn()
}
