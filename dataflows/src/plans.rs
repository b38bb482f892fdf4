//! Plans by their shape's number, eight bytes each: there may be a million.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::hashing::Hashing;
use crate::pieces::Pieces;
use crate::plan::{ShapeId, ShapePlan};

/// A map from a plan's own number to it.
#[derive(Default)]
pub(crate) struct Plans {
    table: Pieces<Arc<ShapePlan>>,
    hasher: Hashing,
}

impl Plans {
    pub(crate) fn insert(&mut self, plan: Arc<ShapePlan>) {
        let hash = self.hasher.hash_one(plan.id);
        self.table.insert(hash, plan, |plan| self.hasher.hash_one(plan.id));
    }

    pub(crate) fn remove(&mut self, shape: ShapeId) -> Option<Arc<ShapePlan>> {
        let hash = self.hasher.hash_one(shape);
        self.table.remove(hash, |plan| plan.id == shape, |plan| self.hasher.hash_one(plan.id))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.table.iter()
    }
}
