//! Instants and intervals out of their parts, and the distance between two instants in words.

use super::super::{Arguments, Call, Function, Outcome, some};
use super::{DATE_OUT_OF_RANGE, interval};
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::interval::Interval;

const FIELD: EvaluationError = EvaluationError::OutOfRange("date/time field value out of range");
const INTERVAL_OUT_OF_RANGE: EvaluationError = EvaluationError::OutOfRange("interval out of range");

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "make_date" => |_, list| {
            let day = day(&Arguments(list))?;
            if !calendar::is_day(day) {
                return Err(DATE_OUT_OF_RANGE);
            }
            some(Datum::Date(i32::try_from(day).map_err(|_| DATE_OUT_OF_RANGE)?))
        },
        "make_time" => |_, list| some(Datum::Time(clock(&Arguments(list), 0)?)),
        // The session's zone is UTC, in which both are the same number.
        "make_timestamp" | "make_timestamptz" => |_, list| made(list).and_then(some),
        "make_timestamptz_at_timezone" => {
            |call, list| super::zone::elsewhere(call, &Some(made(list)?), true)
        }
        "make_interval" => make_interval,
        "timestamp_age" | "timestamptz_age" => age,
        "timestamp_bin" | "timestamptz_bin" => bin,
        "interval_justify_interval" => {
            |_, list| interval(Arguments(list).interval(0)?.justify_interval()?)
        }
        _ => return None,
    })
}

/// The instant or wall clock of the first six arguments.
fn made(list: &[Option<Datum>]) -> Result<Datum, EvaluationError> {
    let arguments = Arguments(list);
    let (day, time) = (day(&arguments)?, clock(&arguments, 3)?);
    Ok(Datum::Timestamp(calendar::instant_of(day, time)?))
}

/// The day that the first three arguments name. Years before Christ are negative; there is no
/// year 0.
fn day(arguments: &Arguments<'_>) -> Result<i64, EvaluationError> {
    let (year, month, day) = (*arguments.int(0)?, *arguments.int(1)?, *arguments.int(2)?);
    let year = match year {
        0 => return Err(FIELD),
        year if year < 0 => year + 1,
        year => year,
    };
    if !(1..=12).contains(&month) || day < 1 || day > calendar::month_days(year, month) {
        return Err(FIELD);
    }
    Ok(calendar::day_number(year, month, day))
}

/// The time of day of three arguments; up to and including 24:00:00.
fn clock(arguments: &Arguments<'_>, from: usize) -> Result<i64, EvaluationError> {
    let (hour, minute) = (*arguments.int(from)?, *arguments.int(from + 1)?);
    let micros = (*arguments.float(from + 2)? * 1e6).round_ties_even();
    let sound = (0..=24).contains(&hour) && (0..60).contains(&minute);
    if !sound || !(0.0..=60e6).contains(&micros) {
        return Err(FIELD);
    }
    let time = (hour * 60 + minute) * 60_000_000 + micros as i64;
    if time > DAY_MICROS { Err(FIELD) } else { Ok(time) }
}

fn make_interval(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let seconds = *arguments.float(6)?;
    let whole = |of: usize, each: i64, rest: usize| -> Result<i32, EvaluationError> {
        let sum = arguments.int(of)? * each + arguments.int(rest)?;
        i32::try_from(sum).map_err(|_| INTERVAL_OUT_OF_RANGE)
    };
    let micros = (seconds * 1e6).round_ties_even();
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros) {
        return Err(INTERVAL_OUT_OF_RANGE);
    }
    // Hours and minutes of an `int4` are far inside an `int8`.
    let clock = arguments.int(4)? * 3_600_000_000 + arguments.int(5)? * 60_000_000;
    let micros = clock.checked_add(micros as i64).ok_or(INTERVAL_OUT_OF_RANGE)?;
    interval(Interval { months: whole(0, 12, 1)?, days: whole(2, 7, 3)?, micros })
}

/// The parts of an instant: year, month, day, and microseconds.
fn parts(instant: i64) -> Result<(i64, i64, i64, i64), EvaluationError> {
    if instant == i64::MIN {
        return Err(calendar::OUT_OF_RANGE);
    }
    // Postgres takes infinity for the largest number it is stored as.
    let (year, month, day) = calendar::civil(instant.div_euclid(DAY_MICROS));
    Ok((year, month, day, instant.rem_euclid(DAY_MICROS)))
}

/// `age`: years and months by the calendar, then the days that are left.
fn age(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (*arguments.timestamp(0)?, *arguments.timestamp(1)?);
    let (first, second) = (parts(left)?, parts(right)?);
    let sign = if left < right { -1 } else { 1 };
    let mut months = sign * ((first.0 - second.0) * 12 + (first.1 - second.1));
    let mut days = sign * (first.2 - second.2);
    let mut micros = sign * (first.3 - second.3);
    if micros < 0 {
        micros += DAY_MICROS;
        days -= 1;
    }
    let borrowed = if left < right { first } else { second };
    while days < 0 {
        days += calendar::month_days(borrowed.0, borrowed.1);
        months -= 1;
    }
    let narrow = |count: i64| i32::try_from(sign * count).map_err(|_| INTERVAL_OUT_OF_RANGE);
    interval(Interval { months: narrow(months)?, days: narrow(days)?, micros: sign * micros })
}

/// `date_bin(stride, instant, origin)`.
fn bin(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (stride, instant, origin) =
        (*arguments.interval(0)?, *arguments.timestamp(1)?, *arguments.timestamp(2)?);
    if matches!(instant, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(instant));
    }
    if matches!(origin, i64::MIN | i64::MAX) {
        return Err(EvaluationError::OutOfRange("origin out of range"));
    }
    if stride.months != 0 {
        let words = "timestamps cannot be binned into intervals containing months or years";
        return Err(EvaluationError::Other(words));
    }
    let days = i64::from(stride.days).checked_mul(DAY_MICROS).ok_or(INTERVAL_OUT_OF_RANGE)?;
    let stride = days.checked_add(stride.micros).ok_or(INTERVAL_OUT_OF_RANGE)?;
    if stride <= 0 {
        return Err(EvaluationError::Other("stride must be greater than zero"));
    }
    let difference = instant.checked_sub(origin).ok_or(INTERVAL_OUT_OF_RANGE)?;
    let bin = instant.checked_sub(difference.rem_euclid(stride));
    some(Datum::Timestamp(calendar::in_range(bin.ok_or(calendar::OUT_OF_RANGE)?)?))
}
