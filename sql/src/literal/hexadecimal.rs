//! C's hexadecimal floats, which Postgres reads because `strtod` does.
//!
//! *Enters*: what follows `0x`. *Leaves*: the nearest float, of two as near the even one.

/// Digits after which only zero or not matters: they hold more bits than any float.
const DIGITS_MAX: u32 = 30;
/// Beyond every float, and far from overflowing any sum here.
const EXPONENT_MAX: i64 = 1_000_000;

/// Reads `H[.H][p±D]`; the second is whether it is zero as it is written. `None` if it is no such
/// number. What is too large is infinite, what is too small zero.
pub(super) fn read(text: &str, narrow: bool) -> Option<(f64, bool)> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut exponent = exponent.map_or(Some(0), decimal)?;
    exponent -= 4 * i64::try_from(fraction.len()).ok()?;
    let (mut bits, mut count, mut more) = (0_u128, 0, false);
    for c in whole.chars().chain(fraction.chars()) {
        let digit = c.to_digit(16)?;
        if bits != 0 || digit != 0 {
            count += 1;
        }
        if count <= DIGITS_MAX {
            bits = bits << 4 | u128::from(digit);
        } else {
            more |= digit != 0;
            exponent += 4;
        }
    }
    Some((nearest(bits, more, exponent, narrow), bits == 0))
}

fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    Some(if text.starts_with('-') { -size } else { size })
}

/// The float nearest to `bits · 2^exponent`, and a little more if there is `more`.
fn nearest(bits: u128, more: bool, exponent: i64, narrow: bool) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    // Bits of the mantissa, and the exponents of the last bit.
    let (precision, least, most) = if narrow { (24, -149, 104) } else { (53, -1074, 971) };
    let top = exponent + 127 - i64::from(bits.leading_zeros());
    let last = (top - (precision - 1)).max(least);
    let shift = last - exponent;
    let mut kept = match shift {
        ..=0 => bits << -shift,
        1..=127 => bits >> shift,
        _ => 0,
    };
    if (1..=128).contains(&shift) {
        let half = 1_u128 << (shift - 1);
        let rest = if shift == 128 { bits } else { bits & (half << 1).wrapping_sub(1) };
        let above = rest > half || (rest == half && (more || kept & 1 == 1));
        kept += u128::from(above);
    }
    let carried = kept == 1 << precision;
    if last > most || (last == most && carried) {
        return f64::INFINITY;
    }
    // Both are exact, and so is their product: at most so many bits, at exponents that exist.
    let unit = match last {
        ..-1022 => f64::from_bits(1 << (last + 1074)),
        _ => f64::from_bits(((last + 1023) as u64) << 52),
    };
    kept as f64 * unit
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_nearest_float() {
        for (text, float) in [
            ("1p3", 8.0),
            ("1.8p-1", 0.75),
            (".8", 0.5),
            ("1.fffffffffffff8p0", 2.0),
            ("1.fffffffffffff7ffp0", 1.999_999_999_999_999_8),
            ("1p-1074", 5e-324),
            ("1p-1075", 0.0),
            ("1.000000000000000000000000000000000001p-1075", 5e-324),
            ("1.fffffffffffffp1023", f64::MAX),
            ("1p1024", f64::INFINITY),
            ("0p99999999999999999999", 0.0),
        ] {
            assert_eq!(read(text, false).map(|(float, _)| float), Some(float), "{text}");
        }
        assert_eq!(read("1.fffffep127", true), Some((f64::from(f32::MAX), false)));
        assert_eq!(read("1.ffffffp127", true), Some((f64::INFINITY, false)));
        assert_eq!(read("1p-149", true), Some((f64::from(f32::from_bits(1)), false)));
        for text in ["", ".", "p1", "1p", "1p+", "1g", "1.1.1"] {
            assert_eq!(read(text, false), None, "{text}");
        }
    }
}
