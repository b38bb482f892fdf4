//! Which shapes a row may concern.
//!
//! *Enters*: shapes that come and go, old and new rows. *Leaves*: the shapes whose filter has to be asked.
//! *Invariant*: [`ShapeIndex::candidates`] may name too many shapes, never too few.
//!
//! A shape stands under one alternative of its filter's [`Access`]: the one that the fewest others
//! stand under then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_sql::{Access, Alternative, Relation, Row};

use crate::plan::{Selection, ShapeId, ShapePlan};
use crate::plans::Plans;
use elsewhere::Elsewhere;
use held::Roll;
use kinds::{Kind, Kinds};
use path::Path;
use shelves::{Readings, Shelves};
use timed::Timed;

pub(crate) use judge::Asked;
pub(crate) use kinds::{KindKey, kind_key};
pub(crate) use path::Otherwise;

mod buckets;
mod elsewhere;
mod exceptions;
mod held;
mod intervals;
mod judge;
mod kinds;
mod path;
mod shelf;
mod shelves;
mod taken;
mod texts;
mod timed;
pub mod view;

/// Every maintained shape, by table and access path.
#[derive(Default)]
pub struct ShapeIndex {
    tables: HashMap<u32, TableShapes>,
    readings: Readings,
    steps: u64,
    /// When the change began that is looked at, if it is timed.
    begun: Option<Instant>,
}

/// The shapes of one table.
#[derive(Default)]
struct TableShapes {
    /// All of them, by what they need of the table's definition.
    uses: hashbrown::HashMap<UseKey, Use>,
    /// Shapes whose filter has no access path: candidates for every row.
    every_row: Roll,
    shelves: Shelves,
    kinds: Kinds,
    /// Which shapes are not found as the first of their kind is.
    elsewhere: Elsewhere,
    /// Changes that were looked at.
    changes: u64,
    timed: Timed,
    /// Transactions, where shapes are asked by those.
    transactions: Timed,
}

/// Where a selection is in memory, and the columns that a filter reads; a [`Use`] keeps it there.
type UseKey = (usize, Box<[usize]>);

/// Shapes that a new definition ends together, whatever it is, so nobody else is looked at then: definitions are announced
/// again with every ANALYZE.
struct Use {
    selection: Arc<Selection>,
    plans: Plans,
}

impl ShapeIndex {
    /// Begins to maintain a shape.
    pub fn add(&mut self, plan: Arc<ShapePlan>) {
        let access = access(&plan);
        self.add_by(plan, &access, None);
    }

    /// The same for a shape that rows are to find by this `access`, or `otherwise`.
    pub(crate) fn add_by(
        &mut self,
        plan: Arc<ShapePlan>,
        access: &Access,
        otherwise: Option<&Otherwise<'_>>,
    ) {
        let table = self.tables.entry(plan.table().oid).or_default();
        table.add(plan, access, otherwise, &mut self.steps);
    }

    /// With how many others a shape of a table would be found by its access, roughly; `None` where that
    /// is none.
    pub(crate) fn crowd(&mut self, table: u32, access: &Access) -> Option<usize> {
        let list = match access {
            Access::Nothing => return Some(0),
            Access::All => return None,
            Access::Any(list) => list,
        };
        let Some(table) = self.tables.get(&table) else { return Some(0) };
        list.iter().map(|alternative| table.crowd(alternative, &mut self.steps)).min()
    }

    /// Counts how often somebody else asked shapes of this one's kind, and how often they were concerned.
    pub(crate) fn note(&mut self, plan: &ShapePlan, asked: &Asked) {
        let table = self.tables.get_mut(&plan.table().oid);
        if let Some(kind) = table.and_then(|table| table.kinds.get_mut(kind_key(plan))) {
            kind.note(asked);
        }
    }

    /// How long somebody else took for a transaction that concerns a table.
    pub(crate) fn note_transaction(&mut self, table: u32, time: Duration) {
        self.tables.get_mut(&table).into_iter().for_each(|table| table.transactions.add(time));
    }

    /// Forgets a shape, given by its plan or one with the same selection and form; `false` if it was not there.
    pub fn remove(&mut self, plan: &ShapePlan) -> bool {
        self.remove_by(plan, None)
    }

    /// The same for one that came by this access.
    pub(crate) fn remove_by(&mut self, plan: &ShapePlan, access: Option<&Access>) -> bool {
        let table = plan.table().oid;
        let Some(shapes) = self.tables.get_mut(&table) else { return false };
        self.steps += 1;
        let removed = shapes.remove(plan, access, &mut self.steps);
        if shapes.uses.is_empty() {
            self.tables.remove(&table);
        }
        removed
    }

    /// Fills `found` with the shapes that either row may concern, sorted, each once.
    pub fn candidates(
        &mut self,
        table: u32,
        rows: [Option<&Row>; 2],
        found: &mut Vec<Arc<ShapePlan>>,
    ) {
        found.clear();
        let Some(table) = self.tables.get_mut(&table) else { return };
        table.changes += 1;
        self.begun = Timed::begin(table.changes);
        found.extend(table.every_row.values().cloned());
        table.shelves.find(rows, &mut self.readings, found, &mut self.steps);
        self.steps += found.len() as u64;
        if !found.is_sorted_by(|one, other| one.id < other.id) {
            found.sort_unstable_by_key(|plan| plan.id);
            found.dedup_by_key(|plan| plan.id);
        }
    }

    /// How many entries have been looked at so far: what the index costs, for tests.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Forgets all shapes of a table; returns them, sorted. Those of other tables are not looked at.
    pub fn take_table(&mut self, table: u32) -> Vec<ShapeId> {
        let taken = self.tables.remove(&table);
        ids(taken.iter().flat_map(TableShapes::plans), &mut self.steps)
    }

    /// All shapes of a table, sorted.
    #[must_use]
    pub fn of_table(&mut self, table: u32) -> Vec<ShapeId> {
        let table = self.tables.get(&table);
        ids(table.into_iter().flat_map(TableShapes::plans), &mut self.steps)
    }

    /// The shapes of a table that mean something else under its new definition, sorted. Looks at what shapes need of it,
    /// and at those that end.
    #[must_use]
    pub fn outdated(&mut self, relation: &Relation) -> Vec<Arc<ShapePlan>> {
        let Some(table) = self.tables.get(&relation.oid) else { return Vec::new() };
        let ends = |((_, read), found): &(&UseKey, &Use)| {
            let difference = found.selection.table.difference(relation);
            !found.selection.survives(&difference, read)
        };
        let ended = table.uses.iter().filter(ends).flat_map(|(_, found)| found.plans.iter());
        let mut ended: Vec<Arc<ShapePlan>> = ended.cloned().collect();
        self.steps += (table.uses.len() + ended.len()) as u64;
        ended.sort_unstable_by_key(|plan| plan.id);
        ended
    }
}

/// Their numbers, sorted.
fn ids<'a>(plans: impl Iterator<Item = &'a Arc<ShapePlan>>, steps: &mut u64) -> Vec<ShapeId> {
    let mut ids: Vec<ShapeId> = plans.map(|plan| plan.id).collect();
    *steps += ids.len() as u64;
    ids.sort_unstable();
    ids
}

fn use_key(plan: &ShapePlan) -> UseKey {
    (Arc::as_ptr(&plan.selection).addr(), plan.read().into())
}

impl TableShapes {
    fn plans(&self) -> impl Iterator<Item = &Arc<ShapePlan>> {
        self.uses.values().flat_map(|found| found.plans.iter())
    }

    fn add(
        &mut self,
        plan: Arc<ShapePlan>,
        access: &Access,
        otherwise: Option<&Otherwise<'_>>,
        steps: &mut u64,
    ) {
        let chosen = match access {
            Access::Any(list) => self.least_crowded(list, steps),
            Access::Nothing | Access::All => None,
        };
        match (access, chosen) {
            (Access::Nothing, _) => {}
            (_, None) => drop(self.every_row.insert(plan.id, Arc::clone(&plan))),
            (_, Some(alternative)) => {
                for probe in &alternative.probes {
                    self.shelves.make(probe).insert(&probe.want, &plan, steps);
                }
            }
        }
        let path = Path { access, chosen, otherwise };
        let sign = path.sign();
        let key = kind_key(&plan);
        if self.kinds.get_mut(key).is_none() {
            self.kinds.insert(Kind::of(&plan, (sign, path.words(plan.table()))));
        }
        let Some(kind) = self.kinds.get_mut(key) else { return };
        kind.shapes += 1;
        if sign != kind.path.0 {
            let words = || path.words(plan.table());
            self.elsewhere.insert(key, plan.id, sign, words);
        }
        let none = || Use { selection: Arc::clone(&plan.selection), plans: Plans::default() };
        self.uses.entry(use_key(&plan)).or_insert_with(none).plans.insert(plan);
    }

    /// The alternative with which fewest others are found. Small crowds are as good as none: there the
    /// order is that of the alternatives.
    fn least_crowded<'a>(
        &self,
        list: &'a [Alternative],
        steps: &mut u64,
    ) -> Option<&'a Alternative> {
        let [first, _, ..] = list else { return list.first() };
        let mut best = (u32::MAX, first);
        for alternative in list {
            let weight = weight(self.crowd(alternative, steps));
            if weight < best.0 {
                best = (weight, alternative);
            }
        }
        Some(best.1)
    }

    fn crowd(&self, alternative: &Alternative, steps: &mut u64) -> usize {
        let mut crowd = 0_usize;
        for probe in &alternative.probes {
            *steps += 1;
            if let Some(shelf) = self.shelves.get(probe) {
                crowd = crowd.saturating_add(shelf.crowd(&probe.want, steps));
            }
        }
        crowd
    }

    fn remove(&mut self, plan: &ShapePlan, by: Option<&Access>, steps: &mut u64) -> bool {
        let (uses, shape) = (use_key(plan), plan.id);
        let Some(found) = self.uses.get_mut(&uses) else { return false };
        let Some(plan) = found.plans.remove(shape) else { return false };
        if found.plans.is_empty() {
            self.uses.remove(&uses);
        }
        let key = kind_key(&plan);
        self.elsewhere.remove(key, shape);
        if let Some(kind) = self.kinds.get_mut(key) {
            kind.shapes -= 1;
            if kind.shapes == 0 {
                self.kinds.remove(key);
            }
        }
        self.every_row.remove(&shape);
        if let Access::Any(list) = by.map_or_else(|| access(&plan), Access::clone) {
            // Which one was chosen is not remembered.
            for probe in list.iter().flat_map(|alternative| &alternative.probes) {
                self.shelves.take(probe, |shelf| shelf.remove(&probe.want, shape, steps));
            }
        }
        true
    }
}

/// How crowds are compared: small ones are alike.
pub(crate) fn weight(crowd: usize) -> u32 {
    (crowd / 16).checked_ilog2().map_or(0, |power| power + 1)
}

fn access(plan: &ShapePlan) -> Access {
    plan.predicate.as_ref().map_or(Access::All, |predicate| predicate.access())
}
