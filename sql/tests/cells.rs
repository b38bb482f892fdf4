//! Every comparison of every type, and every operator and function that the widely used shape
//! filters have: each compiles, or is one of the refusals that the page about the language gives.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use brooklet_sql::{CaseMap, Collation, TextOrder, compile};

mod generate;

use generate::typed;

/// Columns and a constant for each.
const TYPES: [(&str, &str); 24] = [
    ("i2", "1"),
    ("i4", "1"),
    ("i8", "3000000000"),
    ("f4", "1.5"),
    ("f8", "1.5"),
    ("n", "1.5"),
    ("b", "true"),
    ("t", "a"),
    ("v", "a"),
    ("bp", "a"),
    ("u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("d", "2024-01-01"),
    ("tm", "10:00"),
    ("ttz", "10:00+00"),
    ("ts", "2024-01-01 10:00"),
    ("tz", "2024-01-01 10:00+00"),
    ("iv", "1 day"),
    ("m", "ok"),
    ("by", "\\x00"),
    ("net", "10.0.0.1"),
    ("j", "{}"),
    ("ia", "{1}"),
    ("ta", "{a}"),
    ("ma", "{ok}"),
];

/// `{c}` is the column, `{k}` its constant.
const FORMS: [&str; 22] = [
    "{c} = {k}",
    "{k} = {c}",
    "{c} = {c}",
    "{c} <> {k}",
    "{c} != {k}",
    "NOT {c} = {k}",
    "{c} < {k}",
    "{c} <= {k}",
    "{c} > {k}",
    "{c} >= {c}",
    "{c} BETWEEN {k} AND {k}",
    "{c} NOT BETWEEN SYMMETRIC {k} AND {k}",
    "{c} IN ({k}, {k}, NULL)",
    "{c} NOT IN ({k}, {c})",
    "{c} IS DISTINCT FROM {k}",
    "{c} IS NOT DISTINCT FROM NULL",
    "{c} IS NULL",
    "{c} IS NOT NULL",
    "{c}::text = 'a'",
    "{c} = ANY(ARRAY[{c}, {c}])",
    "coalesce({c}, {k}) = {k}",
    "greatest({c}, {k}) = least({c}, {c})",
];

const REST: &[&str] = &[
    "+i4 = -i8 AND -f8 = +f4 AND -n = +n AND -i2 = 1",
    "@ i2 = 1 AND @ i4 = 1 AND @ i8 = 1 AND @ n = 1 AND @ f4 = 1 AND @ f8 = 1",
    "|/ f8 = 1 AND |/ f4 = 1 AND |/ i4 = 1",
    "i2 + i4 = 1 AND i4 - i8 = 1 AND i8 * n = 1 AND f4 + f8 = 1 AND n - f8 = 1 AND i2 * f4 = 1",
    "i4 / i2 = 1 AND n / i4 = 1 AND f8 / f4 = 1 AND i8 / f8 = 1",
    "i2 & i2 = 1 AND i4 | i4 = 1 AND i8 # i8 = 1 AND ~i2 = 1 AND ~i4 = 1 AND ~i8 = 1",
    "t || t = 'a' AND t || v = 'a' AND v || 'a' = 'a' AND t || i4 = 'a'",
    "t LIKE 'a' AND t NOT LIKE 'a' AND t ILIKE 'a' AND t NOT ILIKE 'a' AND t LIKE t",
    "t ~~ 'a' AND t ~~* 'a' AND t !~~ 'a' AND t !~~* 'a' AND like(t, 'a') AND ilike(t, 'a')",
    "t LIKE ANY(ta) AND t ILIKE ANY('{a}') AND t NOT LIKE ALL('{a}') AND v LIKE 'a'",
    "d + 1 = d AND 1 + d = d AND d + tm = ts AND tm + d = ts",
    "d + iv = ts AND ts + iv = ts AND tm + iv = tm AND tz + iv = tz AND iv + iv = iv",
    "iv + d = ts AND iv + ts = ts AND iv + tm = tm AND iv + tz = tz",
    "d - 1 = d AND d - d = 1 AND d - iv = ts AND ts - iv = ts AND tm - iv = tm AND tz - iv = tz",
    "ts - ts = iv AND tz - tz = iv AND iv - iv = iv AND tm - tm = iv",
    "iv * 2 = iv AND f8 * iv = iv AND iv * f8 = iv AND iv / 2 = iv AND -iv = iv",
    "m = m AND m <> m2 AND ma = ma AND ta <> ta",
    "ia @> ia AND ia <@ '{1}' AND ia && ARRAY[i4] AND ta @> ARRAY['a'] AND 'a' = ANY(ta)",
    "ia || ia = ia AND i4 || ia = ia AND ia || i4 = ia AND ta || t = ta AND ta || ta = ta",
    "ia[1] = 1 AND ia[i4] = 1 AND ia[1:2] = ia AND ia[2:] = ia AND ia[:2] = ia AND ia[1:2][1:1] = ia",
    "i4 < ANY(ia) AND i4 >= ALL(ia) AND i4 = SOME(ia) AND i4 <> ALL(ia) AND 1.5 = ANY(na)",
    "lower(t) = 'a' AND upper(v) = 'A' AND concat(t, v, i4, b) = 'a'",
    "coalesce(i4, i8, 1) = 1 AND greatest(i4, n) = 1 AND least(d, d, NULL) = d",
    "array_cat(ia, ia) = ia AND array_append(ia, i4) = ia AND array_prepend(i4, ia) = ia",
    "array_ndims(ia) = 1",
    "justify_days(iv) = iv AND justify_hours(iv) = iv AND justify_interval(iv) = iv",
    "timezone('UTC', ts) = tz AND timezone('UTC', tz) = ts AND ts AT TIME ZONE 'UTC' = tz",
    "int2('1') = 1 AND int4('1') = 1 AND int8('1') = 1 AND float4('1') = 1 AND float8('1') = 1",
    "numeric '1' = 1 AND bool('t') AND uuid('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11') = u",
    "text('a') = t AND date('2024-01-01') = d AND timestamptz('2024-01-01') = tz",
    "date '2024-01-01' = d AND time '10:00' = tm AND interval '1 day' = iv AND bool 't'",
    "i2::text = 'a' AND t::int2 = 1 AND t::int4 = 1 AND t::int8 = 1 AND t::float4 = 1",
    "t::float8 = 1 AND t::bool AND t::uuid = u AND t::int4[] = ia AND ia::int8[] = '{1}'",
    "t::date = d AND v::time = tm AND t::timestamp = ts AND t::timestamptz = tz AND t::interval = iv",
    "(j ->> 'a')::date = d AND t::timestamp(3) = ts AND date(t) = d AND t::timetz = ttz",
    "i4::bool AND b::int4 = 1 AND m::text = 'a' AND d::timestamp = ts AND d::timestamptz = tz",
    "i8::int4 = 1 AND f8::int4 = 1 AND i4::int2 = 1 AND i4::numeric = 1 AND ts::date = d",
    "tz::date = d AND tz::timestamp = ts AND ts::timestamptz = tz AND tz::time = tm AND ts::time = tm",
    "timezone(iv, tz) = ts AND timezone(iv, ts) = tz AND iv::time = tm AND tm::interval = iv",
    "b IS TRUE AND b IS NOT TRUE AND b IS FALSE AND (i4 = 1) IS UNKNOWN AND i4 ISNULL AND i4 NOTNULL",
    "i4 OPERATOR(pg_catalog.=) 1 AND pg_catalog.lower(t) = 'a'",
    "i4 = 1 -- a comment",
    "i4 /* a comment */ = 1 AND t = E'a' AND t = U&'a' AND t = $$a$$",
];

/// What we refuse of it. Each is in the page about the language with its reason, or Postgres refuses
/// it too.
const REFUSED: &[&str] = &[
    "j < '{}'",
    "j >= j",
    "j BETWEEN '{}' AND '{}'",
    "greatest(j, '{}') = j",
    "ia = ANY(ARRAY[ia, ia])",
    "bp::interval = iv",
    "ta::date[] = '{2024-01-01}'",
    "t::daterange = rd",
    "t::inet = net",
    "int4out(i4) = '1'",
    "boolout(b) = '1'",
    "dateout(d) = '1'",
    "f8 ^ 2 = 1",
    "n ^ 2 = 1",
    "tz AT TIME ZONE 'Europe/Berlin' = ts",
];

/// Forms that some types do not have: the order of `jsonb`, arrays of arrays.
fn has_form(column: &str, form: &str) -> bool {
    let orders = ["<", "<=", ">", ">="].iter().any(|one| form.contains(&format!(" {one} ")));
    let ordered = orders || form.contains("BETWEEN") || form.contains("greatest");
    match column {
        "j" => !ordered,
        "ia" | "ta" | "ma" => !form.contains("ANY"),
        _ => true,
    }
}

#[test]
fn all_cells_compile_or_are_known_refusals() {
    let collation = Collation {
        name: "C.UTF-8".into(),
        order: TextOrder::Bytes,
        deterministic: true,
        case_map: Some(Arc::new(CaseMap::new([]).with_upper([]))),
        is_default: true,
    };
    let table = typed::table(&collation, "public");
    let forms = TYPES.iter().flat_map(|(column, constant)| {
        FORMS.iter().filter(|form| has_form(column, form)).map(move |form| {
            form.replace("{c}", column).replace("{k}", &brooklet_sql::name::literal(constant))
        })
    });
    for clause in REFUSED {
        assert!(compile(clause, &[], &table).is_err(), "{clause} is refused no more");
    }
    let mut refused = Vec::new();
    for clause in forms.chain(REST.iter().map(|one| (*one).to_owned())) {
        if let Err(error) = compile(&clause, &[], &table) {
            refused.push(format!("{clause}: {error}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
