//! `U&'…'` and `U&"…"`, with their UESCAPE.
//!
//! *Enters*: the pieces that text was cut into. *Leaves*: one token and what follows it.
//! *Invariant*: `U&` begins such a token where Postgres' lexer says so: the letter is a word of its own,
//! and no blank is on either side of `&`.

use sqlparser::tokenizer::Token as Cut;

use super::{Piece, Token, token};
use crate::WhereError;

/// The token that begins here and the pieces behind it; `None` where none of these begins.
pub(super) fn token_at<'p, 'a>(
    pieces: &'p [Piece<'a>],
) -> Result<Option<(Token, &'p [Piece<'a>])>, WhereError> {
    let [letter, and, body, rest @ ..] = pieces else { return Ok(None) };
    let quote = match &body.cut {
        Cut::SingleQuotedString(_) => '\'',
        Cut::Word(word) if word.quote_style == Some('"') => '"',
        _ => return Ok(None),
    };
    if !matches!(letter.text, "U" | "u") || and.text != "&" {
        return Ok(None);
    }
    let (escape, rest) = match escape(rest)? {
        Some((escape, rest)) => (escape, rest),
        None => ('\\', rest),
    };
    let invalid = |what: &str| WhereError::at(letter.at, what);
    let inner = body.text.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
    let inner = inner.ok_or_else(|| invalid("invalid Unicode escape"))?;
    let inner = inner.replace(&format!("{quote}{quote}"), &quote.to_string());
    let text = unescape(&inner, escape).map_err(invalid)?;
    if quote == '\'' {
        return Ok(Some((Token::Text(text), rest)));
    }
    if text.is_empty() {
        return Err(invalid("zero-length delimited identifier"));
    }
    Ok(Some((Token::Quoted(text), rest)))
}

/// The character that UESCAPE names, if that follows.
fn escape<'p, 'a>(pieces: &'p [Piece<'a>]) -> Result<Option<(char, &'p [Piece<'a>])>, WhereError> {
    let Some((word, rest)) = past_blanks(pieces)?.split_first() else { return Ok(None) };
    if !word.text.eq_ignore_ascii_case("uescape") {
        return Ok(None);
    }
    let simple = || WhereError::at(word.at, "UESCAPE must be followed by a simple string literal");
    let (value, rest) = past_blanks(rest)?.split_first().ok_or_else(simple)?;
    let Token::Text(text) = token(value)? else { return Err(simple()) };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) if may_escape(one) => Ok(Some((one, rest))),
        _ => Err(WhereError::at(value.at, "invalid Unicode escape character")),
    }
}

fn may_escape(c: char) -> bool {
    let blank = matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{C}');
    c.is_ascii() && !blank && !c.is_ascii_hexdigit() && !matches!(c, '+' | '\'' | '"')
}

fn past_blanks<'p, 'a>(mut pieces: &'p [Piece<'a>]) -> Result<&'p [Piece<'a>], WhereError> {
    while let Some((piece, rest)) = pieces.split_first()
        && let Cut::Whitespace(blank) = &piece.cut
    {
        super::check_blank(piece, blank)?;
        pieces = rest;
    }
    Ok(pieces)
}

/// Reads four digits behind the escape, six behind it and `+`, and the escape itself written twice.
fn unescape(inner: &str, escape: char) -> Result<String, &'static str> {
    const INVALID: &str = "invalid Unicode escape";
    let mut text = String::with_capacity(inner.len());
    let mut halves = Halves::default();
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != escape || rest.starts_with(escape) {
            halves.end()?;
            text.push(c);
            rest = if c == escape { &rest[1..] } else { rest };
            continue;
        }
        let (from, length) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
        let digits = rest.get(from..from + length).ok_or(INVALID)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(INVALID);
        }
        rest = &rest[from + length..];
        text.extend(halves.next(u32::from_str_radix(digits, 16).map_err(|_| INVALID)?)?);
    }
    halves.end()?;
    Ok(text)
}

/// The first half of a surrogate pair, while the second one is waited for.
#[derive(Default)]
struct Halves(Option<u32>);

impl Halves {
    const PAIR: &'static str = "invalid Unicode surrogate pair";

    /// The character that a number is, or with the number before it; `None` after a first half.
    fn next(&mut self, number: u32) -> Result<Option<char>, &'static str> {
        let whole = match (self.0.take(), number) {
            (Some(first), 0xDC00..=0xDFFF) => 0x1_0000 + ((first & 0x3FF) << 10) + (number & 0x3FF),
            (Some(_), _) | (None, 0xDC00..=0xDFFF) => return Err(Halves::PAIR),
            (None, 0xD800..=0xDBFF) => {
                self.0 = Some(number);
                return Ok(None);
            }
            (None, _) => number,
        };
        let character = char::from_u32(whole).filter(|c| *c != '\0');
        character.map(Some).ok_or("invalid Unicode escape value")
    }

    /// Whatever is no second half may only come when none is waited for.
    fn end(&self) -> Result<(), &'static str> {
        if self.0.is_some() { Err(Halves::PAIR) } else { Ok(()) }
    }
}
