//! A link to the server that breaks when a certain word goes through it: before the server has it, or after it has
//! answered and before the answer arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use perennial_testkit::TestDb;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server never gets the word.
    Request,
    /// The server does what it says, and nobody hears of it.
    Answer,
}

/// Breaks at the nth time that a word is sent, once.
pub struct Link {
    folder: tempfile::TempDir,
    port: u16,
    breaker: Arc<Breaker>,
}

struct Breaker {
    word: &'static str,
    nth: usize,
    lost: Lost,
    seen: AtomicUsize,
    broken: AtomicBool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Link {
    /// Listens in a folder of its own; on the calling runtime.
    pub fn to(db: &TestDb, word: &'static str, nth: usize, lost: Lost) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = db.config();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}"))).unwrap();
        let breaker = Arc::new(Breaker { word, nth, lost, seen: AtomicUsize::new(0), broken: AtomicBool::new(false) });
        let at_work = breaker.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = connect(&config, port).await;
                tokio::spawn(carry(client, server, at_work.clone()));
            }
        });
        Self { folder, port, breaker }
    }

    /// The way over this link to the database.
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

    /// Whether it has broken.
    pub fn has_broken(&self) -> bool {
        self.breaker.broken.load(Ordering::SeqCst)
    }
}

async fn connect(config: &Config, port: u16) -> Box<dyn Stream> {
    match config.get_hosts().first() {
        Some(Host::Unix(path)) => Box::new(UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await.unwrap()),
        Some(Host::Tcp(name)) => Box::new(TcpStream::connect((name.as_str(), port)).await.unwrap()),
        None => panic!("the test server's URL names no host"),
    }
}

/// Carries bytes both ways until one side ends or the link breaks. A message of our client arrives in one piece.
async fn carry(client: UnixStream, server: Box<dyn Stream>, breaker: Arc<Breaker>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let up = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut bytes).await else { return };
            let hit = bytes[..read].windows(breaker.word.len()).any(|window| window == breaker.word.as_bytes())
                && breaker.seen.fetch_add(1, Ordering::SeqCst) + 1 == breaker.nth;
            if hit && breaker.lost == Lost::Request {
                breaker.broken.store(true, Ordering::SeqCst);
                return;
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
            if hit {
                // Time for the server to do it; what it says is heard by nobody.
                breaker.broken.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(200)).await;
                return;
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let Ok(read @ 1..) = from_server.read(&mut bytes).await else { return };
            if breaker.lost == Lost::Answer && breaker.broken.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
