//! The living shapes by what they are looked up by.
//!
//! There may be a million, so a map holds pointers only, eight bytes a shape; what it is asked by is
//! read from the shape itself. *Invariant*: to put one in or take one out costs the same among a million as among a
//! few; so does finding those of one table, one after a number, and those that are being made.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use brooklet_dataflows::ShapeId;
use brooklet_dataflows::pieces::Pieces;
use brooklet_sql::Predicate;
use hashbrown::DefaultHashBuilder;

use super::definition::Definition;
use super::handle::Handle;
use super::shape::Shape;
use super::sorted::{Keyed, Sorted};

/// All shapes, three times.
#[derive(Default)]
pub(super) struct Maps<S = DefaultHashBuilder> {
    /// By table first: so the shapes of a table are found without the others, for nothing.
    by_question: HashMap<u32, Pieces<Arc<Shape>>>,
    /// A shape has several handles once its log was folded.
    by_handle: Pieces<(Handle, Arc<Shape>)>,
    by_id: Sorted<Arc<Shape>>,
    /// Those of them with subqueries, which are looked after apart.
    with_subqueries: BTreeMap<ShapeId, Arc<Shape>>,
    /// Those that were not complete when they came: few at a time.
    making: BTreeMap<ShapeId, Arc<Shape>>,
    hasher: S,
    last_micros: u64,
    /// Shapes that were looked at one by one so far: what all this costs, for tests.
    steps: u64,
}

impl Keyed for Arc<Shape> {
    type Key = ShapeId;

    fn key(&self) -> ShapeId {
        self.id()
    }
}

/// What is asked: equal questions have equal answers.
pub(super) type Asked<'a> = (&'a Definition, Option<&'a Predicate>);

/// Who walks over all shapes takes so many at a time, and lets others in between: half a millisecond.
pub(super) const WALKED_AT_ONCE: usize = 4096;

impl<S: BuildHasher> Maps<S> {
    /// Takes the place of another shape of the same question.
    pub(super) fn insert(&mut self, shape: &Arc<Shape>) {
        if self.by_id(shape.id()).is_some() {
            return;
        }
        self.by_id.insert(Arc::clone(shape));
        let hasher = &self.hasher;
        let hash = |shape: &Arc<Shape>| hasher.hash_one(shape.asked_for());
        let same = |one: &Arc<Shape>| one.asked_for() == shape.asked_for();
        let of_table = self.by_question.entry(shape.table().oid).or_default();
        match of_table.find_mut(hash(shape), same) {
            Some(place) => *place = Arc::clone(shape),
            None => self.steps += of_table.insert(hash(shape), Arc::clone(shape), hash) as u64,
        }
        if crate::members::concerns(&shape.plan) {
            self.with_subqueries.insert(shape.id(), Arc::clone(shape));
        }
        if !shape.is_complete() {
            self.making.insert(shape.id(), Arc::clone(shape));
        }
        shape.handles().into_iter().for_each(|handle| self.add_handle(shape, handle));
        self.steps += 1;
    }

    /// One more handle stands for a shape; nothing if the shape is no longer there.
    pub(super) fn add_handle(&mut self, shape: &Arc<Shape>, handle: Handle) {
        if self.by_id(shape.id()).is_some() && self.by_handle(handle).is_none() {
            let hash = |(handle, _): &(Handle, Arc<Shape>)| self.hasher.hash_one(handle);
            let entry = (handle, Arc::clone(shape));
            self.steps += self.by_handle.insert(hash(&entry), entry, hash) as u64;
        }
    }

    /// Returns the shape if it was there.
    pub(super) fn remove(&mut self, id: ShapeId) -> Option<Arc<Shape>> {
        let shape = self.by_id.remove(id)?;
        self.steps += 1;
        self.with_subqueries.remove(&id);
        self.making.remove(&id);
        for handle in shape.handles() {
            self.forget_handle(handle);
        }
        let hash = |shape: &Arc<Shape>| self.hasher.hash_one(shape.asked_for());
        let table = shape.table().oid;
        if let Some(of_table) = self.by_question.get_mut(&table) {
            of_table.remove(hash(&shape), |one| one.id() == id, hash);
            if of_table.is_empty() {
                self.by_question.remove(&table);
            }
        }
        Some(shape)
    }

    pub(super) fn forget_handle(&mut self, handle: Handle) {
        let hash = |(handle, _): &(Handle, Arc<Shape>)| self.hasher.hash_one(handle);
        self.by_handle.remove(self.hasher.hash_one(handle), |(one, _)| *one == handle, hash);
    }

    pub(super) fn by_question(&self, asked: Asked<'_>) -> Option<&Arc<Shape>> {
        let of_table = self.by_question.get(&asked.0.table)?;
        of_table.find(self.hasher.hash_one(asked), |shape| shape.asked_for() == asked)
    }

    pub(super) fn by_handle(&self, handle: Handle) -> Option<&Arc<Shape>> {
        let found = self.by_handle.find(self.hasher.hash_one(handle), |(one, _)| *one == handle);
        found.map(|(_, shape)| shape)
    }

    pub(super) fn by_id(&self, id: ShapeId) -> Option<&Arc<Shape>> {
        self.by_id.get(id)
    }

    /// A piece of a table's shapes, see [`Pieces`]; `None` behind the last one. One that has ended is not among them
    /// where another one has its place.
    pub(super) fn of_table(&mut self, table: u32, piece: usize) -> Option<Vec<Arc<Shape>>> {
        let shapes: Vec<_> = self.by_question.get(&table)?.piece(piece)?.cloned().collect();
        self.steps += shapes.len() as u64;
        Some(shapes)
    }

    /// Those with a higher number than this, in order, so many at most.
    pub(super) fn after(&mut self, id: Option<ShapeId>, most: usize) -> Vec<Arc<Shape>> {
        let shapes: Vec<_> = self.by_id.after(id).take(most).cloned().collect();
        self.steps += shapes.len() as u64;
        shapes
    }

    /// Those that are not complete.
    pub(super) fn making(&mut self) -> impl Iterator<Item = &Arc<Shape>> {
        self.steps += self.making.len() as u64;
        self.making.retain(|_, shape| !shape.is_complete());
        self.making.values()
    }

    /// It is no longer being made.
    pub(super) fn made(&mut self, id: ShapeId) {
        self.making.remove(&id);
    }

    /// As [`Maps::after`], of those with subqueries.
    pub(super) fn with_subqueries(&mut self, id: Option<ShapeId>, most: usize) -> Vec<Arc<Shape>> {
        let after = id.map_or(Bound::Unbounded, Bound::Excluded);
        let shapes = self.with_subqueries.range((after, Bound::Unbounded)).take(most);
        let shapes: Vec<_> = shapes.map(|(_, shape)| Arc::clone(shape)).collect();
        self.steps += shapes.len() as u64;
        shapes
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// See the field.
    pub(super) fn note_steps(&mut self, steps: usize) {
        self.steps += steps as u64;
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// A handle, each time another one.
    pub(super) fn new_handle(&mut self, asked: Asked<'_>) -> Handle {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.last_micros = u64::try_from(now).unwrap_or(u64::MAX).max(self.last_micros + 1);
        let mut question = crc32fast::Hasher::new();
        asked.hash(&mut question);
        Handle::new(((question.finish() as u32) >> 5).max(1), self.last_micros)
    }
}

impl<S: BuildHasher + Default> Maps<S> {
    /// Empties all maps at once, however many shapes there are; returns what was there.
    pub(super) fn clear(&mut self) -> Maps<S> {
        let last_micros = self.last_micros;
        std::mem::replace(self, Maps { last_micros, ..Maps::default() })
    }
}

#[cfg(test)]
pub(super) mod tests;
