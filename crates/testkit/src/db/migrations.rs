//! Migrates a template as `perennial migrate` does an operator's database: the same function, so the same history.

use tokio_postgres::Client;

use super::server::fatal;

/// Lets a database act, as `perennial installation accept` does. A copy needs it: it has another oid than what it was copied
/// from.
pub const ACCEPT: &str = "UPDATE installation SET accepted_at = now(), system_identifier = c.system_identifier, \
                              database_oid = d.oid \
                          FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()";

/// Applies all migrations to an empty database.
pub(super) async fn apply(client: &mut Client) {
    if let Err(error) = perennial_migrate::apply(client, None).await {
        fatal("cannot migrate the template", &error);
    }
}
