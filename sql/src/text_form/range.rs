//! Ranges `[a,b)` and multiranges `{[a,b),…}`.

use super::output;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::decimal::is_c_space;
use crate::oid::Oid;
use crate::range::{Bound, Multirange, Range, Span};

const MALFORMED: &str = "malformed range literal";

/// How a bound is read.
pub(super) type Element<'a> = &'a dyn Fn(&DataType, &str) -> Result<Datum, String>;

/// Reads a range; `Err` is what Postgres says.
pub(super) fn read(element: Oid, text: &str, bound: Element<'_>) -> Result<Range, String> {
    let malformed = || format!("{MALFORMED}: \"{text}\"");
    let trimmed = text.trim_matches(is_c_space);
    // A blank at the end that is escaped or quoted would be inside of the brackets.
    if trimmed.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("empty")) {
        return if trimmed.len() == 5 { Ok(Range(None)) } else { Err(malformed()) };
    }
    let mut rest = trimmed.chars();
    let lower_inclusive = match rest.next() {
        Some('[') => true,
        Some('(') => false,
        _ => return Err(malformed()),
    };
    let lower = bound_text(&mut rest).ok_or_else(malformed)?;
    if rest.next() != Some(',') {
        return Err(malformed());
    }
    let upper = bound_text(&mut rest).ok_or_else(malformed)?;
    let upper_inclusive = match rest.next() {
        Some(']') => true,
        Some(')') => false,
        _ => return Err(malformed()),
    };
    if !rest.as_str().is_empty() {
        return Err(malformed());
    }
    let element_type = DataType::from(element);
    let read = |text: Option<String>, inclusive| -> Result<Bound, String> {
        let value = text.map(|text| bound(&element_type, &text)).transpose()?;
        Ok(Bound { inclusive: inclusive && value.is_some(), value })
    };
    let (lower, upper) = (read(lower, lower_inclusive)?, read(upper, upper_inclusive)?);
    Range::new(element, lower, upper).map_err(|error| error.to_string())
}

/// A bound without its quotes and escapes; the inner `None` is no bound.
fn bound_text(rest: &mut std::str::Chars<'_>) -> Option<Option<String>> {
    const ENDS: [char; 3] = [',', ')', ']'];
    if rest.as_str().starts_with(ENDS) {
        return Some(None);
    }
    let (mut text, mut quoted) = (String::new(), false);
    while quoted || !rest.as_str().starts_with(ENDS) {
        match rest.next()? {
            '\\' => text.push(rest.next()?),
            '"' if quoted && rest.as_str().starts_with('"') => {
                rest.next();
                text.push('"');
            }
            '"' => quoted = !quoted,
            other => text.push(other),
        }
    }
    Some(Some(text))
}

#[derive(Clone, Copy)]
enum State {
    Before,
    Within,
    Escaped,
    Quoted,
    QuotedEscaped,
    After,
}

/// Reads a multirange.
pub(super) fn read_multi(
    element: Oid,
    text: &str,
    bound: Element<'_>,
) -> Result<Multirange, String> {
    let malformed = || format!("malformed multirange literal: \"{text}\"");
    let body = text.trim_start_matches(is_c_space).strip_prefix('{').ok_or_else(malformed)?;
    let mut ranges = Vec::new();
    let (mut state, mut seen, mut start) = (State::Before, false, 0);
    let mut rest = body.char_indices();
    loop {
        let (at, c) = rest.next().ok_or_else(malformed)?;
        // Postgres passes over blanks wherever they stand, also behind an escape.
        if is_c_space(c) {
            continue;
        }
        state = match (state, c) {
            (State::Before, '[' | '(') => {
                start = at;
                State::Within
            }
            (State::Before, '}') if !seen => break,
            (State::Before, _) => {
                let word = body.get(at..at + 5).filter(|word| word.eq_ignore_ascii_case("empty"));
                word.ok_or_else(malformed)?;
                rest = body.char_indices();
                rest.by_ref().take_while(|(passed, _)| *passed < at + 4).for_each(drop);
                seen = true;
                State::After
            }
            (State::Within, ']' | ')') => {
                ranges.push(read(element, &body[start..=at], bound)?);
                seen = true;
                State::After
            }
            (State::Within, '"') => State::Quoted,
            (State::Within, '\\') => State::Escaped,
            (State::Within | State::Escaped, _) => State::Within,
            (State::Quoted, '"') => match rest.as_str().strip_prefix('"') {
                Some(_) => {
                    rest.next();
                    State::Quoted
                }
                None => State::Within,
            },
            (State::Quoted, '\\') => State::QuotedEscaped,
            (State::Quoted | State::QuotedEscaped, _) => State::Quoted,
            (State::After, ',') => State::Before,
            (State::After, '}') => break,
            (State::After, _) => return Err(malformed()),
        };
    }
    if !rest.as_str().trim_start_matches(is_c_space).is_empty() {
        return Err(malformed());
    }
    Ok(Multirange::new(ranges))
}

/// Prints a range.
pub(super) fn write(element: Oid, range: &Range) -> String {
    match &range.0 {
        None => "empty".to_owned(),
        Some(span) => write_span(&element.into(), span),
    }
}

/// Prints a multirange.
pub(super) fn write_multi(element: Oid, multirange: &Multirange) -> String {
    let element = DataType::from(element);
    let ranges = multirange.spans().iter().map(|span| write_span(&element, span));
    format!("{{{}}}", ranges.collect::<Vec<_>>().join(","))
}

fn write_span(element: &DataType, span: &Span) -> String {
    let mut text = if span.lower.inclusive { "[" } else { "(" }.to_owned();
    write_bound(element, &span.lower, &mut text);
    text.push(',');
    write_bound(element, &span.upper, &mut text);
    text.push(if span.upper.inclusive { ']' } else { ')' });
    text
}

fn write_bound(element: &DataType, bound: &Bound, text: &mut String) {
    let Some(value) = &bound.value else { return };
    let shown = output(element, value);
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | '[' | ']' | ',') || is_c_space(c);
    let quotes = if shown.is_empty() || shown.contains(special) { "\"" } else { "" };
    *text += quotes;
    *text += &shown.replace('\\', "\\\\").replace('"', "\"\"");
    *text += quotes;
}
