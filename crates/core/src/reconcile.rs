//! Comparing an Xray server with the database: what `reconcile-xray` acts on, and what others may count.
//!
//! The server is **listed first, the database read second**: whoever is on the list and was granted before is known by
//! then, so nobody just added is taken for a stranger. Open credentials are read in the order of their e-mails, page by
//! page, and merged with the lists, which come in the same order; what is on a list and not among them is then looked
//! up by e-mail. Memory is bounded by the lists, whatever the size of the table.
//!
//! [`decide`] says what is to be done with each pair of sides; it is pure and total. Nothing is written here, and
//! nothing on a server is changed.
//!
//! **What cannot be seen.** A user whom the configuration of a server gives no e-mail can connect, and its API neither
//! lists nor counts nor removes him: the length of the list and the server's own count agree without him. So nothing
//! here can warn of such users; only the server's configuration file shows them.

mod compare;
mod decide;
mod emails;
mod merge;
mod uuids;

pub use compare::{Trouble, compare};
pub use decide::{Decision, GroupMatch, OnNode, Owner, Owners, Standing, Watched, Wrong, decide};
pub use merge::{Comparison, Extra, Misfit, Missing, Place, Rightful, Why};
pub use uuids::UuidKey;
