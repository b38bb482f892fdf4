//! Digits of dates and times: numbers, fractions, offsets, with C's own leniency.

use super::CalendarError;

/// The parts of a date between its delimiters.
pub(super) fn date_parts(text: &str) -> Result<Vec<&str>, CalendarError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        if rest.is_empty() {
            return Err(CalendarError::Syntax);
        }
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let same = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        // Whatever stands there is dropped, a letter or a digit too.
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Ok(parts)
}

/// The number that text begins with (zero if with none), and what follows.
pub(super) fn int(text: &str) -> Result<(i64, &str), CalendarError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((0, rest));
    }
    let value: i32 = digits.parse().map_err(|_| CalendarError::Field)?;
    Ok((i64::from(value), rest))
}

/// As C's `atoi` gives it: the digits at the start, and the low 32 bits of them.
pub(super) fn wrapped(text: &str) -> i64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match &text[..end] {
        "" => 0,
        digits => i64::from(digits.parse::<i64>().unwrap_or(i64::MAX) as i32),
    }
}

/// Postgres reads a sign here, and refuses what is less than nothing: of signed numbers only zeros are left.
fn unsigned_zero(text: &str) -> &str {
    match text.strip_prefix('-') {
        Some(rest) if rest.starts_with('0') && wrapped(rest) == 0 => rest,
        _ => text,
    }
}

/// `.f` as microseconds.
pub(super) fn fraction(text: &str) -> Result<i64, CalendarError> {
    Ok((float(text)? * 1e6).round_ties_even() as i64)
}

/// The same, with whatever follows the digits ignored.
pub(super) fn fraction_at_start(text: &str) -> Result<i64, CalendarError> {
    let end = text[1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| at + 1);
    fraction(&text[..end])
}

/// `.f` as a fraction.
pub(super) fn float(text: &str) -> Result<f64, CalendarError> {
    let digits = text.strip_prefix('.').ok_or(CalendarError::Syntax)?;
    // A point alone is none.
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(CalendarError::Syntax);
    }
    format!("0{text}0").parse().map_err(|_| CalendarError::Syntax)
}

/// `±HH`, `±HHMM`, `±HH:MM[:SS]`, in seconds east.
pub(super) fn offset(text: &str) -> Result<i64, CalendarError> {
    let east = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(CalendarError::Syntax),
    };
    let (mut hour, mut rest) = int(&text[1..])?;
    let (mut minute, mut second) = (0, 0);
    if let Some(minutes) = rest.strip_prefix(':') {
        (minute, rest) = int(unsigned_zero(minutes))?;
        if let Some(seconds) = rest.strip_prefix(':') {
            (second, rest) = int(unsigned_zero(seconds))?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hour, minute) = (hour / 100, hour % 100);
    }
    if hour > 15 || minute > 59 || second > 59 {
        return Err(CalendarError::Field);
    }
    if rest.is_empty() {
        Ok(east * ((hour * 60 + minute) * 60 + second))
    } else {
        Err(CalendarError::Syntax)
    }
}
