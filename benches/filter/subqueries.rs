//! The same of shapes with subqueries, which are found by the rows and sets that are kept in memory: every
//! user a shape, a member of one project; each change a transaction of its own.
//!
//! Installing is what a shape costs once the tables' rows are kept.
//!
//! Then what one membership costs that comes or goes, where every user has many and it brings a few issues.

use std::sync::Arc;
use std::time::Instant;

use brooklet_dataflows::members::{Counts, KeptName, Members, needs};
use brooklet_dataflows::{Change, Selection, ShapeId, ShapePlan};
use brooklet_sql::{Collation, Row, Tables, compile_with};

use super::templates::SUBQUERY;
use super::{Measured, changes_of, issues, latency, schema};

const MEMBERSHIPS: [(&str, u32); 2] = [("user_id", 23), ("project_id", 23)];

/// Shapes that are removed: enough to tell what one costs.
const REMOVED: usize = 200;

/// Projects that are joined and left, what each brings, and how often.
const PROJECTS: usize = 1_000;
const ISSUES_OF_A_PROJECT: usize = 10;
const MOVES: usize = 5_000;

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

/// A membership at a time, of a project with `ISSUES_OF_A_PROJECT` issues, comes and goes again.
pub fn moves(users: usize, each: usize) -> Measured {
    let plans = plans(users);
    // Old memberships are of projects of their own, which have no issues any more.
    let old = (0..users * each).map(|n| member(n / each, PROJECTS + n));
    let issues: Vec<Row> = (0..PROJECTS * ISSUES_OF_A_PROJECT)
        .map(|n| issues::row(n, n / ISSUES_OF_A_PROJECT))
        .collect();
    let old: Vec<Row> = old.collect();
    let mut members = Members::default();
    for (name, table) in needs(&plans[0]) {
        let rows = if table.oid == 1 { &issues } else { &old };
        members.keep(name.clone(), count(&name, rows.iter())).unwrap();
    }
    let begun = Instant::now();
    plans.iter().for_each(|plan| members.add(Arc::clone(plan)));
    let installed = begun.elapsed();
    let change = |n: usize| {
        let row = Some(member((n / 2).wrapping_mul(2_654_435_761) % users, n / 2 % PROJECTS));
        let (old, new) = if n.is_multiple_of(2) { (None, row) } else { (row, None) };
        Change { seq: n as u64, op_position: 0, table: 2, old, new }
    };
    let changes: Vec<Change> = (0..MOVES).map(change).collect();
    let mut matches = 0;
    let begun = Instant::now();
    let latency_nanos = latency(&changes, |change| {
        let news = members.transaction(std::slice::from_ref(change), change.op_position).unwrap();
        matches += news.iter().map(|news| news.own.len() + news.moved.len()).sum::<usize>();
    });
    let moved = begun.elapsed();
    assert_eq!(
        matches,
        MOVES * ISSUES_OF_A_PROJECT,
        "one user's shape gets or loses a project's issues"
    );
    let begun = Instant::now();
    plans.iter().take(REMOVED).for_each(|plan| assert!(members.remove(plan.id)));
    let removed = begun.elapsed();
    Measured {
        name: "membership move",
        shapes: users,
        changes_per_second: MOVES as f64 / moved.as_secs_f64(),
        candidates: None,
        matches: ISSUES_OF_A_PROJECT as f64,
        latency_nanos,
        install_nanos: installed.as_nanos() as f64 / users as f64,
        remove_nanos: removed.as_nanos() as f64 / REMOVED.min(users) as f64,
        index_bytes: None,
    }
}

fn member(user: usize, project: usize) -> Row {
    Row::new([Some(&*user.to_string()), Some(&*project.to_string())]).unwrap()
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
    (0..users).map(|k| member(k, k)).collect()
}

fn count<'a>(name: &KeptName, rows: impl Iterator<Item = &'a Row>) -> Counts {
    let mut counts = Counts::new(name);
    rows.for_each(|row| counts.add(&name.project(row).unwrap(), 1));
    counts
}
