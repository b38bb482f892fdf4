//! Constants as keys of a column: the one that equals them, those around them.
//!
//! *Invariant*: where a comparison with a constant of another type rounds, bounds are taken wide, and a
//! constant that several values equal has no key.

use crate::expr::Comparison;
use crate::key::Key;
use crate::sort_key;
use crate::sql_type::SqlType;
use crate::value::Value;
use crate::{calendar, decimal};

use super::source::Source;
use super::{Probe, Says, Want};

/// What compares so with a constant that is between two keys, these included.
pub(super) fn range(
    source: Source,
    comparison: Comparison,
    floor: Vec<u8>,
    ceiling: Vec<u8>,
) -> Says {
    let exact = source.is_narrow() && floor == ceiling;
    let (mut floor, mut ceiling) = (floor, ceiling);
    // Keys of one width are numbers: the next one is known. A text's next one is it and a zero.
    let reachable = match comparison {
        Comparison::Greater if exact => step(&mut floor, true),
        Comparison::Less if exact => step(&mut ceiling, false),
        _ => true,
    };
    if !reachable {
        return Says::nothing_matches();
    }
    let want = match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => {
            Want::Between(Some(Key::new(floor)), None)
        }
        _ => Want::Between(None, Some(Key::new(ceiling))),
    };
    Says::one_of(vec![Probe { source, want }])
}

/// The next number or the one before; `false` where there is none.
fn step(key: &mut [u8], up: bool) -> bool {
    let (end, start) = if up { (u8::MAX, 0) } else { (0, u8::MAX) };
    for byte in key.iter_mut().rev() {
        if *byte != end {
            *byte = if up { *byte + 1 } else { *byte - 1 };
            return true;
        }
        *byte = start;
    }
    false
}

/// Keys of a column's type, the first of which is not above any value that a constant is not above,
/// the second not below any that it is not below.
pub(super) fn around(sql_type: SqlType, constant: Value<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = |value: Value<'_>| {
        let mut bytes = Vec::new();
        sort_key::write(value, &mut bytes);
        bytes
    };
    let ints = |low: i64, high: i64| Some((key(Value::Int(low)), key(Value::Int(high))));
    match (sql_type, constant) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Int(int)) => ints(int, int),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Numeric(number)) => {
            match (number.floor(), number.is_negative()) {
                // Two keys: the constant is none that a value could have.
                (Some(floor), _) if floor < i64::MAX => ints(floor, floor + 1),
                (None, true) => ints(i64::MIN, i64::MIN + 1),
                _ => ints(i64::MAX - 1, i64::MAX),
            }
        }
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Float(float)) => {
            if float.is_nan() {
                return ints(i64::MAX - 1, i64::MAX);
            }
            // Integers of this size are rounded to multiples of up to 1,024 before they are compared;
            // the cast saturates.
            let (floor, ceiling) = (float.floor() as i64, float.ceil() as i64);
            if float.abs() <= EXACT_FLOAT_MAX {
                ints(floor, ceiling)
            } else {
                ints(floor.saturating_sub(2_048), ceiling.saturating_add(2_048))
            }
        }
        (SqlType::Date, Value::Timestamp(micros)) => {
            let day = calendar::day_of(micros);
            let limit = |day: i64| day.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            ints(limit(day), limit(day + 1))
        }
        // Not settled to a timestamp because it is later than all of them, but for infinity.
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Date(_)) => ints(i64::MAX - 1, i64::MAX),
        (SqlType::Numeric, Value::Numeric(_))
        | (SqlType::Float4 | SqlType::Float8, Value::Float(_))
        | (SqlType::Bool, Value::Bool(_))
        | (SqlType::Text, Value::Text(_))
        | (SqlType::Uuid, Value::Uuid(_))
        | (SqlType::Date, Value::Date(_))
        | (SqlType::Timestamp | SqlType::Timestamptz, Value::Timestamp(_)) => {
            Some((key(constant), key(constant)))
        }
        // A decimal is compared with a float as a float, and labels in their own order.
        _ => None,
    }
}

/// Which values of a column equal a constant.
pub(super) enum Held<'a> {
    As(Value<'a>),
    Never,
    /// More than one, or we cannot tell.
    Several,
}

/// The largest integer up to which every `int8` is a float of its own.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_991.0;
pub(super) fn held(sql_type: SqlType, constant: Value<'_>) -> Held<'_> {
    let fits = |int: Option<i64>| match int {
        Some(int) if sql_type.integer_range().contains(&int) => Held::As(Value::Int(int)),
        _ => Held::Never,
    };
    match (sql_type, constant) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Int(int)) => fits(Some(int)),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Numeric(decimal)) => {
            fits(decimal::Decimal::to_i64(decimal))
        }
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Float(float)) => {
            if float.abs() > EXACT_FLOAT_MAX {
                Held::Several
            } else if float.fract() == 0.0 {
                // In range, as checked above.
                fits(Some(float as i64))
            } else {
                Held::Never
            }
        }
        (SqlType::Date, Value::Timestamp(micros)) => match calendar::day_of_midnight(micros) {
            Some(day) => Held::As(Value::Date(day)),
            None => Held::Never,
        },
        // Not settled to a timestamp because it is later than all of them.
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Date(_)) => Held::Never,
        (SqlType::Numeric, Value::Numeric(_))
        | (SqlType::Float4 | SqlType::Float8, Value::Float(_))
        | (SqlType::Bool, Value::Bool(_))
        | (SqlType::Text | SqlType::Enum, Value::Text(_))
        | (SqlType::Uuid, Value::Uuid(_))
        | (SqlType::Date, Value::Date(_))
        | (SqlType::Timestamp | SqlType::Timestamptz, Value::Timestamp(_)) => Held::As(constant),
        // Several decimals are one float.
        _ => Held::Several,
    }
}
