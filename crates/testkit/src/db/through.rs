//! How passes come to a test's database: straight, through PgBouncer in transaction mode, or each under its own role.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};

use perennial_core::pass::Pass;

use super::TestDb;
use super::server::fatal;
use crate::cluster::{Pooler, find_pgbouncer};

/// Empty or unset: straight to the server, as its owner.
const VARIABLE: &str = "PERENNIAL_TEST_THROUGH";
/// Fewer than tests have clients, and enough for those that hold several transactions open at once.
const SESSIONS: u32 = 8;
/// Those with a role of their own.
/// Who may do what; its roles are the whole cluster's.
pub(super) const ROLES: &str = include_str!("../../../../sql/roles.sql");

/// How passes connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    Pooled,
    ByRole,
}

/// The pooler of this process. A static is never dropped: [`stop_at_exit`].
static POOLER: Mutex<Option<Pooler>> = Mutex::new(None);

pub(super) fn way() -> Way {
    match env::var(VARIABLE).unwrap_or_default().as_str() {
        "" => Way::Straight,
        "pgbouncer" => Way::Pooled,
        "roles" => Way::ByRole,
        other => panic!("{VARIABLE}={other}: it is pgbouncer or roles"),
    }
}

pub(super) fn url_for(pass: &str, db: &TestDb) -> String {
    match way() {
        Way::Pooled => pooled(db),
        Way::ByRole if Pass::ALL.iter().any(|known| known.name() == pass) => as_role(db.url(), pass),
        Way::Straight | Way::ByRole => db.url().to_owned(),
    }
}

/// The owner may become anybody, and then has no more rights than that one.
fn as_role(url: &str, pass: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-c%20role%3Dperennial_{}", pass.replace('-', "_"))
}

fn pooled(db: &TestDb) -> String {
    let mut pooler = pooler();
    pooler
        .get_or_insert_with(|| {
            let Some(program) = find_pgbouncer() else {
                panic!("{VARIABLE}=pgbouncer, and there is none: scripts/install-pgbouncer.sh")
            };
            stop_at_exit();
            Pooler::start(&program, &db.config(), SESSIONS)
                .unwrap_or_else(|error| fatal("cannot start a pooler", &error))
        })
        .url(db.name())
}

fn pooler() -> MutexGuard<'static, Option<Pooler>> {
    // A panic elsewhere leaves the option as it was.
    POOLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the pooler ended and its folder removed when the test program ends; the kernel ends that of a killed one.
#[allow(unsafe_code)] // std has no hook for the end of a program
fn stop_at_exit() {
    extern "C" fn stop() {
        drop(pooler().take());
    }
    // SAFETY: `stop` has the signature wanted, lives as long as the program and does not unwind: it ends a process and
    // removes files, and both report errors by value. If registering fails, nothing is called.
    let _ended_by_the_kernel = unsafe { libc::atexit(stop) };
}
