//! Numbers of so many digits, with the rounding errors of Postgres' own arithmetic.
//!
//! *Enters*: decimals. *Leaves*: products, quotients and roots, each with a scale that the caller gives.
//! *Invariant*: digits are those that Postgres 15 computes, also where these are not the right ones: a product
//! leaves out what lies two digits of base 10,000 behind its scale, a long quotient is estimated digit by digit.
//! Of whoever computes powers and logarithms with this, results agree to the last digit therefore.

use num_bigint::{BigInt, Sign};

use super::{Decimal, power_of_ten};

mod estimate;

const BASE: i64 = 10_000;
/// Decimal digits of a digit.
pub(super) const WIDTH: i64 = 4;
/// Digits of a product that are computed behind those that are kept.
const PRODUCT_GUARD: i64 = 2;
/// The same of a long quotient.
const QUOTIENT_GUARD: i64 = 4;

/// Digits of base 10,000, the first of them times `10,000^weight`; zero has none.
#[derive(Debug, Clone)]
pub(super) struct Digits {
    pub(super) negative: bool,
    pub(super) weight: i64,
    pub(super) digits: Vec<i64>,
    /// Decimal digits behind the point that are displayed; below 0 where it was rounded before the point.
    pub(super) scale: i64,
}

impl From<&Decimal> for Digits {
    fn from(number: &Decimal) -> Digits {
        let scale = i64::from(number.scale);
        // The point falls between two digits.
        let behind = (WIDTH - scale % WIDTH) % WIDTH;
        let mut text = number.unscaled.magnitude().to_string();
        text.extend(std::iter::repeat_n('0', behind as usize));
        let before = (WIDTH - text.len() as i64 % WIDTH) % WIDTH;
        let text = "0".repeat(before as usize) + &text;
        let value = |chunk: &[u8]| {
            chunk.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
        };
        let digits: Vec<i64> = text.as_bytes().chunks(WIDTH as usize).map(value).collect();
        let weight = digits.len() as i64 - (scale + behind) / WIDTH - 1;
        let negative = number.unscaled.sign() == Sign::Minus;
        Digits { negative, weight, digits, scale }.stripped()
    }
}

impl Digits {
    pub(super) fn zero(scale: i64) -> Digits {
        Digits { negative: false, weight: 0, digits: Vec::new(), scale }
    }

    /// A whole number below 10,000 to the third.
    pub(super) fn whole(int: i64) -> Digits {
        let magnitude = int.abs();
        let digits = vec![magnitude / (BASE * BASE), magnitude / BASE % BASE, magnitude % BASE];
        Digits { negative: int < 0, weight: 2, digits, scale: 0 }.stripped()
    }

    /// A digit behind the point.
    pub(super) fn tenths(whole: i64, tenths: i64) -> Digits {
        let digits = vec![whole, tenths * BASE / 10];
        Digits { negative: false, weight: 0, digits, scale: 1 }.stripped()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Whether nothing stands behind the point.
    pub(super) fn is_whole(&self) -> bool {
        self.digits.len() as i64 <= self.weight + 1
    }

    /// Whether it is a whole number that two does not divide.
    pub(super) fn is_odd(&self) -> bool {
        self.digits.len() as i64 == self.weight + 1
            && self.digits.last().is_some_and(|last| last % 2 == 1)
    }

    /// The number at its scale, which holds all of its digits.
    pub(super) fn decimal(&self) -> Decimal {
        let scale = u32::try_from(self.scale.max(0)).unwrap_or(0);
        let mut text = String::with_capacity(self.digits.len() * WIDTH as usize);
        self.digits.iter().for_each(|digit| text += &format!("{digit:04}"));
        let whole = BigInt::parse_bytes(text.as_bytes(), 10).unwrap_or_default();
        let last = (self.weight + 1 - self.digits.len() as i64) * WIDTH;
        let shift = last + i64::from(scale);
        let by = power_of_ten(u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX));
        let unscaled = if shift >= 0 { whole * by } else { whole / by };
        Decimal { unscaled: if self.negative { -unscaled } else { unscaled }, scale }
    }

    /// The nearest float, infinite where it is too large for one.
    pub(super) fn float(&self) -> f64 {
        super::Numeric::Finite(self.decimal()).to_f64()
    }

    fn stripped(mut self) -> Digits {
        let lead = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..lead);
        self.weight -= lead as i64;
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            (self.negative, self.weight) = (false, 0);
        }
        self
    }

    /// Rounds half away from zero, before the point where the scale is below 0. Zeros stay.
    pub(super) fn rounded(mut self, scale: i64) -> Digits {
        self.scale = scale;
        let wanted = (self.weight + 1) * WIDTH + scale;
        if wanted < 0 {
            return Digits::zero(scale);
        }
        // Both are as small as a number of digits.
        let (kept, within) = (((wanted + WIDTH - 1) / WIDTH) as usize, wanted % WIDTH);
        if kept > self.digits.len() || (kept == self.digits.len() && within == 0) {
            return self;
        }
        let mut carry = 0;
        if within == 0 {
            carry = i64::from(self.digits[kept] >= BASE / 2);
            self.digits.truncate(kept);
        } else {
            self.digits.truncate(kept);
            let unit = 10_i64.pow((WIDTH - within) as u32);
            if let Some(last) = self.digits.last_mut() {
                let rest = *last % unit;
                *last -= rest;
                if rest >= unit / 2 {
                    *last += unit;
                }
                if *last >= BASE {
                    (*last, carry) = (*last - BASE, 1);
                    let end = self.digits.len() - 1;
                    carry = Digits::carried(&mut self.digits[..end], carry);
                }
            }
            return self.with_carry(carry);
        }
        carry = Digits::carried(&mut self.digits, carry);
        self.with_carry(carry)
    }

    /// Adds a carry from the right; what is left of it at the end.
    fn carried(digits: &mut [i64], mut carry: i64) -> i64 {
        for digit in digits.iter_mut().rev() {
            *digit += carry;
            carry = i64::from(*digit >= BASE);
            *digit -= carry * BASE;
            if carry == 0 {
                break;
            }
        }
        carry
    }

    fn with_carry(mut self, carry: i64) -> Digits {
        if carry > 0 {
            self.digits.insert(0, carry);
            self.weight += 1;
        }
        self
    }

    pub(super) fn negated(&self) -> Digits {
        Digits { negative: !self.negative && !self.is_zero(), ..self.clone() }
    }

    pub(super) fn compare(&self, other: &Digits) -> std::cmp::Ordering {
        let difference = self.subtract(other);
        match (difference.is_zero(), difference.negative) {
            (true, _) => std::cmp::Ordering::Equal,
            (false, true) => std::cmp::Ordering::Less,
            (false, false) => std::cmp::Ordering::Greater,
        }
    }

    pub(super) fn subtract(&self, other: &Digits) -> Digits {
        self.add(&other.negated())
    }

    /// The sum, all of its digits.
    pub(super) fn add(&self, other: &Digits) -> Digits {
        let scale = self.scale.max(other.scale);
        let last = |one: &Digits| one.weight + 1 - one.digits.len() as i64;
        let weight = self.weight.max(other.weight) + 1;
        let last = last(self).min(last(other));
        let mut digits = vec![0; usize::try_from(weight - last + 1).unwrap_or(0)];
        for one in [self, other] {
            let sign = if one.negative { -1 } else { 1 };
            let at = (weight - one.weight) as usize;
            for (into, digit) in digits[at..].iter_mut().zip(&one.digits) {
                *into += sign * digit;
            }
        }
        // All that may be below zero by then is the first digit.
        let negative = settle(&mut digits) < 0;
        if negative {
            digits.iter_mut().for_each(|digit| *digit = -*digit);
            settle(&mut digits);
        }
        Digits { negative, weight, digits, scale }.stripped()
    }

    /// The product, rounded.
    pub(super) fn multiply(&self, other: &Digits, scale: i64) -> Digits {
        if self.is_zero() || other.is_zero() {
            return Digits::zero(scale);
        }
        let weight = self.weight + other.weight + 2;
        let all = (self.digits.len() + other.digits.len()) as i64 + 1;
        let most = weight + 1 + (scale + WIDTH - 1) / WIDTH + PRODUCT_GUARD;
        let count = all.min(most);
        if count < 3 {
            return Digits::zero(scale);
        }
        // At least 3 and no more than both have.
        let mut digits = vec![0; count as usize];
        for (at, left) in self.digits.iter().enumerate().take(count as usize - 2) {
            for (into, right) in digits[at + 2..].iter_mut().zip(&other.digits) {
                *into += left * right;
            }
        }
        settle(&mut digits);
        let negative = self.negative != other.negative;
        Digits { negative, weight, digits, scale }.rounded(scale).stripped()
    }

    /// The quotient by a whole number, rounded.
    pub(super) fn divide_by(&self, divisor: i64, weight: i64, scale: i64) -> Digits {
        if self.is_zero() {
            return Digits::zero(scale);
        }
        let negative = self.negative != (divisor < 0);
        let divisor = divisor.abs();
        let weight = self.weight - weight;
        let count = (weight + 1 + (scale + WIDTH - 1) / WIDTH).max(1) + 1;
        let mut rest = 0;
        let digit = |at: i64| {
            rest = rest * BASE + self.digits.get(at as usize).copied().unwrap_or(0);
            let digit = rest / divisor;
            rest %= divisor;
            digit
        };
        let digits: Vec<i64> = (0..count).map(digit).collect();
        Digits { negative, weight, digits, scale }.rounded(scale).stripped()
    }

    /// The quotient, rounded, as it is estimated. `None` is a division by zero.
    pub(super) fn divide(&self, other: &Digits, scale: i64) -> Option<Digits> {
        let sign = if other.negative { -1 } else { 1 };
        match other.digits.as_slice() {
            [] => return None,
            [one] => return Some(self.divide_by(sign * one, other.weight, scale)),
            [one, two] => {
                return Some(self.divide_by(sign * (one * BASE + two), other.weight - 1, scale));
            }
            _ if self.is_zero() => return Some(Digits::zero(scale)),
            _ => {}
        }
        let weight = self.weight - other.weight + 1;
        let count = weight + 1 + (scale + WIDTH - 1) / WIDTH + QUOTIENT_GUARD;
        // No more than both numbers and the scale have.
        let count = count.max(QUOTIENT_GUARD) as usize;
        let mut digits = estimate::quotient(&self.digits, &other.digits, count);
        settle(&mut digits);
        let negative = self.negative != other.negative;
        Some(Digits { negative, weight, digits, scale }.rounded(scale).stripped())
    }

    /// The square root of a positive number, rounded, also before the point.
    pub(super) fn square_root(&self, scale: i64) -> Digits {
        let weight = self.weight.div_euclid(2);
        let count = match scale + 1 >= 0 {
            true => weight + 1 + (scale + WIDTH) / WIDTH,
            false => weight + 1 - (-scale - 1) / WIDTH,
        };
        let count = count.max(1);
        // Twice as many digits make the root's, cut.
        let taken = (self.weight + 1 + (count - weight - 1) * 2).max(1);
        let digits = (0..taken).map(|at| self.digits.get(at as usize).copied().unwrap_or(0));
        let square =
            Digits { negative: false, weight: taken - 1, digits: digits.collect(), scale: 0 };
        let root = Decimal { unscaled: square.decimal().unscaled.sqrt(), scale: 0 };
        let mut root = Digits::from(&root);
        root.weight = weight;
        root.rounded(scale).stripped()
    }
}

/// Carries and borrows, from the right, so that all digits but the first are in the base; the first one.
fn settle(digits: &mut [i64]) -> i64 {
    for at in (1..digits.len()).rev() {
        let carry = digits[at].div_euclid(BASE);
        digits[at] -= carry * BASE;
        digits[at - 1] += carry;
    }
    digits.first().copied().unwrap_or(0)
}
