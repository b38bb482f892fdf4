//! Which rows can satisfy a predicate at all.
use crate::Key;

/// How to find the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// No row ever matches.
    Nothing,
    /// Every row is a candidate.
    All,
    /// A matching row has the key of at least one probe.
    Equality(Vec<Probe>),
}

/// Columns and the values they must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Places in the table, sorted.
    pub columns: Vec<usize>,
    /// Their values.
    pub key: Key,
}
