//! A link to the server that breaks when a certain word goes through it: before the server has it, or after it has
//! answered and before the answer arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use perennial_testkit::TestDb;
use perennial_testkit::detour::{Detour, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::UnixStream;
use tokio_postgres::Config;

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
    detour: Detour,
    breaker: Arc<Breaker>,
}

struct Breaker {
    word: &'static str,
    nth: usize,
    lost: Lost,
    seen: AtomicUsize,
    broken: AtomicBool,
}

impl Link {
    /// On the calling runtime.
    pub fn to(db: &TestDb, word: &'static str, nth: usize, lost: Lost) -> Self {
        let breaker = Arc::new(Breaker { word, nth, lost, seen: AtomicUsize::new(0), broken: AtomicBool::new(false) });
        let at_work = breaker.clone();
        let detour = Detour::before(db, move |client, server| carry(client, server, at_work.clone()));
        Self { detour, breaker }
    }

    /// The way over this link to the database.
    pub fn config(&self, db: &TestDb) -> Config {
        self.detour.config(db)
    }

    /// Whether it has broken.
    pub fn has_broken(&self) -> bool {
        self.breaker.broken.load(Ordering::SeqCst)
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
