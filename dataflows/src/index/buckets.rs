//! Plans by the key that a row must have.
//!
//! *Invariant*: a key finds every plan that was inserted under it. It may find others, whose keys
//! have the same 64-bit hash: a predicate is asked in any case, so keys need not be kept.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::held::Held;
use crate::hashing::Hashing;
use crate::pieces::Pieces;
use crate::plan::{ShapeId, ShapePlan};

/// A map from keys to plans, 16 bytes for a plan with a key of its own.
#[derive(Default)]
pub(crate) struct Buckets {
    table: Pieces<Bucket>,
    crowds: Pieces<Crowd>,
    hasher: Hashing,
}

/// A key that somebody has.
struct Bucket {
    hash: u64,
    /// `None` where several have it: there is a crowd.
    plan: Option<Arc<ShapePlan>>,
}

/// A key that several have, or had.
struct Crowd {
    hash: u64,
    plans: Held,
}

impl Buckets {
    pub(crate) fn insert(&mut self, key: &[u8], plan: &Arc<ShapePlan>) {
        let hash = self.hasher.hash_one(key);
        let Some(bucket) = self.table.find_mut(hash, |bucket| bucket.hash == hash) else {
            let bucket = Bucket { hash, plan: Some(Arc::clone(plan)) };
            self.table.insert(hash, bucket, |bucket| bucket.hash);
            return;
        };
        if let Some(one) = bucket.plan.take_if(|one| one.id != plan.id) {
            let crowd = Crowd { hash, plans: Held::new(&one) };
            self.crowds.insert(hash, crowd, |crowd| crowd.hash);
        }
        if let Some(crowd) = self.crowds.find_mut(hash, |crowd| crowd.hash == hash) {
            crowd.plans.insert(plan);
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8], shape: ShapeId) {
        let hash = self.hasher.hash_one(key);
        let Some(bucket) = self.table.find(hash, |bucket| bucket.hash == hash) else { return };
        let nothing_is_left = match &bucket.plan {
            Some(plan) => plan.id == shape,
            None => self.leave_crowd(hash, shape),
        };
        if nothing_is_left {
            self.table.remove(hash, |bucket| bucket.hash == hash, |bucket| bucket.hash);
        }
    }

    /// Whether there is no crowd any more.
    fn leave_crowd(&mut self, hash: u64, shape: ShapeId) -> bool {
        let Some(crowd) = self.crowds.find_mut(hash, |crowd| crowd.hash == hash) else {
            return true;
        };
        let last = crowd.plans.remove(shape);
        if last {
            self.crowds.remove(hash, |crowd| crowd.hash == hash, |crowd| crowd.hash);
        }
        last
    }

    pub(crate) fn get(&self, key: &[u8]) -> &[Arc<ShapePlan>] {
        let hash = self.hasher.hash_one(key);
        let Some(bucket) = self.table.find(hash, |bucket| bucket.hash == hash) else { return &[] };
        match &bucket.plan {
            Some(plan) => std::slice::from_ref(plan),
            None => {
                let crowd = self.crowds.find(hash, |crowd| crowd.hash == hash);
                crowd.map_or(&[], |crowd| crowd.plans.as_slice())
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        let single = self.table.iter().filter_map(|bucket| bucket.plan.as_ref());
        single.chain(self.crowds.iter().flat_map(|crowd| crowd.plans.as_slice()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
