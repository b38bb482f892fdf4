//! From routed changes to postings per shape, one transaction at a time.

use std::collections::HashMap;

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
            Routed::Change(_, matches) => {
                for Match { shape, posting } in matches {
                    self.open.entry(shape).or_default().push(posting);
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
