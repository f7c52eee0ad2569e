//! Real Xray servers for tests, as `scripts/install-xray.sh` makes them: a Python module with the whole of Xray in it.
//!
//! Each has its API on a Unix socket of its own. The ports of its inbounds are held for as long as it runs: Xray listens
//! with `SO_REUSEPORT`, so a second one on the same port would start without an error and take every other connection.

mod process;

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use process::{HeldPort, Process};

/// How long traffic through a client may take. A server that does not know the user closes at once.
const TRAFFIC_LIMIT: Duration = Duration::from_secs(20);
/// The address a client connects from: Xray counts nobody from 127.0.0.1 as online.
pub const CLIENT_ADDRESS: &str = "127.0.0.2";

/// A version of Xray that tests are run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The older one.
    V26_7_28,
    /// The one the facts were measured on.
    V26_10_10,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V26_7_28, Self::V26_10_10];

    /// The version of its package.
    fn package(self) -> &'static str {
        match self {
            Self::V26_7_28 => "1.8.26.10",
            Self::V26_10_10 => "1.8.26.13",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V26_7_28 => "v26.7.28",
            Self::V26_10_10 => "v26.10.10",
        })
    }
}

/// A version that is installed.
#[derive(Debug, Clone)]
pub struct Installed {
    python: PathBuf,
}

/// Looks for a version. None where it is missing, which is said on stderr: the test is to end then, it was skipped.
///
/// # Errors
/// It is missing, `CI` is `true` and the script could install it: then nothing may be skipped.
pub fn find(version: Version) -> io::Result<Option<Installed>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let python = cache.map(|cache| cache.join("perennial/xray").join(version.package()).join("bin/python"));
    let python = python.filter(|python| python.exists());
    if let Some(python) = python {
        return Ok(Some(Installed { python }));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/install-xray.sh");
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if in_ci && Command::new(&script).arg("--can").status().is_ok_and(|status| status.success()) {
        return Err(io::Error::other(format!("Xray {version} is not installed: run scripts/install-xray.sh")));
    }
    // Not by `eprintln`, which the test harness keeps to itself while a test passes.
    writeln!(io::stderr(), "SKIPPED: Xray {version} is not installed; scripts/install-xray.sh installs it")?;
    Ok(None)
}

/// What a server is configured with beside an API on a Unix socket.
#[derive(Debug, Default)]
pub struct Setup {
    /// Users of the inbound `vless-in`: e-mail, UUID, flow. An empty e-mail is left out.
    pub users: Vec<(String, Uuid, String)>,
    /// Further inbounds by tag: protocol and settings, each with a port of its own.
    pub inbounds: Vec<(String, String, Value)>,
    /// Certificate and key, PEM files: its API behind a TLS inbound, instead of on a socket. The inbound may close
    /// connections for a moment after the start, until the API behind it is there.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Services of the API; the two we need when empty.
    pub services: Vec<String>,
}

/// A running server with a VLESS inbound `vless-in`. Dropping it kills it.
///
/// It dies with the *thread* that started it, by the kernel's hand: keep it on a thread that outlives it.
#[derive(Debug)]
pub struct RealXray {
    process: Process,
    installed: Installed,
    vless: HeldPort,
    tls: Option<HeldPort>,
    _others: Vec<HeldPort>,
    folder: TempDir,
}

impl RealXray {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// It did not start: what it wrote, if it wrote anything.
    pub fn start(installed: &Installed, setup: &Setup) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("perennial-real-xray-").tempdir()?;
        let (vless, tls) = (HeldPort::new()?, setup.tls.as_ref().map(|_| HeldPort::new()).transpose()?);
        let others = setup.inbounds.iter().map(|_| HeldPort::new()).collect::<io::Result<Vec<_>>>()?;
        let mut config = base_config(setup, &folder.path().join("api.sock"), vless.port);
        let mut inbounds: Vec<Value> = vec![config["inbounds"][0].take()];
        for ((tag, protocol, settings), held) in setup.inbounds.iter().zip(&others) {
            inbounds.push(json!({"tag": tag, "listen": "127.0.0.1", "port": held.port, "protocol": protocol,
                "settings": settings}));
        }
        if let (Some((certificate, key)), Some(held)) = (&setup.tls, &tls) {
            inbounds.push(tls_tunnel(certificate, key, held.port));
            config["routing"] = json!({"rules": [{"inboundTag": ["api-tls"], "outboundTag": "api"}]});
            // With a socket of its own the API is no target of rules.
            config["api"]["listen"].take();
        }
        config["inbounds"] = inbounds.into();
        let process = Process::start(&installed.python, folder.path(), &config, &inbound_ports(&config))?;
        Ok(Self { process, installed: installed.clone(), vless, tls, _others: others, folder })
    }

    /// Where its API answers, as the settings have it.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.tls {
            Some(held) => format!("https://localhost:{}", held.port),
            None => format!("unix:{}", self.folder.path().join("api.sock").display()),
        }
    }

    /// The port of the inbound `vless-in`.
    #[must_use]
    pub fn vless_port(&self) -> u16 {
        self.vless.port
    }

    /// Whether its process is there.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Kills it and starts it again on the same configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.end();
        let config: Value = serde_json::from_str(&fs::read_to_string(self.folder.path().join("config.json"))?)?;
        self.process = Process::start(&self.installed.python, self.folder.path(), &config, &inbound_ports(&config))?;
        Ok(())
    }

    /// Stops it where it stands: its sockets take requests, and nobody answers.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> io::Result<()> {
        self.process.freeze()
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> io::Result<()> {
        self.process.thaw()
    }

    /// Starts a VLESS client with this UUID and sends something through the server; answers whether it came back.
    ///
    /// # Errors
    /// The client did not start, or nothing was heard at all.
    pub fn can_connect(&self, uuid: Uuid) -> io::Result<bool> {
        Ok(self.client(uuid)?.passes_traffic())
    }

    /// Starts a VLESS client with this UUID.
    ///
    /// # Errors
    /// It did not start.
    pub fn client(&self, uuid: Uuid) -> io::Result<RealClient> {
        RealClient::start(&self.installed, self.vless.port, uuid)
    }
}

fn base_config(setup: &Setup, api: &Path, vless_port: u16) -> Value {
    let services = match setup.services.as_slice() {
        [] => json!(["HandlerService", "StatsService"]),
        given => json!(given),
    };
    let clients = setup.users.iter().map(|(email, uuid, flow)| match email.as_str() {
        "" => json!({"id": uuid.to_string()}),
        email => json!({"id": uuid.to_string(), "email": email, "flow": flow}),
    });
    let clients: Vec<Value> = clients.collect();
    json!({
        "log": {"loglevel": "none"}, "stats": {},
        "api": {"tag": "api", "listen": format!("{},0600", api.display()), "services": services},
        "policy": {"levels": {"0": {"statsUserUplink": true, "statsUserDownlink": true, "statsUserOnline": true}}},
        "inbounds": [{"tag": "vless-in", "listen": "127.0.0.1", "port": vless_port, "protocol": "vless",
            "settings": {"clients": clients, "decryption": "none"}}],
        // Newer releases drop what a proxy sends to private addresses, and the echo of the tests is at one.
        "outbounds": [{"tag": "direct", "protocol": "freedom",
            "settings": {"finalRules": [{"action": "allow", "ip": ["127.0.0.0/8"]}]}}],
    })
}

fn tls_tunnel(certificate: &Path, key: &Path, port: u16) -> Value {
    json!({
        "tag": "api-tls", "listen": "127.0.0.1", "port": port, "protocol": "dokodemo-door",
        "settings": {"address": "127.0.0.1"},
        "streamSettings": {"network": "tcp", "security": "tls", "tlsSettings": {"alpn": ["h2"],
            "certificates": [{"certificateFile": certificate, "keyFile": key}]}},
    })
}

fn inbound_ports(config: &Value) -> Vec<u16> {
    let inbounds = config["inbounds"].as_array().map(Vec::as_slice).unwrap_or_default();
    inbounds.iter().filter_map(|inbound| u16::try_from(inbound["port"].as_u64()?).ok()).collect()
}

/// A VLESS client: what is sent to its port comes out of the server and is echoed.
#[derive(Debug)]
pub struct RealClient {
    _process: Process,
    port: HeldPort,
    _folder: TempDir,
}

impl RealClient {
    fn start(installed: &Installed, server_port: u16, uuid: Uuid) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("perennial-real-client-").tempdir()?;
        let port = HeldPort::new()?;
        let config = json!({
            "log": {"loglevel": "none"},
            "inbounds": [{"listen": "127.0.0.1", "port": port.port, "protocol": "dokodemo-door",
                "settings": {"address": "127.0.0.1", "port": echo()?}}],
            "outbounds": [{"protocol": "vless", "sendThrough": CLIENT_ADDRESS, "settings": {"vnext": [{
                "address": "127.0.0.1", "port": server_port,
                "users": [{"id": uuid.to_string(), "encryption": "none"}]}]}}],
        });
        let process = Process::start(&installed.python, folder.path(), &config, &[port.port])?;
        Ok(Self { _process: process, port, _folder: folder })
    }

    /// Opens a connection through the server and tries it.
    #[must_use]
    pub fn passes_traffic(&self) -> bool {
        self.open().is_ok_and(|mut stream| is_echoed(&mut stream))
    }

    /// Opens a connection through the server; whether it leads anywhere, [`is_echoed`] tells.
    ///
    /// # Errors
    /// The client is gone.
    pub fn open(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.port))?;
        stream.set_read_timeout(Some(TRAFFIC_LIMIT))?;
        Ok(stream)
    }
}

/// Sends something and tells whether it comes back.
pub fn is_echoed(stream: &mut TcpStream) -> bool {
    const WORD: &[u8; 4] = b"ping";
    let mut back = [0; WORD.len()];
    stream.write_all(WORD).and_then(|()| stream.read_exact(&mut back)).is_ok_and(|()| back == *WORD)
}

/// Starts something that sends back whatever it gets, for as long as this process lives. Answers its port.
fn echo() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name("echo".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut there = &stream;
                // It ends when the other side does.
                let _ended = io::copy(&mut &stream, &mut there);
            });
        }
    })?;
    Ok(port)
}
