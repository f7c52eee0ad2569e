use std::path::PathBuf;

use super::*;

const URL: &str = "postgresql://renew:hunter2@db.example:6432,db2.example:6432/shop?sslmode=disable";

struct Sources {
    folder: tempfile::TempDir,
    options: BaseOptions,
    config: Config,
    credentials: Option<OsString>,
}

impl Sources {
    fn none() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: BaseOptions::default(),
            config: Config::default(),
            credentials: None,
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    fn find(&self) -> Result<Connection, SettingError> {
        Connection::find(&self.options, &self.config, self.credentials.clone())
    }
}

#[test]
fn the_first_source_that_is_given_is_used() {
    let url = |host: &str| format!("postgresql://{host}/shop?sslmode=disable");
    let mut sources = Sources::none();
    assert_eq!(
        sources.find().unwrap_err().to_string(),
        "--database-url: no database is named: set DATABASE_URL, or write it into a file: /etc/perennial/database-url, or what \
         [database] url_file names"
    );
    sources.credentials = Some(OsString::new());
    assert!(sources.find().is_err(), "an empty variable is none");
    let beside = tempfile::tempdir().unwrap();
    std::fs::write(beside.path().join("database-url"), url("beside")).unwrap();
    sources.config.folder = Some(beside.path().into());
    assert_eq!(sources.find().unwrap().to_string(), "beside:5432/shop");
    sources.file("database-url", &format!("{}\n", url("credential")));
    sources.credentials = Some(sources.folder.path().into());
    assert_eq!(sources.find().unwrap().to_string(), "credential:5432/shop");
    sources.config.database.url_file = Some(sources.file("url", &url("file")));
    assert_eq!(sources.find().unwrap().to_string(), "file:5432/shop");
    sources.options.database_url = Some(url("flag").into());
    let connection = sources.find().unwrap();
    assert_eq!((connection.to_string().as_str(), connection.source()), ("flag:5432/shop", "--database-url"));
}

#[test]
fn a_secret_file_must_hold_one_line() {
    let mut sources = Sources::none();
    for content in ["", "\n", "postgresql://h/hunter2\nmore\n"] {
        sources.config.database.url_file = Some(sources.file("url", content));
        let error = sources.find().unwrap_err().to_string();
        assert!(error.contains("does not hold one line") && !error.contains("hunter2"), "{error}");
    }
    sources.config.database.url_file = Some(sources.folder.path().join("missing"));
    assert!(sources.find().unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_connection_prints_without_its_password() {
    let mut sources = Sources::none();
    sources.options.database_url = Some(URL.into());
    let connection = sources.find().unwrap();
    assert_eq!(connection.to_string(), "renew@db.example:6432,db2.example:6432/shop");
    assert!(!format!("{connection:?} {sources:?}", sources = sources.options).contains("hunter2"));
}

#[test]
fn over_a_socket_nothing_is_encrypted_whatever_is_asked() {
    let mut sources = Sources::none();
    sources.options.database_url = Some("postgresql:///shop?host=/run/postgresql&user=u&sslmode=verify-full".into());
    let connection = sources.find().unwrap();
    assert_eq!(connection.to_string(), "u@/run/postgresql:5432/shop");
    assert_eq!(connection.encryption(), "none (Unix socket)");
}

#[test]
fn sslmode_and_ca_file_mean_what_they_mean_to_libpq() {
    let mut sources = Sources::none();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ca = sources.file("ca.pem", &certificate.pem());
    for (mode, with_ca, encryption) in [
        ("", false, "if offered, server not verified"),
        ("", true, "server's authority and name verified"),
        ("sslmode=disable", false, "none"),
        ("sslmode=prefer", false, "if offered, server not verified"),
        ("sslmode=require", false, "server not verified"),
        ("sslmode=require", true, "server's authority verified"),
        ("sslmode=verify-ca", true, "server's authority verified"),
        ("sslmode=verify-ca", false, "server's authority verified"),
        ("sslmode=verify-full", true, "server's authority and name verified"),
        ("sslmode=verify-full", false, "server's authority and name verified"),
        ("sslmode=verify-full&sslrootcert=system", false, "server's authority and name verified"),
    ] {
        sources.config.database.ca_file = with_ca.then(|| ca.clone());
        sources.options.database_url = Some(format!("postgresql://h/shop?{mode}").into());
        assert_eq!(sources.find().unwrap().encryption(), encryption, "{mode} {with_ca}");
    }
}

#[test]
fn a_ca_file_that_cannot_be_used_is_refused() {
    let mut sources = Sources::none();
    let empty = sources.file("empty.pem", "");
    let broken = sources.file("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let wrong = sources.file("wrong.pem", "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n");
    let missing = sources.folder.path().join("missing.pem");
    for (mode, file, problem) in [
        ("", &empty, "holds no certificate"),
        ("", &broken, "is not PEM"),
        ("", &wrong, "holds a certificate that cannot be used"),
        ("", &missing, "cannot be read"),
        ("sslmode=disable", &empty, "would not be used"),
        ("sslmode=prefer", &empty, "would not be used"),
    ] {
        sources.config.database.ca_file = Some(file.clone());
        sources.options.database_url = Some(format!("postgresql://h/shop?{mode}").into());
        let error = sources.find().unwrap_err().to_string();
        let start = format!("database.ca_file = {}: {problem}", file.display());
        assert!(error.starts_with(&start), "{error}");
    }
}
