//! What a regular expression matches, and where: `regexp_replace`, `regexp_match`, `substring` and their kin.
//!
//! *Invariant*: patterns are of [`Use::Span`](super::expression::Use::Span), for which both engines find the
//! same.

use std::sync::Arc;

use super::super::text::{MADE_CHARACTERS_MAX, TOO_LONG};
use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::Pattern;
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "textregexreplace_noopt" | "textregexreplace" => replace,
        "regexp_match_no_flags" => groups,
        "textregexsubstr" => |call, list| first(call, list, true),
        "regexp_substr_no_start" => |call, list| first(call, list, false),
        "regexp_count_no_start" => |call, list| {
            let mut count = 0;
            each(pattern(call)?, Arguments(list).text(0)?, |_| {
                count += 1;
                Ok(true)
            })?;
            some(Datum::Int(count))
        },
        _ => return None,
    })
}

/// Refuses options of `regexp_replace` that we do not have.
pub(crate) fn check_options(options: Option<&str>) -> Result<(), String> {
    match options {
        Some(options) if options.chars().all(|one| one == 'g') => Ok(()),
        _ => Err("of the options of regexp_replace only g is supported".to_owned()),
    }
}

fn pattern(call: &Call) -> Result<&Pattern, EvaluationError> {
    call.pattern.as_deref().ok_or(UNEXPECTED)
}

/// Visits matches from left to right, as long as it says so. An empty one is found right behind another too.
fn each<'t>(
    pattern: &Pattern,
    text: &'t str,
    mut visit: impl FnMut(&regex::Captures<'t>) -> Result<bool, EvaluationError>,
) -> Result<(), EvaluationError> {
    let mut from = 0;
    while from <= text.len()
        && let Some(found) = pattern.0.captures_at(text, from)
    {
        let whole = found.get(0).ok_or(UNEXPECTED)?;
        if !visit(&found)? {
            break;
        }
        from = whole.end();
        if whole.is_empty() {
            from += text[from..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Ok(())
}

fn replace(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (text, by) = (arguments.text(0)?, arguments.text(2)?);
    let all = arguments.len() > 3 && arguments.text(3)?.contains('g');
    let (mut made, mut copied) = (String::with_capacity(text.len()), 0);
    each(pattern(call)?, text, |found| {
        let whole = found.get(0).ok_or(UNEXPECTED)?;
        made += &text[copied..whole.start()];
        fill(by, found, &mut made);
        copied = whole.end();
        if made.len() > MADE_CHARACTERS_MAX.max(text.len()) {
            return Err(TOO_LONG);
        }
        Ok(all)
    })?;
    made += &text[copied..];
    some(Datum::Text(made.into()))
}

/// Adds a replacement: a backslash with a digit is a group in it, one with `&` the whole.
fn fill(by: &str, found: &regex::Captures<'_>, made: &mut String) {
    let mut rest = by.chars().peekable();
    while let Some(c) = rest.next() {
        let group = match rest.peek() {
            Some('&') if c == '\\' => Some(0),
            Some(digit @ '1'..='9') if c == '\\' => digit.to_digit(10),
            Some('\\') if c == '\\' => {
                rest.next();
                None
            }
            _ => None,
        };
        let Some(group) = group else {
            made.push(c);
            continue;
        };
        rest.next();
        made.push_str(found.get(group as usize).map_or("", |group| group.as_str()));
    }
}

/// The groups of the first match; without groups the whole.
fn groups(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(found) = pattern(call)?.0.captures(Arguments(list).text(0)?) else { return Ok(None) };
    let from = usize::from(found.len() > 1);
    let groups = found.iter().skip(from).map(|one| one.map(|one| Datum::text(one.as_str())));
    some(Datum::Array(Arc::new(Array::flat(groups.collect()))))
}

/// The first match, or with `group` its first group if there is one.
fn first(call: &Call, list: &[Option<Datum>], group: bool) -> Outcome {
    let Some(found) = pattern(call)?.0.captures(Arguments(list).text(0)?) else { return Ok(None) };
    let at = usize::from(group && found.len() > 1);
    Ok(found.get(at).map(|found| Datum::text(found.as_str())))
}
