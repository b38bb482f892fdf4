//! Ways to find rows by tests of subqueries, against brute force: whatever the tests answer, a row that
//! matches is found by each of them.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use brooklet_sql::{
    Access, Collation, Column, Predicate, RelationName, Row, TableSchema, Tables, Truth,
    compile_with,
};

mod generate;

use generate::Random;

fn table() -> Arc<TableSchema> {
    let column = |(name, oid): (&str, u32)| Column {
        name: name.into(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: "x".into(),
        collation: (oid == 25).then(Collation::c),
        dropped: false,
        ..Column::gone()
    };
    let columns = [("a", 23), ("b", 20), ("name", 25), ("ok", 16)].map(column).into();
    let name = RelationName { schema: "public".into(), table: "t".into() };
    Arc::new(TableSchema { oid: 1, name, columns, partitioned: false, unique: Vec::new() })
}

const LEAVES: [&str; 12] = [
    "a = 1",
    "b > 2",
    "name LIKE 'x%'",
    "ok",
    "name IS NULL",
    "a IN (1, 3)",
    "a IN (SELECT b FROM t)",
    "a NOT IN (SELECT b FROM t WHERE ok)",
    "(a, b) IN (SELECT b, a FROM t)",
    "EXISTS (SELECT 1 FROM t i WHERE i.a = t.b)",
    "NOT EXISTS (SELECT 1 FROM t WHERE ok)",
    "10 / a = 5",
];

fn tree(depth: usize, random: &mut Random) -> String {
    if depth == 0 {
        return (*random.pick(&LEAVES)).to_owned();
    }
    let mut side = || tree(depth - 1, random);
    let (one, other) = (side(), side());
    match random.below(12) {
        0..=3 => format!("({one}) AND ({other})"),
        4..=7 => format!("({one}) OR ({other})"),
        8 => format!("NOT ({one})"),
        9 => format!("({one}) IS NOT TRUE"),
        10 => format!("CASE WHEN {one} THEN {other} ELSE b = 3 END"),
        _ => format!("coalesce({one}, {other})"),
    }
}

fn row(random: &mut Random) -> Row {
    let mut number = || match random.below(6) {
        5 => None,
        n => Some(n.to_string()),
    };
    let (a, b) = (number(), number());
    let name = [None, Some("x1"), Some("y")][random.below(3)];
    let ok = [None, Some("t"), Some("f")][random.below(3)];
    Row::new([a.as_deref(), b.as_deref(), name, ok]).unwrap()
}

#[test]
fn every_way_finds_every_row_that_matches() {
    let (table, mut random) = (table(), Random::new(0x5e7));
    let tables: Tables = [(table.name.clone(), Arc::clone(&table))].into();
    let (mut found_by_set, mut mixed, mut by_row, mut spared, mut matched) = (0, 0, 0, 0, 0);
    for _ in 0..6_000 {
        let text = tree(1 + random.below(3), &mut random);
        let Ok(predicate) = compile_with(&text, &[], &table, &tables) else { continue };
        if predicate.memberships().is_empty() {
            continue;
        }
        let (access, ways) = (predicate.access(), predicate.member_ways());
        found_by_set += usize::from(!ways.is_empty());
        mixed += ways.iter().filter(|way| way.rest != Access::Nothing).count();
        by_row += usize::from(access != Access::All);
        for _ in 0..60 {
            let (row, answers) = (row(&mut random), answers(&predicate, &mut random));
            let matches = predicate.matches_members(&row, &answers) == Truth::True;
            matched += usize::from(matches);
            assert!(!matches || access.admits(&row), "{text}: {row:?} {answers:?}");
            for way in &ways {
                assert!(!way.tests.is_empty() && way.rest != Access::All);
                let of_set = way.tests.iter().any(|at| answers[*at] == Truth::True);
                let found = of_set || way.rest.admits(&row);
                assert!(!matches || found, "{text}: {row:?} {answers:?} by {way:?}");
                spared += usize::from(!found);
            }
        }
    }
    let all = [found_by_set, mixed, by_row, spared, matched];
    assert!(all.iter().all(|count| *count > 100), "{all:?}");
}

fn answers(predicate: &Predicate, random: &mut Random) -> Vec<Truth> {
    let known = [Truth::True, Truth::False, Truth::False, Truth::Null];
    predicate.memberships().iter().map(|_| known[random.below(4)]).collect()
}
