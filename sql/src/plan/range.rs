//! Values between two bounds, both included.

use crate::expr::Comparison;

/// Empty where `low` is above `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    low: i128,
    high: i128,
}

impl Range {
    /// What compares so with a key, and whether it is rather what does not.
    pub(super) fn new(comparison: Comparison, key: i128) -> (Range, bool) {
        let (low, high) = match comparison {
            Comparison::Equal | Comparison::NotEqual => (Some(key), Some(key)),
            Comparison::Less => (Some(i128::MIN), key.checked_sub(1)),
            Comparison::LessOrEqual => (Some(i128::MIN), Some(key)),
            Comparison::Greater => (key.checked_add(1), Some(i128::MAX)),
            Comparison::GreaterOrEqual => (Some(key), Some(i128::MAX)),
        };
        // Nothing is below the least number or above the greatest.
        let (low, high) = low.zip(high).unwrap_or((i128::MAX, i128::MIN));
        (Range { low, high }, comparison == Comparison::NotEqual)
    }

    pub(super) fn and(self, other: Range) -> Range {
        Range { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    pub(super) fn holds(self, key: i128) -> bool {
        self.low <= key && key <= self.high
    }
}
