//! Handshakes with a server that speaks PostgreSQL as far as TLS, with certificates made here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::*;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> CaFile {
        CaFile { file: self.folder.path().join("ca.pem"), setting: "database.ca_file" }
    }

    /// A server whose certificate it signed for `name`; answers each connection in a thread.
    fn server_for(&self, name: &str) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        serve(Some(Arc::new(config)))
    }
}

fn serve(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that refuses the certificate hangs up in the middle: that is the test's point.
            drop(answer(stream.unwrap(), tls.clone()));
        }
    });
    address
}

/// Reads the request for TLS, shakes hands or declines, and refuses the login with a SQLSTATE that tells which.
fn answer(mut stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request)?;
    assert_eq!(request[4..], 80_877_103_u32.to_be_bytes(), "no request for TLS");
    match tls {
        Some(config) => {
            stream.write_all(b"S")?;
            let mut connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            refuse_login(&mut rustls::Stream::new(&mut connection, &mut stream), "28E01")
        }
        None => {
            stream.write_all(b"N")?;
            refuse_login(&mut stream, "28N01")
        }
    }
}

fn refuse_login(stream: &mut (impl Read + Write), sqlstate: &str) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut startup)?;
    // Behind a pooler every parameter more is a refusal: these three the driver must send, and no others.
    let parameters: Vec<&[u8]> =
        startup[4..].split(|byte| *byte == 0).step_by(2).filter(|key| !key.is_empty()).collect();
    assert_eq!(parameters, [&b"client_encoding"[..], b"user", b"database"]);
    let fields = format!("SFATAL\0C{sqlstate}\0Mno\0\0");
    stream.write_all(b"E")?;
    stream.write_all(&(u32::try_from(fields.len()).unwrap() + 4).to_be_bytes())?;
    stream.write_all(fields.as_bytes())?;
    stream.flush()
}

/// How far a connection came.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Encrypted,
    Plain,
    RefusedByUs,
}

fn connect(server: SocketAddr, tls: &Tls) -> Came {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut driver = tokio_postgres::Config::new();
    driver.host("localhost").hostaddr(server.ip()).port(server.port()).user("u").dbname("d").ssl_mode(tls.mode);
    let connector = MakeRustlsConnect::new(tls.client.as_deref().unwrap().clone());
    let error = runtime.block_on(driver.connect(connector)).err().expect("nobody is let in");
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("28E01") => Came::Encrypted,
        Some("28N01") => Came::Plain,
        _ => Came::RefusedByUs,
    }
}

#[test]
fn each_mode_verifies_what_it_says() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let right = ours.server_for("localhost");
    let other_name = ours.server_for("elsewhere.example");
    let other_authority = theirs.server_for("localhost");
    let no_tls = serve(None);
    let ca = ours.file();
    use Came::{Encrypted, Plain, RefusedByUs};
    use SslMode::{Prefer, Require, VerifyCa, VerifyFull};
    for (mode, ca, expected) in [
        (Some(Prefer), None, [Encrypted, Encrypted, Encrypted, Plain]),
        (Some(Require), None, [Encrypted, Encrypted, Encrypted, RefusedByUs]),
        (Some(Require), Some(&ca), [Encrypted, Encrypted, RefusedByUs, RefusedByUs]),
        (Some(VerifyCa), Some(&ca), [Encrypted, Encrypted, RefusedByUs, RefusedByUs]),
        (Some(VerifyFull), Some(&ca), [Encrypted, RefusedByUs, RefusedByUs, RefusedByUs]),
        (None, Some(&ca), [Encrypted, RefusedByUs, RefusedByUs, RefusedByUs]),
        // The public authorities have signed none of them.
        (Some(VerifyFull), None, [RefusedByUs, RefusedByUs, RefusedByUs, RefusedByUs]),
    ] {
        let tls = Tls::new(mode, ca).unwrap();
        let came = [right, other_name, other_authority, no_tls].map(|server| connect(server, &tls));
        assert_eq!(came, expected, "{mode:?} {ca:?}");
    }
}
