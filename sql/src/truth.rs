//! SQL's truth values and the fourth outcome, an error.
//!
//! *Enters*: the outcomes of sub-predicates.
//! *Leaves*: their conjunction, disjunction and negation.
//! *Invariant*: AND and OR are commutative: a deciding operand hides NULL and error in the others,
//! whatever their order; error wins over NULL.

use std::cmp::Ordering;

/// The outcome of a predicate for one row. Only `True` lets a row in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// The row matches.
    True,
    /// It does not.
    False,
    /// SQL NULL: it does not.
    Null,
    /// Postgres would raise an error for this row: it does not match.
    Error,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

impl Truth {
    /// Kleene's NOT.
    #[must_use]
    pub fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            other => other,
        }
    }

    /// NOT where asked for.
    #[must_use]
    pub fn negate_if(self, negated: bool) -> Truth {
        if negated { self.not() } else { self }
    }

    /// Kleene's AND over any number of operands; stops at the first that decides.
    pub fn all(operands: impl IntoIterator<Item = Truth>) -> Truth {
        fold(operands, Truth::False, Truth::True)
    }

    /// Kleene's OR over any number of operands; stops at the first that decides.
    pub fn any(operands: impl IntoIterator<Item = Truth>) -> Truth {
        fold(operands, Truth::True, Truth::False)
    }
}

fn fold(operands: impl IntoIterator<Item = Truth>, decides: Truth, empty: Truth) -> Truth {
    let mut outcome = empty;
    for operand in operands {
        if operand == decides {
            return decides;
        }
        if rank(operand).cmp(&rank(outcome)) == Ordering::Greater {
            outcome = operand;
        }
    }
    outcome
}

/// How strongly an undecided operand marks the outcome.
fn rank(truth: Truth) -> u8 {
    match truth {
        Truth::True | Truth::False => 0,
        Truth::Null => 1,
        Truth::Error => 2,
    }
}
