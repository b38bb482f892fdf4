//! Text of an interval.
//!
//! *Enters*: ISO 8601's form, or numbers with units. *Leaves*: the interval, or nothing for what Postgres refuses.
//! *Invariant*: fractions are cut and rounded in Postgres' own steps, which differ between the forms.

use super::{DAY, HOUR, Interval};
use crate::{calendar, decimal};

impl Interval {
    /// Reads ISO 8601's designators or words with units. `fields` is what followed the literal
    /// (`interval '1' day`): the unit of a bare number.
    pub(crate) fn read(text: &str, fields: Option<&str>) -> Option<Interval> {
        let text = text.trim_matches(decimal::is_c_space);
        match text.strip_prefix('P') {
            Some(rest) if fields.is_none() => read_iso(rest),
            _ => read_words(&text.to_ascii_lowercase(), fields),
        }
    }
}

/// Sums of the fields while text is read.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    /// What words have named, a bit for each of [`UNITS`].
    named: u16,
}

/// What can be named once.
const UNITS: [&str; 12] = [
    "microsecond",
    "millisecond",
    "s",
    "m",
    "h",
    "day",
    "week",
    "month",
    "year",
    "decade",
    "century",
    "millennium",
];

/// Second, millisecond and microsecond: what a second with a fraction names.
const PARTS_OF_SECONDS: u16 = 0b111;

/// What `hh:mm:ss` names.
const PARTS_OF_CLOCKS: u16 = 0b1_1111;

impl Sum {
    fn interval(self, sign: i64) -> Option<Interval> {
        Some(Interval {
            months: i32::try_from(self.months * sign).ok()?,
            days: i32::try_from(self.days * sign).ok()?,
            micros: self.micros.checked_mul(sign)?,
        })
    }

    /// The part of a number after its point, in Postgres' own steps: of years it becomes months, of
    /// months and weeks days, of everything else time.
    fn add_fraction(&mut self, fraction: f64, unit: &str) -> Option<()> {
        // Fractions are less than one, and these bounds far inside the integers.
        let days = match unit {
            "year" | "decade" | "century" | "millennium" => {
                let years = match unit {
                    "year" => 1.0,
                    "decade" => 10.0,
                    "century" => 100.0,
                    _ => 1_000.0,
                };
                self.months += (fraction * years * 12.0).round_ties_even() as i64;
                return Some(());
            }
            "month" => fraction * 30.0,
            "week" => fraction * 7.0,
            _ => 0.0,
        };
        self.days += days.trunc() as i64;
        let (fraction, each) = match unit {
            "month" | "week" => (days - days.trunc(), DAY as f64),
            "day" => (fraction, DAY as f64),
            "h" => (fraction, HOUR as f64),
            "m" => (fraction, 6e7),
            "s" => (fraction, 1e6),
            "millisecond" => (fraction, 1e3),
            _ => (fraction, 1.0),
        };
        let micros = fraction * each;
        let rest = micros - micros.trunc();
        let carried = if rest.abs() > 0.5 { rest.signum() as i64 } else { 0 };
        self.micros = self.micros.checked_add(micros.trunc() as i64 + carried)?;
        Some(())
    }

    /// Words name nothing twice.
    fn name(&mut self, units: u16) -> Option<()> {
        let again = self.named & units != 0;
        self.named |= units;
        (!again).then_some(())
    }

    /// Adds so many of a unit, in words: the whole and the fraction are read apart.
    fn add_number(&mut self, number: &str, unit: &str) -> Option<()> {
        let Some((count, fraction)) = number.split_once('.') else {
            return self.add(number, unit);
        };
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let negative = count.starts_with('-');
        self.add(if count.is_empty() { "0" } else { count }, unit)?;
        let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
        self.add_fraction(if negative { -fraction } else { fraction }, unit)
    }

    /// Adds so many of a unit, by a designator: Postgres reads the number as one float.
    fn add_designated(&mut self, number: &str, unit: &str) -> Option<()> {
        let sound = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        if !number.chars().all(sound) {
            return None;
        }
        if !number.contains('.') {
            return self.add(number, unit);
        }
        let float: f64 = number.parse().ok()?;
        if float.abs() > 1e12 {
            return None;
        }
        self.add(&format!("{}", float.trunc() as i64), unit)?;
        self.add_fraction(float - float.trunc(), unit)
    }

    /// Adds so many of a unit.
    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let micros_each = match unit {
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => HOUR,
            _ => 0,
        };
        let count: i64 = whole(number)?;
        // More seconds than that are no interval, and no product below overflows.
        if count.abs() > 10_000_000_000_000 {
            return None;
        }
        let mut months = |each: i64| {
            self.months = self.months.checked_add(count * each)?;
            Some(())
        };
        match unit {
            "year" => months(12)?,
            "month" => months(1)?,
            "week" => self.days = self.days.checked_add(count * 7)?,
            "day" => self.days = self.days.checked_add(count)?,
            "decade" => months(120)?,
            "century" => months(1_200)?,
            "millennium" => months(12_000)?,
            "millisecond" => self.micros = self.micros.checked_add(count.checked_mul(1_000)?)?,
            "microsecond" => self.micros = self.micros.checked_add(count)?,
            _ => self.micros = self.micros.checked_add(count.checked_mul(micros_each)?)?,
        }
        Some(())
    }

    /// `[-]HH:MM[:SS[.f]]`, or `[-]MM:SS.f`.
    fn add_clock(&mut self, text: &str) -> Option<()> {
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let parts: Vec<&str> = unsigned.split(':').collect();
        // One sign is that of all parts.
        let (hours, minutes, seconds) = match parts[..] {
            [minutes, seconds] if seconds.contains('.') => (0, digits(minutes)?, seconds),
            [hours, minutes] => (digits(hours)?, digits(minutes)?, "0"),
            [hours, minutes, seconds] => (digits(hours)?, digits(minutes)?, seconds),
            _ => return None,
        };
        // A sixtieth second is one of the next minute.
        let whole = seconds.split('.').next().filter(|whole| !whole.is_empty());
        if minutes > 59 || whole.map_or(Some(0), digits)? > 60 {
            return None;
        }
        let hours = hours.checked_mul(HOUR)?.checked_add(minutes * 60_000_000)?;
        let micros = hours.checked_add(clock_seconds(seconds)?)?;
        self.micros = self.micros.checked_add(if negative { -micros } else { micros })?;
        Some(())
    }
}

/// Microseconds of a clock's seconds: here, unlike of a number with a unit, Postgres rounds half to even.
fn clock_seconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = if seconds.is_empty() { 0 } else { digits(seconds)? };
    let fraction =
        if fraction.is_empty() { 0 } else { calendar::fraction_micros(fraction).ok()? };
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

/// What a number of a unit names.
fn named_by(number: &str, unit: &str) -> Option<u16> {
    let has_fraction =
        number.split_once('.').is_some_and(|(_, part)| part.bytes().any(|digit| digit != b'0'));
    match unit {
        "s" if has_fraction => Some(PARTS_OF_SECONDS),
        _ => Some(1 << UNITS.iter().position(|one| *one == unit)?),
    }
}

/// An integer that may have a sign.
fn whole(text: &str) -> Option<i64> {
    digits(text.strip_prefix(['+', '-']).unwrap_or(text))?;
    text.parse().ok()
}

fn digits(text: &str) -> Option<i64> {
    let sound = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| sound)
}

/// A unit by one of its names.
fn unit(word: &str) -> Option<&'static str> {
    Some(match word {
        "y" | "yr" | "yrs" | "year" | "years" => "year",
        "mon" | "mons" | "month" | "months" => "month",
        "w" | "week" | "weeks" => "week",
        "d" | "day" | "days" => "day",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "dec" | "decs" | "decade" | "decades" => "decade",
        "c" | "cent" | "century" | "centuries" => "century",
        "mil" | "mils" | "millennium" | "millennia" => "millennium",
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => "millisecond",
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => "microsecond",
        _ => return None,
    })
}

fn read_iso(text: &str) -> Option<Interval> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time, mut any) = (text, false, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            if in_time {
                return None;
            }
            (rest, in_time) = (after, true);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, designator) = (&rest[..end], &rest[end..=end]);
        let unit = match (designator, in_time) {
            ("Y", false) => "year",
            ("M", false) => "month",
            ("W", false) => "week",
            ("D", false) => "day",
            ("H", true) => "h",
            ("M", true) => "m",
            ("S", true) => "s",
            _ => return None,
        };
        sum.add_designated(number, unit)?;
        any = true;
        rest = &rest[end + 1..];
    }
    if any { sum.interval(1) } else { None }
}

fn read_words(text: &str, fields: Option<&str>) -> Option<Interval> {
    let mut sum = Sum::default();
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut sign = 1;
    if words.last() == Some(&"ago") {
        words.pop();
        sign = -1;
    }
    if words.first() == Some(&"@") {
        words.remove(0);
    }
    if words.is_empty() {
        return None;
    }
    let (mut rest, mut after_clock) = (words.as_slice(), false);
    while let [word, after @ ..] = rest {
        rest = after;
        if word.contains(':') {
            // Which of the units a short clock has depends on the fields.
            if fields.is_some() {
                return None;
            }
            after_clock = true;
            sum.name(PARTS_OF_CLOCKS)?;
            sum.add_clock(word)?;
            continue;
        }
        let end = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (number, mut name) = word.split_at(end);
        let mut bare = false;
        if name.is_empty() {
            match rest {
                [next, after @ ..] if unit(next).is_some() => {
                    name = next;
                    rest = after;
                }
                // Behind `ago` it is refused.
                [] if sign == 1 => {
                    // A bare number counts the last of the fields, or seconds.
                    name = fields.map_or("second", |f| f.rsplit(' ').next().unwrap_or(f));
                    bare = true;
                }
                _ => return None,
            }
        }
        if !bare && fields.is_some() {
            return None;
        }
        let unit = unit(name)?;
        sum.name(named_by(number, unit)?)?;
        let before = sum.micros;
        // The fields cut off what is smaller than them.
        if fields.is_some() && unit != "s" {
            sum.add(number, unit)?;
        } else {
            sum.add_number(number, unit)?;
        }
        // Postgres reads from the right, and a clock replaces the time that fractions of days have made.
        if after_clock && sum.micros != before {
            return None;
        }
    }
    // `ago` turns every field; with mixed signs Postgres does the same.
    sum.interval(sign)
}
