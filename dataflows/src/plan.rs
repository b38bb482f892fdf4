//! A shape as the dataflow sees it.

use std::sync::Arc;

use brooklet_sql::{Difference, Predicate, Row, TableSchema};
use serde::{Deserialize, Serialize};

/// A shape's number inside one data directory; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShapeId(pub u64);

/// What the dataflow needs to know of a shape. The parts that shapes have in common are shared.
#[derive(Debug, Clone)]
pub struct ShapePlan {
    /// Which shape.
    pub id: ShapeId,
    /// Its table.
    pub table: Arc<TableSchema>,
    /// Its filter; `None` lets every row in.
    pub predicate: Option<Predicate>,
    /// The selected columns, as places in `table.columns`.
    pub columns: Arc<[usize]>,
    /// The columns that identify a row: the primary key, or every column where there is none.
    pub key: Arc<[usize]>,
    /// Whether the columns were chosen one by one: others may then come and go.
    pub listed: bool,
}

impl ShapePlan {
    /// Whether the shape means the same after the table has changed.
    #[must_use]
    pub fn survives(&self, difference: &Difference) -> bool {
        let Difference::Columns { lost, gained } = difference else { return false };
        let read = self.predicate.as_ref().map_or(&[][..], |predicate| predicate.columns());
        let uses = self.columns.iter().chain(&*self.key).chain(read);
        let whole = lost.is_empty() && !gained;
        (self.listed || whole) && !uses.into_iter().any(|at| lost.contains(at))
    }

    /// Whether a row has no value where clients were told that there always is one.
    #[must_use]
    pub fn breaks_promise(&self, row: &Row) -> bool {
        let promised = self.columns.iter().filter(|at| self.table.columns[**at].not_null);
        promised.into_iter().any(|at| row.get(*at).is_none())
    }
}
