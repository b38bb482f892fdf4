//! The shapes in the order in which they were asked for last, kept while there is something that ends the longest idle.
//!
//! *Enters*: shapes that come and go, and who is asked for. *Leaves*: those that nobody has asked for the longest, to the
//! second. *Invariant*: a shape stands in the second that it says it was asked for in; that changes under the lock
//! of this order only. So whoever is asked for again and again within a second costs nothing here, and none is looked for
//! by a walk over others.

use std::sync::Arc;

use brooklet_dataflows::ShapeId;

use super::maps::Maps;
use super::shape::{Shape, this_second};
use super::sorted::{Keyed, Sorted};

/// A second and a shape's number, in halves: twelve bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    second: u32,
    number: [u32; 2],
}

impl Keyed for Place {
    type Key = Place;

    fn key(&self) -> Place {
        *self
    }
}

impl Place {
    fn new(second: u32, ShapeId(id): ShapeId) -> Place {
        Place { second, number: [(id >> 32) as u32, id as u32] }
    }

    fn shape(self) -> ShapeId {
        ShapeId(u64::from(self.number[0]) << 32 | u64::from(self.number[1]))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Recency(Sorted<Place>);

impl Recency {
    pub(super) fn insert(&mut self, shape: &Shape) {
        self.0.insert(Place::new(shape.asked_second(), shape.id()));
    }

    pub(super) fn remove(&mut self, shape: &Shape) {
        self.0.remove(Place::new(shape.asked_second(), shape.id()));
    }

    /// Somebody asks for it. One that is not there stays away.
    pub(super) fn use_anew(&mut self, shape: &Shape) {
        let (before, now) = shape.use_anew();
        if before != now && self.0.remove(Place::new(before, shape.id())).is_some() {
            self.0.insert(Place::new(now, shape.id()));
        }
    }

    /// The next one after a place.
    fn next(&self, after: Option<Place>, now: u32) -> Option<Place> {
        // Seconds begin anew when they no longer fit: those that are still to come are the oldest.
        let end = Place { second: now, number: [u32::MAX; 2] };
        match after {
            Some(place) if place > end => {
                let begin = || self.0.after(None).next().filter(|place| **place <= end);
                self.0.after(after).next().or_else(begin).copied()
            }
            Some(_) => self.0.after(after).next().filter(|place| **place <= end).copied(),
            None => self.0.after(Some(end)).chain(self.0.after(None)).next().copied(),
        }
    }
}

/// A search for shapes to end.
pub(super) struct Search {
    /// How many may be looked at.
    pub looks: usize,
    /// Those that were found.
    pub found: Vec<Arc<Shape>>,
    /// Those that somebody waits for or has just asked for: they go last.
    busy: Vec<Arc<Shape>>,
    at: Option<Place>,
}

impl Search {
    pub(super) fn new(looks: usize) -> Search {
        Search { looks, found: Vec::new(), busy: Vec::new(), at: None }
    }

    /// Goes on, the longest idle first, as long as `goes` wants one more; `false` once there is nothing to look for.
    /// Those that somebody waits for are as if asked for now, and are not looked at again until all others were.
    pub(super) fn go_on(
        &mut self,
        order: &mut Recency,
        maps: &mut Maps,
        mut goes: impl FnMut(&Shape) -> bool,
        looks: usize,
    ) -> bool {
        let now = this_second();
        for _ in 0..looks {
            if self.looks == 0 {
                return false;
            }
            let Some(place) = order.next(self.at, now) else {
                // There are no others.
                let busy = std::mem::take(&mut self.busy).into_iter();
                self.found.extend(busy.take_while(|shape| goes(shape)));
                return false;
            };
            self.looks -= 1;
            maps.note_steps(1);
            self.at = Some(place);
            let Some(shape) = maps.by_id(place.shape()) else { continue };
            if !shape.is_complete() || shape.log.has_waiters() {
                if place.second != now {
                    order.use_anew(shape);
                    continue;
                }
                self.busy.extend(shape.is_complete().then(|| Arc::clone(shape)));
                continue;
            }
            if !goes(shape) {
                return false;
            }
            self.found.push(Arc::clone(shape));
        }
        true
    }
}

#[cfg(test)]
mod tests;
