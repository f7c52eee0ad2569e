//! What we need of the outside: an Xray server and a messenger, behind small traits. Passes are generic over them; the
//! clients live in crates of their own, the fakes in the testkit.
//!
//! Each call has the implementer's own deadline. None of them may be made while a database transaction is open, which
//! the types see to: who holds a `Tx` has no client.

mod bounded;
mod lost;
mod user_list;

use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

pub use bounded::Bounded;
pub use lost::Lost;
pub use user_list::{ListedUser, UserList, UserListBuilder};

/// Where on a server a credential is let in: the tag of a VLESS inbound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundTag(pub String);

/// A user to be put on an inbound. `Debug` masks the UUID.
#[derive(Clone, PartialEq, Eq)]
pub struct XrayUser {
    /// Xray's key within the inbound: lower-case ASCII, `[a-z0-9._@-]`.
    pub email: String,
    /// The secret.
    pub uuid: Uuid,
    /// `xtls-rprx-vision` or empty, as the inbound demands.
    pub flow: String,
}

impl std::fmt::Debug for XrayUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XrayUser").field("email", &self.email).field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// A user as a server has it. `Debug` masks the UUID.
#[derive(Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// Lower-cased: the server compares so.
    pub email: String,
    /// None where the server keeps something that is no UUID.
    pub uuid: Option<Uuid>,
    /// Empty: none.
    pub flow: String,
}

impl std::fmt::Debug for FoundUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundUser").field("email", &self.email).field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// The answer to an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// It was put there.
    Added,
    /// The e-mail was there before and nothing was changed. UUID and flow may differ: compare the listed user.
    WasPresent,
}

/// The answer to a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was taken off.
    Removed,
    /// There was no such user: as good as removed.
    WasAbsent,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Since when it runs; a small value after a large one is a restart, which forgets users added at run time.
    pub uptime: Duration,
    /// Its inbounds, where it can list them (v25.6.8).
    pub inbounds: Option<Vec<InboundTag>>,
}

/// Who is connected, where the server counts that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineUser {
    /// Whose session.
    pub email: String,
    /// From where.
    pub addresses: Vec<String>,
}

/// Calls under way at once on one server, by one pass.
pub const IN_FLIGHT: usize = 16;

/// One Xray server. All calls may be repeated without harm.
#[allow(async_fn_in_trait, reason = "everything runs on one thread; nothing needs the futures to be Send")]
pub trait Xray {
    /// All users of an inbound, in byte order of their e-mails.
    ///
    /// # Errors
    /// [`XrayError`]; a list that failed says nothing about anybody.
    async fn list_users(&self, inbound: &InboundTag) -> Result<UserList, XrayError>;

    /// One user of an inbound, by e-mail.
    ///
    /// # Errors
    /// [`XrayError`].
    async fn find_user(&self, inbound: &InboundTag, email: &str) -> Result<Option<FoundUser>, XrayError>;

    /// Puts a user on an inbound.
    ///
    /// # Errors
    /// [`XrayError`]; after [`XrayError::Unknown`] it may be there or not, now or later.
    async fn add_user(&self, inbound: &InboundTag, user: &XrayUser) -> Result<Addition, XrayError>;

    /// Takes a user off an inbound. Live connections go on until they end by themselves.
    ///
    /// # Errors
    /// [`XrayError`]; after [`XrayError::Unknown`] it may be gone or not, now or later.
    async fn remove_user(&self, inbound: &InboundTag, email: &str) -> Result<Removal, XrayError>;

    /// Uptime and inbounds.
    ///
    /// # Errors
    /// [`XrayError`].
    async fn status(&self) -> Result<NodeStatus, XrayError>;

    /// Who of these is connected; none where the server does not count it.
    ///
    /// # Errors
    /// [`XrayError`].
    async fn online(&self, emails: &[String]) -> Result<Option<Vec<OnlineUser>>, XrayError>;
}

/// Why a call to an Xray server failed, a variant per reaction.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum XrayError {
    /// Nothing was done: refused, not resolved, TLS mismatch. Try again later.
    #[error("{node}: cannot be reached: {reason}")]
    Unreachable {
        /// Name of the node.
        node: String,
        /// What the transport says.
        reason: String,
    },
    /// No answer in time, or the connection broke: done or not, nobody knows.
    #[error("{node}: no answer: {reason}")]
    Unknown {
        /// Name of the node.
        node: String,
        /// What is known.
        reason: String,
    },
    /// The settings do not fit the server: wrong tag, inbound without VLESS users, service switched off, server too old.
    /// Nothing was done, and nothing on this inbound can be.
    #[error("{node}: {reason}")]
    Misconfigured {
        /// Name of the node.
        node: String,
        /// What to set right.
        reason: String,
    },
    /// The server refused this request: a defect of ours.
    #[error("{node}: refused: {reason}")]
    Refused {
        /// Name of the node.
        node: String,
        /// Its text.
        reason: String,
    },
}

/// A text for one chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The receiver: a user's Telegram id, or an admin chat (negative for groups).
    pub chat_id: i64,
    /// HTML in Telegram's subset, values escaped, 1 to 4096 characters after parsing.
    pub html: String,
    /// A button below it.
    pub button: Option<Button>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Texts are private: never in a log.
        f.debug_struct("Message").field("chat_id", &self.chat_id).finish_non_exhaustive()
    }
}

/// An inline button that opens a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Its caption.
    pub caption: String,
    /// Where it leads.
    pub url: String,
}

/// Sends messages.
#[allow(async_fn_in_trait, reason = "everything runs on one thread; nothing needs the futures to be Send")]
pub trait Messenger {
    /// Sends a message and answers its id. Not idempotent: after [`MessengerError::Unknown`] the kind of the notice
    /// decides whether it is sent again.
    ///
    /// # Errors
    /// [`MessengerError`].
    async fn send(&self, message: &Message) -> Result<i64, MessengerError>;
}

/// Why a message was not sent, a variant per reaction.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum MessengerError {
    /// Too fast: nothing may be sent by this bot before the wait is over.
    #[error("throttled for {} s", wait.as_secs())]
    Throttled {
        /// How long.
        wait: Duration,
    },
    /// The group got another id: send there.
    #[error("the chat moved to {to}")]
    ChatMoved {
        /// The new id.
        to: i64,
    },
    /// This receiver cannot be reached until a sign of life: blocked the bot, deleted the account, never wrote to it.
    #[error("cannot be reached: {reason}")]
    Unreachable {
        /// The messenger's text.
        reason: String,
    },
    /// This message will never be taken: too long, broken markup.
    #[error("refused: {reason}")]
    Refused {
        /// The messenger's text.
        reason: String,
    },
    /// The token is not valid: stop, nothing can be sent at all.
    #[error("the bot token was refused: {reason}")]
    Unauthorised {
        /// The messenger's text.
        reason: String,
    },
    /// Certainly not sent; try again later.
    #[error("not sent: {reason}")]
    Transient {
        /// What happened, without the URL, which holds the token.
        reason: String,
    },
    /// Sent or not, nobody knows: no answer in time, or the connection broke after the request had left.
    #[error("sent or not: {reason}")]
    Unknown {
        /// What happened, without the URL.
        reason: String,
    },
}
