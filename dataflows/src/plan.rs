//! A shape as the dataflow sees it.

use std::sync::Arc;

use brooklet_sql::{Difference, Predicate, Relation, Row, TableSchema};
use serde::{Deserialize, Serialize};

/// A shape's number inside one data directory; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShapeId(pub u64);

/// Which part of a table's rows shapes show: what many shapes have in common.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The table.
    pub table: Arc<TableSchema>,
    /// The selected columns, as places in `table.columns`.
    pub columns: Arc<[usize]>,
    /// The columns that identify a row: the primary key, or every column where there is none.
    pub key: Arc<[usize]>,
    /// Whether the columns were chosen one by one: others may then come and go.
    pub listed: bool,
}

/// What the dataflow needs to know of a shape.
#[derive(Debug, Clone)]
pub struct ShapePlan {
    /// Which shape.
    pub id: ShapeId,
    /// What it shows; shared by all that show the same.
    pub selection: Arc<Selection>,
    /// Its filter; `None` lets every row in.
    pub predicate: Option<Predicate>,
}

impl Selection {
    /// Whether a shape that filters on the columns `read` means the same after the table has changed.
    #[must_use]
    pub fn survives(&self, difference: &Difference, read: &[usize]) -> bool {
        let Difference::Columns { lost, gained } = difference else { return false };
        let whole = lost.is_empty() && !gained;
        (self.listed || whole) && !self.uses(read).any(|at| lost.contains(&at))
    }

    /// The columns that a shape shows, is identified by, or filters on; some more than once.
    pub fn uses<'a>(&'a self, read: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        self.columns.iter().chain(&*self.key).chain(read).copied()
    }
}

impl ShapePlan {
    /// Its table.
    #[must_use]
    pub fn table(&self) -> &Arc<TableSchema> {
        &self.selection.table
    }

    /// The columns that it filters on.
    #[must_use]
    pub fn read(&self) -> &[usize] {
        self.predicate.as_ref().map_or(&[], Predicate::columns)
    }

    /// Whether a column that the shape uses has another one's place, or none. One that the stream has
    /// not named yet is still to come.
    #[must_use]
    pub fn is_misplaced(&self, relation: &Relation) -> bool {
        let other = |at: usize| {
            let ours = &self.table().columns[at];
            let now = relation.columns.get(at);
            now.is_some_and(|now| now.name != ours.name || now.type_oid != ours.type_oid)
        };
        self.selection.uses(self.read()).any(other)
    }

    /// Whether a row has no value where clients were told that there always is one.
    #[must_use]
    pub fn breaks_promise(&self, row: &Row) -> bool {
        let Selection { table, columns, .. } = &*self.selection;
        let promised = columns.iter().filter(|at| table.columns[**at].not_null);
        promised.into_iter().any(|at| row.get(*at).is_none())
    }
}
