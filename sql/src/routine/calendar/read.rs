//! `to_date` and `to_timestamp` of text: what a template makes of a text, step by step as Postgres
//! does it. Separators match any separator or none, blanks before fields are skipped, and a field is
//! as long as its pattern unless what follows cannot be a digit.

use super::super::{Arguments, Call, Function, UNEXPECTED, some};
use super::DATE_OUT_OF_RANGE;
use super::format::{DAYS, MONTHS, Part, parse, refusal};
use crate::calendar;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;

const FIELD: EvaluationError = EvaluationError::OutOfRange("date/time field value out of range");
const SHORT: EvaluationError =
    EvaluationError::Other("source string too short for a formatting field");
const VALUE: EvaluationError = EvaluationError::Other("invalid value for a formatting field");
const CONFLICT: EvaluationError =
    EvaluationError::Other("conflicting values for a field in formatting string");
const HALF_DAY: EvaluationError = EvaluationError::Other("hour is invalid for the 12-hour clock");

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "to_date" => |_: &Call, list: &[Option<Datum>]| {
            let (day, _) = read(list)?;
            if !calendar::is_day(day) {
                return Err(DATE_OUT_OF_RANGE);
            }
            some(Datum::Date(i32::try_from(day).map_err(|_| DATE_OUT_OF_RANGE)?))
        },
        // The session's zone is UTC.
        "to_timestamp" => |_: &Call, list: &[Option<Datum>]| {
            let (day, time) = read(list)?;
            some(Datum::Timestamp(calendar::instant_of(day, time)?))
        },
        _ => return None,
    })
}

/// Refuses what is not understood exactly.
pub(super) fn check(format: &str) -> Result<(), String> {
    nodes(format).map(|_| ()).ok_or_else(|| refusal(format))
}

/// What a template is made of, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// A blank or a separator: any one of these, or nothing.
    Gap,
    /// Any character, whichever it is; whether the template has a digit here.
    Any {
        digit: bool,
    },
    Field {
        pattern: &'static str,
        bare: bool,
    },
}

impl Node {
    /// Whether a number ends before it in any case.
    fn ends_number(self) -> bool {
        match self {
            Node::Gap => true,
            Node::Any { digit } => !digit,
            Node::Field { pattern, .. } => width(pattern).is_none(),
        }
    }
}

/// How many digits a field has; `None` of a word, and of what is not supported.
fn width(pattern: &str) -> Option<usize> {
    Some(match pattern {
        "YYYY" => 4,
        "YYY" | "MS" => 3,
        "US" => 6,
        "YY" | "MM" | "DD" | "HH24" | "HH12" | "HH" | "MI" | "SS" => 2,
        "Y" => 1,
        _ => return None,
    })
}

/// The words that a field may be, in order.
fn words(pattern: &str) -> Option<Vec<&'static str>> {
    let short = |names: &[&'static str]| names.iter().map(|name| &name[..3]).collect();
    Some(match pattern.to_ascii_uppercase().as_str() {
        "AM" | "PM" => vec!["am", "pm"],
        "A.M." | "P.M." => vec!["a.m.", "p.m."],
        "MONTH" => MONTHS.to_vec(),
        "MON" => short(&MONTHS),
        "DAY" => DAYS.to_vec(),
        "DY" => short(&DAYS),
        _ => return None,
    })
}

fn nodes(format: &str) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    for part in parse(format)? {
        match part {
            Part::Quoted(text) => {
                nodes.extend(text.chars().map(|c| Node::Any { digit: c.is_ascii_digit() }));
            }
            Part::Text(text) if text.bytes().all(|byte| is_blank(byte) || is_separator(byte)) => {
                nodes.push(Node::Gap);
            }
            Part::Text(text) => {
                nodes.push(Node::Any { digit: text.bytes().all(|byte| byte.is_ascii_digit()) });
            }
            Part::Pattern { pattern, bare, .. } => {
                if width(pattern).is_none() && words(pattern).is_none() {
                    return None;
                }
                nodes.push(Node::Field { pattern, bare });
            }
        }
    }
    Some(nodes)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric()
}

/// What was found in a text. Zero is what was not found, as Postgres has it.
#[derive(Default)]
struct Found {
    year: i32,
    month: i32,
    day: i32,
    /// The day of the week, which says nothing more.
    weekday: i32,
    hour: i32,
    minute: i32,
    second: i32,
    millis: i32,
    micros: i32,
    afternoon: i32,
    half_days: bool,
}

/// A field that was found already must be found alike.
fn set(field: &mut i32, value: i32) -> Result<(), EvaluationError> {
    if *field != 0 && *field != value {
        return Err(CONFLICT);
    }
    *field = value;
    Ok(())
}

/// The day and the time of day that a text names.
fn read(list: &[Option<Datum>]) -> Result<(i64, i64), EvaluationError> {
    let arguments = Arguments(list);
    let (text, format) = (arguments.text(0)?, arguments.text(1)?);
    let nodes = nodes(format).ok_or(UNEXPECTED)?;
    let mut found = Found::default();
    let mut reader = Reader { text, at: 0 };
    // Blanks that were skipped beyond what the template asks for.
    let mut skipped: i32 = 0;
    for (place, node) in nodes.iter().enumerate() {
        if reader.rest().is_empty() {
            break;
        }
        if place == 0 || matches!(node, Node::Field { .. }) {
            skipped += reader.skip_blanks();
        }
        match *node {
            Node::Gap => match reader.rest().first() {
                Some(next) if is_blank(*next) || is_separator(*next) => reader.at += 1,
                _ => skipped -= 1,
            },
            Node::Any { .. } if skipped > 0 => skipped -= 1,
            Node::Any { .. } => reader.skip_character(),
            Node::Field { pattern, bare } => {
                let open = bare || nodes.get(place + 1).is_none_or(|next| next.ends_number());
                reader.field(pattern, open, &mut found)?;
                skipped = reader.skip_blanks();
            }
        }
    }
    found.instant()
}

struct Reader<'t> {
    text: &'t str,
    /// In bytes; it never rests inside a character that is not ASCII.
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> i32 {
        let from = self.at;
        while self.rest().first().is_some_and(|byte| is_blank(*byte)) {
            self.at += 1;
        }
        i32::try_from(self.at - from).unwrap_or(i32::MAX)
    }

    fn skip_character(&mut self) {
        let next = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        self.at += next.map_or(0, char::len_utf8);
    }

    fn field(
        &mut self,
        pattern: &str,
        open: bool,
        found: &mut Found,
    ) -> Result<(), EvaluationError> {
        if let Some(words) = words(pattern) {
            let word = self.word(&words)?;
            return match pattern.to_ascii_uppercase().as_str() {
                "MONTH" | "MON" => set(&mut found.month, word + 1),
                "DAY" | "DY" => {
                    set(&mut found.weekday, word)?;
                    found.weekday += 1;
                    Ok(())
                }
                _ => {
                    found.half_days = true;
                    set(&mut found.afternoon, word)
                }
            };
        }
        let from = self.at;
        let value = self.number(width(pattern).ok_or(UNEXPECTED)?, open)?;
        let read = self.at - from;
        match pattern {
            "YYYY" => set(&mut found.year, value)?,
            "YYY" | "YY" | "Y" => {
                set(&mut found.year, value)?;
                if read < 4 {
                    found.year = near_2020(value);
                }
            }
            "MM" => set(&mut found.month, value)?,
            "DD" => set(&mut found.day, value)?,
            "HH24" => set(&mut found.hour, value)?,
            "HH12" | "HH" => {
                set(&mut found.hour, value)?;
                found.half_days = true;
            }
            "MI" => set(&mut found.minute, value)?,
            "SS" => set(&mut found.second, value)?,
            "MS" => {
                set(&mut found.millis, value)?;
                found.millis = filled(value, read, 3);
            }
            _ => {
                set(&mut found.micros, value)?;
                found.micros = filled(value, read, 6);
            }
        }
        Ok(())
    }

    /// The word that comes next, in any case.
    fn word(&mut self, words: &[&str]) -> Result<i32, EvaluationError> {
        let rest = self.rest();
        let next = words.iter().position(|word| {
            rest.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()))
        });
        let next = next.ok_or(VALUE)?;
        self.at += words[next].len();
        i32::try_from(next).map_err(|_| VALUE)
    }

    /// A number with its sign: of any length where the field is open, else exactly as long as it says.
    fn number(&mut self, width: usize, open: bool) -> Result<i32, EvaluationError> {
        let rest = self.rest();
        if !open && rest.len() < width {
            return Err(SHORT);
        }
        let rest = if open { rest } else { &rest[..width] };
        let sign = usize::from(rest.first().is_some_and(|byte| matches!(byte, b'+' | b'-')));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = sign + digits;
        if digits == 0 || (!open && length < width) {
            return Err(VALUE);
        }
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| VALUE)?;
        // Digits alone: what is wrong can only be the size.
        let value = text.parse().map_err(|_| FIELD)?;
        self.at += length;
        Ok(value)
    }
}

/// A year of fewer than four digits, in Postgres' centuries.
fn near_2020(year: i32) -> i32 {
    match year {
        ..70 => year.wrapping_add(2000),
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

/// A fraction of which so many characters were read: 5 of milliseconds is half a second.
fn filled(value: i32, read: usize, places: usize) -> i32 {
    (read..places).fold(value, |value, _| value.wrapping_mul(10))
}

impl Found {
    /// Checks the fields and puts them together; a date without a part of it is not checked as a whole.
    fn instant(mut self) -> Result<(i64, i64), EvaluationError> {
        if self.half_days {
            if !(1..=12).contains(&self.hour) {
                return Err(HALF_DAY);
            }
            self.hour = self.hour % 12 + 12 * self.afternoon;
        }
        // There is no year 0 in texts.
        let year = i64::from(self.year) + i64::from(self.year < 0);
        let month = if self.month == 0 { 1 } else { self.month.into() };
        let day = if self.day == 0 { 1 } else { self.day.into() };
        let whole = self.year != 0 && self.month != 0 && self.day != 0;
        let last = if whole { calendar::month_days(year, month) } else { 31 };
        if !(1..=12).contains(&month) || !(1..=last).contains(&day) {
            return Err(FIELD);
        }
        // Postgres adds these in 32 bits, and wraps round.
        let fraction = self.millis.wrapping_mul(1_000).wrapping_add(self.micros);
        if !(0..24).contains(&self.hour)
            || !(0..60).contains(&self.minute)
            || !(0..60).contains(&self.second)
            || !(0..1_000_000).contains(&fraction)
        {
            return Err(FIELD);
        }
        let seconds = (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60;
        let time = (seconds + i64::from(self.second)) * 1_000_000 + i64::from(fraction);
        Ok((calendar::day_number(year, month, day), time))
    }
}
