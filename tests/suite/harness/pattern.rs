//! Texts and JSON with places that differ from run to run.
//!
//! Enters: a pattern and what was answered. Leaves: whether they agree. A placeholder is bound when first met and
//! must be the same ever after: `<h1>` a handle, `<l1>` a position, `<o1>` an offset, `<x1>` a transaction id,
//! `<m1>` a mark. `<*>` is any number, `<any>` any text or value, `<number>` any JSON number.

use std::collections::HashMap;

use serde_json::Value;

/// What placeholders stand for so far.
pub type Bindings = HashMap<String, String>;

/// Whether a value is as expected; binds placeholders.
pub fn matches(pattern: &Value, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let differ = || Err(format!("{actual} instead of {pattern}"));
    match (pattern, actual) {
        (Value::String(text), _) if text == "<any>" => Ok(()),
        (Value::String(text), Value::Number(_)) if text == "<number>" => Ok(()),
        (Value::String(pattern), Value::String(actual)) => matches_text(pattern, actual, bindings),
        (Value::Array(patterns), Value::Array(values)) if patterns.len() == values.len() => {
            let mut pairs = patterns.iter().zip(values);
            pairs.try_for_each(|(pattern, value)| matches(pattern, value, bindings))
        }
        (Value::Object(patterns), Value::Object(values)) if patterns.len() == values.len() => {
            for (name, pattern) in patterns {
                let value =
                    values.get(name).ok_or_else(|| format!("{name} is missing in {actual}"))?;
                matches(pattern, value, bindings)?;
            }
            Ok(())
        }
        _ if pattern == actual => Ok(()),
        _ => differ(),
    }
}

/// Whether a text is as expected, byte for byte; binds placeholders.
pub fn matches_text(pattern: &str, actual: &str, bindings: &mut Bindings) -> Result<(), String> {
    let differ = |rest: &str| {
        let agreed = actual.len() - rest.len();
        let shown: String = rest.chars().take(60).collect();
        format!("'{actual}' instead of '{pattern}': they differ after byte {agreed}, in '{shown}'")
    };
    let mut rest = actual;
    let mut expected = pattern;
    while let Some((literal, name, after)) = next_placeholder(expected) {
        rest = rest.strip_prefix(literal).ok_or_else(|| differ(after_common(rest, literal)))?;
        expected = after;
        let is_end = |c: char| match name {
            "<*>" | "<number>" => !c.is_ascii_digit() && c != '-',
            _ if !["<h", "<o"].contains(&&name[..2]) => !c.is_ascii_digit(),
            _ => !c.is_ascii_alphanumeric() && !"-_".contains(c),
        };
        let length = match name {
            "<any>" => {
                let next = next_placeholder(after).map_or(after, |(literal, _, _)| literal);
                rest.find(next).filter(|_| !next.is_empty()).unwrap_or(rest.len())
            }
            _ => rest.find(is_end).unwrap_or(rest.len()),
        };
        let (value, tail) = rest.split_at(length);
        if value.is_empty() && name != "<any>" {
            return Err(differ(rest));
        }
        let is_bound = !["<any>", "<*>", "<number>"].contains(&name);
        if is_bound && bindings.entry(name.to_owned()).or_insert_with(|| value.to_owned()) != value
        {
            return Err(format!("{}: {name} was {} before", differ(rest), bindings[name]));
        }
        rest = tail;
    }
    if rest == expected { Ok(()) } else { Err(differ(after_common(rest, expected))) }
}

/// What is left of a text after what it has in common with another.
fn after_common<'a>(text: &'a str, other: &str) -> &'a str {
    let same = text.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    &text[same.map(|(one, _)| one.len_utf8()).sum()..]
}

/// Fails unless a text is as expected; what an earlier text had in a placeholder's place has to be there again.
#[track_caller]
pub fn check(pattern: &str, actual: &str, bindings: &mut Bindings) {
    if let Err(error) = matches_text(pattern, actual, bindings) {
        panic!(
            "{error}

expected: {pattern}
answered: {actual}"
        );
    }
}

/// Splits at the first placeholder: what is before it, itself, what is after it.
fn next_placeholder(pattern: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        let numbered = name.strip_prefix(['h', 'l', 'o', 'x', 'm']);
        numbered.is_some_and(|number| number.parse::<u32>().is_ok())
            || ["*", "any", "number"].contains(&name)
    };
    let mut from = 0;
    while let Some(open) = pattern[from..].find('<').map(|at| at + from) {
        let close = pattern[open..].find('>').map(|at| at + open)?;
        if is_name(&pattern[open + 1..close]) {
            return Some((&pattern[..open], &pattern[open..=close], &pattern[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// Puts bound values into a text.
pub fn fill(text: &str, bindings: &Bindings) -> String {
    let mut filled = text.to_owned();
    for (name, value) in bindings {
        filled = filled.replace(name, value);
    }
    filled
}
