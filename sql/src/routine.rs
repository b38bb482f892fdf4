//! The code behind operators and functions, found by Postgres' name for it.
//!
//! *Enters*: a resolved overload. *Leaves*: a function from data to a datum or an error.
//! *Invariant*: what has no code here has no exact evaluation and is refused when the clause is
//! compiled. What the C library computes is among it: a clause may have that where the server's library is known to be
//! like ours. Left out on purpose: whatever depends on the clock or on the session.

use std::sync::Arc;

use crate::data_type::DataType;
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;
use crate::expr::Comparison;
use crate::interval::Interval;
use crate::json::Json;
use crate::network::Network;
use crate::numeric::Numeric;
use crate::oid::Oid;
use crate::range::{Multirange, Range};
use crate::{CaseMap, Zone};

mod array;
mod bits;
mod bytes;
mod calendar;
mod conversion;
mod json;
mod made_json;
mod network;
mod number;
mod pattern;
mod plain_json;
mod quoted;
mod range;
mod room;
mod text;

pub(crate) use bytes::check_encoding;
pub(crate) use calendar::{check as check_constant, check_offset, zone_argument};
pub(crate) use conversion::{Conversion, Forms, Modifier, conversion, modifier, reads_every_form};
pub(crate) use number::{Code, by_code};
pub(crate) use pattern::{Classes, Pattern, check_options, options_argument, wants_expression};
pub(crate) use quoted::check_format;
pub(crate) use room::Room;

/// A call of an operator or a function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The operator's symbol or the function's name.
    pub(crate) name: &'static str,
    pub(crate) is_operator: bool,
    /// Postgres' name of the code.
    pub(crate) code: &'static str,
    /// What the arguments are once they have been cast.
    pub(crate) arguments: Vec<DataType>,
    pub(crate) result: DataType,
    /// NULL in, NULL out.
    pub(crate) strict: bool,
    /// Depends on settings to Postgres: not computed before there is a row.
    pub(crate) stable: bool,
    pub(crate) function: Function,
    /// Options that say that case does not count.
    pub(crate) ignores_case: bool,
    /// How the collation folds case, for code that asks for it.
    pub(crate) fold: Option<Arc<CaseMap>>,
    /// The constant pattern of LIKE's and regular expressions' code.
    pub(crate) pattern: Option<Arc<Pattern>>,
    /// The constant time zone; `None` is UTC, and code that asks for none.
    pub(crate) zone: Option<Arc<Zone>>,
}

/// What a call gives; `None` is NULL.
pub(crate) type Outcome = Result<Option<Datum>, EvaluationError>;

/// Code. Where the call is strict no argument is NULL.
pub(crate) type Function = fn(&Call, &[Option<Datum>]) -> Outcome;

/// Arguments whose types resolution has settled.
pub(crate) struct Arguments<'a>(&'a [Option<Datum>]);

/// A datum of another kind than the types say: resolution never lets that happen.
const UNEXPECTED: EvaluationError = EvaluationError::Other("unexpected kind of value");

macro_rules! getters {
    ($($name:ident: $variant:ident => $type:ty),* $(,)?) => {
        $(fn $name(&self, at: usize) -> Result<&'a $type, EvaluationError> {
            match self.0.get(at) {
                Some(Some(Datum::$variant(value))) => Ok(value),
                _ => Err(UNEXPECTED),
            }
        })*
    };
}

impl<'a> Arguments<'a> {
    getters! {
        int: Int => i64, float: Float => f64, numeric: Numeric => Numeric, date: Date => i32,
        timestamp: Timestamp => i64, time: Time => i64, interval: Interval => Interval,
        json: Json => Arc<Json>, network: Network => Network, array: Array => Arc<Array>, bytes: Bytes => Arc<[u8]>,
        range: Range => Arc<Range>, multirange: Multirange => Arc<Multirange>,
    }

    fn text(&self, at: usize) -> Result<&'a str, EvaluationError> {
        match self.0.get(at) {
            Some(Some(Datum::Text(text) | Datum::Padded(text))) => Ok(text),
            _ => Err(UNEXPECTED),
        }
    }

    fn any(&self, at: usize) -> Result<&'a Datum, EvaluationError> {
        self.0.get(at).and_then(Option::as_ref).ok_or(UNEXPECTED)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The result of code that is never NULL.
fn some(datum: Datum) -> Outcome {
    Ok(Some(datum))
}

/// The code of an overload, once its arguments' types are known; `None` where we have none.
pub(crate) fn function(
    name: &str,
    code: &str,
    is_operator: bool,
    arguments: &[DataType],
) -> Option<Function> {
    if is_operator && Comparison::from_symbol(name).is_some() && arguments.len() == 2 {
        let ordered = !matches!(name, "=" | "<>");
        return are_comparable(arguments, ordered).then_some(compare as Function);
    }
    (number::function(code))
        .or_else(|| text::function(code))
        .or_else(|| bytes::function(code))
        .or_else(|| bits::function(code))
        .or_else(|| pattern::function(code))
        .or_else(|| calendar::function(code))
        .or_else(|| array::function(code))
        .or_else(|| json::function(code))
        .or_else(|| network::function(code))
        .or_else(|| range::function(code))
        .or_else(|| plain_json::function(code))
        .or_else(|| made_json::function(code))
        .or_else(|| quoted::function(code))
}

/// Whether two types are compared as Postgres compares them.
fn are_comparable(arguments: &[DataType], ordered: bool) -> bool {
    arguments.iter().all(|one| is_comparable(one, ordered))
}

/// Whether a type's equality, or its order, is ours too. The order of `jsonb` text is that of the
/// database's collation.
pub(crate) fn is_comparable(data_type: &DataType, ordered: bool) -> bool {
    match &data_type.element {
        Some(element) => is_comparable(element, ordered),
        // `json` is text that nothing compares; `citext` is compared as its lower case.
        None if matches!(data_type.oid, Oid::JSON | Oid::CITEXT) => false,
        None => data_type.is_readable() && !(ordered && data_type.oid == Oid::JSONB),
    }
}

/// Whether the digits of a result depend on the version of Postgres.
pub(crate) fn is_power(code: &str) -> bool {
    number::is_power(code)
}

/// Whether code on arrays asks which elements are equal.
pub(crate) fn finds_elements(code: &str) -> bool {
    matches!(
        code,
        "arraycontains"
            | "arraycontained"
            | "arrayoverlap"
            | "array_position"
            | "array_positions"
            | "array_remove"
            | "array_replace"
    )
}

fn compare(call: &Call, arguments: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(arguments);
    let order = arguments.any(0)?.compare(arguments.any(1)?);
    let comparison = Comparison::from_symbol(call.name).ok_or(UNEXPECTED)?;
    some(Datum::Bool(comparison.holds(order)))
}

impl Call {
    /// Runs the code on constants.
    pub(crate) fn run(&self, arguments: &[Option<Datum>]) -> Outcome {
        self.run_within(Room::of_constants(arguments), arguments)
    }

    /// Runs the code, whose result must have room.
    pub(crate) fn run_within(&self, room: Room, arguments: &[Option<Datum>]) -> Outcome {
        if self.strict && arguments.iter().any(Option::is_none) {
            return Ok(None);
        }
        room.hold((self.function)(self, arguments)?)
    }

    /// What the code asks of its text's collation.
    pub(crate) fn text_use(&self) -> TextUse {
        let folds = self.ignores_case
            || matches!(self.code, "lower" | "upper" | "initcap")
            || self.code.contains("iclike")
            || self.code.contains("icnlike")
            || self.code.contains("icregex");
        let compares = self.is_operator
            || matches!(
                self.code,
                "textpos"
                    | "replace_text"
                    | "split_part"
                    | "text_starts_with"
                    | "array_position"
                    | "array_positions"
                    | "array_remove"
                    | "array_replace"
                    | "text_to_array"
            )
            || wants_expression(self.code).is_some();
        match Comparison::from_symbol(self.name) {
            _ if folds => TextUse::Fold,
            Some(comparison) if comparison.needs_order() => TextUse::Order,
            _ if compares && self.name != "||" => TextUse::Equality,
            _ => TextUse::None,
        }
    }
}

/// What code asks of a collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextUse {
    /// Nothing: it takes text as it is.
    None,
    /// Equal means equal bytes.
    Equality,
    Order,
    /// Upper and lower case.
    Fold,
}

#[cfg(test)]
mod tests;
