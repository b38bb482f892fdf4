//! Where a table's changes have to go: to the table itself, and to the partitioned tables it is a
//! part of, in their columns and under their names.
//!
//! Postgres publishes a partition's changes under the partition's name. Shapes of the partitioned
//! table need them under its own, so each change is stored once for every published table on the
//! way up. The catalogue is asked whenever the stream announces a table, which it does again after
//! every change of the table and of the publication. It may be ahead of the stream, which at worst
//! stores changes that nobody reads yet. It may be behind it, too: then it is asked again until it
//! has caught up, and shapes that missed something meanwhile end.

use brooklet_sql::{Relation, RelationColumn, RelationName, ReplicaIdentity, statement};
use tokio_postgres::Client;

use crate::shapes::visibility::Visibility;

/// A table that gets another one's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its definition.
    pub relation: Relation,
    /// Whether the announced table was a part of it from its first row on.
    pub created: bool,
    /// Which attachment it is.
    pub link: String,
}

/// Where the changes of a table go, as far as the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Never nowhere.
    pub targets: Vec<Target>,
    /// Whether the catalogue has what the announcing transaction did. A commit is streamed before it
    /// is visible: for a moment, or for as long as a synchronous standby does not answer.
    pub settled: bool,
}

/// Where the changes of a table go that the transaction `xid` announced.
pub async fn targets(
    client: &Client,
    publication: &str,
    announced: &Relation,
    xid: u32,
) -> Result<Targets, tokio_postgres::Error> {
    // First what is visible, then what there is: the second look sees at least as much.
    let seen = client.query_one("SELECT pg_current_snapshot()::text", &[]).await?;
    let seen = seen.get::<_, String>(0).parse::<Visibility>();
    let settled = seen.is_ok_and(|seen| seen.contains(xid));
    let rows = client.query(statement::WAYS, &[&publication, &announced.oid]).await?;
    let target = |row: &tokio_postgres::Row| {
        let oid: u32 = row.get("oid");
        if oid == announced.oid {
            // The stream's own word: the catalogue may be ahead of it.
            return Target { relation: announced.clone(), created: true, link: String::new() };
        }
        let name = RelationName { schema: row.get("schema"), table: row.get("name") };
        let columns =
            columns(row.get("column_names"), row.get("column_types"), row.get("column_modifiers"));
        // Partitions have identities of their own: one that is incomplete shows when it matters.
        let relation =
            Relation { oid, name, identity: ReplicaIdentity::Full, columns, order: Vec::new() };
        Target { relation, created: row.get("created"), link: row.get("link") }
    };
    let mut found: Vec<Target> = rows.iter().map(target).collect();
    if found.is_empty() {
        let (relation, link) = (announced.clone(), String::new());
        found.push(Target { relation, created: true, link });
    }
    Ok(Targets { targets: found, settled })
}

/// Columns as the catalogue's arrays list them.
pub(super) fn columns(
    names: Vec<String>,
    types: Vec<u32>,
    modifiers: Vec<i32>,
) -> Vec<RelationColumn> {
    let columns = names.into_iter().zip(types).zip(modifiers);
    let column =
        |((name, type_oid), type_modifier)| RelationColumn { name, type_oid, type_modifier };
    columns.map(column).collect()
}
