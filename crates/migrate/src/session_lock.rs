//! The lock that lets one migration run at a time. It belongs to a session, so it is only worth something on a
//! connection whose statements all reach the same one.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::{MigrateError, failed};

/// Key of the advisory lock; a number of our own, so that no other lock is meant.
const KEY: i64 = 0x5045_524d_4947_5231;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

const TRY: &str = "SELECT pg_try_advisory_lock($1) AS got, pg_backend_pid() AS session";

/// `objsubid` 1 says that the key is one bigint, whose halves stand in the two columns before it.
const HELD_HERE: &str = "
SELECT EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
        AND l.pid = pg_backend_pid() AND l.pid = $2
        AND (l.classid::bigint << 32 | l.objid::bigint) = $1
) AS held";

const RELEASE: &str = "SELECT pg_advisory_unlock($1) AS released";

/// The lock, held by the session that a client talks to.
pub(crate) struct SessionLock {
    session: i32,
}

impl SessionLock {
    /// Takes the lock, waiting for whoever has it, and makes sure that this session holds it.
    pub(crate) async fn take(client: &Client) -> Result<Self, MigrateError> {
        let mut waits = false;
        let lock = loop {
            let row = client.query_typed_one(TRY, &[(&KEY, Type::INT8)]).await;
            let row = row.map_err(|error| failed("take the lock of migrations", error))?;
            if row.get("got") {
                break Self { session: row.get("session") };
            }
            if !waits {
                log::info!("another migration is under way, waiting for its end");
                waits = true;
            }
            sleep(PAUSE).await;
        };
        lock.must_be_held(client).await?;
        Ok(lock)
    }

    /// Gives the lock back. That it was still held tells that all in between went through one session.
    pub(crate) async fn release(self, client: &Client) -> Result<(), MigrateError> {
        self.must_be_held(client).await?;
        let row = client.query_typed_one(RELEASE, &[(&KEY, Type::INT8)]).await;
        let row = row.map_err(|error| failed("give the lock of migrations back", error))?;
        if row.get("released") { Ok(()) } else { Err(MigrateError::Pooled) }
    }

    async fn must_be_held(&self, client: &Client) -> Result<(), MigrateError> {
        let row = client.query_typed_one(HELD_HERE, &[(&KEY, Type::INT8), (&self.session, Type::INT4)]).await;
        let row = row.map_err(|error| failed("look for the lock of migrations", error))?;
        if row.get("held") { Ok(()) } else { Err(MigrateError::Pooled) }
    }
}
