//! `jsonb` made of values of other types.

use std::sync::Arc;

use super::{Call, Function, Outcome, some};
use crate::data_type::DataType;
use crate::datum::{Array, Datum, Dimension};
use crate::evaluation_error::EvaluationError;
use crate::json::Json;
use crate::numeric::Numeric;
use crate::oid::Oid;
use crate::text_form;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "to_jsonb" => |call, list| match list {
            [Some(datum)] => made(of(&call.arguments[0], datum)?),
            _ => Ok(None),
        },
        "jsonb_build_array" | "jsonb_build_array_noargs" => |call, list| {
            let pairs = call.arguments.iter().zip(list);
            let elements = pairs.map(|(data_type, value)| of_any(data_type, value.as_ref()));
            made(Json::Array(elements.collect::<Result<_, _>>()?))
        },
        "jsonb_build_object" | "jsonb_build_object_noargs" => object,
        _ => return None,
    })
}

fn made(json: Json) -> Outcome {
    some(Datum::Json(Arc::new(json)))
}

fn object(call: &Call, list: &[Option<Datum>]) -> Outcome {
    const ODD: EvaluationError =
        EvaluationError::Other("argument list must have even number of elements");
    const NULL: EvaluationError = EvaluationError::Other("key must not be null");
    let mut members = Vec::with_capacity(list.len() / 2);
    for (types, values) in call.arguments.chunks(2).zip(list.chunks(2)) {
        let ([key_type, value_type], [key, value]) = (types, values) else { return Err(ODD) };
        let key = name(key_type, key.as_ref().ok_or(NULL)?)?;
        members.push((key, of_any(value_type, value.as_ref())?));
    }
    made(Json::object(members))
}

/// A key.
fn name(data_type: &DataType, datum: &Datum) -> Result<String, EvaluationError> {
    const NO_SCALAR: EvaluationError =
        EvaluationError::Other("key value must be scalar, not array, composite, or json");
    match (datum, of(data_type, datum)?) {
        (Datum::Array(_) | Datum::Json(_), _) => Err(NO_SCALAR),
        _ if data_type.oid == Oid::JSON => Err(NO_SCALAR),
        (Datum::Bool(value), _) => Ok(value.to_string()),
        (_, Json::Text(text)) => Ok(text),
        _ => Ok(text_form::output(data_type, datum)),
    }
}

fn of_any(data_type: &DataType, value: Option<&Datum>) -> Result<Json, EvaluationError> {
    value.map_or(Ok(Json::Null), |datum| of(data_type, datum))
}

/// A value as JSON.
fn of(data_type: &DataType, datum: &Datum) -> Result<Json, EvaluationError> {
    let shown = || text_form::output(data_type, datum);
    // NaN and the infinities are no numbers there.
    let number = |text: String| match Numeric::read(&text) {
        Ok(number @ Numeric::Finite(_)) => Json::Number(number),
        _ => Json::Text(text),
    };
    Ok(match datum {
        Datum::Bool(value) => Json::Bool(*value),
        Datum::Int(int) if data_type.oid != Oid::OID => Json::Number((*int).into()),
        Datum::Numeric(_) | Datum::Float(_) => number(shown()),
        Datum::Json(json) => (**json).clone(),
        Datum::Text(text) if data_type.oid == Oid::JSON => {
            Json::read(text).ok_or(EvaluationError::Invalid("json"))?
        }
        Datum::Timestamp(_) => Json::Text(instant(&shown(), data_type.oid)),
        Datum::Array(array) => {
            let Some(element) = &data_type.element else { return Err(super::UNEXPECTED) };
            elements(element, array)?
        }
        _ => Json::Text(shown()),
    })
}

/// As XML has it: `T` before the time, and minutes of the offset.
fn instant(text: &str, oid: Oid) -> String {
    let text = text.replacen(' ', "T", 1);
    if oid == Oid::TIMESTAMPTZ { text.replacen("+00", "+00:00", 1) } else { text }
}

fn elements(element: &DataType, array: &Array) -> Result<Json, EvaluationError> {
    fn level<'a>(
        element: &DataType,
        dimensions: &[Dimension],
        values: &mut impl Iterator<Item = &'a Option<Datum>>,
    ) -> Result<Json, EvaluationError> {
        match dimensions.split_first() {
            None => of_any(element, values.next().and_then(Option::as_ref)),
            Some((first, rest)) => {
                let items = (0..first.length).map(|_| level(element, rest, values));
                Ok(Json::Array(items.collect::<Result<_, _>>()?))
            }
        }
    }
    if array.dimensions.is_empty() {
        return Ok(Json::Array(Vec::new()));
    }
    level(element, &array.dimensions, &mut array.elements.iter())
}
