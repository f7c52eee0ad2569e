//! Comparing an Xray server with the database: what `reconcile-xray` acts on, and what others may count.
//!
//! The server is **listed first, the database read second**: whoever is on the list and was granted before is known by
//! then, so nobody just added is taken for a stranger. Open credentials are read the oldest first, page by page, the next
//! one while one is compared, and each is looked for on the lists; who is on a list and was looked for by none of them is
//! then looked up by e-mail. A credential that is committed behind the page being read is not seen: its user is looked up
//! if he is listed, and missed by the next pass if he is not. Memory is bounded by the lists, whatever the size of the
//! table.
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

pub use compare::compare;
pub use decide::{Decision, GroupMatch, OnNode, Owner, Owners, Standing, Watched, Wrong, decide};
pub use merge::{Comparison, Extra, Misfit, Missing, Place, Rightful, Why};
pub use uuids::UuidKey;
