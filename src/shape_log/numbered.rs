//! Logs by their shape's number, eight bytes each: there may be a million.

use std::hash::BuildHasher;
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use hashbrown::DefaultHashBuilder;

use super::log::ShapeLog;
use brooklet_dataflows::pieces::Pieces;

/// A map from a log's own number to it.
#[derive(Default)]
pub(super) struct Numbered {
    pieces: Pieces<Arc<ShapeLog>>,
    hasher: DefaultHashBuilder,
}

impl Numbered {
    /// Takes the place of another one of this number.
    pub fn insert(&mut self, log: &Arc<ShapeLog>) {
        let hash = |log: &Arc<ShapeLog>| self.hasher.hash_one(log.shape());
        let same = |one: &Arc<ShapeLog>| one.shape() == log.shape();
        match self.pieces.find_mut(hash(log), same) {
            Some(place) => *place = Arc::clone(log),
            None => _ = self.pieces.insert(hash(log), Arc::clone(log), hash),
        }
    }

    pub fn get(&self, shape: ShapeId) -> Option<&Arc<ShapeLog>> {
        self.pieces.find(self.hasher.hash_one(shape), |log| log.shape() == shape)
    }

    pub fn remove(&mut self, shape: ShapeId) -> Option<Arc<ShapeLog>> {
        let hash = |log: &Arc<ShapeLog>| self.hasher.hash_one(log.shape());
        self.pieces.remove(self.hasher.hash_one(shape), |log| log.shape() == shape, hash)
    }

    /// Those of a piece, see [`Pieces`].
    pub fn piece(&self, number: usize) -> Option<Vec<Arc<ShapeLog>>> {
        Some(self.pieces.piece(number)?.cloned().collect())
    }
}
