//! `extract` and `date_part`.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::numeric;
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;
use crate::interval::Interval;
use crate::numeric::Numeric;

/// A field of a date or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    IsoYear,
    Dow,
    IsoDow,
    Doy,
    Epoch,
    /// Days since 4714 BC; of days only.
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl Field {
    /// By one of Postgres' spellings.
    pub(crate) fn named(name: &str) -> Option<Field> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" => Field::Microseconds,
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" => Field::Milliseconds,
            "second" | "seconds" | "sec" | "secs" | "s" => Field::Second,
            "minute" | "minutes" | "min" | "mins" | "m" => Field::Minute,
            "hour" | "hours" | "hr" | "hrs" | "h" => Field::Hour,
            "day" | "days" | "d" => Field::Day,
            "week" | "weeks" | "w" => Field::Week,
            "month" | "months" | "mon" | "mons" => Field::Month,
            "quarter" | "qtr" => Field::Quarter,
            "year" | "years" | "yr" | "yrs" | "y" => Field::Year,
            "decade" | "decades" | "dec" | "decs" => Field::Decade,
            "century" | "centuries" | "cent" | "c" => Field::Century,
            "millennium" | "millennia" | "mil" | "mils" => Field::Millennium,
            "isoyear" => Field::IsoYear,
            "dow" => Field::Dow,
            "isodow" => Field::IsoDow,
            "doy" => Field::Doy,
            "epoch" => Field::Epoch,
            "julian" | "jd" | "j" => Field::Julian,
            "timezone" => Field::Timezone,
            "timezone_hour" | "timezone_h" => Field::TimezoneHour,
            "timezone_minute" | "timezone_m" => Field::TimezoneMinute,
            _ => return None,
        })
    }

    fn is_of_time(self) -> bool {
        use Field::{Epoch, Hour, Microseconds, Milliseconds, Minute, Second};
        matches!(self, Microseconds | Milliseconds | Second | Minute | Hour | Epoch)
    }

    fn is_of_zone(self) -> bool {
        matches!(self, Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute)
    }

    fn is_of_interval(self) -> bool {
        use Field::{Dow, Doy, IsoDow, IsoYear, Julian, Week};
        !self.is_of_zone() && !matches!(self, Week | IsoYear | Dow | IsoDow | Doy | Julian)
    }

    /// Fields that grow with time, which are infinite at its ends; the others are NULL there.
    fn is_monotone(self) -> bool {
        use Field::{Century, Decade, Epoch, IsoYear, Julian, Millennium, Year};
        matches!(self, Year | Decade | Century | Millennium | IsoYear | Julian | Epoch)
    }
}

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    let known = matches!(
        code,
        "extract_date"
            | "extract_time"
            | "extract_timetz"
            | "extract_timestamp"
            | "extract_timestamptz"
            | "extract_interval"
            | "date_part/2/1384"
            | "time_part"
            | "timetz_part"
            | "timestamp_part"
            | "timestamptz_part"
            | "interval_part"
    );
    known.then_some(extract as Function)
}

/// Refuses a field that values of the type do not have.
pub(super) fn check(code: &str, name: &str) -> Result<(), String> {
    let field = Field::named(name).ok_or_else(|| format!("unit \"{name}\" is not supported"))?;
    let sound = match code {
        "extract_date" => !field.is_of_time() && !field.is_of_zone() || field == Field::Epoch,
        "extract_time" | "time_part" => field.is_of_time(),
        "extract_timetz" | "timetz_part" => field.is_of_time() || field.is_of_zone(),
        "extract_interval" | "interval_part" => field.is_of_interval(),
        // Of an instant it has a fraction, whose digits are a quotient's.
        "extract_timestamptz" | "timestamptz_part" => field != Field::Julian,
        _ => field != Field::Julian && !field.is_of_zone(),
    };
    if sound { Ok(()) } else { Err(format!("unit \"{name}\" is not supported for this type")) }
}

fn extract(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let field = Field::named(arguments.text(0)?).ok_or(UNEXPECTED)?;
    let dated = matches!(arguments.any(1)?, Datum::Date(_)) && call.code == "extract_date";
    let (micros, infinite) = match arguments.any(1)? {
        Datum::Time(time) => return value(call, of_clock(field, *time)),
        Datum::TimeTz { time, zone } => return value(call, of_zoned(field, *time, *zone)),
        Datum::Interval(interval) => return value(call, of_interval(field, interval)),
        Datum::Date(i32::MIN) | Datum::Timestamp(i64::MIN) => (0, Some(Numeric::NegativeInfinity)),
        Datum::Date(i32::MAX) | Datum::Timestamp(i64::MAX) => (0, Some(Numeric::Infinity)),
        Datum::Date(day) => (i128::from(*day) * i128::from(DAY_MICROS), None),
        Datum::Timestamp(micros) => (i128::from(*micros), None),
        _ => return Err(UNEXPECTED),
    };
    if let Some(infinite) = infinite {
        return if field.is_monotone() { value(call, Part::Exact(infinite)) } else { Ok(None) };
    }
    let day = (micros.div_euclid(i128::from(DAY_MICROS))) as i64;
    let time = (micros.rem_euclid(i128::from(DAY_MICROS))) as i64;
    let part = match field {
        Field::Epoch if dated => whole((day + calendar::EPOCH_DAYS) * 86_400),
        Field::Epoch => {
            let since = micros + i128::from(calendar::EPOCH_DAYS) * i128::from(DAY_MICROS);
            let (exact, float) = if since < i128::from(i64::MAX) {
                (Numeric::scaled_wide(since, 6), since as f64)
            } else {
                // Here Postgres divides, and keeps the digits a quotient has. Floats are subtracted.
                let quotient = Numeric::scaled_wide(since, 0).divide(&1_000_000.into())?;
                (quotient.with_scale(6, true), micros as f64 - (micros - since) as f64)
            };
            Part::Fraction { exact, float: float / 1e6 }
        }
        field if field.is_of_zone() => whole(0),
        field if field.is_of_time() => of_clock(field, time),
        field => whole(of_day(field, day)),
    };
    value(call, part)
}

/// A field's value, in the two forms that functions give.
enum Part {
    Exact(Numeric),
    Fraction { exact: Numeric, float: f64 },
}

fn whole(int: i64) -> Part {
    Part::Exact(int.into())
}

/// `extract` gives `numeric`, `date_part` gives `float8`.
fn value(call: &Call, part: Part) -> Outcome {
    let exact = call.name == "extract";
    some(match part {
        Part::Exact(number) if exact => Datum::Numeric(number),
        Part::Exact(number) => Datum::Float(number.to_f64()),
        Part::Fraction { exact: number, .. } if exact => Datum::Numeric(number),
        Part::Fraction { float, .. } => Datum::Float(float),
    })
}

fn of_clock(field: Field, time: i64) -> Part {
    let (seconds, fraction) = (time / 1_000_000 % 60, time % 1_000_000);
    match field {
        Field::Microseconds => whole(seconds * 1_000_000 + fraction),
        Field::Milliseconds => Part::Fraction {
            exact: numeric(seconds * 1_000_000 + fraction, 3),
            float: seconds as f64 * 1e3 + fraction as f64 / 1e3,
        },
        Field::Second => Part::Fraction {
            exact: numeric(seconds * 1_000_000 + fraction, 6),
            float: seconds as f64 + fraction as f64 / 1e6,
        },
        Field::Minute => whole(time / 60_000_000 % 60),
        Field::Hour => whole(time / 3_600_000_000),
        _ => Part::Fraction { exact: numeric(time, 6), float: time as f64 / 1e6 },
    }
}

/// A time of day with a zone, whose seconds count westwards.
fn of_zoned(field: Field, time: i64, zone: i32) -> Part {
    let east = -i64::from(zone);
    match field {
        Field::Timezone => whole(east),
        Field::TimezoneHour => whole(east / 3_600),
        Field::TimezoneMinute => whole(east / 60 % 60),
        Field::Epoch => Part::Fraction {
            exact: numeric(time - east * 1_000_000, 6),
            float: time as f64 / 1e6 + f64::from(zone),
        },
        field => of_clock(field, time),
    }
}

fn of_interval(field: Field, interval: &Interval) -> Part {
    let (months, micros) = (i64::from(interval.months), interval.micros);
    match field {
        Field::Day => whole(i64::from(interval.days)),
        Field::Month => whole(months % 12),
        Field::Quarter => whole(months % 12 / 3 + 1),
        Field::Year => whole(months / 12),
        Field::Decade => whole(months / 120),
        Field::Century => whole(months / 1_200),
        Field::Millennium => whole(months / 12_000),
        Field::Epoch => {
            // A year has 365.25 days here, a month 30.
            let days = i128::from(months % 12) * 30 + i128::from(interval.days);
            let seconds = i128::from(months / 12) * 31_557_600 + days * 86_400;
            let exact = seconds * 1_000_000 + i128::from(micros);
            let float = micros as f64 / 1e6
                + 31_557_600.0 * (months / 12) as f64
                + 2_592_000.0 * (months % 12) as f64
                + 86_400.0 * f64::from(interval.days);
            Part::Fraction { exact: Numeric::scaled_wide(exact, 6), float }
        }
        field => of_clock(field, micros),
    }
}

fn of_day(field: Field, day: i64) -> i64 {
    let (year, month, of_month) = calendar::civil(day);
    // Years count from 1 BC backwards as 0, −1, ….
    let shown = |year: i64| if year > 0 { year } else { year - 1 };
    match field {
        Field::Day => of_month,
        // That of 2000-01-01 is 2451545.
        Field::Julian => day + 2_451_545,
        Field::Month => month,
        Field::Quarter => (month - 1) / 3 + 1,
        Field::Year => shown(year),
        Field::Decade if year >= 0 => year / 10,
        Field::Decade => -((8 - (year - 1)) / 10),
        Field::Century if year > 0 => (year + 99) / 100,
        Field::Century => -((99 - (year - 1)) / 100),
        Field::Millennium if year > 0 => (year + 999) / 1_000,
        Field::Millennium => -((999 - (year - 1)) / 1_000),
        Field::IsoYear => shown(iso_week(day).0),
        Field::Week => iso_week(day).1,
        // 2000-01-01 was a Saturday.
        Field::Dow => (day + 6).rem_euclid(7),
        Field::IsoDow => (day + 5).rem_euclid(7) + 1,
        _ => day - calendar::day_number(year, 1, 1) + 1,
    }
}

/// The year and number of the week, which belongs to the year its Thursday lies in.
pub(super) fn iso_week(day: i64) -> (i64, i64) {
    let thursday = day - (day + 5).rem_euclid(7) + 3;
    let (year, _, _) = calendar::civil(thursday);
    (year, (thursday - calendar::day_number(year, 1, 1)) / 7 + 1)
}
