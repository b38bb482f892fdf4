//! `to_char` of instants, for the part of the format language that depends on nothing but the
//! instant: no names in other languages, no time zones, no ordinals, no Roman numerals.

use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::field::iso_week;
use crate::calendar::{self, DAY_MICROS};
use crate::datum::Datum;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Patterns by the order in which Postgres tries them: of two that fit, the longer. Those of a name
/// or of half a day have one entry for each case.
const PATTERNS: [&str; 45] = [
    "A.M.", "AM", "BC", "Day", "DAY", "DDD", "DD", "Dy", "DY", "D", "HH24", "HH12", "HH", "IDDD",
    "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "Month", "MONTH", "Mon", "MON", "MS",
    "P.M.", "PM", "Q", "SSSSS", "SSSS", "SS", "US", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y",
    "CC", "AD", "RM",
];

/// One of the parts a format is made of.
pub(super) enum Part<'f> {
    /// One character that stands for itself.
    Text(&'f str),
    /// What stands in double quotes.
    Quoted(&'f str),
    /// A pattern as it is written, in which case matters for names; whether it is not filled up.
    Pattern { pattern: &'static str, written: &'f str, bare: bool },
}

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    matches!(code, "timestamp_to_char" | "timestamptz_to_char").then_some(to_char as Function)
}

/// Refuses what is not understood exactly.
pub(super) fn check(format: &str) -> Result<(), String> {
    parse(format).map(|_| ()).ok_or_else(|| refusal(format))
}

pub(super) fn refusal(format: &str) -> String {
    format!("the format \"{format}\" is not supported")
}

/// The parts of a format; `None` where one is not understood.
pub(super) fn parse(format: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let (text, after) = rest[1..].split_once('"')?;
            if text.contains('\\') {
                return None;
            }
            parts.push(Part::Quoted(text));
            rest = after;
            continue;
        }
        if c == '\\' {
            return None;
        }
        if !c.is_ascii_alphabetic() {
            parts.push(Part::Text(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let after = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm"));
        let (bare, after) = (after.is_some(), after.unwrap_or(rest));
        let (pattern, written) = pattern_of(after)?;
        rest = &after[written.len()..];
        // A suffix changes what stands before it.
        if ["TH", "th", "SP"].iter().any(|suffix| rest.starts_with(suffix)) {
            return None;
        }
        parts.push(Part::Pattern { pattern, written, bare });
    }
    Some(parts)
}

/// The pattern that text begins with; `None` where it is none that is known here.
fn pattern_of(text: &str) -> Option<(&'static str, &str)> {
    let starts = |pattern: &&str| {
        text.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern))
    };
    let pattern = *PATTERNS.iter().filter(|one| starts(one)).max_by_key(|one| one.len())?;
    let written = &text[..pattern.len()];
    if matches!(pattern, "AD" | "BC" | "RM" | "IDDD" | "IYY" | "IY" | "I" | "SSSS" | "Y,YYY") {
        return None;
    }
    let lower = written == written.to_ascii_lowercase();
    let upper = written == written.to_ascii_uppercase();
    let name = matches!(pattern.to_ascii_uppercase().as_str(), "DAY" | "DY" | "MONTH" | "MON");
    // Every pattern is written in one case, names with a capital too.
    let capital = name && written[1..] == written[1..].to_ascii_lowercase();
    (lower || upper || capital).then_some((pattern, written))
}

fn to_char(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (instant, format) = (*arguments.timestamp(0)?, arguments.text(1)?);
    if matches!(instant, i64::MIN | i64::MAX) || format.is_empty() {
        return Ok(None);
    }
    let (day, time) = (instant.div_euclid(DAY_MICROS), instant.rem_euclid(DAY_MICROS));
    let mut made = String::new();
    for part in parse(format).ok_or(UNEXPECTED)? {
        match part {
            Part::Text(text) | Part::Quoted(text) => made += text,
            Part::Pattern { pattern, written, bare } => {
                made += &formatted(pattern, written, bare, day, time);
            }
        }
    }
    some(Datum::Text(made.into()))
}

/// The digits of a number, filled up with zeros.
pub(super) fn number(number: i64, width: usize, bare: bool) -> String {
    if bare { number.to_string() } else { format!("{number:0width$}") }
}

fn formatted(pattern: &str, written: &str, bare: bool, day: i64, time: i64) -> String {
    let (year, month, of_month) = calendar::civil(day);
    // Before Christ years count up from 1 again.
    let shown = |year: i64| if year <= 0 { 1 - year } else { year };
    let of_year = day - calendar::day_number(year, 1, 1) + 1;
    let weekday = (day + 6).rem_euclid(7);
    let seconds = time / 1_000_000;
    let hour = seconds / 3600;
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    match pattern {
        "YYYY" => number(shown(year), 4, bare),
        "YYY" => number(shown(year) % 1_000, 3, bare),
        "YY" => number(shown(year) % 100, 2, bare),
        "Y" => number(shown(year) % 10, 1, bare),
        "IYYY" => number(shown(iso_week(day).0), 4, bare),
        "CC" if year > 0 => number((year - 1) / 100 + 1, 2, bare),
        "CC" => number(year / 100 - 1, 3, bare),
        "MM" => number(month, 2, bare),
        "DD" => number(of_month, 2, bare),
        "DDD" => number(of_year, 3, bare),
        "D" => (weekday + 1).to_string(),
        "ID" => (if weekday == 0 { 7 } else { weekday }).to_string(),
        "HH24" => number(hour, 2, bare),
        "HH12" | "HH" => number(half, 2, bare),
        "MI" => number(seconds / 60 % 60, 2, bare),
        "SS" => number(seconds % 60, 2, bare),
        "SSSSS" => seconds.to_string(),
        "MS" => format!("{:03}", time % 1_000_000 / 1_000),
        "US" => format!("{:06}", time % 1_000_000),
        "Q" => ((month - 1) / 3 + 1).to_string(),
        "WW" => number((of_year - 1) / 7 + 1, 2, bare),
        "W" => ((of_month - 1) / 7 + 1).to_string(),
        "IW" => number(iso_week(day).1, 2, bare),
        "J" => (day + 2_451_545).to_string(),
        "AM" | "PM" => cased(if hour >= 12 { "PM" } else { "AM" }, written),
        "A.M." | "P.M." => cased(if hour >= 12 { "P.M." } else { "A.M." }, written),
        _ => name(pattern, written, bare, month, weekday),
    }
}

/// The name of a month or a day of the week, whole ones filled up with blanks.
fn name(pattern: &str, written: &str, bare: bool, month: i64, weekday: i64) -> String {
    let names = if pattern.starts_with('M') { &MONTHS[..] } else { &DAYS[..] };
    let at = if pattern.starts_with('M') { month - 1 } else { weekday };
    let whole = usize::try_from(at).ok().and_then(|at| names.get(at)).copied();
    let whole = whole.unwrap_or_default();
    if matches!(pattern.to_ascii_uppercase().as_str(), "MON" | "DY") {
        return cased(&whole[..3.min(whole.len())], written);
    }
    let name = cased(whole, written);
    if bare { name } else { format!("{name:<9}") }
}

/// In the case in which a pattern is written.
pub(super) fn cased(name: &str, written: &str) -> String {
    if written == written.to_ascii_uppercase() {
        name.to_ascii_uppercase()
    } else if written == written.to_ascii_lowercase() {
        name.to_ascii_lowercase()
    } else {
        name.to_owned()
    }
}
