//! A table with a column of every type that values are read of.

use brooklet_sql::{Collation, Column, RelationName, TableSchema};

const COLUMNS: [(&str, u32); 25] = [
    ("a", 16),
    ("b", 17),
    ("c", 19),
    ("d", 20),
    ("e", 21),
    ("f", 23),
    ("g", 25),
    ("h", 26),
    ("i", 700),
    ("j", 701),
    ("k", 1042),
    ("l", 1043),
    ("m", 1082),
    ("n", 1083),
    ("o", 1114),
    ("p", 1184),
    ("q", 1186),
    ("r", 1266),
    ("s", 1700),
    ("t", 2950),
    ("u", 3802),
    ("v", 1007),
    ("w", 1009),
    ("x", 1231),
    ("y", 90_000),
];

pub fn table() -> TableSchema {
    let column = |(name, oid): (&str, u32)| Column {
        name: name.to_owned(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: String::new(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        generated: false,
        collation: [19, 25, 1042, 1043, 1009].contains(&oid).then(Collation::c),
        labels: if oid == 90_000 { vec!["one".into(), "two".into()] } else { Vec::new() },
        element_type_oid: 0,
        enum_schema: "public".into(),
        enum_name: "mood".into(),
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        oid: 1,
        name: RelationName { schema: "public".into(), table: "every".into() },
        columns: COLUMNS.into_iter().map(column).collect(),
    }
}
