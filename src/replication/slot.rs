//! Our replication slot and publication: found, made, dropped.

use std::time::Duration;

use brooklet_sql::name::quote;
use brooklet_sql::{Lsn, statement};
use pgwire_replication::ReplicationClient;
use tokio_postgres::Client;

use super::database::Database;
use super::preflight::{self, PreflightError, Server};
use super::session::SessionError;

/// Names of what we own in the database.
#[derive(Debug, Clone)]
pub struct Names {
    /// The slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
}

impl Names {
    /// `brooklet_<stream id>` for both.
    #[must_use]
    pub fn new(stream_id: &str) -> Names {
        let name = format!("brooklet_{stream_id}");
        Names { slot: name.clone(), publication: name }
    }
}

/// A slot as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// There is none.
    Missing,
    /// There is one, but its WAL is gone.
    Lost,
    /// Usable; nothing before this position can be had from it.
    At(Lsn),
}

/// Looks at the slot.
pub async fn state(
    client: &Client,
    server: &Server,
    slot: &str,
) -> Result<SlotState, PreflightError> {
    let Some(row) = client.query_opt(statement::SLOT, &[&slot]).await? else {
        return Ok(SlotState::Missing);
    };
    let (plugin, database): (Option<String>, Option<String>) =
        (row.get("plugin"), row.get("database"));
    if plugin.as_deref() != Some("pgoutput") || database.as_ref() != Some(&server.database_name) {
        return Err(PreflightError::ForeignSlot(slot.to_owned()));
    }
    if row.get::<_, String>("wal_status") == "lost" {
        return Ok(SlotState::Lost);
    }
    let confirmed: Option<String> = row.get("confirmed");
    Ok(confirmed.and_then(|lsn| lsn.parse().ok()).map_or(SlotState::Lost, SlotState::At))
}

/// A new slot, and what is before its start.
pub struct NewSlot {
    /// Where it begins: every commit record from here on is streamed.
    pub begin: Lsn,
    /// The name of the snapshot of all that is before.
    pub snapshot: String,
    /// The snapshot can be joined as long as this connection is open.
    pub exporter: ReplicationClient,
}

/// Drops the slot if it is there and makes a new one, with a snapshot of exactly what is before it.
pub async fn renew(
    database: &Database,
    client: &Client,
    names: &Names,
) -> Result<NewSlot, SessionError> {
    // A process of ours that was killed may have left one that still waits to be made.
    let orphan = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a \
                  JOIN pg_replication_slots s ON s.active_pid = a.pid \
                  WHERE s.slot_name = $1 AND a.query LIKE 'CREATE_REPLICATION_SLOT%'";
    client.query(orphan, &[&names.slot]).await?;
    preflight::slot_is_free(client, &names.slot).await?;
    client.query(DROP_SLOT, &[&names.slot]).await?;
    let options =
        format!("{} -c idle_in_transaction_session_timeout=0", statement::DISPLAY_OPTIONS);
    let wire = database.replication(&names.slot, &names.publication).with_options(&options);
    let mut exporter = ReplicationClient::connect_gated(wire).await?;
    let sql = statement::create_slot_with_snapshot(&names.slot);
    let rows = told_of_waiting(&names.slot, exporter.simple_query(&sql)).await?;
    // slot_name, consistent_point, snapshot_name, output_plugin
    let column = |at: usize| {
        let value = rows.first().and_then(|row| row.get(at)?.as_deref());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let begin = column(1).and_then(|lsn| lsn.parse().ok());
    let (Some(begin), Some(snapshot)) = (begin, column(2)) else {
        let reason = "Postgres does not say where it begins".to_owned();
        return Err(PreflightError::Slot { slot: names.slot.clone(), reason }.into());
    };
    Ok(NewSlot { begin, snapshot, exporter })
}

const DROP_SLOT: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                         WHERE slot_name = $1 AND NOT active";

/// Waits for a slot to be made; who else waits is told in the log.
async fn told_of_waiting<T>(slot: &str, create: impl Future<Output = T>) -> T {
    let mut create = std::pin::pin!(create);
    loop {
        tokio::select! {
            made = &mut create => return made,
            () = tokio::time::sleep(Duration::from_secs(10)) => {
                tracing::warn!(
                    slot,
                    "creating the replication slot waits for transactions that are still open; \
                     see SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
                );
            }
        }
    }
}

/// Drops the slot if it is there and makes a new one; returns where it begins. Postgres waits for
/// every transaction that has an id; who they are is logged.
pub async fn recreate(client: &Client, slot: &str) -> Result<Lsn, PreflightError> {
    client.query(DROP_SLOT, &[&slot]).await?;
    let sql = statement::create_slot(slot);
    let row = told_of_waiting(slot, client.query_one(&sql, &[])).await;
    let refuse = |reason: String| PreflightError::Slot { slot: slot.to_owned(), reason };
    let row = row.map_err(|error| {
        refuse(error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()))
    })?;
    let lsn: String = row.get(0);
    lsn.parse().map_err(|_| refuse(format!("it begins at {lsn}")))
}

/// Finds the publication, or makes it; its oid. Another oid is another publication: the WAL from
/// before it cannot be decoded for it.
pub async fn publication(
    client: &Client,
    server: &Server,
    name: &str,
) -> Result<u32, PreflightError> {
    if let Some(row) = client.query_opt(statement::PUBLICATION, &[&name]).await? {
        if !row.get::<_, bool>("complete") || row.get::<_, bool>("via_root") {
            return Err(PreflightError::PublicationIncomplete(quote(name)));
        }
        return Ok(row.get("oid"));
    }
    let created = client.batch_execute(&statement::create_publication(name)).await;
    created.map_err(|error| PreflightError::Publication {
        publication: quote(name),
        reason: error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
        database: server.database.clone(),
        role: server.role.clone(),
    })?;
    Ok(client.query_one(statement::PUBLICATION, &[&name]).await?.get("oid"))
}
