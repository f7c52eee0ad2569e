//! PgBouncer in transaction mode in front of a server: the pooler that operators have, and that breaks whatever needs a
//! session. Started without support for prepared statements, as Debian's has none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::spawn::{Identity, Keeper};
use super::{CONNECT_PAUSE, ClusterError, START_LIMIT, percent_encoded};

/// Part of the socket's name.
const PORT: u16 = 6432;
/// Where Debian puts it; else it is looked for in PATH.
const USUAL_PLACE: &str = "/usr/sbin/pgbouncer";

/// A running PgBouncer. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    folder: tempfile::TempDir,
    user: String,
    // Its end ends the process, should this one be killed.
    _keeper: Keeper,
}

/// The program, if the machine has it.
#[must_use]
pub fn find_pgbouncer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|folder| folder.join("pgbouncer"));
    std::iter::once(PathBuf::from(USUAL_PLACE)).chain(places).find(|program| program.is_file())
}

impl Pooler {
    /// Starts one with `sessions` sessions a database before the server of a URL, which must be reached over a socket by a
    /// user without a password.
    ///
    /// # Errors
    /// [`ClusterError::Server`] with its log when it does not answer.
    pub fn start(program: &Path, server: &Config, sessions: u32) -> Result<Self, ClusterError> {
        let folder = tempfile::Builder::new()
            .prefix("perennial-pooler-")
            .tempdir()
            .map_err(ClusterError::system("make a folder for the pooler"))?;
        let identity = Identity::choose();
        // It runs as another user when this process is root's.
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), open).map_err(ClusterError::system("open the pooler's folder"))?;
        let user = server.get_user().unwrap_or("postgres").to_owned();
        let Some(Host::Unix(socket)) = server.get_hosts().first() else {
            return Err(ClusterError::NoServer("a pooler of the tests wants a server on a Unix socket".to_owned()));
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let at = folder.path().display();
        let settings = format!(
            "[databases]\n* = host={} port={port} user={user}\n\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {at}\n\
             listen_port = {PORT}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {sessions}\n\
             max_client_conn = 200\nlogfile = {at}/log\npidfile =\n",
            socket.display()
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).map_err(ClusterError::system("write the pooler's settings"))?;
        let mut command = Command::new(program);
        command.arg(&file).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        identity.apply(&mut command);
        let keeper = Keeper::start()?;
        let child = keeper.spawn(command).map_err(ClusterError::system("run pgbouncer"))?;
        let mut pooler = Self { child, folder, user, _keeper: keeper };
        pooler.wait_until_ready()?;
        Ok(pooler)
    }

    /// The URL of a database behind it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(self.folder.path());
        format!("postgresql:///{database}?host={host}&port={PORT}&user={}", self.user)
    }

    fn wait_until_ready(&mut self) -> Result<(), ClusterError> {
        let socket = self.folder.path().join(format!(".s.PGSQL.{PORT}"));
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let ended = self.child.try_wait().map_err(ClusterError::system("wait for pgbouncer"))?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(ClusterError::Server { what: format!("pgbouncer did not answer: {ended:?}"), log });
            }
            std::thread::sleep(CONNECT_PAUSE);
        }
        Ok(())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
