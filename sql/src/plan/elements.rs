//! Elements of an array, looked for in its text.
//!
//! *Invariant*: only arrays of one dimension, counted from 1, without escapes; every other text is
//! left to the general evaluator, so that what is no array is seen.

use crate::datum::Datum;
use crate::oid::Oid;
use crate::sql_type::SqlType;
use crate::value::read_integer;

/// How many elements are looked for at once: one bit each.
const WANTED_MAX: usize = 64;

/// An element to look for.
#[derive(Debug)]
pub(crate) enum Wanted {
    Text(Box<[u8]>),
    Int(i64, SqlType),
}

/// The types of elements that are read here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Int(SqlType),
}

impl Kind {
    pub(super) fn of(oid: Oid) -> Option<Kind> {
        if [Oid::TEXT, Oid::VARCHAR].contains(&oid) {
            return Some(Kind::Text);
        }
        match SqlType::from_oid(oid.0)? {
            integer @ (SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => Some(Kind::Int(integer)),
            _ => None,
        }
    }

    /// A constant element, if it is of this kind.
    pub(super) fn wanted(self, datum: &Datum) -> Option<Wanted> {
        match (self, datum) {
            (Kind::Text, Datum::Text(text)) => Some(Wanted::Text(text.as_bytes().into())),
            (Kind::Int(sql_type), Datum::Int(int)) => Some(Wanted::Int(*int, sql_type)),
            _ => None,
        }
    }
}

/// What an array has of the elements that are looked for.
pub(super) struct Found {
    pub(super) all: bool,
    pub(super) null: bool,
}

/// Looks for elements, all of one kind.
pub(super) fn find(text: &[u8], wanted: &[Wanted]) -> Option<Found> {
    let mut rest = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    if wanted.len() > WANTED_MAX {
        return None;
    }
    let mut missing: u64 = wanted.iter().enumerate().fold(0, |bits, (at, _)| bits | 1 << at);
    let mut null = false;
    while !rest.is_empty() {
        let (element, quoted, after) = next(rest)?;
        if !quoted && element.eq_ignore_ascii_case(b"null") {
            null = true;
        } else {
            // One number is read once, however many are looked for.
            let int = match wanted.first() {
                Some(Wanted::Int(_, sql_type)) => {
                    let int = read_integer(element)?;
                    sql_type.integer_range().contains(&int).then_some(int)?
                }
                _ => 0,
            };
            for (at, one) in wanted.iter().enumerate() {
                let same = match one {
                    Wanted::Text(text) => **text == *element,
                    Wanted::Int(other, _) => *other == int,
                };
                missing &= !(u64::from(same) << at);
            }
        }
        rest = match after {
            [] => after,
            [b',', more @ ..] if !more.is_empty() => more,
            _ => return None,
        };
    }
    Some(Found { all: missing == 0, null })
}

/// The first element, whether it stood in quotes, and what follows it.
fn next(rest: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    if let [b'"', inner @ ..] = rest {
        let end = inner.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (element, after) = inner.split_at(end);
        return Some((element, true, after.strip_prefix(b"\"")?));
    }
    let odd = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b' ' | b'\t'..=b'\r');
    let end = rest.iter().position(|byte| *byte == b',' || odd(byte)).unwrap_or(rest.len());
    let (element, after) = rest.split_at(end);
    let plain = !element.is_empty() && after.first().is_none_or(|byte| *byte == b',');
    plain.then_some((element, false, after))
}
