//! A table with a column of every type that values are read of.

use std::sync::Arc;

use brooklet_sql::statement::{CITEXT, CITEXT_ARRAY};
use brooklet_sql::{CaseMap, Collation, Column, ColumnDomain, RelationName, TableSchema};

const COLUMNS: [(&str, u32); 66] = [
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
    ("z", 114),
    ("aa", 3904),
    ("ab", 3906),
    ("ac", 3908),
    ("ad", 3910),
    ("ae", 3912),
    ("af", 3926),
    ("ag", 4451),
    ("ah", 4532),
    ("ai", 4533),
    ("aj", 4534),
    ("ak", 4535),
    ("al", 4536),
    ("am", 3905),
    ("an", 869),
    ("ao", 650),
    ("ap", 1000),
    ("aq", 1005),
    ("ar", 1016),
    ("au", 1021),
    ("av", 1022),
    ("aw", 1182),
    ("ax", 1183),
    ("ay", 1115),
    ("az", 1185),
    ("ba", 1187),
    ("bb", 1270),
    ("bc", 2951),
    ("bd", 3807),
    ("be", 199),
    ("bf", 1041),
    ("bg", 651),
    ("bh", 1001),
    ("bi", 1015),
    ("bj", 6150),
    ("bk", 90_001),
    ("bl", CITEXT),
    ("bm", CITEXT_ARRAY),
    ("domains_bn", 1007),
    ("domains_bo", 1009),
    ("domains_bp", 1231),
];
/// Of the domains behind those arrays.
const DOMAIN: u32 = 91_000;

pub fn table() -> TableSchema {
    // As `citext` folds, so that there is something to compare.
    let folding = || Collation { case_map: Some(Arc::new(CaseMap::ascii())), ..Collation::c() };
    let column = |(name, oid): (&str, u32)| Column {
        name: name.to_owned(),
        type_oid: if name.starts_with("domains_") { DOMAIN + oid } else { oid },
        base_type_oid: oid,
        type_name: String::new(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        generated: false,
        collation: match oid {
            CITEXT | CITEXT_ARRAY => Some(folding()),
            _ => [19, 25, 1042, 1043, 1009, 1015].contains(&oid).then(Collation::c),
        },
        labels: if oid >= 90_000 { vec!["one".into(), "two".into()] } else { Vec::new() },
        element_type_oid: if oid == 90_001 { 90_000 } else { 0 },
        enum_schema: "public".into(),
        enum_name: "mood".into(),
        domain: name.starts_with("domains_").then(|| ColumnDomain {
            oid: DOMAIN + 1000 + oid,
            // `numeric(6,2)`
            modifier: if oid == 1231 { (6 << 16 | 2) + 4 } else { -1 },
            schema: "public".into(),
            name: format!("of_{oid}"),
        }),
        parts: Vec::new(),
        rewritten: 0,
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "every".into() },
        columns: COLUMNS.into_iter().map(column).collect(),
    }
}
