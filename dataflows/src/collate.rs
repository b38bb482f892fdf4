//! From routed changes to postings per shape, one transaction at a time.
//!
//! A large transaction leaves in parts while it is open, so that memory is bounded by a part and one
//! posting a shape: each shape's last posting is held back, since only the commit says that it is the
//! last. So a shape that had a part always has more at the commit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use brooklet_sql::Lsn;
use differential_dataflow::VecCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::plan::ShapeId;
use crate::posting::Posting;
use crate::route::{EndReason, Match, Routed};

/// What one transaction brings to one shape, in order; never empty, the last one marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapePostings {
    /// Which shape.
    pub shape: ShapeId,
    /// Its new entries.
    pub postings: Vec<Posting>,
}

/// What leaves the dataflow, in the order of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collated {
    /// What the open transaction has brought so far, beyond earlier parts; by shape, sorted. It may
    /// still be cut off.
    Part(Vec<ShapePostings>),
    /// The open transaction was cut off: its parts never were.
    CutOff,
    /// A complete transaction, also one that concerns no shape.
    Transaction {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit transaction id.
        xid: u32,
        /// What its parts do not have, by shape, sorted.
        shapes: Vec<ShapePostings>,
    },
    /// No transaction that commits before this position is still to come.
    Position(Lsn),
    /// A shape is maintained: every transaction after `after` reaches it.
    Installed {
        /// Which shape.
        shape: ShapeId,
        /// The last transaction it does not see.
        after: Lsn,
    },
    /// Shapes have ended, some at a time.
    Ended {
        /// Which, sorted.
        shapes: Vec<ShapeId>,
        /// Why.
        why: EndReason,
    },
}

/// Builds the operator, which gives its results to `emit`, in order. A part has `part_postings`, or
/// what one change adds to that. The stream it returns is empty and tells how far it has come.
pub fn collate<'scope>(
    routed: VecCollection<'scope, u64, Routed, isize>,
    part_postings: usize,
    emit: impl Fn(Collated) + 'static,
) -> StreamVec<'scope, u64, ()> {
    routed.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Collate", |_, _| {
        let mut collator = Collator { part_postings, ..Collator::default() };
        move |input, _| {
            input.for_each(|_, batch| {
                let routed = batch.drain(..).map(|(routed, _, _)| routed);
                routed.filter_map(|routed| collator.take(routed)).for_each(&emit);
            });
        }
    })
}

/// The operator's state: the open transaction.
#[derive(Default)]
struct Collator {
    part_postings: usize,
    open: HashMap<ShapeId, Open>,
    /// Postings that could leave in a part.
    before_last: usize,
    /// Whether a part has left.
    parts: bool,
    closed: Lsn,
}

/// What the open transaction brings to one shape, beyond earlier parts.
struct Open {
    before_last: Vec<Posting>,
    last: Posting,
}

impl Collator {
    fn take(&mut self, routed: Routed) -> Option<Collated> {
        match routed {
            Routed::Change(_, matches) => {
                matches.into_iter().for_each(|one| self.add(one));
                (self.before_last >= self.part_postings.max(1)).then(|| self.part())
            }
            Routed::Commit { lsn, xid } => {
                self.closed = lsn;
                Some(Collated::Transaction { lsn, xid, shapes: self.close() })
            }
            Routed::Position(lsn) => Some(Collated::Position(lsn)),
            Routed::Abort => {
                self.open.clear();
                self.before_last = 0;
                std::mem::take(&mut self.parts).then_some(Collated::CutOff)
            }
            Routed::Installed(shape) => Some(Collated::Installed { shape, after: self.closed }),
            Routed::Ended(shapes, why) => {
                for shape in &shapes {
                    let open = self.open.remove(shape);
                    self.before_last -= open.map_or(0, |open| open.before_last.len());
                }
                Some(Collated::Ended { shapes, why })
            }
        }
    }

    fn add(&mut self, Match { shape, posting }: Match) {
        match self.open.entry(shape) {
            Entry::Vacant(entry) => {
                entry.insert(Open { before_last: Vec::new(), last: posting });
            }
            Entry::Occupied(mut entry) => {
                let open = entry.get_mut();
                open.before_last.push(std::mem::replace(&mut open.last, posting));
                self.before_last += 1;
            }
        }
    }

    fn part(&mut self) -> Collated {
        let filled = self.open.iter_mut().filter(|(_, open)| !open.before_last.is_empty());
        let part = filled.map(|(shape, open)| ShapePostings {
            shape: *shape,
            postings: std::mem::take(&mut open.before_last),
        });
        let part = sorted(part.collect());
        (self.before_last, self.parts) = (0, true);
        Collated::Part(part)
    }

    fn close(&mut self) -> Vec<ShapePostings> {
        (self.before_last, self.parts) = (0, false);
        let shapes = self.open.drain().map(|(shape, open)| {
            let mut postings = open.before_last;
            postings.reserve_exact(1);
            postings.push(Posting { last: true, ..open.last });
            ShapePostings { shape, postings }
        });
        let shapes = sorted(shapes.collect());
        // One huge transaction must not keep its memory for ever.
        self.open.shrink_to(SHAPES_KEPT);
        shapes
    }
}

/// Room for so many shapes is kept between transactions.
const SHAPES_KEPT: usize = 1024;

fn sorted(mut shapes: Vec<ShapePostings>) -> Vec<ShapePostings> {
    shapes.sort_unstable_by_key(|postings| postings.shape);
    shapes
}
