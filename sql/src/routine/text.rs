//! Functions on text: characters count, not bytes.

use std::collections::{HashMap, HashSet};

use super::conversion::as_text;
use super::room::{TOO_LONG, check};
use super::{Arguments, Call, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::text_form;

/// Characters that `repeat`, `lpad` and the like may make; Postgres' bound is a gigabyte.
pub(super) const MADE_CHARACTERS_MAX: usize = 1 << 20;

/// What is looked for among more than these is not looked for one by one.
pub(super) const FEW: usize = 16;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "textlen" => |_, list| int(Arguments(list).text(0)?.chars().count()),
        "bpcharlen" => {
            |_, list| int(Arguments(list).text(0)?.trim_end_matches(' ').chars().count())
        }
        "textoctetlen" | "bpcharoctetlen" => |_, list| int(Arguments(list).text(0)?.len()),
        "bit_length/1/1811" => |_, list| int(Arguments(list).text(0)?.len() * 8),
        "byteaoctetlen" => |_, list| int(Arguments(list).bytes(0)?.len()),
        "byteacat" => |_, list| {
            let arguments = Arguments(list);
            let bytes = [&arguments.bytes(0)?[..], &arguments.bytes(1)?[..]].concat();
            some(Datum::Bytes(bytes.into()))
        },
        "lower" => |call, list| folded(call, Arguments(list).text(0)?, false),
        "upper" => |call, list| folded(call, Arguments(list).text(0)?, true),
        "textcat" => |_, list| {
            let arguments = Arguments(list);
            joined([arguments.text(0)?, arguments.text(1)?], "")
        },
        "textanycat" | "anytextcat" => |call, list| {
            let arguments = Arguments(list);
            let part = |at: usize| -> Result<String, EvaluationError> {
                Ok(as_text(&call.arguments[at], arguments.any(at)?))
            };
            joined([&*part(0)?, &*part(1)?], "")
        },
        "text_concat" => concat,
        "text_concat_ws" => concat_ws,
        "btrim" | "btrim1" | "ltrim" | "ltrim1" | "rtrim" | "rtrim1" => trim,
        "text_left" | "text_right" => end_part,
        "lpad" | "lpad/2/879" | "rpad" | "rpad/2/880" => pad,
        "repeat" => repeat,
        "replace_text" => replace,
        "textoverlay" | "textoverlay_no_len" => overlay,
        "pg_num_nulls" => |_, list| int(list.iter().filter(|one| one.is_none()).count()),
        "pg_num_nonnulls" => |_, list| int(list.iter().flatten().count()),
        "text_reverse" => |_, list| text(Arguments(list).text(0)?.chars().rev().collect()),
        "text_substr" | "text_substr_no_len" => substring,
        "textpos" => |_, list| {
            let arguments = Arguments(list);
            let (whole, part) = (arguments.text(0)?, arguments.text(1)?);
            int(whole.find(part).map_or(0, |at| whole[..at].chars().count() + 1))
        },
        "split_part" => split_part,
        "text_starts_with" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Bool(arguments.text(0)?.starts_with(arguments.text(1)?)))
        },
        "ascii" => |_, list| {
            int(Arguments(list).text(0)?.chars().next().map_or(0, |c| u32::from(c) as usize))
        },
        "translate" => translate,
        _ => return of_characters(code),
    })
}

/// Single characters, and digits that stand for bytes.
fn of_characters(code: &str) -> Option<Function> {
    Some(match code {
        "initcap" => |_, list| {
            let mut within = false;
            let capital = |c: char| {
                let made = if within { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
                within = c.is_ascii_alphanumeric();
                made
            };
            text(Arguments(list).text(0)?.chars().map(capital).collect())
        },
        "md5_text" => |_, list| md5(Arguments(list).text(0)?.as_bytes()),
        "md5_bytea" => |_, list| md5(Arguments(list).bytes(0)?),
        "to_hex32" => |_, list| {
            // Two's complement in 32 bits, as the argument is one of those.
            text(format!("{:x}", *Arguments(list).int(0)? as i32))
        },
        "to_hex64" => |_, list| text(format!("{:x}", Arguments(list).int(0)?)),
        "chr" => |_, list| {
            let code = u32::try_from(*Arguments(list).int(0)?).ok().filter(|code| *code != 0);
            let made = code.and_then(char::from_u32);
            let wrong = EvaluationError::Other("requested character not valid for encoding");
            text(made.ok_or(wrong)?.to_string())
        },
        _ => return None,
    })
}

fn int(count: usize) -> Outcome {
    // No text is longer than a gigabyte.
    some(Datum::Int(count as i64))
}

fn text(text: String) -> Outcome {
    some(Datum::Text(text.into()))
}

fn folded(call: &Call, whole: &str, upper: bool) -> Outcome {
    let map = call.fold.as_ref().ok_or(super::UNEXPECTED)?;
    text(whole.chars().map(|c| if upper { map.upper(c) } else { map.lower(c) }).collect())
}

fn md5(bytes: &[u8]) -> Outcome {
    use md5::Digest;
    let digest = md5::Md5::digest(bytes);
    text(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Texts one after the other; in one clause they may be very many, with a long separator.
fn joined<'t>(parts: impl IntoIterator<Item = &'t str>, separator: &str) -> Outcome {
    let (mut made, mut given) = (String::new(), 0);
    for (at, part) in parts.into_iter().enumerate() {
        given += part.len();
        check(made.len() + separator.len() + part.len(), given)?;
        made += if at > 0 { separator } else { "" };
        made += part;
    }
    text(made)
}

/// What output functions print, NULL left out.
fn printed(call: &Call, list: &[Option<Datum>], from: usize) -> Vec<String> {
    let arguments = list.iter().zip(&call.arguments).skip(from);
    let printed = arguments.filter_map(|(argument, data_type)| {
        argument.as_ref().map(|datum| text_form::output(data_type, datum))
    });
    printed.collect()
}

fn concat(call: &Call, list: &[Option<Datum>]) -> Outcome {
    joined(printed(call, list, 0).iter().map(String::as_str), "")
}

fn concat_ws(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let Some(Some(Datum::Text(separator))) = list.first() else { return Ok(None) };
    joined(printed(call, list, 1).iter().map(String::as_str), separator)
}

fn trim(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let set = if arguments.len() > 1 { arguments.text(1)? } else { " " };
    let many: Option<HashSet<char>> = (set.len() > FEW).then(|| set.chars().collect());
    let is_in = |c: char| many.as_ref().map_or_else(|| set.contains(c), |set| set.contains(&c));
    let mut rest = arguments.text(0)?;
    if !call.code.starts_with('r') {
        rest = rest.trim_start_matches(is_in);
    }
    if !call.code.starts_with('l') {
        rest = rest.trim_end_matches(is_in);
    }
    text(rest.to_owned())
}

/// `left`, `right`; a negative count leaves so many out at the other end.
fn end_part(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let characters: Vec<char> = arguments.text(0)?.chars().collect();
    let (length, count) = (characters.len() as i64, *arguments.int(1)?);
    let kept = if count < 0 { (length + count).max(0) } else { count.min(length) } as usize;
    let part = match call.code {
        "text_left" => &characters[..kept],
        _ => &characters[characters.len() - kept..],
    };
    text(part.iter().collect())
}

fn pad(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let whole: Vec<char> = arguments.text(0)?.chars().collect();
    let fill: Vec<char> =
        if arguments.len() > 2 { arguments.text(2)?.chars().collect() } else { vec![' '] };
    let wanted = usize::try_from(*arguments.int(1)?).unwrap_or(0);
    if wanted > MADE_CHARACTERS_MAX {
        return Err(TOO_LONG);
    }
    let kept: String = whole.iter().take(wanted).collect();
    let missing = if fill.is_empty() { 0 } else { wanted.saturating_sub(whole.len()) };
    // Characters of several bytes.
    let room = fill.iter().map(|c| c.len_utf8()).max().unwrap_or(0).saturating_mul(missing);
    check(room, kept.len())?;
    let padding: String = fill.iter().cycle().take(missing).collect();
    text(if call.code.starts_with('l') { padding + &kept } else { kept + &padding })
}

fn repeat(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let whole = arguments.text(0)?;
    let count = usize::try_from(*arguments.int(1)?).unwrap_or(0);
    if whole.len().saturating_mul(count) > MADE_CHARACTERS_MAX {
        return Err(TOO_LONG);
    }
    text(whole.repeat(count))
}

fn replace(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (whole, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    if from.is_empty() {
        return text(whole.to_owned());
    }
    if to.len() > from.len() {
        check(whole.matches(from).count().saturating_mul(to.len()), whole.len())?;
    }
    text(whole.replace(from, to))
}

/// Counts from 1; what lies outside counts towards the length.
fn substring(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let from = *arguments.int(1)?;
    let end = match arguments.len() {
        2 => i64::MAX,
        _ => {
            let length = *arguments.int(2)?;
            if length < 0 {
                return Err(EvaluationError::Other("negative substring length not allowed"));
            }
            from + length
        }
    };
    let first = from.max(1);
    let count = usize::try_from((end - first).max(0)).unwrap_or(usize::MAX);
    let skip = usize::try_from(first - 1).unwrap_or(usize::MAX);
    text(arguments.text(0)?.chars().skip(skip).take(count).collect())
}

/// Counts from 1; what the new part is put over ends where the text does, at most.
fn overlay(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (whole, new) = (arguments.text(0)?, arguments.text(1)?);
    let (from, end) = super::bytes::replaced(list, new.chars().count())?;
    let count = |place: i64| usize::try_from(place - 1).unwrap_or(0);
    let head: String = whole.chars().take(count(from)).collect();
    let tail: String = whole.chars().skip(count(end)).collect();
    text(head + new + &tail)
}

fn split_part(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (whole, separator, field) = (arguments.text(0)?, arguments.text(1)?, *arguments.int(2)?);
    if field == 0 {
        return Err(EvaluationError::Other("field position must not be zero"));
    }
    let parts: Vec<&str> = match (whole.is_empty(), separator.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![whole],
        (false, false) => whole.split(separator).collect(),
    };
    let at = if field > 0 { field - 1 } else { parts.len() as i64 + field };
    let part = usize::try_from(at).ok().and_then(|at| parts.get(at));
    text(part.copied().unwrap_or_default().to_owned())
}

fn translate(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let from: Vec<char> = arguments.text(1)?.chars().collect();
    let to: Vec<char> = arguments.text(2)?.chars().collect();
    // The first of equal ones counts.
    let places = from.iter().enumerate().rev().map(|(at, c)| (*c, at));
    let many: Option<HashMap<char, usize>> = (from.len() > FEW).then(|| places.collect());
    let place = |c: char| match &many {
        Some(many) => many.get(&c).copied(),
        None => from.iter().position(|found| *found == c),
    };
    let replaced = arguments.text(0)?.chars().filter_map(|c| match place(c) {
        None => Some(c),
        Some(at) => to.get(at).copied(),
    });
    text(replaced.collect())
}
