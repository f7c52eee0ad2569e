//! The listening side: a thread with a runtime of its own, a task a connection.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::fault::{Fault, Refusal, ToldWhere};
use super::http::{self, Answer, Request};
use super::state::Reply;
use super::{Shared, lock};

pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(state: Shared) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counter = Arc::clone(&connections);
        let thread = std::thread::Builder::new().name("fake-telegram".to_owned()).spawn(move || {
            // Dropping the runtime ends every connection.
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = accept(listener, state, counter) => {}
                }
            });
        })?;
        Ok(Self { address, connections, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has already failed the test with a text of its own.
            drop(thread.join());
        }
    }
}

async fn accept(listener: std::net::TcpListener, state: Shared, connections: Arc<AtomicUsize>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let started = Instant::now();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A connection that breaks is the client's affair: tests break them on purpose.
            drop(serve(stream, &state, started).await);
        });
    }
}

async fn serve(stream: TcpStream, state: &Shared, started: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = http::read(&mut stream).await? {
        let is_last = request.is_last;
        match decide(&request, state, started.elapsed()) {
            Delivery::Whole(answer) => {
                let (head, body) = answer.into_bytes();
                stream.write_all(&[head, body].concat()).await?;
            }
            Delivery::Slow(answer, pause) => {
                let (head, body) = answer.into_bytes();
                for byte in head.iter().chain(&body) {
                    stream.write_all(&[*byte]).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Delivery::Half(answer, then) => {
                let (head, body) = answer.into_bytes();
                stream.write_all(&[&head, &body[..body.len() / 2]].concat()).await?;
                return after(then).await;
            }
            Delivery::Nothing(then) => return after(then).await,
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// What follows an answer that is not whole.
enum Then {
    Cut,
    Hang,
}

async fn after(then: Then) -> io::Result<()> {
    match then {
        Then::Cut => Ok(()),
        Then::Hang => pending().await,
    }
}

/// How an answer leaves.
enum Delivery {
    Whole(Answer),
    Slow(Answer, Duration),
    Half(Answer, Then),
    Nothing(Then),
}

fn decide(request: &Request, state: &Shared, now: Duration) -> Delivery {
    if request.method == "CONNECT" {
        // As a proxy that lets nobody through.
        return Delivery::Whole(Answer::page(403, "-"));
    }
    let Some((token, method)) = http::call(&request.path) else {
        return Delivery::Whole(Answer::refused(&Refusal::new(404, "Not Found")));
    };
    if !method.eq_ignore_ascii_case("sendMessage") {
        return Delivery::Whole(Answer::refused(&Refusal::new(404, "Not Found: method not found")));
    }
    match lock(state).send_message(now, token, &request.body) {
        Reply::Sent(received) => Delivery::Whole(Answer::sent(&received)),
        Reply::Refused(refusal) => Delivery::Whole(Answer::refused(&refusal)),
        Reply::TooFast { seconds } => Delivery::Whole(Answer::throttled(seconds, ToldWhere::Both)),
        Reply::Faulty(fault, received) => {
            let answer = received.as_ref().map_or_else(Answer::without_message_id, Answer::sent);
            faulty(fault, answer, &request.path)
        }
    }
}

/// `answer` is what would have been said had nothing gone wrong.
fn faulty(fault: Fault, answer: Answer, path: &str) -> Delivery {
    match fault {
        Fault::Refuse(refusal) => Delivery::Whole(Answer::refused(&refusal)),
        Fault::Throttle { seconds, told } => Delivery::Whole(Answer::throttled(seconds, told)),
        Fault::Page(status) => Delivery::Whole(Answer::page(status, path)),
        Fault::Garbage => Delivery::Whole(Answer::garbage()),
        Fault::NoMessageId => Delivery::Whole(Answer::without_message_id()),
        Fault::HangBeforeAnswer { .. } => Delivery::Nothing(Then::Hang),
        Fault::HangInBody => Delivery::Half(answer, Then::Hang),
        Fault::Cut { .. } => Delivery::Nothing(Then::Cut),
        Fault::CutInBody => Delivery::Half(answer, Then::Cut),
        Fault::Slow { pause } => Delivery::Slow(answer, pause),
    }
}
