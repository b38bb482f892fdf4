//! Functions on `bytea`: bytes count.

use sha2::Digest;

use super::{Arguments, Call, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::like;
use crate::text_form::read_bytes;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "bit_length/1/1810" => {
            |_, list| some(Datum::Int(Arguments(list).bytes(0)?.len() as i64 * 8))
        }
        "byteapos" => |_, list| {
            let arguments = Arguments(list);
            let (whole, part) = (arguments.bytes(0)?, arguments.bytes(1)?);
            let found = memchr::memmem::find(whole, part);
            some(Datum::Int(found.map_or(0, |at| at as i64 + 1)))
        },
        "bytea_substr" | "bytea_substr_no_len" => |_, list| {
            let arguments = Arguments(list);
            let (whole, from) = (arguments.bytes(0)?, *arguments.int(1)?);
            let end = match arguments.len() {
                2 => i64::MAX,
                _ => from + length(*arguments.int(2)?)?,
            };
            bytes(part(whole, from, end))
        },
        "byteaoverlay" | "byteaoverlay_no_len" => overlay,
        "byteatrim" | "bytealtrim" | "byteartrim" => trim,
        "byteaGetByte" => |_, list| {
            let arguments = Arguments(list);
            let (whole, at) = (arguments.bytes(0)?, *arguments.int(1)?);
            let found = usize::try_from(at).ok().and_then(|at| whole.get(at));
            some(Datum::Int(i64::from(*found.ok_or(OUTSIDE)?)))
        },
        "byteaGetBit" => |_, list| {
            let arguments = Arguments(list);
            let (whole, at) = (arguments.bytes(0)?, *arguments.int(1)?);
            let byte = usize::try_from(at.div_euclid(8)).ok().and_then(|at| whole.get(at));
            some(Datum::Int(i64::from(byte.ok_or(OUTSIDE)? >> at.rem_euclid(8) & 1)))
        },
        "binary_encode" => |_, list| {
            let arguments = Arguments(list);
            let text = match Format::named(arguments.text(1)?)? {
                Format::Hex => hexadecimal(arguments.bytes(0)?),
                Format::Base64 => base64(arguments.bytes(0)?),
                Format::Escape => escaped(arguments.bytes(0)?),
            };
            some(Datum::Text(text.into()))
        },
        "binary_decode" => |_, list| {
            let arguments = Arguments(list);
            let text = arguments.text(0)?;
            bytes(&match Format::named(arguments.text(1)?)? {
                Format::Hex => read_bytes(&format!("\\x{text}")).ok_or(NOT_HEXADECIMAL)?,
                Format::Base64 => from_base64(text)?,
                Format::Escape => from_escaped(text)?,
            })
        },
        "sha224_bytea" => |_, list| bytes(&sha2::Sha224::digest(Arguments(list).bytes(0)?)),
        "sha256_bytea" => |_, list| bytes(&sha2::Sha256::digest(Arguments(list).bytes(0)?)),
        "sha384_bytea" => |_, list| bytes(&sha2::Sha384::digest(Arguments(list).bytes(0)?)),
        "sha512_bytea" => |_, list| bytes(&sha2::Sha512::digest(Arguments(list).bytes(0)?)),
        _ => return of_text(code),
    })
}

/// What is done with text as bytes, and with bytes as text.
fn of_text(code: &str) -> Option<Function> {
    Some(match code {
        "bytealike" | "byteanlike" => |call, list| {
            let arguments = Arguments(list);
            let matched = like::matches_bytes(arguments.bytes(0)?, arguments.bytes(1)?)?;
            some(Datum::Bool(matched == (call.code == "bytealike")))
        },
        "like_escape_bytea" => |_, list| {
            let arguments = Arguments(list);
            let pattern = arguments.bytes(0)?;
            match arguments.bytes(1)?[..] {
                [b'\\'] => bytes(pattern),
                [] => bytes(&like::rewrite_escape_bytes(pattern, None)),
                [escape] => bytes(&like::rewrite_escape_bytes(pattern, Some(escape))),
                _ => Err(EvaluationError::Other("invalid escape string")),
            }
        },
        "pg_convert_to" => |_, list| {
            let arguments = Arguments(list);
            is_utf8(arguments.text(1)?)?;
            bytes(arguments.text(0)?.as_bytes())
        },
        "pg_convert_from" => |_, list| {
            let arguments = Arguments(list);
            is_utf8(arguments.text(1)?)?;
            let invalid = EvaluationError::Other("invalid byte sequence for encoding \"UTF8\"");
            let text = std::str::from_utf8(arguments.bytes(0)?).ok();
            let text = text.filter(|text| !text.contains('\0')).ok_or(invalid)?;
            some(Datum::text(text))
        },
        _ => return None,
    })
}

/// What the encodings of `convert_from` and `convert_to` have to be: letters and digits count.
pub(crate) fn check_encoding(code: &str, name: Option<&str>) -> Result<(), String> {
    let converts = matches!(code, "pg_convert_to" | "pg_convert_from");
    match name.map(is_utf8) {
        _ if !converts => Ok(()),
        Some(Ok(())) => Ok(()),
        _ => {
            Err("encodings other than UTF8, and those that are no constants, are not supported"
                .into())
        }
    }
}

fn is_utf8(name: &str) -> Result<(), EvaluationError> {
    let kept: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match kept.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(EvaluationError::Other("this encoding is not supported")),
    }
}

const OUTSIDE: EvaluationError = EvaluationError::Other("index out of valid range");
const NOT_HEXADECIMAL: EvaluationError = EvaluationError::Other("invalid hexadecimal data");
const NOT_BASE64: EvaluationError = EvaluationError::Other("invalid base64 sequence");

fn bytes(bytes: &[u8]) -> Outcome {
    some(Datum::Bytes(bytes.into()))
}

/// A length that is not negative.
pub(super) fn length(length: i64) -> Result<i64, EvaluationError> {
    let refused = EvaluationError::Other("negative substring length not allowed");
    if length < 0 { Err(refused) } else { Ok(length) }
}

/// From a place on, counted from 1, to before another.
fn part(whole: &[u8], from: i64, end: i64) -> &[u8] {
    let at = |place: i64| usize::try_from(place - 1).unwrap_or(0).min(whole.len());
    let (from, end) = (at(from), at(end));
    &whole[from..end.max(from)]
}

/// From where to where a part is replaced, which is 1 or more behind `from`.
pub(super) fn replaced(list: &[Option<Datum>], own: usize) -> Result<(i64, i64), EvaluationError> {
    let arguments = Arguments(list);
    let from = *arguments.int(2)?;
    length(from - 1)?;
    let end = from + if arguments.len() > 3 { *arguments.int(3)? } else { own as i64 };
    let fits = i32::try_from(end).is_ok();
    fits.then_some((from, end)).ok_or(EvaluationError::OutOfRange("integer out of range"))
}

fn overlay(_: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (whole, new) = (arguments.bytes(0)?, arguments.bytes(1)?);
    let (from, end) = replaced(list, new.len())?;
    bytes(&[part(whole, 1, from), new, part(whole, end, i64::MAX)].concat())
}

fn trim(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (mut rest, mut set) = (&arguments.bytes(0)?[..], [false; 256]);
    arguments.bytes(1)?.iter().for_each(|byte| set[usize::from(*byte)] = true);
    while call.code != "byteartrim"
        && let [first, tail @ ..] = rest
        && set[usize::from(*first)]
    {
        rest = tail;
    }
    while call.code != "bytealtrim"
        && let [head @ .., last] = rest
        && set[usize::from(*last)]
    {
        rest = head;
    }
    bytes(rest)
}

/// How bytes are written as text.
enum Format {
    Hex,
    Base64,
    Escape,
}

impl Format {
    fn named(name: &str) -> Result<Format, EvaluationError> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "hex" => Format::Hex,
            "base64" => Format::Base64,
            "escape" => Format::Escape,
            _ => return Err(EvaluationError::Other("unrecognized encoding")),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lines of 76 characters; a full one ends also where nothing follows.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for line in bytes.chunks(57) {
        for three in line.chunks(3) {
            let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = DIGITS[(bits >> shift & 63) as usize];
                text.push(if place > three.len() { '=' } else { char::from(digit) });
            }
        }
        if line.len() == 57 {
            text.push('\n');
        }
    }
    text
}

/// Postgres' own reader, which takes more than what it writes.
fn from_base64(text: &str) -> Result<Vec<u8>, EvaluationError> {
    let (mut bytes, mut bits, mut count, mut end) = (Vec::new(), 0_u32, 0, 0);
    for byte in text.bytes().filter(|byte| !b" \t\n\r".contains(byte)) {
        let digit = match byte {
            b'=' => {
                if end == 0 {
                    end = match count {
                        2 => 1,
                        3 => 2,
                        _ => return Err(NOT_BASE64),
                    };
                }
                0
            }
            byte => DIGITS.iter().position(|digit| *digit == byte).ok_or(NOT_BASE64)?,
        };
        bits = bits << 6 | digit as u32;
        count += 1;
        if count == 4 {
            let [_, three @ ..] = bits.to_be_bytes();
            bytes.extend_from_slice(&three[..if end == 0 { 3 } else { end }]);
            (bits, count) = (0, 0);
        }
    }
    if count == 0 { Ok(bytes) } else { Err(NOT_BASE64) }
}

fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        0 | 0x80.. => format!("\\{byte:03o}"),
        b'\\' => "\\\\".to_owned(),
        byte => char::from(*byte).to_string(),
    };
    bytes.iter().map(one).collect()
}

fn from_escaped(text: &str) -> Result<Vec<u8>, EvaluationError> {
    let wrong = EvaluationError::Other("invalid input syntax for type bytea");
    // What begins with `\x` is no number in octal, so it is wrong here.
    match text.strip_prefix("\\x") {
        Some(_) => Err(wrong),
        None => read_bytes(text).ok_or(wrong),
    }
}
