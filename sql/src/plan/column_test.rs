//! Tests of one column's text, without a value in between.
//!
//! *Enters*: text that is not NULL. *Leaves*: its truth, or that the text is in a form that the
//! general evaluator has to look at.

use std::collections::HashSet;
use std::sync::Arc;

use crate::expr::Comparison;
use crate::json::scan::{self, Found, Part};
use crate::like::parts::Parts;
use crate::sql_type::SqlType;
use crate::{CaseMap, Truth};

use super::elements::{self, Wanted};
use super::ordinal::Ordinal;
use super::range::Range;

/// Lists up to this length are compared one by one: sooner than a hash is made.
const LISTED_MAX: usize = 6;

/// Bytes of text that are folded without allocating: most names and titles.
const FOLDED_MAX: usize = 256;

/// What is asked of a column.
#[derive(Debug)]
pub(crate) enum ColumnTest {
    Range(Ordinal, Range),
    /// `keys` are sorted; `null`: NULL was among them.
    Set {
        kind: Ordinal,
        keys: Box<[i128]>,
        null: bool,
    },
    /// `column % by` is in a range.
    Remainder {
        sql_type: SqlType,
        by: i128,
        range: Range,
    },
    Text(Matcher),
    TextList(Vec<Box<[u8]>>, bool),
    TextSet(HashSet<Box<[u8]>, foldhash::fast::RandomState>, bool),
    /// Of the text in lower or upper case.
    Folded {
        map: Arc<CaseMap>,
        upper: bool,
        matcher: Matcher,
    },
    /// `'constant' = ANY (column)`.
    HasElement(Wanted),
    /// `column @> constant` of arrays.
    HasElements(Vec<Wanted>),
    /// `column @> constant` of `jsonb`.
    JsonContains(Part),
    /// Of `column ->> key`.
    JsonMember {
        key: Box<str>,
        matcher: Matcher,
    },
}

/// What is asked of a text.
#[derive(Debug)]
pub(crate) enum Matcher {
    Compare(Comparison, Box<str>),
    Like(Parts),
}

impl Matcher {
    /// `None` for patterns that have to be walked.
    pub(super) fn like(pattern: &str) -> Option<Matcher> {
        Parts::new(pattern.as_bytes()).map(Matcher::Like)
    }

    fn matches(&self, text: &[u8]) -> bool {
        match self {
            // Different lengths differ at once.
            Matcher::Compare(Comparison::Equal, other) => text == other.as_bytes(),
            Matcher::Compare(Comparison::NotEqual, other) => text != other.as_bytes(),
            Matcher::Compare(comparison, other) => comparison.holds(text.cmp(other.as_bytes())),
            Matcher::Like(parts) => parts.matches(text),
        }
    }

    fn matches_folded(&self, text: &str, map: &CaseMap, upper: bool) -> bool {
        let fold = |c| if upper { map.upper(c) } else { map.lower(c) };
        let folded = text.chars().map(fold);
        match self {
            // UTF-8 orders as its characters do.
            Matcher::Compare(Comparison::Equal, other) => folded.eq(other.chars()),
            Matcher::Compare(comparison, other) => comparison.holds(folded.cmp(other.chars())),
            Matcher::Like(parts) => match map.ascii_table(upper) {
                Some(table) if text.len() <= FOLDED_MAX && text.is_ascii() => {
                    let mut buffer = [0; FOLDED_MAX];
                    let buffer = &mut buffer[..text.len()];
                    for (folded, byte) in buffer.iter_mut().zip(text.bytes()) {
                        *folded = table[usize::from(byte & 0x7F)];
                    }
                    parts.matches(buffer)
                }
                _ => parts.matches(folded.collect::<String>().as_bytes()),
            },
        }
    }
}

impl ColumnTest {
    /// Is one of the texts.
    pub(super) fn texts(texts: Vec<Box<[u8]>>, null: bool) -> ColumnTest {
        if texts.len() <= LISTED_MAX {
            ColumnTest::TextList(texts, null)
        } else {
            ColumnTest::TextSet(texts.into_iter().collect(), null)
        }
    }

    /// The truth for a text; `None` where only the general evaluator knows.
    pub(super) fn run(&self, text: &[u8]) -> Option<Truth> {
        match self {
            ColumnTest::Range(kind, range) => Some(Truth::from(range.holds(kind.read(text)?))),
            ColumnTest::Set { kind, keys, null } => {
                Some(member(keys.binary_search(&kind.read(text)?).is_ok(), *null))
            }
            ColumnTest::Remainder { sql_type, by, range } => {
                let rest = Ordinal::Within(*sql_type).read(text)?.checked_rem(*by)?;
                Some(Truth::from(range.holds(rest)))
            }
            ColumnTest::Text(matcher) => Some(Truth::from(matcher.matches(text))),
            ColumnTest::TextList(list, null) => {
                Some(member(list.iter().any(|one| **one == *text), *null))
            }
            ColumnTest::TextSet(set, null) => Some(member(set.contains(text), *null)),
            ColumnTest::Folded { map, upper, matcher } => {
                let text = std::str::from_utf8(text).ok()?;
                Some(Truth::from(matcher.matches_folded(text, map, *upper)))
            }
            ColumnTest::HasElement(wanted) => {
                let found = elements::find(text, std::slice::from_ref(wanted))?;
                Some(member(found.all, found.null))
            }
            ColumnTest::HasElements(wanted) => {
                elements::find(text, wanted).map(|found| Truth::from(found.all))
            }
            ColumnTest::JsonContains(part) => scan::contains(text, part).map(Truth::from),
            ColumnTest::JsonMember { key, matcher } => {
                Some(match scan::member(text, key.as_bytes())? {
                    Found::Nothing => Truth::Null,
                    Found::Text(text) => Truth::from(matcher.matches(text)),
                })
            }
        }
    }
}

/// Whether something is in a list that NULL may be in too.
fn member(found: bool, null: bool) -> Truth {
    match (found, null) {
        (true, _) => Truth::True,
        (false, true) => Truth::Null,
        (false, false) => Truth::False,
    }
}
