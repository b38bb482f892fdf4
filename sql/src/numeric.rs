//! Arithmetic on `numeric`, with Postgres' scales and rounding.
//!
//! *Enters*: text, integers, floats, other numerics. *Leaves*: numerics and their text.
//! *Invariant*: a result has the display scale Postgres gives it; a value out of its format is an
//! error. (Plain comparison with a column needs none of this: see `decimal`.)

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

use crate::decimal::is_c_space;
use crate::evaluation_error::EvaluationError;

mod digits;
mod power;

pub(crate) use power::{COMPLEX_POWER, LN_NEGATIVE, LN_ZERO, ZERO_POWER};

/// Digits that a quotient has at least (`NUMERIC_MIN_SIG_DIGITS`).
const QUOTIENT_DIGITS: i64 = 16;
/// The largest display scale of a quotient (`NUMERIC_MAX_DISPLAY_SCALE`).
const QUOTIENT_SCALE_MAX: i64 = 1_000;
/// Digits before the point and behind it that the format holds.
const WHOLE_DIGITS_MAX: i64 = 131_072;
const SCALE_MAX: u32 = 16_383;

/// A `numeric`.
#[derive(Debug, Clone)]
pub(crate) enum Numeric {
    NegativeInfinity,
    Finite(Decimal),
    Infinity,
    NotANumber,
}

/// `unscaled / 10^scale`; the scale is what is displayed.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    unscaled: BigInt,
    scale: u32,
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

fn is_zero(number: &BigInt) -> bool {
    number.sign() == Sign::NoSign
}

impl Decimal {
    /// The unscaled number at a scale that is no smaller.
    fn at_scale(&self, scale: u32) -> BigInt {
        match scale - self.scale {
            0 => self.unscaled.clone(),
            more => &self.unscaled * power_of_ten(more),
        }
    }

    fn aligned(&self, other: &Decimal) -> (BigInt, BigInt, u32) {
        let scale = self.scale.max(other.scale);
        (self.at_scale(scale), other.at_scale(scale), scale)
    }

    /// The exponent of the first digit in base 10,000 and that digit: what scales are chosen by.
    fn leading(&self) -> (i64, i64) {
        if is_zero(&self.unscaled) {
            return (0, 0);
        }
        let digits = self.unscaled.magnitude().to_string();
        let exponent = digits.len() as i64 - 1 - i64::from(self.scale);
        let weight = exponent.div_euclid(4);
        let count = (exponent - weight * 4 + 1) as usize;
        let mut first: i64 = digits[..count.min(digits.len())].parse().unwrap_or(0);
        for _ in digits.len()..count {
            first *= 10;
        }
        (weight, first)
    }

    /// Rounds half away from zero, or cuts; the scale may be negative.
    fn with_scale(&self, scale: i64, round: bool) -> Decimal {
        let kept = u32::try_from(scale.max(0)).unwrap_or(SCALE_MAX);
        let drop = i64::from(self.scale) - scale;
        if drop <= 0 {
            return Decimal { unscaled: self.at_scale(kept), scale: kept };
        }
        let divisor = power_of_ten(u32::try_from(drop).unwrap_or(u32::MAX).min(200_000));
        let mut quotient = &self.unscaled / &divisor;
        let rest = &self.unscaled % &divisor;
        if round && rest.magnitude() * 2_u32 >= *divisor.magnitude() {
            quotient += if rest.sign() == Sign::Minus { -1 } else { 1 };
        }
        let lost = u32::try_from((-scale).max(0)).unwrap_or(0);
        Decimal { unscaled: quotient * power_of_ten(lost), scale: kept }
    }
}

impl From<i64> for Numeric {
    fn from(int: i64) -> Numeric {
        Numeric::Finite(Decimal { unscaled: int.into(), scale: 0 })
    }
}

/// Why text is no `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumericError {
    Syntax,
    Overflow,
}

impl Numeric {
    pub(crate) const OVERFLOW: EvaluationError =
        EvaluationError::OutOfRange("value overflows numeric format");

    /// Reads Postgres' input syntax.
    pub(crate) fn read(text: &str) -> Result<Numeric, NumericError> {
        let text = text.trim_matches(crate::decimal::is_c_space);
        match text.to_ascii_lowercase().as_str() {
            "nan" => return Ok(Numeric::NotANumber),
            "infinity" | "+infinity" | "inf" | "+inf" => return Ok(Numeric::Infinity),
            "-infinity" | "-inf" => return Ok(Numeric::NegativeInfinity),
            _ => {}
        }
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                // C's `strtol` skips blanks.
                let exponent = text[at + 1..].trim_start_matches(is_c_space);
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(NumericError::Syntax);
                }
                let exponent = exponent.parse::<i64>().map_err(|_| NumericError::Overflow)?;
                (&text[..at], exponent)
            }
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = whole.len() + fraction.len();
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if digits == 0 || !all_digits(whole) || !all_digits(fraction) {
            return Err(NumericError::Syntax);
        }
        if exponent.abs() > WHOLE_DIGITS_MAX {
            return Err(NumericError::Overflow);
        }
        let mut unscaled = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)
            .ok_or(NumericError::Syntax)?;
        if mantissa.starts_with('-') {
            unscaled = -unscaled;
        }
        let scale = fraction.len() as i64 - exponent;
        if scale > i64::from(SCALE_MAX) {
            return Err(NumericError::Overflow);
        }
        let lost = u32::try_from((-scale).max(0)).unwrap_or(0);
        unscaled *= power_of_ten(lost);
        let scale = u32::try_from(scale.max(0)).unwrap_or(0);
        Numeric::finite(unscaled, scale).map_err(|_| NumericError::Overflow)
    }

    /// The `float8` or `float4` as a decimal of so many digits, as Postgres' casts make it.
    pub(crate) fn from_float(float: f64, digits: usize) -> Numeric {
        if float.is_nan() {
            return Numeric::NotANumber;
        }
        if float.is_infinite() {
            return if float > 0.0 { Numeric::Infinity } else { Numeric::NegativeInfinity };
        }
        // C's %g leaves zeros at the end out.
        let text = format!("{float:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = match mantissa.contains('.') {
            true => mantissa.trim_end_matches('0').trim_end_matches('.'),
            false => mantissa,
        };
        Numeric::read(&format!("{mantissa}e{exponent}")).unwrap_or(Numeric::NotANumber)
    }

    /// An integer with its point so many digits from the right.
    pub(crate) fn scaled(int: i64, scale: u32) -> Numeric {
        Numeric::Finite(Decimal { unscaled: int.into(), scale })
    }

    /// As [`Numeric::scaled`].
    pub(crate) fn scaled_wide(int: i128, scale: u32) -> Numeric {
        Numeric::Finite(Decimal { unscaled: int.into(), scale })
    }

    fn finite(unscaled: BigInt, scale: u32) -> Result<Numeric, EvaluationError> {
        // Three and a bit bits make a digit; the exact check only where it could fail.
        let near = unscaled.bits() as i64 / 3 - i64::from(scale) > WHOLE_DIGITS_MAX;
        if near {
            let digits = unscaled.magnitude().to_string().len() as i64;
            if digits - i64::from(scale) > WHOLE_DIGITS_MAX {
                return Err(Numeric::OVERFLOW);
            }
        }
        if scale > SCALE_MAX {
            let number = Decimal { unscaled, scale };
            return Ok(Numeric::Finite(number.with_scale(i64::from(SCALE_MAX), true)));
        }
        Ok(Numeric::Finite(Decimal { unscaled, scale }))
    }

    fn sign(&self) -> i8 {
        match self {
            Numeric::NegativeInfinity => -1,
            Numeric::Infinity => 1,
            Numeric::NotANumber => 0,
            Numeric::Finite(number) => match number.unscaled.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
        }
    }

    fn infinite(sign: i8) -> Numeric {
        match sign {
            0 => Numeric::NotANumber,
            1 => Numeric::Infinity,
            _ => Numeric::NegativeInfinity,
        }
    }

    fn is_nan(&self) -> bool {
        matches!(self, Numeric::NotANumber)
    }

    pub(crate) fn negate(&self) -> Numeric {
        match self {
            Numeric::NegativeInfinity => Numeric::Infinity,
            Numeric::Infinity => Numeric::NegativeInfinity,
            Numeric::NotANumber => Numeric::NotANumber,
            Numeric::Finite(number) => {
                Numeric::Finite(Decimal { unscaled: -&number.unscaled, scale: number.scale })
            }
        }
    }

    pub(crate) fn abs(&self) -> Numeric {
        if self.sign() < 0 { self.negate() } else { self.clone() }
    }

    pub(crate) fn signum(&self) -> Numeric {
        if self.is_nan() { Numeric::NotANumber } else { i64::from(self.sign()).into() }
    }

    pub(crate) fn add(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => {
                let (left, right, scale) = left.aligned(right);
                Numeric::finite(left + right, scale)
            }
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NotANumber),
            (Numeric::Finite(_), infinite) | (infinite, Numeric::Finite(_)) => Ok(infinite.clone()),
            _ if self.sign() == other.sign() => Ok(self.clone()),
            _ => Ok(Numeric::NotANumber),
        }
    }

    pub(crate) fn subtract(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        self.add(&other.negate())
    }

    pub(crate) fn multiply(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => {
                Numeric::finite(&left.unscaled * &right.unscaled, left.scale + right.scale)
            }
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NotANumber),
            _ => Ok(Numeric::infinite(self.sign() * other.sign())),
        }
    }

    pub(crate) fn divide(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        let (left, right) = match (self, other) {
            _ if self.is_nan() || other.is_nan() => return Ok(Numeric::NotANumber),
            (_, Numeric::Finite(right)) if is_zero(&right.unscaled) => {
                return Err(EvaluationError::DivisionByZero);
            }
            (Numeric::Finite(left), Numeric::Finite(right)) => (left, right),
            (Numeric::Finite(_), _) => return Ok(0.into()),
            (_, Numeric::Finite(_)) => return Ok(Numeric::infinite(self.sign() * other.sign())),
            _ => return Ok(Numeric::NotANumber),
        };
        let ((left_weight, left_first), (right_weight, right_first)) =
            (left.leading(), right.leading());
        let weight = left_weight - right_weight - i64::from(left_first <= right_first);
        let scale = (QUOTIENT_DIGITS - weight * 4)
            .max(i64::from(left.scale))
            .max(i64::from(right.scale))
            .clamp(0, QUOTIENT_SCALE_MAX);
        // One digit more than is kept, and whether anything follows it, decide the rounding.
        let shift = scale + i64::from(right.scale) - i64::from(left.scale) + 1;
        let (mut above, mut below) = (left.unscaled.clone(), right.unscaled.clone());
        let by = power_of_ten(shift.unsigned_abs().min(300_000) as u32);
        if shift >= 0 {
            above *= by
        } else {
            below *= by
        }
        let scale = u32::try_from(scale).unwrap_or(0);
        let quotient = Decimal { unscaled: above / below, scale: scale + 1 };
        let rounded = quotient.with_scale(i64::from(scale), true);
        Numeric::finite(rounded.unscaled, rounded.scale)
    }

    /// The quotient without its fraction.
    pub(crate) fn divide_whole(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) if !is_zero(&right.unscaled) => {
                let (left, right, _) = left.aligned(right);
                Numeric::finite(left / right, 0)
            }
            _ => self.divide(other),
        }
    }

    pub(crate) fn remainder(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        match (self, other) {
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NotANumber),
            (_, Numeric::Finite(right)) if is_zero(&right.unscaled) => {
                Err(EvaluationError::DivisionByZero)
            }
            (Numeric::Finite(left), Numeric::Finite(right)) => {
                let (left, right, scale) = left.aligned(right);
                Numeric::finite(left % right, scale)
            }
            (Numeric::Finite(_), _) => Ok(self.clone()),
            _ => Ok(Numeric::NotANumber),
        }
    }

    /// The square root, rounded to 16 digits or more, and to no fewer behind the point than it has.
    pub(crate) fn square_root(&self) -> Result<Numeric, EvaluationError> {
        if self.sign() < 0 {
            let reason = "cannot take square root of a negative number";
            return Err(EvaluationError::Other(reason));
        }
        let Numeric::Finite(number) = self else { return Ok(self.clone()) };
        let whole = number.leading().0 * 2 + 1;
        let scale = (QUOTIENT_DIGITS - whole).max(i64::from(number.scale));
        let scale = scale.clamp(0, QUOTIENT_SCALE_MAX);
        // One digit more than is kept decides the rounding: a root is never half way and more digits long.
        let shift = 2 * (scale + 1) - i64::from(number.scale);
        let by = power_of_ten(shift.unsigned_abs().min(300_000) as u32);
        let square = if shift >= 0 { &number.unscaled * by } else { &number.unscaled / by };
        let digits = u32::try_from(scale + 1).unwrap_or(0);
        let root = Decimal { unscaled: square.sqrt(), scale: digits }.with_scale(scale, true);
        Numeric::finite(root.unscaled, root.scale)
    }

    /// `round(n, scale)`, or with `round` unset `trunc(n, scale)`.
    pub(crate) fn with_scale(&self, scale: i64, round: bool) -> Numeric {
        match self {
            Numeric::Finite(number) => {
                let limit = i64::from(SCALE_MAX);
                Numeric::Finite(number.with_scale(scale.clamp(-limit, limit), round))
            }
            other => other.clone(),
        }
    }

    /// The nearest integer above (`up`) or below.
    pub(crate) fn to_whole(&self, up: bool) -> Numeric {
        let Numeric::Finite(number) = self else { return self.clone() };
        let cut = number.with_scale(0, false);
        let exact = cut.at_scale(number.scale) == number.unscaled;
        let step = match (exact, up, self.sign() < 0) {
            (false, true, false) => 1,
            (false, false, true) => -1,
            _ => 0,
        };
        Numeric::Finite(Decimal { unscaled: cut.unscaled + step, scale: 0 })
    }

    /// The cast to an integer: halves away from zero.
    pub(crate) fn to_i64(&self) -> Option<i64> {
        match self {
            Numeric::Finite(number) => i64::try_from(number.with_scale(0, true).unscaled).ok(),
            _ => None,
        }
    }

    /// The cast to `float8`.
    pub(crate) fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    pub(crate) fn scale(&self) -> Option<u32> {
        match self {
            Numeric::Finite(number) => Some(number.scale),
            _ => None,
        }
    }

    /// Whether it has more digits than a constant may have.
    pub(crate) fn is_long(&self) -> bool {
        let limit = crate::limits::NUMERIC_CONSTANT_DIGITS_MAX;
        self.to_string().bytes().filter(u8::is_ascii_digit).count() > limit
    }

    /// Whether the value has more digits before the point than that.
    pub(crate) fn exceeds(&self, digits: i32) -> bool {
        match self {
            Numeric::Finite(number) => {
                let whole = number.with_scale(0, false).unscaled;
                let bound = digits.max(0).unsigned_abs();
                let limit = power_of_ten(bound);
                if digits < 0 {
                    let scaled = number.unscaled.magnitude()
                        * power_of_ten(digits.unsigned_abs()).magnitude();
                    return scaled >= *power_of_ten(number.scale).magnitude();
                }
                *whole.magnitude() >= *limit.magnitude()
            }
            Numeric::NotANumber => false,
            _ => true,
        }
    }

    pub(crate) fn compare(&self, other: &Numeric) -> Ordering {
        let rank = |number: &Numeric| match number {
            Numeric::NegativeInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::NotANumber => 3,
        };
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => {
                let (left, right, _) = left.aligned(right);
                left.cmp(&right)
            }
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = match self {
            Numeric::NegativeInfinity => return f.write_str("-Infinity"),
            Numeric::Infinity => return f.write_str("Infinity"),
            Numeric::NotANumber => return f.write_str("NaN"),
            Numeric::Finite(number) => number,
        };
        let scale = number.scale as usize;
        let digits = number.unscaled.magnitude().to_string();
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let minus = if number.unscaled.sign() == Sign::Minus { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        write!(f, "{minus}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::read(text).unwrap()
    }

    #[test]
    fn results_have_postgres_scales() {
        let text = |result: Result<Numeric, EvaluationError>| result.unwrap().to_string();
        assert_eq!(text(n("1.1").multiply(&n("1.10"))), "1.210");
        assert_eq!(text(n("1").divide(&n("3"))), "0.33333333333333333333");
        assert_eq!(text(n("10").divide(&n("3"))), "3.3333333333333333");
        assert_eq!(text(n("7.0").divide(&n("2"))), "3.5000000000000000");
        assert_eq!(text(n("5.5").remainder(&n("2"))), "1.5");
        assert_eq!(text(n("Infinity").subtract(&n("Infinity"))), "NaN");
        assert_eq!(n("1").divide(&n("0.0")).unwrap_err(), EvaluationError::DivisionByZero);
        assert_eq!(text(n("NaN").divide(&n("0"))), "NaN");
        assert_eq!(text(n("2").square_root()), "1.414213562373095");
        assert_eq!(text(n("1e100").square_root()), format!("1{}", "0".repeat(50)));
        assert_eq!(text(n("7e-17").square_root()), "0.0000000083666002653407555");
        assert_eq!(text(n("0.000").square_root()), "0.000000000000000");
        assert_eq!(n("1.005").with_scale(2, true).to_string(), "1.01");
        assert_eq!(n("-2.5").to_i64(), Some(-3));
        assert_eq!(n("-2.5").to_whole(true).to_string(), "-2");
        assert_eq!(n("1e-2").to_string(), "0.01");
        assert_eq!(n("-15e1").with_scale(-2, true).to_string(), "-200");
        assert_eq!(Numeric::from_float(1e15, 15).to_string(), "1000000000000000");
        assert_eq!(Numeric::from_float(0.1 + 0.2, 15).to_string(), "0.3");
    }
}
