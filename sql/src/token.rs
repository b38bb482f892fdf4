//! Text into tokens, with Postgres' lexical rules.
//!
//! *Enters*: the user's text. *Leaves*: tokens, each with its place in characters.
//! *Invariant*: a token means to Postgres what it means here.
//!
//! `sqlparser`'s tokenizer does the cutting; every token is then checked against the piece of text
//! it was cut from, because dialects differ exactly here (`==`, `<->`, `0x1F`, `$1AND`, blanks
//! outside ASCII).

use sqlparser::tokenizer::{Location, Token as Cut, Tokenizer, Whitespace};

use crate::WhereError;

mod dialect;
mod unicode;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An unquoted word, folded to lower case: a keyword or a name.
    Word(String),
    /// A quoted name.
    Quoted(String),
    /// Digits with an optional fraction and exponent, no sign.
    Number(String),
    /// A string constant.
    Text(String),
    /// A constant string of bits.
    Bits(String),
    /// `$n`, from 1.
    Parameter(usize),
    /// An operator or punctuation.
    Symbol(String),
}

/// A token and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    /// Character index.
    pub(crate) at: usize,
}

/// A piece of text as `sqlparser` cut it.
struct Piece<'a> {
    cut: Cut,
    text: &'a str,
    at: usize,
}

/// Cuts text into tokens.
pub(crate) fn tokenize(text: &str) -> Result<Vec<Lexeme>, WhereError> {
    if let Some(at) = text.chars().position(|c| c == '\0') {
        return Err(WhereError::at(at, "the character U+0000 does not exist in Postgres"));
    }
    let pieces = cut(text)?;
    let mut lexemes: Vec<Lexeme> = Vec::with_capacity(pieces.len());
    let mut rest = pieces.as_slice();
    let mut number_before = false;
    while let Some((piece, tail)) = rest.split_first() {
        rest = tail;
        if let Cut::Whitespace(blank) = &piece.cut {
            check_blank(piece, blank)?;
            number_before = false;
            continue;
        }
        if is_operator(piece.text) {
            let more = rest.iter().take_while(|next| is_operator(next.text)).count();
            let run: String = piece
                .text
                .chars()
                .chain(rest[..more].iter().flat_map(|p| p.text.chars()))
                .collect();
            split_operators(&run, piece.at, &mut lexemes)?;
            rest = &rest[more..];
            number_before = false;
            continue;
        }
        let escaped = unicode::token_at(&pieces[pieces.len() - rest.len() - 1..])?;
        if number_before && escaped.is_some() {
            return Err(WhereError::at(piece.at, "trailing junk after numeric literal"));
        }
        if let Some((token, tail)) = escaped {
            rest = tail;
            lexemes.push(Lexeme { token, at: piece.at });
            continue;
        }
        let token = token(piece)?;
        if number_before && matches!(token, Token::Word(_) | Token::Number(_) | Token::Parameter(_))
        {
            return Err(WhereError::at(piece.at, "trailing junk after numeric literal"));
        }
        number_before = matches!(token, Token::Number(_) | Token::Parameter(_));
        lexemes.push(Lexeme { token, at: piece.at });
    }
    Ok(lexemes)
}

fn cut(text: &str) -> Result<Vec<Piece<'_>>, WhereError> {
    let places = Places::new(text);
    let cuts = Tokenizer::new(&dialect::Plain, text)
        .tokenize_with_location()
        .map_err(|error| WhereError::at(places.character(error.location), error.message))?;
    let mut pieces = Vec::with_capacity(cuts.len());
    let mut end = 0;
    for cut in cuts {
        let from = places.character(cut.span.start);
        let to = places.character(cut.span.end);
        let piece = text.get(places.byte(from)..places.byte(to)).unwrap_or_default();
        if from != end || piece.is_empty() {
            return Err(WhereError::at(from, "syntax error"));
        }
        end = to;
        pieces.push(Piece { cut: cut.token, text: piece, at: from });
    }
    Ok(pieces)
}

/// From lines and columns to characters, from characters to bytes.
struct Places {
    /// The character each line begins with.
    lines: Vec<usize>,
    /// The byte each character begins with, and the end.
    bytes: Vec<usize>,
}

impl Places {
    fn new(text: &str) -> Places {
        let mut places = Places { lines: vec![0], bytes: Vec::with_capacity(text.len() + 1) };
        for (character, (byte, c)) in text.char_indices().enumerate() {
            places.bytes.push(byte);
            if c == '\n' {
                places.lines.push(character + 1);
            }
        }
        places.bytes.push(text.len());
        places
    }

    fn character(&self, location: Location) -> usize {
        let at = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = self.lines.get(at(location.line)).copied().unwrap_or_default();
        line.saturating_add(at(location.column)).min(self.bytes.len() - 1)
    }

    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).copied().unwrap_or_default()
    }
}

/// Postgres' blanks are ASCII; other blank characters are letters to it.
fn check_blank(piece: &Piece<'_>, blank: &Whitespace) -> Result<(), WhereError> {
    let blank_to_postgres = match blank {
        Whitespace::SingleLineComment { .. } => piece.text.starts_with("--"),
        Whitespace::MultiLineComment(_) => piece.text.starts_with("/*"),
        _ => piece.text.chars().all(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{C}')),
    };
    if blank_to_postgres { Ok(()) } else { Err(unexpected(piece)) }
}

fn unexpected(piece: &Piece<'_>) -> WhereError {
    WhereError::at(piece.at, format!("syntax error at or near \"{}\"", piece.text))
}

fn token(piece: &Piece<'_>) -> Result<Token, WhereError> {
    let refuse = |what: &str| Err(WhereError::at(piece.at, format!("{what} are not supported")));
    match &piece.cut {
        Cut::Word(word) if word.quote_style == Some('"') => {
            if word.value.is_empty() {
                return Err(WhereError::at(piece.at, "zero-length delimited identifier"));
            }
            Ok(Token::Quoted(word.value.clone()))
        }
        Cut::Word(word) if word.quote_style.is_none() && is_name(&word.value) => {
            Ok(Token::Word(word.value.to_ascii_lowercase()))
        }
        Cut::Number(_, _) if is_number(piece.text) => Ok(Token::Number(piece.text.to_owned())),
        Cut::Number(_, _) => Err(WhereError::at(piece.at, "trailing junk after numeric literal")),
        Cut::SingleQuotedString(value) => Ok(Token::Text(value.clone())),
        Cut::EscapedStringLiteral(_) => unescape(piece).map(Token::Text),
        Cut::DollarQuotedString(quoted) => {
            let tag = quoted.tag.as_deref().unwrap_or_default();
            let whole = format!("${tag}${}${tag}$", quoted.value);
            let named = !tag.starts_with(|c: char| c.is_ascii_digit());
            if named && whole == piece.text {
                Ok(Token::Text(quoted.value.clone()))
            } else {
                Err(unexpected(piece))
            }
        }
        Cut::Placeholder(name) => parameter(name).map(Token::Parameter).ok_or_else(|| {
            WhereError::at(piece.at, format!("{name} is not a parameter; parameters are $1, $2, …"))
        }),
        Cut::HexStringLiteral(_) | Cut::SingleQuotedByteStringLiteral(_) => bits(piece),
        Cut::NationalStringLiteral(_) => refuse("national strings"),
        _ if matches!(piece.text, "," | "(" | ")" | "." | "::" | ";" | "[" | "]" | ":" | ":=") => {
            Ok(Token::Symbol(piece.text.to_owned()))
        }
        _ => Err(unexpected(piece)),
    }
}

/// `B'0101'`, `X'5'`.
fn bits(piece: &Piece<'_>) -> Result<Token, WhereError> {
    let digits = piece.text.get(2..piece.text.len() - 1).unwrap_or_default();
    let quoted = piece.text.get(1..2) == Some("'") && piece.text.ends_with('\'');
    let binary = piece.text.starts_with(['b', 'B']) && digits.bytes().all(|c| b"01".contains(&c));
    let hexadecimal =
        piece.text.starts_with(['x', 'X']) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let four = |c: char| format!("{:04b}", c.to_digit(16).unwrap_or_default());
    match (binary && quoted, hexadecimal && quoted) {
        (true, _) => Ok(Token::Bits(digits.to_owned())),
        (_, true) => Ok(Token::Bits(digits.chars().map(four).collect())),
        _ => Err(unexpected(piece)),
    }
}

fn is_name(word: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    word.starts_with(starts) && word.chars().all(|c| starts(c) || c.is_ascii_digit() || c == '$')
}

/// `12`, `1.5`, `1.`, `.5`, each with an optional exponent.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let bare = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !bare.is_empty() && digits(bare)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_ok && digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0
}

fn parameter(name: &str) -> Option<usize> {
    let digits = name.strip_prefix('$')?;
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if valid { digits.parse().ok() } else { None }
}

/// The value of `E'…'`, by Postgres' own rules.
fn unescape(piece: &Piece<'_>) -> Result<String, WhereError> {
    let refuse = || WhereError::at(piece.at, "invalid escape string");
    let inner = (piece.text.get(2..))
        .and_then(|rest| rest.strip_suffix('\''))
        .filter(|_| piece.text[1..].starts_with('\''))
        .ok_or_else(refuse)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        let literal = match c {
            '\\' => unescape_one(&mut rest).ok_or_else(refuse)?,
            // The tokenizer ended the string at a single quote, so these come in pairs.
            '\'' if rest.next() == Some('\'') => Escaped::Character('\''),
            '\'' => return Err(refuse()),
            other => Escaped::Character(other),
        };
        match literal {
            Escaped::Byte(byte) => bytes.push(byte),
            Escaped::Character(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse())?;
    if text.contains('\0') { Err(refuse()) } else { Ok(text) }
}

enum Escaped {
    /// A byte of the encoding.
    Byte(u8),
    Character(char),
}

fn unescape_one(rest: &mut std::str::Chars<'_>) -> Option<Escaped> {
    let digits = |rest: &mut std::str::Chars<'_>, radix: u32, least: usize, most: usize| {
        let count = rest.as_str().chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let number = u32::from_str_radix(&rest.as_str()[..count], radix).ok();
        *rest = rest.as_str()[count..].chars();
        number.filter(|_| count >= least)
    };
    Some(match rest.clone().next()? {
        '0'..='7' => {
            // Three octal digits reach 511; Postgres keeps the low byte.
            Escaped::Byte((digits(rest, 8, 1, 3)? & 0xFF) as u8)
        }
        escape => {
            rest.next();
            match escape {
                'b' => Escaped::Character('\u{8}'),
                'f' => Escaped::Character('\u{C}'),
                'n' => Escaped::Character('\n'),
                'r' => Escaped::Character('\r'),
                't' => Escaped::Character('\t'),
                'x' if rest.as_str().starts_with(|c: char| c.is_ascii_hexdigit()) => {
                    Escaped::Byte(digits(rest, 16, 1, 2)? as u8)
                }
                'u' => Escaped::Character(char::from_u32(digits(rest, 16, 4, 4)?)?),
                'U' => Escaped::Character(char::from_u32(digits(rest, 16, 8, 8)?)?),
                other => Escaped::Character(other),
            }
        }
    })
}

const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

fn is_operator(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| OPERATOR_CHARACTERS.contains(c))
}

/// Cuts a run of operator characters as Postgres does: the longest operator, which ends in a sign
/// only if it holds one of the characters that no SQL operator has.
fn split_operators(run: &str, at: usize, lexemes: &mut Vec<Lexeme>) -> Result<(), WhereError> {
    if run.contains("--") || run.contains("/*") {
        return Err(WhereError::at(at, "a comment needs a blank between it and an operator"));
    }
    let foreign = run.contains(|c| "~!@#%^&|`?".contains(c));
    let length = if foreign { run.len() } else { run.trim_end_matches(['+', '-']).len().max(1) };
    let (first, signs) = run.split_at(length);
    let mut push = |symbol: &str, at: usize| {
        let symbol = if symbol == "!=" { "<>" } else { symbol };
        lexemes.push(Lexeme { token: Token::Symbol(symbol.to_owned()), at });
    };
    push(first, at);
    // What is left are signs, each by itself.
    (length..)
        .zip(signs.split_inclusive(['+', '-']))
        .for_each(|(place, sign)| push(sign, at + place));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let shown = |lexeme: Lexeme| match lexeme.token {
            Token::Word(text) | Token::Number(text) | Token::Symbol(text) => text,
            Token::Quoted(text) => format!("\"{text}\""),
            Token::Text(text) | Token::Bits(text) => format!("'{text}'"),
            Token::Parameter(number) => format!("${number}"),
        };
        tokenize(text).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn cuts_as_postgres_does() {
        assert_eq!(texts("A<-1"), ["a", "<", "-", "1"]);
        assert_eq!(texts("a<>-.5 != 1"), ["a", "<>", "-", ".5", "<>", "1"]);
        // `!` makes the sign part of the operator.
        assert_eq!(texts("a!=-1"), ["a", "!=-", "1"]);
        assert_eq!(texts("a==b"), ["a", "==", "b"]);
        assert_eq!(texts("a <=> b"), ["a", "<=>", "b"]);
        assert_eq!(
            texts("a&>b &> 'c'&<\"d\"-|-e"),
            ["a", "&>", "b", "&>", "'c'", "&<", "\"d\"", "-|-", "e"]
        );
        assert_eq!(texts("a @-@ b ?-| c |>> d"), ["a", "@-@", "b", "?-|", "c", "|>>", "d"]);
        assert_eq!(texts("a->-1"), ["a", "->", "-", "1"]);
        assert_eq!(texts("$12::int4[]"), ["$12", "::", "int4", "[", "]"]);
        assert_eq!(
            texts("\"A \"\"b\" -- x\n/* /* */ */ = 'it''s\\'"),
            ["\"A \"b\"", "=", "'it's\\'"]
        );
        assert_eq!(texts(r"E'\'\\n\n\x41\101\u00e9\q'''"), ["'''\\n\nAAéq''"[1..].to_owned()]);
        assert_eq!(
            texts(r"U&'d\0061t\+000061 ''\\é\+01f600' u&''"),
            [r"'data '\é😀'".to_owned(), "''".to_owned()]
        );
        assert_eq!(
            texts(r"U&'d!0061!!\!+000061' /* x */ uEscape '!' U&'\d83d\+00de00'"),
            [r"'da!\a'", "'😀'"]
        );
        assert_eq!(texts("U&\"d$0061\"\"\" UESCAPE -- y\nE'$'"), ["\"da\"\""]);
        let apart = texts("U &'a' U& 'b' xU&'c'");
        assert_eq!(apart, ["u", "&", "'a'", "u", "&", "'b'", "xu", "&", "'c'"]);
        assert_eq!(texts("-- a\rb"), ["b"]);
        assert_eq!(texts("$$a'b$$ $q$x$q$"), ["'a'b'", "'x'"]);
        assert_eq!(texts("1.5e-3 5. 007"), ["1.5e-3", "5.", "007"]);
        assert_eq!(texts("süß = '\u{A0}'"), ["süß", "=", "'\u{A0}'"]);
    }

    #[test]
    fn refuses_what_postgres_reads_differently() {
        for text in [
            "$1AND b",
            "$0",
            "$foo",
            "0x1F",
            "1_000",
            "1a",
            "$1 $",
            "\"\"",
            "'open",
            "\"open",
            r"U&'\00'",
            r"U&'\d83d'",
            r"U&'\+110000'",
            r"U&'\0000'",
            r"U&'\de00\d83d'",
            r"U&'\d83dx'",
            r"U&'\d83d\\'",
            r"U&'\d83d\0061'",
            r"E'\ud83d\ude00'",
            r"U&'a' UESCAPE",
            r"U&'a' UESCAPE 'ab'",
            r"U&'a' UESCAPE '+'",
            r"U&'a' UESCAPE 'f'",
            r"U&'a' UESCAPE ' '",
            r"U&'a' UESCAPE 'é'",
            r"U&'a' UESCAPE U&'!'",
            r"U&'!0061' UESCAPE $1",
            "U&\"\"",
            "1U&'a'",
            "$1U&'a'",
            "X'4g'",
            "B'2'",
            "B\"1\"",
            "B'1\\'",
            "N'a'",
            "$1$x$1$",
            "{",
            "\\",
            "/* open",
            "a =--\n1",
            r"E'\u00'",
            r"E'\xff'",
            "a\0",
            "1e",
        ] {
            assert!(tokenize(text).is_err(), "{text:?} {:?}", tokenize(text));
        }
    }

    #[test]
    fn counts_characters() {
        let lexemes = tokenize("é =\r\n  ü").unwrap();
        assert_eq!(lexemes.iter().map(|l| l.at).collect::<Vec<_>>(), [0, 2, 7]);
    }
}
