//! Making a table's changes reach us, before its first snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use brooklet_sql::name::quote;
use brooklet_sql::{Column, RelationColumn, RelationName, TableSchema, statement};
use tokio_postgres::types::ToSql;

use super::collations::CollationNames;
use super::database::{Database, DatabaseError};
use super::glance::Glance;
use super::memberships::Memberships;
use super::partitions::{Partition, partitions};
use super::pool::Connected;
use super::rewrites::{Begun, Rewrites};
use super::ways::columns;
use crate::limits::{INSPECT_PAUSE, TABLE_LOCK_TIMEOUT, TABLE_LOCK_TRIES, TABLE_WRITERS_MAX};
use crate::shapes::template::Template;
use crate::shared_call::SharedCall;

/// What has a lower number came with Postgres.
const FIRST_NORMAL_OID: u32 = 16_384;

/// Why a table cannot be prepared now. All may pass: the client is told to come again.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// Somebody holds it.
    #[error("timed out waiting for the lock on table {0}: another session holds it")]
    Locked(String),
    /// A writer goes on and on.
    #[error(
        "a transaction has been writing to table {table} since before it was published (process {pid}); its earlier rows would be missed, so the snapshot waits for it"
    )]
    Writer {
        /// Which table.
        table: String,
        /// Whose.
        pid: i32,
    },
    /// Somebody narrowed it.
    #[error(
        "publication {publication} has a row filter or a column list for {table}, so the stream would lack changes. Remove the table from it, Brooklet adds it again as a whole: ALTER PUBLICATION {publication} DROP TABLE {table}"
    )]
    Filtered {
        /// Quoted.
        publication: String,
        /// Quoted.
        table: String,
    },
    /// It is no longer there, or was taken out at once.
    #[error("table {0} is not published, or there is no such table any more")]
    Gone(String),
    /// Postgres refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for PublicationError {
    fn from(error: tokio_postgres::Error) -> PublicationError {
        PublicationError::Database(error.into())
    }
}

/// A table as the catalogue has it now.
pub struct PreparedTable {
    /// `pg_class.oid`.
    pub oid: u32,
    name: RelationName,
    /// Which adding of it to the publication holds; `None` if it is not published.
    pub membership: Option<u32>,
    /// Whether old rows are complete and all changes published.
    whole: bool,
    /// The primary key's columns, in key order.
    key: Vec<String>,
    columns: Vec<PreparedColumn>,
    collations: Arc<CollationNames>,
    /// Its unique keys, each the numbers of its columns.
    pub unique: Vec<String>,
}

struct PreparedColumn {
    column: RelationColumn,
    number: i16,
    not_null: bool,
    collation: u32,
    type_name: String,
    /// See [`Column::parts`].
    parts: Vec<String>,
    /// See [`Column::rewritten`].
    rewritten: u32,
}

impl PreparedTable {
    fn read(
        row: &tokio_postgres::Row,
        names: &Arc<CollationNames>,
        (rewrites, begun): (&Rewrites, Begun),
    ) -> PreparedTable {
        let oid = row.get("oid");
        let columns =
            columns(row.get("column_names"), row.get("column_types"), row.get("column_modifiers"));
        let numbers: Vec<i16> = row.get("column_numbers");
        // Of 32 bits, for which Postgres has no number that fits.
        let xmins = row.get::<_, Vec<i64>>("column_xmins").into_iter();
        let xmins = xmins.map(|xmin| u32::try_from(xmin).unwrap_or_default());
        let written: Vec<(i16, u32)> = numbers.iter().copied().zip(xmins).collect();
        let rewritten = rewrites.compare(begun, oid, row.get("files"), &written);
        let not_null: Vec<bool> = row.get("column_not_null");
        let collations: Vec<u32> = row.get("column_collations");
        let type_names: Vec<String> = row.get("column_type_names");
        // What is no JSON says nothing, as that of a built-in type.
        let parts = row.get::<_, Vec<String>>("column_parts").into_iter();
        let parts = parts.map(|parts| serde_json::from_str(&parts).unwrap_or_default());
        let columns = columns.into_iter().zip(numbers).zip(not_null).zip(collations);
        let columns = columns.zip(type_names).zip(parts).zip(rewritten);
        let column =
            |((((((column, number), not_null), collation), type_name), parts), rewritten)| {
                PreparedColumn { column, number, not_null, collation, type_name, parts, rewritten }
            };
        PreparedTable {
            oid,
            name: RelationName { schema: row.get("schema"), table: row.get("name") },
            membership: row.get("membership"),
            whole: row.get::<_, bool>("whole") && row.get::<_, bool>("full_identity"),
            key: row.get("key"),
            columns: columns.map(column).collect(),
            collations: Arc::clone(names),
            unique: row.get("unique_keys"),
        }
    }

    /// Whether all of its types are built in: of others more can change than the table's own rows in the catalogue.
    #[must_use]
    pub fn has_plain_types(&self) -> bool {
        self.columns.iter().all(|column| column.column.type_oid < FIRST_NORMAL_OID)
    }

    /// Whether no other look has found since that its columns were rewritten.
    fn is_as_noted(&self, rewrites: &Rewrites) -> bool {
        let numbers: Vec<i16> = self.columns.iter().map(|column| column.number).collect();
        let known = rewrites.known(self.oid, &numbers).into_iter();
        known.eq(self.columns.iter().map(|column| column.rewritten))
    }

    /// Whether shapes of a template that filter on the columns `read` are still right: same rows, same key, every change published, and the columns
    /// it uses what they were. Others may have come and gone if its own were listed.
    #[must_use]
    pub fn keeps(&self, template: &Template, read: &[usize]) -> bool {
        let table = template.table();
        let key = table.primary_key();
        let key = key.iter().map(|at| &table.columns[*at].name);
        let same = self.oid == table.oid && self.name == table.name && key.eq(&self.key);
        let replicated = || table.live().filter(|at| !table.columns[*at].generated);
        let all = || replicated().count() == self.columns.len();
        let kept = |at: usize| self.keeps_column(&table.columns[at], read.contains(&at));
        self.whole
            && same
            && template.selection.uses(read).all(kept)
            && (template.definition.listed || all() && replicated().all(kept))
    }

    /// Whether filters that read these columns are still right: every change published, the columns what
    /// they were.
    #[must_use]
    pub fn keeps_read(&self, table: &TableSchema, read: &[usize]) -> bool {
        let same = self.oid == table.oid && self.name == table.name;
        self.whole && same && read.iter().all(|at| self.keeps_column(&table.columns[*at], true))
    }

    fn keeps_column(&self, column: &Column, filtered: bool) -> bool {
        let now = self.columns.iter().find(|now| now.number == column.number);
        now.is_some_and(|now| {
            now.column.name == column.name
                && now.column.type_oid == column.type_oid
                && now.column.type_modifier == column.type_modifier
                // Clients were told that there always is a value.
                && (now.not_null || !column.not_null)
                && self.collations.may_be(
                    now.collation,
                    column.collation.as_ref().map(|collation| &*collation.name),
                )
                && now.type_name == column.type_name
                && now.rewritten == column.rewritten
                && keeps_parts(column, &now.parts, filtered)
        })
    }
}

/// A label of an enum that is renamed changes every row, as does a field that a composite type gets or loses, and no
/// change says so. A label that is added matters to filters only: they do not know it. What is not known of a type, from
/// before it was looked into, is nothing to judge by.
fn keeps_parts(column: &Column, now: &[String], filtered: bool) -> bool {
    let before = &column.parts;
    if before.is_empty() {
        return now.is_empty() || keeps_labels(&column.labels, now, filtered);
    }
    before.iter().all(|part| now.contains(part)) && (!filtered || now.len() == before.len())
}

/// The same of a column of which only an enum's labels are known.
fn keeps_labels(before: &[String], now: &[String], filtered: bool) -> bool {
    let label = |part: &str| Some(part.strip_prefix("label ")?.split_once(' ')?.1.to_owned());
    let now: Vec<String> = now.iter().filter_map(|part| label(part)).collect();
    before.is_empty()
        || (before.iter().all(|label| now.contains(label))
            && (!filtered || now.len() == before.len()))
}

/// Prepares tables, each once per process.
pub struct Publication {
    database: Database,
    name: String,
    /// Tables that shapes are about.
    members: Memberships,
    /// Requests for one table wait for each other, and share what they ask.
    asked: Mutex<HashMap<u32, Arc<Asked>>>,
    collations: Arc<CollationNames>,
    rewrites: Arc<Rewrites>,
}

/// What is asked about a table for every new shape.
struct Asked {
    prepare: SharedCall<u32>,
    inspect: SharedCall<Option<Arc<PreparedTable>>>,
    glance: Glance,
}

impl Default for Asked {
    fn default() -> Asked {
        let inspect = SharedCall::with_pause(INSPECT_PAUSE);
        Asked { prepare: SharedCall::default(), inspect, glance: Glance::default() }
    }
}

impl Publication {
    /// The publication of this name, and what is known of its tables.
    #[must_use]
    pub fn new(
        database: Database,
        name: String,
        members: Memberships,
        collations: Arc<CollationNames>,
        rewrites: Arc<Rewrites>,
    ) -> Publication {
        Publication { database, name, members, asked: Mutex::default(), collations, rewrites }
    }

    /// Returns once every change of the table that commits after now is in the stream, with its
    /// whole old row, as long as the table's membership in the publication is the one that is returned.
    ///
    /// One that was prepared is not looked at again before whoever asks has its snapshot's lock, which
    /// [`Publication::inspect_one`] has to come after: what has come undone is noticed there.
    pub async fn prepare(&self, table: &TableSchema) -> Result<u32, PublicationError> {
        if !table.partitioned
            && let Some(Some(membership)) = self.members.holding(table.oid)
        {
            return Ok(membership);
        }
        self.asked(table.oid).prepare.call(|| self.prepare_now(table)).await
    }

    /// See [`Memberships::was_out`].
    pub fn was_out(&self, table: u32, membership: Option<u32>, asked: u64) -> bool {
        self.members.was_out(table, membership, asked)
    }

    /// See [`Memberships::is_still`].
    pub fn is_still(&self, table: u32, membership: u32) -> bool {
        self.members.is_still(table, membership)
    }

    /// See [`Memberships::now`].
    pub fn now(&self) -> u64 {
        self.members.now()
    }

    /// See [`Memberships::ended`].
    pub fn ended(&self, table: u32) {
        self.members.ended(table);
    }

    fn asked(&self, table: u32) -> Arc<Asked> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asked.entry(table).or_default())
    }

    async fn prepare_now(&self, table: &TableSchema) -> Result<u32, PublicationError> {
        let mut client = self.database.pooled().await?;
        let partitions = match table.partitioned {
            true => partitions(&client, &[table.oid]).await?,
            false => Vec::new(),
        };
        let leaves: Vec<u32> = partitions.iter().map(|partition| partition.oid).collect();
        let row = self.published(&client, table.oid, &leaves).await?;
        let partial: Vec<&Partition> = partitions.iter().filter(|p| !p.full_identity).collect();
        let membership: Option<u32> = row.get("membership");
        let full = partial.is_empty() && (table.partitioned || row.get("full_identity"));
        if row.get("filtered") {
            let (publication, table) = (quote(&self.name), table.name.quoted());
            return Err(PublicationError::Filtered { publication, table });
        }
        if let Some(membership) = membership
            && full
            && let Some(known) = self.members.holding(table.oid)
            && known.is_none_or(|known| known == membership)
        {
            self.members.prepared(table.oid, membership);
            return Ok(membership);
        }
        // Identity first: the other order lets the application's own UPDATE fail on a table without a
        // key. A partition at a time, so that no writer waits for more than one.
        for partition in partial {
            let statement = statement::full_identity(&partition.name);
            self.alter(&mut client, &partition.name, vec![statement]).await?;
        }
        let mut statements = Vec::new();
        if !full && !table.partitioned {
            statements.push(statement::full_identity(&table.name));
        }
        if membership.is_none() {
            statements.push(statement::publish(&self.name, table));
        }
        if !statements.is_empty() {
            self.alter(&mut client, &table.name, statements).await?;
        }
        // Before they are waited for: those who came before another adding are not.
        let row = self.published(&client, table.oid, &leaves).await?;
        let membership: Option<u32> = row.get("membership");
        let membership = membership.ok_or_else(|| PublicationError::Gone(table.name.quoted()))?;
        // ALTER TABLE waits for all writers itself. Where it was not needed, they may still be at
        // work, and what they wrote before is in neither the snapshot nor the stream.
        if full || table.partitioned {
            let tables = [leaves.as_slice(), &[table.oid]].concat();
            self.wait_for_writers(&client, &table.name, &tables).await?;
        }
        self.members.prepared(table.oid, membership);
        Ok(membership)
    }

    /// Whether and how a table is published; it must be there.
    async fn published(
        &self,
        client: &Connected,
        table: u32,
        leaves: &[u32],
    ) -> Result<tokio_postgres::Row, PublicationError> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.name, &table, &leaves];
        let statement = client.prepare_cached(statement::PUBLISHED).await?;
        let row = client.query_opt(&statement, &parameters).await?;
        row.ok_or_else(|| PublicationError::Gone(format!("of number {table}")))
    }

    /// What was prepared is no longer so; its membership is still what shapes stand for.
    pub fn forget(&self, table: u32) {
        self.members.forget(table);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&table);
    }

    /// What has become of a table, if it still exists, at some time after this is asked.
    pub async fn inspect_one(
        &self,
        table: u32,
    ) -> Result<Option<Arc<PreparedTable>>, DatabaseError> {
        let asked = self.asked(table);
        let same = asked.glance.at(async || self.mark(table).await).await?;
        if let Some(found) = same.filter(|found| found.is_as_noted(&self.rewrites)) {
            return Ok(Some(found));
        }
        asked.inspect.call(async || self.look(table, &asked.glance).await).await
    }

    /// See [`statement::MARK`].
    async fn mark(&self, table: u32) -> Result<Option<String>, DatabaseError> {
        let client = self.database.pooled().await?;
        let prepared = client.prepare_cached(statement::MARK).await?;
        let row = client.query_opt(&prepared, &[&self.name, &[table].as_slice()]).await?;
        Ok(row.map(|row| row.get("mark")))
    }

    /// Looks at all of a table.
    async fn look(
        &self,
        table: u32,
        glance: &Glance,
    ) -> Result<Option<Arc<PreparedTable>>, DatabaseError> {
        let client = self.database.pooled().await?;
        let prepared = client.prepare_cached(statement::reconcile_and_mark()).await?;
        let begun = self.rewrites.begin();
        let row = client.query_opt(&prepared, &[&self.name, &[table].as_slice()]).await?;
        let Some(row) = row else { return Ok(None) };
        let found = PreparedTable::read(&row, &self.collations, (&self.rewrites, begun));
        let found = Arc::new(found);
        if let Some(mark) = row.get("mark") {
            glance.keep(mark, &found);
        }
        Ok(Some(found))
    }

    /// What has become of tables that are prepared, as far as they still exist.
    pub async fn inspect(&self, tables: &[u32]) -> Result<Vec<PreparedTable>, DatabaseError> {
        let client = self.database.pooled().await?;
        // Asked for every new shape; to plan it takes longer than to run it.
        let prepared = client.prepare_cached(statement::reconcile()).await?;
        let begun = self.rewrites.begin();
        let rows = client.query(&prepared, &[&self.name, &tables]).await?;
        let read = |row| PreparedTable::read(row, &self.collations, (&self.rewrites, begun));
        Ok(rows.iter().map(read).collect())
    }

    /// Makes the old rows of a partition complete that came after its table was prepared.
    pub async fn complete(&self, partition: &Partition) -> Result<(), PublicationError> {
        let mut client = self.database.pooled().await?;
        self.alter(&mut client, &partition.name, vec![statement::full_identity(&partition.name)])
            .await
    }

    /// All in one transaction, with a short lock time-out, so that writers never queue behind us for
    /// long.
    async fn alter(
        &self,
        client: &mut Connected,
        table: &RelationName,
        statements: Vec<String>,
    ) -> Result<(), PublicationError> {
        // Ours need not wait for a standby: the stream has it once it is flushed here.
        let settings = [
            "SET LOCAL synchronous_commit = local".to_owned(),
            format!("SET LOCAL lock_timeout = {}", TABLE_LOCK_TIMEOUT.as_millis()),
        ];
        let mut statements = [settings.as_slice(), &statements].concat();
        for attempt in 0..TABLE_LOCK_TRIES {
            let transaction = client.transaction().await?;
            let done = transaction.batch_execute(&statements.join(";\n")).await;
            let error = match done {
                Ok(()) => return Ok(transaction.commit().await?),
                Err(error) => error,
            };
            transaction.rollback().await?;
            let error = DatabaseError::from(error);
            match error.code() {
                // lock_not_available
                Some("55P03") => {}
                // duplicate_object: somebody else has published it meanwhile; the rest must be done.
                Some("42710") => statements.retain(|statement| !statement.contains(" ADD TABLE ")),
                _ => return Err(error.into()),
            }
            tokio::time::sleep(Duration::from_millis(20 * u64::from(attempt.min(10)))).await;
        }
        Err(PublicationError::Locked(table.to_string()))
    }

    async fn wait_for_writers(
        &self,
        client: &Connected,
        table: &RelationName,
        oids: &[u32],
    ) -> Result<(), PublicationError> {
        let deadline = Instant::now() + TABLE_WRITERS_MAX;
        let mut waited_for: Option<HashSet<String>> = None;
        let mut pause = Duration::from_millis(2);
        loop {
            let rows = client.query(statement::WRITERS, &[&oids]).await?;
            let found =
                rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, Option<i32>>(1)));
            let found: HashMap<String, Option<i32>> = found.collect();
            let first = waited_for.get_or_insert_with(|| found.keys().cloned().collect());
            first.retain(|writer| found.contains_key(writer));
            let Some(writer) = first.iter().next() else { return Ok(()) };
            if Instant::now() > deadline {
                let pid = found.get(writer).copied().flatten().unwrap_or(0);
                return Err(PublicationError::Writer { table: table.to_string(), pid });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}
