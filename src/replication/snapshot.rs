//! Rows as one Postgres snapshot sees them.

use brooklet_sql::{Lsn, Predicate, Row, TableSchema, statement};
use bytes::Bytes;
use deadpool::managed::Object;
use futures_util::StreamExt;
use futures_util::future::try_join;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{CopyOutStream, Error, SimpleQueryMessage, Statement, ToStatement};

use super::database::{Database, DatabaseError};
use super::pool::{Connected, Connections, Share};
use crate::decode::copy::{self, CopyError};
use crate::shapes::definition::{Definition, LogMode};
use crate::shapes::visibility::Seen;

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Postgres refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Postgres sent something unexpected.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Postgres described its snapshot in an unexpected way.
    #[error("the snapshot's description cannot be read: {0}")]
    Description(String),
}

impl From<tokio_postgres::Error> for SnapshotError {
    fn from(error: tokio_postgres::Error) -> SnapshotError {
        SnapshotError::Database(error.into())
    }
}

/// Held by whoever has or will have a snapshot; see [`Database::snapshot_turn`].
pub type SnapshotTurn = Option<OwnedSemaphorePermit>;

/// An open snapshot transaction. Dropping it without [`Snapshot::end`] cancels what runs in it and
/// closes its connection.
pub struct Snapshot {
    client: Option<Object<Connections>>,
    database: Database,
    _turn: SnapshotTurn,
    /// What it contains. Its last place is the insert position, read after the snapshot was taken. (The
    /// write position would not do: a commit that does not wait for the disk is visible before it is
    /// written.)
    pub seen: Arc<Seen>,
    /// Whether a crash of Postgres takes nothing of it back.
    is_flushed: bool,
}

impl Snapshot {
    /// Takes a snapshot to read from `table` the rows that a shape begins with, and prepares to do so in the
    /// same round trip. The table's lock comes first: a rewriting ALTER TABLE between snapshot and lock would
    /// leave the table empty to the snapshot.
    pub async fn for_shape(
        database: &Database,
        turn: SnapshotTurn,
        table: &TableSchema,
        definition: &Definition,
        predicate: Option<&Predicate>,
    ) -> Result<(Snapshot, Copy), SnapshotError> {
        let mut snapshot = Snapshot::idle(database, turn).await?;
        let client = snapshot.client()?;
        let script = script(&[table], None);
        let text = copy_text(table, definition, predicate);
        let (answers, statement) =
            try_join(client.simple_query(&script), client.prepare(&text)).await?;
        snapshot.describe(&answers)?;
        Ok((snapshot, Copy { statement, columns: definition.columns.len() }))
    }

    /// The same for several shapes of one template, to read with [`Rows::next_placed`]: at most `limit` rows
    /// of each, for so long. With `joined` Postgres plans once for all that differ in constants only, without these.
    pub async fn for_shapes(
        database: &Database,
        turn: SnapshotTurn,
        table: &TableSchema,
        definition: &Definition,
        predicates: &[Option<&Predicate>],
        (limit, time): (u64, Duration),
        joined: bool,
    ) -> Result<(Snapshot, Copy), SnapshotError> {
        let mut snapshot = Snapshot::idle(database, turn).await?;
        let client = snapshot.client()?;
        let script = format!("{}; {}", script(&[table], None), statement_timeout(time));
        let columns = &definition.columns;
        let limit = rows_max(definition).unwrap_or(limit).min(limit);
        let joined =
            joined.then(|| statement::copy_several_alike(table, columns, predicates, limit));
        let apart = || statement::copy_several(table, columns, predicates, limit);
        let text = joined.flatten().unwrap_or_else(apart);
        let (answers, statement) =
            try_join(client.simple_query(&script), client.prepare(&text)).await?;
        snapshot.describe(&answers)?;
        Ok((snapshot, Copy { statement, columns: columns.len() }))
    }

    /// Takes a snapshot to read several tables from.
    pub async fn of_all(
        database: &Database,
        turn: SnapshotTurn,
        tables: &[Arc<TableSchema>],
    ) -> Result<Snapshot, SnapshotError> {
        let tables: Vec<&TableSchema> = tables.iter().map(|table| &**table).collect();
        Snapshot::begin(database, turn, &tables, None).await
    }

    /// Takes part in a snapshot that somebody has exported, to read these tables from.
    pub async fn exported(
        database: &Database,
        tables: &[&TableSchema],
        name: &str,
    ) -> Result<Snapshot, SnapshotError> {
        Snapshot::begin(database, database.snapshot_turn().await, tables, Some(name)).await
    }

    /// Takes part in a snapshot that somebody has exported, to ask what it contains.
    pub async fn joined(database: &Database, name: &str) -> Result<Snapshot, SnapshotError> {
        Snapshot::begin(database, database.snapshot_turn().await, &[], Some(name)).await
    }

    /// Takes a snapshot to ask what it contains.
    pub async fn take(database: &Database) -> Result<Snapshot, SnapshotError> {
        Snapshot::begin(database, database.snapshot_turn().await, &[], None).await
    }

    async fn begin(
        database: &Database,
        turn: SnapshotTurn,
        tables: &[&TableSchema],
        exported: Option<&str>,
    ) -> Result<Snapshot, SnapshotError> {
        let mut snapshot = Snapshot::idle(database, turn).await?;
        let answers = snapshot.client()?.simple_query(&script(tables, exported)).await?;
        snapshot.describe(&answers)?;
        Ok(snapshot)
    }

    /// A connection, on which nothing has begun.
    async fn idle(database: &Database, turn: SnapshotTurn) -> Result<Snapshot, SnapshotError> {
        let client = database.pooled().await?;
        Ok(Snapshot {
            client: Some(client),
            database: database.clone(),
            _turn: turn,
            seen: Arc::new(Seen::nothing()),
            is_flushed: false,
        })
    }

    fn describe(&mut self, answers: &[SimpleQueryMessage]) -> Result<(), SnapshotError> {
        let (seen, flushed) = described(answers)?;
        self.is_flushed = flushed >= seen.until;
        self.seen = seen;
        Ok(())
    }

    /// Begins to read the rows that a shape begins with: none if it wants changes only, but the
    /// table's lock is taken in any case.
    pub async fn copy(
        &self,
        table: &TableSchema,
        definition: &Definition,
        predicate: Option<&Predicate>,
    ) -> Result<Rows, SnapshotError> {
        self.rows(&copy_text(table, definition, predicate), definition.columns.len()).await
    }

    /// Begins to read the rows that [`Snapshot::for_shape`] has prepared to read.
    pub async fn prepared(&self, copy: &Copy) -> Result<Rows, SnapshotError> {
        self.rows(&copy.statement, copy.columns).await
    }

    /// Begins to read the rows of a `COPY … TO STDOUT` of so many columns.
    pub async fn rows<S: ?Sized + ToStatement>(
        &self,
        statement: &S,
        columns: usize,
    ) -> Result<Rows, SnapshotError> {
        let client = self.client()?;
        let stream = Box::pin(client.copy_out(statement).await?);
        let (share, reader) = (Some(client.share()), copy::Reader::new(columns));
        Ok(Rows { stream, share, reader, line: Bytes::new() })
    }

    /// Whether a table's rows, its partitions' included, lie where the snapshot has them. A table
    /// that was rewritten or emptied since looks empty to it.
    pub async fn has_files_of(&self, table: u32) -> Result<bool, SnapshotError> {
        Ok(self.client()?.query_one(statement::SAME_FILES, &[&table]).await?.get(0))
    }

    /// Limits how long a statement may run from here on, its rows' reader included.
    pub async fn limit(&self, limit: Duration) -> Result<(), SnapshotError> {
        Ok(self.client()?.batch_execute(&statement_timeout(limit)).await?)
    }

    /// Ends the transaction and gives the connection back.
    pub async fn end(mut self) -> Result<(), SnapshotError> {
        if let Some(client) = self.client.take() {
            client.batch_execute("COMMIT").await?;
        }
        Ok(())
    }

    /// The same, once a crash of Postgres takes back nothing of what was seen: commits that do not wait for the
    /// disk are visible before they are there, and ids of those that are lost are given again. All on this
    /// connection, which no crash leaves open.
    pub async fn end_for_good(mut self) -> Result<(), SnapshotError> {
        if self.is_flushed {
            return self.end().await;
        }
        let client = self.client()?;
        let flushed = client.simple_query(statement::FLUSHED).await?;
        client.batch_execute("COMMIT").await?;
        if position(&flushed, 0)? < self.seen.until {
            // It waits for the disk, and with it for all before.
            client.batch_execute(statement::NUDGE).await?;
        }
        // Only now: what failed is not fit for the pool.
        self.client = None;
        Ok(())
    }

    fn client(&self) -> Result<&Connected, SnapshotError> {
        self.client.as_deref().ok_or_else(|| SnapshotError::Description("it has ended".into()))
    }
}

/// Rows that a snapshot is prepared to give.
pub struct Copy {
    statement: Statement,
    columns: usize,
}

fn copy_text(
    table: &TableSchema,
    definition: &Definition,
    predicate: Option<&Predicate>,
) -> String {
    statement::copy(table, &definition.columns, predicate, rows_max(definition))
}

fn rows_max(definition: &Definition) -> Option<u64> {
    match definition.log {
        LogMode::Full => None,
        LogMode::ChangesOnly => Some(0),
    }
}

fn statement_timeout(limit: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", limit.as_millis())
}

/// Begins a snapshot, in one round trip: most are of few rows, and there may be thousands of them.
fn script(tables: &[&TableSchema], exported: Option<&str>) -> String {
    let locks: Vec<String> = tables.iter().map(|table| statement::lock(&table.name)).collect();
    let join = exported.map(statement::join_snapshot).unwrap_or_default();
    [statement::BEGIN_SNAPSHOT, "; ", &join, &locks.join("; "), ";", statement::SEEN].concat()
}

/// Reads what [`statement::SEEN`] says: what the snapshot contains, and up to where no crash takes it back.
fn described(answers: &[SimpleQueryMessage]) -> Result<(Arc<Seen>, Lsn), SnapshotError> {
    let seen = text(answers, 0)?;
    let unknown = |_| SnapshotError::Description(seen.to_owned());
    let visibility = seen.parse().map_err(unknown)?;
    let seen = Seen::new(visibility, position(answers, 1)?);
    Ok((seen, position(answers, 2)?))
}

/// A position of the WAL in the first row of answers.
fn position(answers: &[SimpleQueryMessage], column: usize) -> Result<Lsn, SnapshotError> {
    let said = text(answers, column)?;
    let unknown = |_| SnapshotError::Description(said.to_owned());
    Ok(said.parse::<Lsn>().map_err(unknown)?.end_of_record())
}

fn text(answers: &[SimpleQueryMessage], column: usize) -> Result<&str, SnapshotError> {
    let row = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let said = row.and_then(|row| row.get(column));
    said.ok_or_else(|| SnapshotError::Description("nothing".to_owned()))
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // In a transaction, maybe amid a COPY: not fit for the pool. The server would notice the
        // closed connection only when it writes.
        if let Some(client) = self.client.take() {
            let client = Object::take(client);
            let canceled = self.database.cancel(&client);
            tokio::spawn(async move {
                canceled.await;
                drop(client);
            });
        }
    }
}

/// The rows of a running `COPY`.
pub struct Rows {
    stream: Pin<Box<CopyOutStream>>,
    /// Until the last row has come: what is asked next on the same connection is not read by us.
    share: Option<Share>,
    reader: copy::Reader,
    line: Bytes,
}

impl Rows {
    /// The next row; `None` after the last one. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Row>, SnapshotError> {
        let values = self.values().await?;
        Ok(values.map(|values| values.row()).transpose()?)
    }

    /// The values of the next row, which may be no text yet; `None` after the last one. Safe to cancel.
    pub async fn values(&mut self) -> Result<Option<copy::Values<'_>>, SnapshotError> {
        if !self.take_line().await? {
            return Ok(None);
        }
        Ok(Some(self.reader.read(&self.line)?))
    }

    /// The next row of several shapes, and the shape's place among them.
    pub async fn next_placed(&mut self) -> Result<Option<(usize, Row)>, SnapshotError> {
        if !self.take_line().await? {
            return Ok(None);
        }
        let (place, line) = copy::placed(&self.line)?;
        Ok(Some((place, self.reader.read(line)?.row()?)))
    }

    /// Whether there was one more.
    async fn take_line(&mut self) -> Result<bool, SnapshotError> {
        match poll_fn(|context| self.poll_line(context)).await {
            Some(Ok(line)) => self.line = line,
            end => {
                self.share = None;
                end.transpose()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let line = self.stream.poll_next_unpin(context);
        let (Poll::Pending, Some(share)) = (&line, &self.share) else { return line };
        share.poll(context);
        self.stream.poll_next_unpin(context)
    }
}
