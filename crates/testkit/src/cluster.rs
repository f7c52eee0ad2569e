//! A throw-away PostgreSQL cluster: started in about a second, gone without a trace.
//!
//! The server lives in a short folder of its own, listens on a Unix socket in it and nowhere else,
//! and is the child of a thread that ends only after it, so the kernel stops it when this process dies in whatever
//! way. The folder of a process that was killed is removed by the next cluster that starts on the machine.

mod binaries;
mod folder;
mod pooler;
mod ready;
mod spawn;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use binaries::{WAYS_TO_GET_ONE, find_bin_dir};
pub use pooler::{Pooler, find_pgbouncer};

use folder::Folder;
use spawn::{Identity, Keeper};

/// How long a server may take until it answers; a crash recovery on a slow disk is the longest case.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two attempts to connect: a tenth of what the fastest start takes.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// PostgreSQL itself kills its children 5 s after an immediate shutdown; twice that means it hangs.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Lines of the server's log shown when it did not start.
const LOG_TAIL_LINES: usize = 25;
/// The superuser of every cluster; trusted, since only the folder's owner reaches the socket.
const SUPERUSER: &str = "postgres";
/// Only part of the socket's name: nothing listens on a TCP port.
const PORT: u16 = 5432;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server is installed; the text names the ways to get one.
    #[error("{0}")]
    NoServer(String),
    /// No folder is fit to hold the data.
    #[error("{0}")]
    NoFolder(String),
    /// A call to the system failed.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program of PostgreSQL failed or did not become ready.
    #[error("{what}; the end of its log:\n{log}")]
    Server {
        /// Which program, and how it ended.
        what: String,
        /// The last lines it wrote.
        log: String,
    },
}

impl ClusterError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// What kind of cluster to start. The default is the fastest: in memory, nothing flushed.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Flush as a production server does, and keep the data on a disk: for benchmarks.
    pub durable: bool,
    /// Server settings by name, set after ours, so they win.
    pub settings: Vec<(String, String)>,
    /// Leave the folder behind when the cluster stops; stderr does not say where, [`Cluster::folder`] does.
    pub keep_data: bool,
    /// Put the folder below this one instead of choosing a place.
    pub base: Option<PathBuf>,
    /// Use the programs of this folder instead of looking for them.
    pub bin_dir: Option<PathBuf>,
}

/// A running PostgreSQL server with its folder. Dropping it stops the server and removes the folder.
#[derive(Debug)]
pub struct Cluster {
    child: Option<Child>,
    keeper: Keeper,
    folder: Folder,
    bin_dir: PathBuf,
    identity: Identity,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Makes a data folder, starts a server on it and waits until it answers.
    ///
    /// # Errors
    /// [`ClusterError::NoServer`] when PostgreSQL is not installed; anything else is
    /// unforeseen and shows the server's log.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let bin_dir = match &options.bin_dir {
            Some(given) => given.clone(),
            None => find_bin_dir()?,
        };
        let identity = Identity::choose();
        let base = folder::choose_base(options)?;
        folder::sweep(&base);
        let folder = Folder::create(&base, identity, options.keep_data)?;
        let mut cluster =
            Self { child: None, keeper: Keeper::start()?, folder, bin_dir, identity, settings: settings(options) };
        cluster.init(options.durable)?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// The superuser's URL of the database `postgres`, over the Unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        let host = percent_encoded(self.folder.path());
        format!("postgresql:///postgres?host={host}&port={PORT}&user={SUPERUSER}")
    }

    /// Where the server's programs are (`psql`, `pg_dump` and so on, as far as installed).
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The cluster's own folder: socket, `log` and, in `data`, the data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.folder.log())
    }

    /// Stops the server at once and removes the folder, as dropping does, but tells what failed.
    ///
    /// # Errors
    /// [`ClusterError::System`] when the server would not end or the folder could not be removed.
    pub fn stop(mut self) -> Result<(), ClusterError> {
        self.stop_immediately()?;
        self.folder.remove()
    }

    /// Stops the server as `pg_ctl stop -m immediate` does: sessions are cut, the next start recovers. The folder
    /// stays.
    ///
    /// # Errors
    /// [`ClusterError::System`] when it would not end even by SIGKILL.
    pub fn stop_immediately(&mut self) -> Result<(), ClusterError> {
        self.end(Signal::QUIT)
    }

    /// Kills the server and all its processes with SIGKILL, as a power cut does to them. The folder stays.
    ///
    /// # Errors
    /// [`ClusterError::System`] when they would not end.
    pub fn kill9(&mut self) -> Result<(), ClusterError> {
        let Some(child) = &self.child else { return Ok(()) };
        // Asked for before the parent is dead: afterwards they have another parent. A backend that is busy does not
        // notice the death of its parent for a while, and the next server refuses to start beside it.
        let backends = spawn::children_of(child.id());
        self.end(Signal::KILL)?;
        for pid in &backends {
            // A backend that has ended by itself meanwhile is as good as killed.
            let _gone_already = kill_process(*pid, Signal::KILL);
        }
        wait_until_gone(&backends)
    }

    /// Starts the server again on the same folder and socket; one that still runs is shut down in an orderly way first.
    ///
    /// # Errors
    /// [`ClusterError::Server`] with the log's end when it did not become ready.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.end(Signal::INT)?;
        self.launch()
    }

    fn init(&self, durable: bool) -> Result<(), ClusterError> {
        let mut command = self.program("initdb")?;
        command
            .arg("-D")
            .arg(self.folder.data())
            .args(["-U", SUPERUSER, "-A", "trust", "--no-locale", "-E", "UTF8"])
            .args((!durable).then_some("-N"));
        let mut child = self.keeper.spawn(command).map_err(ClusterError::system("run initdb"))?;
        let status = child.wait().map_err(ClusterError::system("wait for initdb"))?;
        if status.success() { Ok(()) } else { Err(self.failed("initdb", status)) }
    }

    fn launch(&mut self) -> Result<(), ClusterError> {
        let mut command = self.program("postgres")?;
        command.arg("-D").arg(self.folder.data()).arg("-k").arg(self.folder.path()).args(["-p", &PORT.to_string()]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = self.keeper.spawn(command).map_err(ClusterError::system("run postgres"))?;
        self.child = Some(child);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), ClusterError> {
        let socket = self.folder.path().join(format!(".s.PGSQL.{PORT}"));
        let started = Instant::now();
        let Some(child) = &mut self.child else { return Ok(()) };
        loop {
            if let Some(status) = child.try_wait().map_err(ClusterError::system("wait for postgres"))? {
                self.child = None;
                return Err(self.failed("postgres", status));
            }
            if ready::answers(&socket, SUPERUSER) {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                let what = format!("postgres did not answer within {} s", START_LIMIT.as_secs());
                return Err(ClusterError::Server { what, log: self.log_tail() });
            }
            thread::sleep(CONNECT_PAUSE);
        }
    }

    /// A program of PostgreSQL with nothing of our environment, writing to the log. A file, since a pipe that
    /// nobody reads stops the server once it is full.
    fn program(&self, name: &str) -> Result<Command, ClusterError> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.log())
            .map_err(ClusterError::system("open the server's log"))?;
        let log_too = log.try_clone().map_err(ClusterError::system("open the server's log"))?;
        let mut command = Command::new(self.bin_dir.join(name));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too);
        self.identity.apply(&mut command);
        Ok(command)
    }

    fn end(&mut self, signal: Signal) -> Result<(), ClusterError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // A server that is gone already is reaped by the wait below.
        let _gone_already = kill_process(Pid::from_child(&child), signal);
        let asked = Instant::now();
        while child.try_wait().map_err(ClusterError::system("wait for postgres"))?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                child.kill().map_err(ClusterError::system("kill postgres"))?;
                child.wait().map_err(ClusterError::system("wait for postgres"))?;
                break;
            }
            thread::sleep(CONNECT_PAUSE);
        }
        Ok(())
    }

    fn failed(&self, program: &str, status: ExitStatus) -> ClusterError {
        let what = format!("{} ended with {status}", self.bin_dir.join(program).display());
        ClusterError::Server { what, log: self.log_tail() }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // There is nobody to tell: the keeper's end stops the server, the next sweep removes the folder.
        let _swept_later = self.stop_immediately();
    }
}

fn settings(options: &ClusterOptions) -> Vec<(String, String)> {
    let flush = if options.durable { "on" } else { "off" };
    // What a killed server leaves of the usual kind, `posix`, lies outside our folder. A benchmark wants the usual
    // kind.
    let shared_memory = if options.durable { "posix" } else { "mmap" };
    let ours = [
        ("listen_addresses", ""),
        ("max_connections", "200"),
        ("fsync", flush),
        // Without it a killed server forgets its last commits, and tests that kill it would see lost money that is
        // none. Where nothing is flushed it costs nothing measurable.
        ("synchronous_commit", "on"),
        ("full_page_writes", flush),
        ("dynamic_shared_memory_type", shared_memory),
    ];
    let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    ours.chain(options.settings.iter().cloned()).collect()
}

fn wait_until_gone(pids: &[Pid]) -> Result<(), ClusterError> {
    let asked = Instant::now();
    while pids.iter().any(|pid| spawn::is_alive(*pid)) {
        if asked.elapsed() > STOP_LIMIT {
            let source = io::Error::from(io::ErrorKind::TimedOut);
            return Err(ClusterError::system("kill the server's processes")(source));
        }
        thread::sleep(CONNECT_PAUSE);
    }
    Ok(())
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// A path as it may stand in the query of a URL.
fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut out = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}
