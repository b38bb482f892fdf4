//! From routed changes to postings per shape, one transaction at a time.

use std::collections::HashMap;

use brooklet_sql::Lsn;
use differential_dataflow::VecCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::change::Change;
use crate::plan::ShapeId;
use crate::route::{EndReason, Routed};
use crate::verdict::Verdict;

/// A shape's reference to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// The change's place in the change log.
    pub seq: u64,
    /// Its place in the transaction.
    pub op_position: u64,
    /// What the shape's log gets.
    pub verdict: Verdict,
    /// The last of its transaction in this shape.
    pub last: bool,
    /// Bytes of the rows the entry shows: what chunk ends are computed from, so that they depend on
    /// stored data only.
    pub weight: u32,
}

impl Posting {
    /// The posting of a verdict, not yet known to be the last.
    #[must_use]
    pub fn new(change: &Change, verdict: Verdict) -> Posting {
        let bytes = |row: &Option<brooklet_sql::Row>| {
            row.as_ref().map_or(0, |row| u32::try_from(row.as_bytes().len()).unwrap_or(u32::MAX))
        };
        let weight = match verdict {
            Verdict::Insert | Verdict::Update => bytes(&change.new),
            Verdict::Delete => bytes(&change.old),
            Verdict::Rekey => bytes(&change.new).saturating_add(bytes(&change.old)),
        };
        let (seq, op_position) = (change.seq, change.op_position);
        Posting { seq, op_position, verdict, last: false, weight }
    }
}

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
    /// A complete transaction, also one that concerns no shape.
    Transaction {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit transaction id.
        xid: u32,
        /// By shape, sorted.
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
    /// A shape has ended.
    Ended {
        /// Which shape.
        shape: ShapeId,
        /// Why.
        why: EndReason,
    },
}

/// Builds the operator, which gives its results to `emit`, in order. The stream it returns is empty
/// and tells how far it has come.
pub fn collate<'scope>(
    routed: VecCollection<'scope, u64, Routed, isize>,
    emit: impl Fn(Collated) + 'static,
) -> StreamVec<'scope, u64, ()> {
    routed.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Collate", |_, _| {
        let mut collator = Collator::default();
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
    open: HashMap<ShapeId, Vec<Posting>>,
    closed: Lsn,
}

impl Collator {
    fn take(&mut self, routed: Routed) -> Option<Collated> {
        match routed {
            Routed::Change(change, matches) => {
                for (shape, verdict) in matches {
                    self.open.entry(shape).or_default().push(Posting::new(&change, verdict));
                }
                None
            }
            Routed::Commit { lsn, xid } => {
                self.closed = lsn;
                Some(Collated::Transaction { lsn, xid, shapes: self.close() })
            }
            Routed::Position(lsn) => Some(Collated::Position(lsn)),
            Routed::Abort => {
                self.open.clear();
                None
            }
            Routed::Installed(shape) => Some(Collated::Installed { shape, after: self.closed }),
            Routed::Ended(shape, why) => {
                self.open.remove(&shape);
                Some(Collated::Ended { shape, why })
            }
        }
    }

    fn close(&mut self) -> Vec<ShapePostings> {
        let mut shapes: Vec<ShapePostings> = (self.open.drain())
            .map(|(shape, mut postings)| {
                if let Some(last) = postings.last_mut() {
                    last.last = true;
                }
                ShapePostings { shape, postings }
            })
            .collect();
        shapes.sort_unstable_by_key(|postings| postings.shape);
        shapes
    }
}
