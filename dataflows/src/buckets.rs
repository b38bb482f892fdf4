//! Plans by the key that a row must have.
//!
//! *Invariant*: a key finds every plan that was inserted under it. It may find others, whose keys
//! have the same 64-bit hash: a predicate is asked in any case, so keys need not be kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use brooklet_sql::Key;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::plan::{ShapeId, ShapePlan};

/// A map from keys to plans, 24 bytes for a plan with a key of its own.
#[derive(Default)]
pub(crate) struct Buckets {
    table: HashTable<Bucket>,
    hasher: DefaultHashBuilder,
}

struct Bucket {
    hash: u64,
    plans: Held,
}

/// The plans of a bucket, sorted by shape, so that removal finds its entry without a scan.
enum Held {
    One(Arc<ShapePlan>),
    Many(Box<Sorted>),
}

struct Sorted(Vec<Arc<ShapePlan>>);

impl Buckets {
    pub(crate) fn insert(&mut self, key: &Key, plan: &Arc<ShapePlan>) {
        let hash = self.hasher.hash_one(key.as_bytes());
        if let Some(bucket) = self.table.find_mut(hash, |bucket| bucket.hash == hash) {
            return bucket.plans.insert(plan);
        }
        let bucket = Bucket { hash, plans: Held::One(Arc::clone(plan)) };
        self.table.insert_unique(hash, bucket, |bucket| bucket.hash);
    }

    pub(crate) fn remove(&mut self, key: &Key, shape: ShapeId) {
        let hash = self.hasher.hash_one(key.as_bytes());
        let Ok(mut bucket) = self.table.find_entry(hash, |bucket| bucket.hash == hash) else {
            return;
        };
        if bucket.get_mut().plans.remove(shape) {
            bucket.remove();
        }
    }

    pub(crate) fn get(&self, key: &Key) -> &[Arc<ShapePlan>] {
        let hash = self.hasher.hash_one(key.as_bytes());
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

impl Held {
    fn as_slice(&self) -> &[Arc<ShapePlan>] {
        match self {
            Held::One(plan) => std::slice::from_ref(plan),
            Held::Many(plans) => &plans.0,
        }
    }

    fn insert(&mut self, plan: &Arc<ShapePlan>) {
        if let Held::One(one) = self {
            *self = Held::Many(Box::new(Sorted(vec![Arc::clone(one)])));
        }
        if let Held::Many(plans) = self
            && let Err(at) = plans.0.binary_search_by_key(&plan.id, |plan| plan.id)
        {
            plans.0.insert(at, Arc::clone(plan));
        }
    }

    /// Says whether nothing is left.
    fn remove(&mut self, shape: ShapeId) -> bool {
        match self {
            Held::One(plan) => plan.id == shape,
            Held::Many(plans) => {
                if let Ok(at) = plans.0.binary_search_by_key(&shape, |plan| plan.id) {
                    plans.0.remove(at);
                }
                plans.0.is_empty()
            }
        }
    }
}
