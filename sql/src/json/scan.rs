//! Questions about `jsonb` that its text answers, without a value of it being made.
//!
//! *Enters*: a column's text. *Leaves*: the answer, or `None` for text in a form that only the whole
//! reader knows: escapes, exponents, deep nesting, no JSON at all.
//! *Invariant*: an answer is that of the value, and all of the text has been seen to be JSON.

use crate::decimal::Decimal;

use super::Json;

/// Levels of nesting; what is deeper is read whole.
const NESTING_MAX: usize = 32;
/// Members or elements of one level of what is looked for: one bit each.
const PARTS_MAX: usize = 64;
/// Bytes of a number: no number of so few is out of `numeric`'s range.
const NUMBER_BYTES_MAX: usize = 64;

/// What a column shall contain.
#[derive(Debug)]
pub(crate) enum Part {
    Null,
    Bool(bool),
    /// In plain digits.
    Number(Box<str>),
    Text(Box<str>),
    Array(Vec<Part>),
    Object(Vec<(Box<str>, Part)>),
}

impl From<&Json> for Part {
    fn from(json: &Json) -> Part {
        match json {
            Json::Null => Part::Null,
            Json::Bool(value) => Part::Bool(*value),
            Json::Number(number) => Part::Number(number.to_string().into()),
            Json::Text(text) => Part::Text(text.as_str().into()),
            Json::Array(elements) => Part::Array(elements.iter().map(Part::from).collect()),
            Json::Object(members) => {
                let part = |(key, value): &(String, Json)| (key.as_str().into(), value.into());
                Part::Object(members.iter().map(part).collect())
            }
        }
    }
}

/// What `->>` finds.
pub(crate) enum Found<'a> {
    Nothing,
    Text(&'a [u8]),
}

/// `text @> part`.
pub(crate) fn contains(text: &[u8], part: &Part) -> Option<bool> {
    let mut scanner = Scanner { rest: text, depth: NESTING_MAX };
    // At the top, an array holds a bare scalar too.
    if scanner.peek()? == b'[' && !matches!(part, Part::Array(_) | Part::Object(_)) {
        return None;
    }
    let found = scanner.holds(part)?;
    scanner.is_done().then_some(found)
}

/// `text ->> key`.
pub(crate) fn member<'a>(text: &'a [u8], key: &[u8]) -> Option<Found<'a>> {
    let mut scanner = Scanner { rest: text, depth: NESTING_MAX };
    if scanner.peek()? != b'{' {
        return None;
    }
    let mut found = Found::Nothing;
    scanner.object(|scanner, name| {
        if name != key {
            return scanner.skip();
        }
        found = match scanner.scalar()? {
            Scalar::Null => Found::Nothing,
            Scalar::Bool(value) => Found::Text(if value { b"true" } else { b"false" }),
            Scalar::Number(text) | Scalar::Text(text) => Found::Text(text),
        };
        Some(())
    })?;
    scanner.is_done().then_some(found)
}

enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(&'a [u8]),
    Text(&'a [u8]),
}

impl Scalar<'_> {
    fn is(&self, part: &Part) -> Option<bool> {
        Some(match (self, part) {
            (Scalar::Null, Part::Null) => true,
            (Scalar::Bool(value), Part::Bool(part)) => value == part,
            (Scalar::Text(text), Part::Text(part)) => *text == part.as_bytes(),
            (Scalar::Number(text), Part::Number(part)) => {
                Decimal::read(text)?.compare(&Decimal::read(part.as_bytes())?).is_eq()
            }
            _ => false,
        })
    }
}

#[derive(Clone)]
struct Scanner<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    fn is_done(&mut self) -> bool {
        self.peek().is_none()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.rest = &self.rest[1..];
        Some(())
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let end = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F))?;
        let (text, after) = self.rest.split_at(end);
        self.rest = after.strip_prefix(b"\"")?;
        Some(text)
    }

    fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.peek()? {
            b'"' => self.text().map(Scalar::Text),
            b'-' | b'0'..=b'9' => self.number().map(Scalar::Number),
            b'n' => self.word(b"null", Scalar::Null),
            b't' => self.word(b"true", Scalar::Bool(true)),
            b'f' => self.word(b"false", Scalar::Bool(false)),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], scalar: Scalar<'a>) -> Option<Scalar<'a>> {
        self.rest = self.rest.strip_prefix(word)?;
        (!self.rest.first().is_some_and(u8::is_ascii_alphabetic)).then_some(scalar)
    }

    /// Digits as `jsonb` prints them: no exponent, no zero in front, no negative zero.
    fn number(&mut self) -> Option<&'a [u8]> {
        let end = self
            .rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        let (text, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = after;
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fraction = match &digits[whole..] {
            [] => true,
            [b'.', places @ ..] => !places.is_empty() && places.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let zero_first = digits.first() == Some(&b'0') && (whole > 1 || digits.len() < text.len());
        (whole > 0 && fraction && !zero_first && text.len() <= NUMBER_BYTES_MAX).then_some(text)
    }

    /// Goes through an object's members.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        self.take(b'{')?;
        if self.peek()? != b'}' {
            loop {
                let key = self.text()?;
                self.take(b':')?;
                member(self, key)?;
                if self.take(b',').is_none() {
                    break;
                }
            }
        }
        self.depth += 1;
        self.take(b'}')
    }

    /// Goes through an array's elements.
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        self.take(b'[')?;
        if self.peek()? != b']' {
            loop {
                element(self)?;
                if self.take(b',').is_none() {
                    break;
                }
            }
        }
        self.depth += 1;
        self.take(b']')
    }

    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(|scanner, _| scanner.skip()),
            b'[' => self.array(Self::skip),
            _ => self.scalar().map(|_| ()),
        }
    }

    /// Whether the next value holds a part.
    fn holds(&mut self, part: &Part) -> Option<bool> {
        match (self.peek()?, part) {
            (b'{', Part::Object(parts)) => {
                let mut missing = bits(parts.len())?;
                self.object(|scanner, key| {
                    let found = parts.iter().position(|(name, _)| name.as_bytes() == key);
                    let Some(at) = found else { return scanner.skip() };
                    // Of equal keys the last one counts.
                    let bit = 1 << at;
                    let held = scanner.holds(&parts[at].1)?;
                    missing = if held { missing & !bit } else { missing | bit };
                    Some(())
                })?;
                Some(missing == 0)
            }
            (b'[', Part::Array(parts)) => {
                let mut missing = bits(parts.len())?;
                self.array(|scanner| {
                    for (at, part) in parts.iter().enumerate() {
                        if scanner.clone().holds(part)? {
                            missing &= !(1 << at);
                        }
                    }
                    scanner.skip()
                })?;
                Some(missing == 0)
            }
            (b'{' | b'[', _) => self.skip().map(|()| false),
            _ => self.scalar()?.is(part),
        }
    }
}

/// So many ones.
fn bits(count: usize) -> Option<u64> {
    (count <= PARTS_MAX).then(|| (0..count).fold(0, |bits, at| bits | 1 << at))
}
