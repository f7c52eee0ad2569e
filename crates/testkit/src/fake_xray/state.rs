//! What a server knows: inbounds, users, credentials. Every text is Xray's own.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ids::credential;

/// A user of an inbound.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FakeUser {
    /// As it was added, in whatever case.
    pub email: String,
    /// What lets it in.
    pub uuid: Uuid,
    /// Empty: none.
    pub flow: String,
}

impl std::fmt::Debug for FakeUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeUser").field("email", &self.email).field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// The kind of an inbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The one that counts here.
    Vless,
    /// Has users of another kind: a VLESS account sent to it ends the server.
    Vmess,
    /// As `Vmess`.
    Trojan,
    /// Has no users.
    Dokodemo,
}

impl Protocol {
    /// The path in its refusals; none for a kind without users.
    fn path(self) -> Option<&'static str> {
        match self {
            Self::Vless => Some("proxy/vless"),
            Self::Vmess => Some("proxy/vmess/inbound"),
            Self::Trojan => Some("proxy/trojan"),
            Self::Dokodemo => None,
        }
    }
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Code `UNKNOWN` and this text.
    Refused(String),
    /// Code `NOT_FOUND`: there is no map of this name.
    NoSuchName(String),
    /// The handler panics: the process is gone.
    Dies,
}

fn refused<T>(text: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Refused(text.into()))
}

struct Inbound {
    protocol: Protocol,
    of_config: Vec<FakeUser>,
    /// By lower-cased e-mail.
    users: HashMap<String, FakeUser>,
    /// What clients are looked up by, and which e-mail it was added with last.
    credentials: HashMap<[u8; 16], String>,
}

impl Inbound {
    fn add(&mut self, path: &str, user: FakeUser) -> Result<(), Trouble> {
        if !user.email.is_empty() {
            let key = user.email.to_lowercase();
            if self.users.contains_key(&key) {
                return refused(format!("{path}: User {} already exists.", user.email));
            }
            self.users.insert(key, user.clone());
        }
        // Not looked at before: the later of two with one UUID owns it.
        self.credentials.insert(credential(user.uuid), user.email);
        Ok(())
    }

    fn remove(&mut self, path: &str, email: &str) -> Result<(), Trouble> {
        if email.is_empty() {
            return refused(format!("{path}: Email must not be empty."));
        }
        let Some(user) = self.users.remove(&email.to_lowercase()) else {
            return refused(format!("{path}: User {email} not found."));
        };
        // Whoever owns it: two with one UUID are both gone with either.
        self.credentials.remove(&credential(user.uuid));
        Ok(())
    }

    fn start(&mut self) {
        self.users.clear();
        self.credentials.clear();
        for user in self.of_config.clone() {
            // A doubled e-mail in a configuration file would not start at all; here the first counts.
            let _first_counts = self.add("", user);
        }
    }
}

/// Everything a server forgets when it ends, and the configuration it starts from.
pub(super) struct State {
    inbounds: BTreeMap<String, Inbound>,
    online: BTreeMap<String, Vec<String>>,
    started: Instant,
    ran_before: Duration,
}

impl State {
    pub(super) fn new(inbounds: Vec<(String, Protocol)>, users: Vec<(String, FakeUser)>) -> Self {
        let mut state = Self {
            inbounds: BTreeMap::new(),
            online: BTreeMap::new(),
            started: Instant::now(),
            ran_before: Duration::ZERO,
        };
        for (tag, protocol) in inbounds {
            let inbound =
                Inbound { protocol, of_config: Vec::new(), users: HashMap::new(), credentials: HashMap::new() };
            state.inbounds.insert(tag, inbound);
        }
        for (tag, user) in users {
            if let Some(inbound) = state.inbounds.get_mut(&tag) {
                inbound.of_config.push(user);
            }
        }
        state.start();
        state
    }

    /// As a started process has it: the users of the configuration and no others.
    pub(super) fn start(&mut self) {
        self.started = Instant::now();
        self.ran_before = Duration::ZERO;
        self.online.clear();
        self.inbounds.values_mut().for_each(Inbound::start);
    }

    pub(super) fn uptime(&self) -> Duration {
        self.ran_before + self.started.elapsed()
    }

    pub(super) fn set_uptime(&mut self, uptime: Duration) {
        self.started = Instant::now();
        self.ran_before = uptime;
    }

    pub(super) fn tags(&self) -> Vec<String> {
        self.inbounds.keys().cloned().collect()
    }

    /// The inbound of a tag with the path of its refusals.
    fn inbound(&mut self, tag: &str) -> Result<(&mut Inbound, &'static str), Trouble> {
        let Some(inbound) = self.inbounds.get_mut(tag) else {
            return refused(format!(
                "app/proxyman/command: failed to get handler: {tag} > app/proxyman/inbound: handler not found: {tag}"
            ));
        };
        match inbound.protocol.path() {
            Some(path) => Ok((inbound, path)),
            None => refused("app/proxyman/command: proxy is not a UserManager"),
        }
    }

    /// Adds a VLESS user. `parse` reads it once it is clear that the inbound has users.
    pub(super) fn add(&mut self, tag: &str, parse: impl FnOnce() -> Result<FakeUser, Trouble>) -> Result<(), Trouble> {
        let (inbound, path) = self.inbound(tag)?;
        let user = parse()?;
        if inbound.protocol != Protocol::Vless {
            return Err(Trouble::Dies);
        }
        inbound.add(path, user)
    }

    pub(super) fn remove(&mut self, tag: &str, email: &str) -> Result<(), Trouble> {
        let (inbound, path) = self.inbound(tag)?;
        inbound.remove(path, email)
    }

    /// All users with an e-mail, in no order.
    pub(super) fn list(&mut self, tag: &str) -> Result<Vec<FakeUser>, Trouble> {
        Ok(self.inbound(tag)?.0.users.values().cloned().collect())
    }

    pub(super) fn find(&mut self, tag: &str, email: &str) -> Result<Option<FakeUser>, Trouble> {
        Ok(self.inbound(tag)?.0.users.get(&email.to_lowercase()).cloned())
    }

    pub(super) fn can_connect(&self, tag: Option<&str>, uuid: Uuid) -> bool {
        let asked = self.inbounds.iter().filter(|(name, _)| tag.is_none_or(|tag| tag == *name));
        asked.into_iter().any(|(_, inbound)| inbound.credentials.contains_key(&credential(uuid)))
    }

    pub(super) fn online(&self) -> &BTreeMap<String, Vec<String>> {
        &self.online
    }

    pub(super) fn set_online(&mut self, email: &str, addresses: &[&str]) {
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        if addresses.is_empty() {
            self.online.remove(email);
        } else {
            self.online.insert(email.to_owned(), addresses);
        }
    }
}
