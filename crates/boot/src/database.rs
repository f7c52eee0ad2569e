//! The way to the database: where the connection string comes from, TLS, and opening the pool.

mod conninfo;
mod tls;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use perennial_core::db::{Database, DatabaseOptions, DbError};
use perennial_core::time::{Clock, Deadline};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Config, check};
use crate::options::BaseOptions;
use crate::secrets::{self, SecretFile};
use crate::setting::SettingError;
use conninfo::ConnInfo;
use tls::{CaFile, Tls};

pub(crate) use tls::public_tls;

/// How to reach the database. Prints without the password.
#[derive(Clone)]
pub struct Connection {
    driver: tokio_postgres::Config,
    tls: Tls,
    source: String,
}

impl Connection {
    /// Finds the connection string: flag or `DATABASE_URL`, else `[database] url_file`, else the systemd credential
    /// `database-url`, else a file of that name beside the settings file. Reads the files it needs and connects nowhere.
    ///
    /// # Errors
    /// There is none, it cannot be parsed, or a file cannot be read.
    pub fn new(options: &BaseOptions, config: &Config) -> Result<Self, SettingError> {
        Self::find(options, config, secrets::credentials())
    }

    fn find(options: &BaseOptions, config: &Config, credentials: Option<OsString>) -> Result<Self, SettingError> {
        let (url, source) = database_url(options, config, credentials)?;
        let info = ConnInfo::parse(url.expose_secret(), &source)?;
        let mut driver = info.driver;
        let tls = if driver.get_hosts().is_empty() || driver.get_hosts().iter().all(|h| matches!(h, Host::Unix(_))) {
            if driver.get_hosts().is_empty() {
                return Err(SettingError::unshown(
                    source,
                    "names no host",
                    "name one, or a socket folder (host=/PATH)",
                ));
            }
            Tls::over_socket()
        } else {
            let from_url = info.ssl_root.map(|file| CaFile { file, setting: "sslrootcert" });
            let from_file = config.database.ca_file.clone().map(|file| CaFile { file, setting: "database.ca_file" });
            Tls::new(info.ssl_mode, from_url.or(from_file).as_ref())?
        };
        driver.ssl_mode(tls.mode);
        Ok(Self { driver, tls, source })
    }

    /// Prepares the pool; the first transaction connects.
    ///
    /// # Errors
    /// The pool cannot be built.
    pub fn open(
        &self,
        options: DatabaseOptions,
        clock: Arc<dyn Clock>,
        deadline: Deadline,
    ) -> Result<Database, DbError> {
        let driver = self.driver.clone();
        match &self.tls.client {
            None => Database::connect(driver, NoTls, options, clock, deadline),
            Some(client) => {
                let tls = MakeRustlsConnect::new(client.as_ref().clone());
                Database::connect(driver, tls, options, clock, deadline)
            }
        }
    }

    /// One direct connection outside the pool, for what needs a session of its own (migrations under an advisory
    /// lock). Its other half runs as a task of the current runtime and ends with the client.
    ///
    /// # Errors
    /// The driver's.
    pub async fn connect_directly(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        match &self.tls.client {
            None => {
                let (client, connection) = self.driver.connect(NoTls).await?;
                drop(tokio::spawn(connection));
                Ok(client)
            }
            Some(client) => {
                let (client, connection) = self.driver.connect(MakeRustlsConnect::new(client.as_ref().clone())).await?;
                drop(tokio::spawn(connection));
                Ok(client)
            }
        }
    }

    /// How the connection is encrypted and the server verified, in words.
    #[must_use]
    pub fn encryption(&self) -> String {
        self.tls.to_string()
    }

    /// The setting the connection string came from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Connection {
    /// `USER@HOST:PORT/DATABASE`, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = self.driver.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.driver.get_ports();
        for (index, host) in self.driver.get_hosts().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", self.driver.get_dbname().or(self.driver.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({self})")
    }
}

fn database_url(
    options: &BaseOptions,
    config: &Config,
    credentials: Option<OsString>,
) -> Result<(SecretString, String), SettingError> {
    if let Some(url) = &options.database_url {
        return Ok((url.clone(), "--database-url".to_owned()));
    }
    if let Some(file) = &config.database.url_file {
        return Ok((secret_of(file, "database.url_file")?, "database.url_file".to_owned()));
    }
    if let Some(SecretFile { file, source }) = secrets::find("database-url", credentials, config.folder.as_deref()) {
        return Ok((secret_of(&file, &source)?, source));
    }
    Err(SettingError::unshown(
        "--database-url",
        "no database is named",
        "set DATABASE_URL, or write it into a file: /etc/perennial/database-url, or what [database] url_file names",
    ))
}

/// The content of a file that holds one secret, without the line end an editor leaves.
fn secret_of(file: &Path, setting: &str) -> Result<SecretString, SettingError> {
    let text = check::readable(setting, file)?;
    let secret = text.trim();
    if secret.is_empty() || secret.contains('\n') {
        return Err(SettingError::new(setting, file.display(), "does not hold one line", "write the secret alone"));
    }
    Ok(SecretString::from(secret))
}

#[cfg(test)]
mod tests;
