//! The servers the scenarios run against: the fake, and real ones of each version.

use std::time::Duration;

use perennial_core::ports::InboundTag;
use perennial_testkit::fake_xray::{FakeXray, Protocol};
use perennial_testkit::real_xray::{self, CLIENT_ADDRESS, Installed, RealClient, RealXray, Setup, Version, is_echoed};
use perennial_xray::{NodeSettings, XrayNode};
use serde_json::json;
use uuid::Uuid;

/// Which servers a scenario is played on.
#[derive(Clone)]
pub(crate) enum Kind {
    Fake,
    Real(Installed),
}

/// What a scenario wants to find; all servers have `vless-in`, and these inbounds beside it.
#[derive(Default)]
pub(crate) struct Stage {
    pub(crate) users: Vec<(&'static str, Uuid)>,
    pub(crate) services: Vec<&'static str>,
}

pub(crate) const VLESS: &str = "vless-in";
pub(crate) const TROJAN: &str = "trojan-in";
pub(crate) const VMESS: &str = "vmess-in";
pub(crate) const DOKODEMO: &str = "dokodemo-in";

pub(crate) fn tag(text: &str) -> InboundTag {
    InboundTag(text.to_owned())
}

impl Kind {
    /// None where it is not installed, which has been said then.
    pub(crate) fn real(version: Version) -> Option<Self> {
        real_xray::find(version).unwrap().map(Self::Real)
    }

    pub(crate) fn start(&self, stage: Stage) -> Server {
        match self {
            Self::Fake => Server::Fake(start_fake(stage)),
            Self::Real(installed) => Server::Real(RealXray::start(installed, &real_setup(stage)).unwrap()),
        }
    }

    /// A server with nobody on it, and its client.
    pub(crate) fn start_empty(&self) -> (Server, XrayNode) {
        let server = self.start(Stage::default());
        let node = server.node();
        (server, node)
    }
}

fn start_fake(stage: Stage) -> FakeXray {
    let mut fake = FakeXray::builder()
        .inbound(VLESS)
        .inbound_of(TROJAN, Protocol::Trojan)
        .inbound_of(VMESS, Protocol::Vmess)
        .inbound_of(DOKODEMO, Protocol::Dokodemo);
    for (email, uuid) in stage.users {
        fake = fake.config_user(VLESS, email, uuid, "");
    }
    if !stage.services.is_empty() {
        fake = fake.services(&stage.services);
    }
    fake.start().unwrap()
}

fn real_setup(stage: Stage) -> Setup {
    let inbound = |tag: &str, protocol: &str, settings| (tag.to_owned(), protocol.to_owned(), settings);
    Setup {
        users: stage.users.into_iter().map(|(email, uuid)| (email.to_owned(), uuid, String::new())).collect(),
        inbounds: vec![
            inbound(TROJAN, "trojan", json!({"clients": []})),
            inbound(VMESS, "vmess", json!({"clients": []})),
            inbound(DOKODEMO, "dokodemo-door", json!({"address": "127.0.0.1", "port": 9})),
        ],
        tls: None,
        services: stage.services.into_iter().map(str::to_owned).collect(),
    }
}

/// A running server.
pub(crate) enum Server {
    Fake(FakeXray),
    Real(RealXray),
}

impl Server {
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Fake(fake) => fake.address(),
            Self::Real(real) => real.address(),
        }
    }

    pub(crate) fn node(&self) -> XrayNode {
        XrayNode::connect(patient("n1", &self.address())).unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        match self {
            Self::Fake(fake) => fake.is_running(),
            Self::Real(real) => real.is_running(),
        }
    }

    /// Waits until its process has ended.
    pub(crate) fn ends(&mut self) -> bool {
        (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            !self.is_running()
        })
    }

    pub(crate) async fn restart(&mut self) {
        match self {
            Self::Fake(fake) => fake.restart().unwrap(),
            Self::Real(real) => real.restart().unwrap(),
        }
        notice_what_ended().await;
    }

    pub(crate) async fn stop(self) {
        drop(self);
        notice_what_ended().await;
    }

    /// Whether a client with this UUID is let in; a real one sends traffic.
    pub(crate) fn can_connect(&self, uuid: Uuid) -> bool {
        match self {
            Self::Fake(fake) => fake.can_connect(uuid),
            Self::Real(real) => real.can_connect(uuid).unwrap(),
        }
    }

    /// A client that is connected until the value is dropped.
    pub(crate) fn session(&self, email: &str, uuid: Uuid) -> Session {
        match self {
            Self::Fake(fake) => {
                fake.set_online(email, &[CLIENT_ADDRESS]);
                Session::Fake
            }
            Self::Real(real) => {
                let client = real.client(uuid).unwrap();
                let mut stream = client.open().unwrap();
                assert!(is_echoed(&mut stream), "{email} cannot connect");
                Session::Real { stream, _client: client }
            }
        }
    }
}

/// Lets the client's connection see that its other end is gone: this thread was busy elsewhere.
async fn notice_what_ended() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A live connection of a user.
pub(crate) enum Session {
    Fake,
    Real {
        stream: std::net::TcpStream,
        /// Lives as long as the connection through it.
        _client: RealClient,
    },
}

impl Session {
    pub(crate) fn still_passes_traffic(&mut self) -> bool {
        match self {
            Self::Fake => true,
            Self::Real { stream, .. } => is_echoed(stream),
        }
    }
}

/// Settings for a machine that is busy with other tests.
pub(crate) fn patient(name: &str, address: &str) -> NodeSettings {
    let long = Duration::from_secs(60);
    NodeSettings { connect_timeout: long, call_timeout: long, list_timeout: long, ..NodeSettings::new(name, address) }
}
