//! Operators and functions on `jsonb`.

use std::collections::HashSet;
use std::sync::Arc;

use super::text::FEW;
use super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;
use crate::json::Json;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "jsonb_object_field" | "jsonb_object_field_text" => |call, list| {
            let arguments = Arguments(list);
            found(call, arguments.json(0)?.member(arguments.text(1)?))
        },
        "jsonb_array_element" | "jsonb_array_element_text" => |call, list| {
            let arguments = Arguments(list);
            found(call, arguments.json(0)?.element(*arguments.int(1)?))
        },
        "jsonb_extract_path" | "jsonb_extract_path_text" => extract,
        "jsonb_contains" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(arguments.json(0)?.contains(arguments.json(1)?)))
        },
        "jsonb_contained" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(arguments.json(1)?.contains(arguments.json(0)?)))
        },
        "jsonb_exists" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(arguments.json(0)?.has(arguments.text(1)?)))
        },
        "jsonb_exists_any" | "jsonb_exists_all" => has_keys,
        "jsonb_concat" => |_, list| {
            let arguments = Arguments(list);
            made(arguments.json(0)?.joined(arguments.json(1)?))
        },
        "jsonb_delete" => |_, list| {
            let arguments = Arguments(list);
            made(arguments.json(0)?.without(&[arguments.text(1)?])?)
        },
        "jsonb_delete_idx" => |_, list| {
            let arguments = Arguments(list);
            made(arguments.json(0)?.without_element(*arguments.int(1)?)?)
        },
        "jsonb_delete_array" => |_, list| {
            let json = Arguments(list).json(0)?;
            flat(list)?;
            made(json.without(&keys(list)?)?)
        },
        "jsonb_delete_path" => |_, list| {
            let json = Arguments(list).json(0)?;
            let path = flat(list)?.elements.iter().map(|step| match step {
                None => Ok(None),
                Some(Datum::Text(text)) => Ok(Some(&**text)),
                Some(_) => Err(UNEXPECTED),
            });
            made(json.without_path(&path.collect::<Result<Vec<_>, _>>()?)?)
        },
        "jsonb_strip_nulls" => |_, list| made(Arguments(list).json(0)?.stripped()),
        "jsonb_typeof" => |_, list| some(Datum::text(Arguments(list).json(0)?.kind())),
        "jsonb_array_length" => |_, list| match &**Arguments(list).json(0)? {
            Json::Array(elements) => some(Datum::Int(elements.len() as i64)),
            Json::Object(_) => {
                Err(EvaluationError::Other("cannot get array length of a non-array"))
            }
            _ => Err(EvaluationError::Other("cannot get array length of a scalar")),
        },
        _ => return None,
    })
}

fn found(call: &Call, json: Option<&Json>) -> Outcome {
    Ok(match json {
        None => None,
        Some(json) if call.code.ends_with("_text") => {
            json.plain().map(|text| Datum::Text(text.into()))
        }
        Some(json) => Some(Datum::Json(Arc::new(json.clone()))),
    })
}

fn made(json: Json) -> Outcome {
    some(Datum::Json(Arc::new(json)))
}

/// The array behind a `jsonb`, which must have one dimension.
fn flat(list: &[Option<Datum>]) -> Result<&Array, EvaluationError> {
    let array = Arguments(list).array(1)?;
    match array.dimensions.len() {
        0 | 1 => Ok(array),
        _ => Err(EvaluationError::Other("wrong number of array subscripts")),
    }
}

/// `?|`, `?&`: elements are gone through once, where the keys are many.
fn has_keys(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let (json, keys) = (Arguments(list).json(0)?, keys(list)?);
    let texts: Option<HashSet<&str>> = match &**json {
        Json::Array(elements) if keys.len() > FEW => {
            let texts = elements.iter().filter_map(|element| match element {
                Json::Text(text) => Some(text.as_str()),
                _ => None,
            });
            Some(texts.collect())
        }
        _ => None,
    };
    let has =
        |key: &&str| texts.as_ref().map_or_else(|| json.has(key), |found| found.contains(key));
    some(Datum::Bool(match call.code {
        "jsonb_exists_any" => keys.iter().any(has),
        _ => keys.iter().all(has),
    }))
}

/// The elements of a text array that are not NULL.
fn keys(list: &[Option<Datum>]) -> Result<Vec<&str>, EvaluationError> {
    let array = Arguments(list).array(1)?;
    let keys = array.elements.iter().filter_map(|element| match element {
        None => None,
        Some(Datum::Text(text)) => Some(Ok(&**text)),
        Some(_) => Some(Err(UNEXPECTED)),
    });
    keys.collect()
}

/// A path as an array (`#>`) or as arguments of their own.
fn extract(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let json = Arguments(list).json(0)?;
    let spread = list.len() != 2 || !matches!(list[1], Some(Datum::Array(_)));
    let steps: Vec<&str> = if spread {
        let texts = (1..list.len()).map(|at| Arguments(list).text(at));
        texts.collect::<Result<_, _>>()?
    } else {
        let array = Arguments(list).array(1)?;
        if array.elements.iter().any(Option::is_none) {
            return Ok(None);
        }
        keys(list)?
    };
    found(call, json.at_path(&steps))
}
