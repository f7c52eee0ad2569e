//! The thread a fake serves on, with a runtime of its own: whatever the test's runtime does, and however it blocks, the
//! server answers. Dropping that runtime breaks all connections at once, as the death of a process does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Connected;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tower::layer::layer_fn;

use super::gate::{Gate, Offer};
use super::shared::{Order, Shared};
use super::wire::handler::handler_service_server::HandlerServiceServer;
use super::wire::stats::stats_service_server::StatsServiceServer;

/// How long the place of a server that ended may stay taken.
const BIND_LIMIT: Duration = Duration::from_secs(5);
const BIND_PAUSE: Duration = Duration::from_millis(5);

/// Where a fake listens.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Port 0: any free one.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A bound socket.
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn bind(place: &Place) -> io::Result<Self> {
        let socket = match place {
            Place::Tcp(address) => Self::Tcp(TcpListener::bind(address)?),
            Place::Unix(path) => {
                // Left behind by a fake that crashed.
                let _was_there = std::fs::remove_file(path);
                Self::Unix(UnixListener::bind(path)?)
            }
        };
        match &socket {
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
            Self::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

/// A server on its thread.
pub(super) struct Running {
    thread: JoinHandle<()>,
}

impl Running {
    /// Listens at `place`, which gets its port filled in, and serves. Where the last server just ended, it waits until
    /// the place is free.
    pub(super) fn start(shared: &Shared, place: &mut Place, offer: &Offer, tls: Option<&Identity>) -> io::Result<Self> {
        let socket = bind_when_free(place)?;
        if let (Socket::Tcp(listener), Place::Tcp(address)) = (&socket, &mut *place) {
            *address = listener.local_addr()?;
        }
        shared.order(Order::Serve);
        let (shared, offer, tls) = (shared.clone(), offer.clone(), tls.cloned());
        let place = place.clone();
        let thread = thread::Builder::new().name("fake-xray".to_owned()).spawn(move || {
            if let Err(error) = serve_until_end(&shared, &socket, &offer, tls.as_ref()) {
                // Nobody waits for this thread's word; the calls of the test fail, and this says why.
                eprint(&error);
            }
            if let Place::Unix(path) = place {
                // Gone already when the folder around it is.
                let _was_there = std::fs::remove_file(path);
            }
        })?;
        Ok(Self { thread })
    }

    pub(super) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for the end that was ordered.
    pub(super) fn join(self) {
        // A panic of that thread has been printed by its panic hook.
        let _panicked = self.thread.join();
    }
}

#[allow(clippy::print_stderr)] // a test's output
fn eprint(error: &io::Error) {
    eprintln!("fake-xray: {error}");
}

fn bind_when_free(place: &Place) -> io::Result<Socket> {
    let begun = Instant::now();
    loop {
        match Socket::bind(place) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < BIND_LIMIT => {
                thread::sleep(BIND_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn serve_until_end(shared: &Shared, socket: &Socket, offer: &Offer, tls: Option<&Identity>) -> io::Result<()> {
    let mut orders = shared.orders();
    loop {
        let runtime = runtime()?;
        let order = runtime.block_on(async {
            let serving = serve(shared, socket.try_clone()?, offer, tls);
            tokio::select! {
                ended = serving => ended.map(|()| Order::End),
                order = orders.wait_for(|order| *order != Order::Serve) => {
                    // The sender is in `shared`, so it is there.
                    Ok(order.map_or(Order::End, |order| *order))
                }
            }
        })?;
        // Its connections break with it.
        runtime.shutdown_background();
        if order == Order::End {
            return Ok(());
        }
        shared.disconnected();
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn serve(shared: &Shared, socket: Socket, offer: &Offer, tls: Option<&Identity>) -> io::Result<()> {
    match socket {
        Socket::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve_on(TcpListenerStream::new(listener), shared, offer, tls).await
        }
        Socket::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            serve_on(UnixListenerStream::new(listener), shared, offer, tls).await
        }
    }
}

async fn serve_on<I, S>(incoming: I, shared: &Shared, offer: &Offer, tls: Option<&Identity>) -> io::Result<()>
where
    I: Stream<Item = io::Result<S>>,
    S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    S::ConnectInfo: Clone + Send + Sync + 'static,
{
    let mut server = Server::builder();
    if let Some(identity) = tls {
        let config = ServerTlsConfig::new().identity(identity.clone());
        server = server.tls_config(config).map_err(io::Error::other)?;
    }
    let gated = server
        .layer(layer_fn(|inner| Gate { inner, offer: offer.clone() }))
        .add_service(HandlerServiceServer::new(shared.clone()))
        .add_service(StatsServiceServer::new(shared.clone()));
    gated.serve_with_incoming(incoming).await.map_err(io::Error::other)
}
