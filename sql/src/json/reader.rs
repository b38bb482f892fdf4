//! JSON text into values, by Postgres' rules.

use super::Json;
use crate::numeric::Numeric;

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

/// Reads one value and nothing else.
pub(super) fn read(text: &str, depth: usize) -> Option<Json> {
    let mut reader = Reader { rest: text, depth };
    let value = reader.value()?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(value)
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Json> {
        self.skip_blanks();
        match self.rest.bytes().next()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.text().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "null" => Some(Json::Null),
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ => None,
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Json>) -> Option<Json> {
        self.depth = self.depth.checked_sub(1)?;
        self.rest = &self.rest[1..];
        let value = read(self);
        self.depth += 1;
        value
    }

    fn array(&mut self) -> Option<Json> {
        let mut elements = Vec::new();
        if self.take("]") {
            return Some(Json::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            if self.take("]") {
                return Some(Json::Array(elements));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn object(&mut self) -> Option<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        if self.take("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            let key = self.text()?;
            if !self.take(":") {
                return None;
            }
            members.push((key, self.value()?));
            if self.take("}") {
                break;
            }
            if !self.take(",") {
                return None;
            }
        }
        Some(Json::object(members))
    }

    fn number(&mut self) -> Option<Json> {
        let end = (self.rest)
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
            None => (unsigned, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let sound = digits(whole)
            && (whole.len() == 1 || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
        if !sound {
            return None;
        }
        Numeric::read(text).ok().map(Json::Number)
    }

    fn text(&mut self) -> Option<String> {
        let mut rest = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match rest.next()? {
                '"' => break,
                '\\' => text.push(escape(&mut rest)?),
                control if control < ' ' => return None,
                other => text.push(other),
            }
        }
        self.rest = rest.as_str();
        Some(text)
    }
}

/// What stands behind a backslash.
pub(super) fn escape(rest: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{C}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        same @ ('"' | '\\' | '/') => same,
        'u' => {
            let first = hexadecimal(rest)?;
            let code = match first {
                0xD800..=0xDBFF => {
                    if rest.next()? != '\\' || rest.next()? != 'u' {
                        return None;
                    }
                    let second = hexadecimal(rest)?;
                    if !(0xDC00..=0xDFFF).contains(&second) {
                        return None;
                    }
                    0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                }
                other => other,
            };
            // Postgres has no U+0000.
            char::from_u32(code).filter(|c| *c != '\0')?
        }
        _ => return None,
    })
}

fn hexadecimal(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + rest.next()?.to_digit(16)?;
    }
    Some(code)
}
