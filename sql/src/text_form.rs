//! Values from text and back: Postgres' input and output functions.
//!
//! *Enters*: column text as Postgres prints it, text of constants. *Leaves*: data and their text.
//! *Invariant*: a form Postgres accepts and we do not is refused, never read differently; output is
//! what Postgres prints under the settings of our sessions (ISO dates, UTC, ISO intervals, shortest
//! floats, hexadecimal bytes).

use std::sync::Arc;

use crate::calendar;
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::datum::{Array, Datum};
use crate::interval::Interval;
use crate::json::{self, Json};
use crate::limits::NUMERIC_CONSTANT_DIGITS_MAX;
use crate::literal;
use crate::network::Network;
use crate::numeric::{Numeric, NumericError};
use crate::oid::Oid;
use crate::sql_type::SqlType;
use crate::value::{self, Stored};

mod array;
mod bytes;
mod float;
mod plain;
mod range;

pub(crate) use bytes::read as read_bytes;
pub(crate) use float::float_text;

/// Reads a constant of a type; the words of the refusal are Postgres'.
pub(crate) fn input(data_type: &DataType, text: &str) -> Result<Datum, String> {
    let datum = input_base(data_type, text)?;
    match &data_type.element {
        Some(element) => held_all(element, datum),
        None => held(data_type, datum),
    }
}

/// A constant, cut or rounded to what a domain says.
fn held(data_type: &DataType, datum: Datum) -> Result<Datum, String> {
    match data_type.domain.as_ref().and_then(|domain| domain.modifier) {
        Some(modifier) => modifier.hold(data_type.oid, &datum),
        None => Ok(datum),
    }
}

fn held_all(element: &DataType, datum: Datum) -> Result<Datum, String> {
    let Datum::Array(array) = &datum else { return Ok(datum) };
    if element.domain.as_ref().is_none_or(|domain| domain.modifier.is_none()) {
        return Ok(datum);
    }
    let one = |value: &Option<Datum>| value.clone().map(|value| held(element, value)).transpose();
    let elements = array.elements.iter().map(one).collect::<Result<_, _>>()?;
    Ok(Datum::Array(Arc::new(Array { elements, ..(**array).clone() })))
}

fn input_base(data_type: &DataType, text: &str) -> Result<Datum, String> {
    if data_type.oid == Oid::NUMERIC {
        // Digits by exponent cost nothing to write.
        return match Numeric::read(text) {
            Ok(number) if number.to_string().len() > NUMERIC_CONSTANT_DIGITS_MAX + 2 => {
                Err(format!(
                    "numeric constants of more than {NUMERIC_CONSTANT_DIGITS_MAX} digits are not \
                 supported"
                ))
            }
            Ok(number) => Ok(Datum::Numeric(number)),
            Err(NumericError::Overflow) => Err(format!(
                "numeric constants of more than {NUMERIC_CONSTANT_DIGITS_MAX} digits are not \
                 supported"
            )),
            Err(NumericError::Syntax) => Err(invalid(data_type, text)),
        };
    }
    if let Some(sql_type) = SqlType::from_oid(data_type.oid.0) {
        return literal::input(sql_type, text).map(|constant| stored(constant.stored));
    }
    if let Some(found) = read_range(data_type, text, &input) {
        return found;
    }
    if matches!(data_type.oid, Oid::TIME | Oid::TIMETZ)
        && let Err(why) = calendar::time(text)
    {
        return Err(literal::calendar_words(why, &data_type.title(), text));
    }
    read(data_type, text).ok_or_else(|| match &data_type.labels {
        Some(_) => format!("invalid input value for enum {}: \"{text}\"", data_type.title()),
        None if data_type.element.is_some() => format!("malformed array literal: \"{text}\""),
        None => invalid(data_type, text),
    })
}

fn invalid(data_type: &DataType, text: &str) -> String {
    format!("invalid input syntax for type {}: \"{text}\"", data_type.title())
}

fn stored(stored: Stored) -> Datum {
    match stored {
        Stored::Bool(value) => Datum::Bool(value),
        Stored::Int(int) => Datum::Int(int),
        Stored::Float(float) => Datum::Float(float),
        Stored::Numeric(text) => {
            Datum::Numeric(Numeric::read(&text).unwrap_or(Numeric::NotANumber))
        }
        Stored::Text(text) => Datum::text(&text),
        Stored::Uuid(uuid) => Datum::Uuid(uuid),
        Stored::Date(date) => Datum::Date(date),
        Stored::Timestamp(timestamp) => Datum::Timestamp(timestamp),
    }
}

/// Reads a range or a multirange, bounds being read as `bound` says; `None` of other types.
fn read_range(
    data_type: &DataType,
    text: &str,
    bound: range::Element<'_>,
) -> Option<Result<Datum, String>> {
    if let Some(entry) = catalog().range(data_type.oid) {
        let found = range::read(entry.element, text, bound);
        return Some(found.map(|range| Datum::Range(Arc::new(range))));
    }
    let entry = catalog().multirange(data_type.oid)?;
    let found = range::read_multi(entry.element, text, bound);
    Some(found.map(|multirange| Datum::Multirange(Arc::new(multirange))))
}

/// Reads text as a type's input function does; `None` where it raises an error.
pub(crate) fn read(data_type: &DataType, text: &str) -> Option<Datum> {
    if let Some(element) = &data_type.element {
        return array::read(element, text).map(|array| Datum::Array(Arc::new(array)));
    }
    if let Some(labels) = &data_type.labels {
        let order = labels.labels.iter().position(|label| **label == *text)?;
        let label = Arc::clone(&labels.labels[order]);
        return Some(Datum::Enum { order: u32::try_from(order).ok()?, label });
    }
    Some(match data_type.oid {
        Oid::TEXT | Oid::VARCHAR | Oid::CITEXT => Datum::text(text),
        Oid::NAME => {
            let mut end = text.len().min(crate::name::NAME_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Datum::text(&text[..end])
        }
        Oid::BPCHAR => Datum::Padded(text.into()),
        Oid::NUMERIC => Datum::Numeric(Numeric::read(text).ok()?),
        Oid::OID => Datum::Int(i64::from(text.trim().parse::<u32>().ok()?)),
        Oid::BYTEA => Datum::Bytes(bytes::read(text)?.into()),
        Oid::TIME => Datum::Time(calendar::time(text).ok()?.0),
        Oid::TIMETZ => {
            let (time, zone) = calendar::time(text).ok()?;
            Datum::TimeTz { time, zone: i32::try_from(-zone / 1_000_000).ok()? }
        }
        Oid::INTERVAL => Datum::Interval(Interval::read(text, None)?),
        Oid::INET => Datum::Network(Network::read(text, false)?),
        Oid::CIDR => Datum::Network(Network::read(text, true)?),
        Oid::JSONB => Datum::Json(Arc::new(Json::read(text)?)),
        Oid::JSON => json::is_valid(text).then(|| Datum::text(text))?,
        oid if data_type.bounds().is_some() => {
            let bound = |element: &DataType, text: &str| {
                read(element, text).ok_or_else(|| invalid(element, text))
            };
            read_range(&oid.into(), text, &bound)?.ok()?
        }
        oid => {
            let Some(sql_type) = SqlType::from_oid(oid.0) else { return plain::read(oid, text) };
            if let Some(datum) = printed(sql_type, text.as_bytes()) {
                return Some(datum);
            }
            stored(literal::input(sql_type, text).ok()?.stored)
        }
    })
}

/// Reads the forms in which Postgres prints what it prints most; `None` for every other form, right
/// or wrong.
pub(crate) fn printed(sql_type: SqlType, text: &[u8]) -> Option<Datum> {
    Some(match sql_type {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            let int = value::read_integer(text)?;
            Datum::Int(sql_type.integer_range().contains(&int).then_some(int)?)
        }
        SqlType::Date => Datum::Date(calendar::printed_date(text)?),
        SqlType::Timestamp => Datum::Timestamp(calendar::printed(text, false)?),
        SqlType::Timestamptz => Datum::Timestamp(calendar::printed(text, true)?),
        _ => return None,
    })
}

/// The text Postgres prints.
pub(crate) fn output(data_type: &DataType, datum: &Datum) -> String {
    match datum {
        Datum::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Datum::Int(int) => int.to_string(),
        Datum::Float(float) => float_text(*float, data_type.oid == Oid::FLOAT4),
        Datum::Numeric(number) => number.to_string(),
        Datum::Text(text) | Datum::Padded(text) => text.to_string(),
        Datum::Enum { label, .. } => label.to_string(),
        Datum::Bytes(bytes) => {
            plain::write(data_type.oid, bytes).unwrap_or_else(|| bytes::write(bytes))
        }
        Datum::Uuid(uuid) => crate::value::uuid_text(*uuid),
        Datum::Date(date) => calendar::date_text(*date),
        Datum::Time(time) => calendar::time_text(*time),
        Datum::TimeTz { time, zone } => calendar::time_text(*time) + &calendar::zone_text(*zone),
        Datum::Timestamp(timestamp) => {
            calendar::timestamp_text(*timestamp, data_type.oid == Oid::TIMESTAMPTZ)
        }
        Datum::Interval(interval) => interval.to_string(),
        Datum::Json(json) => json.to_string(),
        Datum::Network(network) => network.text(data_type.oid == Oid::CIDR),
        Datum::Array(array) => match &data_type.element {
            Some(element) => array::write(element, array),
            None => String::new(),
        },
        Datum::Range(range) => {
            data_type.bounds().map_or_else(String::new, |element| range::write(element, range))
        }
        Datum::Multirange(multirange) => data_type
            .bounds()
            .map_or_else(String::new, |element| range::write_multi(element, multirange)),
    }
}
