//! Which shapes a row may concern.
//!
//! *Invariant*: [`ShapeIndex::candidates`] may name too many shapes, never too few.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brooklet_sql::{Access, Form, Relation, Row, RowKey, TableSchema, row_key};

use crate::buckets::Buckets;
use crate::plan::{Selection, ShapeId, ShapePlan};
use crate::plans::Plans;

/// Every maintained shape, by table and access path.
#[derive(Default)]
pub struct ShapeIndex {
    tables: HashMap<u32, TableShapes>,
}

/// The shapes of one table.
#[derive(Default)]
struct TableShapes {
    plans: Plans,
    /// Shapes whose filter has no access path: candidates for every row.
    every_row: BTreeMap<ShapeId, Arc<ShapePlan>>,
    paths: Vec<Path>,
    kinds: HashMap<KindKey, Kind>,
}

/// The shapes that compare the same columns with constants.
struct Path {
    columns: Box<[usize]>,
    /// Of any of its shapes: a place has the same column in all their schemas.
    schema: Arc<TableSchema>,
    by_key: Buckets,
}

/// Where a selection and a form are in memory; a [`Kind`] keeps them there.
type KindKey = (*const Selection, *const Form);

/// Shapes that differ in constants only.
struct Kind {
    selection: Arc<Selection>,
    form: Option<Arc<Form>>,
    shapes: usize,
}

impl ShapeIndex {
    /// Begins to maintain a shape.
    pub fn add(&mut self, plan: Arc<ShapePlan>) {
        self.tables.entry(plan.table().oid).or_default().add(plan);
    }

    /// Forgets a shape; `false` if it was not there.
    pub fn remove(&mut self, shape: ShapeId) -> bool {
        // Shapes are many, tables are few.
        let mut tables = self.tables.iter_mut();
        let Some(oid) = tables.find_map(|(oid, table)| table.remove(shape).then_some(*oid)) else {
            return false;
        };
        self.tables.retain(|table, shapes| *table != oid || !shapes.plans.is_empty());
        true
    }

    /// Fills `found` with the shapes that either row may concern, sorted, each once.
    pub fn candidates(&self, table: u32, rows: [Option<&Row>; 2], found: &mut Vec<Arc<ShapePlan>>) {
        found.clear();
        let Some(table) = self.tables.get(&table) else { return };
        found.extend(table.every_row.values().cloned());
        for path in &table.paths {
            for row in rows.into_iter().flatten() {
                path.lookup(row, found);
            }
        }
        found.sort_unstable_by_key(|plan| plan.id);
        found.dedup_by_key(|plan| plan.id);
    }

    /// All shapes of a table, sorted.
    #[must_use]
    pub fn of_table(&self, table: u32) -> Vec<ShapeId> {
        self.tables.get(&table).map_or_else(Vec::new, |table| table.plans.sorted(|_| true))
    }

    /// The shapes of a table that mean something else under its new definition, sorted. Looks at each
    /// kind of shapes, and at single shapes only if a kind ends.
    #[must_use]
    pub fn outdated(&self, relation: &Relation) -> Vec<ShapeId> {
        let Some(table) = self.tables.get(&relation.oid) else { return Vec::new() };
        let ends = |kind: &Kind| {
            let read = kind.form.as_ref().map_or(&[][..], |form| form.columns());
            let difference = kind.selection.table.difference(relation);
            !kind.selection.survives(&difference, read)
        };
        let kinds = table.kinds.iter();
        let ended: Vec<KindKey> =
            kinds.filter(|(_, kind)| ends(kind)).map(|(key, _)| *key).collect();
        if ended.is_empty() {
            return Vec::new();
        }
        table.plans.sorted(|plan| ended.contains(&kind_key(plan)))
    }
}

impl TableShapes {
    fn add(&mut self, plan: Arc<ShapePlan>) {
        match access(&plan) {
            Access::Nothing => {}
            Access::All => {
                self.every_row.insert(plan.id, Arc::clone(&plan));
            }
            Access::Equality(probes) => {
                for probe in probes {
                    self.path(&probe.columns, plan.table()).by_key.insert(&probe.key, &plan);
                }
            }
        }
        let kind = self.kinds.entry(kind_key(&plan)).or_insert_with(|| Kind {
            selection: Arc::clone(&plan.selection),
            form: plan.predicate.as_ref().map(|predicate| Arc::clone(predicate.form())),
            shapes: 0,
        });
        kind.shapes += 1;
        self.plans.insert(plan);
    }

    fn remove(&mut self, shape: ShapeId) -> bool {
        let Some(plan) = self.plans.remove(shape) else { return false };
        let key = kind_key(&plan);
        if let Some(kind) = self.kinds.get_mut(&key) {
            kind.shapes -= 1;
            if kind.shapes == 0 {
                self.kinds.remove(&key);
            }
        }
        self.every_row.remove(&shape);
        if let Access::Equality(probes) = access(&plan) {
            for probe in probes {
                self.path(&probe.columns, plan.table()).by_key.remove(&probe.key, shape);
            }
            self.paths.retain(|path| !path.by_key.is_empty());
        }
        true
    }

    fn path(&mut self, columns: &[usize], schema: &Arc<TableSchema>) -> &mut Path {
        let at = self.paths.iter().position(|path| *path.columns == *columns);
        let at = at.unwrap_or_else(|| {
            let (columns, schema) = (columns.into(), Arc::clone(schema));
            self.paths.push(Path { columns, schema, by_key: Buckets::default() });
            self.paths.len() - 1
        });
        &mut self.paths[at]
    }
}

impl Path {
    fn lookup(&self, row: &Row, found: &mut Vec<Arc<ShapePlan>>) {
        match row_key(&self.schema, &self.columns, row) {
            RowKey::Null => {}
            RowKey::Key(key) => found.extend(self.by_key.get(&key).iter().cloned()),
            RowKey::Unknown => found.extend(self.by_key.all().cloned()),
        }
    }
}

fn access(plan: &ShapePlan) -> Access {
    plan.predicate.as_ref().map_or(Access::All, |predicate| predicate.access())
}

fn kind_key(plan: &ShapePlan) -> KindKey {
    let form = plan.predicate.as_ref().map(|predicate| Arc::as_ptr(predicate.form()));
    (Arc::as_ptr(&plan.selection), form.unwrap_or(std::ptr::null()))
}
