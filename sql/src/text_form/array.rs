//! Arrays: `{…}`, with bounds before it where they do not begin at 1.

use super::{output, read as read_element};
use crate::data_type::DataType;
use crate::datum::{Array, Dimension};

/// Dimensions that Postgres allows.
const DIMENSIONS_MAX: usize = 6;

struct Reader<'a> {
    rest: &'a str,
    element: &'a DataType,
    elements: Vec<Option<crate::datum::Datum>>,
    /// Lengths found so far, outermost first.
    lengths: Vec<Option<usize>>,
    /// How deep elements stand.
    depth: Option<usize>,
}

/// Reads an array.
pub(super) fn read(element: &DataType, text: &str) -> Option<Array> {
    let trimmed = text.trim_matches(crate::decimal::is_c_space);
    let (bounds, body) = match trimmed.starts_with('[') {
        true => {
            let (bounds, body) = trimmed.split_once('=')?;
            (Some(read_bounds(bounds.trim_end())?), body.trim_start())
        }
        false => (None, trimmed),
    };
    let mut reader =
        Reader { rest: body, element, elements: Vec::new(), lengths: Vec::new(), depth: None };
    reader.level(0)?;
    if !reader.rest.is_empty() {
        return None;
    }
    if reader.elements.is_empty() {
        // `{}`; `{{}}` is an error in some versions and empty in others.
        let plain = bounds.is_none() && reader.lengths.len() == 1;
        return plain.then(|| Array::flat(Vec::new()));
    }
    let lengths: Vec<usize> = reader.lengths.iter().copied().collect::<Option<_>>()?;
    let dimensions = match bounds {
        None => lengths.iter().map(|length| Dimension { length: *length, lower: 1 }).collect(),
        Some(bounds) => {
            let same = bounds.iter().map(|one| one.length).eq(lengths.iter().copied());
            same.then_some(bounds)?
        }
    };
    Some(Array { dimensions, elements: reader.elements })
}

/// `[0:1][2:3]`.
fn read_bounds(text: &str) -> Option<Vec<Dimension>> {
    let mut bounds = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (one, after) = rest.strip_prefix('[')?.split_once(']')?;
        let (lower, upper) = one.split_once(':').unwrap_or(("1", one));
        let (lower, upper): (i32, i32) = (lower.parse().ok()?, upper.parse().ok()?);
        let length = i64::from(upper) - i64::from(lower) + 1;
        bounds.push(Dimension { length: usize::try_from(length).ok()?, lower });
        rest = after;
    }
    (bounds.len() <= DIMENSIONS_MAX).then_some(bounds)
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(crate::decimal::is_c_space);
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// One pair of braces; its length must be that of its siblings.
    fn level(&mut self, depth: usize) -> Option<()> {
        if depth == DIMENSIONS_MAX || !self.take('{') {
            return None;
        }
        if self.lengths.len() == depth {
            self.lengths.push(None);
        }
        let mut length = 0;
        if !self.take('}') {
            loop {
                self.skip_blanks();
                if self.rest.starts_with('{') {
                    self.level(depth + 1)?;
                } else {
                    if self.depth.is_some_and(|found| found != depth) {
                        return None;
                    }
                    self.depth = Some(depth);
                    self.item()?;
                }
                length += 1;
                if self.take('}') {
                    break;
                }
                if !self.take(',') {
                    return None;
                }
            }
        }
        match self.lengths[depth] {
            Some(found) if found != length => return None,
            _ => self.lengths[depth] = Some(length),
        }
        Some(())
    }

    fn item(&mut self) -> Option<()> {
        let (text, quoted) = if self.rest.starts_with('"') { self.quoted()? } else { self.bare()? };
        if !quoted && text.is_empty() {
            return None;
        }
        let value = if !quoted && text.eq_ignore_ascii_case("null") {
            None
        } else {
            Some(read_element(self.element, &text)?)
        };
        self.elements.push(value);
        Some(())
    }

    fn quoted(&mut self) -> Option<(String, bool)> {
        let mut text = String::new();
        let mut rest = self.rest[1..].chars();
        loop {
            match rest.next()? {
                '"' => break,
                '\\' => text.push(rest.next()?),
                other => text.push(other),
            }
        }
        self.rest = rest.as_str();
        Some((text, true))
    }

    fn bare(&mut self) -> Option<(String, bool)> {
        let mut text = String::new();
        let mut rest = self.rest.chars();
        // Where blanks at the end begin; an escaped blank is none of them.
        let mut kept = 0;
        let mut escaped = false;
        loop {
            match rest.clone().next()? {
                ',' | '}' => break,
                '{' | '"' => return None,
                '\\' => {
                    rest.next();
                    text.push(rest.next()?);
                    kept = text.len();
                    escaped = true;
                    continue;
                }
                other => {
                    text.push(other);
                    if !crate::decimal::is_c_space(other) {
                        kept = text.len();
                    }
                }
            }
            rest.next();
        }
        self.rest = rest.as_str();
        text.truncate(kept);
        Some((text, escaped))
    }
}

/// Prints an array.
pub(super) fn write(element: &DataType, array: &Array) -> String {
    if array.dimensions.is_empty() {
        return "{}".to_owned();
    }
    let mut text = String::new();
    if array.dimensions.iter().any(|one| one.lower != 1) {
        for one in &array.dimensions {
            let upper = i64::from(one.lower) + one.length as i64 - 1;
            text += &format!("[{}:{upper}]", one.lower);
        }
        text.push('=');
    }
    let mut elements = array.elements.iter();
    write_level(element, &array.dimensions, &mut elements, &mut text);
    text
}

fn write_level<'a>(
    element: &DataType,
    dimensions: &[Dimension],
    elements: &mut impl Iterator<Item = &'a Option<crate::datum::Datum>>,
    text: &mut String,
) {
    let Some((first, rest)) = dimensions.split_first() else {
        match elements.next() {
            Some(Some(datum)) => write_item(&output(element, datum), text),
            _ => *text += "NULL",
        }
        return;
    };
    text.push('{');
    for at in 0..first.length {
        *text += if at > 0 { "," } else { "" };
        write_level(element, rest, elements, text);
    }
    text.push('}');
}

fn write_item(item: &str, text: &mut String) {
    let special =
        |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || crate::decimal::is_c_space(c);
    if !item.is_empty() && !item.eq_ignore_ascii_case("null") && !item.contains(special) {
        *text += item;
        return;
    }
    text.push('"');
    for c in item.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}
