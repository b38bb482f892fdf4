//! A shape as the dataflow sees it.

use std::sync::Arc;

use brooklet_sql::{Predicate, TableSchema};
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
}
