//! A link to the server that can fall silent: it stays open, and nothing goes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use perennial_testkit::TestDb;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub struct Stall {
    folder: tempfile::TempDir,
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    silent: AtomicBool,
    accepted: AtomicUsize,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Stall {
    /// Listens in a folder of its own, on the calling runtime.
    pub fn before(db: &TestDb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = db.config();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}"))).unwrap();
        let state = Arc::<State>::default();
        let at_work = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                at_work.accepted.fetch_add(1, Ordering::SeqCst);
                let server = connect(&config, port).await;
                tokio::spawn(carry(client, server, at_work.clone()));
            }
        });
        Self { folder, port, state }
    }

    /// The database, by this way.
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

    /// From now on nothing gets through, either way, until what was held back may go on.
    pub fn be_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// Connections made so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

async fn connect(config: &Config, port: u16) -> Box<dyn Stream> {
    match config.get_hosts().first() {
        Some(Host::Unix(path)) => Box::new(UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await.unwrap()),
        Some(Host::Tcp(name)) => Box::new(TcpStream::connect((name.as_str(), port)).await.unwrap()),
        None => panic!("the test server's URL names no host"),
    }
}

async fn carry(client: UnixStream, server: Box<dyn Stream>, state: Arc<State>) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::select! {
        () = pass_on(from_client, to_server, &state) => {}
        () = pass_on(from_server, to_client, &state) => {}
    }
}

async fn pass_on(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: &State) {
    let mut bytes = vec![0; 65_536];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        while state.silent.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
