//! Casts from one type to another.
//!
//! *Enters*: two types, and whether the user wrote the cast. *Leaves*: how values change.
//! *Invariant*: rounding and ranges are Postgres'.

use std::sync::Arc;

use super::room::Room;
use super::{Outcome, UNEXPECTED, some};
use crate::calendar;
use crate::catalog::{CastContext, catalog};
use crate::data_type::DataType;
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;
use crate::interval::Interval;
use crate::json::Json;
use crate::network::Network;
use crate::numeric::Numeric;
use crate::oid::Oid;
use crate::range::Multirange;
use crate::text_form;

mod modifier;
mod readable;

pub(crate) use modifier::{Modifier, modifier};
pub(crate) use readable::Forms;

type Code = fn(&Datum) -> Result<Datum, EvaluationError>;

/// How a value of one type becomes one of another.
#[derive(Debug, Clone)]
pub(crate) enum Conversion {
    /// It stays what it is.
    Relabel,
    Code(Code),
    /// To the time of day, which the infinities do not have.
    TimeOfDay(Oid),
    /// By printing it.
    Output(DataType),
    /// The same, as a `char(n)`.
    Padded(DataType),
    /// By reading it.
    Input(DataType),
    /// By reading it, if it is of a form that we know. SQL has to hold Postgres to the same forms.
    Known(DataType, &'static Forms),
    /// Element by element.
    Elements(Box<Conversion>),
}

/// The cast between two types, if there is one in this context and we have it. Reading a `constant`
/// may fail for a form we do not know: that refuses the clause. For a row it would be an error that
/// Postgres does not raise, so there only types are read of which we know every form, or forms to
/// which Postgres can be held.
pub(crate) fn conversion(
    from: &DataType,
    to: &DataType,
    explicit: bool,
    constant: bool,
) -> Option<Conversion> {
    if from == to {
        return Some(Conversion::Relabel);
    }
    if let Some(cast) = catalog().cast(from.oid, to.oid) {
        if !explicit && cast.context != CastContext::Implicit {
            return None;
        }
        if cast.through_text {
            return Some(match from.oid {
                Oid::JSONB => Conversion::Output(from.clone()),
                _ => Conversion::Input(to.clone()),
            });
        }
        let from_instant = matches!(from.oid, Oid::TIMESTAMP | Oid::TIMESTAMPTZ);
        if from_instant && matches!(to.oid, Oid::TIME | Oid::TIMETZ) {
            return Some(Conversion::TimeOfDay(to.oid));
        }
        return code(from.oid, to.oid).map(|code| match code {
            Some(code) => Conversion::Code(code),
            None => Conversion::Relabel,
        });
    }
    if let (Some(from), Some(to)) = (&from.element, &to.element) {
        let inner = conversion(from, to, explicit, constant)?;
        return Some(match inner {
            Conversion::Relabel => Conversion::Relabel,
            // Nothing in SQL would look at every element.
            Conversion::Known(..) => return None,
            inner => Conversion::Elements(Box::new(inner)),
        });
    }
    if !explicit {
        return None;
    }
    if to.category() == 'S' && from.is_readable() {
        return Some(match to.oid {
            Oid::BPCHAR => Conversion::Padded(from.clone()),
            _ => Conversion::Output(from.clone()),
        });
    }
    // The padding of a `char(n)` is part of what would be read.
    let readable = from.category() == 'S' && from.oid != Oid::BPCHAR;
    if !readable || !to.is_readable() {
        return None;
    }
    if constant || reads_every_form(to) {
        return Some(Conversion::Input(to.clone()));
    }
    Forms::of(to.oid).map(|forms| Conversion::Known(to.clone(), forms))
}

/// Whether we read every text that Postgres reads as a type.
pub(crate) fn reads_every_form(data_type: &DataType) -> bool {
    match &data_type.element {
        Some(element) => reads_every_form(element),
        None if data_type.bounds().is_some() => {
            data_type.bounds().is_some_and(|element| reads_every_form(&element.into()))
        }
        None => !matches!(
            data_type.oid,
            Oid::DATE
                | Oid::TIME
                | Oid::TIMETZ
                | Oid::TIMESTAMP
                | Oid::TIMESTAMPTZ
                | Oid::INTERVAL
                | Oid::INET
                | Oid::CIDR
                | Oid::MACADDR
                | Oid::MACADDR8
                | Oid::XID8
                | Oid::PG_LSN
                | Oid::BIT
                | Oid::VARBIT
        ),
    }
}

/// `Some(None)`: the value stays what it is.
fn code(from: Oid, to: Oid) -> Option<Option<Code>> {
    const INTEGERS: [Oid; 3] = [Oid::INT2, Oid::INT4, Oid::INT8];
    let number =
        |oid| INTEGERS.contains(&oid) || matches!(oid, Oid::FLOAT4 | Oid::FLOAT8 | Oid::NUMERIC);
    let text = |oid| matches!(oid, Oid::TEXT | Oid::VARCHAR);
    Some(match (from, to) {
        (from, to) if text(from) && text(to) => None,
        (Oid::NAME, to) if text(to) => None,
        (Oid::CIDR, Oid::INET) => None,
        (Oid::INET, Oid::CIDR) => Some(cidr),
        (Oid::INET | Oid::CIDR, to) if text(to) => Some(network_text),
        (from, Oid::BPCHAR) if text(from) || from == Oid::NAME => Some(pad),
        (Oid::BPCHAR, to) if text(to) => Some(strip),
        (Oid::INET | Oid::CIDR, Oid::BPCHAR) => Some(|datum| pad(&network_text(datum)?)),
        (Oid::BOOL, Oid::BPCHAR) => Some(|datum| pad(&bool_text(datum)?)),
        (Oid::BOOL, to) if text(to) => Some(bool_text),
        (Oid::BOOL, Oid::INT4) => Some(bool_int),
        (Oid::INT4, Oid::BOOL) => Some(int_bool),
        (from, Oid::INT2) if number(from) => Some(|datum| integer(datum, Oid::INT2)),
        (from, Oid::INT4) if number(from) => Some(|datum| integer(datum, Oid::INT4)),
        (from, Oid::INT8) if number(from) => Some(|datum| integer(datum, Oid::INT8)),
        (from, Oid::FLOAT8) if number(from) => Some(float8),
        (from, Oid::FLOAT4) if number(from) => Some(float4),
        (Oid::FLOAT4, Oid::NUMERIC) => Some(|datum| numeric(datum, 6)),
        (from, Oid::NUMERIC) if number(from) => Some(|datum| numeric(datum, 15)),
        (Oid::BIT, Oid::VARBIT) | (Oid::VARBIT, Oid::BIT) => None,
        (Oid::OID, Oid::INT8) => None,
        (Oid::INT4 | Oid::INT8, Oid::OID) => Some(oid),
        (Oid::DATE, Oid::TIMESTAMP | Oid::TIMESTAMPTZ) => Some(midnight),
        (Oid::TIMESTAMP | Oid::TIMESTAMPTZ, Oid::DATE) => Some(date),
        (Oid::TIMESTAMP, Oid::TIMESTAMPTZ) | (Oid::TIMESTAMPTZ, Oid::TIMESTAMP) => None,
        (Oid::INTERVAL, Oid::TIME) => Some(interval_time),
        (Oid::TIME, Oid::INTERVAL) => Some(time_interval),
        (Oid::TIME, Oid::TIMETZ) => Some(time_timetz),
        (Oid::TIMETZ, Oid::TIME) => Some(timetz_time),
        (from, to) if catalog().multirange(to).is_some_and(|entry| entry.range == from) => {
            Some(multirange)
        }
        (Oid::JSONB, Oid::BOOL) => Some(json_bool),
        (Oid::JSONB, Oid::NUMERIC) => Some(json_numeric),
        (Oid::JSONB, Oid::INT2) => Some(|datum| integer(&json_numeric(datum)?, Oid::INT2)),
        (Oid::JSONB, Oid::INT4) => Some(|datum| integer(&json_numeric(datum)?, Oid::INT4)),
        (Oid::JSONB, Oid::INT8) => Some(|datum| integer(&json_numeric(datum)?, Oid::INT8)),
        (Oid::JSONB, Oid::FLOAT8) => Some(|datum| float8(&json_numeric(datum)?)),
        _ => return None,
    })
}

/// A network without the bits beyond it.
fn cidr(datum: &Datum) -> Result<Datum, EvaluationError> {
    let Datum::Network(one) = datum else { return Err(UNEXPECTED) };
    Ok(Datum::Network(Network { address: one.prefix(one.bits), ..*one }))
}

/// A cast shows the size, which the output function leaves out for a whole address.
fn network_text(datum: &Datum) -> Result<Datum, EvaluationError> {
    let Datum::Network(network) = datum else { return Err(UNEXPECTED) };
    Ok(Datum::text(&network.text(true)))
}

impl Conversion {
    /// Casts a constant; `None` is NULL.
    pub(crate) fn run(&self, datum: &Datum) -> Outcome {
        self.run_within(Room::of_constant(datum), datum)
    }

    /// Casts a value; the result must have room.
    pub(crate) fn run_within(&self, room: Room, datum: &Datum) -> Outcome {
        match self {
            Conversion::Relabel => some(datum.clone()),
            _ => room.hold(self.cast(datum)?),
        }
    }

    fn cast(&self, datum: &Datum) -> Outcome {
        some(match self {
            Conversion::Relabel => datum.clone(),
            Conversion::Code(code) => code(datum)?,
            Conversion::TimeOfDay(to) => return time_of_day(datum, *to),
            Conversion::Output(from) => Datum::Text(text_form::output(from, datum).into()),
            Conversion::Padded(from) => Datum::Padded(text_form::output(from, datum).into()),
            Conversion::Input(to) => read(datum, to, |text| text_form::read(to, text))?,
            Conversion::Known(to, forms) => read(datum, to, |text| forms.read(to, text))?,
            Conversion::Elements(inner) => {
                let Datum::Array(array) = datum else { return Err(UNEXPECTED) };
                let elements = (array.elements.iter())
                    .map(|element| element.as_ref().map_or(Ok(None), |datum| inner.cast(datum)))
                    .collect::<Result<_, _>>()?;
                let dimensions = array.dimensions.clone();
                Datum::Array(Arc::new(Array { dimensions, elements }))
            }
        })
    }
}

fn read(
    datum: &Datum,
    to: &DataType,
    reader: impl Fn(&str) -> Option<Datum>,
) -> Result<Datum, EvaluationError> {
    let Datum::Text(text) = datum else { return Err(UNEXPECTED) };
    reader(text).ok_or(EvaluationError::Invalid(crate::data_type::title(to.oid)))
}

/// `value::text`, which is not always what the type prints.
pub(super) fn as_text(data_type: &DataType, datum: &Datum) -> String {
    match datum {
        Datum::Bool(value) => value.to_string(),
        Datum::Padded(text) => text.trim_end_matches(' ').to_owned(),
        Datum::Network(network) => network.text(true),
        other => text_form::output(data_type, other),
    }
}

fn pad(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Text(text) => Ok(Datum::Padded(Arc::clone(text))),
        _ => Err(UNEXPECTED),
    }
}

fn strip(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Padded(text) => Ok(Datum::text(text.trim_end_matches(' '))),
        _ => Err(UNEXPECTED),
    }
}

fn bool_text(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Bool(value) => Ok(Datum::text(if *value { "true" } else { "false" })),
        _ => Err(UNEXPECTED),
    }
}

fn bool_int(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Bool(value) => Ok(Datum::Int(i64::from(*value))),
        _ => Err(UNEXPECTED),
    }
}

fn int_bool(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Int(int) => Ok(Datum::Bool(*int != 0)),
        _ => Err(UNEXPECTED),
    }
}

/// Floats round half to even, numerics half away from zero.
fn integer(datum: &Datum, to: Oid) -> Result<Datum, EvaluationError> {
    let int = match datum {
        Datum::Int(int) => Some(*int),
        Datum::Numeric(number) => number.to_i64(),
        Datum::Float(float) => {
            let rounded = float.round_ties_even();
            // 2^63 is a float; the largest integer below it is none.
            let fits =
                (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
            fits.then_some(rounded as i64)
        }
        _ => return Err(UNEXPECTED),
    };
    let (range, words) = match to {
        Oid::INT2 => (i64::from(i16::MIN)..=i64::from(i16::MAX), "smallint out of range"),
        Oid::INT4 => (i64::from(i32::MIN)..=i64::from(i32::MAX), "integer out of range"),
        _ => (i64::MIN..=i64::MAX, "bigint out of range"),
    };
    let int = int.filter(|int| range.contains(int));
    int.map(Datum::Int).ok_or(EvaluationError::OutOfRange(words))
}

fn oid(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        // A negative int4 is read as its bits; int8 must fit.
        Datum::Int(int) if (0..=i64::from(u32::MAX)).contains(int) => Ok(Datum::Int(*int)),
        _ => Err(EvaluationError::OutOfRange("OID out of range")),
    }
}

fn float8(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Int(int) => Ok(Datum::Float(*int as f64)),
        Datum::Float(float) => Ok(Datum::Float(*float)),
        Datum::Numeric(number) => {
            let float = number.to_f64();
            let lost = (float.is_infinite() && matches!(number, Numeric::Finite(_)))
                || (float == 0.0 && number.compare(&0.into()).is_ne());
            if lost {
                return Err(EvaluationError::OutOfRange("out of range for type double precision"));
            }
            Ok(Datum::Float(float))
        }
        _ => Err(UNEXPECTED),
    }
}

fn float4(datum: &Datum) -> Result<Datum, EvaluationError> {
    let (narrow, wide) = match datum {
        Datum::Int(int) => (*int as f32, *int as f64),
        Datum::Float(float) => (*float as f32, *float),
        Datum::Numeric(number) => {
            let narrow = number.to_string().parse::<f32>().map_err(|_| UNEXPECTED)?;
            let sign = number.compare(&0.into()) as i8;
            let infinite = matches!(number, Numeric::Infinity | Numeric::NegativeInfinity);
            let wide = if infinite { f64::INFINITY } else { f64::from(sign) };
            (narrow, if matches!(number, Numeric::NotANumber) { f64::NAN } else { wide })
        }
        _ => return Err(UNEXPECTED),
    };
    if narrow.is_infinite() && wide.is_finite() {
        return Err(EvaluationError::OutOfRange("value out of range: overflow"));
    }
    if narrow == 0.0 && wide != 0.0 {
        return Err(EvaluationError::OutOfRange("value out of range: underflow"));
    }
    Ok(Datum::Float(f64::from(narrow)))
}

fn numeric(datum: &Datum, digits: usize) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Int(int) => Ok(Datum::Numeric((*int).into())),
        Datum::Numeric(number) => Ok(Datum::Numeric(number.clone())),
        Datum::Float(float) => Ok(Datum::Numeric(Numeric::from_float(*float, digits))),
        _ => Err(UNEXPECTED),
    }
}

fn midnight(datum: &Datum) -> Result<Datum, EvaluationError> {
    let Datum::Date(date) = datum else { return Err(UNEXPECTED) };
    let out_of_range = EvaluationError::OutOfRange("date out of range for timestamp");
    calendar::midnight(*date).map(Datum::Timestamp).ok_or(out_of_range)
}

fn date(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Timestamp(i64::MIN) => Ok(Datum::Date(i32::MIN)),
        Datum::Timestamp(i64::MAX) => Ok(Datum::Date(i32::MAX)),
        Datum::Timestamp(micros) => {
            let day = micros.div_euclid(calendar::DAY_MICROS);
            i32::try_from(day).map(Datum::Date).map_err(|_| UNEXPECTED)
        }
        _ => Err(UNEXPECTED),
    }
}

fn time_interval(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Time(micros) => {
            Ok(Datum::Interval(Interval { months: 0, days: 0, micros: *micros }))
        }
        _ => Err(UNEXPECTED),
    }
}

/// What is left of its hours when whole days are taken away; its days and months do not count.
fn interval_time(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Interval(interval) => {
            Ok(Datum::Time(interval.micros.rem_euclid(calendar::DAY_MICROS)))
        }
        _ => Err(UNEXPECTED),
    }
}

fn time_of_day(datum: &Datum, to: Oid) -> Outcome {
    let time = match datum {
        Datum::Timestamp(i64::MIN | i64::MAX) => return Ok(None),
        Datum::Timestamp(micros) => micros.rem_euclid(calendar::DAY_MICROS),
        _ => return Err(UNEXPECTED),
    };
    some(match to {
        Oid::TIMETZ => Datum::TimeTz { time, zone: 0 },
        _ => Datum::Time(time),
    })
}

fn time_timetz(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Time(time) => Ok(Datum::TimeTz { time: *time, zone: 0 }),
        _ => Err(UNEXPECTED),
    }
}

fn timetz_time(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::TimeTz { time, .. } => Ok(Datum::Time(*time)),
        _ => Err(UNEXPECTED),
    }
}

fn multirange(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Range(range) => {
            let alone = Multirange::new([(**range).clone()]);
            Ok(Datum::Multirange(Arc::new(alone)))
        }
        _ => Err(UNEXPECTED),
    }
}

fn json_bool(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Json(json) => match **json {
            Json::Bool(value) => Ok(Datum::Bool(value)),
            _ => Err(EvaluationError::Other("cannot cast this jsonb value to type boolean")),
        },
        _ => Err(UNEXPECTED),
    }
}

fn json_numeric(datum: &Datum) -> Result<Datum, EvaluationError> {
    match datum {
        Datum::Json(json) => match &**json {
            Json::Number(number) => Ok(Datum::Numeric(number.clone())),
            _ => Err(EvaluationError::Other("cannot cast this jsonb value to a number")),
        },
        _ => Err(UNEXPECTED),
    }
}
