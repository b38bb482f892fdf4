//! Statements we send to Postgres.
//!
//! Fixed ones are files beside this crate's source; the others are built here, from parsed names and
//! printed predicates only. User text never becomes part of a statement.

use std::sync::LazyLock;

use crate::name::{literal, quote};
use crate::{OrderBy, Predicate, RelationName, ServerFilter, TableSchema};

/// What a server must be: version, settings, the role's rights.
pub const PREFLIGHT: &str = include_str!("../statements/preflight.sql");
/// Which Postgres it is, and how it encodes text: [`crate::Tables::version`], [`crate::Tables::encoding`].
pub const VERSION: &str = "SELECT current_setting('server_version_num')::int4, \
    nullif(current_setting('server_encoding'), 'UTF8')";
/// `$1` slot name.
pub const SLOT: &str = include_str!("../statements/slot.sql");
/// `$1` schema, `$2` table.
pub const TABLE: &str = include_str!("../statements/table.sql");
/// What both [`columns`] and [`reconcile`] ask: if they asked for two things, every shape would end at each look.
const PARTS: &str = include_str!("../statements/parts.sql");

/// `$1` table oid.
#[must_use]
pub fn columns() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        include_str!("../statements/columns.sql").replace("{parts}", PARTS.trim_end())
    });
    &TEXT
}

/// `base_type_oid` of [`columns`] for `citext`, which has another number in every database. Columns with a
/// collation of their own or while `search_path` does not find it have that other number.
pub const CITEXT: u32 = 9998;
/// The same for arrays of it.
pub const CITEXT_ARRAY: u32 = 9999;
/// `$1` collation oid.
pub const COLLATION: &str = include_str!("../statements/collation.sql");
/// `$1` a time zone's name; no row where it is none. What [`crate::Zone::new`] is made of, and `goes_on`:
/// whether the zone is what that says before and behind the years that were looked at.
pub const ZONE: &str = include_str!("../statements/zone.sql");
/// The names that [`ZONE`] knows, in lower case, and more.
pub const ZONE_NAMES: &str = include_str!("../statements/zone_names.sql");
/// `$1` publication name.
pub const PUBLICATION: &str = include_str!("../statements/publication.sql");
/// `$1` publication name, `$2` table oid, `$3` its partitions' oids.
pub const PUBLISHED: &str = include_str!("../statements/published.sql");
/// `$1` publication name, `$2` table oids.
#[must_use]
pub fn reconcile() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        include_str!("../statements/reconcile.sql").replace("{parts}", PARTS.trim_end())
    });
    &TEXT
}
/// `$1` publication name, `$2` table oids. As long as a table has the same mark, [`reconcile`] finds the same of it, but
/// for types that are not built in.
pub const MARK: &str = include_str!("../statements/mark.sql");
/// Both at one time.
#[must_use]
pub fn reconcile_and_mark() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT found.*, marked.mark FROM ({}) found LEFT JOIN ({MARK}) marked ON marked.oid = found.oid",
            reconcile()
        )
    });
    &TEXT
}
/// `$1` publication name, `$2` table oid.
pub const WAYS: &str = include_str!("../statements/ways.sql");
/// `$1` table oids.
pub const PARTITIONS: &str = include_str!("../statements/partitions.sql");
/// `$1` table oids.
pub const WRITERS: &str = include_str!("../statements/writers.sql");

/// `$1` table oid.
pub const SAME_FILES: &str = include_str!("../statements/same_files.sql");

/// Begins a snapshot transaction, which may wait for its locks as long as it takes. The snapshot is taken by
/// the first query.
pub const BEGIN_SNAPSHOT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0";

/// Takes the snapshot, if none was taken: what it contains, then the position that everything in it lies before,
/// read after the snapshot was taken, then up to where a crash takes nothing back. From here on values print exactly as
/// those of the stream, and the transaction lasts as long as it takes (Postgres 17 and later have a limit). One
/// statement: a `SET` for each setting takes longer than all of this.
pub const SEEN: &str = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, \
    pg_current_wal_flush_lsn()::text, set_config('DateStyle', 'ISO, MDY', true), set_config('TimeZone', 'UTC', true), \
    set_config('IntervalStyle', 'iso_8601', true), set_config('extra_float_digits', '1', true), \
    set_config('bytea_output', 'hex', true), \
    set_config('idle_in_transaction_session_timeout', '0', true), \
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL \
         THEN set_config('transaction_timeout', '0', true) END";

/// Lets a session's transactions last as long as they take, where Postgres has a limit: the walsender's own are as long
/// as those that it decodes.
pub const LASTING: &str =
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'";

/// Whether somebody streams from a slot. Everybody may ask this, unlike what is known of walsenders.
pub const SLOT_ACTIVE: &str = "SELECT active FROM pg_replication_slots WHERE slot_name = $1";

/// Up to where a crash takes nothing back.
pub const FLUSHED: &str = "SELECT pg_current_wal_flush_lsn()::text";

/// Writes a transaction that says nothing, to nobody, and waits for no standby.
pub const NUDGE: &str = "BEGIN; SET LOCAL synchronous_commit = local; \
    SELECT pg_logical_emit_message(true, 'brooklet', ''); COMMIT";

/// The same settings as start-up options of the replication session.
pub const DISPLAY_OPTIONS: &str = "-c DateStyle=ISO,MDY -c TimeZone=UTC \
    -c IntervalStyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex -c client_encoding=UTF8";

/// The rows of a table that a filter lets in, the given columns of them. The filter stands as it is: to Postgres no index
/// serves `(filter) IS TRUE`, which means the same here.
#[must_use]
pub fn select(table: &TableSchema, columns: &[usize], predicate: Option<&Predicate>) -> String {
    let names: Vec<String> = columns.iter().map(|at| quote(&table.columns[*at].name)).collect();
    let filter = predicate.map(|p| format!(" WHERE ({})", p.sql())).unwrap_or_default();
    format!("SELECT {} FROM {}{filter}", names.join(", "), table.name.quoted())
}

/// [`select`], streamed as text; at most `limit` rows.
#[must_use]
pub fn copy(
    table: &TableSchema,
    columns: &[usize],
    predicate: Option<&Predicate>,
    limit: Option<u64>,
) -> String {
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    format!("COPY ({}{limit}) TO STDOUT", select(table, columns, predicate))
}

/// The rows of several filters in one answer, each row with its filter's place in the list before it; at most
/// `limit` rows of each.
#[must_use]
pub fn copy_several(
    table: &TableSchema,
    columns: &[usize],
    predicates: &[Option<&Predicate>],
    limit: u64,
) -> String {
    let one = |(place, predicate): (usize, &Option<&Predicate>)| {
        let rows = select(table, columns, *predicate);
        let values = rows.strip_prefix("SELECT ").unwrap_or(&rows);
        let comma = if columns.is_empty() { "" } else { "," };
        format!("(SELECT {place}{comma} {values} LIMIT {limit})")
    };
    let all: Vec<String> = predicates.iter().enumerate().map(one).collect();
    format!("COPY ({}) TO STDOUT", all.join(" UNION ALL "))
}

/// The same of filters that differ in constants only: one join with these instead of a query for each. A column is compared
/// with what has the type and value of the constant, as it is in a filter alone; all that Postgres does not know is
/// the value while it plans. `None` where filters differ in more, or constants have no type of their own.
#[must_use]
pub fn copy_several_alike(
    table: &TableSchema,
    columns: &[usize],
    predicates: &[Option<&Predicate>],
    limit: u64,
) -> Option<String> {
    let predicates = predicates.iter().copied().collect::<Option<Vec<&Predicate>>>()?;
    let form = predicates.first()?.form();
    if columns.is_empty() || predicates.iter().any(|one| one.form() != form) {
        return None;
    }
    // No name of the table's may be taken for one of ours, nor the other way round.
    let mut ours = "c".to_owned();
    while table.name.table.starts_with(&ours)
        || table.columns.iter().any(|column| column.name.starts_with(&ours))
    {
        ours.push('_');
    }
    let filter = form.print_with(|number| format!("{ours}.{ours}{number}"))?;
    let one = |(place, predicate): (usize, &&Predicate)| {
        format!("({place}, {})", predicate.constants_sql().join(", "))
    };
    let all: Vec<String> = predicates.iter().enumerate().map(one).collect();
    let count = predicates.first()?.constants_sql().len();
    let names: Vec<String> = (0..count).map(|number| format!("{ours}{number}")).collect();
    let rows = format!("{} WHERE ({filter}) LIMIT {limit}", select(table, columns, None));
    Some(format!(
        "COPY (SELECT {ours}.{ours}_at, rows.* FROM (VALUES {}) {ours}({ours}_at, {}) CROSS JOIN LATERAL ({rows}) rows) TO STDOUT",
        all.join(", "),
        names.join(", ")
    ))
}

/// The part of a shape that a subset request asks for, streamed as text: rows that the shape's
/// `predicate` and the request's `filter` both let in. Each stands in parentheses of its own, so
/// that an OR in one does not reach into the other.
#[must_use]
pub fn subset(
    table: &TableSchema,
    columns: &[usize],
    predicate: Option<&Predicate>,
    filter: Option<&ServerFilter>,
    order: Option<&OrderBy>,
    limit: Option<u64>,
    offset: Option<u64>,
) -> String {
    let names: Vec<String> = columns.iter().map(|at| quote(&table.columns[*at].name)).collect();
    let mut text = format!("SELECT {} FROM {}", names.join(", "), table.name.quoted());
    let conditions = predicate
        .map(Predicate::sql)
        .into_iter()
        .chain(filter.map(|filter| filter.sql().to_owned()));
    for (at, condition) in conditions.enumerate() {
        text += if at == 0 { " WHERE " } else { " AND " };
        text += &format!("({condition})");
    }
    if let Some(order) = order {
        text += &format!(" ORDER BY {}", order.sql());
    }
    // Postgres counts rows in a bigint.
    let count = |count: u64| count.min(i64::MAX as u64);
    if let Some(limit) = limit {
        text += &format!(" LIMIT {}", count(limit));
    }
    if let Some(offset) = offset {
        text += &format!(" OFFSET {}", count(offset));
    }
    format!("COPY ({text}) TO STDOUT")
}

/// A publication without tables; they are added when shapes need them.
#[must_use]
pub fn create_publication(name: &str) -> String {
    format!(
        "CREATE PUBLICATION {} WITH (publish = 'insert, update, delete, truncate')",
        quote(name)
    )
}

/// Publishes a table.
#[must_use]
pub fn publish(publication: &str, table: &TableSchema) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", quote(publication), table.name.quoted())
}

/// Keeps a table and its partitions from being altered until the transaction ends.
#[must_use]
pub fn lock(table: &RelationName) -> String {
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", table.quoted())
}

/// Makes old rows complete.
#[must_use]
pub fn full_identity(table: &RelationName) -> String {
    format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.quoted())
}

/// Every character that a collation folds, with its lower-case and its upper-case form. `collation` is schema and name,
/// `None` the database's default.
#[must_use]
pub fn case_map(collation: Option<(&str, &str)>) -> String {
    let collate = collation
        .map(|(schema, name)| format!(" COLLATE {}.{}", quote(schema), quote(name)))
        .unwrap_or_default();
    format!(
        "SELECT chr(n), lower(chr(n){collate}), upper(chr(n){collate}) \
         FROM generate_series(1, 1114111) n WHERE n NOT BETWEEN 55296 AND 57343 \
         AND ((lower(chr(n){collate}) COLLATE \"C\") <> chr(n) \
           OR (upper(chr(n){collate}) COLLATE \"C\") <> chr(n))"
    )
}

/// Makes the transaction that has just begun see what an exported snapshot sees.
#[must_use]
pub fn join_snapshot(name: &str) -> String {
    format!("SET TRANSACTION SNAPSHOT {};", literal(name))
}

/// Creates a logical slot over a replication connection, with a snapshot of what is before its start;
/// the snapshot lives as long as the connection does nothing else.
#[must_use]
pub fn create_slot_with_snapshot(slot: &str) -> String {
    format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT", quote(slot))
}

/// Creates a logical slot.
#[must_use]
pub fn create_slot(slot: &str) -> String {
    format!(
        "SELECT lsn::text FROM pg_create_logical_replication_slot({}, 'pgoutput')",
        literal(slot)
    )
}
