//! Plans that are found together.
//!
//! *Invariant*: sorted by shape, so that one that goes is found without a scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{ShapeId, ShapePlan};

/// Plans that are found for many rows; none costs a scan to forget.
pub(crate) type Roll = BTreeMap<ShapeId, Arc<ShapePlan>>;

/// One plan, mostly; 16 bytes.
pub(crate) enum Held {
    One(Arc<ShapePlan>),
    Many(Box<Sorted>),
}

pub(crate) struct Sorted(Vec<Arc<ShapePlan>>);

impl Held {
    pub(crate) fn new(plan: &Arc<ShapePlan>) -> Held {
        Held::One(Arc::clone(plan))
    }

    pub(crate) fn as_slice(&self) -> &[Arc<ShapePlan>] {
        match self {
            Held::One(plan) => std::slice::from_ref(plan),
            Held::Many(plans) => &plans.0,
        }
    }

    pub(crate) fn insert(&mut self, plan: &Arc<ShapePlan>) {
        if let Held::One(one) = self {
            if one.id == plan.id {
                return;
            }
            *self = Held::Many(Box::new(Sorted(vec![Arc::clone(one)])));
        }
        if let Held::Many(plans) = self
            && let Err(at) = plans.0.binary_search_by_key(&plan.id, |plan| plan.id)
        {
            plans.0.insert(at, Arc::clone(plan));
        }
    }

    /// Says whether nothing is left.
    pub(crate) fn remove(&mut self, shape: ShapeId) -> bool {
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
