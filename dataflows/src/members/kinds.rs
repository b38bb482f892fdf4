//! Shapes that need the same rows of the same tables.
//!
//! *Invariant*: what is decided by tables and columns alone is the same for all shapes of a kind, so it is asked
//! once for each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_sql::Relation;

use super::{KeptName, needs};
use crate::plan::{ShapeId, ShapePlan};

/// Where the selection is in memory, and the tables, with the columns that are needed of them: a [`Kind`] keeps
/// them there.
type KindKey = (usize, Vec<(KeptName, usize)>);

struct Kind {
    /// One of them, or one that was.
    plan: Arc<ShapePlan>,
    shapes: BTreeSet<ShapeId>,
}

#[derive(Default)]
pub(super) struct Kinds(BTreeMap<KindKey, Kind>);

fn key(plan: &ShapePlan) -> KindKey {
    // What is read of a table under the same name is told apart by the table's definition.
    let mut needs: Vec<(KeptName, usize)> = needs::all(plan)
        .into_iter()
        .map(|(name, table)| (name, Arc::as_ptr(&table).addr()))
        .collect();
    needs.sort_unstable();
    needs.dedup();
    (Arc::as_ptr(&plan.selection).addr(), needs)
}

impl Kinds {
    pub(super) fn add(&mut self, plan: &Arc<ShapePlan>) {
        let kind = self.0.entry(key(plan));
        let kind = kind.or_insert_with(|| Kind { plan: Arc::clone(plan), shapes: BTreeSet::new() });
        kind.shapes.insert(plan.id);
    }

    pub(super) fn remove(&mut self, plan: &ShapePlan) {
        let key = key(plan);
        let Some(kind) = self.0.get_mut(&key) else { return };
        kind.shapes.remove(&plan.id);
        if kind.shapes.is_empty() {
            self.0.remove(&key);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The shapes that a table takes part in, sorted.
    pub(super) fn of_table(&self, table: u32) -> Vec<ShapeId> {
        self.all(|plan| needs::needs(plan).iter().any(|(name, _)| name.table == table))
    }

    /// The shapes that need some of these rows, sorted.
    pub(super) fn of_rows(&self, names: &[KeptName]) -> Vec<ShapeId> {
        self.all(|plan| needs::needs(plan).iter().any(|(name, _)| names.contains(name)))
    }

    /// The shapes that mean something else once a table has another definition, sorted.
    pub(super) fn outdated(&self, relation: &Relation) -> Vec<ShapeId> {
        self.all(|plan| needs::outdated(plan, relation))
    }

    fn all(&self, wanted: impl Fn(&ShapePlan) -> bool) -> Vec<ShapeId> {
        let kinds = self.0.values().filter(|kind| wanted(&kind.plan));
        let mut found: Vec<ShapeId> = kinds.flat_map(|kind| kind.shapes.iter().copied()).collect();
        found.sort_unstable();
        found
    }
}
