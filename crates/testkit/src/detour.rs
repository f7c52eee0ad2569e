//! A way to the server that leads through the test's hands: it may lose, hold up or look at what goes through.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::TestDb;

/// What a connection is.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A socket in front of the server, in a folder of its own. It takes connections as long as the runtime it was made on
/// runs, and its socket is gone with it.
#[derive(Debug)]
pub struct Detour {
    folder: tempfile::TempDir,
    port: u16,
}

impl Detour {
    /// Listens on the calling runtime. `carry` gets each connection made here with one to the server, and carries what
    /// it pleases from one to the other.
    ///
    /// # Panics
    /// When the socket cannot be made, or the server cannot be reached when somebody connects.
    pub fn before<F>(db: &TestDb, carry: impl Fn(UnixStream, Box<dyn Stream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for a socket: {error}"));
        let config = db.config();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = folder.path().join(format!(".s.PGSQL.{port}"));
        let listener = UnixListener::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = connect(&config, port).await;
                tokio::spawn(carry(client, server));
            }
        });
        Self { folder, port }
    }

    /// The database, by this way.
    #[must_use]
    pub fn config(&self, db: &TestDb) -> Config {
        let direct = db.config();
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(self.port).dbname(db.name());
        if let Some(user) = direct.get_user() {
            config.user(user);
        }
        if let Some(password) = direct.get_password() {
            config.password(password);
        }
        config
    }
}

async fn connect(config: &Config, port: u16) -> Box<dyn Stream> {
    let connected: std::io::Result<Box<dyn Stream>> = match config.get_hosts().first() {
        Some(Host::Unix(path)) => {
            UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await.map(|stream| Box::new(stream) as _)
        }
        Some(Host::Tcp(name)) => TcpStream::connect((name.as_str(), port)).await.map(|stream| Box::new(stream) as _),
        None => panic!("the test server's URL names no host"),
    };
    connected.unwrap_or_else(|error| panic!("the test server cannot be reached: {error}"))
}
