//! Shapes that differ in constants only, counted together.
//!
//! *Enters*: shapes that come and go, and how often each was asked. *Leaves*: what they have in common.
//! *Invariant*: a kind is there as long as a shape of it is. There may be a kind for each shape, where filters have
//! constants in ranges or lists.

use std::hash::BuildHasher;
use std::sync::Arc;

use brooklet_sql::Form;

use super::judge::Asked;
use super::timed::Timed;
use crate::hashing::Hashing;
use crate::pieces::Pieces;
use crate::plan::{Selection, ShapePlan};

/// Where a selection and a form are in memory; a [`Kind`] keeps them there.
pub(crate) type KindKey = (usize, usize);

/// Shapes that differ in constants only.
pub(super) struct Kind {
    pub(super) selection: Arc<Selection>,
    pub(super) form: Option<Arc<Form>>,
    pub(super) shapes: usize,
    /// The path of the first of them: its sign, and in words.
    pub(super) path: (u64, Box<str>),
    pub(super) candidates: u64,
    pub(super) matches: u64,
    /// The time that it took to ask one.
    pub(super) timed: Timed,
}

/// The kinds of a table.
#[derive(Default)]
pub(super) struct Kinds {
    table: Pieces<Kind>,
    hasher: Hashing,
}

impl Kind {
    /// One without shapes.
    pub(super) fn of(plan: &ShapePlan, path: (u64, Box<str>)) -> Kind {
        Kind {
            selection: Arc::clone(&plan.selection),
            form: plan.predicate.as_ref().map(|predicate| Arc::clone(predicate.form())),
            shapes: 0,
            path,
            candidates: 0,
            matches: 0,
            timed: Timed::default(),
        }
    }

    pub(super) fn note(&mut self, asked: &Asked) {
        self.candidates += asked.candidates;
        self.matches += asked.matches;
        self.timed.merge(asked.timed);
    }

    pub(super) fn key(&self) -> KindKey {
        let form = self.form.as_ref().map(|form| Arc::as_ptr(form).addr());
        (Arc::as_ptr(&self.selection).addr(), form.unwrap_or_default())
    }
}

pub(crate) fn kind_key(plan: &ShapePlan) -> KindKey {
    let form = plan.predicate.as_ref().map(|predicate| Arc::as_ptr(predicate.form()).addr());
    (Arc::as_ptr(&plan.selection).addr(), form.unwrap_or_default())
}

impl Kinds {
    pub(super) fn get_mut(&mut self, key: KindKey) -> Option<&mut Kind> {
        let hash = self.hasher.hash_one(key);
        self.table.find_mut(hash, |kind| kind.key() == key)
    }

    pub(super) fn insert(&mut self, kind: Kind) {
        let hash = self.hasher.hash_one(kind.key());
        self.table.insert(hash, kind, |kind| self.hasher.hash_one(kind.key()));
    }

    pub(super) fn remove(&mut self, key: KindKey) {
        let hash = self.hasher.hash_one(key);
        let hashed = |kind: &Kind| self.hasher.hash_one(kind.key());
        self.table.remove(hash, |kind| kind.key() == key, hashed);
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.table.iter()
    }
}
