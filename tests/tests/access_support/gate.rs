//! A link to the database that holds a pass up before one of its messages, whichever the test wants, until it is let go:
//! every await point of a pass at the database, by number.

use std::sync::{Arc, Mutex};

use perennial_testkit::TestDb;
use perennial_testkit::detour::{Detour, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_postgres::Config;

/// Holds up at the nth message, counted from 0 over all connections, once.
pub struct Gate {
    detour: Detour,
    turnstile: Arc<Mutex<Turnstile>>,
}

struct Turnstile {
    /// What passed, by name.
    passed: Vec<String>,
    hold_at: usize,
    /// Told when the message is there; what is being sent goes with it.
    reached: Option<oneshot::Sender<String>>,
    go: Option<oneshot::Receiver<()>>,
}

/// The other end: the message that is held, and how to let it go.
pub struct Held {
    pub reached: oneshot::Receiver<String>,
    pub go: oneshot::Sender<()>,
}

impl Gate {
    /// On the calling runtime.
    pub fn before(db: &TestDb, hold_at: usize) -> (Self, Held) {
        let (reached, when_reached) = oneshot::channel();
        let (go, when_to_go) = oneshot::channel();
        let turnstile = Turnstile { passed: Vec::new(), hold_at, reached: Some(reached), go: Some(when_to_go) };
        let turnstile = Arc::new(Mutex::new(turnstile));
        let at_work = turnstile.clone();
        let detour = Detour::before(db, move |client, server| carry(client, server, at_work.clone()));
        (Self { detour, turnstile }, Held { reached: when_reached, go })
    }

    /// The way through it to the database.
    pub fn config(&self, db: &TestDb) -> Config {
        self.detour.config(db)
    }

    /// The names of the messages so far.
    pub fn passed(&self) -> Vec<String> {
        self.turnstile.lock().unwrap().passed.clone()
    }
}

/// Carries bytes both ways until one side ends. What our client sends at once arrives in one piece.
async fn carry(client: UnixStream, server: Box<dyn Stream>, turnstile: Arc<Mutex<Turnstile>>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let up = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut bytes).await else { return };
            let held = {
                let mut turnstile = turnstile.lock().unwrap();
                turnstile.passed.push(name_of(&bytes[..read]));
                let is_it = turnstile.passed.len() - 1 == turnstile.hold_at;
                if is_it { turnstile.reached.take().zip(turnstile.go.take()) } else { None }
            };
            if let Some((reached, go)) = held {
                drop(reached.send(name_of(&bytes[..read])));
                drop(go.await);
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// The statement's name, else the beginning of what is sent.
fn name_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let name = text.split_once("-- ").and_then(|(_, rest)| rest.lines().next());
    let plain = || text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
    name.map_or_else(plain, str::to_owned)
}
