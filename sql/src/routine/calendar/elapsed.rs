//! `to_char` of intervals: the patterns that mean something for a length of time.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::format::{Part, cased, number, parse, refusal};
use crate::datum::Datum;
use crate::interval::Interval;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    (code == "interval_to_char").then_some(to_char as Function)
}

/// Refuses what is not understood exactly, and what an interval does not have.
pub(super) fn check(format: &str) -> Result<(), String> {
    let known = |part: &Part<'_>| match part {
        Part::Text(_) | Part::Quoted(_) => true,
        Part::Pattern { pattern, .. } => is_of_interval(pattern),
    };
    match parse(format) {
        Some(parts) if parts.iter().all(known) => Ok(()),
        _ => Err(refusal(format)),
    }
}

fn is_of_interval(pattern: &str) -> bool {
    let date = ["YYYY", "YYY", "YY", "Y", "CC", "Q", "MM", "DDD", "DD", "WW", "W"];
    let time = ["HH24", "HH12", "HH", "MI", "SS", "SSSSS", "MS", "US"];
    let half = ["AM", "PM", "A.M.", "P.M."];
    [&date[..], &time, &half].iter().any(|list| list.contains(&pattern))
}

fn to_char(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (length, format) = (*arguments.interval(0)?, arguments.text(1)?);
    if format.is_empty() {
        return Ok(None);
    }
    let mut made = String::new();
    for part in parse(format).ok_or(UNEXPECTED)? {
        match part {
            Part::Text(text) | Part::Quoted(text) => made += text,
            Part::Pattern { pattern, written, bare } => {
                made += &formatted(pattern, written, bare, length);
            }
        }
    }
    some(Datum::Text(made.into()))
}

/// Every part has its own sign, which a number takes one more character for.
fn formatted(pattern: &str, written: &str, bare: bool, length: Interval) -> String {
    let (year, month) = (length.months / 12, length.months % 12);
    // Postgres counts these days in 32 bits, and wraps round.
    let days = (year.wrapping_mul(12).wrapping_add(month)).wrapping_mul(30);
    let days = days.wrapping_add(length.days);
    let seconds = length.micros / 1_000_000;
    let (hour, micros) = (seconds / 3600, length.micros % 1_000_000);
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    // The width depends on the sign of the whole, which may be gone from what is shown.
    let signed =
        |whole: i64, shown: i64, width: usize| number(shown, width + usize::from(whole < 0), bare);
    let same = |shown: i64| signed(shown, shown, 2);
    let (year, month) = (i64::from(year), i64::from(month));
    match pattern {
        "YYYY" => signed(year, year, 4),
        "YYY" => signed(year, year % 1_000, 3),
        "YY" => signed(year, year % 100, 2),
        "Y" => (year % 10).to_string(),
        "CC" => same(year / 100),
        "Q" if month == 0 => String::new(),
        "Q" => ((month - 1) / 3 + 1).to_string(),
        "MM" => same(month),
        "DDD" => number(days.into(), 3, bare),
        "DD" => number(length.days.into(), 2, bare),
        "WW" => number((days.wrapping_sub(1) / 7 + 1).into(), 2, bare),
        "W" => (length.days.wrapping_sub(1) / 7 + 1).to_string(),
        "HH24" => same(hour),
        "HH12" | "HH" => signed(hour, half, 2),
        "MI" => same(seconds / 60 % 60),
        "SS" => same(seconds % 60),
        "SSSSS" => seconds.to_string(),
        "MS" => format!("{:03}", micros / 1_000),
        "US" => format!("{micros:06}"),
        "AM" | "PM" => cased(if hour % 24 >= 12 { "PM" } else { "AM" }, written),
        _ => cased(if hour % 24 >= 12 { "P.M." } else { "A.M." }, written),
    }
}
