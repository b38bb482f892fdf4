//! Small tables for tests and benches of the dataflow.

use std::sync::Arc;

use brooklet_sql::{Collation, Column, RelationName, TableSchema};

/// Columns of text, `bpchar`, `text[]` and `citext` have a collation.
const COLLATED: [u32; 4] = [25, 1042, 1009, 9998];

/// A table of these columns, name and type; the first is the key. Text has the given collation.
pub fn table(
    oid: u32,
    name: &str,
    columns: &[(&str, u32)],
    collation: impl Fn() -> Collation,
) -> Arc<TableSchema> {
    let column = |(at, (name, oid)): (usize, &(&str, u32))| Column {
        name: (*name).into(),
        type_oid: *oid,
        base_type_oid: *oid,
        type_name: "x".into(),
        key_position: (at == 0).then_some(0),
        collation: COLLATED.contains(oid).then(&collation),
        dropped: false,
        ..Column::gone()
    };
    let columns = columns.iter().enumerate().map(column).collect();
    let name = RelationName { schema: "public".into(), table: name.into() };
    Arc::new(TableSchema { oid, name, columns, partitioned: false, unique: Vec::new() })
}
