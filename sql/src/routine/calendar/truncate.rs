//! `date_trunc`.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::field::Field;
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    matches!(code, "timestamp_trunc" | "timestamptz_trunc").then_some(truncate as Function)
}

/// Refuses a field that nothing can be cut to.
pub(super) fn check(name: &str) -> Result<(), String> {
    use Field::{Dow, Doy, Epoch, IsoDow, IsoYear, Timezone};
    match Field::named(name) {
        None | Some(IsoYear | Dow | IsoDow | Doy | Epoch | Timezone) => {
            Err(format!("unit \"{name}\" is not supported"))
        }
        Some(_) => Ok(()),
    }
}

fn truncate(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let field = Field::named(arguments.text(0)?).ok_or(UNEXPECTED)?;
    let micros = *arguments.timestamp(1)?;
    if matches!(micros, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(micros));
    }
    let unit = match field {
        Field::Microseconds => 1,
        Field::Milliseconds => 1_000,
        Field::Second => 1_000_000,
        Field::Minute => 60_000_000,
        Field::Hour => 3_600_000_000,
        _ => DAY_MICROS,
    };
    let start = micros - micros.rem_euclid(unit);
    if unit < DAY_MICROS || field == Field::Day {
        return some(Datum::Timestamp(start));
    }
    let day = start / DAY_MICROS;
    let (year, month, _) = calendar::civil(day);
    let first = match field {
        Field::Week => day - (day + 5).rem_euclid(7),
        Field::Month => calendar::day_number(year, month, 1),
        Field::Quarter => calendar::day_number(year, (month - 1) / 3 * 3 + 1, 1),
        Field::Year => calendar::day_number(year, 1, 1),
        Field::Decade if year > 0 => calendar::day_number(year / 10 * 10, 1, 1),
        Field::Decade => calendar::day_number(-((8 - (year - 1)) / 10) * 10, 1, 1),
        Field::Century if year > 0 => calendar::day_number((year + 99) / 100 * 100 - 99, 1, 1),
        Field::Century => calendar::day_number(-((99 - (year - 1)) / 100) * 100 + 1, 1, 1),
        Field::Millennium if year > 0 => {
            calendar::day_number((year + 999) / 1_000 * 1_000 - 999, 1, 1)
        }
        _ => calendar::day_number(-((999 - (year - 1)) / 1_000) * 1_000 + 1, 1, 1),
    };
    some(Datum::Timestamp(calendar::instant_of(first, 0)?))
}
