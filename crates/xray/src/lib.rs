//! The client of one Xray server: [`XrayNode`], which is a [`perennial_core::ports::Xray`].
//!
//! # What the calls ask, and since when there is an answer
//!
//! | method | call of Xray's API | since |
//! |---|---|---|
//! | `list_users`, `find_user` | `GetInboundUsers` | v24.11.5, the oldest version this client is good for |
//! | `add_user`, `remove_user` | `AlterInbound`, and once for an inbound and connection the question for its protocol | v1.8.0 |
//! | `status` | `GetSysStats`, and `ListInbounds` | v1.8.0; the inbounds v25.6.8 |
//! | `online` | `GetUsersStats`, else `GetAllOnlineUsers` and `GetStatsOnlineIpList`, else the latter alone | v26.4.13, v26.1.13, v25.2.18 |
//!
//! The server must offer `HandlerService`, and `StatsService` for the last two rows.
//!
//! # What an error says
//!
//! | error | what happened | was it done? |
//! |---|---|---|
//! | `Unreachable` | no connection, wrong port or TLS, no turn; before a change also: no answer to the question for the protocol | no |
//! | `Unknown` | the request left, and no whole answer came in time | perhaps, or it will be |
//! | `Misconfigured` | wrong tag, an inbound that is not VLESS or has no users, a service or call not offered, an answer above the limit | no |
//! | `Refused` | an e-mail, UUID or flow that must not be sent, or a refusal nobody foresaw | no |
//!
//! A request is sent once; only where it certainly did not leave (the connection had ended before) it is sent again. No
//! keepalive pings: Xray ends a connection that sends them every few seconds.
//!
//! No error and no `Debug` shows a UUID.

mod abilities;
mod address;
mod connection;
mod failure;
mod fields;
mod list;
mod node;
mod online;
mod refusal;
mod request;
mod settings;
mod wire;
mod xray;

#[cfg(feature = "fuzzing")]
pub use list::fuzzing;

pub use abilities::Abilities;
pub use node::XrayNode;
pub use settings::NodeSettings;
