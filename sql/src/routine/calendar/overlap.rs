//! `(a, b) OVERLAPS (c, d)`.

use super::super::{Call, Function, Outcome, UNEXPECTED, some};
use super::{moved, wrapped};
use crate::datum::Datum;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    (code == "overlaps").then_some(overlaps as Function)
}

fn overlaps(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let [a, b, c, d] = list else { return Err(UNEXPECTED) };
    let (one, other) = (ends(a, b)?, ends(c, d)?);
    let (Some((start, end)), Some((other_start, other_end))) = (one, other) else {
        return Ok(None);
    };
    // The later of the two that begin, and the end of the other.
    let (later, end, rest) = match start.compare(&other_start) {
        std::cmp::Ordering::Greater => (start, other_end, end),
        std::cmp::Ordering::Less => (other_start, end, other_end),
        // Both hold the instant at which they begin.
        std::cmp::Ordering::Equal => {
            return Ok((end.is_some() && other_end.is_some()).then_some(Datum::Bool(true)));
        }
    };
    match (end, rest) {
        (Some(end), _) if later.compare(&end).is_lt() => some(Datum::Bool(true)),
        (Some(_), Some(_)) => some(Datum::Bool(false)),
        _ => Ok(None),
    }
}

/// The earlier and the later end. One that is NULL counts as the later, both make it unknown.
type Ends = Option<(Datum, Option<Datum>)>;

fn ends(
    start: &Option<Datum>,
    end: &Option<Datum>,
) -> Result<Ends, crate::evaluation_error::EvaluationError> {
    let end = match (start, end) {
        (Some(Datum::Time(time)), Some(Datum::Interval(by))) => wrapped(*time, by.micros)?,
        (Some(_), Some(Datum::Interval(by))) => moved(start, *by)?,
        (None, Some(Datum::Interval(_))) => None,
        (_, end) => end.clone(),
    };
    Ok(match (start.clone(), end) {
        (Some(start), Some(end)) if start.compare(&end).is_gt() => Some((end, Some(start))),
        (Some(start), end) => Some((start, end)),
        (None, Some(end)) => Some((end, None)),
        (None, None) => None,
    })
}
