//! What a regular expression matches, and where: `regexp_replace`, `regexp_match`, `substring` and their kin.
//!
//! *Invariant*: patterns are of [`Use::Span`](super::expression::Use::Span), for which both engines find the
//! same.

use std::sync::Arc;

use super::super::room::check;
use super::super::{Arguments, Call, Function, Outcome, UNEXPECTED, some};
use super::Pattern;
use crate::datum::{Array, Datum};
use crate::evaluation_error::EvaluationError;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "textregexreplace_noopt" | "textregexreplace" => |call, list| {
            let arguments = Arguments(list);
            let all = arguments.len() > 3 && arguments.text(3)?.contains('g');
            replace(call, list, 0, (!all).then_some(1))
        },
        "textregexreplace_extended_no_n"
        | "textregexreplace_extended_no_flags"
        | "textregexreplace_extended" => replace_at,
        "regexp_match_no_flags" | "regexp_match" => groups,
        "textregexsubstr" => first,
        "regexp_substr_no_start"
        | "regexp_substr_no_n"
        | "regexp_substr_no_flags"
        | "regexp_substr_no_subexpr"
        | "regexp_substr" => |call, list| {
            let text = Arguments(list).text(0)?;
            Ok(nth(call, list, 5)?.map(|found| Datum::text(&text[found])))
        },
        "regexp_instr_no_start"
        | "regexp_instr_no_n"
        | "regexp_instr_no_endoption"
        | "regexp_instr_no_flags"
        | "regexp_instr_no_subexpr"
        | "regexp_instr" => place,
        "regexp_count_no_start" | "regexp_count_no_flags" | "regexp_count" => |call, list| {
            let text = Arguments(list).text(0)?;
            let Some(from) = start(list, 2)? else { return some(Datum::Int(0)) };
            let mut count = 0;
            each(pattern(call)?, text, from, |_| {
                count += 1;
                Ok(true)
            })?;
            some(Datum::Int(count))
        },
        _ => return None,
    })
}

/// The argument that holds options.
pub(crate) fn options_argument(code: &str) -> Option<usize> {
    Some(match code {
        "regexp_like" | "regexp_match" => 2,
        "textregexreplace" | "regexp_count" => 3,
        "regexp_substr_no_subexpr" | "regexp_substr" => 4,
        "textregexreplace_extended" | "regexp_instr_no_subexpr" | "regexp_instr" => 5,
        _ => return None,
    })
}

/// Whether options say that case is ignored; refuses those that we do not have.
pub(crate) fn check_options(code: &str, options: Option<&str>) -> Result<bool, String> {
    let options = options.ok_or("options that are no constant are not supported")?;
    let replaces = code.starts_with("textregexreplace");
    let mut ignores_case = false;
    for option in options.chars() {
        match option {
            'i' => ignores_case = true,
            'c' => ignores_case = false,
            's' | 't' => {}
            'g' if replaces => {}
            'g' => return Err("the option g is only supported of regexp_replace".to_owned()),
            _ => return Err("of the options only c, g, i, s and t are supported".to_owned()),
        }
    }
    Ok(ignores_case)
}

const START: EvaluationError = EvaluationError::Other("invalid value for parameter \"start\"");
const NTH: EvaluationError = EvaluationError::Other("invalid value for parameter \"n\"");
const GROUP: EvaluationError = EvaluationError::Other("invalid value for parameter \"subexpr\"");
const END: EvaluationError = EvaluationError::Other("invalid value for parameter \"endoption\"");

/// A count among the arguments, no smaller than the least; what is left out is `usual`.
fn count(
    list: &[Option<Datum>],
    at: usize,
    usual: i64,
    (least, error): (i64, EvaluationError),
) -> Result<i64, EvaluationError> {
    let arguments = Arguments(list);
    let count = if arguments.len() > at { *arguments.int(at)? } else { usual };
    if count < least { Err(error) } else { Ok(count) }
}

/// Where a search begins: the byte of the character with that number; `None` is behind the text.
fn start(list: &[Option<Datum>], at: usize) -> Result<Option<usize>, EvaluationError> {
    let text = Arguments(list).text(0)?;
    let start = count(list, at, 1, (1, START))?;
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    Ok(usize::try_from(start - 1).ok().and_then(|skipped| places.nth(skipped)))
}

/// The bytes of the match that is asked for, or of one of its groups.
fn nth(
    call: &Call,
    list: &[Option<Datum>],
    group: usize,
) -> Result<Option<std::ops::Range<usize>>, EvaluationError> {
    let arguments = Arguments(list);
    let (from, wanted) = (start(list, 2)?, count(list, 3, 1, (1, NTH))?);
    let group = count(list, group, 0, (0, GROUP))?;
    let Some(from) = from else { return Ok(None) };
    let (mut seen, mut range) = (0, None);
    each(pattern(call)?, arguments.text(0)?, from, |found| {
        seen += 1;
        if seen == wanted {
            // Without groups the whole is the first one.
            let group = if found.len() == 1 && group == 1 { 0 } else { group };
            let group = usize::try_from(group).ok().and_then(|group| found.get(group));
            range = group.map(|group| group.range());
        }
        Ok(seen < wanted)
    })?;
    Ok(range)
}

/// The number of the character that a match begins with, or of the one behind it; 0 where there is none.
fn place(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let behind = count(list, 4, 0, (0, END))?;
    if behind > 1 {
        return Err(END);
    }
    let text = arguments.text(0)?;
    let found = nth(call, list, 6)?.map(|found| if behind == 1 { found.end } else { found.start });
    some(Datum::Int(found.map_or(0, |at| text[..at].chars().count() as i64 + 1)))
}

fn replace_at(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let (from, wanted) = (start(list, 3)?, count(list, 4, 1, (0, NTH))?);
    match from {
        Some(from) => replace(call, list, from, (wanted > 0).then_some(wanted)),
        None => some(Datum::text(Arguments(list).text(0)?)),
    }
}

fn pattern(call: &Call) -> Result<&Pattern, EvaluationError> {
    call.pattern.as_deref().ok_or(UNEXPECTED)
}

/// Visits matches from left to right, as long as it says so. An empty one is found right behind another too.
fn each<'t>(
    pattern: &Pattern,
    text: &'t str,
    from: usize,
    mut visit: impl FnMut(&regex::Captures<'t>) -> Result<bool, EvaluationError>,
) -> Result<(), EvaluationError> {
    let mut from = from;
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

/// Replaces the match of that number, or all of them.
fn replace(call: &Call, list: &[Option<Datum>], from: usize, only: Option<i64>) -> Outcome {
    let arguments = Arguments(list);
    let (text, by) = (arguments.text(0)?, arguments.text(2)?);
    let (mut made, mut copied, mut seen) = (String::with_capacity(text.len()), 0, 0);
    each(pattern(call)?, text, from, |found| {
        seen += 1;
        if only.is_some_and(|only| only != seen) {
            return Ok(true);
        }
        let whole = found.get(0).ok_or(UNEXPECTED)?;
        made += &text[copied..whole.start()];
        fill(by, found, text.len(), &mut made)?;
        copied = whole.end();
        Ok(only.is_none())
    })?;
    made += &text[copied..];
    some(Datum::Text(made.into()))
}

/// Adds a replacement: a backslash with a digit is a group in it, one with `&` the whole. They may be many, and long.
fn fill(
    by: &str,
    found: &regex::Captures<'_>,
    length: usize,
    made: &mut String,
) -> Result<(), EvaluationError> {
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
        let group = found.get(group as usize).map_or("", |group| group.as_str());
        check(made.len() + group.len(), length)?;
        made.push_str(group);
    }
    check(made.len(), length)
}

/// The groups of the first match; without groups the whole.
fn groups(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(found) = pattern(call)?.0.captures(Arguments(list).text(0)?) else { return Ok(None) };
    let from = usize::from(found.len() > 1);
    let groups = found.iter().skip(from).map(|one| one.map(|one| Datum::text(one.as_str())));
    some(Datum::Array(Arc::new(Array::flat(groups.collect()))))
}

/// The first match, or its first group if there is one.
fn first(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(found) = pattern(call)?.0.captures(Arguments(list).text(0)?) else { return Ok(None) };
    let at = usize::from(found.len() > 1);
    Ok(found.get(at).map(|found| Datum::text(found.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MADE_BYTES_MAX;

    #[test]
    fn a_replacement_is_not_made_any_longer_than_it_may_be() {
        let regex = regex::Regex::new("a+").unwrap();
        let text = "a".repeat(100_000);
        let found = regex.captures(&text).unwrap();
        let mut made = String::new();
        assert!(fill(&"\\&".repeat(200), &found, text.len(), &mut made).is_err());
        assert!(made.len() <= MADE_BYTES_MAX, "{}", made.len());
        made.clear();
        assert!(fill("<\\&>", &found, text.len(), &mut made).is_ok());
        assert_eq!(made.len(), text.len() + 2);
    }
}
