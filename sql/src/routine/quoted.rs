//! `format` and strings in quotes.

use super::conversion::as_text;
use super::room::{TOO_LONG, check, size};
use super::text::MADE_CHARACTERS_MAX;
use super::{Arguments, Call, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::text_form;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "quote_literal" => |_, list| some(Datum::Text(literal(Arguments(list).text(0)?).into())),
        "quote_nullable" => |_, list| match list {
            [Some(Datum::Text(text))] => some(Datum::Text(literal(text).into())),
            _ => some(Datum::text("NULL")),
        },
        "quote_literal/1/1285" | "quote_nullable/1/1290" => |call, list| match list {
            [Some(datum)] => {
                let text = as_text(&call.arguments[0], datum);
                some(Datum::Text(literal(&text).into()))
            }
            _ => some(Datum::text("NULL")),
        },
        "text_format" | "text_format_nv" => format,
        _ => return None,
    })
}

/// As SQL has it, with `E` in front where there is a backslash.
fn literal(text: &str) -> String {
    let mut quoted = if text.contains('\\') { "E'".to_owned() } else { "'".to_owned() };
    for c in text.chars() {
        quoted.push(c);
        if matches!(c, '\\' | '\'') {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// A part of a format.
enum Part<'f> {
    Text(&'f str),
    Argument {
        /// From 1; the one behind the last where it is not said.
        place: Option<usize>,
        width: usize,
        /// Filled up on the right.
        left: bool,
        quotes: bool,
    },
}

const UNKNOWN: &str = "this format is not supported: only %s, %L and %%, with places and widths";

/// Refuses formats that are not known before there is a row, and those with names: which words a server quotes as a name
/// depends on its version.
pub(crate) fn check_format(code: &str, format: Option<&Option<Datum>>) -> Result<(), String> {
    if !matches!(code, "text_format" | "text_format_nv") {
        return Ok(());
    }
    match format {
        Some(None) => Ok(()),
        Some(Some(Datum::Text(text))) => parts(text).map(|_| ()).ok_or_else(|| UNKNOWN.to_owned()),
        _ => Err("formats that are no constants are not supported".to_owned()),
    }
}

fn parts(format: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        parts.push(Part::Text(before));
        if let Some(after) = after.strip_prefix('%') {
            parts.push(Part::Text("%"));
            rest = after;
            continue;
        }
        let (first, after) = number(after);
        let (place, width, after) = match after.strip_prefix('$') {
            Some(after) => (Some(first.filter(|place| *place > 0)?), None, after),
            None => (None, first, after),
        };
        let flags = after.trim_start_matches('-');
        let left = flags.len() < after.len();
        // A flag stands before a width.
        if left && width.is_some() {
            return None;
        }
        let (own, after) = if width.is_none() { number(flags) } else { (width, flags) };
        let quotes = match after.chars().next()? {
            's' => false,
            'L' => true,
            _ => return None,
        };
        parts.push(Part::Argument { place, width: own.unwrap_or(0), left, quotes });
        rest = &after[1..];
    }
    parts.push(Part::Text(rest));
    Some(parts)
}

/// Digits in front.
fn number(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // What is longer is too wide anyway.
    let digits = &text[..end];
    let value = (!digits.is_empty()).then(|| digits.parse().unwrap_or(usize::MAX));
    (value, &text[end..])
}

fn format(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Some(Datum::Text(format))) = list.first() else { return Ok(None) };
    let unknown = EvaluationError::Other("unrecognized format() type specifier");
    let few = EvaluationError::Other("too few arguments for format()");
    let given: usize = list.iter().flatten().map(size).sum();
    let mut text = String::new();
    let mut last = 0;
    for part in parts(format).ok_or(unknown)? {
        match part {
            Part::Text(part) => text += part,
            Part::Argument { place, width, left, quotes } => {
                last = place.unwrap_or(last + 1);
                let value = list.get(last).ok_or(few)?;
                let shown = value.as_ref().map(|one| text_form::output(&call.arguments[last], one));
                let shown = match (shown, quotes) {
                    (Some(shown), true) => literal(&shown),
                    (Some(shown), false) => shown,
                    (None, true) => "NULL".to_owned(),
                    (None, false) => String::new(),
                };
                if width > MADE_CHARACTERS_MAX {
                    return Err(TOO_LONG);
                }
                let blanks = " ".repeat(width.saturating_sub(shown.chars().count()));
                check(text.len() + shown.len() + blanks.len(), given)?;
                text += &if left { shown + &blanks } else { blanks + &shown };
            }
        }
    }
    some(Datum::Text(text.into()))
}
