//! What it costs to find the shapes that a change concerns, and to have a shape, by template of filters.
//!
//! Straight on the dataflow's index, in one thread, without Postgres: changes with an old and a new row that
//! differ in everything a filter looks at, so each row is looked up by itself; about one shape matches
//! each. Every count is checked against the one it must be. Shapes with subqueries are not in the index:
//! see `subqueries.rs`. `benches/run filter` calls it; prints a table and writes `filter.json`. Sizes:
//! `BENCH_FILTER_SHAPES`, a list.

// In a bench a panic is the report.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

#[path = "../figures.rs"]
mod figures;
mod issues;
#[path = "../../dataflows/tests/schema/mod.rs"]
mod schema;
mod subqueries;
mod templates;
mod workers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use brooklet_dataflows::index::ShapeIndex;
use brooklet_dataflows::{Change, Selection, ShapeId, ShapePlan};
use brooklet_sql::{Form, TableSchema, compile};
use issues::row;
use templates::{SUBQUERY, TEMPLATES, Template};

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

/// Users, and memberships of each, where one comes or goes.
const MEMBERSHIPS: (usize, usize) = (10_000, 100);

struct Measured {
    name: &'static str,
    shapes: usize,
    changes_per_second: f64,
    /// `None` for shapes that are not in the index.
    candidates: Option<f64>,
    matches: f64,
    /// What one change takes: the middle, and what 99 of a hundred stay below.
    latency_nanos: [u64; 2],
    install_nanos: f64,
    remove_nanos: f64,
    /// `None` for few shapes: they fit into memory that compiling them has given back.
    index_bytes: Option<f64>,
}

fn measure(template: &Template, shapes: usize, changes: usize) -> Measured {
    let table = issues::table();
    let plans = plans(template, shapes, &table);
    let mut index = ShapeIndex::default();
    let before = resident_bytes();
    let begun = Instant::now();
    plans.iter().for_each(|plan| index.add(Arc::clone(plan)));
    let installed = begun.elapsed();
    let grown = resident_bytes().saturating_sub(before) as f64 / shapes as f64;
    let index_bytes = (shapes >= BYTES_SHAPES_MIN).then_some(grown);
    let changes = changes_of(changes, shapes / template.alike);
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
        let least = changes.len() * template.alike;
        assert!(matches >= least && matches <= 2 * least, "{}", template.name);
    }
    // Once more, since to look at the clock takes as long as some changes.
    let latency_nanos = latency(&changes, |change| {
        index.candidates(1, [change.old.as_ref(), change.new.as_ref()], &mut found);
        index.judge(change, &found, |plan, _| _ = std::hint::black_box(plan));
    });
    let begun = Instant::now();
    plans.iter().for_each(|plan| assert!(index.remove(plan)));
    let removed = begun.elapsed();
    let each = |time: std::time::Duration| time.as_nanos() as f64 / shapes as f64;
    let per_change = |count: usize| count as f64 / changes.len() as f64;
    Measured {
        name: template.name,
        shapes,
        changes_per_second: changes.len() as f64 / matched.as_secs_f64(),
        candidates: Some(per_change(candidates)),
        matches: per_change(matches),
        latency_nanos,
        install_nanos: each(installed),
        remove_nanos: each(removed),
        index_bytes,
    }
}

/// The time of single changes.
fn latency(changes: &[Change], mut one: impl FnMut(&Change)) -> [u64; 2] {
    let timed = |change| {
        let begun = Instant::now();
        one(change);
        begun.elapsed().as_nanos() as u64
    };
    let mut times: Vec<u64> = changes.iter().map(timed).collect();
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// Rows that leave one shape and enter another, in no order.
fn changes_of(changes: usize, shapes: usize) -> Vec<Change> {
    let step = |n: usize| n.wrapping_mul(2_654_435_761) % shapes;
    let change = |n: usize| {
        let (old, new) = (Some(row(n, step(n))), Some(row(n, step(n + 7))));
        Change { seq: n as u64, op_position: 0, table: 1, old, new }
    };
    (0..changes).map(change).collect()
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
        "filter: changes with an old and a new row; candidates and matches are per change\n  {:<22}{:>9}{:>13}{:>12}{:>10}{:>9}{:>9}{:>12}{:>12}{:>14}",
        "template",
        "shapes",
        "changes/s",
        "candidates",
        "matches",
        "p50 ns",
        "p99 ns",
        "install ns",
        "remove ns",
        "index bytes"
    );
    let mut all = Vec::new();
    for template in TEMPLATES.iter().chain([&SUBQUERY]) {
        let fit = 2 * template.alike..=template.shapes_max;
        for &shapes in sizes.iter().filter(|shapes| fit.contains(shapes)) {
            let changes = if smoke || template.name.starts_with("no path") { 500 } else { 50_000 };
            let changes = (changes / template.alike).max(50);
            let one = match template.name == SUBQUERY.name {
                // Each is a transaction: fewer tell as much.
                true => subqueries::measure(shapes, changes / 10),
                false => measure(template, shapes, changes),
            };
            print(&one);
            all.push(one);
        }
    }
    let (users, memberships) = if smoke { (100, 10) } else { MEMBERSHIPS };
    let moves = subqueries::moves(users, memberships);
    print(&moves);
    all.push(moves);
    figures::write("filter", &json(&all));
    println!(
        "one worker against two, each with half of the shapes\n  {:<22}{:>9}{:>13}{:>13}{:>8}",
        "template", "shapes", "one, /s", "two, /s", "times"
    );
    let compared: Vec<workers::Compared> =
        sizes.iter().flat_map(|shapes| workers::compare(*shapes, smoke)).collect();
    for workers::Compared { name, shapes, one, two } in &compared {
        println!("  {name:<22}{shapes:>9}{one:>13.0}{two:>13.0}{:>8.2}", two / one);
    }
    let object = |one: &workers::Compared| {
        serde_json::json!({
            "template": one.name, "shapes": one.shapes, "one_per_second": one.one, "two_per_second": one.two,
        })
    };
    figures::write("workers", &compared.iter().map(object).collect());
}

fn print(one: &Measured) {
    let text = |figure: Option<f64>, places: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.places$}"))
    };
    println!(
        "  {:<22}{:>9}{:>13.0}{:>12}{:>10.2}{:>9}{:>9}{:>12.0}{:>12.0}{:>14}",
        one.name,
        one.shapes,
        one.changes_per_second,
        text(one.candidates, 2),
        one.matches,
        one.latency_nanos[0],
        one.latency_nanos[1],
        one.install_nanos,
        one.remove_nanos,
        text(one.index_bytes, 0)
    );
}

fn json(all: &[Measured]) -> serde_json::Value {
    let object = |one: &Measured| {
        serde_json::json!({
            "template": one.name,
            "shapes": one.shapes,
            "changes_per_second": one.changes_per_second,
            "candidates_per_change": one.candidates,
            "matches_per_change": one.matches,
            "latency_nanos": {"p50": one.latency_nanos[0], "p99": one.latency_nanos[1]},
            "install_nanos": one.install_nanos,
            "remove_nanos": one.remove_nanos,
            "index_bytes_per_shape": one.index_bytes,
        })
    };
    all.iter().map(object).collect()
}
