//! The core of Perennial: domain types, the ledger, the repository and keyset paging, shared by all passes.
//!
//! It knows no gRPC and no HTTP. Prices ([`price_kopecks`]) and calendar sums ([`period_end`]) are SQL functions of the
//! schema, because bots in any language need them too: there is one of each, and Rust never calculates either.
//!
//! [`price_kopecks`]: schema::MIGRATIONS
//! [`period_end`]: schema::MIGRATIONS

pub mod allowance;
pub mod batch;
pub mod causes;
pub mod crash;
pub mod db;
pub mod delivery;
pub mod ending;
pub mod ids;
pub mod ledger;
pub mod money;
pub mod node;
pub mod operator;
pub mod page;
pub mod pass;
pub mod ports;
pub mod reconcile;
pub mod removal;
pub mod schema;
pub mod share;
pub mod time;
