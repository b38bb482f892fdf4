//! SQL's truth values and the fourth outcome, an error.
//!
//! *Enters*: the outcomes of sub-predicates.
//! *Leaves*: their conjunction, disjunction and negation.
//! *Invariant*: AND and OR are commutative: a deciding operand hides NULL and error in the others,
//! whatever their order; error wins over NULL.

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
    /// NOT where asked for.
    #[must_use]
    pub fn negate_if(self, negated: bool) -> Truth {
        if negated { !self } else { self }
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

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            other => other,
        }
    }
}

fn fold(operands: impl IntoIterator<Item = Truth>, decides: Truth, empty: Truth) -> Truth {
    let mut outcome = empty;
    for operand in operands {
        if operand == decides {
            return decides;
        }
        if rank(operand) > rank(outcome) {
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

#[cfg(test)]
mod tests {
    use super::Truth::{self, Error, False, Null, True};

    #[test]
    fn deciding_operands_hide_the_rest_in_any_order() {
        for (one, other, and, or) in [
            (True, False, False, True),
            (True, Null, Null, True),
            (False, Null, False, Null),
            (False, Error, False, Error),
            (True, Error, Error, True),
            (Null, Error, Error, Error),
        ] {
            for pair in [[one, other], [other, one]] {
                assert_eq!(Truth::all(pair), and);
                assert_eq!(Truth::any(pair), or);
                assert_eq!(!Truth::all(pair), Truth::any(pair.map(|truth| !truth)));
            }
        }
        assert_eq!((Truth::all([]), Truth::any([])), (True, False));
    }
}
