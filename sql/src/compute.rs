//! Values of expressions for a row.
//!
//! *Enters*: an expression and a row. *Leaves*: a datum, NULL or the error Postgres would raise.
//! *Invariant*: what Postgres may leave unevaluated (branches, what stands behind the first value of
//! COALESCE) is not evaluated here.

use std::sync::Arc;

use crate::datum::{Array, Datum, Dimension};
use crate::evaluate;
use crate::evaluation_error::EvaluationError;
use crate::expr::{Comparison, Expr};
use crate::routine::{Call, Room};
use crate::scalar::{Kind, Scalar, Subscript};
use crate::{Row, Truth, text_form};

/// `None` is NULL.
pub(crate) type Outcome = Result<Option<Datum>, EvaluationError>;

/// The value of an expression.
pub(crate) fn value(scalar: &Scalar, row: &Row) -> Outcome {
    match &scalar.kind {
        Kind::Column(column) => match row.text(*column) {
            None => Ok(None),
            Some(text) => {
                let datum = text_form::read(&scalar.data_type, text);
                datum.map(Some).ok_or(EvaluationError::Unreadable)
            }
        },
        Kind::Fields { column, negated, count } => Ok(Some(Datum::Bool(match row.text(*column) {
            None => !*negated,
            Some(_) if *count == 0 => true,
            Some(text) => fields(text).all(|field| field.is_empty() != *negated),
        }))),
        Kind::Constant(value) => Ok(value.clone()),
        Kind::Truth(expr) => truth_value(expr, row),
        Kind::Call(call, arguments) => called(call, arguments, row),
        Kind::Cast { operand, conversion, modifier, .. } => {
            let Some(datum) = value(operand, row)? else { return Ok(None) };
            let Some(cast) = conversion.run_within(Room::of_row(row), &datum)? else {
                return Ok(None);
            };
            match modifier {
                Some(modifier) => modifier.apply(&cast).map(Some),
                None => Ok(Some(cast)),
            }
        }
        Kind::Collate(operand) => value(operand, row),
        Kind::Quantified { call, left, array, all } => {
            let room = Room::of_row(row);
            quantified(call, room, value(left, row)?, value(array, row)?, *all)
        }
        Kind::Distinct { left, right, negated } => {
            let same = match (value(left, row)?, value(right, row)?) {
                (Some(left), Some(right)) => left.compare(&right).is_eq(),
                (left, right) => left.is_none() && right.is_none(),
            };
            Ok(Some(Datum::Bool(same == *negated)))
        }
        Kind::Case { branches, otherwise } => {
            for (when, then) in branches {
                if truth(when, row)? == Truth::True {
                    return value(then, row);
                }
            }
            otherwise.as_ref().map_or(Ok(None), |otherwise| value(otherwise, row))
        }
        Kind::NullIf { equal, value: kept, .. } => match value(equal, row)? {
            Some(Datum::Bool(true)) => Ok(None),
            _ => value(kept, row),
        },
        Kind::Coalesce(list) => {
            for item in list {
                if let Some(found) = value(item, row)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        Kind::Extreme { greatest, list } => extreme(*greatest, list, row),
        Kind::Array(list) => array(scalar, list, row),
        Kind::Subscript { operand, subscripts } => subscript(operand, subscripts, row),
        Kind::RowCompare { comparison, left, right } => compare_rows(*comparison, left, right, row),
        // Resolution leaves none of these.
        Kind::Opaque(_) | Kind::Unknown { .. } | Kind::Row(_) => Err(EvaluationError::Unreadable),
    }
}

/// The fields of a composite value as Postgres prints it. Only NULL has no text, not even quotes.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    let mut quoted = false;
    inside.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// Nearly every call has one argument or two: those need no allocation.
fn called(call: &Call, arguments: &[Scalar], row: &Row) -> Outcome {
    let outcome = run(call, arguments, row);
    match outcome {
        Err(_) if call.strict && arguments.iter().any(Scalar::is_null) => Ok(None),
        outcome => outcome,
    }
}

fn run(call: &Call, arguments: &[Scalar], row: &Row) -> Outcome {
    let room = Room::of_row(row);
    match arguments {
        [only] => call.run_within(room, &[value(only, row)?]),
        [left, right] => call.run_within(room, &[value(left, row)?, value(right, row)?]),
        _ => call.run_within(room, &values(arguments, row)?),
    }
}

/// Values that are there together: all of them have the room of one.
fn values(list: &[Scalar], row: &Row) -> Result<Vec<Option<Datum>>, EvaluationError> {
    let mut room = Room::of_row(row);
    let mut values = Vec::with_capacity(list.len());
    for item in list {
        let found = value(item, row)?;
        room.take(&found)?;
        values.push(found);
    }
    Ok(values)
}

/// A predicate's truth, with its error as one.
fn truth(expr: &Expr, row: &Row) -> Result<Truth, EvaluationError> {
    match evaluate::evaluate(expr, row) {
        Truth::Error => Err(evaluate::cause(expr, row)),
        truth => Ok(truth),
    }
}

fn truth_value(expr: &Expr, row: &Row) -> Outcome {
    Ok(match truth(expr, row)? {
        Truth::True => Some(Datum::Bool(true)),
        Truth::False => Some(Datum::Bool(false)),
        _ => None,
    })
}

/// Kleene's OR (ANY) or AND (ALL) over the elements; no elements decide before NULL does.
fn quantified(
    call: &Call,
    room: Room,
    left: Option<Datum>,
    array: Option<Datum>,
    all: bool,
) -> Outcome {
    let Some(Datum::Array(array)) = array else { return Ok(None) };
    let mut null = false;
    let mut arguments = [left, None];
    for element in &array.elements {
        arguments[1] = element.clone();
        match call.run_within(room, &arguments)? {
            Some(Datum::Bool(found)) if found != all => return Ok(Some(Datum::Bool(found))),
            Some(_) => {}
            None => null = true,
        }
    }
    Ok(if null { None } else { Some(Datum::Bool(all)) })
}

fn extreme(greatest: bool, list: &[Scalar], row: &Row) -> Outcome {
    let mut found: Option<Datum> = None;
    for item in list {
        let Some(next) = value(item, row)? else { continue };
        let better = found.as_ref().is_none_or(|found| {
            let order = next.compare(found);
            if greatest { order.is_gt() } else { order.is_lt() }
        });
        if better {
            found = Some(next);
        }
    }
    Ok(found)
}

/// `ARRAY[…]`; of arrays, one with a dimension more.
fn array(scalar: &Scalar, list: &[Scalar], row: &Row) -> Outcome {
    const UNEQUAL: EvaluationError = EvaluationError::Other(
        "multidimensional arrays must have array expressions with matching dimensions",
    );
    let nested = list.first().is_some_and(|item| item.data_type == scalar.data_type);
    let values = values(list, row)?;
    if !nested {
        return Ok(Some(Datum::Array(Arc::new(Array::flat(values)))));
    }
    let mut inner: Option<Vec<Dimension>> = None;
    let (mut elements, mut count) = (Vec::new(), 0);
    for found in values {
        let Some(Datum::Array(array)) = found else { return Err(UNEQUAL) };
        if inner.as_ref().is_some_and(|inner| *inner != array.dimensions) {
            return Err(UNEQUAL);
        }
        inner = Some(array.dimensions.clone());
        elements.extend(array.elements.iter().cloned());
        count += 1;
    }
    if elements.is_empty() {
        return Ok(Some(Datum::Array(Arc::new(Array::flat(elements)))));
    }
    let mut dimensions = vec![Dimension { length: count, lower: 1 }];
    dimensions.extend(inner.unwrap_or_default());
    if dimensions.len() > 6 {
        return Err(EvaluationError::Other("arrays have at most 6 dimensions"));
    }
    Ok(Some(Datum::Array(Arc::new(Array { dimensions, elements }))))
}

/// The first pair that differs decides; NULL before it makes the result NULL.
fn compare_rows(comparison: Comparison, left: &[Scalar], right: &[Scalar], row: &Row) -> Outcome {
    let mut order = std::cmp::Ordering::Equal;
    for (left, right) in left.iter().zip(right) {
        match (value(left, row)?, value(right, row)?) {
            (Some(left), Some(right)) => order = left.compare(&right),
            _ => return Ok(None),
        }
        if order.is_ne() {
            break;
        }
    }
    Ok(Some(Datum::Bool(comparison.holds(order))))
}

fn bound(scalar: &Option<Scalar>, row: &Row) -> Result<Option<Option<i64>>, EvaluationError> {
    let Some(scalar) = scalar else { return Ok(Some(None)) };
    Ok(match value(scalar, row)? {
        Some(Datum::Int(int)) => Some(Some(int)),
        _ => None,
    })
}

/// An element, or with a slice among the subscripts a part of the array.
fn subscript(operand: &Scalar, subscripts: &[Subscript], row: &Row) -> Outcome {
    let Some(Datum::Array(array)) = value(operand, row)? else { return Ok(None) };
    let slice = subscripts.iter().any(|one| matches!(one, Subscript::Slice(..)));
    let mut bounds = Vec::with_capacity(subscripts.len());
    for (at, one) in subscripts.iter().enumerate() {
        let own = array.dimensions.get(at);
        let (low, high) = match one {
            Subscript::Index(index) => {
                let Some(Datum::Int(index)) = value(index, row)? else { return Ok(None) };
                // Among slices a lone number is the end of one that begins at 1.
                (if slice { 1 } else { index }, index)
            }
            Subscript::Slice(low, high) => {
                let (Some(low), Some(high)) = (bound(low, row)?, bound(high, row)?) else {
                    return Ok(None);
                };
                let lower = own.map_or(1, |own| i64::from(own.lower));
                let upper = own.map_or(0, |own| i64::from(own.lower) + own.length as i64 - 1);
                (low.unwrap_or(lower), high.unwrap_or(upper))
            }
        };
        bounds.push((low, high));
    }
    if slice {
        return Ok(Some(Datum::Array(Arc::new(part(&array, &bounds)))));
    }
    if bounds.len() != array.dimensions.len() {
        return Ok(None);
    }
    let mut offset = 0;
    for ((index, _), dimension) in bounds.iter().zip(&array.dimensions) {
        let at = index - i64::from(dimension.lower);
        match usize::try_from(at).ok().filter(|at| *at < dimension.length) {
            Some(at) => offset = offset * dimension.length + at,
            None => return Ok(None),
        }
    }
    Ok(array.elements.get(offset).cloned().flatten())
}

/// A slice; dimensions without subscripts stay whole, and the result counts from 1.
pub(crate) fn part(array: &Array, bounds: &[(i64, i64)]) -> Array {
    let empty = Array::flat(Vec::new());
    if bounds.len() > array.dimensions.len() {
        return empty;
    }
    let mut ranges = Vec::with_capacity(array.dimensions.len());
    for (at, dimension) in array.dimensions.iter().enumerate() {
        let lower = i64::from(dimension.lower);
        let upper = lower + dimension.length as i64 - 1;
        let (low, high) = bounds.get(at).copied().unwrap_or((lower, upper));
        let (low, high) = (low.max(lower), high.min(upper));
        if low > high {
            return empty;
        }
        // Both lie within the dimension.
        ranges.push(((low - lower) as usize, (high - lower) as usize));
    }
    let mut elements = Vec::new();
    gather(array, &ranges, 0, 0, &mut elements);
    let dimensions =
        ranges.iter().map(|(low, high)| Dimension { length: high - low + 1, lower: 1 }).collect();
    Array { dimensions, elements }
}

fn gather(
    array: &Array,
    ranges: &[(usize, usize)],
    depth: usize,
    offset: usize,
    into: &mut Vec<Option<Datum>>,
) {
    let Some((low, high)) = ranges.get(depth) else {
        into.push(array.elements.get(offset).cloned().flatten());
        return;
    };
    for at in *low..=*high {
        let offset = offset * array.dimensions[depth].length + at;
        gather(array, ranges, depth + 1, offset, into);
    }
}
