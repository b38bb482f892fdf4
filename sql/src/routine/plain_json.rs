//! Operators and functions on `json`, which is text.

use super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use crate::datum::Datum;
use crate::decimal::is_c_space;
use crate::evaluation_error::EvaluationError;
use crate::json::{self, PlainError};

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "json_object_field" | "json_object_field_text" => {
            |call, list| look(call, list, &[(Some(Arguments(list).text(1)?), None)])
        }
        "json_array_element" | "json_array_element_text" => |call, list| {
            let index = i32::try_from(*Arguments(list).int(1)?).map_err(|_| UNEXPECTED)?;
            look(call, list, &[(None, known(index))])
        },
        "json_extract_path" | "json_extract_path_text" => extract,
        "json_typeof" => |_, list| some(Datum::text(json::plain_kind(Arguments(list).text(0)?))),
        "json_array_length" => |_, list| {
            let text = Arguments(list).text(0)?;
            match json::plain_kind(text) {
                "array" => {
                    let count = json::count_elements(text).map_err(error)?;
                    some(Datum::Int(i64::from(count)))
                }
                "object" => Err(EvaluationError::Other("cannot get array length of a non-array")),
                _ => Err(EvaluationError::Other("cannot get array length of a scalar")),
            }
        },
        _ => return None,
    })
}

/// Postgres takes the smallest number for "no index".
fn known(index: i32) -> Option<i32> {
    Some(index).filter(|index| *index != i32::MIN)
}

fn error(error: PlainError) -> EvaluationError {
    match error {
        PlainError::Syntax => EvaluationError::Invalid("json"),
        PlainError::Escape => EvaluationError::Other("unsupported Unicode escape sequence"),
    }
}

fn look(call: &Call, list: &[Option<Datum>], steps: &[(Option<&str>, Option<i32>)]) -> Outcome {
    let as_text = call.code.ends_with("_text");
    let found = json::at_path(Arguments(list).text(0)?, steps, as_text).map_err(error)?;
    Ok(found.map(|text| Datum::Text(text.into())))
}

/// A path as an array (`#>`) or as arguments of their own.
fn extract(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let steps = match list.get(1) {
        Some(Some(Datum::Array(array))) => &array.elements[..],
        _ => list.get(1..).unwrap_or_default(),
    };
    let mut path = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            None => return Ok(None),
            Some(Datum::Text(text)) => {
                let digits = text.trim_start_matches(is_c_space);
                path.push((Some(&**text), digits.parse().ok().and_then(known)));
            }
            Some(_) => return Err(UNEXPECTED),
        }
    }
    look(call, list, &path)
}
