//! The migrated template, its copies and what earlier runs left behind.
//!
//! Names: `perennial_template_<hash of the migrations>` and `perennial_test_<second of its birth>_<random>`, both
//! in hexadecimal. On a throw-away server they end with it; on a lasting one, making a new template first drops
//! databases of killed tests after a day, and all but the newest few templates.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use perennial_core::schema::{MIGRATIONS, Migration};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::migrations::{self, ACCEPT};
use super::server::{Lease, connect, fatal};
use super::through::{ROLES, Way, way};

/// Key of the advisory lock under which a template is made; a number of our own, as for the slots.
const TEMPLATE_LOCK: i64 = 0x5045_5254_0000_0001;
/// First version that can be told to copy files, the faster way without flushing: one checkpoint instead of logged
/// pages.
const FILE_COPY_SINCE: i32 = 150_000;
/// Newest templates left alone: other branches' test runs may be using theirs.
const TEMPLATES_KEPT: i64 = 8;

/// Creates a test's database as a copy of the template and returns its name.
pub(super) async fn clone_for_a_test(lease: &Lease) -> String {
    let template = template_name();
    if !exists(&lease.client, &template).await {
        make_template(lease, &template).await;
    }
    let query = "SELECT current_setting('server_version_num')::int, to_hex(extract(epoch FROM now())::bigint)";
    let row = lease.client.query_typed_one(query, &[]).await;
    let row = row.unwrap_or_else(|error| fatal("cannot ask for the version", &error));
    let (version, second): (i32, String) = (row.get(0), row.get(1));
    let name = format!("perennial_test_{second}_{:08x}", RandomState::new().build_hasher().finish() >> 32);
    let strategy = if version >= FILE_COPY_SINCE { " STRATEGY FILE_COPY" } else { "" };
    run(&lease.client, &format!("CREATE DATABASE {name} TEMPLATE {template}{strategy}")).await;
    run(&connect(&lease.url_of(&name)).await, ACCEPT).await;
    name
}

/// With the roles it is another one.
fn template_name() -> String {
    let roles = Migration { version: 0, name: "roles", sql: if way() == Way::ByRole { ROLES } else { "" } };
    let all: Vec<Migration> = MIGRATIONS.iter().copied().chain([roles]).collect();
    format!("perennial_template_{:016x}", fingerprint(&all))
}

/// Drops a database and cuts its sessions.
pub(super) async fn drop_database(lease: &Lease, name: &str) {
    run(&lease.client, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
}

/// Under a lock on the server, since all test processes of a run arrive here at once. The name appears only when the
/// template is complete, so whoever sees it may copy it.
async fn make_template(lease: &Lease, template: &str) {
    let client = &lease.client;
    run(client, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    if !exists(client, template).await {
        sweep(client).await;
        let unfinished = format!("{template}_unfinished");
        drop_database(lease, &unfinished).await;
        run(client, &format!("CREATE DATABASE {unfinished} TEMPLATE template0 ENCODING 'UTF8'")).await;
        let mut migrating = connect(&lease.url_of(&unfinished)).await;
        migrations::apply(&mut migrating).await;
        if way() == Way::ByRole {
            run(&migrating, ROLES).await;
        }
        drop(migrating);
        wait_until_left(client, &unfinished).await;
        run(client, &format!("ALTER DATABASE {unfinished} RENAME TO {template}")).await;
        // A session in it would stop every copy.
        run(client, &format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")).await;
    }
    run(client, &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await;
}

/// A database in use cannot be renamed, and the server ends a session a moment after its client has gone.
async fn wait_until_left(client: &Client, database: &str) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    loop {
        let rows = client.query_typed(end, &[(&database, Type::NAME)]).await;
        if rows.unwrap_or_else(|error| fatal("cannot look for sessions", &error)).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn exists(client: &Client, database: &str) -> bool {
    let query = "SELECT FROM pg_database WHERE datname = $1";
    let rows = client.query_typed(query, &[(&database, Type::NAME)]).await;
    !rows.unwrap_or_else(|error| fatal("cannot list databases", &error)).is_empty()
}

/// Drops what nobody uses any more.
async fn sweep(client: &Client) {
    let query = r#"
        SELECT datname::text
        FROM pg_database AS d
        WHERE datname ~ '^perennial_test_[0-9a-f]{8}_'
          AND split_part(datname, '_', 3) COLLATE "C" < to_hex(extract(epoch FROM now())::bigint - 86400)
          AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = d.datname)
        UNION ALL
        (SELECT datname::text
         FROM pg_database
         WHERE datname ~ '^perennial_template_[0-9a-f]{16}$'
         ORDER BY oid DESC
         OFFSET $1)"#;
    let rows = client.query_typed(query, &[(&TEMPLATES_KEPT, Type::INT8)]).await;
    for row in rows.unwrap_or_else(|error| fatal("cannot list old databases", &error)) {
        let name: &str = row.get(0);
        // Another user's, or in use after all: it is no concern of this test.
        let _next_time = client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await;
    }
}

/// FNV-1a: the same in every process and every build, which std's hashers do not promise.
fn fingerprint(migrations: &[Migration]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for migration in migrations {
        for part in [&*migration.version.to_string(), migration.name, migration.sql] {
            // A byte that no UTF-8 text contains ends each part.
            for &byte in part.as_bytes().iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    hash
}

async fn run(client: &Client, statement: &str) {
    let mut result = client.batch_execute(statement).await;
    // PostgreSQL refuses a copy while a background process of its own is in the template, after waiting 5 s for it.
    if result.as_ref().is_err_and(|error| error.code() == Some(&SqlState::OBJECT_IN_USE)) {
        result = client.batch_execute(statement).await;
    }
    if let Err(error) = result {
        fatal(statement, &error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_of_killed_tests_are_dropped_after_a_day() {
        crate::db_test_unchecked(async |db| {
            let client = db.client().await;
            let old = format!("perennial_test_00000001_{}", db.name().trim_start_matches("perennial_test_"));
            run(&client, &format!("CREATE DATABASE {old}")).await;
            sweep(&client).await;
            assert!(!exists(&client, &old).await);
            assert!(exists(&client, db.name()).await);
        });
    }

    #[test]
    fn another_text_makes_another_template() {
        let migration = Migration { version: 1, name: "a", sql: "SELECT 1" };
        let other_sql = Migration { sql: "SELECT 2", ..migration };
        let moved_border = Migration { name: "aS", sql: "ELECT 1", ..migration };
        let all = [migration, other_sql, moved_border].map(|migration| fingerprint(&[migration]));
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }
}
