//! What it costs to find the shapes that a change concerns, and to have a shape, by template of filters.
//!
//! Straight on the dataflow's index, in one thread, without Postgres: changes with an old and a new row that
//! differ in everything a filter looks at, so each row is looked up by itself; about one shape matches
//! each. Every count is checked against the one it must be. `benches/run filter` calls it; prints a table
//! and, with `BENCH_JSON` set, the same as JSON to that file. Sizes: `BENCH_FILTER_SHAPES`, a list.

// In a bench a panic is the report.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Change, Selection, ShapeId, ShapePlan};
use brooklet_sql::{Collation, Column, Form, RelationName, Row, TableSchema, compile};

const COLUMNS: [(&str, u32); 8] = [
    ("id", 23),
    ("project", 23),
    ("n", 20),
    ("title", 25),
    ("status", 25),
    ("tags", 1009),
    ("meta", 3802),
    ("closed", 16),
];

/// A name, a filter for a number, how many shapes at most.
struct Template {
    name: &'static str,
    filter: fn(usize) -> String,
    shapes_max: usize,
}

const TEMPLATES: &[Template] = &[
    Template { name: "equality", filter: |k| format!("project = {k}"), shapes_max: 1_000_000 },
    Template {
        name: "IN of 5",
        filter: |k| {
            let list: Vec<String> = (0..5).map(|n| (k + n * 1_000_000).to_string()).collect();
            format!("project IN ({})", list.join(", "))
        },
        shapes_max: 100_000,
    },
    Template {
        name: "range",
        filter: |k| format!("n BETWEEN {} AND {}", 10 * k, 10 * k + 9),
        shapes_max: 1_000_000,
    },
    Template {
        name: "LIKE prefix",
        filter: |k| format!("title LIKE 'issue {k:07}%'"),
        shapes_max: 100_000,
    },
    Template {
        name: "ILIKE substring",
        filter: |k| format!("title ILIKE '%word{k:07}%'"),
        shapes_max: 100_000,
    },
    Template { name: "array", filter: |k| format!("tags @> ARRAY['tag{k}']"), shapes_max: 100_000 },
    Template {
        name: "jsonb",
        filter: |k| format!("meta @> '{{\"team\": {k}}}'"),
        shapes_max: 100_000,
    },
    Template {
        name: "computed",
        filter: |k| format!("lower(title) = 'issue {k:07}: a word{k:07} in it'"),
        shapes_max: 100_000,
    },
    Template {
        name: "OR",
        filter: |k| format!("project = {k} OR title LIKE 'issue {k:07}%'"),
        shapes_max: 100_000,
    },
    Template {
        name: "AND",
        filter: |k| format!("status = 'open' AND n BETWEEN {} AND {}", 10 * k, 10 * k + 9),
        shapes_max: 100_000,
    },
    Template {
        name: "NOT",
        filter: |k| format!("NOT closed AND status <> 'done' AND n = {}", 10 * k + 5),
        shapes_max: 100_000,
    },
    Template {
        name: "no path",
        filter: |k| format!("title NOT LIKE 'x{k}%' AND n = project - 7"),
        shapes_max: 1_000,
    },
    // The same filter for all, of which each change is asked once.
    Template { name: "no path, shared", filter: |_| "n = project - 7".into(), shapes_max: 10_000 },
];

fn table() -> Arc<TableSchema> {
    let column = |(name, oid): (&str, u32)| Column {
        name: name.into(),
        type_oid: oid,
        base_type_oid: oid,
        type_name: "x".into(),
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        key_position: (name == "id").then_some(0),
        generated: false,
        labels: Vec::new(),
        element_type_oid: 0,
        enum_schema: String::new(),
        enum_name: String::new(),
        collation: [25, 1009].contains(&oid).then(Collation::c),
        number: 0,
        dropped: false,
    };
    let name = RelationName { schema: "public".into(), table: "issues".into() };
    let columns = COLUMNS.into_iter().map(column).collect();
    Arc::new(TableSchema { oid: 1, name, columns, partitioned: false })
}

/// The row that belongs to shape `k` of every template, but for the last.
fn row(id: usize, k: usize) -> Row {
    let (id, project, n) = (id.to_string(), k.to_string(), (10 * k + 5).to_string());
    let title = format!("Issue {k:07}: a Word{k:07} in it").replacen('I', "i", 1);
    let tags = format!("{{common,tag{k}}}");
    let meta = format!("{{\"team\": {k}, \"points\": 3, \"labels\": [\"a\", \"b\"]}}");
    let values: [&str; 8] = [&id, &project, &n, &title, "open", &tags, &meta, "f"];
    Row::new(values.map(Some)).unwrap()
}

/// Shapes as the server has them: what is equal is there once.
fn plans(template: &Template, shapes: usize, table: &Arc<TableSchema>) -> Vec<Arc<ShapePlan>> {
    let (columns, key) = ([0, 1, 2, 3].into(), [0].into());
    let selection = Arc::new(Selection { table: Arc::clone(table), columns, key, listed: false });
    let mut forms: HashMap<String, Arc<Form>> = HashMap::new();
    let make = |k: usize| {
        let mut predicate = compile(&(template.filter)(k), &[], table).unwrap();
        let text = predicate.form().text().to_owned();
        let form = forms.entry(text).or_insert_with(|| Arc::clone(predicate.form()));
        predicate.share(&Arc::clone(form));
        let (selection, predicate) = (Arc::clone(&selection), Some(predicate));
        Arc::new(ShapePlan { id: ShapeId(k as u64), selection, predicate })
    };
    (0..shapes).map(make).collect()
}

/// From here on resident memory tells what the index itself takes.
const BYTES_SHAPES_MIN: usize = 1_000_000;

struct Measured {
    name: &'static str,
    shapes: usize,
    changes_per_second: f64,
    candidates: f64,
    matches: f64,
    install_nanos: f64,
    remove_nanos: f64,
    /// `None` for few shapes: they fit into memory that compiling them has given back.
    index_bytes: Option<f64>,
}

fn measure(template: &Template, shapes: usize, changes: usize) -> Measured {
    let table = table();
    let plans = plans(template, shapes, &table);
    let mut index = ShapeIndex::default();
    let before = resident_bytes();
    let begun = Instant::now();
    plans.iter().for_each(|plan| index.add(Arc::clone(plan)));
    let installed = begun.elapsed();
    let grown = resident_bytes().saturating_sub(before) as f64 / shapes as f64;
    let index_bytes = (shapes >= BYTES_SHAPES_MIN).then_some(grown);
    // In no order; made before the clock runs.
    let step = |n: usize| n.wrapping_mul(2_654_435_761) % shapes;
    let changes: Vec<Change> = (0..changes)
        .map(|n| {
            let (old, new) = (Some(row(n, step(n))), Some(row(n, step(n + 7))));
            Change { seq: n as u64, op_position: 0, table: 1, old, new }
        })
        .collect();
    let (mut found, mut candidates, mut matches) = (Vec::new(), 0_usize, 0_usize);
    let begun = Instant::now();
    for change in &changes {
        index.candidates(1, [change.old.as_ref(), change.new.as_ref()], &mut found);
        candidates += found.len();
        index.judge(change, &found, |_, _| matches += 1);
    }
    let matched = begun.elapsed();
    // The old row leaves one shape and the new one enters another.
    if !template.name.starts_with("no path") {
        assert!(matches >= changes.len() && matches <= 2 * changes.len(), "{}", template.name);
    }
    let begun = Instant::now();
    plans.iter().for_each(|plan| assert!(index.remove(plan.id)));
    let removed = begun.elapsed();
    let each = |time: std::time::Duration| time.as_nanos() as f64 / shapes as f64;
    let per_change = |count: usize| count as f64 / changes.len() as f64;
    Measured {
        name: template.name,
        shapes,
        changes_per_second: changes.len() as f64 / matched.as_secs_f64(),
        candidates: per_change(candidates),
        matches: per_change(matches),
        install_nanos: each(installed),
        remove_nanos: each(removed),
        index_bytes,
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if !wanted.is_empty() && !wanted.iter().any(|part| part == "filter") {
        return;
    }
    let sizes = std::env::var("BENCH_FILTER_SHAPES").unwrap_or_else(|_| "1000".to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.trim().parse().unwrap()).collect();
    let smoke = sizes == [1_000];
    println!(
        "filter: changes with an old and a new row; candidates and matches are per change\n  {:<16}{:>9}{:>13}{:>12}{:>9}{:>12}{:>12}{:>14}",
        "template",
        "shapes",
        "changes/s",
        "candidates",
        "matches",
        "install ns",
        "remove ns",
        "index bytes"
    );
    let mut all = Vec::new();
    for template in TEMPLATES {
        for &shapes in sizes.iter().filter(|shapes| **shapes <= template.shapes_max) {
            let changes = if smoke || template.name.starts_with("no path") { 500 } else { 50_000 };
            let one = measure(template, shapes, changes);
            println!(
                "  {:<16}{:>9}{:>13.0}{:>12.2}{:>9.2}{:>12.0}{:>12.0}{:>14}",
                one.name,
                one.shapes,
                one.changes_per_second,
                one.candidates,
                one.matches,
                one.install_nanos,
                one.remove_nanos,
                one.index_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}"))
            );
            all.push(one);
        }
    }
    if let Ok(path) = std::env::var("BENCH_JSON") {
        std::fs::write(path, json(&all)).unwrap();
    }
}

fn json(all: &[Measured]) -> String {
    let object = |one: &Measured| {
        serde_json::json!({
            "template": one.name,
            "shapes": one.shapes,
            "changes_per_second": one.changes_per_second,
            "candidates_per_change": one.candidates,
            "matches_per_change": one.matches,
            "install_nanos": one.install_nanos,
            "remove_nanos": one.remove_nanos,
            "index_bytes_per_shape": one.index_bytes,
        })
    };
    serde_json::Value::from(all.iter().map(object).collect::<Vec<_>>()).to_string()
}
