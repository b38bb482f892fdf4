//! What enters the dataflow, in one order.

use std::sync::Arc;

use brooklet_sql::{Lsn, Relation, Row};

use crate::index::view::View;
use crate::plan::ShapePlan;

/// One row operation of one transaction. An insert has only `new`, a delete only `old`, an update
/// both (the table's replica identity is FULL).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// Its place in the change log: dense, rising, the same after every restart.
    pub seq: u64,
    /// Its place in the transaction; even, the odd number after it is the second half of a key
    /// change.
    pub op_position: u64,
    /// `pg_class.oid` of the table.
    pub table: u32,
    /// The row before.
    pub old: Option<Row>,
    /// The row after.
    pub new: Option<Row>,
}

/// A record of the ordered input.
#[derive(Debug, Clone)]
pub enum Event {
    /// A row operation of the open transaction.
    Change(Change),
    /// A table's definition from here on.
    Relation(Arc<Relation>),
    /// These tables were emptied by the open transaction.
    Truncate(Vec<u32>),
    /// The open transaction is complete.
    Commit {
        /// Where its commit record begins.
        lsn: Lsn,
        /// Its 32-bit transaction id.
        xid: u32,
    },
    /// No transaction that commits before this position is still to come.
    Position(Lsn),
    /// The open transaction was cut off and will be sent again from its beginning.
    Abort,
    /// A shape begins to be maintained, after the last complete transaction.
    AddShape(Arc<ShapePlan>),
    /// A shape is no longer wanted; the plan that it was added with.
    RemoveShape(Arc<ShapePlan>),
    /// Somebody wants to see how shapes are found.
    View(Viewer),
}

/// Who gets a view of the index.
#[derive(Clone)]
pub struct Viewer(Arc<dyn Fn(View) + Send + Sync>);

impl Viewer {
    /// `show` is called once, on the dataflow's thread.
    pub fn new(show: impl Fn(View) + Send + Sync + 'static) -> Viewer {
        Viewer(Arc::new(show))
    }

    pub(crate) fn give(&self, view: View) {
        (self.0)(view);
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Viewer")
    }
}
