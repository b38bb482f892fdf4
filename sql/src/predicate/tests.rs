//! Table tests of whole clauses.

use super::*;
use crate::{Collation, Column, Probe, RelationName, RowKey, TextOrder, Want, row_key};

/// `name:type`, the type by its OID.
fn table() -> TableSchema {
    let columns = [
        ("id", 23),
        ("small", 21),
        ("big", 20),
        ("f4", 700),
        ("f8", 701),
        ("n", 1700),
        ("t", 25),
        ("v", 1043),
        ("b", 16),
        ("u", 2950),
        ("d", 1082),
        ("ts", 1114),
        ("tz", 1184),
        ("j", 3802),
        ("order", 25),
        ("g", 23),
        ("locale", 25),
        ("icu", 25),
        ("p", 600),
    ];
    let column = |(name, oid): (&str, u32)| Column {
        name: name.to_owned(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: if oid == 600 { "point".to_owned() } else { String::new() },
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        domain: None,
        parts: Vec::new(),
        rewritten: 0,
        generated: name == "g",
        collation: match name {
            "locale" => {
                Some(Collation { name: "en_US".into(), order: TextOrder::Locale, ..Collation::c() })
            }
            "icu" => {
                let base = Collation::c();
                let name = "en-x-icu".into();
                Some(Collation { name, order: TextOrder::Locale, case_map: None, ..base })
            }
            _ if oid == 25 || oid == 1043 => Some(Collation::c()),
            _ => None,
        },
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        unique: Vec::new(),
        oid: 1,
        name: RelationName { schema: "public".into(), table: "items".into() },
        columns: columns.into_iter().map(column).collect(),
    }
}

/// A row of NULLs but for the named columns.
fn row(values: &[(&str, &str)]) -> Row {
    let table = table();
    let value = |column: &Column| {
        values.iter().find(|(name, _)| *name == column.name).map(|(_, value)| *value)
    };
    let values: Vec<Option<&str>> = table.columns.iter().map(value).collect();
    Row::new(values).unwrap()
}

fn outcome(clause: &str, values: &[(&str, &str)]) -> Truth {
    compile(clause, &[], &table()).unwrap_or_else(|e| panic!("{clause}: {e}")).matches(&row(values))
}

fn sql(clause: &str, params: &[&str]) -> String {
    let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
    compile(clause, &params, &table()).unwrap_or_else(|e| panic!("{clause}: {e}")).sql()
}

fn refusal(clause: &str, params: &[&str]) -> String {
    let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
    match compile(clause, &params, &table()) {
        Ok(predicate) => panic!("{clause} is {}", predicate.sql()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn null_is_not_false() {
    use Truth::{False, Null, True};
    for (clause, values, expected) in [
        ("id NOT IN (1, NULL)", &[("id", "2")][..], Null),
        ("id NOT IN (1, NULL)", &[("id", "1")], False),
        ("id IN (1, 2)", &[], Null),
        ("5 BETWEEN 9 AND NULL", &[], False),
        ("id NOT BETWEEN NULL AND 1", &[("id", "5")], True),
        ("b AND NULL", &[("b", "f")], False),
        ("b OR NULL", &[("b", "t")], True),
        ("NOT b", &[], Null),
        ("(NULL = NULL) IS UNKNOWN", &[], True),
        ("NULL IS DISTINCT FROM NULL", &[], False),
        ("id IS DISTINCT FROM NULL", &[], False),
        ("id IS NOT DISTINCT FROM 1", &[], False),
        ("t IS NULL", &[("t", "")], False),
        ("t = NULL", &[("t", "")], Null),
        ("b IS NOT TRUE", &[], True),
        ("(id = 1) IS NULL", &[], True),
        ("j IS NOT NULL", &[("j", "{}")], True),
        ("j IS NULL", &[("j", "{}")], False),
        ("NULL", &[], Null),
        ("b = (id > 1)", &[("b", "t"), ("id", "2")], True),
    ] {
        assert_eq!(outcome(clause, values), expected, "{clause}");
    }
}

#[test]
fn numbers_compare_as_postgres_compares_them() {
    use Truth::{False, Null, True};
    for (clause, values, expected) in [
        ("small = 100000", &[("small", "1")][..], False),
        ("id = 3000000000", &[("id", "1")], False),
        ("id = 1.0", &[("id", "1")], True),
        ("id = 1.5", &[("id", "1")], False),
        ("id = 1.5", &[], Null),
        ("id = ' 5 '", &[("id", "5")], True),
        ("n = '12345678901234567890.1'", &[("n", "12345678901234567890.2")], False),
        ("n = 1.5", &[("n", "1.500")], True),
        ("big = n", &[("big", "9007199254740993"), ("n", "9007199254740993")], True),
        ("big = f8", &[("big", "9007199254740993"), ("f8", "9007199254740992")], True),
        ("f4 = 1.1", &[("f4", "1.1")], False),
        ("f4 = '1.1'", &[("f4", "1.1")], True),
        ("f4 IN (1.1)", &[("f4", "1.1")], False),
        ("f4 IN (1.1, 2.2)", &[("f4", "1.1")], True),
        ("4 IN (1.5, '4.0')", &[], True),
        ("f8 = 'NaN'", &[("f8", "NaN")], True),
        ("f8 > 'Infinity'", &[("f8", "NaN")], True),
        ("n > 'Infinity'", &[("n", "NaN")], True),
        ("f8 = 0", &[("f8", "-0")], True),
        ("id = -2147483648", &[("id", "-2147483648")], True),
        ("n = f8", &[("n", &"9".repeat(400)), ("f8", "1")], Truth::Error),
        ("n = f8 OR id = 1", &[("n", &"9".repeat(400)), ("f8", "1"), ("id", "1")], True),
    ] {
        assert_eq!(outcome(clause, values), expected, "{clause}");
    }
}

#[test]
fn text_and_dates_compare_as_postgres_compares_them() {
    use Truth::{False, True};
    for (clause, values, expected) in [
        ("t = 'a'", &[("t", "a ")][..], False),
        ("t < 'B'", &[("t", "a")], False),
        ("t < 'é'", &[("t", "z")], True),
        (r"t LIKE 'a\%b'", &[("t", "a%b")], True),
        ("t LIKE 'a%b'", &[("t", "a\nb")], True),
        ("t LIKE '_'", &[("t", "é")], True),
        ("t ILIKE 'A%'", &[("t", "abc")], True),
        ("t ILIKE 'É'", &[("t", "é")], False),
        ("t LIKE 'a!%b' ESCAPE '!'", &[("t", "a%b")], True),
        (r"t LIKE v", &[("t", "a"), ("v", r"\")], Truth::Error),
        ("b = 'yes'", &[("b", "t")], True),
        (
            "u = '{A0EEBC99-9C0B4EF8-BB6D6BB9BD380A11}'",
            &[("u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
            True,
        ),
        ("tz > '2024-01-01'", &[("tz", "2024-01-01 00:00:01+00")], True),
        ("ts = '2024-01-01 00:00:00+05'", &[("ts", "2024-01-01 00:00:00")], True),
        ("ts = tz", &[("ts", "2024-01-01 00:00:00"), ("tz", "2024-01-01 00:00:00+00")], True),
        ("d = ts", &[("d", "infinity"), ("ts", "infinity")], True),
        ("d < '0001-01-01'", &[("d", "0044-03-15 BC")], True),
        ("d > '9999-12-31'", &[("d", "12024-01-01")], True),
        ("d <> DATE '2024-01-01'", &[("d", "2024-01-02")], True),
    ] {
        assert_eq!(outcome(clause, values), expected, "{clause}");
    }
    assert_eq!(outcome("id = 1", &[("id", "broken")]), Truth::Error);
}

#[test]
fn one_predicate_has_one_text() {
    for (text, spellings) in [
        (
            "(\"id\" = '5'::int4)",
            &[
                "id = 5",
                "5 = ID",
                "id = '5'",
                "items.id = 5.0",
                "id = 5::int8",
                "public.items.id IN (5)",
                "NOT id <> +5",
                "id in (5, 5)",
            ][..],
        ),
        (
            "\"b\"",
            &["b", "b = true", "b <> 'no'", "true = b", "NOT NOT b", "b IN (true)", "b AND true"],
        ),
        ("(NOT \"b\")", &["NOT b", "b = false", "b = 'f'"]),
        (
            "((\"id\" = '1'::int4) AND (\"t\" = 'x'::text))",
            &["id = 1 AND t = 'x'", "t = 'x' AND (id = 1)", "id = 1 AND t = 'x' AND 1 = id"],
        ),
        ("((\"id\" >= '1'::int4) OR (\"t\" <> 'x'::text))", &["NOT (id < 1 AND t = 'x')"]),
        ("(\"id\" IN ('1'::int4, '2'::int4))", &["id IN (2, 1)", "id IN ('1', 2.0, 1)"]),
        ("(\"id\" NOT IN ('1'::int4, '2'::int4, NULL))", &["id NOT IN (NULL, 2, 1)"]),
        ("(\"n\" = '1.5'::numeric)", &["n = 1.50", "n = '15e-1'"]),
        ("(\"f8\" = '1.5e0'::float8)", &["f8 = 1.5", "f8 = '1.50'", "f8 = 1.5::real"]),
        (
            "(\"tz\" > '2024-01-01 00:00:00+00'::timestamptz)",
            &["tz > '2024-01-01'", "tz > '2024-01-01T02:00:00+02'", "tz > date '2024-01-01'"],
        ),
        (
            "(\"order\" = E'it''s \\\\'::text)",
            &["\"order\" = 'it''s \\'", "items.order = E'it\\'s \\\\'"],
        ),
        ("true", &["1 = 1", "true", "NOT false", "'a' LIKE '_'", "id IS NULL OR true"]),
        ("false", &["1 = 2", "id = 1 AND false"]),
        ("NULL::bool", &["NULL", "id = NULL", "id IN (NULL)"]),
        (
            "(\"id\" IS NOT NULL)",
            &["id IS NOT NULL", "id NOTNULL", "NOT id ISNULL", "id IS DISTINCT FROM NULL"],
        ),
    ] {
        for spelling in spellings {
            assert_eq!(sql(spelling, &[]), text, "{spelling}");
            assert_eq!(sql(text, &[]), text);
        }
    }
}

#[test]
fn parameters_are_constants_that_keep_their_first_type() {
    assert_eq!(sql("id = $1", &["5"]), "(\"id\" = '5'::int4)");
    assert_eq!(
        sql("id = $1 OR big = $1", &["5"]),
        "((\"id\" = '5'::int4) OR (\"big\" = '5'::int8))"
    );
    assert_eq!(sql("t = $2", &["unused", "'; DROP"]), "(\"t\" = '''; DROP'::text)");
    assert_eq!(sql("$1::date = d", &["20240105"]), "(\"d\" = '2024-01-05'::date)");
    assert_eq!(sql("$1", &["on"]), "true");
    assert_eq!(sql("$1 IS NULL", &["x"]), "false");
    assert_eq!(refusal("t = $2", &["a"]), "At location 4: parameter $2 was not provided");
    assert!(
        refusal("id = $1 OR t = $1", &["5"])
            .starts_with("At location 13: no operator = for text and integer")
    );
}

#[test]
fn refusals_say_what_and_where() {
    for (clause, message) in [
        ("colour = 1", "At location 0: unknown reference colour"),
        ("id = 1 AND other.id = 2", "At location 11: unknown reference other.id"),
        ("id", "WHERE clause must return a boolean"),
        ("5", "WHERE clause must return a boolean"),
        ("j", "WHERE clause must return a boolean"),
        ("id AND b", "At location 0: argument of AND must be type boolean, not type integer"),
        ("id = 'abc'", "At location 5: invalid input syntax for type integer: \"abc\""),
        ("é = 1", "At location 0: unknown reference é"),
        ("t = 'é' AND id = 'x'", "At location 17: invalid input syntax for type integer: \"x\""),
        ("id = '1.0'", "At location 5: invalid input syntax for type integer: \"1.0\""),
        (
            "id = '100000000000'",
            "At location 5: value \"100000000000\" is out of range for type integer",
        ),
        ("4 IN (1, '4.0')", "At location 9: invalid input syntax for type integer: \"4.0\""),
        (
            "t = 1",
            "At location 2: no operator = for text and integer; an explicit cast may be needed",
        ),
        ("t = u", "At location 2: no operator = for text and uuid; an explicit cast may be needed"),
        (
            "id LIKE t",
            "At location 3: no operator LIKE for integer and text; an explicit cast may be needed",
        ),
        (
            "p = '{}'",
            "At location 0: column p has type point, for which only IS [NOT] NULL is supported",
        ),
        ("g = 1", "At location 0: column g is generated, which replication leaves out"),
        (
            "locale < 'a'",
            "At location 7: ordering text under the collation en_US is not supported; write COLLATE \"C\" after it to order by bytes",
        ),
        (
            "locale BETWEEN 'a' AND 'b'",
            "At location 7: ordering text under the collation en_US is not supported; write COLLATE \"C\" after it to order by bytes",
        ),
        (
            "icu ILIKE 'a'",
            "At location 4: folding case (ILIKE, lower, upper) under the collation en-x-icu is not supported; write COLLATE \"C\" after it to fold the letters of ASCII",
        ),
        ("t = locale", "At location 2: comparing columns of different collations is not supported"),
        ("t LIKE 'a\\'", "At location 2: LIKE pattern must not end with escape character"),
        ("id::point = '1'", "At location 4: type point is not supported"),
        (
            "d = 'today'",
            "At location 4: \"today\" is not supported: it would stay what it is now; write it like 2024-01-31",
        ),
        (
            "d = 'soon'",
            "At location 4: \"soon\" is not supported: zones are offsets such as +02:00, UTC, GMT and Z, because tables of zones differ",
        ),
        ("d = '2024-02-30'", "At location 4: date/time field value out of range: \"2024-02-30\""),
        ("-t = 1", "At location 0: no operator - for text; an explicit cast may be needed"),
        ("id = 1 2", "At location 7: syntax error at or near \"2\""),
    ] {
        assert_eq!(refusal(clause, &[]), message, "{clause}");
    }
    let long = format!("t = '{}'", "x".repeat(WHERE_BYTES_MAX));
    assert_eq!(refusal(&long, &[]), "WHERE clause is bigger than the maximum of 65536 bytes");
}

#[test]
fn equalities_become_probes() {
    let columns = |clause: &str| match compile(clause, &[], &table()).unwrap().access() {
        Access::Nothing => "nothing".to_owned(),
        Access::All => "all".to_owned(),
        Access::Any(list) => {
            let probe = |probe: &Probe| match &probe.want {
                Want::Equal(_) => probe.source.describe(&table()),
                _ => probe.describe(&table()),
            };
            let shown: Vec<String> = list[0].probes.iter().map(probe).collect();
            shown.join(" | ").replace('"', "")
        }
    };
    for (clause, expected) in [
        ("id = 1", "id"),
        ("id = 1 AND t = 'x' AND big > 5", "id, t"),
        ("t = 'x' AND (big > 5 OR b)", "t"),
        ("id IN (1, 2, 3)", "id | id | id"),
        ("id IN (1, NULL)", "id"),
        ("id IN (1, 2) AND t IN ('x', 'y')", "id, t | id, t | id, t | id, t"),
        ("(id = 1 OR t = 'x') AND b", "id, b | t, b"),
        ("id = 1 OR t > 'x'", "id | range t"),
        ("id = 1 AND id = 2", "nothing"),
        ("id = 1 AND id IN (1, 2)", "id"),
        ("b", "b"),
        ("NOT b", "b"),
        ("(id = 1) IS TRUE", "id"),
        ("(id <> 1) IS FALSE", "id"),
        ("id IS NOT DISTINCT FROM 1", "id"),
        ("id = 1.0", "id"),
        ("id = 1.5", "nothing"),
        ("small = 100000", "nothing"),
        ("big = 9e15::float8", "big"),
        ("big = 1e16::float8", "all"),
        ("big > 1e16::float8", "range big"),
        ("n = 1.5::float8", "all"),
        ("n > 1.5::float8", "all"),
        ("d = timestamp '2024-01-01'", "d"),
        ("d = timestamp '2024-01-01 00:00:01'", "nothing"),
        ("d > timestamp '2024-01-01 00:00:01'", "range d"),
        ("id <> 1", "exception id"),
        ("id NOT IN (1)", "exception id"),
        ("id <> 1.5", "null id"),
        ("id <> 1 OR id <> 2", "exception id"),
        ("true", "all"),
        ("false", "nothing"),
        ("id = NULL", "nothing"),
        ("id = big", "all"),
    ] {
        assert_eq!(columns(clause), expected, "{clause}");
    }
    let list: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let list = list.join(",");
    let three = format!("id IN ({list}) AND small IN ({list}) AND big = 1");
    let probes = first_probes(&three);
    assert_eq!(probes.len(), 100, "10,000 would be over the limit");
    assert_eq!(probes[0].source.describe(&table()).split(", ").count(), 2);
}

fn first_probes(clause: &str) -> Vec<Probe> {
    match compile(clause, &[], &table()).unwrap().access() {
        Access::Any(list) => list.into_iter().next().unwrap().probes,
        other => panic!("{clause}: {other:?}"),
    }
}

#[test]
fn row_keys_meet_probes() {
    let probes = first_probes("n = 1.5 AND t = ''");
    let key = |values: &[(&str, &str)]| row_key(&table(), &[5, 6], &row(values));
    let Want::Equal(wanted) = &probes[0].want else { panic!("{probes:?}") };
    assert_eq!(key(&[("n", "1.500"), ("t", "")]), RowKey::Key(wanted.clone()));
    assert_ne!(key(&[("n", "1.500"), ("t", "x")]), RowKey::Key(wanted.clone()));
    assert_eq!(key(&[("n", "1.500")]), RowKey::Null);
    assert_eq!(key(&[("n", "broken"), ("t", "")]), RowKey::Unknown);
    assert!(probes[0].admits(&row(&[("n", "broken"), ("t", "")])), "it cannot be said");
    assert!(!probes[0].admits(&row(&[("n", "broken")])), "nothing is equal to NULL");
}

#[test]
fn templates_have_nobodys_values() {
    for (clause, expected) in [
        ("id = 5", "\"id\" = ?::int4 AND true"),
        ("t LIKE 'it''s%'", "(\"t\" LIKE ?::text)"),
        ("id IN (1, 2, 3)", "(\"id\" IN (?::int4, …))"),
        ("\"order\" > 'a'", "(\"order\" > ?::text)"),
    ] {
        let found = compile(clause, &[], &table()).unwrap().form().template();
        assert_eq!(found, expected, "{clause}");
    }
}

#[test]
fn columns_are_what_is_read() {
    let predicate = compile("t = 'a' AND (id > 1 OR v = t) AND j IS NULL", &[], &table()).unwrap();
    assert_eq!(predicate.columns(), [0, 6, 7, 13]);
    let short = Row::new([Some("1")]).unwrap();
    assert_eq!(compile("t IS NULL", &[], &table()).unwrap().matches(&short), Truth::True);
}

#[test]
fn predicates_that_differ_in_constants_share_a_form() {
    let compiled = |clause: &str| compile(clause, &[], &table()).unwrap();
    let (mut one, other) = (compiled("id = 1 AND t = 'x'"), compiled("t = 'y' AND 2 = id"));
    assert_eq!(one.form(), other.form());
    assert_ne!(one, other);
    one.share(other.form());
    assert!(std::sync::Arc::ptr_eq(one.form(), other.form()));
    assert_eq!(one, compiled("id = 1 AND t = 'x'"), "sharing changes nothing");
    for (clause, another) in [
        ("id = 1", "id <> 1"),
        ("id = 1 AND id > 1", "id = 1 AND id > 2"),
        ("id = 1", "big = 1"),
        ("id = 1", "id = 1.5"),
        ("id = 1", "id = 1 AND b"),
        ("id = 1 AND b", "id = 1 AND NOT b"),
        ("id IN (1, 2)", "id IN (1, 3)"),
        ("t LIKE 'a%'", "t LIKE 'b%'"),
    ] {
        assert_ne!(compiled(clause).form(), compiled(another).form(), "{clause} | {another}");
    }
}

#[test]
fn a_form_and_its_constants_are_the_predicate() {
    let rows = [
        row(&[]),
        row(&[("id", "5"), ("t", "x"), ("n", "1.50"), ("b", "t")]),
        row(&[("id", "5"), ("t", "y"), ("n", "NaN"), ("b", "f"), ("d", "2024-01-01")]),
    ];
    for clause in [
        "id = 5",
        "id = 5 AND t <> 'x' AND b",
        "id > 1 AND id < 9 AND (t = 'y' OR n = 1.5)",
        "n = 1.50 AND n <> 'NaN'",
        "t = 'it''s' AND t < E'\\n'",
        "d <= '2024-01-01' AND d > '-infinity'",
        "id = 5 AND id = 6",
        "big = 1e16::float8",
        "true",
        "id = NULL",
        "id IS NULL",
    ] {
        let predicate = compile(clause, &[], &table()).unwrap();
        let bound = Predicate::bind(predicate.form(), &predicate.constants()).unwrap();
        assert_eq!((&bound, bound.sql()), (&predicate, predicate.sql()), "{clause}");
        let again = compile_printed(&predicate.sql(), &table(), &crate::Tables::new()).unwrap();
        assert_eq!((again.form(), again.constants()), (predicate.form(), predicate.constants()));
        assert_eq!(bound.access(), predicate.access());
        for row in &rows {
            assert_eq!(bound.matches(row), evaluate::evaluate(&predicate.expr(), row), "{clause}");
        }
        let mut surplus = predicate.constants();
        surplus.push("1".into());
        assert_eq!(Predicate::bind(predicate.form(), &surplus), None);
    }
    let form = compile("id = 5", &[], &table()).unwrap();
    for other in ["", "x", "05", " 5", "99999999999"] {
        assert_eq!(Predicate::bind(form.form(), &[other.to_owned()]), None, "{other}");
    }
}

/// A cast of text is printed by more levels than it is written.
#[test]
fn what_is_printed_too_deep_to_be_read_again_is_refused() {
    for (times, fine) in [(1, true), (8, true), (20, true), (63, false)] {
        let clause = format!("t{} = 'a'", "::date::text".repeat(times));
        let compiled = compile(&clause, &[], &table());
        assert_eq!(compiled.is_ok(), fine, "{times}");
        let Ok(predicate) = compiled else { continue };
        let again = compile_printed(&predicate.sql(), &table(), &Tables::new()).unwrap();
        assert_eq!(again.sql(), predicate.sql());
    }
}
