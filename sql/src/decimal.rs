//! Decimal numbers of any size, for comparison only.
//!
//! *Enters*: `numeric` values as Postgres prints them, constants in Postgres' input syntax.
//! *Leaves*: their order, a canonical text, the nearest `f64`.
//! *Invariant*: equal numbers have equal digits here: no zeros lead or trail and zero has no sign.
//!
//! Comparing needs no arithmetic: with the zeros stripped, the longer integer part is the larger
//! and equal lengths compare as bytes. So a decimal borrows its text and nothing is allocated,
//! which no big-number crate offers.

use std::cmp::Ordering;

use crate::limits::NUMERIC_CONSTANT_DIGITS_MAX;

/// Digits before and after the point of what [`in_units`] reads.
const DIGITS_MAX: usize = 18;
/// One, in units of the last of these digits.
pub(crate) const UNIT: i128 = 1_000_000_000_000_000_000;

/// A decimal number that borrows its digits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decimal<'a> {
    NegativeInfinity,
    Finite(Finite<'a>),
    Infinity,
    /// Equal to itself and above everything, as in Postgres.
    NotANumber,
}

/// Sign and stripped digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finite<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// As written, for conversion to a float.
    text: &'a [u8],
}

impl<'a> Decimal<'a> {
    /// Reads the output form: `[-]digits[.digits]`, `NaN`, `[-]Infinity`.
    pub(crate) fn read(text: &'a [u8]) -> Option<Decimal<'a>> {
        match text {
            b"NaN" => return Some(Decimal::NotANumber),
            b"Infinity" => return Some(Decimal::Infinity),
            b"-Infinity" => return Some(Decimal::NegativeInfinity),
            _ => {}
        }
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &[][..]),
        };
        let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        Some(Decimal::Finite(Finite::new(negative, whole, fraction, text)))
    }

    /// The canonical text: what [`Decimal::read`] takes, without superfluous zeros.
    pub(crate) fn text(&self) -> String {
        match self {
            Decimal::NegativeInfinity => "-Infinity".to_owned(),
            Decimal::Infinity => "Infinity".to_owned(),
            Decimal::NotANumber => "NaN".to_owned(),
            Decimal::Finite(finite) => finite.canonical(),
        }
    }

    /// The nearest `f64`, or `None` where Postgres raises "out of range".
    pub(crate) fn to_f64(self) -> Option<f64> {
        match self {
            Decimal::NegativeInfinity => Some(f64::NEG_INFINITY),
            Decimal::Infinity => Some(f64::INFINITY),
            Decimal::NotANumber => Some(f64::NAN),
            Decimal::Finite(finite) => {
                let float: f64 = std::str::from_utf8(finite.text).ok()?.parse().ok()?;
                let lost = float.is_infinite() || (float == 0.0 && !finite.is_zero());
                (!lost).then_some(float)
            }
        }
    }

    /// Appends bytes that are in the order of numbers: what kind it is, the place of the first digit,
    /// the digits; of negative ones the complement, with an end above all digits.
    pub(crate) fn write_sort_key(&self, bytes: &mut Vec<u8>) {
        let Decimal::Finite(finite) = self else {
            return bytes.push(match self {
                Decimal::NegativeInfinity => 0,
                Decimal::Infinity => 4,
                _ => 5,
            });
        };
        if finite.is_zero() {
            return bytes.push(2);
        }
        bytes.push(if finite.negative { 1 } else { 3 });
        let start = bytes.len();
        finite.write_size(bytes);
        if finite.negative {
            bytes[start..].iter_mut().for_each(|byte| *byte = !*byte);
            bytes.push(u8::MAX);
        }
    }

    /// The greatest integer that is not above it; `None` where it is not finite or out of range.
    pub(crate) fn floor(self) -> Option<i64> {
        let Decimal::Finite(finite) = self else { return None };
        let whole = finite.whole_part()?;
        let down = finite.negative && !finite.fraction.is_empty();
        if down { whole.checked_sub(1) } else { Some(whole) }
    }

    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Decimal::NegativeInfinity => true,
            Decimal::Finite(finite) => finite.negative,
            _ => false,
        }
    }

    /// The integer it is equal to, if any.
    pub(crate) fn to_i64(self) -> Option<i64> {
        match self {
            Decimal::Finite(finite) if finite.fraction.is_empty() => finite.whole_part(),
            _ => None,
        }
    }

    /// The integer Postgres' cast gives: halves away from zero; `None` out of range.
    pub(crate) fn round_to_i64(self) -> Option<i64> {
        let Decimal::Finite(finite) = self else { return None };
        let whole = finite.whole_part()?;
        let up = finite.fraction.first().is_some_and(|digit| *digit >= b'5');
        match (up, finite.negative) {
            (false, _) => Some(whole),
            (true, false) => whole.checked_add(1),
            (true, true) => whole.checked_sub(1),
        }
    }

    pub(crate) fn compare(&self, other: &Decimal<'_>) -> Ordering {
        match (self, other) {
            (Decimal::Finite(left), Decimal::Finite(right)) => left.compare(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Compares with an integer without allocating.
    pub(crate) fn compare_integer(&self, other: i64) -> Ordering {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = other.unsigned_abs();
        while rest > 0 {
            start -= 1;
            // The remainder of a division by ten fits any integer.
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let whole = &digits[start..];
        self.compare(&Decimal::Finite(Finite::new(other < 0, whole, &[], &[])))
    }

    fn rank(&self) -> u8 {
        match self {
            Decimal::NegativeInfinity => 0,
            Decimal::Finite(_) => 1,
            Decimal::Infinity => 2,
            Decimal::NotANumber => 3,
        }
    }
}

impl<'a> Finite<'a> {
    fn new(negative: bool, whole: &'a [u8], fraction: &'a [u8], text: &'a [u8]) -> Finite<'a> {
        let lead = whole.iter().take_while(|digit| **digit == b'0').count();
        let trail = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
        let whole = &whole[lead..];
        let fraction = &fraction[..fraction.len() - trail];
        let zero = whole.is_empty() && fraction.is_empty();
        Finite { negative: negative && !zero, whole, fraction, text }
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// The place of the first digit, then the digits without the zeros at their end.
    fn write_size(&self, bytes: &mut Vec<u8>) {
        let zeros = self.fraction.iter().take_while(|digit| **digit == b'0').count();
        let (place, fraction) = match self.whole.len() {
            0 => (-(zeros as i64), &self.fraction[zeros..]),
            digits => (digits as i64, self.fraction),
        };
        // At most 131,072 digits stand before the point and 16,383 behind it.
        bytes.extend((place + (1 << 31)).to_be_bytes().split_at(4).1);
        let start = bytes.len();
        bytes.extend(self.whole);
        bytes.extend(fraction);
        while bytes.len() > start && bytes.last() == Some(&b'0') {
            bytes.pop();
        }
    }

    fn whole_part(&self) -> Option<i64> {
        let mut number: i64 = 0;
        for digit in self.whole {
            let digit = i64::from(digit - b'0');
            number = number.checked_mul(10)?;
            // Negative numbers reach one further than positive ones.
            number = if self.negative {
                number.checked_sub(digit)?
            } else {
                number.checked_add(digit)?
            };
        }
        Some(number)
    }

    fn compare(&self, other: &Finite<'_>) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_size(other),
            (true, true) => other.compare_size(self),
        }
    }

    fn compare_size(&self, other: &Finite<'_>) -> Ordering {
        (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction))
    }

    fn canonical(&self) -> String {
        let mut text = String::with_capacity(self.whole.len() + self.fraction.len() + 3);
        if self.negative {
            text.push('-');
        }
        if self.whole.is_empty() {
            text.push('0');
        }
        text.extend(self.whole.iter().map(|digit| char::from(*digit)));
        if !self.fraction.is_empty() {
            text.push('.');
            text.extend(self.fraction.iter().map(|digit| char::from(*digit)));
        }
        text
    }
}

/// Plain digits, of up to 18 on either side of the point, in units of the 18th behind it; `None` for
/// every other text, right or wrong. Equal numbers are equal, and the order is theirs.
#[inline]
pub(crate) fn in_units(text: &[u8]) -> Option<i128> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (whole, count) = leading_digits(rest);
    let (fraction, places) = match &rest[count..] {
        [] => (0, 0),
        [b'.', digits @ ..] => {
            let (fraction, places) = leading_digits(digits);
            if places != digits.len() {
                return None;
            }
            (fraction, places)
        }
        _ => return None,
    };
    if count == 0 || count > DIGITS_MAX || places > DIGITS_MAX {
        return None;
    }
    // Both factors are below 10^18, so everything stays below 10^36.
    let fraction = fraction * POWERS[DIGITS_MAX - places];
    let size = i128::from(whole) * UNIT + i128::from(fraction);
    Some(if negative { -size } else { size })
}

/// The number that digits make and how many they are; meaningless above [`DIGITS_MAX`] of them.
fn leading_digits(text: &[u8]) -> (u64, usize) {
    let (mut number, mut count) = (0_u64, 0);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (number, count)
}

/// Powers of ten.
const POWERS: [u64; DIGITS_MAX + 1] = {
    let mut powers = [1; DIGITS_MAX + 1];
    let mut at = 1;
    while at <= DIGITS_MAX {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Why text is not a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Postgres refuses it too.
    Syntax,
    /// Over [`NUMERIC_CONSTANT_DIGITS_MAX`].
    Long,
}

/// Reads a constant in Postgres' input syntax (blanks, signs, exponents) into canonical text.
pub(crate) fn input(text: &str) -> Result<String, DecimalError> {
    let text = text.trim_matches(is_c_space);
    let special = |canonical: &str| Ok(canonical.to_owned());
    match text.to_ascii_lowercase().as_str() {
        "nan" => return special("NaN"),
        "infinity" | "+infinity" | "inf" | "+inf" => return special("Infinity"),
        "-infinity" | "-inf" => return special("-Infinity"),
        _ => {}
    }
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], parse_exponent(rest[at + 1..].trim_start_matches(is_c_space))?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::Syntax);
    }
    let limit = NUMERIC_CONSTANT_DIGITS_MAX as i64;
    let point = whole.len() as i64 + exponent;
    let long = digits.len() as i64 > limit || point.abs() > limit;
    if long || digits.len() as i64 - point > limit {
        return Err(DecimalError::Long);
    }
    Ok(shift(negative, &digits, point))
}

/// The digits with a point after the first `point` of them, which may lie outside.
fn shift(negative: bool, digits: &[u8], point: i64) -> String {
    let (mut whole, mut fraction) = (Vec::new(), Vec::new());
    let count = digits.len() as i64;
    for place in 0..point.max(count) {
        let digit = usize::try_from(place).ok().and_then(|place| digits.get(place));
        let part = if place < point { &mut whole } else { &mut fraction };
        part.push(digit.copied().unwrap_or(b'0'));
    }
    let zeros = usize::try_from(-point).unwrap_or(0);
    fraction.splice(0..0, std::iter::repeat_n(b'0', zeros));
    Finite::new(negative, &whole, &fraction, &[]).canonical()
}

fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    // More digits than an `i64` has are over the limit whatever they are.
    let size = digits.parse::<i64>().map_err(|_| DecimalError::Long)?.min(i64::MAX / 2);
    Ok(if negative { -size } else { size })
}

/// What C's `isspace` accepts, which Postgres' input functions skip.
pub(crate) fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{B}' | '\u{C}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_postgres_input_into_canonical_text() {
        for (text, canonical) in [
            ("1.50", "1.5"),
            (" -0.00 ", "0"),
            ("+007.", "7"),
            (".5e1", "5"),
            ("1e3", "1000"),
            ("12.5E-3", "0.0125"),
            ("0.001", "0.001"),
            ("120e-1", "12"),
            ("inf", "Infinity"),
            ("nAn", "NaN"),
        ] {
            assert_eq!(input(text).as_deref(), Ok(canonical), "{text}");
        }
        for text in ["", ".", "1e", "1.2.3", "0x10", "1_000", "- 1", "-nan", "é"] {
            assert_eq!(input(text), Err(DecimalError::Syntax), "{text}");
        }
        for text in ["1e1001", "1e-1001", "1e99999999999999999999", "0e-5000"] {
            assert_eq!(input(text), Err(DecimalError::Long), "{text}");
        }
    }

    #[test]
    fn orders_like_postgres() {
        let sorted = ["-Infinity", "-10", "-9.5", "0", "0.01", "0.1", "2", "10", "Infinity", "NaN"];
        for (at, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                let order = Decimal::read(left.as_bytes())
                    .unwrap()
                    .compare(&Decimal::read(right.as_bytes()).unwrap());
                assert_eq!(order, at.cmp(&other), "{left} {right}");
            }
        }
        let minimum = Decimal::read(b"-9223372036854775808.0").unwrap();
        assert_eq!(minimum.compare_integer(i64::MIN), Ordering::Equal);
        assert_eq!(minimum.to_i64(), Some(i64::MIN));
        assert_eq!(Decimal::read(b"0").unwrap().compare_integer(0), Ordering::Equal);
        assert_eq!(Decimal::read(b"-2.5").unwrap().round_to_i64(), Some(-3));
    }
}
