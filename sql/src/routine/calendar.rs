//! Dates and times: arithmetic, fields, truncation. The session's time zone is UTC, always.

use super::{Arguments, Call, Function, Outcome, some};
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::interval::Interval;
use crate::numeric::Numeric;

mod elapsed;
mod field;
mod format;
mod make;
mod overlap;
mod read;
mod truncate;
mod zone;

pub(crate) use zone::{check_offset, zone_argument};

const DATE_OUT_OF_RANGE: EvaluationError = EvaluationError::OutOfRange("date out of range");

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "date_pli" => |_, list| {
            let arguments = Arguments(list);
            add_days(*arguments.date(0)?, *arguments.int(1)?)
        },
        "integer_pl_date" => |_, list| {
            let arguments = Arguments(list);
            add_days(*arguments.date(1)?, *arguments.int(0)?)
        },
        "date_mii" => |_, list| {
            let arguments = Arguments(list);
            add_days(*arguments.date(0)?, -*arguments.int(1)?)
        },
        "date_mi" => |_, list| {
            let arguments = Arguments(list);
            let (left, right) = (*arguments.date(0)?, *arguments.date(1)?);
            if [left, right].iter().any(|day| matches!(*day, i32::MIN | i32::MAX)) {
                return Err(EvaluationError::OutOfRange("cannot subtract infinite dates"));
            }
            some(Datum::Int(i64::from(left) - i64::from(right)))
        },
        "datetime_timestamp" => |_, list| {
            let arguments = Arguments(list);
            at_time(*arguments.date(0)?, *arguments.time(1)?)
        },
        "timedate_pl" => |_, list| {
            let arguments = Arguments(list);
            at_time(*arguments.date(1)?, *arguments.time(0)?)
        },
        "date_pl_interval" | "timestamp_pl_interval" | "timestamptz_pl_interval" => {
            |_, list| moved(&list[0], *Arguments(list).interval(1)?)
        }
        "interval_pl_date" | "interval_pl_timestamp" | "interval_pl_timestamptz" => {
            |_, list| moved(&list[1], *Arguments(list).interval(0)?)
        }
        "date_mi_interval" | "timestamp_mi_interval" | "timestamptz_mi_interval" => {
            |_, list| moved(&list[0], Arguments(list).interval(1)?.negate()?)
        }
        "timestamp_mi" => timestamp_difference,
        "date_finite" => {
            |_, list| some(Datum::Bool(!matches!(*Arguments(list).date(0)?, i32::MIN | i32::MAX)))
        }
        "timestamp_finite" => |_, list| {
            some(Datum::Bool(!matches!(*Arguments(list).timestamp(0)?, i64::MIN | i64::MAX)))
        },
        "interval_finite" => |_, _| some(Datum::Bool(true)),
        "float8_timestamptz" => from_epoch,
        _ => {
            return (of_lengths(code))
                .or_else(|| field::function(code))
                .or_else(|| truncate::function(code))
                .or_else(|| make::function(code))
                .or_else(|| overlap::function(code))
                .or_else(|| format::function(code))
                .or_else(|| elapsed::function(code))
                .or_else(|| read::function(code))
                .or_else(|| zone::function(code));
        }
    })
}

/// Intervals and times of day.
fn of_lengths(code: &str) -> Option<Function> {
    Some(match code {
        "time_pl_interval" => |_, list| {
            let arguments = Arguments(list);
            wrapped(*arguments.time(0)?, arguments.interval(1)?.micros)
        },
        "interval_pl_time" => |_, list| {
            let arguments = Arguments(list);
            wrapped(*arguments.time(1)?, arguments.interval(0)?.micros)
        },
        "timetz_pl_interval" => |_, list| zoned(list, Some),
        "timetz_mi_interval" => |_, list| zoned(list, i64::checked_neg),
        "interval_pl_timetz" => |_, list| zoned(&[list[1].clone(), list[0].clone()], Some),
        "datetimetz_timestamptz" => |_, list| at_zoned(&list[0], &list[1]),
        "timetzdate_pl" => |_, list| at_zoned(&list[1], &list[0]),
        "time_mi_interval" => |_, list| {
            let arguments = Arguments(list);
            let by = arguments.interval(1)?.micros.checked_neg();
            wrapped(*arguments.time(0)?, by.ok_or(calendar::OUT_OF_RANGE)?)
        },
        "time_mi_time" => |_, list| {
            let arguments = Arguments(list);
            interval(Interval {
                months: 0,
                days: 0,
                micros: arguments.time(0)? - arguments.time(1)?,
            })
        },
        "interval_pl" => |_, list| {
            let arguments = Arguments(list);
            interval(arguments.interval(0)?.add(*arguments.interval(1)?)?)
        },
        "interval_mi" => |_, list| {
            let arguments = Arguments(list);
            interval(arguments.interval(0)?.add(arguments.interval(1)?.negate()?)?)
        },
        "interval_um" => |_, list| interval(Arguments(list).interval(0)?.negate()?),
        "interval_mul" => |_, list| {
            let arguments = Arguments(list);
            let factor = *arguments.float(1)?;
            interval(arguments.interval(0)?.scaled(|number| number * factor)?)
        },
        "mul_d_interval" => |_, list| {
            let arguments = Arguments(list);
            let factor = *arguments.float(0)?;
            interval(arguments.interval(1)?.scaled(|number| number * factor)?)
        },
        "interval_div" => |_, list| {
            let arguments = Arguments(list);
            let factor = *arguments.float(1)?;
            if factor == 0.0 {
                return Err(EvaluationError::DivisionByZero);
            }
            interval(arguments.interval(0)?.scaled(|number| number / factor)?)
        },
        "interval_justify_hours" => {
            |_, list| interval(Arguments(list).interval(0)?.justify_hours()?)
        }
        "interval_justify_days" => |_, list| interval(Arguments(list).interval(0)?.justify_days()?),
        _ => return None,
    })
}

/// Refuses constants that the code cannot work with; `None` is an argument that is no constant.
pub(crate) fn check(code: &str, first: Option<&str>, second: Option<&str>) -> Result<(), String> {
    match code {
        "numeric_to_char" | "int4_to_char" | "int8_to_char" | "float4_to_char"
        | "float8_to_char" | "numeric_to_number" => super::number::check_format(second),
        "timestamp_to_char" | "timestamptz_to_char" => constant(second).and_then(format::check),
        "interval_to_char" => constant(second).and_then(elapsed::check),
        "to_date" | "to_timestamp" => constant(second).and_then(read::check),
        _ if field::function(code).is_some() => match first {
            Some(name) => field::check(code, name),
            None => Err("the field must be a constant".to_owned()),
        },
        _ if truncate::cuts(code) => match first {
            Some(name) => truncate::check(code, name),
            None => Err("the field must be a constant".to_owned()),
        },
        _ => Ok(()),
    }
}

fn constant(format: Option<&str>) -> Result<&str, String> {
    format.ok_or_else(|| "a format that is no constant is not supported".to_owned())
}

fn interval(interval: Interval) -> Outcome {
    some(Datum::Interval(interval))
}

fn add_days(date: i32, days: i64) -> Outcome {
    if matches!(date, i32::MIN | i32::MAX) {
        return some(Datum::Date(date));
    }
    let day = i64::from(date) + days;
    if !calendar::is_day(day) {
        return Err(DATE_OUT_OF_RANGE);
    }
    some(Datum::Date(i32::try_from(day).map_err(|_| DATE_OUT_OF_RANGE)?))
}

fn at_time(date: i32, time: i64) -> Outcome {
    let out_of_range = EvaluationError::OutOfRange("date out of range for timestamp");
    let start = calendar::midnight(date).ok_or(out_of_range)?;
    if matches!(start, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(start));
    }
    some(Datum::Timestamp(calendar::in_range(start + time)?))
}

/// A time of day with a zone round the clock.
fn zoned(list: &[Option<Datum>], by: fn(i64) -> Option<i64>) -> Outcome {
    let Some(Datum::TimeTz { time, zone }) = list[0] else { return Err(super::UNEXPECTED) };
    let by = by(Arguments(list).interval(1)?.micros).ok_or(calendar::OUT_OF_RANGE)?;
    match wrapped(time, by)? {
        Some(Datum::Time(time)) => some(Datum::TimeTz { time, zone }),
        other => Ok(other),
    }
}

/// A day at a time of day with a zone.
fn at_zoned(date: &Option<Datum>, at: &Option<Datum>) -> Outcome {
    match (date, at) {
        (Some(Datum::Date(date)), Some(Datum::TimeTz { time, zone })) => {
            at_time(*date, time + i64::from(*zone) * 1_000_000)
        }
        _ => Err(super::UNEXPECTED),
    }
}

/// A time of day round the clock.
fn wrapped(time: i64, by: i64) -> Outcome {
    some(Datum::Time((time % DAY_MICROS + by % DAY_MICROS).rem_euclid(DAY_MICROS)))
}

/// A date or timestamp plus an interval: months first, the day cut to the month's length; then days;
/// then time.
fn moved(from: &Option<Datum>, by: Interval) -> Outcome {
    let start = match from {
        Some(Datum::Timestamp(micros)) => *micros,
        Some(Datum::Date(date)) => {
            let out_of_range = EvaluationError::OutOfRange("date out of range for timestamp");
            calendar::midnight(*date).ok_or(out_of_range)?
        }
        _ => return Err(super::UNEXPECTED),
    };
    if matches!(start, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(start));
    }
    let (mut day, time) = (start.div_euclid(DAY_MICROS), start.rem_euclid(DAY_MICROS));
    if by.months != 0 {
        let (year, month, of_month) = calendar::civil(day);
        let months = year * 12 + (month - 1) + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let of_month = of_month.min(calendar::month_days(year, month));
        day = calendar::day_number(year, month, of_month);
        calendar::instant_of(day, time)?;
    }
    if by.days != 0 {
        day += i64::from(by.days);
        calendar::instant_of(day, time)?;
    }
    // Postgres looks at the sum alone: where it begins may lie a little outside, after rounding.
    let micros = day.checked_mul(DAY_MICROS).and_then(|at| at.checked_add(time));
    let micros = micros.and_then(|at| at.checked_add(by.micros));
    some(Datum::Timestamp(calendar::in_range(micros.ok_or(calendar::OUT_OF_RANGE)?)?))
}

fn timestamp_difference(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (*arguments.timestamp(0)?, *arguments.timestamp(1)?);
    if [left, right].iter().any(|one| matches!(*one, i64::MIN | i64::MAX)) {
        return Err(EvaluationError::OutOfRange("cannot subtract infinite timestamps"));
    }
    let micros = left.checked_sub(right);
    let micros = micros.ok_or(EvaluationError::OutOfRange("interval out of range"))?;
    interval(Interval { months: 0, days: 0, micros }.justify_hours()?)
}

/// `to_timestamp(seconds)`.
fn from_epoch(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let seconds = *Arguments(list).float(0)?;
    if seconds.is_nan() {
        return Err(EvaluationError::OutOfRange("timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return some(Datum::Timestamp(if seconds < 0.0 { i64::MIN } else { i64::MAX }));
    }
    let since = seconds - (calendar::EPOCH_DAYS * 86_400) as f64;
    let micros = (since * 1e6).round_ties_even();
    // The bounds of an `int8`, of which the upper one is no float.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros) {
        return Err(calendar::OUT_OF_RANGE);
    }
    some(Datum::Timestamp(calendar::in_range(micros as i64)?))
}

fn numeric(int: i64, scale: u32) -> Numeric {
    Numeric::scaled(int, scale)
}
