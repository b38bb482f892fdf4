//! A snapshot from before a table was rewritten finds it empty: the statement that notices, and the
//! one that joins a snapshot.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, missing_docs)]

use brooklet_sql::statement::{SAME_FILES, join_snapshot};
use tokio_postgres::Client;

#[path = "generate/connect.rs"]
mod connect;

use connect::{given, open};

async fn connect() -> Client {
    open(&given()).await
}

#[tokio::test]
async fn tables_that_were_rewritten_or_emptied_since_a_snapshot_are_noticed() {
    let (owner, reader, exporter) = (connect().await, connect().await, connect().await);
    let setup = "DROP SCHEMA IF EXISTS files CASCADE; CREATE SCHEMA files;
        CREATE TABLE files.kept (id int PRIMARY KEY, n int);
        CREATE TABLE files.emptied (LIKE files.kept);
        CREATE TABLE files.rewritten (LIKE files.kept);
        CREATE TABLE files.vacuumed (LIKE files.kept);
        CREATE TABLE files.parted (id int) PARTITION BY RANGE (id);
        CREATE TABLE files.low PARTITION OF files.parted FOR VALUES FROM (0) TO (9);
        CREATE TABLE files.split (id int) PARTITION BY RANGE (id);
        CREATE TABLE files.split_low PARTITION OF files.split FOR VALUES FROM (0) TO (9)";
    owner.batch_execute(setup).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ";
    exporter.batch_execute(begin).await.unwrap();
    let name = exporter.query_one("SELECT pg_export_snapshot()", &[]).await.unwrap();
    let changes = [
        "INSERT INTO files.kept VALUES (1, 1); ALTER TABLE files.kept ADD COLUMN more int",
        "TRUNCATE files.emptied",
        "ALTER TABLE files.rewritten ADD COLUMN more float DEFAULT random()",
        "VACUUM FULL files.vacuumed",
        "INSERT INTO files.parted VALUES (1)",
        "TRUNCATE files.split_low",
    ];
    for change in changes {
        owner.batch_execute(change).await.unwrap();
    }
    reader.batch_execute(&format!("{begin}{}", join_snapshot(name.get(0)))).await.unwrap();
    for (table, same) in [
        ("kept", true),
        ("emptied", false),
        ("rewritten", false),
        ("vacuumed", false),
        ("parted", true),
        ("low", true),
        ("split", false),
    ] {
        let oid = format!("SELECT 'files.{table}'::regclass::oid");
        let oid: u32 = reader.query_one(&oid, &[]).await.unwrap().get(0);
        let found: bool = reader.query_one(SAME_FILES, &[&oid]).await.unwrap().get(0);
        assert_eq!(found, same, "{table}");
    }
    let seen = reader.query_one("SELECT count(*) FROM files.kept", &[]).await.unwrap();
    assert_eq!(seen.get::<_, i64>(0), 0, "the reader does not see what the exporter sees");
}
