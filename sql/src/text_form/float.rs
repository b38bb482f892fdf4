//! Floats as the shortest text that reads back as the same.

/// The text of a float; `narrow` for `float4`.
pub(crate) fn float_text(float: f64, narrow: bool) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The cast is exact: a narrow float has been widened before.
    let scientific = if narrow { format!("{:e}", float as f32) } else { format!("{float:e}") };
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
        assert_eq!(float_text(f64::from(1.1_f32), true), "1.1");
    }
}
