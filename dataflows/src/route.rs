//! From ordered events to changes with the shapes they concern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brooklet_sql::{Lsn, Relation};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::change::{Change, Event};
use crate::index::ShapeIndex;
use crate::plan::{ShapeId, ShapePlan};
use crate::posting::Posting;

/// Why a shape ends: its clients must fetch anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// The table was emptied by TRUNCATE.
    Truncated,
    /// The table's definition or replica identity changed.
    TableChanged,
    /// Somebody asked for its removal.
    Removed,
}

/// What a change brings to one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    /// Which shape.
    pub shape: ShapeId,
    /// Its new entry, not yet known to be its transaction's last.
    pub posting: Posting,
}

/// A record of the routed collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routed {
    /// A change that concerns at least one shape, with all it concerns.
    Change(Change, Vec<Match>),
    /// The transaction is complete.
    Commit {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit transaction id.
        xid: u32,
    },
    /// No transaction that commits before this position is still to come.
    Position(Lsn),
    /// The open transaction was cut off.
    Abort,
    /// A shape is maintained from here on.
    Installed(ShapeId),
    /// Shapes are no longer maintained.
    Ended(Vec<ShapeId>, EndReason),
}

/// Builds the operator. The input must arrive in order, so it is not exchanged between workers. A record tells the end
/// of `ends_max` shapes at most.
pub fn route<'scope>(
    events: StreamVec<'scope, u64, Event>,
    ends_max: usize,
) -> VecCollection<'scope, u64, Routed, isize> {
    events
        .unary(Pipeline, "Route", |_, _| {
            let mut router = Router { ends_max, ..Router::default() };
            move |input, output| {
                input.for_each(|time, batch| {
                    let Some(&at) = time.least() else { return };
                    let mut session = output.session(&time);
                    for event in batch.drain(..) {
                        router.take(event, |routed| session.give((routed, at, 1)));
                    }
                });
            }
        })
        .as_collection()
}

/// The operator's state: the shapes, and what waits for the end of the open transaction.
#[derive(Default)]
struct Router {
    shapes: ShapeIndex,
    /// The last definition of every table that was announced.
    relations: HashMap<u32, Arc<Relation>>,
    open: bool,
    /// Shapes that begin when it ends.
    waiting: BTreeMap<ShapeId, Arc<ShapePlan>>,
    ends_max: usize,
    found: Vec<Arc<ShapePlan>>,
}

impl Router {
    fn take(&mut self, event: Event, mut give: impl FnMut(Routed)) {
        match event {
            Event::Change(change) => {
                self.open = true;
                let matches = self.matches(&change);
                if !matches.is_empty() {
                    give(Routed::Change(change, matches));
                }
            }
            Event::Relation(relation) => {
                let (table, mut ended) = (relation.oid, self.shapes.outdated(&relation));
                self.relations.insert(table, relation);
                ended.retain(|plan| self.shapes.remove(plan));
                let ended: Vec<ShapeId> = ended.iter().map(|plan| plan.id).collect();
                self.ended(&ended, EndReason::TableChanged, give);
            }
            Event::Truncate(tables) => {
                self.open = true;
                for table in tables {
                    let ended = self.shapes.take_table(table);
                    self.ended(&ended, EndReason::Truncated, &mut give);
                }
            }
            Event::Commit { lsn, xid } => {
                give(Routed::Commit { lsn, xid });
                self.close(give);
            }
            Event::Position(lsn) => give(Routed::Position(lsn)),
            Event::Abort => {
                give(Routed::Abort);
                self.close(give);
            }
            Event::View(to) => to.give(self.shapes.view()),
            Event::AddShape(plan) if self.open => _ = self.waiting.insert(plan.id, plan),
            Event::AddShape(plan) => self.install(plan, give),
            Event::RemoveShape(plan) => {
                self.waiting.remove(&plan.id);
                if self.shapes.remove(&plan) {
                    self.ended(&[plan.id], EndReason::Removed, give);
                }
            }
        }
    }

    fn matches(&mut self, change: &Change) -> Vec<Match> {
        let rows = [change.old.as_ref(), change.new.as_ref()];
        self.shapes.candidates(change.table, rows, &mut self.found);
        let mut matches = Vec::new();
        self.shapes.judge(change, &self.found, |plan, verdict| {
            let posting = Posting::new(plan, change, verdict);
            matches.push(Match { shape: plan.id, posting });
        });
        matches
    }

    /// A shape sees whole transactions only, so one that arrives inside of a transaction waits for
    /// its end.
    fn close(&mut self, mut give: impl FnMut(Routed)) {
        self.open = false;
        for plan in std::mem::take(&mut self.waiting).into_values() {
            self.install(plan, &mut give);
        }
    }

    fn install(&mut self, plan: Arc<ShapePlan>, mut give: impl FnMut(Routed)) {
        let id = plan.id;
        give(Routed::Installed(id));
        let announced = self.relations.get(&plan.table().oid);
        if announced.is_some_and(|relation| plan.is_misplaced(relation)) {
            // Made under a definition that is no longer, or was never, that of the rows to come.
            return self.ended(&[id], EndReason::TableChanged, give);
        }
        self.shapes.add(plan);
    }

    /// Says so, of some at a time: there may be a million.
    fn ended(&self, shapes: &[ShapeId], why: EndReason, mut give: impl FnMut(Routed)) {
        let some = shapes.chunks(self.ends_max.max(1));
        some.for_each(|some| give(Routed::Ended(some.to_vec(), why)));
    }
}
