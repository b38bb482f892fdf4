//! `date_trunc`.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::field::Field;
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::interval::Interval;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    match code {
        "timestamp_trunc" | "timestamptz_trunc" => Some(truncate),
        "interval_trunc" => Some(truncate_interval),
        _ => None,
    }
}

/// Whether code cuts to a field.
pub(super) fn cuts(code: &str) -> bool {
    function(code).is_some() || code == "timestamptz_trunc_zone"
}

/// Refuses a field that nothing can be cut to.
pub(super) fn check(code: &str, name: &str) -> Result<(), String> {
    use Field::{
        Dow, Doy, Epoch, IsoDow, IsoYear, Julian, Timezone, TimezoneHour, TimezoneMinute, Week,
    };
    match Field::named(name) {
        Some(Week) if code == "interval_trunc" => {
            Err("unit \"week\" of an interval is not supported".to_owned())
        }
        None
        | Some(
            IsoYear | Dow | IsoDow | Doy | Epoch | Julian | Timezone | TimezoneHour
            | TimezoneMinute,
        ) => Err(format!("unit \"{name}\" is not supported")),
        Some(_) => Ok(()),
    }
}

/// A length without what is smaller than the field; years and months are counted apart from days.
fn truncate_interval(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let field = Field::named(arguments.text(0)?).ok_or(UNEXPECTED)?;
    let Interval { months, days, micros } = *arguments.interval(1)?;
    let whole = match field {
        Field::Millennium => 12_000,
        Field::Century => 1_200,
        Field::Decade => 120,
        Field::Year => 12,
        Field::Quarter => 3,
        Field::Month => 1,
        Field::Day => return some(Datum::Interval(Interval { months, days, micros: 0 })),
        smaller => {
            let micros = micros - micros % unit(smaller);
            return some(Datum::Interval(Interval { months, days, micros }));
        }
    };
    let months = months - months % whole;
    some(Datum::Interval(Interval { months, days: 0, micros: 0 }))
}

/// Without a zone, which is UTC.
pub(super) fn truncate(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let field = Field::named(arguments.text(0)?).ok_or(UNEXPECTED)?;
    let micros = *arguments.timestamp(1)?;
    if matches!(micros, i64::MIN | i64::MAX) {
        return some(Datum::Timestamp(micros));
    }
    some(Datum::Timestamp(calendar::in_range(start(field, micros))?))
}

/// What a field is the start of, if it is a day or less; else a day.
pub(super) fn unit(field: Field) -> i64 {
    match field {
        Field::Microseconds => 1,
        Field::Milliseconds => 1_000,
        Field::Second => 1_000_000,
        Field::Minute => 60_000_000,
        Field::Hour => 3_600_000_000,
        _ => DAY_MICROS,
    }
}

/// Where the field that holds an instant begins, which may be before the first of all instants.
pub(super) fn start(field: Field, micros: i64) -> i64 {
    let unit = unit(field);
    let start = micros - micros.rem_euclid(unit);
    if unit < DAY_MICROS || field == Field::Day {
        return start;
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
    first * DAY_MICROS
}
