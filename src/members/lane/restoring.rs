//! What the stream brings while the rows of shapes that were found at a start are read.
//!
//! *Enters*: inputs, in their order. *Leaves*: the same, once the rows are there; and what of them speaks against going back
//! from a snapshot to where the logs end. *Invariant*: nothing is lost or changes its place.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use brooklet_dataflows::members::{needs, outdated};
use brooklet_dataflows::{Change, ShapeId, ShapePlan};
use brooklet_sql::Lsn;

use super::passes;
use crate::members::backlog::Share;
use crate::members::collected::bytes;
use crate::members::{Input, Restored, Streamed};

/// Shapes that were found at a start, until their rows are there.
pub(super) struct Restoring {
    pub plans: Vec<Arc<ShapePlan>>,
    /// How far the stream is.
    pub reached: Lsn,
    pub deferred: VecDeque<Input>,
    /// Bytes of the changes in it.
    pub bytes: usize,
    /// It is not the whole stream.
    pub missed: bool,
    pub restored: Option<Box<Restored>>,
}

impl Restoring {
    /// For when the rows are there. It does not wait for the thread any more, but counts as kept.
    pub fn put_off(&mut self, input: Input) {
        let Input::Stream(stream, _) = input else {
            self.missed |= matches!(input, Input::Missed(_));
            return self.deferred.push_back(input);
        };
        self.note(&stream);
        // One part of all that comes together: of a stream that only passes there may be thousands a second.
        match self.deferred.back_mut() {
            Some(Input::Stream(last, _)) => stream.into_iter().for_each(|one| append(last, one)),
            _ => self.deferred.push_back(Input::Stream(stream, Share::default())),
        }
    }

    pub fn note(&mut self, stream: &[Streamed]) {
        for streamed in stream {
            match streamed {
                Streamed::Commit { lsn, .. } | Streamed::Passed(lsn) => {
                    self.reached = self.reached.max(*lsn);
                }
                Streamed::Change(change) => self.bytes += bytes(change),
                _ => {}
            }
        }
    }

    pub fn stream(&self) -> impl Iterator<Item = &Streamed> {
        let streams = self.deferred.iter().filter_map(|input| match input {
            Input::Stream(stream, _) => Some(stream),
            _ => None,
        });
        streams.flatten()
    }

    pub fn each_transaction(&self, mut each: impl FnMut(u32, &[Change])) {
        let mut open = Vec::new();
        for streamed in self.stream() {
            match streamed {
                Streamed::Change(change) => open.push(change.clone()),
                Streamed::Abort => open.clear(),
                Streamed::Commit { xid, .. } => {
                    each(*xid, &open);
                    open.clear();
                }
                _ => {}
            }
        }
    }

    /// The shapes for which nobody can go back: a table was emptied or altered before the snapshot may
    /// have been taken.
    pub fn take_unfit(&mut self, until: Lsn) -> Vec<ShapeId> {
        let (mut reached, mut unfit) = (Lsn::ZERO, BTreeSet::new());
        for streamed in self.stream() {
            match streamed {
                Streamed::Commit { lsn, .. } | Streamed::Passed(lsn) => reached = *lsn,
                _ if passes(reached, until) => break,
                Streamed::Truncate(tables) => {
                    let uses = |plan: &&Arc<ShapePlan>| {
                        needs(plan).iter().any(|(name, _)| tables.contains(&name.table))
                    };
                    unfit.extend(self.plans.iter().filter(uses).map(|plan| plan.id));
                }
                Streamed::Relation(relation) => {
                    let ends = |plan: &&Arc<ShapePlan>| outdated(plan, relation);
                    unfit.extend(self.plans.iter().filter(ends).map(|plan| plan.id));
                }
                _ => {}
            }
        }
        self.plans.retain(|plan| !unfit.contains(&plan.id));
        unfit.into_iter().collect()
    }

    pub fn take_all(&mut self) -> Vec<ShapeId> {
        self.plans.drain(..).map(|plan| plan.id).collect()
    }
}

/// Of places that the stream passed one after the other the last one says it all.
fn append(stream: &mut Vec<Streamed>, streamed: Streamed) {
    match (stream.last_mut(), &streamed) {
        (Some(Streamed::Passed(last)), Streamed::Passed(lsn)) => *last = *lsn.max(last),
        _ => stream.push(streamed),
    }
}
