//! `jsonb`, and `json` in `plain`.
//!
//! *Enters*: JSON text. *Leaves*: values in Postgres' normal form, their text, equality,
//! containment and parts.
//! *Invariant*: keys are unique and stand in Postgres' order (shorter first); numbers keep their
//! scale.

use std::cmp::Ordering;

use crate::numeric::Numeric;

mod change;
mod plain;
mod reader;
pub(crate) mod scan;

pub(crate) use plain::{PlainError, at_path, count_elements, is_valid, plain_kind};

/// Levels of arrays and objects in one value. Postgres' own bound is its stack.
const NESTING_MAX: usize = 512;

/// A `jsonb` value.
#[derive(Debug, Clone)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Numeric),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads JSON text; `None` where Postgres raises an error.
    pub(crate) fn read(text: &str) -> Option<Json> {
        reader::read(text, NESTING_MAX)
    }

    /// An object in normal form: the last of equal keys wins.
    pub(crate) fn object(mut members: Vec<(String, Json)>) -> Json {
        // Stable.
        members.sort_by(|(left, _), (right, _)| key_order(left, right));
        let mut unique: Vec<(String, Json)> = Vec::with_capacity(members.len());
        for member in members {
            match unique.last_mut() {
                Some(last) if last.0 == member.0 => *last = member,
                _ => unique.push(member),
            }
        }
        Json::Object(unique)
    }

    /// Only for equality: the order of text is that of the database's collation.
    pub(crate) fn compare(&self, other: &Json) -> Ordering {
        let rank = |json: &Json| match json {
            Json::Null => 0,
            Json::Text(_) => 1,
            Json::Number(_) => 2,
            Json::Bool(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        };
        let members = |left: &(String, Json), right: &(String, Json)| {
            left.0.cmp(&right.0).then_with(|| left.1.compare(&right.1))
        };
        match (self, other) {
            (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
            (Json::Number(left), Json::Number(right)) => left.compare(right),
            (Json::Text(left), Json::Text(right)) => left.cmp(right),
            (Json::Array(left), Json::Array(right)) => {
                left.len().cmp(&right.len()).then_with(|| {
                    first_difference(
                        left.iter().zip(right).map(|(left, right)| left.compare(right)),
                    )
                })
            }
            (Json::Object(left), Json::Object(right)) => {
                left.len().cmp(&right.len()).then_with(|| {
                    first_difference(
                        left.iter().zip(right).map(|(left, right)| members(left, right)),
                    )
                })
            }
            _ => rank(self).cmp(&rank(other)),
        }
    }

    fn equals(&self, other: &Json) -> bool {
        self.compare(other).is_eq()
    }

    /// `->` with a key.
    pub(crate) fn member(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => {
                let found = members.binary_search_by(|(name, _)| key_order(name, key));
                found.ok().and_then(|at| members.get(at)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// `->` with a number, from the end where it is negative. A lone scalar counts as an array of
    /// itself, since that is how Postgres stores it.
    pub(crate) fn element(&self, index: i64) -> Option<&Json> {
        let elements = match self {
            Json::Array(elements) => elements,
            Json::Object(_) => return None,
            scalar => return matches!(index, 0 | -1).then_some(scalar),
        };
        let index = if index < 0 { index + elements.len() as i64 } else { index };
        elements.get(usize::try_from(index).ok()?)
    }

    /// `#>`.
    pub(crate) fn at_path(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |json, step| match json {
            Json::Object(_) => json.member(step),
            Json::Array(_) => json.element(i64::from(self::step(step)?)),
            _ => None,
        })
    }

    /// What `->>` gives: text without quotes, NULL for null.
    pub(crate) fn plain(&self) -> Option<String> {
        match self {
            Json::Null => None,
            Json::Text(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// `?`: a key, or a string in an array or alone.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Json::Object(_) => self.member(key).is_some(),
            Json::Array(elements) => {
                elements.iter().any(|element| matches!(element, Json::Text(text) if text == key))
            }
            Json::Text(text) => text == key,
            _ => false,
        }
    }

    /// `@>`: an array also holds a bare scalar, at the top only.
    pub(crate) fn contains(&self, part: &Json) -> bool {
        match (self, part) {
            (Json::Array(elements), scalar) if !scalar.is_container() => {
                elements.iter().any(|element| element.equals(scalar))
            }
            _ => self.holds(part),
        }
    }

    fn is_container(&self) -> bool {
        matches!(self, Json::Array(_) | Json::Object(_))
    }

    fn holds(&self, part: &Json) -> bool {
        match (self, part) {
            (Json::Object(_), Json::Object(members)) => members
                .iter()
                .all(|(key, value)| self.member(key).is_some_and(|found| found.holds(value))),
            (Json::Array(elements), Json::Array(parts)) => {
                parts.iter().all(|part| elements.iter().any(|element| element.holds(part)))
            }
            (left, right) => left.equals(right),
        }
    }

    /// `jsonb_typeof`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::Text(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Json::Null => *text += "null",
            Json::Bool(value) => *text += if *value { "true" } else { "false" },
            Json::Number(number) => *text += &number.to_string(),
            Json::Text(value) => write_text(value, text),
            Json::Array(elements) => {
                text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    *text += if at > 0 { ", " } else { "" };
                    element.write(text);
                }
                text.push(']');
            }
            Json::Object(members) => {
                text.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    *text += if at > 0 { ", " } else { "" };
                    write_text(key, text);
                    *text += ": ";
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Shorter keys come first.
fn key_order(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// A step of a path as the number of an element, as C's `strtol` reads it.
fn step(text: &str) -> Option<i32> {
    text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']).parse().ok()
}

fn first_difference(orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => *text += "\\\"",
            '\\' => *text += "\\\\",
            '\u{8}' => *text += "\\b",
            '\u{C}' => *text += "\\f",
            '\n' => *text += "\\n",
            '\r' => *text += "\\r",
            '\t' => *text += "\\t",
            control if control < ' ' => *text += &format!("\\u{:04x}", u32::from(control)),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_postgres_normal_form() {
        for (text, normal) in [
            (
                r#" {"bb":1, "a":[1.0, null,"x\u00e9\n"]} "#,
                r#"{"a": [1.0, null, "xé\n"], "bb": 1}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
            ("1e2", "100"),
            ("[]", "[]"),
            (r#""\ud83d\ude00""#, "\"😀\""),
        ] {
            assert_eq!(Json::read(text).unwrap().to_string(), normal);
        }
        for bad in ["", "{", "[1,]", "01", "1.", "'a'", "\"\\u0000\"", "\"\\ud800\"", "nul", "1 2"]
        {
            assert!(Json::read(bad).is_none(), "{bad}");
        }
        assert!(Json::read(&"[".repeat(100_000)).is_none());
    }

    #[test]
    fn contains_like_postgres() {
        let contains =
            |whole, part| Json::read(whole).unwrap().contains(&Json::read(part).unwrap());
        assert!(contains("[1,2,3]", "[3,1]"));
        assert!(contains(r#"["foo","bar"]"#, r#""bar""#));
        assert!(contains(r#"{"a":{"b":1}}"#, r#"{"a":{}}"#));
        assert!(!contains(r#"{"a":["b"]}"#, r#"{"a":"b"}"#));
        assert!(contains("[[1,2]]", "[[1]]") && !contains("1", "[1]"));
        assert!(contains(r#"{"a":1.0}"#, r#"{"a":1}"#));
    }
}
