//! A shape as the dataflow sees it.

use std::sync::Arc;

use brooklet_sql::{Difference, Predicate, Relation, Row, TableSchema};
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
        let whole = lost.is_empty() && !gained;
        (self.listed || whole) && !self.uses().any(|at| lost.contains(&at))
    }

    /// Whether a column that the shape uses has another one's place, or none. One that the stream has
    /// not named yet is still to come.
    #[must_use]
    pub fn is_misplaced(&self, relation: &Relation) -> bool {
        let other = |at: usize| {
            let ours = &self.table.columns[at];
            let now = relation.columns.get(at);
            now.is_some_and(|now| now.name != ours.name || now.type_oid != ours.type_oid)
        };
        self.uses().any(other)
    }

    /// The columns that the shape shows, is identified by, or filters on.
    fn uses(&self) -> impl Iterator<Item = usize> {
        let read = self.predicate.as_ref().map_or(&[][..], |predicate| predicate.columns());
        self.columns.iter().chain(&*self.key).chain(read).copied()
    }

    /// Whether a row has no value where clients were told that there always is one.
    #[must_use]
    pub fn breaks_promise(&self, row: &Row) -> bool {
        let promised = self.columns.iter().filter(|at| self.table.columns[**at].not_null);
        promised.into_iter().any(|at| row.get(*at).is_none())
    }
}
