//! Floats as the shortest text that reads back as the same.

use num_bigint::BigInt;

/// The text of a float; `narrow` for `float4`.
pub(crate) fn float_text(float: f64, narrow: bool) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = shortest(float, narrow);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let limit = if narrow { 6 } else { 15 };
    if float == 0.0 {
        return format!("{sign}0");
    }
    if !(-4..limit).contains(&exponent) {
        let minus = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{minus}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

/// The fewest digits that lie strictly nearer to this float than to any other; Rust's own shortest
/// form also takes numbers half-way between two.
fn shortest(float: f64, narrow: bool) -> String {
    // The cast is exact: a narrow float has been widened before.
    let start = if narrow { format!("{:e}", float as f32) } else { format!("{float:e}") };
    let digits = start.split('e').next().unwrap_or_default();
    let first = digits.bytes().filter(u8::is_ascii_digit).count();
    let reads_back = |text: &str| {
        let back = if narrow { text.parse::<f32>().map(f64::from) } else { text.parse::<f64>() };
        back == Ok(float) && !is_halfway(text, float, narrow)
    };
    for count in first..=17 {
        // Of two numbers as near, the even one; but below a power of two only the upper may do.
        let text = format!("{float:.*e}", count - 1);
        if reads_back(&text) {
            return text;
        }
        if count == first && reads_back(&start) {
            return start;
        }
    }
    start
}

/// Whether a number stands exactly between a float and the next; only large integers can.
fn is_halfway(text: &str, float: f64, narrow: bool) -> bool {
    if float.abs() < if narrow { 16_777_216.0 } else { 9_007_199_254_740_992.0 } {
        return false;
    }
    let (up, down) = if narrow {
        let float = float as f32;
        (f64::from(float.next_up()), f64::from(float.next_down()))
    } else {
        (float.next_up(), float.next_down())
    };
    let whole = |text: &str| text.parse::<BigInt>().unwrap_or_default();
    let exact = |float: f64| whole(&format!("{float:.0}"));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let zeros = exponent.parse::<usize>().unwrap_or(0).saturating_sub(fraction);
    let twice = (whole(&mantissa.replace('.', "")) * BigInt::from(10).pow(zeros as u32)) * 2;
    [up, down].into_iter().any(|next| next.is_finite() && twice == exact(float) + exact(next))
}

#[cfg(test)]
mod tests {
    use super::float_text;

    #[test]
    fn prints_like_postgres() {
        for (float, text) in [
            (1e15, "1e+15"),
            (1e14, "100000000000000"),
            (1.0, "1"),
            (-0.0, "-0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123.456, "123.456"),
            (1.5e300, "1.5e+300"),
        ] {
            assert_eq!(float_text(float, false), text);
        }
        assert_eq!(float_text(1e6, true), "1e+06");
        assert_eq!(float_text(2_f64.powi(-24), false), "5.960464477539063e-08");
        assert_eq!(float_text(50_331_648.0, true), "5.0331648e+07");
        assert_eq!(float_text(f64::from(1.1_f32), true), "1.1");
    }
}
