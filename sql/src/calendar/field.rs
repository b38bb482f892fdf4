//! Text of a date or a time into fields: digits, words, and what stands between them.
//!
//! *Enters*: text. *Leaves*: fields in lower case, by the kinds that Postgres tells apart before it
//! looks at what they mean.

use super::CalendarError;
use crate::decimal::is_c_space;

/// Fields of one text (Postgres' `MAXDATEFIELDS`).
const FIELDS_MAX: usize = 25;

/// What a field looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// Digits, with a point at most.
    Number,
    /// Digits or words with delimiters between them; names of zones are of this kind too.
    Date,
    /// Digits with colons.
    Time,
    /// Letters.
    Word,
    /// A sign and letters.
    SignedWord,
    /// A sign and digits.
    Offset,
}

/// A piece of text that means one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) kind: FieldKind,
    pub(super) text: String,
}

/// Cuts text into fields. `room` is how many bytes they and a byte after each may take: Postgres
/// refuses more.
pub(super) fn fields(text: &str, room: usize) -> Result<Vec<Field>, CalendarError> {
    let mut scanner = Scanner { rest: text };
    let mut fields = Vec::new();
    let mut used = 0;
    while let Some(c) = scanner.peek() {
        if is_c_space(c) {
            scanner.skip();
            continue;
        }
        if fields.len() >= FIELDS_MAX {
            return Err(CalendarError::Syntax);
        }
        let field = match c {
            '0'..='9' => scanner.digits_first(),
            '.' => {
                let text = scanner.take(1) + &scanner.digits();
                Field { kind: FieldKind::Number, text }
            }
            'a'..='z' | 'A'..='Z' => scanner.letters_first(),
            '+' | '-' => scanner.sign_first()?,
            // Other punctuation stands between fields and means nothing.
            c if c.is_ascii_punctuation() => {
                scanner.skip();
                continue;
            }
            _ => return Err(CalendarError::Syntax),
        };
        used += field.text.len();
        if used >= room {
            return Err(CalendarError::Syntax);
        }
        used += 1;
        fields.push(field);
    }
    Ok(fields)
}

struct Scanner<'t> {
    rest: &'t str,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn take(&mut self, bytes: usize) -> String {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken.to_ascii_lowercase()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn digits(&mut self) -> String {
        self.take_while(|c| c.is_ascii_digit())
    }

    fn is_next(&self, wanted: impl Fn(char) -> bool) -> bool {
        self.peek().is_some_and(wanted)
    }

    fn digits_first(&mut self) -> Field {
        let mut text = self.digits();
        let kind = match self.peek() {
            Some(':') => {
                text += &self.take_while(|c| c.is_ascii_digit() || c == ':' || c == '.');
                FieldKind::Time
            }
            Some(delimiter @ ('-' | '/' | '.')) => {
                text += &self.take(1);
                if self.is_next(|c| c.is_ascii_digit()) {
                    text += &self.digits();
                    // Three parts only if both delimiters are the same.
                    if self.is_next(|c| c == delimiter) {
                        text += &self.take_while(|c| c.is_ascii_digit() || c == delimiter);
                        FieldKind::Date
                    } else if delimiter == '.' {
                        FieldKind::Number
                    } else {
                        FieldKind::Date
                    }
                } else {
                    text += &self.take_while(|c| c.is_ascii_alphanumeric() || c == delimiter);
                    FieldKind::Date
                }
            }
            _ => FieldKind::Number,
        };
        Field { kind, text }
    }

    fn letters_first(&mut self) -> Field {
        let mut text = self.take_while(|c| c.is_ascii_alphabetic());
        let goes_on = match self.peek() {
            Some('-' | '/' | '.') => true,
            // After a word of its own a digit begins the next field.
            Some(c) if c == '+' || c.is_ascii_digit() => super::word::word(&text).is_none(),
            _ => false,
        };
        if !goes_on {
            return Field { kind: FieldKind::Word, text };
        }
        text += &self.take_while(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '/' | '_' | '.' | ':')
        });
        Field { kind: FieldKind::Date, text }
    }

    fn sign_first(&mut self) -> Result<Field, CalendarError> {
        let sign = self.take(1);
        self.rest = self.rest.trim_start_matches(is_c_space);
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                let text = self.take_while(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-'));
                Ok(Field { kind: FieldKind::Offset, text: sign + &text })
            }
            Some(c) if c.is_ascii_alphabetic() => {
                let text = self.take_while(|c| c.is_ascii_alphabetic());
                Ok(Field { kind: FieldKind::SignedWord, text: sign + &text })
            }
            _ => Err(CalendarError::Syntax),
        }
    }
}
