//! Probes against brute force: no row that matches is missed, and keys are equal exactly where SQL
//! says the values are.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use brooklet_sql::name::{literal, quote};
use brooklet_sql::{Access, Column, Predicate, Row, TableSchema, Truth, compile, row_key};

mod generate;

use generate::{COLUMNS, Kind, Random};

#[test]
fn probes_find_every_row_that_matches() {
    let table = generate::table(&generate::latin());
    let mut random = Random::new(0x0acce55);
    let rows: Vec<Row> = (0..200).map(|_| generate::row(&mut random).1).collect();
    let mut tally = Tally::default();
    for _ in 0..20_000 {
        let clause = generate::clause(&mut random);
        let Ok(predicate) = compile(&clause.text, &clause.params, &table) else { continue };
        tally.check(&predicate, &rows);
    }
    tally.assert_each_has(
        &["equality", "range", "prefix", "fragment", "within", "exception", "null"],
        50,
    );
}

/// What was met.
#[derive(Default)]
struct Tally {
    /// Per kind of look-up: probes, rows that match, rows that no alternative names, which is the use of it all.
    words: BTreeMap<&'static str, [usize; 3]>,
}

impl Tally {
    fn check(&mut self, predicate: &Predicate, rows: &[Row]) {
        let access = predicate.access();
        let mut words = BTreeMap::new();
        if let Access::Any(list) = &access {
            assert!(!list.is_empty() && list.iter().all(|one| !one.probes.is_empty()));
            assert!(list.is_sorted_by_key(|one| one.rank));
            for probe in list.iter().flat_map(|one| &one.probes) {
                *words.entry(probe.want.word()).or_default() += 1;
            }
        }
        let (mut matched, mut spared) = (0, 0);
        for row in rows {
            let (admitted, matches) = (access.admits(row), predicate.matches(row) == Truth::True);
            assert!(admitted || !matches, "{} misses {row:?}: {access:?}", predicate.sql());
            matched += usize::from(matches);
            spared += usize::from(!admitted);
        }
        for (word, probes) in words {
            let met = self.words.entry(word).or_default();
            met.iter_mut().zip([probes, matched, spared]).for_each(|(met, new)| *met += new);
        }
    }

    fn assert_each_has(&self, words: &[&str], least: usize) {
        let words =
            words.iter().map(|word| (word, self.words.get(word).copied().unwrap_or_default()));
        let few: Vec<_> = words.filter(|(_, met)| met.iter().any(|met| *met < least)).collect();
        assert!(few.is_empty(), "{few:?} of {:?}", self.words);
    }
}

/// A row of NULLs but for the named columns.
fn row_of(table: &TableSchema, values: &[(&str, &str)]) -> Row {
    let value = |name: &str| values.iter().find(|(column, _)| *column == name).map(|one| one.1);
    let values: Vec<Option<&str>> =
        table.columns.iter().map(|column| value(&column.name)).collect();
    Row::new(values).unwrap()
}

#[test]
fn the_best_path_comes_first_and_names_few() {
    let table = wide_table();
    for (clause, first, names, spares) in PATHS {
        let predicate = compile(clause, &[], &table).unwrap_or_else(|e| panic!("{clause}: {e}"));
        let Access::Any(list) = predicate.access() else { panic!("{clause} has no path") };
        let path = list[0].describe(&table).replace('"', "");
        assert_eq!(path, *first, "{clause}");
        let admits = |value: &(&str, &str)| {
            list[0].probes.iter().any(|probe| probe.admits(&row_of(&table, &[*value])))
        };
        assert!(names.iter().all(admits), "{clause} misses one of {names:?}");
        assert!(!spares.iter().any(admits), "{clause} names one of {spares:?}");
    }
}

type Value = (&'static str, &'static str);

/// A clause, its first path, rows that it must name, rows that it must not.
const PATHS: &[(&str, &str, &[Value], &[Value])] = &[
    ("n > 5", "range n", &[("n", "6")], &[("n", "5"), ("t", "x")]),
    ("n >= 5 AND n < 7", "range n", &[("n", "5"), ("n", "6")], &[("n", "4"), ("n", "7")]),
    ("n BETWEEN 5 AND 7", "range n", &[("n", "7")], &[("n", "8"), ("n", "-6")]),
    ("n > 5.5 AND n < 6.5", "range n", &[("n", "6")], &[("n", "4"), ("n", "8")]),
    ("p > 1.5", "range p", &[("p", "1.51"), ("p", "NaN")], &[("p", "1.4"), ("p", "-Infinity")]),
    ("p BETWEEN 1 AND 2", "range p", &[("p", "1.00"), ("p", "2")], &[("p", "2.01")]),
    ("f < 0", "range f", &[("f", "-1"), ("f", "-Infinity")], &[("f", "0"), ("f", "-0")]),
    ("f > 0", "range f", &[("f", "NaN")], &[("f", "0"), ("f", "-0"), ("f", "-1")]),
    ("t >= 'b' AND t < 'c'", "range t", &[("t", "b"), ("t", "bz")], &[("t", "a"), ("t", "d")]),
    (
        "u < '80000000-0000-0000-0000-000000000000'",
        "range u",
        &[("u", "00000000-0000-0000-0000-000000000001")],
        &[("u", "ffffffff-0000-0000-0000-000000000000")],
    ),
    (
        "d >= '2024-01-01' AND d < '2024-02-01'",
        "range d",
        &[("d", "2024-01-31")],
        &[("d", "2024-02-01"), ("d", "infinity")],
    ),
    ("c > 'ab'", "range c", &[("c", "ac   ")], &[("c", "aa   ")]),
    ("(n, t) > (5, 'x')", "range n", &[("n", "5"), ("n", "6")], &[("n", "4")]),
    ("n + 1 > 5", "range (n + '1'::int4)", &[("n", "5")], &[("n", "3"), ("n", "2147483647")]),
    ("n IS NULL", "null n", &[("t", "x")], &[("n", "1")]),
    ("n IS NOT NULL", "null n", &[("n", "1")], &[("t", "x")]),
    ("n IS DISTINCT FROM 5", "exception n or null n", &[("n", "6"), ("t", "x")], &[("n", "5")]),
    ("n <> 5 AND n <> 6", "exception n", &[("n", "7")], &[("n", "5"), ("n", "6"), ("t", "x")]),
    ("n NOT IN (5, 6)", "exception n", &[("n", "7")], &[("n", "5"), ("n", "6")]),
    ("NOT (n = 5)", "exception n", &[("n", "7")], &[("n", "5")]),
    ("n <> ALL('{5,6}')", "exception n", &[("n", "7")], &[("n", "6"), ("t", "x")]),
    ("t LIKE 'ab%'", "prefix t", &[("t", "abc")], &[("t", "xab")]),
    ("t LIKE 'ab%cdefg%'", "fragment t", &[("t", "cdefg")], &[("t", "ab")]),
    ("starts_with(t, 'ab')", "prefix t", &[("t", "abc")], &[("t", "xab")]),
    ("t ^@ 'ab'", "prefix t", &[("t", "abc")], &[("t", "xab")]),
    ("t LIKE '%ab%'", "fragment t", &[("t", "xabx")], &[("t", "xAbx")]),
    ("t ILIKE '%ÄB%'", "fragment t, case folded", &[("t", "xäBx"), ("t", "Äb")], &[("t", "ab")]),
    ("t ~ '^ab[0-9]+'", "prefix t", &[("t", "ab1")], &[("t", "xab1")]),
    ("t ~ 'x?abc|de'", "fragment t", &[("t", "xabc"), ("t", "de")], &[("t", "xab")]),
    ("t ~* 'abc'", "fragment t, case folded", &[("t", "xABc")], &[("t", "xab")]),
    ("t SIMILAR TO '%(ab|cd)e%'", "fragment t", &[("t", "xcde"), ("t", "abe")], &[("t", "e")]),
    (
        "t LIKE ANY('{a%,%bc}')",
        "prefix t or fragment t",
        &[("t", "ax"), ("t", "xbc")],
        &[("t", "xb")],
    ),
    ("ta @> '{a,b}'", "equality elements of ta", &[("ta", "{b,a}")], &[("ta", "{b}")]),
    ("ta && '{a,b}'", "equality elements of ta", &[("ta", "{b}")], &[("ta", "{c}"), ("ta", "{}")]),
    ("'a' = ANY(ta)", "equality elements of ta", &[("ta", "{c,a}")], &[("ta", "{c,NULL}")]),
    (
        "ta <@ '{a,b}'",
        "within elements of ta",
        &[("ta", "{}"), ("ta", "{b,a}")],
        &[("ta", "{c}"), ("ta", "{a,NULL}")],
    ),
    (
        "j @> '{\"a\": {\"b\": 1}}'",
        "equality j #> '{a,b}'",
        &[("j", "{\"a\": {\"b\": 1.0}}")],
        &[("j", "{\"a\": {\"b\": 2}}"), ("j", "{\"a\": 1}")],
    ),
    (
        "j @> '{\"tags\": [\"x\"]}'",
        "equality elements of j #> '{tags}'",
        &[("j", "{\"tags\": [1, \"x\"]}")],
        &[("j", "{\"tags\": [\"y\"]}")],
    ),
    ("j @> '\"x\"'", "equality elements of j", &[("j", "[\"x\"]"), ("j", "\"x\"")], &[("j", "{}")]),
    ("j ? 'a'", "equality keys of j", &[("j", "{\"a\": 1}"), ("j", "[\"a\"]")], &[("j", "{}")]),
    (
        "j ->> 'a' = 'x'",
        "equality (j ->> 'a'::text)",
        &[("j", "{\"a\": \"x\"}")],
        &[("j", "{\"a\": \"y\"}"), ("j", "{}")],
    ),
    (
        "(j ->> 'n')::int4 = 5",
        "equality ((j ->> 'n'::text)::int4)",
        &[("j", "{\"n\": 5}")],
        &[("j", "{\"n\": \"x\"}"), ("j", "{\"n\": 6}")],
    ),
    ("lower(t) = 'ab'", "equality pg_catalog.lower(t)", &[("t", "Ab")], &[("t", "abc")]),
    (
        "date_trunc('month', ts) = '2024-01-01'",
        "equality pg_catalog.date_trunc('month'::text, ts)",
        &[("ts", "2024-01-31 10:00:00")],
        &[("ts", "2024-02-01 00:00:00")],
    ),
    ("n = 5 OR t LIKE 'a%'", "equality n or prefix t", &[("n", "5"), ("t", "ab")], &[("n", "6")]),
    ("n > 5 OR n IS NULL", "null n or range n", &[("n", "6"), ("t", "")], &[("n", "5")]),
    ("n = 5 AND t <> 'x' AND p > 1", "equality n", &[("n", "5")], &[("n", "6")]),
    ("t <> 'x' AND p BETWEEN 1 AND 2", "range p", &[("p", "1.5")], &[("p", "3"), ("t", "y")]),
    ("t ILIKE '%abcdef%' AND p > 1", "fragment t, case folded", &[("t", "ABCDEF")], &[("p", "2")]),
    ("10 / n = 5", "equality ('10'::int4 / n)", &[("n", "2")], &[("n", "0"), ("n", "3")]),
    // Nothing above the constant has a key.
    ("big < 9223372036854775807.5", "range big", &[("big", "9223372036854775807")], &[("n", "1")]),
];

fn wide_table() -> TableSchema {
    let mut table = generate::table(&generate::latin());
    let template = table.columns.remove(0);
    let text = [25, 1042, 1009];
    let columns = [
        ("n", 23),
        ("p", 1700),
        ("f", 701),
        ("t", 25),
        ("u", 2950),
        ("d", 1082),
        ("ts", 1114),
        ("c", 1042),
        ("ta", 1009),
        ("j", 3802),
        ("big", 20),
        ("tz", 1184),
        ("b", 16),
        ("ia", 1007),
    ];
    let column = |(name, oid): (&str, u32)| Column {
        name: name.into(),
        type_oid: oid,
        base_type_oid: oid,
        collation: text.contains(&oid).then(generate::latin),
        ..template.clone()
    };
    table.columns = columns.into_iter().map(column).collect();
    table
}

#[test]
fn what_has_no_path_says_so() {
    let table = wide_table();
    for clause in ["n = big", "t NOT LIKE 'a%'", "n = 5 OR n = big", "NOT ta @> '{a}'", "true"] {
        assert_eq!(compile(clause, &[], &table).unwrap().access(), Access::All, "{clause}");
    }
    for clause in ["n > 5 AND n < 5", "n NOT IN (1, NULL)", "ta && '{}'", "ta @> '{a,NULL}'"] {
        assert_eq!(compile(clause, &[], &table).unwrap().access(), Access::Nothing, "{clause}");
    }
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
