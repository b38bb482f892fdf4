//! SQL equality as byte equality.
use crate::{Row, TableSchema};

/// The values of some columns, canonical under SQL equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

/// The key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A column is NULL: equal to nothing.
    Null,
    /// The key.
    Key(Key),
    /// A value cannot be read: every probe over these columns is a candidate.
    Unknown,
}

/// The key of a row of the table.
#[must_use]
pub fn row_key(table: &TableSchema, columns: &[usize], row: &Row) -> RowKey {
    let _ = (table, columns, row);
    RowKey::Unknown
}
