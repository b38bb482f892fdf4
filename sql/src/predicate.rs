//! A compiled clause.
use std::sync::Arc;

use crate::{Access, Row, TableSchema, Truth, WhereError};

/// Compiles a clause; `params[0]` is `$1`.
pub fn compile(
    text: &str,
    params: &[String],
    table: &TableSchema,
) -> Result<Predicate, WhereError> {
    let _ = (text, params, table);
    Err(WhereError::whole("not yet"))
}

/// A compiled clause; cheap to clone.
#[derive(Debug, Clone)]
pub struct Predicate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sql: String,
    columns: Vec<usize>,
    access: Access,
}

impl Predicate {
    /// Canonical SQL: equal text means the same predicate.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.0.columns
    }

    /// Whether a row satisfies it.
    #[must_use]
    pub fn matches(&self, row: &Row) -> Truth {
        let _ = row;
        Truth::Null
    }

    /// Which rows can satisfy it at all.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.0.access
    }
}
