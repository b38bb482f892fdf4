//! Everything that is looked up by one thing that rows have.
//!
//! *Enters*: probes of plans that come and go, rows. *Leaves*: plans.
//! *Invariant*: a row finds every plan one of whose probes it fits. A row is read once, however many
//! plans there are.

use std::sync::Arc;

use brooklet_sql::{Found, Key, Reading, Row, Source, Want};

use super::buckets::Buckets;
use super::exceptions::Exceptions;
use super::held::Roll;
use super::intervals::{Edge, Intervals, Wide, narrow};
use super::taken::Taken;
use super::texts::{Fragments, Prefixes};
use crate::plan::{ShapeId, ShapePlan};
use crate::verdict::note_error;

/// Plans that would be found with another are counted no further than this: whoever is in such a crowd
/// looks for another path.
const CROWD_MAX: usize = 4_096;

/// The plans that ask about one source.
pub(crate) struct Shelf {
    source: Source,
    equal: Buckets,
    ranges: Ranges,
    prefixes: Prefixes,
    fragments: Fragments,
    within: Within,
    exceptions: Exceptions,
    null: Roll,
    not_null: Roll,
}

enum Ranges {
    Narrow(Intervals<u64>),
    Wide(Intervals<Wide>),
}

/// Plans that want all elements among some. The first element finds them; no elements find all.
#[derive(Default)]
struct Within {
    by_element: Buckets,
    all: Roll,
}

impl Shelf {
    pub(crate) fn new(source: Source) -> Shelf {
        let ranges = match source.is_narrow() {
            true => Ranges::Narrow(Intervals::default()),
            false => Ranges::Wide(Intervals::default()),
        };
        Shelf {
            source,
            equal: Buckets::default(),
            ranges,
            prefixes: Prefixes::default(),
            fragments: Fragments::default(),
            within: Within::default(),
            exceptions: Exceptions::default(),
            null: Roll::new(),
            not_null: Roll::new(),
        }
    }

    pub(crate) fn insert(&mut self, want: &Want, plan: &Arc<ShapePlan>, steps: &mut u64) {
        *steps += 1;
        match want {
            Want::Equal(key) => self.equal.insert(key.as_bytes(), plan),
            Want::Between(low, high) => match &mut self.ranges {
                Ranges::Narrow(ranges) => {
                    let (low, high) = edges(low, high);
                    ranges.insert(low, high, plan, steps);
                }
                Ranges::Wide(ranges) => {
                    let (low, high) = edges(low, high);
                    ranges.insert(low, high, plan, steps);
                }
            },
            Want::Prefix(text) => self.prefixes.insert(text.as_bytes(), plan),
            Want::Fragment(text) => self.fragments.insert(text.as_bytes(), plan),
            Want::Within(keys) => {
                self.within.all.insert(plan.id, Arc::clone(plan));
                keys.iter().for_each(|key| self.within.by_element.insert(key.as_bytes(), plan));
            }
            Want::Except(keys) => {
                self.exceptions.insert(keys.iter().map(Key::as_bytes), plan);
            }
            Want::Null => drop(self.null.insert(plan.id, Arc::clone(plan))),
            Want::NotNull => drop(self.not_null.insert(plan.id, Arc::clone(plan))),
        }
    }

    /// Forgets a plan that may have been put under this probe.
    pub(crate) fn remove(&mut self, want: &Want, shape: ShapeId, steps: &mut u64) {
        *steps += 1;
        match want {
            Want::Equal(key) => self.equal.remove(key.as_bytes(), shape),
            Want::Between(low, high) => match &mut self.ranges {
                Ranges::Narrow(ranges) => {
                    let (low, high) = edges(low, high);
                    ranges.remove(&low, &high, shape, steps);
                }
                Ranges::Wide(ranges) => {
                    let (low, high) = edges(low, high);
                    ranges.remove(&low, &high, shape, steps);
                }
            },
            Want::Prefix(text) => self.prefixes.remove(text.as_bytes(), shape),
            Want::Fragment(text) => self.fragments.remove(text.as_bytes(), shape),
            Want::Within(keys) => {
                self.within.all.remove(&shape);
                keys.iter().for_each(|key| self.within.by_element.remove(key.as_bytes(), shape));
            }
            Want::Except(keys) => self.exceptions.remove(keys.iter().map(Key::as_bytes), shape),
            Want::Null => drop(self.null.remove(&shape)),
            Want::NotNull => drop(self.not_null.remove(&shape)),
        }
    }

    /// How many plans are found by rows that fit a probe, roughly.
    pub(crate) fn crowd(&self, want: &Want, steps: &mut u64) -> usize {
        match want {
            Want::Equal(key) => self.equal.get(key.as_bytes()).len(),
            // A row at one end of the range.
            Want::Between(low, high) => match low.as_ref().or(high.as_ref()) {
                Some(key) => self.stabbed(key.as_bytes(), steps),
                None => CROWD_MAX,
            },
            Want::Prefix(text) => self.prefixes.crowd(text.as_bytes()),
            Want::Fragment(text) => self.fragments.crowd(text.as_bytes()),
            Want::Within(_) => self.within.all.len(),
            Want::Except(_) => self.exceptions.len(),
            Want::Null => self.null.len(),
            Want::NotNull => self.not_null.len(),
        }
    }

    fn stabbed(&self, key: &[u8], steps: &mut u64) -> usize {
        let mut count = 0;
        let mut visit = |plans: &[Arc<ShapePlan>]| {
            count += plans.len();
            count < CROWD_MAX
        };
        match &self.ranges {
            Ranges::Narrow(ranges) => ranges.find(&narrow(key), steps, &mut visit),
            Ranges::Wide(ranges) => ranges.find(key, steps, &mut visit),
        }
        count
    }

    pub(crate) fn is_empty(&self) -> bool {
        let ranges = match &self.ranges {
            Ranges::Narrow(ranges) => ranges.is_empty(),
            Ranges::Wide(ranges) => ranges.is_empty(),
        };
        ranges
            && self.equal.is_empty()
            && self.prefixes.is_empty()
            && self.fragments.is_empty()
            && self.within.all.is_empty()
            && self.exceptions.is_empty()
            && self.null.is_empty()
            && self.not_null.is_empty()
    }

    /// Adds the plans that an old or a new row may concern; some more than once.
    pub(crate) fn find(
        &self,
        rows: [Option<&Row>; 2],
        readings: &mut [Reading; 2],
        found: &mut Vec<Arc<ShapePlan>>,
        steps: &mut u64,
    ) {
        let ([old, new], before, mut errors) = (readings, found.len(), 0);
        if let Some(row) = rows[0] {
            self.source.read(row, old);
            errors += usize::from(old.found == Found::Error);
            self.look_up(old, found, steps);
        }
        if let Some(row) = rows[1] {
            self.source.read(row, new);
            errors += usize::from(new.found == Found::Error);
            // Most updates leave most of a row as it was.
            if rows[0].is_none() || old != new {
                self.look_up(new, found, steps);
            }
        }
        // The shapes that are found notice it themselves.
        if found.len() == before {
            (0..errors).for_each(|_| note_error());
        }
    }

    fn look_up(&self, reading: &Reading, found: &mut Vec<Arc<ShapePlan>>, steps: &mut u64) {
        *steps += 1;
        match reading.found {
            Found::Error => return,
            Found::Null => return found.extend(self.null.values().cloned()),
            Found::Unknown => return self.all(found),
            Found::Keys => {}
        }
        found.extend(self.not_null.values().cloned());
        let mut taken = Taken::new();
        for key in reading.keys() {
            taken.take(self.equal.get(key), found);
            let mut visit = |plans: &[Arc<ShapePlan>]| {
                taken.take(plans, found);
                true
            };
            match &self.ranges {
                Ranges::Narrow(ranges) => ranges.find(&narrow(key), steps, &mut visit),
                Ranges::Wide(ranges) => ranges.find(key, steps, &mut visit),
            }
            self.prefixes.find(key).for_each(|plans| taken.take(plans, found));
            self.fragments.find(key).for_each(|plans| taken.take(plans, found));
        }
        let first = reading.keys().next();
        if !self.exceptions.is_empty() {
            found.extend(self.exceptions.find(first).cloned());
        }
        match first {
            _ if reading.null_element => {}
            Some(key) => found.extend_from_slice(self.within.by_element.get(key)),
            None => found.extend(self.within.all.values().cloned()),
        }
    }

    fn all(&self, found: &mut Vec<Arc<ShapePlan>>) {
        match &self.ranges {
            Ranges::Narrow(ranges) => found.extend(ranges.all().cloned()),
            Ranges::Wide(ranges) => found.extend(ranges.all().cloned()),
        }
        found.extend(self.equal.all().chain(self.prefixes.all()).cloned());
        found.extend(self.fragments.all().chain(self.exceptions.find(None)).cloned());
        let rolls = [&self.null, &self.not_null, &self.within.all];
        found.extend(rolls.into_iter().flat_map(|roll| roll.values()).cloned());
    }
}

fn edges<E: Edge>(low: &Option<Key>, high: &Option<Key>) -> (E, E) {
    let edge = |key: &Key| E::at(key.as_bytes());
    (low.as_ref().map_or_else(E::bottom, edge), high.as_ref().map_or_else(E::top, edge))
}
