//! `interval`: months, days and microseconds, each with its own sign.
//!
//! *Enters*: text in ISO 8601's form (what the stream holds) or in words. *Leaves*: intervals, the
//! text of them, arithmetic.
//! *Invariant*: a form that is not read exactly as Postgres reads it is refused.

use crate::evaluation_error::EvaluationError;

mod read;

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

impl Interval {
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
mod tests;
