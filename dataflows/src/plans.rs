//! Plans by their shape's number, eight bytes each: there may be a million.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::hashing::Hashing;
use crate::plan::{ShapeId, ShapePlan};

/// A map from a plan's own number to it.
#[derive(Default)]
pub(crate) struct Plans {
    table: HashTable<Arc<ShapePlan>>,
    hasher: Hashing,
}

impl Plans {
    pub(crate) fn insert(&mut self, plan: Arc<ShapePlan>) {
        let hash = self.hasher.hash_one(plan.id);
        let rehash = |plan: &Arc<ShapePlan>| self.hasher.hash_one(plan.id);
        self.table.insert_unique(hash, plan, rehash);
    }

    pub(crate) fn remove(&mut self, shape: ShapeId) -> Option<Arc<ShapePlan>> {
        let hash = self.hasher.hash_one(shape);
        let entry = self.table.find_entry(hash, |plan| plan.id == shape).ok()?;
        Some(entry.remove().0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The numbers of those that are wanted, in order. Each plan that is looked at is a step.
    pub(crate) fn sorted(
        &self,
        steps: &mut u64,
        wanted: impl Fn(&ShapePlan) -> bool,
    ) -> Vec<ShapeId> {
        *steps += self.table.len() as u64;
        let found = self.table.iter().filter(|plan| wanted(plan));
        let mut found: Vec<ShapeId> = found.map(|plan| plan.id).collect();
        found.sort_unstable();
        found
    }
}
