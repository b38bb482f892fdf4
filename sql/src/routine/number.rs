//! Arithmetic, checked in the type of its result.

use super::{Arguments, Call, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::numeric::Numeric;
use crate::oid::Oid;

mod format;
mod mathematics;
mod template;

pub(super) use format::check as check_format;
pub(crate) use mathematics::{Code, by_code};

/// The code of powers and logarithms of `numeric`.
fn power(code: &str) -> Option<Function> {
    Some(match code {
        "numeric_exp" => |_, list| numeric(Arguments(list).numeric(0)?.exponential()?),
        "numeric_ln" => |_, list| numeric(Arguments(list).numeric(0)?.logarithm()?),
        "log/1/1741" | "log10/1/1481" => {
            |_, list| numeric(Numeric::from(10).logarithm_of(Arguments(list).numeric(0)?)?)
        }
        "numeric_log" => |_, list| {
            let arguments = Arguments(list);
            numeric(arguments.numeric(0)?.logarithm_of(arguments.numeric(1)?)?)
        },
        "numeric_power" => |_, list| {
            let arguments = Arguments(list);
            numeric(arguments.numeric(0)?.power(arguments.numeric(1)?)?)
        },
        _ => return None,
    })
}

/// Whether it is one of these, whose digits depend on the version of Postgres.
pub(super) fn is_power(code: &str) -> bool {
    power(code).is_some()
}

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    let apart = format::function(code).or_else(|| power(code));
    if let Some(function) = apart.or_else(|| mathematics::function(code)) {
        return Some(function);
    }
    let integer = |code: &str| {
        let rest = code.strip_prefix("int")?;
        let symbol = rest.trim_start_matches(['2', '4', '8']);
        (rest.len() - symbol.len() > 0).then(|| symbol.to_owned())
    };
    if let Some(operation) = integer(code) {
        return integer_function(&operation);
    }
    let float = code.strip_prefix("float").map(|rest| rest.trim_start_matches(['4', '8']));
    Some(match (float, code) {
        (Some("pl" | "mi" | "mul" | "div"), _) => float_arithmetic,
        (Some("um"), _) => |_, list| some(Datum::Float(-*Arguments(list).float(0)?)),
        (Some("up"), _) | (_, "numeric_uplus") => |_, list| Ok(list[0].clone()),
        (Some("abs"), _) => |_, list| some(Datum::Float(Arguments(list).float(0)?.abs())),
        (_, "dsqrt") => |_, list| {
            let float = *Arguments(list).float(0)?;
            if float < 0.0 {
                return Err(EvaluationError::Other("cannot take square root of a negative number"));
            }
            some(Datum::Float(float.sqrt()))
        },
        (_, "dround") => |_, list| some(Datum::Float(Arguments(list).float(0)?.round_ties_even())),
        (_, "dtrunc") => |_, list| some(Datum::Float(Arguments(list).float(0)?.trunc())),
        (_, "dceil") => |_, list| some(Datum::Float(Arguments(list).float(0)?.ceil())),
        (_, "dfloor") => |_, list| some(Datum::Float(Arguments(list).float(0)?.floor())),
        (_, "dsign") => |_, list| {
            let float = *Arguments(list).float(0)?;
            let sign = if float > 0.0 { 1.0 } else { -1.0 };
            some(Datum::Float(if float == 0.0 || float.is_nan() { 0.0 } else { sign }))
        },
        (
            _,
            "numeric_add" | "numeric_sub" | "numeric_mul" | "numeric_div" | "numeric_mod"
            | "numeric_div_trunc",
        ) => numeric_arithmetic,
        (_, "numeric_uminus") => |_, list| numeric(Arguments(list).numeric(0)?.negate()),
        (_, "numeric_abs") => |_, list| numeric(Arguments(list).numeric(0)?.abs()),
        (_, "numeric_sqrt") => |_, list| numeric(Arguments(list).numeric(0)?.square_root()?),
        (_, "numeric_sign") => |_, list| numeric(Arguments(list).numeric(0)?.signum()),
        (_, "numeric_ceil") => |_, list| numeric(Arguments(list).numeric(0)?.to_whole(true)),
        (_, "numeric_floor") => |_, list| numeric(Arguments(list).numeric(0)?.to_whole(false)),
        (_, "round/1/1708") => |_, list| numeric(Arguments(list).numeric(0)?.with_scale(0, true)),
        (_, "trunc/1/1710") => |_, list| numeric(Arguments(list).numeric(0)?.with_scale(0, false)),
        (_, "numeric_round") => |_, list| {
            let arguments = Arguments(list);
            numeric(arguments.numeric(0)?.with_scale(*arguments.int(1)?, true))
        },
        (_, "numeric_trunc") => |_, list| {
            let arguments = Arguments(list);
            numeric(arguments.numeric(0)?.with_scale(*arguments.int(1)?, false))
        },
        (_, "numeric_scale") => |_, list| {
            Ok(Arguments(list).numeric(0)?.scale().map(|scale| Datum::Int(i64::from(scale))))
        },
        _ => return None,
    })
}

fn numeric(number: Numeric) -> Outcome {
    some(Datum::Numeric(number))
}

fn integer_function(operation: &str) -> Option<Function> {
    Some(match operation {
        "pl" | "mi" | "mul" | "div" | "mod" | "and" | "or" | "xor" | "shl" | "shr" => {
            integer_arithmetic
        }
        "up" => |_, list| Ok(list[0].clone()),
        "um" => |call, list| fit(call, Arguments(list).int(0)?.checked_neg()),
        "abs" => |call, list| fit(call, Arguments(list).int(0)?.checked_abs()),
        "not" => |_, list| some(Datum::Int(!*Arguments(list).int(0)?)),
        "gcd" => |call, list| {
            let arguments = Arguments(list);
            let (mut left, mut right) =
                (i128::from(*arguments.int(0)?).abs(), i128::from(*arguments.int(1)?).abs());
            while right != 0 {
                (left, right) = (right, left % right);
            }
            fit(call, i64::try_from(left).ok())
        },
        _ => return None,
    })
}

/// An integer in the range of the call's result.
fn fit(call: &Call, int: Option<i64>) -> Outcome {
    let (range, words) = match call.result.oid {
        Oid::INT2 => (i64::from(i16::MIN)..=i64::from(i16::MAX), "smallint out of range"),
        Oid::INT4 => (i64::from(i32::MIN)..=i64::from(i32::MAX), "integer out of range"),
        _ => (i64::MIN..=i64::MAX, "bigint out of range"),
    };
    match int.filter(|int| range.contains(int)) {
        Some(int) => some(Datum::Int(int)),
        None => Err(EvaluationError::OutOfRange(words)),
    }
}

fn integer_arithmetic(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (*arguments.int(0)?, *arguments.int(1)?);
    if matches!(call.name, "/" | "%" | "mod") && right == 0 {
        return Err(EvaluationError::DivisionByZero);
    }
    let result = match call.name {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" => left.checked_div(right),
        // The smallest number has no positive twin, but its remainder is 0.
        "%" | "mod" => Some(left.checked_rem(right).unwrap_or(0)),
        "&" => Some(left & right),
        "|" => Some(left | right),
        "#" => Some(left ^ right),
        "<<" | ">>" => Some(shift(call, left, right)),
        _ => None,
    };
    fit(call, result)
}

/// As the processor shifts: only the low bits of the distance count.
fn shift(call: &Call, int: i64, by: i64) -> i64 {
    let left = call.name == "<<";
    // Masked, so it fits.
    let narrow = (by & 31) as u32;
    match (call.result.oid, left) {
        (Oid::INT8, true) => int.wrapping_shl((by & 63) as u32),
        (Oid::INT8, false) => int.wrapping_shr((by & 63) as u32),
        // Computed as `int4` and cut.
        (Oid::INT2, true) => i64::from((int as i32).wrapping_shl(narrow) as i16),
        (_, true) => i64::from((int as i32).wrapping_shl(narrow)),
        (_, false) => i64::from((int as i32).wrapping_shr(narrow)),
    }
}

fn numeric_arithmetic(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (arguments.numeric(0)?, arguments.numeric(1)?);
    numeric(match call.code {
        "numeric_add" => left.add(right)?,
        "numeric_sub" => left.subtract(right)?,
        "numeric_mul" => left.multiply(right)?,
        "numeric_div" => left.divide(right)?,
        "numeric_div_trunc" => left.divide_whole(right)?,
        _ => left.remainder(right)?,
    })
}

fn float_arithmetic(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (*arguments.float(0)?, *arguments.float(1)?);
    if call.name == "/" && right == 0.0 && !left.is_nan() {
        return Err(EvaluationError::DivisionByZero);
    }
    let wide = |left: f64, right: f64| match call.name {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        _ => left / right,
    };
    let result = if call.result.oid == Oid::FLOAT4 {
        // Both are exact in 24 bits, so that rounding twice is rounding once.
        f64::from(wide(left, right) as f32)
    } else {
        wide(left, right)
    };
    if result.is_infinite() && left.is_finite() && (right.is_finite() || call.name == "/") {
        return Err(EvaluationError::OutOfRange("value out of range: overflow"));
    }
    let product = call.name == "*" && left != 0.0 && right != 0.0;
    let quotient = call.name == "/" && left != 0.0 && right.is_finite();
    if result == 0.0 && (product || quotient) {
        return Err(EvaluationError::OutOfRange("value out of range: underflow"));
    }
    some(Datum::Float(result))
}
