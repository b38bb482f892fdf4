//! Text that must occur in whatever matches a pattern.
//!
//! *Enters*: patterns of LIKE and regular expressions. *Leaves*: [`Required`].
//! *Invariant*: a text that matches has at least one of what is required. Where nothing is, the
//! pattern finds nothing out.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Alternatives of one regular expression that are kept apart: beyond that the pattern is hardly a
/// filter.
const ALTERNATIVES_MAX: usize = 32;

/// What a matching text has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Required {
    /// It is this text.
    Exact(Vec<u8>),
    /// It begins so.
    Prefix(Vec<u8>),
    /// This is somewhere in it.
    Fragment(Vec<u8>),
}

impl Required {
    /// How much of a filter it is.
    fn weight(&self) -> usize {
        match self {
            Required::Exact(text) => 2 * text.len() + 8,
            // A place that is known is worth a byte.
            Required::Prefix(text) => text.len() + 1,
            Required::Fragment(text) => text.len(),
        }
    }
}

/// Of a LIKE pattern; `None` where nothing is required.
pub(super) fn of_like(pattern: &str) -> Option<Required> {
    // Literal pieces, and whether anything may stand between them.
    let mut pieces: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = pattern.bytes();
    while let Some(byte) = rest.next() {
        let literal = match byte {
            b'%' | b'_' => {
                pieces.push(Vec::new());
                continue;
            }
            b'\\' => rest.next()?,
            literal => literal,
        };
        pieces.last_mut()?.push(literal);
    }
    if pieces.len() == 1 {
        return pieces.pop().map(Required::Exact);
    }
    let mut pieces = pieces.into_iter();
    let prefix = pieces.next().map(Required::Prefix);
    prefix
        .into_iter()
        .chain(pieces.map(Required::Fragment))
        .filter(|one| one.weight() > usize::from(matches!(one, Required::Prefix(_))))
        .max_by_key(Required::weight)
}

/// Of a regular expression in the language of the `regex` crate: one of these, or `None` where
/// nothing is required. With `fold` the texts are to be looked for in text whose ASCII letters are
/// lower-case.
pub(super) fn of_expression(pattern: &str, fold: bool) -> Option<Vec<Required>> {
    let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
    best(&hir, fold)
}

/// The best requirement of an expression.
fn best(hir: &Hir, fold: bool) -> Option<Vec<Required>> {
    match hir.kind() {
        HirKind::Capture(capture) => best(&capture.sub, fold),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            // What is repeated need not stand at the beginning each time, but once it does.
            best(&repetition.sub, fold).map(|found| found.into_iter().map(loosen).collect())
        }
        HirKind::Alternation(list) => {
            let mut union = Vec::new();
            for one in list {
                union.extend(best(one, fold)?);
            }
            (union.len() <= ALTERNATIVES_MAX).then_some(union)
        }
        HirKind::Concat(list) => of_concat(list, fold),
        _ => {
            let text = literal(hir, fold)?;
            (!text.is_empty()).then(|| vec![Required::Fragment(text)])
        }
    }
}

/// Literals that stand one after the other are one; the rest is taken part by part.
fn of_concat(list: &[Hir], fold: bool) -> Option<Vec<Required>> {
    let mut found: Vec<Vec<Required>> = Vec::new();
    let anchored = matches!(list.first().map(Hir::kind), Some(HirKind::Look(Look::Start)));
    let mut run = Vec::new();
    let mut first = anchored;
    let mut end = |run: &mut Vec<u8>, first: &mut bool| {
        if !run.is_empty() {
            let text = std::mem::take(run);
            let make = if *first { Required::Prefix } else { Required::Fragment };
            found.push(vec![make(text)]);
        }
        *first = false;
    };
    let mut others = Vec::new();
    for one in &list[usize::from(anchored)..] {
        match literal(one, fold) {
            Some(text) => run.extend(text),
            None => {
                end(&mut run, &mut first);
                others.extend(best(one, fold));
            }
        }
    }
    end(&mut run, &mut first);
    found.extend(others.into_iter().map(|one| one.into_iter().map(loosen).collect()));
    found.into_iter().max_by_key(|one| one.iter().map(Required::weight).min())
}

/// Without the place.
fn loosen(required: Required) -> Required {
    match required {
        Required::Exact(text) | Required::Prefix(text) | Required::Fragment(text) => {
            Required::Fragment(text)
        }
    }
}

/// The one text that an expression matches, folded where that is asked for.
fn literal(hir: &Hir, fold: bool) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let mut text = literal.0.to_vec();
            if fold {
                text.make_ascii_lowercase();
            }
            Some(text)
        }
        HirKind::Class(Class::Unicode(class)) if fold => {
            let mut only = None;
            for range in class.ranges() {
                if range.start() != range.end() {
                    return None;
                }
                let c = range.start().to_ascii_lowercase();
                if only.is_some_and(|only| only != c) {
                    return None;
                }
                only = Some(c);
            }
            only.map(|c| c.to_string().into_bytes())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(required: &Required) -> String {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match required {
            Required::Exact(one) => format!("={}", text(one)),
            Required::Prefix(one) => format!("^{}", text(one)),
            Required::Fragment(one) => text(one),
        }
    }

    #[test]
    fn the_longest_piece_of_a_like_pattern_is_required() {
        for (pattern, expected) in [
            ("abc", Some("=abc")),
            ("", Some("=")),
            ("abc%", Some("^abc")),
            ("%abc", Some("abc")),
            ("a%bcd%e", Some("bcd")),
            ("ab%cde_f", Some("cde")),
            ("ab%cd_f", Some("^ab")),
            (r"a\%b%", Some("^a%b")),
            ("%", None),
            ("__", None),
            ("%a_", Some("a")),
        ] {
            assert_eq!(of_like(pattern).as_ref().map(shown).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn the_best_part_of_an_expression_is_required() {
        for (pattern, fold, expected) in [
            ("abc", false, "abc"),
            ("^abc", false, "^abc"),
            ("^abc$", false, "^abc"),
            ("a.*bcd", false, "bcd"),
            ("(?:foo|bar)x", false, "foo bar"),
            ("foo|ba?r|x", false, "foo r x"),
            ("x(?:long)+y", false, "long"),
            ("(?:long)?y", false, "y"),
            ("[0-9]+", false, ""),
            ("[Aa][Bb]c", true, "abc"),
            ("[Aa][Bb]c", false, "c"),
            ("a*", false, ""),
            ("^(?:ab|cd)", false, "ab cd"),
        ] {
            let found = of_expression(pattern, fold).unwrap_or_default();
            let found: Vec<String> = found.iter().map(shown).collect();
            assert_eq!(found.join(" "), expected, "{pattern}");
        }
    }
}
