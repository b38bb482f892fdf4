//! What a clause makes is bounded, however its calls are nested, and what a row holds is never too large for it.
//!
//! Without bounds the cases here would end too, after megabytes instead of terabytes: that is how they can fail.

#![allow(clippy::unwrap_used)]

use brooklet_sql::{
    Collation, Column, Predicate, RelationName, Row, TableSchema, Truth, compile,
    compile_for_server, limits,
};

fn table() -> TableSchema {
    let column = |(name, oid, title): (&str, u32, &str)| Column {
        name: name.into(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: title.into(),
        collation: (oid == 25).then(Collation::c),
        dropped: false,
        ..Column::gone()
    };
    let columns = [("id", 23, "int4"), ("t", 25, "text")].map(column).into();
    let name = RelationName { schema: "public".into(), table: "t".into() };
    TableSchema { oid: 1, name, columns, partitioned: false, unique: Vec::new() }
}

fn compiled(clause: &str) -> Predicate {
    compile(clause, &[], &table()).unwrap_or_else(|error| panic!("{clause}: {error}"))
}

fn row(text: &str) -> Row {
    Row::new([Some("1"), Some(text)]).unwrap()
}

fn refused(clause: &str, params: &[String]) -> String {
    match compile(clause, params, &table()) {
        Ok(predicate) => panic!("{clause:.80}: becomes {} bytes", predicate.sql().len()),
        Err(error) => error.reason,
    }
}

/// `t` within a call, many times over.
fn nested(before: &str, after: &str, times: usize) -> String {
    format!("{}t{} <> ''", before.repeat(times), after.repeat(times))
}

#[test]
fn results_that_grow_with_each_call_end_as_an_error_of_the_row() {
    for (before, after) in [
        ("quote_literal(", ")"),
        ("quote_nullable(", ")"),
        ("encode(convert_to(", ",'UTF8'),'hex')"),
        ("to_jsonb(", ")::text"),
        ("array[", "]::text"),
        ("replace(", ",'a','aa')"),
        ("regexp_replace(", ",'.+','\\&\\&')"),
        ("concat(", ",'x',t)"),
        ("format('%1$s%1$s',", ")"),
        ("array_to_string(string_to_array(", "::text,'a'),'aa')"),
    ] {
        // Where a call adds no more than the row has there is nothing to bound.
        let grows = !before.starts_with("concat");
        let predicate = compiled(&nested(before, after, 22));
        let outcome = predicate.evaluate(&row("a'\"\\"));
        assert_eq!(outcome.is_err(), grows, "{before}{after}: {outcome:?}");
        let once = compiled(&nested(before, after, 1));
        assert_eq!(once.evaluate(&row("a'\"\\")), Ok(Truth::True), "{before}{after}");
    }
}

#[test]
fn many_large_arguments_are_one_large_value() {
    for call in ["concat", "jsonb_build_array"] {
        let list = ["lpad(t, 1000000)"; 12].join(", ");
        let predicate = compiled(&format!("{call}({list})::text <> ''"));
        assert!(predicate.evaluate(&row("a")).is_err(), "{call}");
    }
    let list = ["lpad(t, 1000000)"; 12].join(", ");
    assert!(compiled(&format!("(array[{list}])[1] <> ''")).evaluate(&row("a")).is_err());
}

#[test]
fn what_a_row_holds_is_never_too_large() {
    let large = "It's \"quoted\"\\\n".repeat(2 * limits::MADE_BYTES_MAX / 14);
    assert!(large.len() > limits::MADE_BYTES_MAX);
    let row = row(&large);
    for clause in [
        "lower(t) <> upper(t)",
        "t || 'x' <> t",
        "concat(t, 'x', t) <> t",
        "concat_ws(',', t, id, t) <> t",
        "replace(t, ' ', '  ') <> t",
        "regexp_replace(t, 'quoted', '<\\&>', 'g') <> t",
        "quote_literal(t) <> t",
        "encode(convert_to(t, 'UTF8'), 'hex') <> t",
        "encode(convert_to(t, 'UTF8'), 'base64') <> t",
        "to_jsonb(t)::text <> t",
        "jsonb_build_object('a', t) ->> 'a' = t",
        "array[t]::text <> t",
        "(array[t, t])[2] = t",
        "array_to_string(string_to_array(t, ' '), '--') <> t",
        "format('%s %L', t, t) <> t",
        "reverse(t) <> t",
        "t::varchar = t",
        "rpad(t, 10) <> t",
        "translate(t, ' ', '_') <> t",
        "coalesce(nullif(t, 'a'), '') = t",
    ] {
        assert_eq!(compiled(clause).evaluate(&row), Ok(Truth::True), "{clause}");
    }
}

#[test]
fn constants_are_not_made_large() {
    let most = limits::MADE_CONSTANT_BYTES_MAX;
    for clause in [
        format!("t = repeat('a', {})", most + 200),
        format!("t = lpad('', {}, 'a')", most + 200),
        format!("t = lpad('', {}, '💩')", most / 2),
        format!("t = ''::char({})", most + 1),
        format!("t = B'1'::bit({})::text", most + 1),
        format!("t = t::char({})", most + 1),
        format!("t = replace(repeat('a', {most}), 'a', 'bbb')"),
        "t = regexp_replace(lpad('', 16000, 'a'), 'a+', lpad('', 16000, '\\&'))".to_owned(),
    ] {
        refused(&clause, &[]);
    }
    compiled(&format!("t = repeat('a', {most}) or t = ''::char({most})::text || 'b'"));
    // What a user gives is larger than that.
    let document = format!("[{}]", vec!["1"; 100_000].join(","));
    let params = [document, "x".repeat(limits::PARAMETER_BYTES_MAX)];
    compile("t = $1::text::jsonb ->> 0 or t = reverse($2) or t = 'a' || $2", &params, &table())
        .unwrap();
}

#[test]
fn constants_are_bounded_together() {
    let made: Vec<String> =
        (0..400).map(|number| format!("t = repeat('{:03}', 5000)", number)).collect();
    compiled(&made[..100].join(" or "));
    let reason = refused(&made.join(" or "), &[]);
    assert!(reason.contains(&limits::CLAUSE_CONSTANTS_BYTES_MAX.to_string()), "{reason}");
    // Those that are compared with one column each are kept apart from the form.
    refused(&made.join(" and "), &[]);
    let params = ["x".repeat(200_000)];
    let named = |times: usize| vec!["t like $1"; times].join(" or ");
    compile(&named(10), &params, &table()).unwrap();
    let reason = refused(&named(30), &params);
    assert!(reason.contains("parameters"), "{reason}");
    // Those that only Postgres computes with are as many.
    assert!(compile_for_server(&named(10), &params, &table(), None).is_ok());
    assert!(compile_for_server(&named(30), &params, &table(), None).is_err());
}

/// So many characters that differ, none of them a letter of English.
fn characters(count: u32) -> String {
    (0x4E00..0x4E00 + count).filter_map(char::from_u32).collect()
}

/// One by one these would take hours.
#[test]
fn what_is_looked_for_among_many_ends() {
    let set = characters(20_000);
    let long = "x".repeat(1_000_000);
    let last = row(&(set[set.len() - 3..].repeat(300_000) + &long));
    let params = [set.clone()];
    for clause in ["length(translate(t, $1, 'abc')) = 1000000", "length(btrim(t, $1)) = 1000000"] {
        let predicate = compile(clause, &params, &table()).unwrap();
        assert_eq!(predicate.evaluate(&last), Ok(Truth::True), "{clause}");
    }
    let numbers = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
    let (few, many) = (numbers(30_000).join(","), numbers(500_000).join(","));
    for (clause, truth) in [
        ("string_to_array(t, ',') @> string_to_array($1, ',')", Truth::True),
        ("string_to_array(t, ',') <@ string_to_array($1, ',')", Truth::False),
        ("string_to_array(t, ',') && string_to_array('-' || $1, ',0,')", Truth::False),
        ("string_to_array(t, ',')::int[] @> string_to_array($1, ',')::int[]", Truth::True),
        ("to_jsonb(string_to_array(t, ',')) ?& string_to_array($1, ',')", Truth::True),
        ("to_jsonb(string_to_array(t, ',')) ?| string_to_array('-' || $1, ',0,')", Truth::False),
        (
            "to_jsonb(string_to_array(t, ',')) - string_to_array($1, ',') ->> 0 = '30000'",
            Truth::True,
        ),
    ] {
        let predicate = compile(clause, std::slice::from_ref(&few), &table()).unwrap();
        assert_eq!(predicate.evaluate(&row(&many)), Ok(truth), "{clause}");
    }
    let pairs: Vec<String> = (0..3_000).map(|n| format!("'k{}',id", n % 2_000)).collect();
    let object = pairs.join(",");
    let clause = format!(
        "jsonb_build_object({object}) -> 'k7' = '1' AND jsonb_build_object({object})::text LIKE '{{\"k0\": 1, \"k1\": 1, %'"
    );
    assert_eq!(compiled(&clause).evaluate(&row("")), Ok(Truth::True));
}

#[test]
fn elements_are_equal_among_many_as_among_few() {
    for (element, list, other) in [
        ("numeric", "1.50", "1.5"),
        ("numeric", "NaN", "NaN"),
        ("float8", "-0", "0"),
        ("float8", "NaN", "NaN"),
        ("text", "é", "é"),
        ("interval", "24:00:00", "1 day"),
        ("jsonb", "1.0", "1"),
    ] {
        // With NULLs, in an order that is none; few and many.
        for count in [2, 40] {
            let others: Vec<String> =
                (0..count).map(|n| (1000 + (n * 17) % 41).to_string()).collect();
            let others = if element == "interval" { Vec::new() } else { others };
            let whole = [&others[..], &["NULL".to_owned(), list.to_owned()]].concat().join(",");
            let part = [&others[..], &[other.to_owned()]].concat().join(",");
            let null = [&others[..], &["NULL".to_owned()]].concat().join(",");
            let clause = format!(
                "'{{{whole}}}'::{element}[] @> '{{{part}}}'::{element}[] \
                 AND NOT '{{{whole}}}'::{element}[] @> '{{{null}}}'::{element}[] AND id = 1"
            );
            match compile(&clause, &[], &table()) {
                Ok(predicate) => {
                    assert_eq!(predicate.evaluate(&row("")), Ok(Truth::True), "{clause}");
                }
                Err(error) => assert!(element == "jsonb", "{clause}: {error}"),
            }
        }
    }
}

#[test]
fn a_list_of_constants_is_made_into_text_however_many_they_are() {
    let list = |value: fn(usize) -> String| {
        vec![format!("{{{}}}", (0..3_000).map(value).collect::<Vec<_>>().join(","))]
    };
    let uuids = list(|n| format!("00000000-0000-0000-0000-{n:012}"));
    let numbers = list(|n| format!("{}", 1_000_000_000_000_000_000 + n));
    let instants = list(|n| format!("2024-01-01 00:00:00.{n:06}+00"));
    for (clause, params) in [
        ("t = ANY($1::uuid[]::text[])", &uuids),
        ("t = ANY($1::int8[]::text[])", &numbers),
        ("t = ANY($1::numeric[]::text[])", &numbers),
        ("t <> to_jsonb($1::numeric[])::text", &numbers),
        ("t <> to_jsonb($1::uuid[])::text", &uuids),
        ("t <> $1::timestamptz[]::text", &instants),
    ] {
        if let Err(error) = compile(clause, params, &table()) {
            panic!("{clause}: {error}");
        }
    }
}
