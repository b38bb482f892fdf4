//! Probes against brute force: no row that matches is missed, and keys are equal exactly where SQL
//! says the values are.

#![allow(clippy::unwrap_used)]

use brooklet_sql::name::{literal, quote};
use brooklet_sql::{Access, Row, RowKey, Truth, compile, row_key};

mod generate;

use generate::{COLUMNS, Kind, Random};

#[test]
fn probes_find_every_row_that_matches() {
    let table = generate::table(&generate::latin());
    let mut random = Random::new(0x0acce55);
    let rows: Vec<Row> = (0..200).map(|_| generate::row(&mut random).1).collect();
    let (mut indexed, mut found_by_probe) = (0, 0);
    for _ in 0..20_000 {
        let clause = generate::clause(&mut random);
        let Ok(predicate) = compile(&clause.text, &clause.params, &table) else { continue };
        let probes = match predicate.access() {
            Access::All => continue,
            Access::Nothing => Vec::new(),
            Access::Equality(probes) => probes,
        };
        indexed += 1;
        for row in &rows {
            let matches = predicate.matches(row) == Truth::True;
            let found = probes.iter().any(|probe| {
                assert!(probe.columns.is_sorted());
                assert!(probe.columns.iter().all(|column| predicate.columns().contains(column)));
                row_key(&table, &probe.columns, row) == RowKey::Key(probe.key.clone())
            });
            assert!(found || !matches, "{} misses {row:?}", predicate.sql());
            found_by_probe += usize::from(found);
        }
    }
    assert!(indexed > 1_000 && found_by_probe > 1_000, "{indexed} {found_by_probe}");
}

#[test]
fn keys_are_equal_where_sql_says_so() {
    let table = generate::table(&generate::latin());
    let mut random = Random::new(0x5ea1ed);
    for (column, (name, _, _, kind)) in COLUMNS.iter().enumerate() {
        if *kind == Kind::Opaque {
            continue;
        }
        for _ in 0..2_000 {
            let (Some(one), Some(other)) =
                (generate::value(&mut random, column), generate::value(&mut random, column))
            else {
                continue;
            };
            let row = |value: &str| {
                let values: Vec<Option<&str>> =
                    (0..COLUMNS.len()).map(|at| (at == column).then_some(value)).collect();
                Row::new(values).unwrap()
            };
            let (one_row, other_row) = (row(&one), row(&other));
            let clause = format!("{} = {}", quote(name), literal(&one));
            let equal = compile(&clause, &[], &table).map(|found| found.matches(&other_row));
            let keys_equal =
                row_key(&table, &[column], &one_row) == row_key(&table, &[column], &other_row);
            if let Ok(equal) = equal {
                assert_eq!(keys_equal, equal == Truth::True, "{name}: {one:?} {other:?}");
            }
        }
    }
}
