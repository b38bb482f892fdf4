//! How large what is computed may become.
//!
//! *Enters*: what a call or a cast has made. *Leaves*: the same, or an error.
//! *Invariant*: the bound is one of the row (for what is computed before there is one, of the values it is made
//! of), not of what stands within: results that grow are bounded however they are nested. A value of a row that
//! is passed on, escaped or encoded stays far below it, whatever its size.

use crate::Row;
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;
use crate::json::Json;
use crate::limits::{GROWTH_MAX, MADE_BYTES_MAX, MADE_CONSTANT_BYTES_MAX};
use crate::numeric::Numeric;

pub(crate) const TOO_LONG: EvaluationError =
    EvaluationError::Other("text of more than a million characters is not made here");

const CONSTANT_TOO_LONG: EvaluationError = EvaluationError::Other(
    "a constant that is over 16 KiB larger than what it is made of is not made here",
);

/// Bytes that one value may have, and what is said of a larger one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room(usize, EvaluationError);

impl Room {
    /// What is computed for a row.
    pub(crate) fn of_row(row: &Row) -> Room {
        Room(MADE_BYTES_MAX.max(row.as_bytes().len().saturating_mul(GROWTH_MAX)), TOO_LONG)
    }

    /// What is made of constants, and kept.
    pub(super) fn of_constants(made_of: &[Option<Datum>]) -> Room {
        let shown: usize = made_of.iter().flatten().map(shown).sum();
        Room(shown.saturating_add(MADE_CONSTANT_BYTES_MAX), CONSTANT_TOO_LONG)
    }

    /// Of one constant.
    pub(super) fn of_constant(made_of: &Datum) -> Room {
        Room(shown(made_of).saturating_add(MADE_CONSTANT_BYTES_MAX), CONSTANT_TOO_LONG)
    }

    /// Hands on what has room.
    pub(super) fn hold(self, made: Option<Datum>) -> Result<Option<Datum>, EvaluationError> {
        match &made {
            Some(datum) if size(datum) > self.0 => Err(self.1),
            _ => Ok(made),
        }
    }

    /// Takes the room of a value away.
    pub(crate) fn take(&mut self, datum: &Option<Datum>) -> Result<(), EvaluationError> {
        let size = datum.as_ref().map_or(0, size);
        self.0 = self.0.checked_sub(size).ok_or(self.1)?;
        Ok(())
    }
}

/// Stops what is being made while it is: before the whole is there, whose room would be asked too late.
pub(super) fn check(made: usize, made_of: usize) -> Result<(), EvaluationError> {
    if made > MADE_BYTES_MAX.max(made_of.saturating_mul(2)) { Err(TOO_LONG) } else { Ok(()) }
}

/// Bytes, about; no more than the shortest text of it has, so that reading makes nothing larger.
pub(super) fn size(datum: &Datum) -> usize {
    match datum {
        Datum::Text(text) | Datum::Padded(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Array(array) => of_array(array),
        Datum::Json(json) => of_json(json, |_| 1),
        _ => 1,
    }
}

/// Bytes of its text, or a few more, but for what is escaped or encoded there, which could be done again and again: what a
/// constant is made of may be made into text, be it of a thousand elements.
fn shown(datum: &Datum) -> usize {
    /// An interval, a range of instants.
    const LONGEST: usize = 96;
    match datum {
        Datum::Text(_) | Datum::Padded(_) => size(datum),
        Datum::Bytes(_) => size(datum),
        Datum::Enum { label, .. } => label.len(),
        Datum::Numeric(number) => digits(number),
        Datum::Json(json) => of_json(json, digits),
        Datum::Array(array) => {
            array.elements.iter().map(|one| 4 + one.as_ref().map_or(0, shown)).sum()
        }
        _ => LONGEST,
    }
}

fn sizes(list: &[Option<Datum>]) -> usize {
    list.iter().flatten().map(size).sum()
}

pub(super) fn of_array(array: &Array) -> usize {
    array.elements.len() + sizes(&array.elements)
}

fn digits(number: &Numeric) -> usize {
    number.to_string().len()
}

fn of_json(json: &Json, number: fn(&Numeric) -> usize) -> usize {
    match json {
        Json::Text(text) => text.len() + 2,
        Json::Array(elements) => elements.iter().map(|one| 1 + of_json(one, number)).sum(),
        Json::Object(members) => {
            let member = |(key, value): &(String, Json)| key.len() + 4 + of_json(value, number);
            members.iter().map(member).sum()
        }
        Json::Number(found) => number(found),
        Json::Null | Json::Bool(_) => 1,
    }
}
