//! Powers, exponentials and logarithms of `numeric`, as Postgres 15 computes them.
//!
//! *Enters*: numerics. *Leaves*: numerics of 16 digits or more, or Postgres' error. *Invariant*: the scale of every
//! step is Postgres', and so is the arithmetic ([`super::digits`]), so results agree to the last digit. Before
//! Postgres 15 quotients were estimated otherwise, from 16 on whole powers have other scales.

use std::cmp::Ordering;

use super::digits::{Digits, WIDTH};
use super::{Numeric, QUOTIENT_DIGITS, QUOTIENT_SCALE_MAX};
use crate::evaluation_error::EvaluationError;
use crate::limits::POWER_DIGITS_MAX;

/// The largest exponent of e that is tried, in either direction.
const EXPONENT_MAX: f64 = 6_000.0;
/// The weight of a digit of base 10,000 that the format holds.
const WEIGHT_MAX: i64 = 32_767;
/// Digits that are computed behind those that are wanted.
const GUARD: i64 = 8;
// To as many digits as Postgres has them.
#[allow(clippy::approx_constant)]
const LOG10_OF_E: f64 = 0.434_294_481_903_252;
#[allow(clippy::approx_constant)]
const LOG10_OF_2: f64 = 0.301_029_995_663_981;
#[allow(clippy::approx_constant)]
const LN_OF_10: f64 = 2.302_585_092_994_046;

const DIGITS: EvaluationError =
    EvaluationError::Other("a power of so many digits is not supported");
pub(crate) const LN_ZERO: EvaluationError = EvaluationError::Other("cannot take logarithm of zero");
pub(crate) const LN_NEGATIVE: EvaluationError =
    EvaluationError::Other("cannot take logarithm of a negative number");
pub(crate) const COMPLEX_POWER: EvaluationError = EvaluationError::Other(
    "a negative number raised to a non-integer power yields a complex result",
);
pub(crate) const ZERO_POWER: EvaluationError =
    EvaluationError::Other("zero raised to a negative power is undefined");

impl Numeric {
    fn of_digits(digits: &Digits) -> Result<Numeric, EvaluationError> {
        let decimal = digits.decimal();
        Numeric::finite(decimal.unscaled, decimal.scale)
    }

    /// e to the power of it.
    pub(crate) fn exponential(&self) -> Result<Numeric, EvaluationError> {
        let number = match self {
            Numeric::NegativeInfinity => return Ok(0.into()),
            Numeric::Finite(number) => Digits::from(number),
            other => return Ok(other.clone()),
        };
        let digits = (number.float() * LOG10_OF_E).clamp(-2_000.0, 2_000.0);
        Numeric::of_digits(&exponential(&number, scale(cut(digits), &[&number]))?)
    }

    /// The natural logarithm.
    pub(crate) fn logarithm(&self) -> Result<Numeric, EvaluationError> {
        let number = match self {
            Numeric::NegativeInfinity => return Err(LN_NEGATIVE),
            Numeric::Finite(number) => Digits::from(number),
            other => return Ok(other.clone()),
        };
        Numeric::of_digits(&logarithm(&number, scale(logarithm_digits(&number), &[&number]))?)
    }

    /// The logarithm of `other` to this base.
    pub(crate) fn logarithm_of(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        let (base, number) = match (self, other) {
            _ if self.is_nan() || other.is_nan() => return Ok(Numeric::NotANumber),
            (Numeric::Finite(base), Numeric::Finite(number)) => {
                (Digits::from(base), Digits::from(number))
            }
            _ if self.sign() < 0 || other.sign() < 0 => return Err(LN_NEGATIVE),
            _ if self.sign() == 0 || other.sign() == 0 => return Err(LN_ZERO),
            (Numeric::Infinity, Numeric::Infinity) => return Ok(Numeric::NotANumber),
            (Numeric::Infinity, _) => return Ok(0.into()),
            _ => return Ok(Numeric::Infinity),
        };
        let (of_base, of_number) = (logarithm_digits(&base), logarithm_digits(&number));
        let digits = of_number - of_base;
        let scale = scale(digits, &[&base, &number]);
        let below = logarithm(&base, (scale + digits - of_base + GUARD).max(0))?;
        let above = logarithm(&number, (scale + digits - of_number + GUARD).max(0))?;
        let quotient = above.divide(&below, scale).ok_or(EvaluationError::DivisionByZero)?;
        Numeric::of_digits(&quotient)
    }

    /// It to the power of `other`.
    pub(crate) fn power(&self, other: &Numeric) -> Result<Numeric, EvaluationError> {
        let (Numeric::Finite(base), Numeric::Finite(exponent)) = (self, other) else {
            return self.special_power(other);
        };
        if self.sign() == 0 && other.sign() < 0 {
            return Err(ZERO_POWER);
        }
        Numeric::of_digits(&power(&Digits::from(base), &Digits::from(exponent))?)
    }

    /// The power where one of both is no number: POSIX' rules of `pow`.
    fn special_power(&self, exponent: &Numeric) -> Result<Numeric, EvaluationError> {
        let one = Numeric::from(1);
        let is_one = self.compare(&one).is_eq();
        if exponent.sign() == 0 && !exponent.is_nan() {
            return Ok(one);
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(if is_one { one } else { Numeric::NotANumber });
        }
        let digits = match exponent {
            Numeric::Finite(exponent) => Some(Digits::from(exponent)),
            _ => None,
        };
        let grows = exponent.sign() > 0;
        if self.sign() == 0 && !grows {
            return Err(ZERO_POWER);
        }
        if self.sign() < 0 && digits.as_ref().is_some_and(|digits| !digits.is_whole()) {
            return Err(COMPLEX_POWER);
        }
        if is_one {
            return Ok(one);
        }
        if self.sign() == 0 {
            return Ok(0.into());
        }
        let Some(digits) = digits else {
            return Ok(match self.abs().compare(&one) {
                Ordering::Equal => one,
                order if order.is_gt() == grows => Numeric::Infinity,
                _ => 0.into(),
            });
        };
        Ok(match (grows, self.sign() < 0 && digits.is_odd()) {
            (false, _) => 0.into(),
            (true, true) => Numeric::NegativeInfinity,
            (true, false) => Numeric::Infinity,
        })
    }
}

/// As C cuts a float.
fn cut(float: f64) -> i64 {
    float as i64
}

/// The scale of a result with so many digits before its point, no smaller than that of what it is made of.
fn scale(digits: i64, of: &[&Digits]) -> i64 {
    let least = of.iter().map(|one| one.scale).fold(QUOTIENT_DIGITS - digits, i64::max);
    least.clamp(0, QUOTIENT_SCALE_MAX)
}

/// `exp(x)`, rounded: the Taylor series of a power of two's part of it, squared as often.
fn exponential(number: &Digits, scale: i64) -> Result<Digits, EvaluationError> {
    let mut value = number.float();
    if value.abs() >= EXPONENT_MAX {
        return if value > 0.0 { Err(Numeric::OVERFLOW) } else { Ok(Digits::zero(scale)) };
    }
    let digits = cut(value * LOG10_OF_E);
    let mut halvings = 0;
    while value.abs() > 0.01 {
        halvings += 1;
        value /= 2.0;
    }
    let part = match halvings {
        0 => number.clone(),
        // No more than 20.
        _ => number.divide_by(1 << halvings, 0, number.scale + halvings),
    };
    let significant = 1 + digits + scale + cut(halvings as f64 * LOG10_OF_2);
    let significant = significant.max(0) + GUARD;
    let local = significant - 1;
    let mut sum = Digits::whole(1).add(&part);
    let mut term = part.multiply(&part, local).divide_by(2, 0, local);
    let mut next = 2;
    while !term.is_zero() {
        sum = sum.add(&term);
        next += 1;
        term = term.multiply(&part, local).divide_by(next, 0, local);
    }
    for _ in 0..halvings {
        let local = (significant - sum.weight * 2 * WIDTH).max(0);
        sum = sum.multiply(&sum, local);
    }
    Ok(sum.rounded(scale))
}

/// About how many digits the logarithm has before its point, less one; below 0 zeros behind it.
fn logarithm_digits(number: &Digits) -> i64 {
    if number.negative || number.is_zero() {
        return 0;
    }
    let near = number.compare(&Digits::tenths(0, 9)).is_ge()
        && number.compare(&Digits::tenths(1, 1)).is_le();
    if near {
        let rest = number.subtract(&Digits::whole(1));
        let first = rest.digits.first().map(|first| i64::from(first.ilog10()));
        return first.map_or(0, |first| rest.weight * WIDTH + first);
    }
    let (mut digits, mut place) = (number.digits[0], number.weight * WIDTH);
    if let Some(second) = number.digits.get(1) {
        (digits, place) = (digits * 10_000 + second, place - WIDTH);
    }
    // Both are small whole numbers.
    let logarithm = (digits as f64).ln() + place as f64 * LN_OF_10;
    cut(logarithm.abs().log10())
}

/// `ln(x)`, rounded: the Taylor series near 1, where square roots lead.
fn logarithm(number: &Digits, scale: i64) -> Result<Digits, EvaluationError> {
    if number.is_zero() {
        return Err(LN_ZERO);
    }
    if number.negative {
        return Err(LN_NEGATIVE);
    }
    let (low, high, one, two) =
        (Digits::tenths(0, 9), Digits::tenths(1, 1), Digits::whole(1), Digits::whole(2));
    let (mut near, mut factor, mut roots) = (number.clone(), two.clone(), 0);
    while near.compare(&low).is_le() || near.compare(&high).is_ge() {
        near = near.square_root(scale - near.weight * WIDTH / 2 + GUARD);
        factor = factor.multiply(&two, 0);
        roots += 1;
    }
    let local = scale + cut(f64::from(roots + 1) * LOG10_OF_2) + GUARD;
    let quotient = near.subtract(&one).divide(&near.add(&one), local);
    let mut sum = quotient.ok_or(EvaluationError::DivisionByZero)?;
    let square = sum.multiply(&sum, local);
    let (mut power, mut next) = (sum.clone(), 1);
    loop {
        next += 2;
        power = power.multiply(&square, local);
        let term = power.divide_by(next, 0, local);
        if term.is_zero() {
            break;
        }
        sum = sum.add(&term);
        if term.weight < sum.weight - local * 2 / WIDTH {
            break;
        }
    }
    Ok(sum.multiply(&factor, scale))
}

fn power(base: &Digits, exponent: &Digits) -> Result<Digits, EvaluationError> {
    let unscaled = || Digits { scale: 0, ..exponent.clone() }.decimal().unscaled;
    let whole = exponent.is_whole().then(unscaled);
    if let Some(Ok(exponent)) = whole.map(i32::try_from) {
        return whole_power(base, exponent.into(), scale(0, &[base]));
    }
    if base.is_zero() {
        return Ok(Digits::zero(QUOTIENT_DIGITS));
    }
    if base.negative && !exponent.is_whole() {
        return Err(COMPLEX_POWER);
    }
    let negative = base.negative && exponent.is_odd();
    let base = Digits { negative: false, ..base.clone() };
    let logarithm_digits = logarithm_digits(&base);
    // A first look, by which scales are chosen.
    let local = (GUARD - logarithm_digits).max(0);
    let value = logarithm(&base, local)?.multiply(exponent, local).float();
    if value.abs() > EXPONENT_MAX / 3.0 * 3.01 {
        return match value > 0.0 {
            true => Err(Numeric::OVERFLOW),
            false => Ok(Digits::zero(QUOTIENT_SCALE_MAX)),
        };
    }
    let digits = cut(value * LOG10_OF_E);
    let scale = scale(digits, &[&base, exponent]);
    let local = ((scale + digits).max(0) - logarithm_digits + GUARD).max(0);
    let product = logarithm(&base, local)?.multiply(exponent, local);
    let result = exponential(&product, scale)?;
    Ok(Digits { negative: negative && !result.is_zero(), ..result })
}

/// A power by squaring.
fn whole_power(base: &Digits, exponent: i64, scale: i64) -> Result<Digits, EvaluationError> {
    let limit = POWER_DIGITS_MAX as i64;
    if base.digits.len() as i64 * WIDTH > limit && exponent != 0 && exponent != 1 {
        return Err(DIGITS);
    }
    match exponent {
        0 => return Ok(Digits { scale, ..Digits::whole(1) }),
        1 => return Ok(base.clone().rounded(scale)),
        -1 => return quotient_of_one(base, scale),
        2 => return Ok(base.multiply(base, scale)),
        _ if base.is_zero() => return Ok(Digits::zero(scale)),
        _ => {}
    }
    // Floats are what Postgres chooses by, too.
    let digits = exponent as f64 * decimal_logarithm(base);
    // What is surely too large fails before it is computed.
    if digits > ((WEIGHT_MAX + 2) * WIDTH) as f64 {
        return Err(Numeric::OVERFLOW);
    }
    if digits + 1.0 < -(scale as f64) || digits + 1.0 < -(QUOTIENT_SCALE_MAX as f64) {
        return Ok(Digits::zero(scale));
    }
    let significant = 1 + scale + cut(digits) + cut((exponent.abs() as f64).ln()) + GUARD;
    if significant > limit {
        return Err(DIGITS);
    }
    let mut left = exponent.abs();
    let mut square = base.clone();
    let mut result = if left % 2 == 1 { base.clone() } else { Digits::whole(1) };
    loop {
        left /= 2;
        if left == 0 {
            break;
        }
        let local = (significant - 2 * square.weight * WIDTH).min(2 * square.scale).max(0);
        square = square.multiply(&square, local);
        if left % 2 == 1 {
            let local = significant - (square.weight + result.weight) * WIDTH;
            let local = local.min(square.scale + result.scale).max(0);
            result = square.multiply(&result, local);
        }
        if square.weight > WEIGHT_MAX || result.weight > WEIGHT_MAX {
            return if exponent > 0 { Err(Numeric::OVERFLOW) } else { Ok(Digits::zero(scale)) };
        }
    }
    match exponent < 0 {
        true => Digits::whole(1).divide(&result, scale).ok_or(EvaluationError::DivisionByZero),
        false => Ok(result.rounded(scale)),
    }
}

/// `1 / x`, rounded exactly.
fn quotient_of_one(base: &Digits, scale: i64) -> Result<Digits, EvaluationError> {
    let base = base.decimal();
    if super::is_zero(&base.unscaled) {
        return Err(EvaluationError::DivisionByZero);
    }
    // One digit more than is kept decides: what is cut off is less than it.
    let places = u32::try_from(scale + 1).unwrap_or(0);
    let above = super::power_of_ten(places + base.scale);
    let quotient = super::Decimal { unscaled: above / base.unscaled, scale: places };
    Ok(Digits::from(&quotient.with_scale(scale, true)))
}

/// About the decimal logarithm of a number's size, by its first digits.
fn decimal_logarithm(number: &Digits) -> f64 {
    let (mut first, mut place) = (0_i64, (number.weight + 1) * WIDTH);
    for digit in number.digits.iter().take(4) {
        (first, place) = (first * 10_000 + digit, place - WIDTH);
    }
    // The C library is exact for powers of ten, wherever Postgres runs.
    let exact = first > 0 && 10_i64.pow(first.ilog10()) == first;
    let logarithm = if exact { f64::from(first.ilog10()) } else { (first as f64).log10() };
    logarithm + place as f64
}
