//! Certificates for tests: an authority, and what it signed for `localhost`.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority's certificate in a file, and a server's certificate and key.
pub(crate) struct Certificates {
    pub(crate) folder: TempDir,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap().pem();
        let made = Self { folder: tempfile::tempdir().unwrap(), certificate, key: key.serialize_pem() };
        std::fs::write(made.ca_file(), authority.pem()).unwrap();
        made
    }

    pub(crate) fn ca_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key as files.
    pub(crate) fn files(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        let files = ["server.pem", "server.key"].map(|name| self.folder.path().join(name));
        std::fs::write(&files[0], &self.certificate).unwrap();
        std::fs::write(&files[1], &self.key).unwrap();
        let [certificate, key] = files;
        (certificate, key)
    }
}
