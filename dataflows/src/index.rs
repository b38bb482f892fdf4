//! Which shapes a row may concern.
//!
//! *Invariant*: [`ShapeIndex::candidates`] may name too many shapes, never too few.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brooklet_sql::{Access, Key, Probe, Relation, Row, RowKey, TableSchema, row_key};

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
        let Some(schema) = table.schema() else { return };
        for template in &table.templates {
            for row in rows.into_iter().flatten() {
                template.lookup(schema, row, found);
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

    /// The shapes of a table whose schema rows under `relation` do not have, sorted.
    #[must_use]
    pub fn not_described(&self, relation: &Relation) -> Vec<ShapeId> {
        let Some(table) = self.tables.get(&relation.oid) else { return Vec::new() };
        // Shapes of one table share their schema: each shared one is compared once.
        let mut last: Option<(&Arc<TableSchema>, bool)> = None;
        let mut ended = Vec::new();
        for plan in table.plans.values() {
            let described = match last {
                Some((schema, described)) if Arc::ptr_eq(schema, &plan.table) => described,
                _ => plan.table.describes(relation),
            };
            last = Some((&plan.table, described));
            if !described {
                ended.push(plan.id);
            }
        }
        ended
    }
}

impl TableShapes {
    fn schema(&self) -> Option<&TableSchema> {
        self.plans.values().next_back().map(|plan| &*plan.table)
    }

    fn add(&mut self, plan: Arc<ShapePlan>) {
        match access(&plan) {
            Access::Nothing => {}
            Access::All => {
                self.every_row.insert(plan.id, Arc::clone(&plan));
            }
            Access::Equality(probes) => {
                for probe in probes {
                    self.template(&probe.columns).insert(probe, &plan);
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
                self.template(&probe.columns).remove(probe, shape);
            }
            self.templates.retain(|template| !template.by_key.is_empty());
        }
    }

    fn template(&mut self, columns: &[usize]) -> &mut Template {
        let at = self.templates.iter().position(|template| template.columns == columns);
        let at = at.unwrap_or_else(|| {
            self.templates.push(Template { columns: columns.to_vec(), by_key: HashMap::new() });
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

    fn lookup(&self, schema: &TableSchema, row: &Row, found: &mut Vec<Arc<ShapePlan>>) {
        match row_key(schema, &self.columns, row) {
            RowKey::Null => {}
            RowKey::Key(key) => found.extend(self.by_key.get(&key).into_iter().flatten().cloned()),
            RowKey::Unknown => found.extend(self.by_key.values().flatten().cloned()),
        }
    }
}

fn access(plan: &ShapePlan) -> &Access {
    plan.predicate.as_ref().map_or(&Access::All, |predicate| predicate.access())
}
