//! Which shapes a row may concern.
//!
//! *Invariant*: [`ShapeIndex::candidates`] may name too many shapes, never too few.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brooklet_sql::{Access, Difference, Key, Probe, Relation, Row, RowKey, TableSchema, row_key};

use crate::plan::{ShapeId, ShapePlan};

/// Every maintained shape, by table and access path.
#[derive(Default)]
pub struct ShapeIndex {
    tables: HashMap<u32, TableShapes>,
    table_of: HashMap<ShapeId, u32>,
}

/// The shapes of one table.
#[derive(Default)]
struct TableShapes {
    plans: BTreeMap<ShapeId, Arc<ShapePlan>>,
    /// Shapes whose filter has no access path: candidates for every row.
    every_row: BTreeMap<ShapeId, Arc<ShapePlan>>,
    templates: Vec<Template>,
}

/// The shapes that compare the same columns with constants.
struct Template {
    columns: Vec<usize>,
    /// Of any of its shapes: a place has the same column in all their schemas.
    schema: Arc<TableSchema>,
    /// Buckets are sorted by shape, so that removal finds its entry without a scan.
    by_key: HashMap<Key, Vec<Arc<ShapePlan>>>,
}

impl ShapeIndex {
    /// Begins to maintain a shape.
    pub fn add(&mut self, plan: Arc<ShapePlan>) {
        self.table_of.insert(plan.id, plan.table.oid);
        self.tables.entry(plan.table.oid).or_default().add(plan);
    }

    /// Forgets a shape; `false` if it was not there.
    pub fn remove(&mut self, shape: ShapeId) -> bool {
        let Some(oid) = self.table_of.remove(&shape) else { return false };
        let Some(table) = self.tables.get_mut(&oid) else { return false };
        table.remove(shape);
        if table.plans.is_empty() {
            self.tables.remove(&oid);
        }
        true
    }

    /// Fills `found` with the shapes that either row may concern, sorted, each once.
    pub fn candidates(&self, table: u32, rows: [Option<&Row>; 2], found: &mut Vec<Arc<ShapePlan>>) {
        found.clear();
        let Some(table) = self.tables.get(&table) else { return };
        found.extend(table.every_row.values().cloned());
        for template in &table.templates {
            for row in rows.into_iter().flatten() {
                template.lookup(row, found);
            }
        }
        found.sort_unstable_by_key(|plan| plan.id);
        found.dedup_by_key(|plan| plan.id);
    }

    /// All shapes of a table, sorted.
    #[must_use]
    pub fn of_table(&self, table: u32) -> Vec<ShapeId> {
        self.tables
            .get(&table)
            .map(|table| table.plans.keys().copied().collect())
            .unwrap_or_default()
    }

    /// The shapes of a table that mean something else under its new definition, sorted.
    #[must_use]
    pub fn outdated(&self, relation: &Relation) -> Vec<ShapeId> {
        let Some(table) = self.tables.get(&relation.oid) else { return Vec::new() };
        // Shapes of one table share their schema: each shared one is compared once.
        let mut last: Option<(&Arc<TableSchema>, Difference)> = None;
        let mut ended = Vec::new();
        for plan in table.plans.values() {
            let difference = match &last {
                Some((schema, difference)) if Arc::ptr_eq(schema, &plan.table) => difference,
                _ => {
                    let difference = plan.table.difference(relation);
                    &last.insert((&plan.table, difference)).1
                }
            };
            if !plan.survives(difference) {
                ended.push(plan.id);
            }
        }
        ended
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
                    self.template(&probe.columns, &plan.table).insert(probe, &plan);
                }
            }
        }
        self.plans.insert(plan.id, plan);
    }

    fn remove(&mut self, shape: ShapeId) {
        let Some(plan) = self.plans.remove(&shape) else { return };
        self.every_row.remove(&shape);
        if let Access::Equality(probes) = access(&plan) {
            for probe in probes {
                self.template(&probe.columns, &plan.table).remove(probe, shape);
            }
            self.templates.retain(|template| !template.by_key.is_empty());
        }
    }

    fn template(&mut self, columns: &[usize], schema: &Arc<TableSchema>) -> &mut Template {
        let at = self.templates.iter().position(|template| template.columns == columns);
        let at = at.unwrap_or_else(|| {
            let (columns, schema) = (columns.to_vec(), Arc::clone(schema));
            self.templates.push(Template { columns, schema, by_key: HashMap::new() });
            self.templates.len() - 1
        });
        &mut self.templates[at]
    }
}

impl Template {
    fn insert(&mut self, probe: &Probe, plan: &Arc<ShapePlan>) {
        let bucket = self.by_key.entry(probe.key.clone()).or_default();
        if let Err(at) = bucket.binary_search_by_key(&plan.id, |plan| plan.id) {
            bucket.insert(at, Arc::clone(plan));
        }
    }

    fn remove(&mut self, probe: &Probe, shape: ShapeId) {
        let Some(bucket) = self.by_key.get_mut(&probe.key) else { return };
        if let Ok(at) = bucket.binary_search_by_key(&shape, |plan| plan.id) {
            bucket.remove(at);
        }
        if bucket.is_empty() {
            self.by_key.remove(&probe.key);
        }
    }

    fn lookup(&self, row: &Row, found: &mut Vec<Arc<ShapePlan>>) {
        match row_key(&self.schema, &self.columns, row) {
            RowKey::Null => {}
            RowKey::Key(key) => found.extend(self.by_key.get(&key).into_iter().flatten().cloned()),
            RowKey::Unknown => found.extend(self.by_key.values().flatten().cloned()),
        }
    }
}

fn access(plan: &ShapePlan) -> &Access {
    plan.predicate.as_ref().map_or(&Access::All, |predicate| predicate.access())
}
