//! TLS to PostgreSQL, with libpq's meanings.
//!
//! | `sslmode` | encrypted | server's certificate |
//! |---|---|---|
//! | `disable` | no | – |
//! | `prefer` (without a CA the default, as libpq's) | if the server offers it | not checked |
//! | `require` | yes | not checked; with a CA given: as `verify-ca` |
//! | `verify-ca` | yes | signed by the CA |
//! | `verify-full` (with a CA the default) | yes | signed by the CA, and for this host name |
//!
//! Two differences from libpq, both towards safety: a CA given without `sslmode` means `verify-full`, not `prefer`
//! (who names a CA wants it used), and a CA given with `disable` or `prefer`, where it would be ignored, is refused.
//! Without a CA `verify-ca` and `verify-full` trust the public authorities (libpq's `sslrootcert=system`). Client
//! certificates and revocation lists are not supported; a server certificate that is itself a CA is refused by rustls.
//! Over a Unix socket nothing is encrypted and `sslmode` does not matter, as with libpq.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::conninfo::SslMode;
use crate::setting::SettingError;

/// How connections are encrypted and whom they trust.
#[derive(Clone)]
pub(crate) struct Tls {
    /// None: not at all.
    pub(crate) client: Option<Arc<ClientConfig>>,
    /// What the driver has to know of it.
    pub(crate) mode: tokio_postgres::config::SslMode,
    /// In words, for the start line.
    words: &'static str,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words)
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words)
    }
}

/// The file with the authority's certificates, and the setting that named it.
#[derive(Debug, Clone)]
pub(crate) struct CaFile {
    pub(crate) file: PathBuf,
    pub(crate) setting: &'static str,
}

impl Tls {
    pub(crate) fn over_socket() -> Self {
        Self { client: None, mode: tokio_postgres::config::SslMode::Disable, words: "none (Unix socket)" }
    }

    /// What `mode` and CA file ask for together.
    ///
    /// # Errors
    /// The CA file cannot be read, holds no certificate, or would be ignored.
    pub(crate) fn new(mode: Option<SslMode>, ca: Option<&CaFile>) -> Result<Self, SettingError> {
        use tokio_postgres::config::SslMode as Driver;
        let mode = mode.unwrap_or(if ca.is_some() { SslMode::VerifyFull } else { SslMode::Prefer });
        if let (SslMode::Disable | SslMode::Prefer, Some(ca)) = (mode, ca) {
            return Err(SettingError::new(
                ca.setting,
                ca.file.display(),
                "would not be used, since sslmode asks for no check of the server",
                "set sslmode to verify-full, or remove the file",
            ));
        }
        let (client, mode, words) = match (mode, ca) {
            (SslMode::Disable, _) => (None, Driver::Disable, "none"),
            (SslMode::Prefer, _) => (Some(unverified()?), Driver::Prefer, "if offered, server not verified"),
            (SslMode::Require, None) => (Some(unverified()?), Driver::Require, "server not verified"),
            (SslMode::Require | SslMode::VerifyCa, ca) => {
                (Some(verified_chain(roots(ca)?)?), Driver::Require, "server's authority verified")
            }
            (SslMode::VerifyFull, ca) => {
                (Some(verified_fully(roots(ca)?)?), Driver::Require, "server's authority and name verified")
            }
        };
        Ok(Self { client: client.map(Arc::new), mode, words })
    }
}

/// TLS that trusts the public authorities: for the heartbeat.
///
/// # Errors
/// rustls has no usable protocol version: a defect of the build.
pub(crate) fn public_tls() -> Result<ClientConfig, SettingError> {
    verified_fully(public_roots())
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn roots(ca: Option<&CaFile>) -> Result<RootCertStore, SettingError> {
    match ca {
        None => Ok(public_roots()),
        // libpq's word for the authorities the system trusts; ours are built in.
        Some(ca) if ca.file == Path::new("system") => Ok(public_roots()),
        Some(ca) => read_roots(ca),
    }
}

fn read_roots(ca: &CaFile) -> Result<RootCertStore, SettingError> {
    let refuse = |problem: String| {
        SettingError::new(
            ca.setting,
            ca.file.display(),
            problem,
            "name a PEM file with the certificates of the server's authority",
        )
    };
    let text = crate::config::check::readable(ca.setting, &ca.file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| refuse(format!("is not PEM ({error})")))?;
        roots.add(certificate).map_err(|error| refuse(format!("holds a certificate that cannot be used ({error})")))?;
    }
    if roots.is_empty() { Err(refuse("holds no certificate".to_owned())) } else { Ok(roots) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Always with the provider named: several in one build make `ClientConfig::builder` panic.
fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, SettingError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingError::unshown("TLS", format!("no usable version ({error})"), "rebuild the program"))
}

fn verified_fully(roots: RootCertStore) -> Result<ClientConfig, SettingError> {
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

fn verified_chain(roots: RootCertStore) -> Result<ClientConfig, SettingError> {
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| SettingError::unshown("TLS", format!("no verifier ({error})"), "check the CA file"))?;
    with_verifier(Lenient { chain: Some(chain), provider: provider() })
}

fn unverified() -> Result<ClientConfig, SettingError> {
    with_verifier(Lenient { chain: None, provider: provider() })
}

fn with_verifier(verifier: Lenient) -> Result<ClientConfig, SettingError> {
    Ok(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Checks less than rustls would by itself, exactly as much less as the operator's `sslmode` says.
#[derive(Debug)]
struct Lenient {
    /// The chain is checked by it, the name is not; none: any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything before it was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
