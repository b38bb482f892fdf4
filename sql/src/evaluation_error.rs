//! What goes wrong for one row.

/// Why Postgres would raise an error for a row. The row does not match; whoever filters counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EvaluationError {
    /// `/` or `%` by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A result that its type cannot hold.
    #[error("{0}")]
    OutOfRange(&'static str),
    /// A value that cannot be read as the type asked for.
    #[error("invalid input syntax for type {0}")]
    Invalid(&'static str),
    /// A column whose text is not what Postgres prints for its type.
    #[error("a column's value could not be read")]
    Unreadable,
    /// Anything else, in Postgres' words.
    #[error("{0}")]
    Other(&'static str),
}
