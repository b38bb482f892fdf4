//! Tables as the catalogue describes them, and whether they can be served rightly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use brooklet_sql::mathematics::Functions;
use brooklet_sql::{
    CaseMap, Collation, CollationFacts, Column, ColumnDomain, Folding, Relation, RelationColumn,
    RelationName, ReplicaIdentity, TableSchema, Tables, Zones, mathematics, statement,
    subquery::named_tables, zone::named_zones,
};
use tokio::sync::OnceCell;
use tokio_postgres::Row;

use super::collations::CollationNames;
use super::database::{Database, DatabaseError};
use super::layouts::Layouts;
use super::mathematics::KnownMathematics;
use super::memberships::Memberships;
use super::partitions::partitions;
use super::pool::Connected;
use super::publication::{PreparedTable, Publication};
use super::rewrites::Rewrites;
use super::zones::KnownZones;
use crate::shapes::definition::FilterSource;

/// Why a table cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There is none, or it is not a table.
    #[error(
        "Table {0} does not exist. If the table name contains capitals or special characters you must quote it."
    )]
    Missing(RelationName),
    /// It is there, but would be served wrongly.
    #[error("Table {table} cannot be served: {reason}")]
    Unservable {
        /// Which.
        table: RelationName,
        /// Why, and what to do.
        reason: String,
    },
    /// Postgres did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> SchemaError {
        SchemaError::Database(error.into())
    }
}

/// What is known of tables; shared by all requests.
pub struct Schemas {
    database: Database,
    /// Each lock is held for a look-up only.
    tables: Mutex<HashMap<(RelationName, bool), Known>>,
    collations: Arc<CollationNames>,
    case_maps: Mutex<HashMap<u32, Option<Arc<CaseMap>>>>,
    zones: KnownZones,
    /// Asked once: who reads a shape needs no Postgres, and another major version is another database.
    version: OnceCell<(i32, Option<String>)>,
    mathematics: KnownMathematics,
    layouts: Arc<Layouts>,
    rewrites: Arc<Rewrites>,
    /// One look at a table at a time, and when the last one began: whoever asked before that takes
    /// its result. Async: held across statements.
    looks: Mutex<HashMap<(RelationName, bool), Look>>,
}

struct Known {
    table: Arc<TableSchema>,
    /// Whether this process has looked at it, or only the catalogue of shapes says so.
    seen: bool,
}

type Look = Arc<tokio::sync::Mutex<Option<(Instant, Arc<TableSchema>)>>>;

impl Schemas {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(database: Database, layouts: Arc<Layouts>) -> Schemas {
        Schemas {
            database,
            collations: Arc::default(),
            layouts,
            rewrites: Arc::default(),
            zones: KnownZones::default(),
            version: OnceCell::new(),
            mathematics: KnownMathematics::default(),
            looks: Mutex::default(),
            tables: Mutex::new(HashMap::new()),
            case_maps: Mutex::new(HashMap::new()),
        }
    }

    /// The same, with what an earlier process knew of rewritten columns.
    #[must_use]
    pub fn knowing(self, rewrites: Rewrites) -> Schemas {
        Schemas { rewrites: Arc::new(rewrites), ..self }
    }

    /// What is known of rewritten columns.
    #[must_use]
    pub fn rewrites(&self) -> &Rewrites {
        &self.rewrites
    }

    /// The publication of this name, which calls collations and knows rewritten columns as these schemas do.
    #[must_use]
    pub fn publication(&self, name: String, members: Memberships) -> Publication {
        let (collations, rewrites) = (Arc::clone(&self.collations), Arc::clone(&self.rewrites));
        Publication::new(self.database.clone(), name, members, collations, rewrites)
    }

    /// A table that shapes already use is known without Postgres.
    pub fn restore(&self, table: &Arc<TableSchema>) {
        let fold = table.columns.iter().any(|column| {
            column.collation.as_ref().is_some_and(|collation| collation.case_map.is_some())
        });
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known { table: Arc::clone(table), seen: false };
        tables.insert((table.name.clone(), fold), known);
    }

    /// Whether a table is one that this process has looked at itself. Then a new shape can be made of it: that it has
    /// not changed since is looked at under its snapshot's lock.
    #[must_use]
    pub fn has_seen(&self, table: &Arc<TableSchema>, fold: bool) -> bool {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.get(&(table.name.clone(), fold));
        known.is_some_and(|known| known.seen && Arc::ptr_eq(&known.table, table))
    }

    /// A table from memory, else from Postgres. `fold` asks for case folding, which takes the server
    /// half a second the first time.
    pub async fn lookup(
        &self,
        name: &RelationName,
        fold: bool,
    ) -> Result<Arc<TableSchema>, SchemaError> {
        let known = {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.get(&(name.clone(), fold)).map(|known| Arc::clone(&known.table))
        };
        match known {
            Some(table) => Ok(table),
            None => self.refresh(name, fold).await,
        }
    }

    /// The tables that the subqueries of a filter name, `fresh` from Postgres, and its time zones. Those that
    /// cannot be served are left out: compiling the filter says where they stand.
    pub async fn of_subqueries(
        &self,
        filter: Option<&FilterSource>,
        fold: bool,
        fresh: bool,
    ) -> Result<Tables, SchemaError> {
        let mut tables = Tables::new();
        for name in filter.map_or(Vec::new(), |filter| named_tables(&filter.text)) {
            let found = match fresh {
                true => self.refresh(&name, fold).await,
                false => self.lookup(&name, fold).await,
            };
            match found {
                Ok(table) => _ = tables.insert(name, table),
                Err(SchemaError::Missing(_) | SchemaError::Unservable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let zones = filter.map_or(Vec::new(), |filter| named_zones(&filter.text, &filter.params));
        tables.zones = self.zones(zones).await?;
        if filter.is_some() {
            (tables.version, tables.encoding) = self.version().await?.clone();
        }
        if filter.is_some_and(|filter| mathematics::may_be_in(&filter.text)) {
            tables.mathematics = self.computes_alike().await?;
        }
        Ok(tables)
    }

    /// What the server's C library computes as ours does.
    pub async fn computes_alike(&self) -> Result<Functions, DatabaseError> {
        self.mathematics.alike(&self.database).await
    }

    /// Time zones by their names in lower case, but for names that are none.
    pub async fn zones(&self, names: Vec<String>) -> Result<Zones, DatabaseError> {
        self.zones.named(&self.database, names).await
    }

    /// A table from Postgres. Keeps what is known if it is still so, so that shapes share it.
    pub async fn refresh(
        &self,
        name: &RelationName,
        fold: bool,
    ) -> Result<Arc<TableSchema>, SchemaError> {
        let (key, asked) = ((name.clone(), fold), Instant::now());
        let look = {
            let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(looks.entry(key.clone()).or_default())
        };
        let mut look = look.lock().await;
        if let Some((_, table)) = look.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Ok(Arc::clone(table));
        }
        let begun = Instant::now();
        let table = self.look(name, fold).await;
        *look = table.as_ref().ok().map(|table| (begun, Arc::clone(table)));
        // Names that are no tables are not kept, however many are asked for.
        self.looks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known, look| *known != key || table.is_ok() || Arc::strong_count(look) > 1);
        table
    }

    async fn look(&self, name: &RelationName, fold: bool) -> Result<Arc<TableSchema>, SchemaError> {
        let client = self.database.pooled().await?;
        let loaded = self.load(&client, name, fold).await;
        if matches!(loaded, Err(SchemaError::Missing(_) | SchemaError::Unservable { .. })) {
            self.forget(name);
        }
        let loaded = loaded?;
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), fold);
        let same = tables.get(&key).filter(|known| *known.table == loaded);
        let table = same.map_or_else(|| Arc::new(loaded), |known| Arc::clone(&known.table));
        tables.insert(key, Known { table: Arc::clone(&table), seen: true });
        Ok(table)
    }

    /// Forgets a table whose definition has changed.
    pub fn forget(&self, name: &RelationName) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(known, _), _| known != name);
    }

    /// Forgets tables that have other unique keys by now: filters that rely on one are looked at again.
    pub fn compare_keys(&self, found: &HashMap<u32, PreparedTable>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|_, Known { table, .. }| {
            let now = found.get(&table.oid);
            now.is_none_or(|now| table.unique == unique(&table.columns, &now.unique))
        });
    }

    /// Which Postgres it is, and its encoding if that is not UTF8.
    pub async fn version(&self) -> Result<&(i32, Option<String>), DatabaseError> {
        self.version.get_or_try_init(|| self.ask_version()).await
    }

    async fn ask_version(&self) -> Result<(i32, Option<String>), DatabaseError> {
        let client = self.database.pooled().await?;
        let row = client.query_one(statement::VERSION, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    async fn load(
        &self,
        client: &Connected,
        name: &RelationName,
        fold: bool,
    ) -> Result<TableSchema, SchemaError> {
        // Asked for most new shapes; to plan these takes longer than to run them.
        let prepared = client.prepare_cached(statement::TABLE).await?;
        let found = client.query_opt(&prepared, &[&name.schema, &name.table]).await?;
        let row = found.ok_or_else(|| SchemaError::Missing(name.clone()))?;
        servable(name, &row)?;
        let oid: u32 = row.get("oid");
        let partitioned = row.get::<_, &str>("kind") == "p";
        if partitioned {
            let found = partitions(client, &[oid]).await?;
            if let Some(partition) = found.iter().find(|partition| !partition.streamed) {
                let reason = format!(
                    "its partition {} is foreign or unlogged: its rows would be in the snapshot but not its changes in the stream",
                    partition.name
                );
                return Err(SchemaError::Unservable { table: name.clone(), reason });
            }
        }
        let prepared = client.prepare_cached(statement::columns()).await?;
        let rows = client.query(&prepared, &[&oid]).await?;
        if rows.is_empty() {
            return Err(SchemaError::Missing(name.clone()));
        }
        // Every comparison of these folds, and all columns of a table know their case or none does.
        let folded = [statement::CITEXT, statement::CITEXT_ARRAY];
        let fold =
            fold || rows.iter().any(|row| folded.contains(&row.get::<_, u32>("base_type_oid")));
        let (mut columns, mut collations) = (Vec::with_capacity(rows.len()), HashMap::new());
        for row in &rows {
            let oid: u32 = row.get("collation");
            if oid != 0 && !collations.contains_key(&oid) {
                collations.insert(oid, self.collation(client, oid, fold).await?);
            }
            columns.push(column(row, collations.get(&oid).cloned()));
        }
        let numbers: Vec<i16> = columns.iter().map(|column| column.number).collect();
        let rewritten = self.rewrites.known(oid, &numbers);
        columns.iter_mut().zip(rewritten).for_each(|(column, known)| column.rewritten = known);
        let columns = self.placed(oid, name, columns);
        let unique = unique(&columns, &row.get::<_, Vec<String>>("unique_keys"));
        Ok(TableSchema { oid, name: name.clone(), columns, partitioned, unique })
    }

    /// Columns at the places that they have in rows; generated ones, which are in none, last.
    fn placed(&self, oid: u32, name: &RelationName, columns: Vec<Column>) -> Vec<Column> {
        let (generated, replicated): (Vec<Column>, Vec<Column>) =
            columns.into_iter().partition(|column| column.generated);
        let announced = replicated.iter().map(|column| RelationColumn {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
        });
        let (name, identity) = (name.clone(), ReplicaIdentity::Full);
        let relation =
            Relation { oid, name, identity, columns: announced.collect(), order: Vec::new() };
        let mut places: Vec<Column> = Vec::new();
        let mut replicated = replicated.into_iter().map(Some).collect::<Vec<_>>();
        for place in &self.layouts.known(relation).columns {
            let known = |c: &mut Option<Column>| c.take_if(|c| c.name == place.name);
            let column = (!place.is_dropped()).then(|| replicated.iter_mut().find_map(known));
            places.push(column.flatten().unwrap_or_else(Column::gone));
        }
        places.extend(generated);
        places
    }

    async fn collation(
        &self,
        client: &Connected,
        oid: u32,
        fold: bool,
    ) -> Result<Collation, SchemaError> {
        let prepared = client.prepare_cached(statement::COLLATION).await?;
        let row = client.query_one(&prepared, &[&oid]).await?;
        let facts = CollationFacts {
            schema: row.get("schema"),
            name: row.get("name"),
            is_default: row.get("is_default"),
            provider: row.get("provider"),
            deterministic: row.get("deterministic"),
            collate: row.get("collate"),
            ctype: row.get("ctype"),
            locale: row.get("locale"),
            encoding: row.get("encoding"),
        };
        let (mut collation, folding) = facts.collation();
        self.collations.learn(oid, &collation.name);
        collation.case_map = match folding {
            _ if !fold => None,
            Folding::Unknown => None,
            Folding::Ascii => Some(Arc::new(CaseMap::ascii())),
            Folding::Server => self.case_map(client, oid, &facts).await?,
        };
        Ok(collation)
    }

    /// The server's own case folding under a collation; asked once.
    async fn case_map(
        &self,
        client: &Connected,
        oid: u32,
        facts: &CollationFacts,
    ) -> Result<Option<Arc<CaseMap>>, SchemaError> {
        let known = {
            let maps = self.case_maps.lock().unwrap_or_else(PoisonError::into_inner);
            maps.get(&oid).cloned()
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let named = (!facts.is_default).then_some((&*facts.schema, &*facts.name));
        let rows = client.query(&statement::case_map(named), &[]).await?;
        let one = |text: &str| -> Option<char> {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none())
        };
        let triples: Option<Vec<(char, char, char)>> = rows
            .iter()
            .map(|row| Some((one(row.get(0))?, one(row.get(1))?, one(row.get(2))?)))
            .collect();
        let map = triples.map(|triples| {
            let lower = triples.iter().map(|(c, lower, _)| (*c, *lower));
            let upper = triples.iter().map(|(c, _, upper)| (*c, *upper));
            Arc::new(CaseMap::new(lower).with_upper(upper))
        });
        self.case_maps.lock().unwrap_or_else(PoisonError::into_inner).insert(oid, map.clone());
        Ok(map)
    }
}

fn column(row: &Row, collation: Option<Collation>) -> Column {
    let key_position: Option<i32> = row.get("key_position");
    Column {
        name: row.get("name"),
        type_oid: row.get("type_oid"),
        base_type_oid: row.get("base_type_oid"),
        type_name: row.get("type_name"),
        type_modifier: row.get("type_modifier"),
        dimensions: row.get("dimensions"),
        not_null: row.get("not_null"),
        key_position: key_position.and_then(|position| usize::try_from(position).ok()),
        generated: row.get("generated"),
        collation,
        number: row.get("number"),
        dropped: false,
        labels: row.get("labels"),
        element_type_oid: row.get("element_type_oid"),
        enum_schema: row.get("enum_schema"),
        enum_name: row.get("enum_name"),
        domain: match row.get("domain_oid") {
            0 => None,
            oid => Some(ColumnDomain {
                oid,
                modifier: row.get("domain_modifier"),
                schema: row.get("domain_schema"),
                name: row.get("domain_name"),
            }),
        },
        parts: row.get("parts"),
        rewritten: 0,
    }
}

/// Unique keys by the numbers of their columns, as their places.
fn unique(columns: &[Column], keys: &[String]) -> Vec<Vec<usize>> {
    let place = |number: &str| {
        let number: i16 = number.parse().ok()?;
        columns.iter().position(|column| !column.dropped && column.number == number)
    };
    let key = |key: &String| {
        let mut places = key.split(' ').map(place).collect::<Option<Vec<usize>>>()?;
        places.sort_unstable();
        Some(places)
    };
    let mut unique: Vec<Vec<usize>> = keys.iter().filter_map(key).collect();
    unique.sort_unstable();
    unique.dedup();
    unique
}

/// Snapshots and stream must agree on what the table's rows are.
fn servable(name: &RelationName, row: &Row) -> Result<(), SchemaError> {
    let refuse = |reason: String| Err(SchemaError::Unservable { table: name.clone(), reason });
    match row.get::<_, &str>("kind") {
        "r" | "p" => {}
        "v" | "m" => return refuse("it is a view; ask for the tables behind it".into()),
        "f" => {
            return refuse(
                "it is a foreign table: its changes are not in this server's WAL".into(),
            );
        }
        _ => return Err(SchemaError::Missing(name.clone())),
    }
    // Everything below belongs to Postgres itself (FirstNormalObjectId).
    if row.get::<_, u32>("oid") < 16_384 {
        return refuse("it is a system catalogue, whose changes are never replicated".into());
    }
    match row.get::<_, &str>("persistence") {
        "p" => {}
        "u" => {
            return refuse(format!(
                "it is unlogged, so its changes are not replicated; run ALTER TABLE {} SET LOGGED",
                name.quoted()
            ));
        }
        _ => return refuse("it is temporary".into()),
    }
    if row.get::<_, &str>("kind") == "r" && row.get("has_children") {
        return refuse("other tables inherit from it: their rows would be in its snapshot but not in its changes".into());
    }
    if row.get("has_deferrable_key") {
        return refuse("its primary key is deferrable: two rows may have one key within a transaction, and clients, who know rows by their keys, would lose one. Make the key again without DEFERRABLE".into());
    }
    if row.get("row_security") {
        return refuse(
            "row level security applies to our role there: snapshots would obey it, the stream of changes does not. Give our role BYPASSRLS (ALTER ROLE … BYPASSRLS, as a superuser), or connect as the table's owner".into(),
        );
    }
    Ok(())
}
