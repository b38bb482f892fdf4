//! Which plans that stand together a row has found already.
//!
//! *Invariant*: lasts no longer than one look-up, while which nothing moves: where plans stand tells them from
//! others. A text of a million equal pieces takes the plans of a piece once, not a million times.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::plan::ShapePlan;

/// Most rows find fewer, and a scan of these needs no memory.
const FEW: usize = 8;

/// Where plans stand that were taken.
pub(crate) struct Taken {
    few: [usize; FEW],
    count: usize,
    more: Option<HashSet<usize>>,
}

impl Taken {
    pub(crate) fn new() -> Taken {
        Taken { few: [0; FEW], count: 0, more: None }
    }

    /// Adds plans that stand together, unless they were taken before.
    #[inline]
    pub(crate) fn take(&mut self, plans: &[Arc<ShapePlan>], found: &mut Vec<Arc<ShapePlan>>) {
        if !plans.is_empty() && self.is_new(plans.as_ptr().addr()) {
            found.extend_from_slice(plans);
        }
    }

    fn is_new(&mut self, place: usize) -> bool {
        if self.few[..self.count].contains(&place) {
            return false;
        }
        if let Some(slot) = self.few.get_mut(self.count) {
            *slot = place;
            self.count += 1;
            return true;
        }
        self.more.get_or_insert_default().insert(place)
    }
}
