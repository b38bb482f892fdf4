//! Logs by their shape's number, eight bytes each: there may be a million.

use std::hash::BuildHasher;
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::log::ShapeLog;

/// A map from a log's own number to it.
#[derive(Default)]
pub(super) struct Numbered {
    table: HashTable<Arc<ShapeLog>>,
    hasher: DefaultHashBuilder,
}

impl Numbered {
    /// Takes the place of another one of this number.
    pub fn insert(&mut self, log: &Arc<ShapeLog>) {
        let hash = |log: &Arc<ShapeLog>| self.hasher.hash_one(log.shape());
        let same = |one: &Arc<ShapeLog>| one.shape() == log.shape();
        match self.table.find_mut(hash(log), same) {
            Some(place) => *place = Arc::clone(log),
            None => _ = self.table.insert_unique(hash(log), Arc::clone(log), hash),
        }
    }

    pub fn get(&self, shape: ShapeId) -> Option<&Arc<ShapeLog>> {
        self.table.find(self.hasher.hash_one(shape), |log| log.shape() == shape)
    }

    pub fn remove(&mut self, shape: ShapeId) -> Option<Arc<ShapeLog>> {
        let hash = self.hasher.hash_one(shape);
        let entry = self.table.find_entry(hash, |log| log.shape() == shape).ok()?;
        Some(entry.remove().0)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<ShapeLog>> {
        self.table.iter()
    }
}
