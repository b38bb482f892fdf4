//! Plans by the key that a row must have.
//!
//! *Invariant*: a key finds every plan that was inserted under it. It may find others, whose keys
//! have the same 64-bit hash: a predicate is asked in any case, so keys need not be kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::held::Held;
use crate::hashing::Hashing;
use crate::plan::{ShapeId, ShapePlan};

/// A map from keys to plans, 24 bytes for a plan with a key of its own.
#[derive(Default)]
pub(crate) struct Buckets {
    table: HashTable<Bucket>,
    hasher: Hashing,
}

struct Bucket {
    hash: u64,
    plans: Held,
}

impl Buckets {
    pub(crate) fn insert(&mut self, key: &[u8], plan: &Arc<ShapePlan>) {
        let hash = self.hasher.hash_one(key);
        if let Some(bucket) = self.table.find_mut(hash, |bucket| bucket.hash == hash) {
            return bucket.plans.insert(plan);
        }
        let bucket = Bucket { hash, plans: Held::new(plan) };
        self.table.insert_unique(hash, bucket, |bucket| bucket.hash);
    }

    pub(crate) fn remove(&mut self, key: &[u8], shape: ShapeId) {
        let hash = self.hasher.hash_one(key);
        let Ok(mut bucket) = self.table.find_entry(hash, |bucket| bucket.hash == hash) else {
            return;
        };
        if bucket.get_mut().plans.remove(shape) {
            bucket.remove();
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> &[Arc<ShapePlan>] {
        let hash = self.hasher.hash_one(key);
        let bucket = self.table.find(hash, |bucket| bucket.hash == hash);
        bucket.map_or(&[], |bucket| bucket.plans.as_slice())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.table.iter().flat_map(|bucket| bucket.plans.as_slice())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
