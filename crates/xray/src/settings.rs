//! What a node is to its client: address, deadlines, limits.

use std::path::PathBuf;
use std::time::Duration;

/// How to reach one Xray server. [`NodeSettings::new`] fills in what is good for most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name in errors.
    pub name: String,
    /// Where its API answers: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
    pub address: String,
    /// Certificates of the authority that signed its API's, PEM; the public ones when absent. Only for `https://`.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take: name, TCP, TLS. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a call about one user may take, and how long it may wait for its turn. Default 5 s. Too small: answers
    /// of a busy server are lost and calls end as `Unknown`; too large: a dead server holds up a pass.
    pub call_timeout: Duration,
    /// How long a call about all users may take. Default 60 s; a million users take about 4 s on a quick network.
    pub list_timeout: Duration,
    /// How many calls may be under way at once. Default 16: about two thirds of what a server can do at all. Calls
    /// beyond it wait.
    pub max_in_flight: usize,
    /// Longest answer taken, in bytes. Default 256 MiB, about 2.4 million users.
    pub max_list_bytes: usize,
}

impl NodeSettings {
    /// Settings of a node with the defaults above.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            list_timeout: Duration::from_secs(60),
            max_in_flight: 16,
            max_list_bytes: 256 << 20,
        }
    }
}
