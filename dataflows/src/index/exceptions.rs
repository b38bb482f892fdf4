//! Plans that want any value but some.
//!
//! *Invariant*: a key finds every plan but those that except exactly it; so keys are kept, since a hash
//! would except too many.

use std::collections::HashMap;
use std::sync::Arc;

use super::held::{Held, Roll};
use crate::plan::{ShapeId, ShapePlan};

/// All of them, and who excepts what.
#[derive(Default)]
pub(crate) struct Exceptions {
    all: Roll,
    by_key: HashMap<Box<[u8]>, Held>,
}

impl Exceptions {
    pub(crate) fn insert<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
        plan: &Arc<ShapePlan>,
    ) {
        self.all.insert(plan.id, Arc::clone(plan));
        for key in keys {
            match self.by_key.get_mut(key) {
                Some(held) => held.insert(plan),
                None => drop(self.by_key.insert(key.into(), Held::new(plan))),
            }
        }
    }

    pub(crate) fn remove<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>, shape: ShapeId) {
        self.all.remove(&shape);
        for key in keys {
            if self.by_key.get_mut(key).is_some_and(|held| held.remove(shape)) {
                self.by_key.remove(key);
            }
        }
    }

    pub(crate) fn find(&self, key: Option<&[u8]>) -> impl Iterator<Item = &Arc<ShapePlan>> {
        let held = key.and_then(|key| self.by_key.get(key)).map_or(&[][..], Held::as_slice);
        let mut excepted = held.iter().peekable();
        // Both are sorted.
        self.all.values().filter(move |plan| {
            while excepted.next_if(|other| other.id < plan.id).is_some() {}
            excepted.peek().is_none_or(|other| other.id != plan.id)
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
