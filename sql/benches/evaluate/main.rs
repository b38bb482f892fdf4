//! One evaluation of common clauses, in our form and by a naive walk over a tree of owned values.
//!
//! Both test the same 64 rows in the same order, half of them met by the clause, and are first
//! checked to give the same answers. Rounds of the two alternate and medians are taken, so that
//! whatever else the machine does falls on both. `cargo bench -p brooklet-sql` prints the table; as
//! a test it runs one short round.

#![allow(missing_docs, clippy::unwrap_used)]

mod naive;
mod templates;

use std::hint::black_box;
use std::time::Instant;

use brooklet_sql::{Collation, Column, Predicate, RelationName, Row, TableSchema, Truth, compile};

use naive::{Naive, Value};
use templates::{Template, templates};

const COLUMNS: [(&str, u32, &str); 11] = [
    ("id", 23, "4711"),
    ("owner", 20, "3000000000"),
    ("title", 25, "A common title of a common thing"),
    ("price", 1700, "19.99"),
    ("created", 1184, "2024-01-31 12:30:00.5+00"),
    ("active", 16, "t"),
    ("state", 90_001, "open"),
    ("code", 2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("tags", 1009, "{red,green,blue}"),
    ("meta", 3802, "{\"size\": 12, \"team\": \"a\"}"),
    ("day", 1082, "2024-01-31"),
];
const STATE: u32 = 90_001;

/// Computed in full, for which there is no naive form that would be right.
const COMPUTED: [&str; 4] = [
    "price * 2 > 10",
    "created + interval '1 day' > '2024-01-01'",
    "title ~ '^[A-Z] c'",
    "length(title) > 10",
];

const ROWS: usize = 64;

fn main() {
    let timed = std::env::args().any(|argument| argument == "--bench");
    let (rounds, repeats) = if timed { (201, 200) } else { (1, 1) };
    let table = table();
    println!("| clause | ours, ns | naive, ns | naive / ours |\n|---|---|---|---|");
    let mut slower = 0;
    // `BROOKLET_BENCH_CLAUSE` picks the clauses that contain a text.
    let wanted = std::env::var("BROOKLET_BENCH_CLAUSE").unwrap_or_default();
    for template in templates().into_iter().filter(|one| one.title.contains(&wanted)) {
        let predicate = compile(&template.clause, &[], &table).unwrap();
        let rows = rows(&template);
        check(&template, &predicate, &rows);
        let (ours, naive) = compare(&predicate, &template.naive, &rows, rounds, repeats);
        slower += usize::from(ours > naive);
        println!("| `{}` | {ours:.1} | {naive:.1} | {:.2} |", template.title, naive / ours);
    }
    for clause in COMPUTED {
        let predicate = compile(clause, &[], &table).unwrap();
        let rows = vec![row("id", "4711"); ROWS];
        let (ours, _) = compare(&predicate, &Naive::Column(5), &rows, rounds, repeats);
        println!("| `{clause}` | {ours:.1} | | |");
    }
    let clause = "lower(title) = 'x' AND price * 2 > 10";
    let start = Instant::now();
    for _ in 0..repeats {
        black_box(compile(black_box(clause), &[], &table)).unwrap();
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(repeats);
    println!("\nslower than naive: {slower}; compiling `{clause}`: {each:.1} µs");
}

/// Both give the answer that the row was made for.
fn check(template: &Template, predicate: &Predicate, rows: &[Row]) {
    let mut met = 0;
    for row in rows {
        let ours = predicate.matches(row) == Truth::True;
        let naive = template.naive.value(row) == Value::Bool(true);
        assert_eq!(ours, naive, "{} for {row:?}", template.title);
        met += usize::from(ours);
    }
    assert_eq!(met, rows.len() / 2, "{}", template.title);
}

/// Nanoseconds for one row, medians of alternating rounds.
fn compare(
    predicate: &Predicate,
    naive: &Naive,
    rows: &[Row],
    rounds: usize,
    repeats: u32,
) -> (f64, f64) {
    let (mut ours_times, mut naive_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours_times.push(time(rows, repeats, |row| black_box(predicate).matches(row)));
        naive_times.push(time(rows, repeats, |row| black_box(naive).value(row)));
    }
    (median(ours_times), median(naive_times))
}

fn time<T>(rows: &[Row], repeats: u32, test: impl Fn(&Row) -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        for row in rows {
            black_box(test(black_box(row)));
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(repeats) / rows.len() as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Rows of which half are hits, in an order that is no pattern.
fn rows(template: &Template) -> Vec<Row> {
    let cycle = |values: &[String]| values.iter().cloned().cycle().take(ROWS / 2).collect();
    let (hits, misses): (Vec<String>, Vec<String>) =
        (cycle(&template.hits), cycle(&template.misses));
    let mut rows: Vec<Row> =
        hits.iter().chain(&misses).map(|value| row(template.column, value)).collect();
    let mut state: u64 = 88_172_645_463_325_252;
    for at in (1..rows.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        rows.swap(at, (state % (at as u64 + 1)) as usize);
    }
    rows
}

fn row(column: &str, value: &str) -> Row {
    Row::new(COLUMNS.map(|(name, _, usual)| Some(if name == column { value } else { usual })))
        .unwrap()
}

fn table() -> TableSchema {
    let labels = ["new", "open", "opened", "closed"].map(str::to_owned);
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
        labels: if oid == STATE { labels.to_vec() } else { Vec::new() },
        element_type_oid: 0,
        enum_schema: "public".to_owned(),
        enum_name: "state".to_owned(),
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
