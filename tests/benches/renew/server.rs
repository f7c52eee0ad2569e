//! A durable server whose data folder stays, so that what took minutes to load is there the next time; and what any
//! server on this machine has worked.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use perennial_testkit::cluster::find_bin_dir;

/// The settings of the testkit's durable server. The port is only part of the socket's name.
const SETTINGS: &str = "-c listen_addresses= -c port=5432 -c max_connections=200 -c fsync=on -c synchronous_commit=on \
                        -c full_page_writes=on";

/// A running server on a lasting folder. It goes on when this program is killed; the next one finds it.
pub(crate) struct Kept {
    folder: PathBuf,
    bin_dir: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Kept {
    /// Starts the server on this folder, made at need, or finds it running.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let folder = fs::canonicalize(folder)?;
        let server = Self { bin_dir: find_bin_dir()?, owner: owner()?, folder };
        if let Some((uid, gid)) = server.owner {
            chown(&server.folder, Some(uid), Some(gid))?;
        }
        fs::set_permissions(&server.folder, fs::Permissions::from_mode(0o700))?;
        if !server.data().join("PG_VERSION").exists() {
            server.call("initdb", &["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8"])?;
        }
        if server.call("pg_ctl", &["status"]).is_err() {
            let log = server.folder.join("log").display().to_string();
            let settings = format!("{SETTINGS} -k {}", server.folder.display());
            server.call("pg_ctl", &["start", "-w", "-t", "600", "-l", &log, "-o", &settings])?;
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql:///postgres?host={}&port=5432&user=postgres", self.folder.display())
    }

    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.call("pg_ctl", &["stop", "-w", "-t", "600", "-m", "fast"])
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn call(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.bin_dir.join(program));
        command.arg("-D").arg(self.data()).args(arguments);
        command.current_dir(&self.folder).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        // What a daemon inherits must not be a pipe that somebody waits on.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        let status = command.status().with_context(|| format!("running {program}"))?;
        ensure!(status.success(), "{program} ended with {status}; see {}", self.folder.join("log").display());
        Ok(())
    }
}

/// The server refuses to run as root: whose it is then, `postgres` or `nobody`.
fn owner() -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) != 0) {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    Ok(Some(find("postgres").or_else(|| find("nobody")).context("no user to run the server as")?))
}

/// The first process of the server.
pub(crate) async fn postmaster(client: &tokio_postgres::Client) -> anyhow::Result<u32> {
    let query = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)";
    let pid: String = client.query_typed_one(query, &[]).await?.try_get(0)?;
    Ok(pid.trim().parse()?)
}

/// CPU time of all its processes, those that have ended included. Not a number when it runs on another machine.
pub(crate) fn cpu_seconds(postmaster: u32) -> f64 {
    let Ok(processes) = fs::read_dir("/proc") else { return f64::NAN };
    let mut ticks = 0;
    let mut found = false;
    for process in processes.flatten() {
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        // Its name, in brackets, may hold anything; what follows are numbers, the third field and on.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let field = |nth: usize| rest.split(' ').nth(nth - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let own = field(14) + field(15);
        if process.file_name().to_str() == Some(&postmaster.to_string()) {
            found = true;
            ticks += own + field(16) + field(17);
        } else if field(4) == u64::from(postmaster) {
            ticks += own;
        }
    }
    // Linux counts in hundredths of a second on all machines.
    if found { crate::report::float(ticks) / 100.0 } else { f64::NAN }
}
