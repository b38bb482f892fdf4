//! The same of shapes with subqueries, which are found by the rows and sets that are kept in memory: every
//! user a shape, a member of one project; each change a transaction of its own.
//!
//! Installing is what a shape costs once the tables' rows are kept.

use std::sync::Arc;
use std::time::Instant;

use brooklet_dataflows::members::{Counts, KeptName, Members, needs};
use brooklet_dataflows::{Selection, ShapeId, ShapePlan};
use brooklet_sql::{Collation, Row, Tables, compile_with};

use super::templates::SUBQUERY;
use super::{Measured, changes_of, issues, latency, schema};

const MEMBERSHIPS: [(&str, u32); 2] = [("user_id", 23), ("project_id", 23)];

/// Shapes that are removed: enough to tell what one costs.
const REMOVED: usize = 200;

pub fn measure(shapes: usize, changes: usize) -> Measured {
    let plans = plans(shapes);
    let changes = changes_of(changes, shapes);
    let before = changes.iter().filter_map(|change| change.old.as_ref());
    let mut members = Members::default();
    for (name, table) in needs(&plans[0]) {
        let counts = match table.oid {
            1 => count(&name, before.clone()),
            _ => count(&name, memberships(shapes).iter()),
        };
        members.keep(name, counts).unwrap();
    }
    let begun = Instant::now();
    plans.iter().for_each(|plan| members.add(Arc::clone(plan)));
    let installed = begun.elapsed();
    let mut matches = 0;
    let begun = Instant::now();
    // Each is looked at once: the state goes on with it. The clock takes little of what one takes.
    let latency_nanos = latency(&changes, |change| {
        let news = members.transaction(std::slice::from_ref(change), change.op_position).unwrap();
        matches += news.iter().map(|news| news.own.len() + news.moved.len()).sum::<usize>();
    });
    let matched = begun.elapsed();
    assert_eq!(matches, 2 * changes.len(), "a row leaves one shape and enters another");
    let begun = Instant::now();
    plans.iter().take(REMOVED).for_each(|plan| assert!(members.remove(plan.id)));
    let removed = begun.elapsed();
    Measured {
        name: SUBQUERY.name,
        shapes,
        changes_per_second: changes.len() as f64 / matched.as_secs_f64(),
        candidates: None,
        matches: matches as f64 / changes.len() as f64,
        latency_nanos,
        install_nanos: installed.as_nanos() as f64 / shapes as f64,
        remove_nanos: removed.as_nanos() as f64 / REMOVED.min(shapes) as f64,
        index_bytes: None,
    }
}

fn plans(shapes: usize) -> Vec<Arc<ShapePlan>> {
    let table = issues::table();
    let inner = schema::table(2, "memberships", &MEMBERSHIPS, Collation::c);
    let tables = [&table, &inner].map(|table| (table.name.clone(), Arc::clone(table)));
    let tables = Tables::from(tables);
    let (columns, key) = ([0, 1, 2, 3].into(), [0].into());
    let selection = Selection { table: Arc::clone(&table), columns, key, listed: false };
    let selection = Arc::new(selection);
    let make = |k: usize| {
        let predicate = compile_with(&(SUBQUERY.filter)(k), &[], &table, &tables).unwrap();
        let (selection, predicate) = (Arc::clone(&selection), Some(predicate));
        Arc::new(ShapePlan { id: ShapeId(k as u64), selection, predicate })
    };
    (0..shapes).map(make).collect()
}

fn memberships(users: usize) -> Vec<Row> {
    let row = |k: String| Row::new([Some(&*k), Some(&*k)]).unwrap();
    (0..users).map(|k| row(k.to_string())).collect()
}

fn count<'a>(name: &KeptName, rows: impl Iterator<Item = &'a Row>) -> Counts {
    let mut counts = Counts::new(name);
    rows.for_each(|row| counts.add(&name.project(row).unwrap(), 1));
    counts
}
