//! The digits of a long quotient, each estimated by floats.
//!
//! *Enters*: dividend and divisor. *Leaves*: digits that may be one off or negative, whose sum is the quotient
//! nearly. *Invariant*: they are those that Postgres 15 comes to, which keeps carries back as long as these fit
//! a machine's integer: when it carries decides what it estimates.

use super::BASE;

/// What a digit that waits for its carries may be, in 9,999ths.
const WAITING_MAX: i64 = (i32::MAX as i64 - i32::MAX as i64 / BASE - 1) / (BASE - 1);

/// One digit more than `count`.
pub(super) fn quotient(dividend: &[i64], divisor: &[i64], count: usize) -> Vec<i64> {
    let mut digits = vec![0; count + 1];
    for (into, digit) in digits[1..].iter_mut().zip(dividend) {
        *into = *digit;
    }
    let inverse = 1.0 / leading(divisor, 0);
    let estimate = |digits: &[i64], at: usize| (leading(digits, at) * inverse).floor_or_less();
    let mut waiting = 1;
    for at in 0..count {
        let mut digit = estimate(&digits, at);
        if digit != 0 {
            waiting += digit.abs();
            if waiting > WAITING_MAX {
                carry(&mut digits, at, (at + divisor.len() - 2).min(count));
                digit = estimate(&digits, at);
                waiting = 1 + digit.abs();
            }
            for (from, by) in digits[at..].iter_mut().zip(divisor) {
                *from -= digit * by;
            }
        }
        digits[at + 1] += digits[at] * BASE;
        digits[at] = digit;
    }
    digits[count] = estimate(&digits, count);
    digits
}

/// The number that begins there, by its first four digits.
fn leading(digits: &[i64], at: usize) -> f64 {
    (0..4).fold(0.0, |value, next| {
        // A digit is far smaller than a float's mantissa.
        value * BASE as f64 + digits.get(at + next).copied().unwrap_or(0) as f64
    })
}

/// Settles the digits behind `at`, up to `last`, and carries into it.
fn carry(digits: &mut [i64], at: usize, last: usize) {
    let mut carry = 0;
    for digit in digits[at + 1..=last.max(at)].iter_mut().rev() {
        let sum = *digit + carry;
        carry = sum.div_euclid(BASE);
        *digit = sum.rem_euclid(BASE);
    }
    digits[at] += carry;
}

trait Cut {
    fn floor_or_less(self) -> i64;
}

impl Cut for f64 {
    /// Cut, and below zero one less, also of whole numbers.
    fn floor_or_less(self) -> i64 {
        // A quotient of what fits 32 bits by no less than 1.
        if self >= 0.0 { self as i64 } else { self as i64 - 1 }
    }
}
