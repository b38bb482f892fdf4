//! A filter for every way to find rows and for everything around it, over columns with nasty values.
//!
//! Values come from small pools, so rows enter and leave filters; constants come from the same pools.

use super::tables::quote;
use crate::harness::{Locale, Rng};

/// The tables: what shapes are about, and what their subqueries ask.
pub const TABLES: &str = "
    CREATE EXTENSION IF NOT EXISTS citext;
    CREATE TYPE mood AS ENUM ('open', 'done', 'closed');
    CREATE TABLE things (id int PRIMARY KEY, project int, n int8, title text, status mood, closed bool, tags text[],
      nums int4[], meta jsonb, due date, seen timestamptz, code char(5), ci citext, price numeric, f float8);
    CREATE TABLE members (id int PRIMARY KEY, user_id int, project int, role text);
    CREATE TABLE projects (id int PRIMARY KEY, active bool, owner int, name text)";

/// Columns, and values as Postgres reads them.
type Columns = &'static [(&'static str, &'static [&'static str])];

/// The tables' columns besides their keys.
pub const COLUMNS: [(&str, Columns); 3] = [
    (
        "things",
        &[
            ("project", KEYS),
            ("n", &["0", "1", "-1", "2", "7", "9223372036854775807", "-9223372036854775808"]),
            ("title", TEXTS),
            ("status", &["open", "done", "closed"]),
            ("closed", BOOLS),
            ("tags", TAGS),
            ("nums", &["{}", "{1}", "{1,2,NULL}", "{{1,2},{3,4}}", "[0:1]={7,-1}", "{NULL}"]),
            ("meta", DOCUMENTS),
            ("due", DATES),
            ("seen", INSTANTS),
            ("code", &["", "a", "a    ", "ab", "A", "é", "a b", "%"]),
            ("ci", &["a", "A", "ab", "AB", "É", "é", "", "a%"]),
            ("price", &["0", "1", "1.0", "1.50", "-0.1", "NaN", "12345678901234567890.1"]),
            ("f", &["0", "-0", "1.5", "NaN", "Infinity", "-Infinity", "1e-300"]),
        ],
    ),
    (
        "members",
        &[("user_id", KEYS), ("project", KEYS), ("role", &["a", "b", "", "é", "o'x", "a "])],
    ),
    ("projects", &[("active", BOOLS), ("owner", KEYS), ("name", TEXTS)]),
];

const KEYS: &[&str] = &["0", "1", "2", "3", "4", "5"];
const BOOLS: &[&str] = &["true", "false"];
const TEXTS: &[&str] = &[
    "", "a", "A", "ab", "aXb", "a%b", "a_b", "é", "É", "a\\b", "o'x", "ä", "%", "a ", "a\nb", "ß",
    "İ", "🐟", "é", "ba", "10", "9", "a\tb",
];
const TAGS: &[&str] = &[
    "{}",
    "{a}",
    "{a,b}",
    "{NULL}",
    "{a,NULL}",
    "{{a,b},{c,a}}",
    "[0:1]={b,c}",
    "{\"\"}",
    "{\"a b\",\"c,d\",\"\\\"\"}",
    "{A,é}",
    "{\"NULL\"}",
];
const DOCUMENTS: &[&str] = &[
    "null",
    "{}",
    "[]",
    "1",
    "\"a\"",
    "{\"n\": 1}",
    "{\"n\": 1.0, \"t\": \"a\"}",
    "{\"n\": null}",
    "{\"t\": \"é\\n\", \"a\": [1, {\"b\": null}]}",
    "{\"a\": {\"b\": 2}}",
    "[\"a\", 1]",
    "{\"a\": [2, \"x\"], \"n\": \"1\"}",
    "{\"\": true, \"n\": 1, \"n\": 2}",
    "{\"n\": true}",
];
const DATES: &[&str] =
    &["2024-02-29", "2024-03-01", "1999-12-31", "infinity", "-infinity", "0044-03-15 BC"];
const INSTANTS: &[&str] = &[
    "2024-02-29 10:00:00+00",
    "2024-02-29 12:00:00+02",
    "2024-02-29 23:59:59.999999+00",
    "infinity",
    "-infinity",
    "1999-12-31 23:59:59+00",
];

/// A value of a column as a literal; now and then NULL, and of texts one that is stored out of line.
pub fn value(column: &str, pool: &[&str], rng: &mut Rng) -> String {
    match rng.below(20) {
        0..=2 => "NULL".to_owned(),
        3 if column == "title" => format!(
            "(SELECT string_agg(md5({}::text || i), '') FROM generate_series(1, 90) i)",
            rng.below(3)
        ),
        // Some are there often, so that filters for one value find some.
        4..=10 => quote(rng.pick::<&str>(&pool[..pool.len().min(4)])),
        _ => quote(rng.pick::<&str>(pool)),
    }
}

/// A filter and whether it surely is in the language: letters are the locale's elsewhere.
pub struct Filter {
    pub text: String,
    pub surely: bool,
}

/// What it is about, how to write one, and whether that needs text to be bytes.
type Template = (&'static str, fn(&mut Rng) -> String, bool);

fn of(pool: &[&str], rng: &mut Rng) -> String {
    quote(rng.pick::<&str>(pool))
}

/// A form with something in each of its places.
fn fill(form: &str, mut with: impl FnMut() -> String) -> String {
    let mut parts = form.split("{}");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &with() + part)
}

/// One of these, with a constant for each `{}`.
fn one(forms: &[&str], pool: &[&str], rng: &mut Rng) -> String {
    let form = *rng.pick(forms);
    fill(form, || of(pool, rng))
}

/// Each a way to find rows, or to say what they are.
const LEAVES: &[Template] = &[
    ("equality", |rng| one(&["project = {}", "project = {}::int8", "n = {}"], KEYS, rng), false),
    ("equality of text", |rng| one(&["title = {}", "{} = title"], &TEXTS[..8], rng), false),
    ("IN", |rng| one(&["project IN ({}, {})", "project IN ({}, NULL)"], KEYS, rng), false),
    ("IN of text", |rng| one(&["title IN ({}, {}, {})", "title NOT IN ({})"], TEXTS, rng), false),
    ("NOT IN", |rng| one(&["project NOT IN ({}, {})", "project <> {}"], KEYS, rng), false),
    (
        "range",
        |rng| one(&["n BETWEEN {} AND {}", "n > {}", "price <= {}", "f >= {}"], KEYS, rng),
        false,
    ),
    ("range of text", |rng| one(&["title COLLATE \"C\" < {}"], TEXTS, rng), false),
    (
        "LIKE prefix",
        |rng| one(&["title LIKE {}"], &["a%", "a\\%%", "é%", "a_b%", "%", "", "1%", "a"], rng),
        false,
    ),
    (
        "ILIKE substring",
        |rng| one(&["title ILIKE {}", "title NOT ILIKE {}"], &["%a%", "%É%", "%\\_%", "%b"], rng),
        true,
    ),
    (
        "regular expression",
        |rng| one(&["title ~ {}", "title !~ {}"], &["^a", "b$", "a.b", "^[a-z]+$", "a|é", ""], rng),
        true,
    ),
    ("regular expression, any case", |rng| one(&["title ~* {}"], &["^A", "e", "x?b$"], rng), true),
    ("array @>", |rng| one(&["tags @> {}", "nums @> {}"], &["{}", "{1}", "{2,1}"], rng), false),
    ("array of text @>", |rng| one(&["tags @> {}", "tags <@ {}"], TAGS, rng), false),
    ("array &&", |rng| one(&["tags && {}"], TAGS, rng), false),
    (
        "= ANY(column)",
        |rng| one(&["{} = ANY(tags)", "{} = ALL(tags)"], &["a", "", "NULL", "é"], rng),
        false,
    ),
    ("array =", |rng| one(&["tags = {}", "tags <> {}"], TAGS, rng), false),
    ("jsonb @>", |rng| one(&["meta @> {}", "meta <@ {}"], DOCUMENTS, rng), false),
    (
        "jsonb ->>",
        |rng| one(&["meta ->> 'n' = {}", "meta ->> 't' <> {}"], &["1", "1.0", "a", ""], rng),
        false,
    ),
    (
        "jsonb path",
        |rng| one(&["meta #>> '{a,b}' = {}", "meta #> '{a,0}' = {}"], &["2", "1", "null"], rng),
        false,
    ),
    ("jsonb ?", |rng| one(&["meta ? {}", "NOT meta ? {}"], &["n", "a", ""], rng), false),
    ("jsonb =", |rng| one(&["meta = {}", "meta -> 'n' = {}"], DOCUMENTS, rng), false),
    (
        "computed",
        |rng| one(&["length(title) = {}", "n % 3 = {}", "cardinality(tags) = {}"], KEYS, rng),
        false,
    ),
    (
        "computed text",
        |rng| one(&["lower(title) = {}", "title || 'b' = {}"], &TEXTS[1..4], rng),
        true,
    ),
    (
        "CASE",
        |rng| {
            one(
                &[
                    "CASE WHEN closed THEN project = {} WHEN n > 1 THEN title IS NULL ELSE n < {} END",
                    "CASE status WHEN 'open' THEN project WHEN 'done' THEN n END = {}",
                    "CASE WHEN jsonb_typeof(meta -> 'n') = 'number' THEN (meta ->> 'n')::numeric >= {} END",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    ("no path", |rng| one(&["n <> project", "n = project", "closed = (n > {})"], KEYS, rng), false),
    ("NOT LIKE", |rng| one(&["title NOT LIKE {}"], &["a%", "%b", "_", ""], rng), false),
    (
        "IS NULL",
        |rng| {
            let (column, _) = *rng.pick(COLUMNS[0].1);
            format!("{column} IS {}NULL", rng.pick(&["", "NOT "]))
        },
        false,
    ),
    (
        "IS DISTINCT FROM",
        |rng| {
            one(
                &[
                    "project IS DISTINCT FROM {}",
                    "project IS NOT DISTINCT FROM {}",
                    "n IS DISTINCT FROM NULL",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    (
        "boolean",
        |rng| {
            (*rng.pick(&[
                "closed",
                "NOT closed",
                "closed IS NOT TRUE",
                "closed = false",
                "closed IS UNKNOWN",
            ]))
            .to_owned()
        },
        false,
    ),
    (
        "enum",
        |rng| {
            one(
                &["status = {}", "status > {}", "status IN ({}, {})"],
                &["open", "done", "closed"],
                rng,
            )
        },
        false,
    ),
    (
        "date window",
        |rng| one(&["due BETWEEN {} AND {}", "due >= {} AND due < {}", "due <> {}"], DATES, rng),
        false,
    ),
    (
        "window of instants",
        |rng| {
            let forms = [
                "seen >= {} AND seen < {}",
                "seen = {}",
                "date_trunc('day', seen) = {}",
                "seen::date > {}",
            ];
            one(&forms, &INSTANTS[..4], rng)
        },
        false,
    ),
    (
        "char(n)",
        |rng| {
            one(&["code = {}", "code IN ({}, {})", "code <> {}"], &["a", "a  ", "", "é", "A"], rng)
        },
        false,
    ),
    ("citext", |rng| one(&["ci = {}", "ci IN ({}, {})"], &["a", "AB", "É", ""], rng), true),
    (
        "numbers of other kinds",
        |rng| one(&["price = {}", "f = {}", "f <> {}"], &["1.5", "0", "NaN"], rng),
        false,
    ),
];

/// Each asks other tables.
const SUBQUERIES: &[Template] = &[
    ("IN (SELECT)", |rng| asks("project IN ({})", rng), false),
    ("NOT IN (SELECT)", |rng| asks("project NOT IN ({})", rng), false),
    ("NOT … NOT IN (SELECT)", |rng| asks("NOT project NOT IN ({}) AND n > 0", rng), false),
    ("IN (SELECT) OR", |rng| asks("project IN ({}) OR closed", rng), false),
    (
        "IN (SELECT) AND NOT IN (SELECT)",
        |rng| asks("project IN ({}) AND n NOT IN ({})", rng),
        false,
    ),
    (
        "EXISTS",
        |rng| {
            one(
                &[
                    "EXISTS (SELECT 1 FROM members m WHERE m.project = things.project AND m.user_id = {})",
                    "NOT EXISTS (SELECT 1 FROM members m WHERE m.project = things.project AND m.user_id <> {})",
                    "EXISTS (SELECT 1 FROM members WHERE user_id = {})",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    (
        "rows of columns",
        |rng| {
            one(
                &[
                    "(project, n) IN (SELECT project, user_id FROM members WHERE id > {})",
                    "(project, title) NOT IN (SELECT project, role FROM members WHERE user_id = {})",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    (
        "joined",
        |rng| {
            one(
                &[
                    "project IN (SELECT p.id FROM members m JOIN projects p ON p.id = m.project WHERE m.user_id = {} AND p.active)",
                    "project IN (SELECT p.id FROM projects p LEFT JOIN members m ON m.project = p.id WHERE m.id IS NULL)",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    (
        "of one row",
        |rng| {
            one(
                &[
                    "project = (SELECT owner FROM projects WHERE id = {})",
                    "title IS NOT DISTINCT FROM (SELECT name FROM projects p WHERE p.id = things.project)",
                    "n <> (SELECT owner FROM projects WHERE id = {})",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
    (
        "of elements, of text",
        |rng| {
            one(
                &[
                    "id IN (SELECT unnest(nums) FROM things WHERE project = {})",
                    "title IN (SELECT name FROM projects WHERE owner = {})",
                    "title NOT IN (SELECT role FROM members WHERE user_id = {})",
                ],
                KEYS,
                rng,
            )
        },
        false,
    ),
];

/// A filter with a subquery of projects in each of its places.
fn asks(form: &str, rng: &mut Rng) -> String {
    const NUMBERS: &[&str] = &[
        "SELECT project FROM members WHERE user_id = {}",
        "SELECT project FROM members WHERE user_id = {} AND role IN ('a', '', 'é')",
        "SELECT project FROM members WHERE user_id = {} AND project IN (SELECT id FROM projects WHERE active)",
        "SELECT project FROM members WHERE user_id IN (SELECT owner FROM projects WHERE id <> {})",
        "SELECT project FROM members WHERE user_id = {} AND project NOT IN (SELECT owner FROM projects WHERE active)",
        "SELECT id FROM projects WHERE owner = {} UNION SELECT project FROM members WHERE role = 'b'",
        "SELECT id FROM projects WHERE active IS NOT TRUE AND owner > {}",
    ];
    fill(form, || one(NUMBERS, KEYS, rng))
}

/// Every template, by name; those that put others together at the end.
pub fn all() -> impl Iterator<Item = &'static str> {
    let single = LEAVES.iter().chain(SUBQUERIES).map(|(name, ..)| *name);
    single.chain(["AND", "OR", "NOT", "all of it"])
}

/// A filter of a template.
pub fn filter(name: &str, locale: Locale, rng: &mut Rng) -> Filter {
    let single = |template: &Template, rng: &mut Rng| Filter {
        text: (template.1)(rng),
        surely: !template.2 || locale == Locale::CUtf8,
    };
    let found = LEAVES.iter().chain(SUBQUERIES).find(|template| template.0 == name);
    if let Some(template) = found {
        return single(template, rng);
    }
    let leaf = |rng: &mut Rng| {
        let template = *rng.pick(LEAVES);
        single(&template, rng)
    };
    let mut parts = vec![leaf(rng), leaf(rng), leaf(rng)];
    if name == "all of it" {
        let template = *rng.pick(SUBQUERIES);
        parts.push(single(&template, rng));
    }
    let texts: Vec<String> = parts.iter().map(|part| format!("({})", part.text)).collect();
    let text = match name {
        "AND" => texts[..2].join(" AND "),
        "OR" => texts.join(" OR "),
        "NOT" => format!("NOT ({} AND {}) OR NOT {}", texts[0], texts[1], texts[2]),
        _ => format!("({} OR NOT {}) AND ({} OR {})", texts[0], texts[3], texts[1], texts[2]),
    };
    Filter { text, surely: parts.iter().all(|part| part.surely) }
}
