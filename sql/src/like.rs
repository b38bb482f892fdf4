//! LIKE patterns.
//!
//! *Enters*: text and a pattern as UTF-8 bytes. *Leaves*: whether they match, or that the pattern
//! ends in an escape character where Postgres would look at it, or that both are so alike and so long that
//! it takes too long to say.
//! *Invariant*: never recurses, never allocates; `_` is one character, every byte counts
//! including line ends, and a pattern's error is seen exactly when Postgres sees it.

pub(crate) mod parts;

use crate::evaluation_error::EvaluationError;
use crate::limits::{LIKE_STEPS_FOR_BYTE_MAX, LIKE_STEPS_MAX};

/// Why it is not said whether text matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// The last character of the pattern escapes nothing.
    LoneEscape,
    /// See [`LIKE_STEPS_MAX`].
    TooManySteps,
}

impl From<Unmatched> for EvaluationError {
    fn from(unmatched: Unmatched) -> EvaluationError {
        EvaluationError::Other(match unmatched {
            Unmatched::LoneEscape => "LIKE pattern must not end with escape character",
            Unmatched::TooManySteps => "this LIKE takes too long here",
        })
    }
}

/// Whether text matches a pattern with backslash as its escape character.
pub(crate) fn matches(text: &[u8], pattern: &[u8]) -> Result<bool, Unmatched> {
    found(text, pattern, next_character)
}

/// The same where `_` is one byte.
pub(crate) fn matches_bytes(text: &[u8], pattern: &[u8]) -> Result<bool, Unmatched> {
    found(text, pattern, |_, at| at + 1)
}

/// Where the next character is, from one on.
type Next = fn(&[u8], usize) -> usize;

fn found(text: &[u8], pattern: &[u8], next: Next) -> Result<bool, Unmatched> {
    let (mut t, mut p) = (0, 0);
    let mut steps = LIKE_STEPS_MAX.max(text.len().saturating_mul(LIKE_STEPS_FOR_BYTE_MAX));
    // Where to try again: the pattern after the last `%` and the text it was tried at. An earlier
    // `%` never needs another try, since the later one can reach every place it could.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        while t < text.len() && p < pattern.len() {
            steps = steps.checked_sub(1).ok_or(Unmatched::TooManySteps)?;
            match pattern[p] {
                b'%' => {
                    let Some((after, from)) = wildcards(text, pattern, (t, p), next) else {
                        return Ok(false);
                    };
                    if after == pattern.len() {
                        return Ok(true);
                    }
                    let first = literal(pattern, after)?;
                    let Some(found) = seek(text, from, first) else { return Ok(false) };
                    retry = Some((found, after));
                    (t, p) = (found, after);
                }
                b'_' => {
                    t = next(text, t);
                    p += 1;
                }
                _ => {
                    if literal(pattern, p)? != text[t] {
                        break;
                    }
                    p += if pattern[p] == b'\\' { 2 } else { 1 };
                    t += 1;
                }
            }
        }
        if t == text.len() {
            // More text can only be missing, so no other place would match either.
            return Ok(pattern[p..].iter().all(|byte| *byte == b'%'));
        }
        let Some((tried, after)) = retry else { return Ok(false) };
        let first = literal(pattern, after)?;
        let Some(found) = seek(text, next(text, tried), first) else { return Ok(false) };
        retry = Some((found, after));
        (t, p) = (found, after);
    }
}

/// Skips a run of `%` and `_`; `None` where the text is too short for it.
fn wildcards(
    text: &[u8],
    pattern: &[u8],
    (mut t, mut p): (usize, usize),
    next: Next,
) -> Option<(usize, usize)> {
    while let Some(byte) = pattern.get(p) {
        match byte {
            b'%' => {}
            b'_' if t < text.len() => t = next(text, t),
            b'_' => return None,
            _ => break,
        }
        p += 1;
    }
    Some((p, t))
}

/// The byte a pattern element stands for.
fn literal(pattern: &[u8], p: usize) -> Result<u8, Unmatched> {
    match pattern[p] {
        b'\\' => pattern.get(p + 1).copied().ok_or(Unmatched::LoneEscape),
        byte => Ok(byte),
    }
}

/// The next place at which a byte stands. A character's first byte is never a later one's, so this
/// stops at characters only.
fn seek(text: &[u8], from: usize, byte: u8) -> Option<usize> {
    text[from..].iter().position(|found| *found == byte).map(|at| from + at)
}

fn next_character(text: &[u8], at: usize) -> usize {
    let rest = text[at + 1..].iter();
    at + 1 + rest.take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count()
}

/// Whether the last character of a pattern is an escape without anything to escape.
pub(crate) fn ends_in_escape(pattern: &str) -> bool {
    let tail = pattern.bytes().rev().take_while(|byte| *byte == b'\\').count();
    tail % 2 == 1
}

/// Rewrites a pattern with another escape character (or none) to one with backslash, step by step
/// as Postgres does.
pub(crate) fn rewrite_escape(pattern: &str, escape: Option<char>) -> String {
    let mut rewritten = String::with_capacity(pattern.len() + 8);
    let mut escaped = false;
    for c in pattern.chars() {
        if Some(c) == escape && !escaped {
            rewritten.push('\\');
            escaped = true;
        } else {
            if c == '\\' && !escaped {
                rewritten.push('\\');
            }
            rewritten.push(c);
            escaped = false;
        }
    }
    rewritten
}

/// The same of bytes.
pub(crate) fn rewrite_escape_bytes(pattern: &[u8], escape: Option<u8>) -> Vec<u8> {
    let mut rewritten = Vec::with_capacity(pattern.len() + 8);
    let mut escaped = false;
    for byte in pattern {
        let escapes = Some(*byte) == escape && !escaped;
        match byte {
            _ if escapes => rewritten.push(b'\\'),
            b'\\' if !escaped => rewritten.extend([b'\\', b'\\']),
            byte => rewritten.push(*byte),
        }
        escaped = escapes;
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_postgres_does() {
        for (text, pattern, expected) in [
            ("a%b", r"a\%b", true),
            ("aXb", r"a\%b", false),
            (r"a\b", r"a\\b", true),
            ("a\nb", "a%b", true),
            ("a\nb", "a_b", true),
            ("abc\n", "abc", false),
            ("é", "_", true),
            ("éa", "__", true),
            ("é", "__", false),
            ("", "", true),
            ("", "%", true),
            ("", "%%", true),
            ("", "_", false),
            ("", "%_", false),
            ("abcabc", "%bc", true),
            ("abcabcd", "%bc", false),
            ("mississippi", "m%iss%ip%i", true),
            ("mississippi", "%s_i%", true),
            ("aaab", "%a_b", true),
            ("日本語", "%本%", true),
            ("日本語", "_本_", true),
            ("a_b", r"%\_b", true),
            ("Ab", "ab", false),
        ] {
            assert_eq!(
                matches(text.as_bytes(), pattern.as_bytes()),
                Ok(expected),
                "{text} {pattern}"
            );
        }
        assert_eq!(matches(b"a", br"a\"), Ok(false));
        assert_eq!(matches(b"ab", br"a\"), Err(Unmatched::LoneEscape));
        assert_eq!(matches(b"b", br"a\"), Ok(false));
        assert_eq!(matches(b"b", br"%\"), Err(Unmatched::LoneEscape));
    }

    #[test]
    fn what_is_found_again_and_again_ends() {
        let text = "a".repeat(100_000);
        let pattern = |last: &str| format!("%{}_{last}", "a".repeat(20_000));
        assert_eq!(matches(text.as_bytes(), pattern("b").as_bytes()), Err(Unmatched::TooManySteps));
        assert_eq!(matches(text.as_bytes(), pattern("a%").as_bytes()), Ok(true));
        // A longer text of words takes as many steps as it has letters.
        let words = "the quick brown fox ".repeat(100_000);
        assert_eq!(matches(words.as_bytes(), b"%f_x jumps%"), Ok(false));
    }

    #[test]
    fn rewrites_escapes() {
        assert_eq!(rewrite_escape("a!%b", Some('!')), r"a\%b");
        assert_eq!(rewrite_escape("a!!b", Some('!')), r"a\!b");
        assert_eq!(rewrite_escape(r"a\b", None), r"a\\b");
        assert_eq!(rewrite_escape(r"a\%", Some('!')), r"a\\%");
        assert!(ends_in_escape(r"a\"));
        assert!(!ends_in_escape(r"a\\"));
    }
}
