//! The partitions of partitioned tables, as the catalogue has them now.

use brooklet_sql::{RelationName, statement};
use tokio_postgres::Client;

/// A partition that holds rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The partitioned table it is a part of, maybe not directly.
    pub root: u32,
    /// Its own number.
    pub oid: u32,
    /// Its name.
    pub name: RelationName,
    /// Whether it was a part of it from its first row on. One that was attached may have brought
    /// rows that were never in the stream.
    pub created: bool,
    /// Which attachment it is: another one after DETACH and ATTACH, in between which its rows may
    /// have changed unseen.
    pub link: String,
    /// Whether its changes are in the stream: not those of foreign and unlogged tables.
    pub streamed: bool,
    /// Whether its old rows are complete.
    pub full_identity: bool,
}

/// The partitions of these tables, by root and number; none for a table that is not partitioned.
pub async fn partitions(
    client: &Client,
    tables: &[u32],
) -> Result<Vec<Partition>, tokio_postgres::Error> {
    let rows = client.query(statement::PARTITIONS, &[&tables]).await?;
    let partition = |row: &tokio_postgres::Row| Partition {
        root: row.get("root"),
        oid: row.get("oid"),
        name: RelationName { schema: row.get("schema"), table: row.get("name") },
        created: row.get("created"),
        link: row.get("link"),
        streamed: row.get::<_, &str>("kind") == "r" && row.get::<_, &str>("persistence") == "p",
        full_identity: row.get("full_identity"),
    };
    Ok(rows.iter().map(partition).collect())
}
