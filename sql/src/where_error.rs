//! Why a clause was refused.
//!
//! *Enters*: a reason and, where it is known, the place in the user's own text.
//! *Leaves*: the one line clients are shown.
//! *Invariant*: locations count characters from 0 in the text exactly as the user sent it.

use std::fmt;

/// A clause that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhereError {
    /// Character index in the user's text.
    pub location: Option<usize>,
    /// What is wrong, for people.
    pub reason: String,
}

impl WhereError {
    /// A refusal with a place.
    pub(crate) fn at(location: usize, reason: impl Into<String>) -> WhereError {
        WhereError { location: Some(location), reason: reason.into() }
    }

    /// A refusal of the clause as a whole.
    pub(crate) fn whole(reason: impl Into<String>) -> WhereError {
        WhereError { location: None, reason: reason.into() }
    }
}

impl fmt::Display for WhereError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location {
            Some(location) => write!(f, "At location {location}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for WhereError {}
