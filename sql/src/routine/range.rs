//! Operators and functions on ranges and multiranges.

use std::sync::Arc;

use super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::range::{Bound, Multirange, Range, Span};

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    if let Some(function) = relation(code).or_else(|| part(code)) {
        return Some(function);
    }
    Some(match code {
        "range_constructor2" | "range_constructor3" => construct,
        "multirange_constructor0" | "multirange_constructor2" => |_, list| {
            const NULL: EvaluationError =
                EvaluationError::Other("multirange values cannot contain null members");
            let ranges = list.iter().map(|one| match one {
                Some(Datum::Range(range)) => Ok((**range).clone()),
                Some(_) => Err(UNEXPECTED),
                None => Err(NULL),
            });
            multirange(Multirange::new(ranges.collect::<Result<Vec<_>, _>>()?))
        },
        "range_union" | "range_merge" => |call, list| {
            let arguments = Arguments(list);
            let strict = call.code == "range_union";
            range(arguments.range(0)?.union(arguments.range(1)?, strict)?)
        },
        "range_intersect" => |_, list| {
            let arguments = Arguments(list);
            range(arguments.range(0)?.intersection(arguments.range(1)?))
        },
        "range_minus" => |_, list| {
            let arguments = Arguments(list);
            range(arguments.range(0)?.difference(arguments.range(1)?)?)
        },
        "multirange_union" => |_, list| {
            let arguments = Arguments(list);
            multirange(arguments.multirange(0)?.union(arguments.multirange(1)?))
        },
        "multirange_intersect" => |_, list| {
            let arguments = Arguments(list);
            multirange(arguments.multirange(0)?.intersection(arguments.multirange(1)?))
        },
        "multirange_minus" => |_, list| {
            let arguments = Arguments(list);
            multirange(arguments.multirange(0)?.difference(arguments.multirange(1)?))
        },
        "range_merge_from_multirange" => {
            |_, list| range(Range(Arguments(list).multirange(0)?.hull()))
        }
        _ => return None,
    })
}

/// How two ranges, multiranges or elements stand to each other.
fn relation(code: &str) -> Option<Function> {
    Some(match code {
        "range_contains_elem" | "multirange_contains_elem" => |_, list| has(list, 0, 1),
        "elem_contained_by_range" | "elem_contained_by_multirange" => |_, list| has(list, 1, 0),
        "range_contains"
        | "range_contains_multirange"
        | "multirange_contains_range"
        | "multirange_contains_multirange" => |_, list| contains(list, 0, 1),
        "range_contained_by"
        | "range_contained_by_multirange"
        | "multirange_contained_by_range"
        | "multirange_contained_by_multirange" => |_, list| contains(list, 1, 0),
        "range_overlaps"
        | "range_overlaps_multirange"
        | "multirange_overlaps_range"
        | "multirange_overlaps_multirange" => |_, list| {
            let (left, right) = (spans(list, 0)?, spans(list, 1)?);
            let meets = |span: &Span| right.iter().any(|other| span.overlaps(other));
            some(Datum::Bool(left.iter().any(meets)))
        },
        "range_before"
        | "range_before_multirange"
        | "multirange_before_range"
        | "multirange_before_multirange" => |_, list| hulls(list, Span::before),
        "range_after"
        | "range_after_multirange"
        | "multirange_after_range"
        | "multirange_after_multirange" => |_, list| hulls(list, |left, right| right.before(left)),
        "range_overleft"
        | "range_overleft_multirange"
        | "multirange_overleft_range"
        | "multirange_overleft_multirange" => |_, list| hulls(list, Span::ends_no_later),
        "range_overright"
        | "range_overright_multirange"
        | "multirange_overright_range"
        | "multirange_overright_multirange" => |_, list| hulls(list, Span::begins_no_earlier),
        "range_adjacent"
        | "range_adjacent_multirange"
        | "multirange_adjacent_range"
        | "multirange_adjacent_multirange" => |_, list| hulls(list, Span::adjacent),
        _ => return None,
    })
}

/// What a range or a multirange begins and ends with.
fn part(code: &str) -> Option<Function> {
    Some(match code {
        "range_lower" | "multirange_lower" => {
            |_, list| Ok(hull(list, 0)?.and_then(|span| span.lower.value))
        }
        "range_upper" | "multirange_upper" => {
            |_, list| Ok(hull(list, 0)?.and_then(|span| span.upper.value))
        }
        "range_empty" | "multirange_empty" => |_, list| some(Datum::Bool(hull(list, 0)?.is_none())),
        "range_lower_inc" | "multirange_lower_inc" => {
            |_, list| whether(list, |span| span.lower.inclusive)
        }
        "range_upper_inc" | "multirange_upper_inc" => {
            |_, list| whether(list, |span| span.upper.inclusive)
        }
        "range_lower_inf" | "multirange_lower_inf" => {
            |_, list| whether(list, |span| span.lower.value.is_none())
        }
        "range_upper_inf" | "multirange_upper_inf" => {
            |_, list| whether(list, |span| span.upper.value.is_none())
        }
        _ => return None,
    })
}

fn range(range: Range) -> Outcome {
    some(Datum::Range(Arc::new(range)))
}

fn multirange(multirange: Multirange) -> Outcome {
    some(Datum::Multirange(Arc::new(multirange)))
}

/// The ranges of an argument that are not empty.
fn spans(list: &[Option<Datum>], at: usize) -> Result<&[Span], EvaluationError> {
    match list.get(at) {
        Some(Some(Datum::Range(range))) => Ok(range.0.as_slice()),
        Some(Some(Datum::Multirange(multirange))) => Ok(multirange.spans()),
        _ => Err(UNEXPECTED),
    }
}

/// From the first start to the last end of an argument.
fn hull(list: &[Option<Datum>], at: usize) -> Result<Option<Span>, EvaluationError> {
    let spans = spans(list, at)?;
    let ends = spans.first().zip(spans.last());
    Ok(ends.map(|(first, last)| Span { lower: first.lower.clone(), upper: last.upper.clone() }))
}

fn whether(list: &[Option<Datum>], holds: fn(&Span) -> bool) -> Outcome {
    some(Datum::Bool(hull(list, 0)?.is_some_and(|span| holds(&span))))
}

/// A relation of places, in which what is empty has none.
fn hulls(list: &[Option<Datum>], holds: fn(&Span, &Span) -> bool) -> Outcome {
    let ends = hull(list, 0)?.zip(hull(list, 1)?);
    some(Datum::Bool(ends.is_some_and(|(left, right)| holds(&left, &right))))
}

fn has(list: &[Option<Datum>], whole: usize, element: usize) -> Outcome {
    let arguments = Arguments(list);
    let element = arguments.any(element)?;
    some(Datum::Bool(match arguments.any(whole)? {
        Datum::Range(range) => range.has(element),
        Datum::Multirange(multirange) => multirange.has(element),
        _ => return Err(UNEXPECTED),
    }))
}

fn contains(list: &[Option<Datum>], whole: usize, part: usize) -> Outcome {
    let (whole, parts) = (spans(list, whole)?, spans(list, part)?);
    let within = |part: &Span| whole.iter().any(|span| span.contains(part));
    some(Datum::Bool(parts.iter().all(within)))
}

/// `int4range(lower, upper, '[)')`; NULL is no bound.
fn construct(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let brackets = match list.get(2) {
        None => "[)",
        Some(Some(Datum::Text(text))) => text,
        Some(_) => {
            let words = "range constructor flags argument must not be null";
            return Err(EvaluationError::Other(words));
        }
    };
    let (lower_inclusive, upper_inclusive) = match brackets {
        "[)" => (true, false),
        "[]" => (true, true),
        "()" => (false, false),
        "(]" => (false, true),
        _ => return Err(EvaluationError::Other("invalid range bound flags")),
    };
    let bound = |at: usize, inclusive: bool| {
        let value = list.get(at).cloned().flatten();
        Bound { inclusive: inclusive && value.is_some(), value }
    };
    let element = call.result.bounds().ok_or(UNEXPECTED)?;
    range(Range::new(element, bound(0, lower_inclusive), bound(1, upper_inclusive))?)
}
