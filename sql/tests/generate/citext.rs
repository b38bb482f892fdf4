//! The extension `citext`, once in a database, in a schema of its own.

use tokio_postgres::Client;

/// Where it is.
pub const SCHEMA: &str = "brooklet_citext";

/// Has it installed. Others may be about it at the same time, so there is a lock, which is let go when what was done is
/// committed: that is at the end of a call.
pub async fn install(client: &Client) {
    for sql in [
        "SELECT pg_advisory_lock(72665)".to_owned(),
        format!(
            "SET client_min_messages = error; CREATE SCHEMA IF NOT EXISTS {SCHEMA};
             CREATE EXTENSION IF NOT EXISTS citext SCHEMA {SCHEMA};
             ALTER EXTENSION citext SET SCHEMA {SCHEMA}"
        ),
        "SELECT pg_advisory_unlock(72665)".to_owned(),
    ] {
        client.batch_execute(&sql).await.unwrap();
    }
}
