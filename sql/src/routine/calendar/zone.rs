//! `AT TIME ZONE` and `timezone()`: wall clocks of other zones.
//!
//! *Enters*: the zone, as a name or as an interval, and an instant, a wall clock or a time of day.
//! *Leaves*: the other of the first two, or the time of day there.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::field::Field;
use crate::Zone;
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;

const SECOND_MICROS: i64 = 1_000_000;
/// What every offset that is written lies below.
const OFFSET_END: i64 = 16 * 3600 * SECOND_MICROS;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "timestamp_zone" => |call, list| elsewhere(call, &list[1], true),
        "timestamptz_zone" => |call, list| elsewhere(call, &list[1], false),
        "timestamptz_trunc_zone" => truncated,
        // Only UTC is let through.
        "timetz_zone" => |_, list| time_there(&list[1], 0),
        "timestamp_izone" => |_, list| moved(list, -1),
        "timestamptz_izone" => |_, list| moved(list, 1),
        "timetz_izone" => |_, list| time_there(&list[1], west(&Arguments(list))?),
        _ => return None,
    })
}

/// The argument that is a zone by its name.
pub(crate) fn zone_argument(code: &str) -> Option<usize> {
    match code {
        "timestamp_zone" | "timestamptz_zone" | "timetz_zone" => Some(0),
        "timestamptz_trunc_zone" => Some(2),
        "make_timestamptz_at_timezone" => Some(6),
        _ => None,
    }
}

/// The wall clock of an instant, or with `back` the other way round.
pub(super) fn elsewhere(call: &Call, from: &Option<Datum>, back: bool) -> Outcome {
    let Some(Datum::Timestamp(micros)) = *from else { return Err(UNEXPECTED) };
    match &call.zone {
        None => some(Datum::Timestamp(micros)),
        Some(_) if matches!(micros, i64::MIN | i64::MAX) => some(Datum::Timestamp(micros)),
        Some(zone) if back => some(Datum::Timestamp(calendar::in_range(instant(zone, micros))?)),
        Some(zone) => some(Datum::Timestamp(calendar::in_range(wall(zone, micros))?)),
    }
}

/// The wall clock of an instant, which may lie a day outside the range: all of that is far inside an `i64`.
fn wall(zone: &Zone, micros: i64) -> i64 {
    micros + i64::from(zone.offset_at(seconds_of(micros))) * SECOND_MICROS
}

/// The inverse of [`wall`].
fn instant(zone: &Zone, wall: i64) -> i64 {
    wall - i64::from(zone.offset_of_wall(seconds_of(wall))) * SECOND_MICROS
}

/// Seconds since 1970.
fn seconds_of(micros: i64) -> i64 {
    micros.div_euclid(SECOND_MICROS) + calendar::EPOCH_DAYS * 86_400
}

/// `date_trunc` by the wall clock of a zone.
fn truncated(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let field = Field::named(arguments.text(0)?).ok_or(UNEXPECTED)?;
    let micros = *arguments.timestamp(1)?;
    let Some(zone) = call.zone.as_ref().filter(|_| !matches!(micros, i64::MIN | i64::MAX)) else {
        return super::truncate::truncate(call, list);
    };
    let wall = wall(zone, micros);
    let start = super::truncate::start(field, wall);
    // An hour and less keep the offset, so that one of two equal hours stays what it is.
    let start = match super::truncate::unit(field) < DAY_MICROS {
        true => micros - (wall - start),
        false => instant(zone, start),
    };
    some(Datum::Timestamp(calendar::in_range(start)?))
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
    let Some(Datum::TimeTz { time, zone }) = from else { return Err(UNEXPECTED) };
    let by = i64::from(zone.wrapping_sub(west)) * SECOND_MICROS;
    some(Datum::TimeTz { time: (time + by).rem_euclid(DAY_MICROS), zone: west })
}
