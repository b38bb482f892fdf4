//! `interval`: months, days and microseconds, each with its own sign.
//!
//! *Enters*: text in ISO 8601's form (what the stream holds) or in words. *Leaves*: intervals, the
//! text of them, arithmetic.
//! *Invariant*: a form that is not read exactly as Postgres reads it is refused.

use crate::calendar;
use crate::evaluation_error::EvaluationError;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

const OUT_OF_RANGE: EvaluationError = EvaluationError::OutOfRange("interval out of range");

/// An `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

/// Sums of the fields while text is read.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

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

    /// Adds so many of a unit, in words: the whole and the fraction are read apart.
    fn add_number(&mut self, number: &str, unit: &str) -> Option<()> {
        let Some((count, fraction)) = number.split_once('.').filter(|_| unit != "s") else {
            return self.add(number, unit);
        };
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let negative = count.starts_with('-');
        let is_bare = count.is_empty() || matches!(count, "-" | "+");
        self.add(if is_bare { "0" } else { count }, unit)?;
        let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
        self.add_fraction(if negative { -fraction } else { fraction }, unit)
    }

    /// Adds so many of a unit, by a designator: Postgres reads the number as one float.
    fn add_designated(&mut self, number: &str, unit: &str) -> Option<()> {
        if !number.contains('.') || unit == "s" {
            return self.add(number, unit);
        }
        let sound = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        let float: f64 = number.chars().all(sound).then(|| number.parse().ok())??;
        if float.abs() > 1e12 {
            return None;
        }
        self.add(&format!("{}", float.trunc() as i64), unit)?;
        self.add_fraction(float - float.trunc(), unit)
    }

    /// Adds so many of a unit; a fraction only of seconds.
    fn add(&mut self, number: &str, unit: &str) -> Option<()> {
        let micros_each = match unit {
            "s" => return self.add_seconds(number),
            "m" => 60_000_000,
            "h" => HOUR,
            _ => 0,
        };
        let count: i64 = whole(number)?;
        if count.abs() > 1_000_000_000_000 {
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

    fn add_seconds(&mut self, number: &str) -> Option<()> {
        let negative = number.starts_with('-');
        let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
        let (seconds, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let seconds = if seconds.is_empty() { 0 } else { digits(seconds)? };
        let fraction =
            if fraction.is_empty() { 0 } else { calendar::fraction_micros(fraction).ok()? };
        let micros = seconds.checked_mul(1_000_000)?.checked_add(fraction)?;
        self.micros = self.micros.checked_add(if negative { -micros } else { micros })?;
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
        let mut clock = Sum::default();
        clock.add_seconds(seconds)?;
        let hours = hours.checked_mul(HOUR)?.checked_add(minutes * 60_000_000)?;
        let micros = hours.checked_add(clock.micros)?;
        self.micros = self.micros.checked_add(if negative { -micros } else { micros })?;
        Some(())
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

impl Interval {
    /// Reads ISO 8601's designators or words with units. `fields` is what followed the literal
    /// (`interval '1' day`): the unit of a bare number.
    pub(crate) fn read(text: &str, fields: Option<&str>) -> Option<Interval> {
        let text = text.trim_matches(crate::decimal::is_c_space);
        match text.strip_prefix('P') {
            Some(rest) if fields.is_none() => read_iso(rest),
            _ => read_words(&text.to_ascii_lowercase(), fields),
        }
    }

    /// The length for comparison: a month is 30 days, a day 24 hours.
    pub(crate) fn span(&self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * i128::from(DAY) + i128::from(self.micros)
    }

    pub(crate) fn negate(self) -> Result<Interval, EvaluationError> {
        let negated = || {
            Some(Interval {
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                micros: self.micros.checked_neg()?,
            })
        };
        negated().ok_or(OUT_OF_RANGE)
    }

    pub(crate) fn add(self, other: Interval) -> Result<Interval, EvaluationError> {
        let sum = || {
            Some(Interval {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                micros: self.micros.checked_add(other.micros)?,
            })
        };
        sum().ok_or(OUT_OF_RANGE)
    }

    /// Multiplied by a number (its quotient by one is `scaled(|n| n / factor)`), in Postgres' own
    /// steps: fractions of months become days, fractions of days time.
    pub(crate) fn scaled(self, by: impl Fn(f64) -> f64) -> Result<Interval, EvaluationError> {
        let whole = |number: f64| {
            let fits = (-2_147_483_648.0..2_147_483_648.0).contains(&number);
            if fits { Ok(number as i32) } else { Err(OUT_OF_RANGE) }
        };
        let micros_of = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
        let (months, days) = (by(f64::from(self.months)), by(f64::from(self.days)));
        let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
        let month_days = micros_of((months - f64::from(whole_months)) * 30.0);
        let day_part = days - f64::from(whole_days) + month_days - month_days.trunc();
        let mut seconds = micros_of(day_part * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let more = (seconds / 86_400.0).trunc();
            whole_days = whole_days.checked_add(more as i32).ok_or(OUT_OF_RANGE)?;
            seconds -= more * 86_400.0;
        }
        whole_days = whole_days.checked_add(month_days as i32).ok_or(OUT_OF_RANGE)?;
        let micros = (by(self.micros as f64) + seconds * 1e6).round_ties_even();
        let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros);
        if !fits {
            return Err(OUT_OF_RANGE);
        }
        Ok(Interval { months: whole_months, days: whole_days, micros: micros as i64 })
    }

    /// `justify_hours`: whole days out of the hours.
    pub(crate) fn justify_hours(self) -> Result<Interval, EvaluationError> {
        let whole = self.micros / DAY;
        let mut micros = self.micros % DAY;
        let days = i64::from(self.days) + whole;
        let mut days = i32::try_from(days).map_err(|_| OUT_OF_RANGE)?;
        if days > 0 && micros < 0 {
            micros += DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= DAY;
            days += 1;
        }
        Ok(Interval { days, micros, ..self })
    }

    /// `justify_interval`: both, and one sign for all.
    pub(crate) fn justify_interval(self) -> Result<Interval, EvaluationError> {
        let (mut months, mut days) = (i64::from(self.months), i64::from(self.days));
        let mut micros = self.micros % DAY;
        days += self.micros / DAY;
        months += days / 30;
        days %= 30;
        if months > 0 && (days < 0 || days == 0 && micros < 0) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
            days -= 30;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= DAY;
            days += 1;
        }
        let narrow = |count: i64| i32::try_from(count).map_err(|_| OUT_OF_RANGE);
        Ok(Interval { months: narrow(months)?, days: narrow(days)?, micros })
    }

    /// `justify_days`: whole months out of the days.
    pub(crate) fn justify_days(self) -> Result<Interval, EvaluationError> {
        let mut days = self.days % 30;
        let months = i64::from(self.months) + i64::from(self.days / 30);
        let mut months = i32::try_from(months).map_err(|_| OUT_OF_RANGE)?;
        if months > 0 && days < 0 {
            days += 30;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= 30;
            months += 1;
        }
        Ok(Interval { months, days, ..self })
    }
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
    let mut rest = words.as_slice();
    while let [word, after @ ..] = rest {
        rest = after;
        if word.contains(':') {
            // Which of the units a short clock has depends on the fields.
            if fields.is_some() {
                return None;
            }
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
                [] => {
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
        // The fields cut off what is smaller than them.
        if fields.is_some() {
            sum.add(number, unit)?;
        } else {
            sum.add_number(number, unit)?;
        }
    }
    // `ago` turns every field; with mixed signs Postgres does the same.
    sum.interval(sign)
}

impl std::fmt::Display for Interval {
    /// As `IntervalStyle = iso_8601` prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.months == 0 && self.days == 0 && self.micros == 0 {
            return f.write_str("PT0S");
        }
        f.write_str("P")?;
        for (count, designator) in
            [(self.months / 12, 'Y'), (self.months % 12, 'M'), (self.days, 'D')]
        {
            if count != 0 {
                write!(f, "{count}{designator}")?;
            }
        }
        if self.micros == 0 {
            return Ok(());
        }
        f.write_str("T")?;
        let (hours, minutes) = (self.micros / HOUR, self.micros % HOUR / 60_000_000);
        for (count, designator) in [(hours, 'H'), (minutes, 'M')] {
            if count != 0 {
                write!(f, "{count}{designator}")?;
            }
        }
        let rest = self.micros % 60_000_000;
        if rest != 0 {
            let (seconds, micros) = ((rest / 1_000_000).abs(), (rest % 1_000_000).abs());
            let fraction = format!(".{micros:06}");
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            let minus = if rest < 0 { "-" } else { "" };
            write!(f, "{minus}{seconds}{fraction}S")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_postgres_prints_and_what_people_write() {
        for (text, iso) in [
            ("P1Y2M3DT4H5M6.7S", "P1Y2M3DT4H5M6.7S"),
            ("1 day 2 hours", "P1DT2H"),
            ("1 year -2 mons", "P10M"),
            ("04:05:06.5", "PT4H5M6.5S"),
            ("-1 day +23 hours ago", "P1DT-23H"),
            ("3 4:05", ""),
            ("4 week -23:59:60", "P28DT-24H"),
            ("1:2:60.9999999", "PT1H3M1S"),
            ("1:2:.5", "PT1H2M0.5S"),
            ("1:2:", "PT1H2M"),
            ("1:2:61", ""),
            ("1:60", ""),
            ("-59:60.5", "PT-1H-0.5S"),
            ("60:1.5", ""),
            ("1:2:-3", ""),
            ("1:2:3:4", ""),
            ("1 week", "P7D"),
            ("PT-0.5S", "PT-0.5S"),
            ("90", "PT1M30S"),
            ("1.5 days", "P1DT12H"),
            ("P1.5W", "P10DT12H"),
            ("-1.5 mons", "P-1M-15D"),
            ("@ 1.25 years ago", "P-1Y-3M"),
            ("1.x days", ""),
            ("", ""),
            ("P", ""),
        ] {
            let read = Interval::read(text, None).map(|interval| interval.to_string());
            assert_eq!(read.unwrap_or_default(), iso, "{text}");
        }
        assert_eq!(Interval::read("1", Some("day")).unwrap().to_string(), "P1D");
    }

    #[test]
    fn lengths_and_justification() {
        let i = |text| Interval::read(text, None).unwrap();
        assert_eq!(i("1 mon").span(), i("30 days").span());
        assert_eq!(i("-1 day +23 hours").justify_hours().unwrap().to_string(), "PT-1H");
        assert_eq!(i("-35 days").justify_days().unwrap().to_string(), "P-1M-5D");
    }
}
