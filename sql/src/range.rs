//! Ranges and multiranges.
//!
//! *Enters*: bounds of one type. *Leaves*: canonical ranges, their order, their relations, what is
//! left of one without another.
//! *Invariant*: ranges of whole numbers and days are `[a,b)`, an empty range has no bounds, and the
//! ranges of a multirange stand in order, none empty, none touching the next. So equal sets are equal
//! values.

use std::cmp::Ordering;

use crate::calendar;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::oid::Oid;

mod multi;

pub(crate) use multi::Multirange;

/// Where a range begins or ends; without a value it does not.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) value: Option<Datum>,
    pub(crate) inclusive: bool,
}

/// A range that is not empty, or the sides of several.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) lower: Bound,
    pub(crate) upper: Bound,
}

/// A range; `None` is the empty one.
#[derive(Debug, Clone)]
pub(crate) struct Range(pub(crate) Option<Span>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

const DISORDER: EvaluationError =
    EvaluationError::Other("range lower bound must be less than or equal to range upper bound");
const NOT_CONTIGUOUS_UNION: EvaluationError =
    EvaluationError::Other("result of range union would not be contiguous");
const NOT_CONTIGUOUS_DIFFERENCE: EvaluationError =
    EvaluationError::Other("result of range difference would not be contiguous");

/// The order of two bounds' values; one without a value is outside all others.
fn compare_values(left: &Bound, left_side: Side, right: &Bound, right_side: Side) -> Ordering {
    let outside = |side| if side == Side::Lower { Ordering::Less } else { Ordering::Greater };
    match (&left.value, &right.value) {
        (Some(left), Some(right)) => left.compare(right),
        (None, None) if left_side == right_side => Ordering::Equal,
        (None, _) => outside(left_side),
        (_, None) => outside(right_side).reverse(),
    }
}

/// The order of two bounds: at one value an end before it, the value itself, a start after it.
fn compare(left: &Bound, left_side: Side, right: &Bound, right_side: Side) -> Ordering {
    let order = compare_values(left, left_side, right, right_side);
    if order.is_ne() || left.value.is_none() {
        return order;
    }
    let place = |bound: &Bound, side| match (bound.inclusive, side) {
        (true, _) => 0,
        (false, Side::Lower) => 1,
        (false, Side::Upper) => -1,
    };
    place(left, left_side).cmp(&place(right, right_side))
}

impl Bound {
    /// No bound.
    pub(crate) fn open() -> Bound {
        Bound { value: None, inclusive: false }
    }

    /// The end of what comes before a start, the start of what comes after an end.
    fn flipped(&self) -> Bound {
        Bound { value: self.value.clone(), inclusive: !self.inclusive }
    }

    /// The bound as `[a,b)` has it, for types whose values have neighbours.
    fn settle(self, element: Oid, side: Side) -> Result<Bound, EvaluationError> {
        let Some(value) = self.value else { return Ok(Bound::open()) };
        let wanted = side == Side::Lower;
        let next = |int: i64, max: i64, words| {
            let next = int.checked_add(1).filter(|next| *next <= max);
            next.ok_or(EvaluationError::OutOfRange(words))
        };
        let value = match (element, value) {
            (_, value) if self.inclusive == wanted => value,
            (Oid::INT4, Datum::Int(int)) => {
                Datum::Int(next(int, i64::from(i32::MAX), "integer out of range")?)
            }
            (Oid::INT8, Datum::Int(int)) => Datum::Int(next(int, i64::MAX, "bigint out of range")?),
            (Oid::DATE, Datum::Date(date)) if !matches!(date, i32::MIN | i32::MAX) => {
                let day = date.checked_add(1).filter(|day| calendar::is_day(i64::from(*day)));
                Datum::Date(day.ok_or(EvaluationError::OutOfRange("date out of range"))?)
            }
            (_, value) => return Ok(Bound { value: Some(value), inclusive: self.inclusive }),
        };
        Ok(Bound { value: Some(value), inclusive: wanted })
    }
}

impl Span {
    /// Whether a value lies within.
    fn has(&self, value: &Datum) -> bool {
        let element = Bound { value: Some(value.clone()), inclusive: true };
        compare(&self.lower, Side::Lower, &element, Side::Lower).is_le()
            && compare(&self.upper, Side::Upper, &element, Side::Upper).is_ge()
    }

    fn compare(&self, other: &Span) -> Ordering {
        self.lowers(other).then_with(|| self.uppers(other))
    }

    fn lowers(&self, other: &Span) -> Ordering {
        compare(&self.lower, Side::Lower, &other.lower, Side::Lower)
    }

    fn uppers(&self, other: &Span) -> Ordering {
        compare(&self.upper, Side::Upper, &other.upper, Side::Upper)
    }

    pub(crate) fn contains(&self, other: &Span) -> bool {
        self.lowers(other).is_le() && self.uppers(other).is_ge()
    }

    /// `<<`.
    pub(crate) fn before(&self, other: &Span) -> bool {
        compare(&self.upper, Side::Upper, &other.lower, Side::Lower).is_lt()
    }

    /// `&<`.
    pub(crate) fn ends_no_later(&self, other: &Span) -> bool {
        self.uppers(other).is_le()
    }

    /// `&>`.
    pub(crate) fn begins_no_earlier(&self, other: &Span) -> bool {
        self.lowers(other).is_ge()
    }

    pub(crate) fn overlaps(&self, other: &Span) -> bool {
        !self.before(other) && !other.before(self)
    }

    /// `-|-`.
    pub(crate) fn adjacent(&self, other: &Span) -> bool {
        // Bounds are canonical, so no two different values have nothing between them.
        let meets = |upper: &Bound, lower: &Bound| {
            compare_values(upper, Side::Upper, lower, Side::Lower).is_eq()
                && upper.inclusive != lower.inclusive
        };
        meets(&self.upper, &other.lower) || meets(&other.upper, &self.lower)
    }

    /// The smallest range around both.
    fn hull(&self, other: &Span) -> Span {
        // Of equal bounds Postgres takes the second here and the first in `common`: 1.0 is not 1.00.
        let lower = if self.lowers(other).is_lt() { &self.lower } else { &other.lower };
        let upper = if self.uppers(other).is_gt() { &self.upper } else { &other.upper };
        Span { lower: lower.clone(), upper: upper.clone() }
    }

    /// What both have; they must overlap.
    fn common(&self, other: &Span) -> Span {
        let lower = if self.lowers(other).is_ge() { &self.lower } else { &other.lower };
        let upper = if self.uppers(other).is_le() { &self.upper } else { &other.upper };
        Span { lower: lower.clone(), upper: upper.clone() }
    }

    /// What is left without the other: at most a part before and a part after it.
    fn without(&self, other: &Span) -> [Option<Span>; 2] {
        if !self.overlaps(other) {
            return [Some(self.clone()), None];
        }
        let before = self.lowers(other).is_lt();
        let after = self.uppers(other).is_gt();
        let part = |lower: Bound, upper: Bound| Span { lower, upper };
        [
            before.then(|| part(self.lower.clone(), other.lower.flipped())),
            after.then(|| part(other.upper.flipped(), self.upper.clone())),
        ]
    }
}

impl Range {
    /// A range of a type's values.
    pub(crate) fn new(element: Oid, lower: Bound, upper: Bound) -> Result<Range, EvaluationError> {
        let is_empty = |lower: &Bound, upper: &Bound| match compare_values(
            lower,
            Side::Lower,
            upper,
            Side::Upper,
        ) {
            Ordering::Greater => Err(DISORDER),
            Ordering::Equal => Ok(!(lower.inclusive && upper.inclusive)),
            Ordering::Less => Ok(false),
        };
        if is_empty(&lower, &upper)? {
            return Ok(Range(None));
        }
        let lower = lower.settle(element, Side::Lower)?;
        let upper = upper.settle(element, Side::Upper)?;
        let empty = is_empty(&lower, &upper)?;
        Ok(Range((!empty).then_some(Span { lower, upper })))
    }

    /// Empty ranges come first.
    pub(crate) fn compare(&self, other: &Range) -> Ordering {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => left.compare(right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        }
    }

    pub(crate) fn has(&self, value: &Datum) -> bool {
        self.0.as_ref().is_some_and(|span| span.has(value))
    }

    pub(crate) fn union(&self, other: &Range, strict: bool) -> Result<Range, EvaluationError> {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => {
                if strict && !left.overlaps(right) && !left.adjacent(right) {
                    return Err(NOT_CONTIGUOUS_UNION);
                }
                Ok(Range(Some(left.hull(right))))
            }
            (None, _) => Ok(other.clone()),
            (_, None) => Ok(self.clone()),
        }
    }

    pub(crate) fn intersection(&self, other: &Range) -> Range {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) if left.overlaps(right) => Range(Some(left.common(right))),
            _ => Range(None),
        }
    }

    pub(crate) fn difference(&self, other: &Range) -> Result<Range, EvaluationError> {
        let (Some(left), Some(right)) = (&self.0, &other.0) else { return Ok(self.clone()) };
        match left.without(right) {
            [Some(_), Some(_)] => Err(NOT_CONTIGUOUS_DIFFERENCE),
            [before, after] => Ok(Range(before.or(after))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: i64, upper: i64, brackets: &str) -> Range {
        let bound = |int, bracket| Bound {
            value: Some(Datum::Int(int)),
            inclusive: brackets.contains(bracket),
        };
        Range::new(Oid::INT4, bound(lower, '['), bound(upper, ']')).unwrap()
    }

    #[test]
    fn whole_numbers_have_one_form() {
        assert!(range(1, 5, "[]").compare(&range(1, 6, "[)")).is_eq());
        assert!(range(0, 5, "()").compare(&range(1, 5, "[)")).is_eq());
        assert!(range(1, 2, "()").0.is_none() && range(1, 1, "[)").0.is_none());
        let end = || Bound { value: Some(Datum::Int(i64::from(i32::MAX))), inclusive: true };
        assert!(Range::new(Oid::INT4, Bound::open(), end()).is_err());
        assert!(Range::new(Oid::INT8, Bound::open(), end()).is_ok());
    }

    #[test]
    fn parts_of_ranges() {
        let (left, right) = (range(1, 10, "[)"), range(5, 20, "[)"));
        assert!(left.intersection(&right).compare(&range(5, 10, "[)")).is_eq());
        assert!(left.difference(&right).unwrap().compare(&range(1, 5, "[)")).is_eq());
        assert!(left.difference(&range(2, 3, "[)")).is_err());
        assert!(left.union(&range(11, 12, "[)"), true).is_err());
        assert!(left.union(&range(10, 12, "[)"), true).is_ok());
        assert!(left.has(&Datum::Int(9)) && !left.has(&Datum::Int(10)));
    }
}
