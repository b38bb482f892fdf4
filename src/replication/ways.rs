//! Where a table's changes have to go: to the table itself, and to the partitioned tables it is a
//! part of, in their columns and under their names.
//!
//! Postgres publishes a partition's changes under the partition's name. Shapes of the partitioned
//! table need them under its own, so each change is stored once for every published table on the
//! way up. The catalogue is asked whenever the stream announces a table, which it does again after
//! every change of the table and of the publication.

use brooklet_sql::{Relation, RelationColumn, RelationName, ReplicaIdentity, statement};
use tokio_postgres::Client;

/// A table that gets another one's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its definition.
    pub relation: Relation,
    /// Whether the announced table was a part of it from its first row on.
    pub created: bool,
}

/// Where the changes of an announced table go: never nowhere.
pub async fn targets(
    client: &Client,
    publication: &str,
    announced: &Relation,
) -> Result<Vec<Target>, tokio_postgres::Error> {
    let rows = client.query(statement::WAYS, &[&publication, &announced.oid]).await?;
    let target = |row: &tokio_postgres::Row| {
        let oid: u32 = row.get("oid");
        if oid == announced.oid {
            // The stream's own word: the catalogue may be ahead of it.
            return Target { relation: announced.clone(), created: true };
        }
        let name = RelationName { schema: row.get("schema"), table: row.get("name") };
        let columns =
            columns(row.get("column_names"), row.get("column_types"), row.get("column_modifiers"));
        // Partitions have identities of their own: one that is incomplete shows when it matters.
        let relation =
            Relation { oid, name, identity: ReplicaIdentity::Full, columns, order: Vec::new() };
        Target { relation, created: row.get("created") }
    };
    let mut found: Vec<Target> = rows.iter().map(target).collect();
    if found.is_empty() {
        found.push(Target { relation: announced.clone(), created: true });
    }
    Ok(found)
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
