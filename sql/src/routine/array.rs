//! Operators and functions on arrays.

use std::sync::Arc;

use super::room;
use super::text::FEW;
use super::{Arguments, Call, Function, Outcome, some};
use crate::data_type::DataType;
use crate::datum::{Array, Datum, Dimension};
use crate::evaluation_error::EvaluationError;
use crate::text_form;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "arraycontains" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(contains(arguments.array(0)?, arguments.array(1)?)))
        },
        "arraycontained" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(contains(arguments.array(1)?, arguments.array(0)?)))
        },
        "arrayoverlap" => |_, list| {
            let arguments = Arguments(list);
            let (left, right) = (arguments.array(0)?, arguments.array(1)?);
            let among = Among::new(left, right.elements.len());
            some(Datum::Bool(right.elements.iter().flatten().any(|element| among.has(element))))
        },
        "array_append" | "array_prepend" => push,
        "array_cat" => concatenate,
        "array_length" => |_, list| dimension(list, |one| one.length as i64),
        "array_lower" => |_, list| dimension(list, |one| i64::from(one.lower)),
        "array_upper" => {
            |_, list| dimension(list, |one| i64::from(one.lower) + one.length as i64 - 1)
        }
        "array_ndims" => |_, list| {
            let count = Arguments(list).array(0)?.dimensions.len();
            Ok((count > 0).then_some(Datum::Int(count as i64)))
        },
        "array_cardinality" => {
            |_, list| some(Datum::Int(Arguments(list).array(0)?.elements.len() as i64))
        }
        "array_position" => position,
        "array_positions" => positions,
        "array_remove" => remove,
        "array_replace" => replace,
        "array_dims" => |_, list| {
            let bounds = Arguments(list).array(0)?.dimensions.iter();
            let bounds: String = bounds
                .map(|one| (i64::from(one.lower), one.length as i64))
                .map(|(lower, length)| format!("[{lower}:{}]", lower + length - 1))
                .collect();
            Ok((!bounds.is_empty()).then(|| Datum::Text(bounds.into())))
        },
        "trim_array" => trim,
        "array_to_text" | "array_to_text_null" => join,
        "text_to_array" => split,
        _ => return None,
    })
}

fn array(array: Array) -> Outcome {
    some(Datum::Array(Arc::new(array)))
}

/// Elements that others are looked for among: in order, where both are many.
enum Among<'a> {
    Any(&'a Array),
    Sorted(Vec<&'a Datum>),
}

impl<'a> Among<'a> {
    fn new(array: &'a Array, looked_for: usize) -> Among<'a> {
        if array.elements.len().min(looked_for) <= FEW {
            return Among::Any(array);
        }
        let mut sorted: Vec<&Datum> = array.elements.iter().flatten().collect();
        sorted.sort_unstable_by(|one, other| one.compare(other));
        Among::Sorted(sorted)
    }

    fn has(&self, element: &Datum) -> bool {
        match self {
            Among::Any(array) => {
                array.elements.iter().flatten().any(|found| found.compare(element).is_eq())
            }
            Among::Sorted(sorted) => {
                sorted.binary_search_by(|found| found.compare(element)).is_ok()
            }
        }
    }
}

/// Every element is there; NULL never is.
fn contains(whole: &Array, part: &Array) -> bool {
    let among = Among::new(whole, part.elements.len());
    part.elements.iter().all(|element| element.as_ref().is_some_and(|element| among.has(element)))
}

fn dimension(list: &[Option<Datum>], value: fn(&Dimension) -> i64) -> Outcome {
    let arguments = Arguments(list);
    let at = usize::try_from(*arguments.int(1)? - 1).ok();
    let one = at.and_then(|at| arguments.array(0).ok()?.dimensions.get(at));
    Ok(one.map(|one| Datum::Int(value(one))))
}

/// `array || element`, `element || array`; NULL is an empty array there and an element here.
fn push(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let front = call.code == "array_prepend";
    let (array_at, element_at) = if front { (1, 0) } else { (0, 1) };
    let element = list[element_at].clone();
    let (mut elements, lower) = match &list[array_at] {
        Some(Datum::Array(array)) if array.dimensions.len() > 1 => {
            return Err(EvaluationError::Other("argument must be empty or one-dimensional array"));
        }
        Some(Datum::Array(array)) => {
            (array.elements.clone(), array.dimensions.first().map_or(1, |one| one.lower))
        }
        _ => (Vec::new(), 1),
    };
    if front {
        elements.insert(0, element);
    } else {
        elements.push(element);
    }
    // In front, the bound stays as it was.
    let dimensions = vec![Dimension { length: elements.len(), lower }];
    array(Array { dimensions, elements })
}

const INCOMPATIBLE: EvaluationError =
    EvaluationError::Other("cannot concatenate incompatible arrays");

fn concatenate(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let (left, right) = match (&list[0], &list[1]) {
        (Some(Datum::Array(left)), Some(Datum::Array(right))) => (left, right),
        (one, other) => return Ok(one.clone().or_else(|| other.clone())),
    };
    if left.dimensions.is_empty() || right.dimensions.is_empty() {
        let kept = if left.dimensions.is_empty() { right } else { left };
        return some(Datum::Array(Arc::clone(kept)));
    }
    let (left_depth, right_depth) = (left.dimensions.len(), right.dimensions.len());
    let mut dimensions;
    if left_depth == right_depth {
        if left.dimensions[1..] != right.dimensions[1..] {
            return Err(INCOMPATIBLE);
        }
        dimensions = left.dimensions.clone();
        dimensions[0].length += right.dimensions[0].length;
    } else {
        let (outer, inner) = if left_depth > right_depth { (left, right) } else { (right, left) };
        if outer.dimensions.len() != inner.dimensions.len() + 1
            || outer.dimensions[1..] != inner.dimensions[..]
        {
            return Err(INCOMPATIBLE);
        }
        dimensions = outer.dimensions.clone();
        dimensions[0].length += 1;
    }
    let elements = left.elements.iter().chain(&right.elements).cloned().collect();
    array(Array { dimensions, elements })
}

const MANY_DIMENSIONS: EvaluationError =
    EvaluationError::Other("searching for elements in multidimensional arrays is not supported");

/// NULL is found too.
fn same(left: &Option<Datum>, right: &Option<Datum>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left.compare(right).is_eq(),
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn position(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Datum::Array(array)) = &list[0] else { return Ok(None) };
    if array.dimensions.len() > 1 {
        return Err(MANY_DIMENSIONS);
    }
    let lower = array.dimensions.first().map_or(1, |one| one.lower);
    let found = array.elements.iter().position(|element| same(element, &list[1]));
    Ok(found.map(|at| Datum::Int(at as i64 + i64::from(lower))))
}

/// The places of all that are equal.
fn positions(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Datum::Array(array)) = &list[0] else { return Ok(None) };
    if array.dimensions.len() > 1 {
        return Err(MANY_DIMENSIONS);
    }
    let lower = array.dimensions.first().map_or(1, |one| one.lower);
    let found = (i64::from(lower)..).zip(&array.elements);
    let found = found.filter(|(_, element)| same(element, &list[1]));
    self::array(Array::flat(found.map(|(at, _)| Some(Datum::Int(at))).collect()))
}

/// In arrays of any shape.
fn replace(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Datum::Array(whole)) = &list[0] else { return Ok(None) };
    let one = |element: &Option<Datum>| match same(element, &list[1]) {
        true => list[2].clone(),
        false => element.clone(),
    };
    let elements = whole.elements.iter().map(one).collect();
    array(Array { dimensions: whole.dimensions.clone(), elements })
}

/// Without the last ones of the first dimension; what is left counts from 1.
fn trim(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (whole, count) = (arguments.array(0)?, *arguments.int(1)?);
    let (lower, length) =
        whole.dimensions.first().map_or((1, 0), |one| (i64::from(one.lower), one.length as i64));
    if !(0..=length).contains(&count) {
        return Err(EvaluationError::Other("number of elements to trim must be between 0 and all"));
    }
    array(crate::compute::part(whole, &[(lower, lower + length - count - 1)]))
}

fn remove(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Datum::Array(whole)) = &list[0] else { return Ok(None) };
    if whole.dimensions.len() > 1 {
        return Err(EvaluationError::Other(
            "removing elements from multidimensional arrays is not supported",
        ));
    }
    let elements: Vec<Option<Datum>> =
        whole.elements.iter().filter(|element| !same(element, &list[1])).cloned().collect();
    if elements.len() == whole.elements.len() {
        return some(Datum::Array(Arc::clone(whole)));
    }
    let lower = whole.dimensions.first().map_or(1, |one| one.lower);
    let dimensions = match elements.len() {
        0 => Vec::new(),
        length => vec![Dimension { length, lower }],
    };
    array(Array { dimensions, elements })
}

/// `array_to_string`; NULL elements are left out, or stand as the third argument.
fn join(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let (Some(Datum::Array(array)), Some(Datum::Text(separator))) = (&list[0], &list[1]) else {
        return Ok(None);
    };
    let null = match list.get(2) {
        Some(Some(Datum::Text(text))) => Some(text),
        _ => None,
    };
    let element_type = call.arguments[0].element.as_deref().cloned();
    let element_type = element_type.unwrap_or_else(|| DataType::from(crate::oid::Oid::TEXT));
    let nulls = array.elements.iter().filter(|element| element.is_none()).count();
    let made = nulls.saturating_mul(null.map_or(0, |null| null.len()))
        + array.elements.len().saturating_mul(separator.len());
    room::check(made, room::of_array(array))?;
    let parts: Vec<String> = (array.elements.iter())
        .filter_map(|element| match element {
            Some(datum) => Some(text_form::output(&element_type, datum)),
            None => null.map(|null| null.to_string()),
        })
        .collect();
    some(Datum::Text(parts.join(separator).into()))
}

/// `string_to_array`; a NULL separator cuts between all characters.
fn split(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Datum::Text(whole)) = &list[0] else { return Ok(None) };
    let parts: Vec<String> = match &list[1] {
        _ if whole.is_empty() => Vec::new(),
        Some(Datum::Text(separator)) if separator.is_empty() => vec![whole.to_string()],
        Some(Datum::Text(separator)) => whole.split(&**separator).map(str::to_owned).collect(),
        _ => whole.chars().map(String::from).collect(),
    };
    array(Array::flat(parts.into_iter().map(|part| Some(Datum::Text(part.into()))).collect()))
}
