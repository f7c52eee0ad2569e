//! A fake Xray server: a gRPC server in this process that answers as Xray v26.10.10 does, word for word, and on demand
//! hangs, refuses, lies, breaks off or dies.
//!
//! One contract suite (`crates/xray/tests/contract.rs`) runs over this and over real servers. It keys users by their
//! lower-cased e-mail, keeps credentials apart from them as Xray does (so that two users with one UUID are both cut off
//! by the removal of either), and forgets at a restart what came in at run time.

mod calls;
mod faults;
mod gate;
mod handler;
mod ids;
mod server;
mod shared;
mod state;
mod stats;
mod wire;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tonic::transport::Identity;
use uuid::Uuid;

pub use tonic::Code;

pub use calls::{Call, Kind};
pub use faults::{Fault, When};
pub use gate::Release;
pub use state::{FakeUser, Protocol};

use gate::Offer;
use server::{Place, Running};
use shared::{Order, Shared};
use state::State;

/// What a fake is started with: [`FakeXray::builder`].
#[derive(Debug)]
pub struct FakeXrayBuilder {
    inbounds: Vec<(String, Protocol)>,
    users: Vec<(String, FakeUser)>,
    offer: Offer,
    place: Option<Place>,
    identity: Option<(String, String)>,
}

impl FakeXrayBuilder {
    /// With a VLESS inbound of this tag.
    #[must_use]
    pub fn inbound(self, tag: &str) -> Self {
        self.inbound_of(tag, Protocol::Vless)
    }

    /// With an inbound of this tag and kind.
    #[must_use]
    pub fn inbound_of(mut self, tag: &str, protocol: Protocol) -> Self {
        self.inbounds.push((tag.to_owned(), protocol));
        self
    }

    /// With a user in the configuration file of this inbound: it comes back at a restart. Without an e-mail it is
    /// invisible to the API.
    #[must_use]
    pub fn config_user(mut self, tag: &str, email: &str, uuid: Uuid, flow: &str) -> Self {
        self.users.push((tag.to_owned(), FakeUser { email: email.to_owned(), uuid, flow: flow.to_owned() }));
        self
    }

    /// As an older release, without the calls that came later.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.offer.release = release;
        self
    }

    /// Offers only these services, such as `StatsService`.
    #[must_use]
    pub fn services(mut self, names: &[&str]) -> Self {
        self.offer.services = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// On a free port of 127.0.0.1; the default is a Unix socket in a folder of its own.
    #[must_use]
    pub fn on_tcp(self) -> Self {
        Self { place: Some(Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))), ..self }
    }

    /// On a Unix socket at this path.
    #[must_use]
    pub fn on_unix(self, path: &Path) -> Self {
        Self { place: Some(Place::Unix(path.to_owned())), ..self }
    }

    /// With TLS, as behind a tunnel inbound: certificate and key, PEM. Wants [`Self::on_tcp`].
    #[must_use]
    pub fn tls(self, certificate: &str, key: &str) -> Self {
        Self { identity: Some((certificate.to_owned(), key.to_owned())), ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// The place cannot be listened at.
    pub fn start(self) -> io::Result<FakeXray> {
        let folder = tempfile::Builder::new().prefix("perennial-xray-").tempdir()?;
        let mut place = self.place.unwrap_or_else(|| Place::Unix(folder.path().join("api.sock")));
        let shared = Shared::new(State::new(self.inbounds, self.users));
        let identity = self.identity.map(|(certificate, key)| Identity::from_pem(certificate, key));
        let running = Running::start(&shared, &mut place, &self.offer, identity.as_ref())?;
        Ok(FakeXray { shared, place, offer: self.offer, identity, running: Some(running), _folder: folder })
    }
}

/// A running fake. Dropping it ends it.
pub struct FakeXray {
    shared: Shared,
    place: Place,
    offer: Offer,
    identity: Option<Identity>,
    running: Option<Running>,
    /// Removed last, with the socket in it.
    _folder: TempDir,
}

impl fmt::Debug for FakeXray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeXray").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl FakeXray {
    /// A fake with nothing in it yet.
    #[must_use]
    pub fn builder() -> FakeXrayBuilder {
        let services = ["HandlerService", "StatsService"].map(str::to_owned).to_vec();
        FakeXrayBuilder {
            inbounds: Vec::new(),
            users: Vec::new(),
            offer: Offer { release: gate::MEASURED, services },
            place: None,
            identity: None,
        }
    }

    /// A fake with one empty VLESS inbound, `vless-in`.
    ///
    /// # Errors
    /// No socket can be listened at.
    pub fn start() -> io::Result<Self> {
        Self::builder().inbound("vless-in").start()
    }

    /// Where its API answers, as the settings have it.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix:{}", path.display()),
            Place::Tcp(address) if self.identity.is_some() => format!("https://localhost:{}", address.port()),
            Place::Tcp(address) => format!("http://{address}"),
        }
    }

    /// The users of an inbound in order of their e-mails, as its API lists them; none for a wrong tag.
    #[must_use]
    pub fn users(&self, tag: &str) -> Vec<FakeUser> {
        let mut users = self.shared.state().list(tag).unwrap_or_default();
        users.sort_unstable();
        users
    }

    /// Whether a client with this UUID is let in at any inbound.
    #[must_use]
    pub fn can_connect(&self, uuid: Uuid) -> bool {
        self.shared.state().can_connect(None, uuid)
    }

    /// Whether a client with this UUID is let in at this inbound.
    #[must_use]
    pub fn can_connect_at(&self, tag: &str, uuid: Uuid) -> bool {
        self.shared.state().can_connect(Some(tag), uuid)
    }

    /// Adds a user at run time, as somebody else would. An e-mail that is there is left as it is.
    pub fn put_user(&self, tag: &str, email: &str, uuid: Uuid, flow: &str) {
        let user = FakeUser { email: email.to_owned(), uuid, flow: flow.to_owned() };
        // Whether it was there before is for the test to know.
        let _was_there = self.shared.state().add(tag, || Ok(user));
    }

    /// Removes a user, as somebody else would.
    pub fn drop_user(&self, tag: &str, email: &str) {
        // As above.
        let _was_absent = self.shared.state().remove(tag, email);
    }

    /// Has somebody be connected from these addresses; from none: not connected.
    pub fn set_online(&self, email: &str, addresses: &[&str]) {
        self.shared.state().set_online(email, addresses);
    }

    /// Has it run for this long.
    pub fn set_uptime(&self, uptime: Duration) {
        self.shared.state().set_uptime(uptime);
    }

    /// Everything it was asked so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls().clone()
    }

    /// How often it was asked something of this kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.shared.calls().iter().filter(|call| call.kind == kind).count()
    }

    /// Forgets what it was asked.
    pub fn clear_calls(&self) {
        self.shared.calls().clear();
    }

    /// Makes something go wrong.
    pub fn inject(&self, when: When, fault: Fault) {
        self.shared.faults().push(when, fault);
    }

    /// Lets nothing go wrong any more.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Whether it still serves: not after a crash.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_running)
    }

    /// Breaks all connections. It goes on and takes new ones.
    pub fn disconnect(&self) {
        self.shared.order(Order::Disconnect);
    }

    /// Ends as a process that dies: connections break, nobody listens any more.
    pub fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            self.shared.order(Order::End);
            running.join();
        }
    }

    /// Ends it, if it runs, and starts it anew at the same address: users added at run time are forgotten, those of the
    /// configuration are back, it has just started. Faults and the log stay.
    ///
    /// # Errors
    /// The place cannot be listened at any more.
    pub fn restart(&mut self) -> io::Result<()> {
        self.crash();
        self.shared.state().start();
        self.running = Some(Running::start(&self.shared, &mut self.place, &self.offer, self.identity.as_ref())?);
        Ok(())
    }
}

impl Drop for FakeXray {
    fn drop(&mut self) {
        self.crash();
    }
}
