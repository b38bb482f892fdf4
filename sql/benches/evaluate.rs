//! One evaluation of common clauses, in our form and by a naive walk over a tree of owned values.
//!
//! Both read the same row. Favours us: text is compared where it lies. Favours the naive form: it
//! compares instants as text and decimals as floats, which is wrong and fast. `cargo bench -p brooklet-sql` prints both.

#![allow(missing_docs, clippy::unwrap_used)]

use brooklet_sql::{Collation, Column, Predicate, RelationName, Row, TableSchema, compile};
use divan::black_box;

fn main() {
    divan::main();
}

const COLUMNS: [(&str, u32, &str); 8] = [
    ("id", 23, "4711"),
    ("owner", 20, "3000000000"),
    ("title", 25, "A common title of a common thing"),
    ("price", 1700, "19.99"),
    ("created", 1184, "2024-01-31 12:30:00.5+00"),
    ("active", 16, "t"),
    ("tags", 1009, "{red,green,blue}"),
    ("meta", 3802, "{\"team\": \"a\", \"size\": 12}"),
];

fn table() -> TableSchema {
    let column = |(name, oid, _): (&str, u32, &str)| Column {
        name: name.to_owned(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: String::new(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: None,
        generated: false,
        collation: [25, 1009].contains(&oid).then(Collation::c),
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        number: 0,
        dropped: false,
    };
    TableSchema {
        partitioned: false,
        oid: 1,
        name: RelationName { schema: "public".into(), table: "items".into() },
        columns: COLUMNS.into_iter().map(column).collect(),
    }
}

fn row() -> Row {
    Row::new(COLUMNS.map(|(_, _, value)| Some(value))).unwrap()
}

fn predicate(clause: &str) -> Predicate {
    compile(clause, &[], &table()).unwrap()
}

#[divan::bench(args = [
    "id = 4711",
    "id = 4711 AND active",
    "owner IN (1, 2, 3, 3000000000)",
    "title LIKE 'A c%'",
    "price > 9.99",
    "created >= '2024-01-01'",
    "id % 4 = 3",
    "lower(title) = 'x'",
    "price * 2 > 10",
    "'red' = ANY(tags)",
    "meta ->> 'team' = 'a'",
    "meta @> '{\"team\": \"a\"}'",
    "created + interval '1 day' > '2024-01-01'",
    "title ~ '^[A-Z] c'",
])]
fn ours(bencher: divan::Bencher, clause: &str) {
    let (predicate, row) = (predicate(clause), row());
    bencher.bench(|| black_box(&predicate).matches(black_box(&row)));
}

#[divan::bench(args = ["id = 4711", "lower(title) = 'x' AND price * 2 > 10"])]
fn compiling(bencher: divan::Bencher, clause: &str) {
    let table = table();
    bencher.bench(|| compile(black_box(clause), &[], &table));
}

/// What a first draft of an evaluator does: every operand becomes a value of its own.
enum Naive {
    Column(usize),
    Constant(Value),
    Equal(Box<Naive>, Box<Naive>),
    Greater(Box<Naive>, Box<Naive>),
    Starts(Box<Naive>, String),
    And(Vec<Naive>),
    In(Box<Naive>, Vec<Value>),
}

#[derive(Clone, PartialEq, PartialOrd)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Naive {
    fn value(&self, row: &Row) -> Value {
        match self {
            Naive::Column(at) => match row.text(*at) {
                None => Value::Null,
                Some(text) => match COLUMNS[*at].1 {
                    16 => Value::Bool(text == "t"),
                    20 | 23 => Value::Int(text.parse().unwrap()),
                    1700 => Value::Float(text.parse().unwrap()),
                    _ => Value::Text(text.to_owned()),
                },
            },
            Naive::Constant(value) => value.clone(),
            Naive::Equal(left, right) => Value::Bool(left.value(row) == right.value(row)),
            Naive::Greater(left, right) => Value::Bool(left.value(row) > right.value(row)),
            Naive::Starts(text, prefix) => match text.value(row) {
                Value::Text(text) => Value::Bool(text.starts_with(prefix)),
                _ => Value::Null,
            },
            Naive::And(list) => {
                Value::Bool(list.iter().all(|one| one.value(row) == Value::Bool(true)))
            }
            Naive::In(operand, list) => Value::Bool(list.contains(&operand.value(row))),
        }
    }
}

fn column(at: usize) -> Box<Naive> {
    Box::new(Naive::Column(at))
}

fn naive_form(clause: &str) -> Naive {
    let int = |int| Box::new(Naive::Constant(Value::Int(int)));
    match clause {
        "id = 4711" => Naive::Equal(column(0), int(4711)),
        "id = 4711 AND active" => {
            Naive::And(vec![Naive::Equal(column(0), int(4711)), Naive::Column(5)])
        }
        "owner IN (1, 2, 3, 3000000000)" => {
            Naive::In(column(1), [1, 2, 3, 3_000_000_000].map(Value::Int).to_vec())
        }
        "title LIKE 'A c%'" => Naive::Starts(column(2), "A c".to_owned()),
        "price > 9.99" => Naive::Greater(column(3), Box::new(Naive::Constant(Value::Float(9.99)))),
        _ => Naive::Greater(column(4), Box::new(Naive::Constant(Value::Text("2024-01-01".into())))),
    }
}

#[divan::bench(args = [
    "id = 4711",
    "id = 4711 AND active",
    "owner IN (1, 2, 3, 3000000000)",
    "title LIKE 'A c%'",
    "price > 9.99",
    "created >= '2024-01-01'",
])]
fn naive(bencher: divan::Bencher, clause: &str) {
    let (form, row) = (naive_form(clause), row());
    bencher.bench(|| black_box(&form).value(black_box(&row)));
}
