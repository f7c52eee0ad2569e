//! One HTTP/2 connection to a node.
//!
//! A connection that broke is never mended behind our back: what was learnt about the server belongs to it, and a
//! request that was not sent must be told apart from one whose answer is missing.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use perennial_core::ports::InboundTag;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{ConnectError, Status};
use tower::service_fn;

use crate::address::{Address, HostPort};

/// How much a server may send ahead of what was read. HTTP/2's own 64 KiB make a long list wait for the network.
const WINDOW_BYTES: u32 = 1 << 20;

/// Makes connections to one node.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Address,
    endpoint: Endpoint,
}

impl Dialer {
    /// Reads the CA file, if there is one; connects to nobody. The error says what to set right.
    pub(crate) fn new(address: Address, ca_file: Option<&Path>) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(address.origin()).map_err(|error| chain(&error))?;
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let endpoint = match &address {
            Address::Tls(place) => endpoint.tls_config(tls(place, ca_file)?).map_err(|error| chain(&error))?,
            Address::Plain(_) | Address::Unix(_) => match ca_file {
                Some(_) => return Err("ca_file is of no use without https://".to_owned()),
                None => endpoint,
            },
        };
        Ok(Self { address, endpoint })
    }

    /// Connects. Has no deadline of its own. The error is fit for a log.
    pub(crate) async fn dial(&self) -> Result<Connection, String> {
        let channel = match &self.address {
            Address::Plain(HostPort { host, port }) | Address::Tls(HostPort { host, port }) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                self.speak_over(stream).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                self.speak_over(stream.map_err(|error| format!("{}: {error}", path.display()))?).await
            }
        };
        channel.map(Connection::new).map_err(|error| explained(&error))
    }

    async fn speak_over<S>(&self, stream: S) -> Result<Channel, tonic::transport::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut once = Some(TokioIo::new(stream));
        // tonic asks for another stream when this one has ended, and is told no: see the head of this file.
        let connector = service_fn(move |_: Uri| {
            let stream = once.take().ok_or_else(|| io::Error::other("the connection has ended"));
            std::future::ready(stream)
        });
        self.endpoint.connect_with_connector(connector).await
    }
}

fn tls(place: &HostPort, ca_file: Option<&Path>) -> Result<ClientTlsConfig, String> {
    let config = ClientTlsConfig::new().domain_name(&place.host);
    let Some(path) = ca_file else { return Ok(config.with_webpki_roots()) };
    let pem = std::fs::read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))?;
    if !pem.windows(PEM_START.len()).any(|window| window == PEM_START) {
        // Without this, an empty list of authorities refuses every server and does not say why.
        return Err(format!("ca_file {}: no certificate in it", path.display()));
    }
    Ok(config.ca_certificate(Certificate::from_pem(pem)))
}

const PEM_START: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A connection, and what is known of the server at its other end.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    vless: Mutex<HashSet<InboundTag>>,
}

impl Connection {
    fn new(channel: Channel) -> Self {
        Self { channel, vless: Mutex::default() }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Whether this inbound is known to be VLESS.
    pub(crate) fn is_vless(&self, inbound: &InboundTag) -> bool {
        self.vless.lock().unwrap_or_else(PoisonError::into_inner).contains(inbound)
    }

    pub(crate) fn note_vless(&self, inbound: &InboundTag) {
        self.vless.lock().unwrap_or_else(PoisonError::into_inner).insert(inbound.clone());
    }
}

/// Whether the request of this status never left: the connection had ended before.
pub(crate) fn was_not_sent(status: &Status) -> bool {
    // The text is tonic's, for a channel whose task has ended; it has no cause that could be looked at.
    causes(status).any(|cause| cause.is::<ConnectError>()) || status.message().starts_with("Service was not ready")
}

/// Whether this status was made here, by the transport, and not by the server.
pub(crate) fn is_of_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// What the transport says, from its innermost cause: the outer ones say only "transport error".
pub(crate) fn cause_of(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), |cause| cause.to_string())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), |cause| cause.to_string())
}

/// A failed connection, with what it most likely means.
fn explained(error: &tonic::transport::Error) -> String {
    let text = chain(error);
    // rustls's word for "these bytes are no TLS".
    if text.contains("InvalidContentType") {
        return format!("{text}: it does not speak TLS there; http:// or another port is meant");
    }
    text
}
