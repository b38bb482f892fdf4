//! Dates and timestamps: days and microseconds since 2000-01-01, in UTC.
//!
//! *Enters*: text as Postgres prints it or as a clause writes it.
//! *Leaves*: numbers in Postgres' own range and their canonical text.
//! *Invariant*: the smallest and the largest number stand for the two infinities; every accepted
//! text means in Postgres (ISO, time zone UTC) exactly what it means here.

use crate::evaluation_error::EvaluationError;

mod decode;
mod digits;
mod field;
mod word;

use decode::Decoded;

pub(crate) const DAY_MICROS: i64 = 86_400_000_000;
const SECOND_MICROS: i64 = 1_000_000;
/// Days from 1970-01-01 to 2000-01-01.
pub(crate) const EPOCH_DAYS: i64 = 10_957;
/// 4714-11-24 BC, the first day of Postgres' calendar.
const FIRST_DAY: i64 = -2_451_545;
/// 5874898-01-01, the day after the last `date`.
const END_DAY: i64 = 2_145_031_949;
/// 294277-01-01, the first instant after the last `timestamp`.
const END_TIMESTAMP_DAY: i64 = 106_751_983;

/// Why text is not an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalendarError {
    /// None of the forms that are known.
    Syntax,
    /// `now`, `today`, `tomorrow`, `yesterday`.
    Clock,
    /// A time zone's name, or what could be one.
    Zone,
    /// A field that no day or hour has: February 30, 25:00.
    Field,
    /// A real instant that Postgres cannot hold.
    Range,
}

/// A parsed date and time of day.
struct Fields {
    day: i64,
    /// Microseconds since midnight; more than a day's where Postgres adds them up unchecked.
    time: i64,
    /// Microseconds east of Greenwich.
    zone: i64,
}

/// Reads a `date`; a time of day is checked and dropped, as Postgres does.
pub(crate) fn date(text: &str) -> Result<i32, CalendarError> {
    let fields = match decode::date_time(text, false)? {
        Decoded::NegativeInfinity => return Ok(i32::MIN),
        Decoded::Infinity => return Ok(i32::MAX),
        Decoded::Epoch => return Ok(-(EPOCH_DAYS as i32)),
        Decoded::Fields(fields) => fields,
    };
    if !(FIRST_DAY..END_DAY).contains(&fields.day) {
        return Err(CalendarError::Range);
    }
    i32::try_from(fields.day).map_err(|_| CalendarError::Range)
}

/// Reads the form in which nearly every instant is printed: `YYYY-MM-DD HH:MM:SS[.f]`, with `+00`
/// at its end if it is `zoned`. `None` for every other form, right or wrong.
pub(crate) fn printed(text: &[u8], zoned: bool) -> Option<i64> {
    let text = if zoned { text.strip_suffix(b"+00")? } else { text };
    let (date, time) = text.split_at_checked(10)?;
    let [b' ', h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] = time else { return None };
    let day = day_number_printed(date)?;
    let (hour, minute, second) = (pair(*h1, *h2)?, pair(*m1, *m2)?, pair(*s1, *s2)?);
    let micros = match fraction {
        [] => 0,
        // At most six digits: the missing ones are zeros.
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            let mut micros = 0;
            for at in 0..6 {
                micros = micros * 10 + digit(digits.get(at).copied().unwrap_or(b'0'))?;
            }
            micros
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(day * DAY_MICROS + seconds * SECOND_MICROS + micros)
}

/// Reads the form in which nearly every `date` is printed: `YYYY-MM-DD`. `None` for every other form,
/// right or wrong.
pub(crate) fn printed_date(text: &[u8]) -> Option<i32> {
    i32::try_from(day_number_printed(text)?).ok()
}

fn day_number_printed(text: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) = (pair(y1, y2)? * 100 + pair(y3, y4)?, pair(m1, m2)?, pair(d1, d2)?);
    let in_calendar = year > 0 && (1..=12).contains(&month) && day >= 1;
    (in_calendar && day <= month_days(year, month)).then(|| day_number(year, month, day))
}

fn digit(byte: u8) -> Option<i64> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(i64::from(digit))
}

fn pair(tens: u8, ones: u8) -> Option<i64> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Reads a `timestamp`: an offset is ignored.
pub(crate) fn timestamp(text: &str) -> Result<i64, CalendarError> {
    instant(text, false)
}

/// Reads a `timestamptz`: without an offset it is UTC.
pub(crate) fn timestamptz(text: &str) -> Result<i64, CalendarError> {
    instant(text, true)
}

fn instant(text: &str, zoned: bool) -> Result<i64, CalendarError> {
    let Fields { day, time, zone } = match decode::date_time(text, true)? {
        Decoded::NegativeInfinity => return Ok(i64::MIN),
        Decoded::Infinity => return Ok(i64::MAX),
        Decoded::Epoch => return Ok(-EPOCH_DAYS * DAY_MICROS),
        Decoded::Fields(fields) => fields,
    };
    // The bounds on the day keep the sum far inside an i128, and the check keeps it inside an i64.
    let micros = i128::from(day) * i128::from(DAY_MICROS) + i128::from(time);
    let micros = micros - if zoned { i128::from(zone) } else { 0 };
    let range = i128::from(FIRST_DAY) * i128::from(DAY_MICROS)
        ..i128::from(END_TIMESTAMP_DAY) * i128::from(DAY_MICROS);
    if !range.contains(&micros) {
        return Err(CalendarError::Range);
    }
    i64::try_from(micros).map_err(|_| CalendarError::Range)
}

pub(crate) const OUT_OF_RANGE: EvaluationError =
    EvaluationError::OutOfRange("timestamp out of range");

/// A computed instant, if a timestamp can hold it.
pub(crate) fn in_range(micros: i64) -> Result<i64, EvaluationError> {
    let first = i128::from(FIRST_DAY) * i128::from(DAY_MICROS);
    let end = i128::from(END_TIMESTAMP_DAY) * i128::from(DAY_MICROS);
    if (first..end).contains(&i128::from(micros)) { Ok(micros) } else { Err(OUT_OF_RANGE) }
}

/// The instant of a day and a time.
pub(crate) fn instant_of(day: i64, time: i64) -> Result<i64, EvaluationError> {
    let micros = i128::from(day) * i128::from(DAY_MICROS) + i128::from(time);
    in_range(i64::try_from(micros).map_err(|_| OUT_OF_RANGE)?)
}

/// Whether a `date` can hold a day.
pub(crate) fn is_day(day: i64) -> bool {
    (FIRST_DAY..END_DAY).contains(&day)
}

/// The instant at which a day begins; `None` where a timestamp cannot hold it.
pub(crate) fn midnight(date: i32) -> Option<i64> {
    match date {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        day if i64::from(day) < END_TIMESTAMP_DAY => Some(i64::from(day) * DAY_MICROS),
        _ => None,
    }
}

/// The day an instant begins, if it begins one.
pub(crate) fn day_of_midnight(timestamp: i64) -> Option<i32> {
    match timestamp {
        i64::MIN => Some(i32::MIN),
        i64::MAX => Some(i32::MAX),
        micros if micros % DAY_MICROS == 0 => i32::try_from(micros / DAY_MICROS).ok(),
        _ => None,
    }
}

/// The day that an instant is in.
pub(crate) fn day_of(timestamp: i64) -> i64 {
    timestamp.div_euclid(DAY_MICROS)
}

/// Compares a day with an instant; days beyond all instants are above them and below infinity.
pub(crate) fn compare_date(date: i32, timestamp: i64) -> std::cmp::Ordering {
    let start = match date {
        i32::MIN => i128::from(i64::MIN),
        i32::MAX => i128::from(i64::MAX),
        // No finite day may reach what stands for infinity.
        day => (i128::from(day) * i128::from(DAY_MICROS)).min(i128::from(i64::MAX) - 1),
    };
    start.cmp(&i128::from(timestamp))
}

/// The ISO text of a `date`.
pub(crate) fn date_text(date: i32) -> String {
    match date {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        day => {
            let (text, suffix) = day_text(i64::from(day));
            text + suffix
        }
    }
}

/// The ISO text of a `timestamp`, or with `+00` of a `timestamptz`.
pub(crate) fn timestamp_text(timestamp: i64, zoned: bool) -> String {
    if timestamp == i64::MIN || timestamp == i64::MAX {
        return if timestamp < 0 { "-infinity" } else { "infinity" }.to_owned();
    }
    let (day, suffix) = day_text(timestamp.div_euclid(DAY_MICROS));
    let time = timestamp.rem_euclid(DAY_MICROS);
    format!("{day} {}", time_text(time)) + if zoned { "+00" } else { "" } + suffix
}

fn day_text(day: i64) -> (String, &'static str) {
    let (year, month, day) = civil(day);
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), suffix)
}

/// Reads a `time` or `timetz`: microseconds of the day, and those east of Greenwich.
pub(crate) fn time(text: &str) -> Result<(i64, i64), CalendarError> {
    let fields = decode::time(text)?;
    Ok((fields.time, fields.zone))
}

/// The text of a `time`.
pub(crate) fn time_text(time: i64) -> String {
    let (seconds, micros) = (time / SECOND_MICROS, time % SECOND_MICROS);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    if micros != 0 {
        text += format!(".{micros:06}").trim_end_matches('0');
    }
    text
}

/// The text of an offset, given in seconds west.
pub(crate) fn zone_text(west: i32) -> String {
    let sign = if west > 0 { '-' } else { '+' };
    let size = west.unsigned_abs();
    let (hour, minute, second) = (size / 3600, size / 60 % 60, size % 60);
    match (minute, second) {
        (0, 0) => format!("{sign}{hour:02}"),
        (_, 0) => format!("{sign}{hour:02}:{minute:02}"),
        _ => format!("{sign}{hour:02}:{minute:02}:{second:02}"),
    }
}

/// Rounds a fraction of a second with the same floating-point steps as Postgres.
pub(crate) fn fraction_micros(digits: &str) -> Result<i64, CalendarError> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(CalendarError::Syntax);
    }
    let fraction: f64 = format!("0.{digits}").parse().map_err(|_| CalendarError::Syntax)?;
    // At most 1,000,000, which a float holds exactly.
    Ok((fraction * 1e6).round_ties_even() as i64)
}

pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 2000-01-01 of a proleptic Gregorian date; year 0 is 1 BC. The year is counted from
/// March so that the leap day comes last.
pub(crate) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - EPOCH_DAYS
}

/// The inverse of [`day_number`].
pub(crate) fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH_DAYS + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests;
