//! `AT TIME ZONE` and `timezone()`: wall clocks of other zones.
//!
//! *Enters*: the zone, as a name or as an interval, and an instant, a wall clock or a time of day.
//! *Leaves*: the other of the first two, or the time of day there.

use super::super::{Arguments, Function, Outcome, some};
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;

const SECOND_MICROS: i64 = 1_000_000;
/// What every offset that is written lies below.
const OFFSET_END: i64 = 16 * 3600 * SECOND_MICROS;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        // Only UTC is let through, in which both are the same number.
        "timestamp_zone" | "timestamptz_zone" => |_, list| Ok(list[1].clone()),
        "timetz_zone" => |_, list| time_there(&list[1], 0),
        "timestamp_izone" => |_, list| moved(list, -1),
        "timestamptz_izone" => |_, list| moved(list, 1),
        "timetz_izone" => |_, list| time_there(&list[1], west(&Arguments(list))?),
        _ => return None,
    })
}

/// Refuses zones whose rules we do not know.
pub(super) fn check(zone: Option<&str>) -> Result<(), String> {
    let utc =
        |zone: &str| matches!(zone.to_ascii_lowercase().as_str(), "utc" | "etc/utc" | "gmt" | "z");
    match zone {
        Some(zone) if utc(zone) => Ok(()),
        _ => Err("only the time zone UTC is supported here".to_owned()),
    }
}

/// Refuses a constant offset that a `timetz` can have and no text of one: the constant that it makes
/// could not be written.
pub(crate) fn check_offset(code: &str, zone: Option<&Datum>) -> Result<(), String> {
    match zone {
        Some(Datum::Interval(zone))
            if code == "timetz_izone" && zone.months == 0 && zone.days == 0 =>
        {
            let fits = zone.micros.unsigned_abs() < OFFSET_END.unsigned_abs();
            fits.then_some(())
                .ok_or("an offset of 16 hours or more is not supported here".to_owned())
        }
        _ => Ok(()),
    }
}

/// The seconds that an interval of hours and less is long; its fraction of a second does not count.
fn seconds(arguments: &Arguments<'_>) -> Result<i32, EvaluationError> {
    let zone = arguments.interval(0)?;
    if zone.months != 0 || zone.days != 0 {
        let reason = "interval time zone must not include months or days";
        return Err(EvaluationError::Other(reason));
    }
    // Postgres keeps the low half of the number.
    Ok((zone.micros / SECOND_MICROS) as i32)
}

fn moved(list: &[Option<Datum>], sign: i64) -> Outcome {
    let arguments = Arguments(list);
    let micros = *arguments.timestamp(1)?;
    if matches!(micros, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(micros));
    }
    // At most 2^31 seconds.
    let by = sign * i64::from(seconds(&arguments)?) * SECOND_MICROS;
    let moved = micros.checked_add(by).ok_or(calendar::OUT_OF_RANGE)?;
    some(Datum::Timestamp(calendar::in_range(moved)?))
}

/// The offset of an interval, in seconds west.
fn west(arguments: &Arguments<'_>) -> Result<i32, EvaluationError> {
    Ok(seconds(arguments)?.wrapping_neg())
}

/// A time of day with the offset of another zone.
fn time_there(from: &Option<Datum>, west: i32) -> Outcome {
    let Some(Datum::TimeTz { time, zone }) = from else { return Err(super::super::UNEXPECTED) };
    let by = i64::from(zone.wrapping_sub(west)) * SECOND_MICROS;
    some(Datum::TimeTz { time: (time + by).rem_euclid(DAY_MICROS), zone: west })
}
