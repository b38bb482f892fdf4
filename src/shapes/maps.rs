//! The living shapes by what they are looked up by.
//!
//! There may be a million, so a map holds pointers only, eight bytes a shape; what it is asked by is
//! read from the shape itself.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use brooklet_dataflows::ShapeId;
use brooklet_sql::Predicate;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::definition::Definition;
use super::handle::Handle;
use super::shape::Shape;

/// All shapes, three times.
pub(super) struct Maps {
    by_question: HashTable<Arc<Shape>>,
    /// A shape has several handles once its log was folded.
    by_handle: HashTable<(Handle, Arc<Shape>)>,
    /// In pieces, see [`Maps::PIECES`].
    by_id: Vec<HashTable<Arc<Shape>>>,
    /// Those of them with subqueries, which are looked after apart.
    with_subqueries: BTreeMap<ShapeId, Arc<Shape>>,
    hasher: DefaultHashBuilder,
    last_micros: u64,
}

impl Default for Maps {
    fn default() -> Maps {
        Maps {
            by_question: HashTable::new(),
            by_handle: HashTable::new(),
            by_id: (0..Maps::PIECES).map(|_| HashTable::new()).collect(),
            with_subqueries: BTreeMap::new(),
            hasher: DefaultHashBuilder::default(),
            last_micros: 0,
        }
    }
}

/// What is asked: equal questions have equal answers.
pub(super) type Asked<'a> = (&'a Definition, Option<&'a Predicate>);

impl Maps {
    /// Who walks over all shapes takes a piece at a time, and lets others in between: 4,000 of a million, half a
    /// millisecond.
    pub(super) const PIECES: usize = 256;

    fn piece_of(id: ShapeId) -> usize {
        (id.0 % Maps::PIECES as u64) as usize
    }

    /// Room for so many more.
    pub(super) fn reserve(&mut self, shapes: usize) {
        let hasher = &self.hasher;
        self.by_question.reserve(shapes, |shape| hasher.hash_one(shape.asked_for()));
        self.by_handle.reserve(shapes, |(handle, _)| hasher.hash_one(handle));
        for piece in &mut self.by_id {
            piece.reserve(shapes / Maps::PIECES, |shape| hasher.hash_one(shape.id()));
        }
    }

    /// Takes the place of another shape of the same question.
    pub(super) fn insert(&mut self, shape: &Arc<Shape>) {
        let hasher = &self.hasher;
        let hash = |shape: &Arc<Shape>| hasher.hash_one(shape.asked_for());
        let same = |one: &Arc<Shape>| one.asked_for() == shape.asked_for();
        match self.by_question.find_mut(hash(shape), same) {
            Some(place) => *place = Arc::clone(shape),
            None => _ = self.by_question.insert_unique(hash(shape), Arc::clone(shape), hash),
        }
        let hash = |shape: &Arc<Shape>| hasher.hash_one(shape.id());
        let piece = &mut self.by_id[Maps::piece_of(shape.id())];
        piece.insert_unique(hash(shape), Arc::clone(shape), hash);
        if crate::members::concerns(&shape.plan) {
            self.with_subqueries.insert(shape.id(), Arc::clone(shape));
        }
        shape.handles().into_iter().for_each(|handle| self.add_handle(shape, handle));
    }

    /// One more handle stands for a shape; nothing if the shape is no longer there.
    pub(super) fn add_handle(&mut self, shape: &Arc<Shape>, handle: Handle) {
        if self.by_id(shape.id()).is_some() {
            let hash = |(handle, _): &(Handle, Arc<Shape>)| self.hasher.hash_one(handle);
            let entry = (handle, Arc::clone(shape));
            self.by_handle.insert_unique(hash(&entry), entry, hash);
        }
    }

    pub(super) fn remove(&mut self, id: ShapeId) {
        let piece = &mut self.by_id[Maps::piece_of(id)];
        let Ok(entry) = piece.find_entry(self.hasher.hash_one(id), |shape| shape.id() == id) else {
            return;
        };
        let (shape, _) = entry.remove();
        self.with_subqueries.remove(&id);
        let is_it = |one: &Arc<Shape>| one.id() == id;
        for handle in shape.handles() {
            self.forget_handle(handle);
        }
        let question = self.hasher.hash_one(shape.asked_for());
        if let Ok(entry) = self.by_question.find_entry(question, is_it) {
            entry.remove();
        }
    }

    pub(super) fn forget_handle(&mut self, handle: Handle) {
        let hash = self.hasher.hash_one(handle);
        if let Ok(entry) = self.by_handle.find_entry(hash, |(one, _)| *one == handle) {
            entry.remove();
        }
    }

    pub(super) fn by_question(&self, asked: Asked<'_>) -> Option<&Arc<Shape>> {
        self.by_question.find(self.hasher.hash_one(asked), |shape| shape.asked_for() == asked)
    }

    pub(super) fn by_handle(&self, handle: Handle) -> Option<&Arc<Shape>> {
        let found = self.by_handle.find(self.hasher.hash_one(handle), |(one, _)| *one == handle);
        found.map(|(_, shape)| shape)
    }

    pub(super) fn by_id(&self, id: ShapeId) -> Option<&Arc<Shape>> {
        let piece = &self.by_id[Maps::piece_of(id)];
        piece.find(self.hasher.hash_one(id), |shape| shape.id() == id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Shape>> {
        self.by_id.iter().flatten()
    }

    pub(super) fn piece(&self, number: usize) -> impl Iterator<Item = &Arc<Shape>> {
        self.by_id.get(number).into_iter().flatten()
    }

    pub(super) fn with_subqueries(&self) -> impl Iterator<Item = &Arc<Shape>> {
        self.with_subqueries.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.iter().map(HashTable::len).sum()
    }

    /// Empties all maps; returns what was there.
    pub(super) fn clear(&mut self) -> Vec<Arc<Shape>> {
        self.by_question.clear();
        self.by_handle.clear();
        self.with_subqueries.clear();
        self.by_id.iter_mut().flat_map(HashTable::drain).collect()
    }

    /// A handle, each time another one.
    pub(super) fn new_handle(&mut self, asked: Asked<'_>) -> Handle {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.last_micros = u64::try_from(now).unwrap_or(u64::MAX).max(self.last_micros + 1);
        let mut question = crc32fast::Hasher::new();
        asked.hash(&mut question);
        Handle::new((question.finish() as u32) >> 5, self.last_micros)
    }
}
