//! Our replication slot and publication: found, made, dropped.

use brooklet_sql::name::quote;
use brooklet_sql::{Lsn, statement};
use pgwire_replication::ReplicationClient;
use tokio_postgres::Client;

use super::database::{Database, DatabaseError};
use super::preflight::{self, PreflightError, Server};
use super::session::SessionError;
use crate::limits::{QUERY_CHARS_SHOWN, SLOT_WAIT_TOLD};

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
    exporter.simple_query(statement::LASTING).await?;
    let sql = statement::create_slot_with_snapshot(&names.slot);
    let rows = told_of_waiting(database, &names.slot, exporter.simple_query(&sql)).await?;
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

/// Who holds up the process that makes a slot: process, state, seconds, query. What belongs to others is said to
/// those only who may see it.
const WAITED_FOR: &str = "SELECT blocking.pid, a.state, a.query, \
       extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds \
     FROM pg_replication_slots s CROSS JOIN LATERAL unnest(pg_blocking_pids(s.active_pid)) blocking(pid) \
     LEFT JOIN pg_stat_activity a ON a.pid = blocking.pid WHERE s.slot_name = $1";

/// Waits for a slot to be made. Postgres waits for every transaction that has an id, however long it stays open, and
/// asking anew would only wait for more of them; so the log says who it is.
async fn told_of_waiting<T>(database: &Database, slot: &str, create: impl Future<Output = T>) -> T {
    let mut create = std::pin::pin!(create);
    let mut pause = SLOT_WAIT_TOLD.0;
    loop {
        tokio::select! {
            made = &mut create => return made,
            () = tokio::time::sleep(pause) => {}
        }
        pause = SLOT_WAIT_TOLD.1;
        tokio::select! {
            made = &mut create => return made,
            who = waited_for(database, slot) => match who {
                Ok(who) if who.is_empty() => tracing::warn!(slot, "the replication slot is still being made"),
                Ok(who) => tracing::warn!(
                    slot, "creating the replication slot waits for transactions that are still open: {}",
                    who.join("; ")
                ),
                Err(error) => tracing::warn!(slot, %error, "the replication slot is still being made"),
            },
        }
    }
}

async fn waited_for(database: &Database, slot: &str) -> Result<Vec<String>, DatabaseError> {
    let rows = database.pooled().await?.query(WAITED_FOR, &[&slot]).await?;
    let described = rows.iter().map(|row| {
        let pid: i32 = row.get("pid");
        if pid == 0 {
            return "a prepared one, see pg_prepared_xacts".to_owned();
        }
        let seconds: Option<i64> = row.get("seconds");
        let state: Option<String> = row.get("state");
        let query: Option<String> = row.get("query");
        format!(
            "process {pid}, open for {} s, {}, last query: {}",
            seconds.map_or_else(|| "?".to_owned(), |seconds| seconds.to_string()),
            state.as_deref().unwrap_or("state unknown"),
            without_texts(&query.unwrap_or_default())
        )
    });
    Ok(described.collect())
}

/// The beginning of somebody's statement without the texts in it, which are not ours to log.
fn without_texts(query: &str) -> String {
    // Behind these an apostrophe may be something else.
    let plain = ["\\", "$", "--", "/*"].iter().filter_map(|mark| query.find(mark)).min();
    let plain = &query[..plain.unwrap_or(query.len())];
    let (mut shown, mut quote) = (String::new(), None);
    for c in plain.chars() {
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        match (c, quote) {
            ('\'', None) => shown += "…'",
            (_, Some('\'')) if c != '\'' => {}
            (c, _) => shown.push(c),
        }
    }
    if quote == Some('\'') {
        shown.pop();
    }
    let line = shown.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(QUERY_CHARS_SHOWN).collect()
}

/// Drops the slot if it is there and makes a new one; returns where it begins. Postgres waits for
/// every transaction that has an id; who they are is logged.
pub async fn recreate(
    database: &Database,
    client: &Client,
    slot: &str,
) -> Result<Lsn, PreflightError> {
    client.query(DROP_SLOT, &[&slot]).await?;
    client.batch_execute("SET statement_timeout = 0").await?;
    // If we are killed meanwhile, the next start must not find a slot that is still being made for us. Some
    // systems cannot; there it is waited for.
    _ = client.batch_execute("SET client_connection_check_interval = '1s'").await;
    let sql = statement::create_slot(slot);
    let row = told_of_waiting(database, slot, client.query_one(&sql, &[])).await;
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

#[cfg(test)]
mod tests {
    use super::without_texts;

    #[test]
    fn texts_of_somebody_elses_statement_are_not_shown() {
        for (query, shown) in [
            ("UPDATE t SET a = 'x', b = 7", "UPDATE t SET a = '…', b = 7"),
            ("SELECT 'it''s', \"Col\"", "SELECT '…''…', \"Col\""),
            ("SELECT\n'cut off in the mid", "SELECT "),
            (r"SELECT E'a\'b', 'c'", "SELECT E"),
            ("SELECT $$secret$$", "SELECT "),
            ("SELECT \"it's\" FROM t WHERE x = 'secret'", "SELECT \"it's\" FROM t WHERE x = '…'"),
            ("UPDATE t -- don't\nSET password = 'hunter2'", "UPDATE t "),
            ("/* can't */ SELECT 'secret'", ""),
            ("", ""),
        ] {
            assert_eq!(without_texts(query), shown, "{query}");
        }
        assert_eq!(without_texts(&"x".repeat(1000)).len(), 100);
    }
}
