//! What must hold before anything starts; each refusal says what to run.

use std::time::{Duration, Instant};

use brooklet_sql::name::quote;
use brooklet_sql::statement;
use tokio_postgres::Client;

use super::database::{Database, DatabaseError};
use crate::limits::SLOT_BUSY_MAX;

/// Oldest Postgres that can be served: the first whose logical decoding keeps up with large
/// transactions.
pub const VERSION_MIN: i32 = 14;

/// Why Brooklet cannot serve this database.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// No connection.
    #[error(
        "Postgres at {place} cannot be reached: {reason}\n  Check DATABASE_URL, and that the server runs and accepts connections from here."
    )]
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// Too old.
    #[error("Postgres {0} is too old: Brooklet needs {VERSION_MIN} or newer.")]
    Version(i32),
    /// No logical decoding.
    #[error(
        "wal_level is '{0}', it must be 'logical'. Run as a superuser, then restart Postgres:\n  ALTER SYSTEM SET wal_level = 'logical';"
    )]
    WalLevel(String),
    /// No right to replicate.
    #[error(
        "role {role} may not replicate. Run as a superuser:\n  ALTER ROLE {role} WITH REPLICATION;"
    )]
    Replication {
        /// Quoted.
        role: String,
    },
    /// Text without a known encoding.
    #[error(
        "database {0} has encoding SQL_ASCII, which says nothing about its text. Brooklet needs a database with a known encoding; create one with ENCODING 'UTF8' and load the data there."
    )]
    Encoding(String),
    /// A standby.
    #[error(
        "this server is a standby: publications can be made on a primary only. Point DATABASE_URL at the primary."
    )]
    Standby,
    /// Somebody else.
    #[error(
        "replication slot {slot} is in use by process {pid}. Another Brooklet serves this database under the same stream id: stop it, or start this one with --stream-id. If nothing else runs:\n  SELECT pg_terminate_backend({pid});"
    )]
    SlotInUse {
        /// Its name.
        slot: String,
        /// The walsender.
        pid: i32,
    },
    /// A slot of that name, but not ours.
    #[error(
        "replication slot {0} exists but belongs to another plugin or database. Start with another --stream-id, or drop it:\n  SELECT pg_drop_replication_slot('{0}');"
    )]
    ForeignSlot(String),
    /// No right to publish.
    #[error(
        "publication {publication} does not exist and cannot be created: {reason}\n  Run as the database's owner: GRANT CREATE ON DATABASE {database} TO {role};\n  or create it: CREATE PUBLICATION {publication};"
    )]
    Publication {
        /// Quoted.
        publication: String,
        /// What Postgres said.
        reason: String,
        /// Quoted.
        database: String,
        /// Quoted.
        role: String,
    },
    /// It does not publish everything.
    #[error(
        "publication {0} does not publish all operations. Run as its owner:\n  ALTER PUBLICATION {0} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);"
    )]
    PublicationIncomplete(String),
    /// No slot to be had.
    #[error(
        "replication slot {slot} cannot be created: {reason}\n  If all slots are taken, drop an unused one (SELECT slot_name, active FROM pg_replication_slots) or raise max_replication_slots and restart Postgres."
    )]
    Slot {
        /// Its name.
        slot: String,
        /// What Postgres said.
        reason: String,
    },
    /// Anything else.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for PreflightError {
    fn from(error: tokio_postgres::Error) -> PreflightError {
        PreflightError::Database(error.into())
    }
}

/// Who and where we are.
#[derive(Debug, Clone)]
pub struct Server {
    /// The role, quoted for SQL.
    pub role: String,
    /// The database, quoted for SQL.
    pub database: String,
    /// The database's plain name.
    pub database_name: String,
}

/// Checks the server itself; returns a connection for what comes next.
pub async fn server(database: &Database) -> Result<(Client, Server), PreflightError> {
    let client = database.connect().await.map_err(|error| PreflightError::Unreachable {
        place: database.describe(),
        reason: error.to_string(),
    })?;
    let row = client.query_one(statement::PREFLIGHT, &[]).await?;
    let version: i32 = row.get("version");
    if version < VERSION_MIN * 10_000 {
        return Err(PreflightError::Version(version / 10_000));
    }
    let wal_level: String = row.get("wal_level");
    if wal_level != "logical" {
        return Err(PreflightError::WalLevel(wal_level));
    }
    let (role, name): (String, String) = (row.get("role"), row.get("database"));
    let (role, database) = (quote(&role), quote(&name));
    if row.get("standby") {
        return Err(PreflightError::Standby);
    }
    if !row.get::<_, bool>("may_replicate") {
        return Err(PreflightError::Replication { role });
    }
    if row.get::<_, &str>("encoding") == "SQL_ASCII" {
        return Err(PreflightError::Encoding(database));
    }
    Ok((client, Server { role, database, database_name: name }))
}

/// Waits for a slot that the last process may still hold, then refuses.
pub async fn slot_is_free(client: &Client, slot: &str) -> Result<(), PreflightError> {
    let deadline = Instant::now() + SLOT_BUSY_MAX;
    let mut pause = Duration::from_millis(50);
    loop {
        let row = client.query_opt(statement::SLOT, &[&slot]).await?;
        let pid: Option<i32> = row.and_then(|row| row.get("active_pid"));
        let Some(pid) = pid else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(PreflightError::SlotInUse { slot: slot.to_owned(), pid });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
