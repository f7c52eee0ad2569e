//! Migrates a template as `perennial migrate` does an operator's database: the same function, so the same history.

use tokio_postgres::Client;

use super::server::fatal;

/// Applies all migrations to an empty database and accepts it as being at home in this cluster.
pub(super) async fn apply(client: &mut Client) {
    if let Err(error) = perennial_migrate::apply(client, None).await {
        fatal("cannot migrate the template", &error);
    }
    let accept = "UPDATE installation SET accepted_at = now(), system_identifier = c.system_identifier \
                  FROM pg_control_system() AS c";
    if let Err(error) = client.batch_execute(accept).await {
        fatal("cannot accept the installation", &error);
    }
}
