//! Plans beside the general evaluator.

use super::*;
use crate::{Collation, Column, RelationName, TableSchema, compile};

const COLUMNS: [(&str, u32); 14] = [
    ("b", 16),
    ("i", 23),
    ("big", 20),
    ("f", 701),
    ("n", 1700),
    ("t", 25),
    ("u", 2950),
    ("d", 1082),
    ("ts", 1114),
    ("tz", 1184),
    ("ta", 1009),
    ("ia", 1007),
    ("j", 3802),
    ("v", 1043),
];

fn table() -> TableSchema {
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
        collation: [25, 1009, 1043].contains(&oid).then(Collation::c),
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "items".into() },
        columns: COLUMNS.into_iter().map(column).collect(),
    }
}

/// Each has a quick test for its column.
const QUICK: &[&str] = &[
    "i = 7",
    "i <> 7",
    "i < -9223372036854775808",
    "big > 9223372036854775807",
    "i BETWEEN -5 AND 7",
    "i IN (1, 7, 12)",
    "i NOT IN (1, 7, NULL)",
    "i = ANY ('{1,7,NULL}')",
    "big = ANY ('{1,7}')",
    "i % 4 = 3",
    "big % -1 <> 0",
    "f > 1.5",
    "f = 'NaN'",
    "f <= '-Infinity'",
    "f = 0",
    "n = 1.50",
    "n < 0.1",
    "n >= -7",
    "n IN (1, 2.50, -0.1)",
    "t = 'abc'",
    "t <> ''",
    "t < 'b'",
    "t IN ('a', 'abc', '{}')",
    "t NOT IN ('a', 'b', 'c', 'd', 'e', 'abc', '7', NULL)",
    "t = ANY ('{a,abc}')",
    "t LIKE 'a%'",
    "t NOT LIKE '%b%'",
    "t LIKE '%b%c'",
    "t ILIKE '%B%'",
    "t NOT ILIKE 'A%'",
    "t LIKE 'a\\%%'",
    "lower(t) = 'abc'",
    "lower(t) < 'b'",
    "lower(t) LIKE '%b%'",
    "upper(t) NOT LIKE '%B'",
    "u = '00000000-0000-0000-0000-000000000000'",
    "u < '00000000-0000-0000-0000-000000000000'",
    "u > 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    "u >= '7fffffff-0000-0000-0000-000000000000'",
    "u IN ('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')",
    "d = '2024-02-29'",
    "d < 'infinity'",
    "ts >= '2024-01-01'",
    "tz < '2024-01-31 12:30:00.5+00'",
    "tz >= '2024-01-01' AND tz < '2024-03-01'",
    "'a' = ANY (ta)",
    "7 = ANY (ia)",
    "ta @> '{a,\"b c\"}'",
    "ia @> '{7,1}'",
    "j ->> 'a' = 'x'",
    "j ->> 'a' <> '1'",
    "j @> '{\"a\": 1}'",
    "j @> '{\"a\": {\"b\": [1, \"x\"]}}'",
    "j @> '[1, [2]]'",
    "j @> '\"x\"'",
    "j @> '{}'",
    "v = 'abc'",
];

/// Values of every type, forms that are printed rarely or never, and nonsense.
const TEXTS: &[&str] = &[
    "",
    "t",
    "f",
    "7",
    "-7",
    "+7",
    "007",
    "7.0",
    "-",
    "1e2",
    "99999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551623",
    "0",
    "-0",
    "0.1",
    "-0.1",
    "0.10",
    "1.5",
    "1.50",
    "1.",
    ".5",
    "1.5000000000000000001",
    "123456789012345678901234567890",
    "0.0000000000000000001",
    "NaN",
    "Infinity",
    "-Infinity",
    "infinity",
    "-infinity",
    "abc",
    "ABC",
    "aBé",
    "ABÉ",
    "a%b",
    "xbxc",
    "a",
    "b",
    "\u{212A}",
    "00000000-0000-0000-0000-000000000000",
    "FFFFFFFF-ffff-ffff-ffff-ffffffffffff",
    "{80000000000000000000000000000000}",
    "8000-x",
    "2024-02-29",
    "2023-02-29",
    "0000-01-01",
    "0044-03-15 BC",
    "12024-01-01",
    "2024-13-01",
    "2024-01-31 12:30:00.5",
    "2024-01-31 12:30:00.5+00",
    "2024-01-31 12:30:00.4999995+00",
    "2024-01-31 12:30:00+01",
    "2024-01-31 24:00:00+00",
    "2024-01-31 12:30:60",
    "2024-01-01 00:00:00",
    "2024-01-01 00:00:00.+00",
    "2024-02-30 00:00:00+00",
    "0044-03-15 00:00:00+00 BC",
    "{}",
    "{a}",
    "{7}",
    "{1,7}",
    "{1,NULL,7}",
    "{null}",
    "{\"null\"}",
    "{a,\"b c\"}",
    "{\"b c\",a,a}",
    "{{a},{b}}",
    "[0:1]={a,7}",
    "{a,}",
    "{,}",
    "{a",
    "{a b}",
    "{ a}",
    "{\"a\\\"b\",a}",
    "{\"a\"b}",
    "{a\"b\"}",
    "{99999999999}",
    "{7,x}",
    "{\"a\": 1}",
    "{\"a\": 1.0}",
    "{\"a\": 1, \"a\": 2}",
    "{\"a\": 2, \"a\": 1}",
    "{\"a\": \"x\"}",
    "{\"a\": null}",
    "{\"a\": true}",
    "{\"a\": -0}",
    "{\"a\": 1e0}",
    "{\"a\": 01}",
    "{\"a\": \"\\u0078\"}",
    "{\"a\": {\"b\": [1, \"x\", {}]}}",
    "{\"a\": {\"b\": [2]}, \"c\": [1]}",
    "[1, [2, 3]]",
    "[[2], 1]",
    "[\"x\"]",
    "\"x\"",
    "\"x",
    "{\"a\": 1,}",
    "{\"a\": 1} 2",
    "{\"b\": nul}",
    "{\"b\": nullx}",
    "{\"a\": [1, 2}",
    "null",
    "[]",
];

#[test]
fn quick_tests_have_the_outcome_of_the_general_evaluator() {
    let table = table();
    let mut seen = [0; 4];
    for clause in QUICK {
        let predicate = compile(clause, &[], &table).unwrap();
        let expr = &predicate.expr();
        let plan = Plan::new(expr);
        assert!(matches!(plan, Plan::Column { .. }), "{clause}: {plan:?}");
        let columns = predicate.columns();
        for text in TEXTS.iter().map(|text| Some(*text)).chain([None]) {
            let values = (0..COLUMNS.len()).map(|at| text.filter(|_| columns.contains(&at)));
            let row = Row::new(values).unwrap();
            let expected = evaluate::evaluate(expr, &row);
            assert_eq!(plan.truth(&row), expected, "{clause} for {text:?}");
            seen[expected as usize] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn branches_are_taken_as_by_the_general_evaluator() {
    let table = table();
    for clause in [
        "CASE WHEN b THEN i > 1 WHEN t = 'x' THEN NULL ELSE 10 / i = 1 END",
        "NOT CASE WHEN i < 5 THEN true WHEN i = 7 THEN b END",
        "CASE t WHEN 'x' THEN b ELSE lower(t) = 'y' END",
    ] {
        let predicate = compile(clause, &[], &table).unwrap();
        let plan = Plan::new(&predicate.expr());
        assert!(matches!(plan, Plan::Case { .. }), "{clause}: {plan:?}");
        for b in [Some("t"), Some("f"), Some("?"), None] {
            for i in [Some("0"), Some("7"), Some("10"), Some("x"), None] {
                for t in [Some("x"), Some("Y"), None] {
                    let values = COLUMNS.map(|(name, _)| match name {
                        "b" => b,
                        "i" => i,
                        "t" => t,
                        _ => None,
                    });
                    let row = Row::new(values).unwrap();
                    let expected = evaluate::evaluate(&predicate.expr(), &row);
                    assert_eq!(plan.truth(&row), expected, "{clause} for {row:?}");
                }
            }
        }
    }
}

#[test]
fn ranges_of_one_column_are_read_once() {
    let predicate = compile("i > 1 AND i < 5 AND big > 2", &[], &table()).unwrap();
    let Plan::And(list) = Plan::new(&predicate.expr()) else { panic!("no AND") };
    assert_eq!(list.len(), 2);
}
