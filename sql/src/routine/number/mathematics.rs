//! Functions of floats: those the C library computes, as Postgres calls it.
//!
//! *Enters*: floats. *Leaves*: what the C library of this process gives, or Postgres' error. *Invariant*: what
//! Postgres decides without its C library (not-a-number, infinities, domains) is decided here. That both libraries
//! round alike is not known here: see [`crate::mathematics`].

use std::f64::consts::PI;

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use crate::c_library;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::numeric::{COMPLEX_POWER, LN_NEGATIVE, LN_ZERO, ZERO_POWER};

type Float = Result<f64, EvaluationError>;

/// Postgres' own constant.
const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

const OVERFLOW: EvaluationError = EvaluationError::OutOfRange("value out of range: overflow");
const UNDERFLOW: EvaluationError = EvaluationError::OutOfRange("value out of range: underflow");
const DOMAIN: EvaluationError = EvaluationError::OutOfRange("input is out of range");

/// A function by the number of its arguments.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    None(f64),
    One(fn(f64) -> Float),
    Two(fn(f64, f64) -> Float),
}

/// The code by Postgres' name for it.
pub(super) fn function(code: &str) -> Option<Function> {
    by_code(code).map(|_| compute as Function)
}

fn compute(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let float = match by_code(call.code).ok_or(UNEXPECTED)? {
        Code::None(float) => float,
        Code::One(function) => function(*arguments.float(0)?)?,
        Code::Two(function) => function(*arguments.float(0)?, *arguments.float(1)?)?,
    };
    some(Datum::Float(float))
}

/// What `float.c` of Postgres does, by the name it has there.
pub(crate) fn by_code(code: &str) -> Option<Code> {
    Some(match code {
        "dpi" => Code::None(PI),
        "degrees" => Code::One(|x| in_range(x / RADIANS_PER_DEGREE, x.is_finite(), x != 0.0)),
        "radians" => Code::One(|x| in_range(x * RADIANS_PER_DEGREE, x.is_finite(), x != 0.0)),
        "dexp" => Code::One(exponential),
        "dlog1" => Code::One(|x| logarithm(x, f64::ln)),
        "dlog10" => Code::One(|x| logarithm(x, f64::log10)),
        "dcbrt" => Code::One(|x| in_range(c_library::cbrt(x), x.is_finite(), x != 0.0)),
        "dsin" => Code::One(|x| of_angle(x, f64::sin)),
        "dcos" => Code::One(|x| of_angle(x, f64::cos)),
        "dtan" => Code::One(|x| of_angle(x, f64::tan)),
        "dasin" => Code::One(|x| of_ratio(x, f64::asin)),
        "dacos" => Code::One(|x| of_ratio(x, f64::acos)),
        "datan" => Code::One(|x| Ok(x.atan())),
        "datan2" => Code::Two(|y, x| Ok(y.atan2(x))),
        "dpow" => Code::Two(power),
        _ => return None,
    })
}

/// A result that must not be infinite where nothing was, nor zero where something was.
fn in_range(result: f64, finite: bool, nonzero: bool) -> Float {
    match result {
        _ if result.is_infinite() && finite => Err(OVERFLOW),
        _ if result == 0.0 && nonzero => Err(UNDERFLOW),
        _ => Ok(result),
    }
}

fn exponential(x: f64) -> Float {
    // Infinities have exact answers; of NaN nothing is asked.
    in_range(x.exp(), x.is_finite(), x.is_finite())
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> Float {
    if x == 0.0 {
        return Err(LN_ZERO);
    }
    if x < 0.0 {
        return Err(LN_NEGATIVE);
    }
    in_range(of(x), x.is_finite(), x != 1.0)
}

fn of_angle(x: f64, of: fn(f64) -> f64) -> Float {
    if x.is_infinite() { Err(DOMAIN) } else { Ok(of(x)) }
}

fn of_ratio(x: f64, of: fn(f64) -> f64) -> Float {
    if x.abs() > 1.0 { Err(DOMAIN) } else { Ok(of(x)) }
}

fn power(base: f64, exponent: f64) -> Float {
    if base.is_nan() || exponent.is_nan() {
        return Ok(if exponent == 0.0 || base == 1.0 { 1.0 } else { f64::NAN });
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(ZERO_POWER);
    }
    if base < 0.0 && exponent.floor() != exponent {
        return Err(COMPLEX_POWER);
    }
    // With infinities IEEE 754 and POSIX agree, and Rust's `powf` follows them.
    let finite = base.is_finite() && exponent.is_finite();
    in_range(base.powf(exponent), finite, finite && base != 0.0)
}
