//! What tests, benchmarks and the demo stand on: a throw-away PostgreSQL cluster ([`Cluster`]) and, on it, a
//! migrated database for each test ([`db_test`]).
//!
//! A dev-dependency only: none of the passes may use it.

pub mod bare_xray;
pub mod builders;
mod clock;
pub mod cluster;
pub mod db;
pub mod detour;
pub mod fake_telegram;
pub mod fake_xray;
pub mod program;
pub mod real_xray;

pub use clock::TestClock;
pub use cluster::{Cluster, ClusterError, ClusterOptions};
pub use db::{TestDb, check_invariants, db_test, db_test_unchecked};
