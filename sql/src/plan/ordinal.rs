//! Values as whole numbers in the same order.
//!
//! *Enters*: a column's text or a constant of the column's type. *Leaves*: a number.
//! *Invariant*: numbers of one kind compare exactly as the values do, and equal values have one
//! number. What has no number is left to the general evaluator.

use crate::calendar;
use crate::decimal;
use crate::sql_type::SqlType;
use crate::value::{self, Constant, Stored, Value};

/// How a type's text becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ordinal {
    Int,
    /// What is outside the type's range is unreadable, as where integers are computed with.
    Within(SqlType),
    Float(SqlType),
    /// In units of the 18th digit behind the point.
    Decimal,
    Uuid,
    Date,
    Timestamp {
        zoned: bool,
    },
}

impl Ordinal {
    pub(super) fn of(sql_type: SqlType) -> Option<Ordinal> {
        Some(match sql_type {
            SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => Ordinal::Int,
            SqlType::Float4 | SqlType::Float8 => Ordinal::Float(sql_type),
            SqlType::Numeric => Ordinal::Decimal,
            SqlType::Uuid => Ordinal::Uuid,
            SqlType::Date => Ordinal::Date,
            SqlType::Timestamp => Ordinal::Timestamp { zoned: false },
            SqlType::Timestamptz => Ordinal::Timestamp { zoned: true },
            SqlType::Bool | SqlType::Text | SqlType::Enum => return None,
        })
    }

    /// Of a column's text.
    #[inline]
    pub(super) fn read(self, text: &[u8]) -> Option<i128> {
        match self {
            Ordinal::Int => value::read_integer(text).map(i128::from),
            Ordinal::Within(sql_type) => {
                let int = value::read_integer(text)?;
                sql_type.integer_range().contains(&int).then_some(i128::from(int))
            }
            Ordinal::Decimal => decimal::in_units(text),
            Ordinal::Float(sql_type) => match Value::read(sql_type, text)? {
                Value::Float(value) => Some(float(value)),
                _ => None,
            },
            Ordinal::Uuid => value::read_uuid(text).map(uuid),
            Ordinal::Date => calendar::printed_date(text).map(i128::from),
            Ordinal::Timestamp { zoned } => calendar::printed(text, zoned).map(i128::from),
        }
    }

    /// Of a constant, if it is of the kind.
    pub(super) fn constant(self, constant: &Constant) -> Option<i128> {
        match (self, &constant.stored) {
            (Ordinal::Int | Ordinal::Within(_), Stored::Int(int)) => Some(i128::from(*int)),
            (Ordinal::Decimal, Stored::Int(int)) => Some(i128::from(*int) * decimal::UNIT),
            (Ordinal::Decimal, Stored::Numeric(text)) => decimal::in_units(text.as_bytes()),
            (Ordinal::Float(_), Stored::Float(value)) => Some(float(*value)),
            (Ordinal::Uuid, Stored::Uuid(bytes)) => Some(uuid(*bytes)),
            (Ordinal::Date, Stored::Date(day)) => Some(i128::from(*day)),
            (Ordinal::Timestamp { .. }, Stored::Timestamp(micros)) => Some(i128::from(*micros)),
            _ => None,
        }
    }
}

/// NaN is above everything and −0 equals 0.
fn float(value: f64) -> i128 {
    if value.is_nan() {
        return i128::from(i64::MAX);
    }
    let bits = (value + 0.0).to_bits().cast_signed();
    // Of negative floats the larger bits are the smaller number.
    i128::from(if bits < 0 { i64::MIN - bits } else { bits })
}

/// With the first bit turned, the order is that of unsigned numbers.
fn uuid(bytes: [u8; 16]) -> i128 {
    (u128::from_be_bytes(bytes) ^ (1 << 127)).cast_signed()
}
