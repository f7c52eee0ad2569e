//! A link to the server that can fall silent: it stays open, and nothing goes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use perennial_testkit::TestDb;
use perennial_testkit::detour::{Detour, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::UnixStream;
use tokio_postgres::Config;

pub struct Stall {
    detour: Detour,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    silent: AtomicBool,
    accepted: AtomicUsize,
}

impl Stall {
    /// On the calling runtime.
    pub fn before(db: &TestDb) -> Self {
        let state = Arc::<State>::default();
        let at_work = state.clone();
        let detour = Detour::before(db, move |client, server| {
            at_work.accepted.fetch_add(1, Ordering::SeqCst);
            carry(client, server, at_work.clone())
        });
        Self { detour, state }
    }

    /// The database, by this way.
    pub fn config(&self, db: &TestDb) -> Config {
        self.detour.config(db)
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
