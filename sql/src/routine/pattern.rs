//! LIKE, regular expressions, SIMILAR TO.

use super::{Arguments, Call, Function, Outcome, some};
use crate::CaseMap;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::like;

mod expression;
mod similar;
mod span;

pub(crate) use expression::{Classes, Use};
pub(crate) use span::{check_options, options_argument};

/// A constant pattern, prepared once.
#[derive(Debug)]
pub(crate) struct Pattern(regex::Regex);

impl Pattern {
    /// The expression as it was compiled, in the language of the `regex` crate.
    pub(crate) fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Compiles a regular expression, `fold` for those that ignore case.
    pub(crate) fn expression(
        text: &str,
        fold: Option<&CaseMap>,
        classes: Classes,
        use_of: Use,
    ) -> Result<Pattern, String> {
        let translated = expression::translate(text, fold, classes, use_of)?;
        let regex = regex::RegexBuilder::new(&translated).size_limit(1 << 20).build();
        regex.map(Pattern).map_err(|_| "this regular expression is not supported".to_owned())
    }
}

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    let bare = (code.strip_prefix("text"))
        .or_else(|| code.strip_prefix("bpchar"))
        .or_else(|| code.strip_prefix("name"));
    Some(match (bare, code) {
        (Some("like" | "nlike" | "iclike" | "icnlike"), _) => is_like,
        (Some("regexeq" | "icregexeq"), _) | (_, "regexp_like_no_flags" | "regexp_like") => {
            |call, list| matches_expression(call, list).map(|found| Some(Datum::Bool(found)))
        }
        (Some("regexne" | "icregexne"), _) => {
            |call, list| matches_expression(call, list).map(|found| Some(Datum::Bool(!found)))
        }
        (_, "like_escape") => |_, list| {
            let arguments = Arguments(list);
            let (pattern, escape) = (arguments.text(0)?, arguments.text(1)?);
            let mut characters = escape.chars();
            match (characters.next(), characters.next()) {
                (Some('\\'), None) => some(Datum::text(pattern)),
                (character, None) => {
                    some(Datum::Text(like::rewrite_escape(pattern, character).into()))
                }
                _ => Err(EvaluationError::Other("invalid escape string")),
            }
        },
        (_, "similar_to_escape_1") => |_, list| {
            some(Datum::Text(similar::expression(Arguments(list).text(0)?, Some('\\'))?.into()))
        },
        (_, "similar_to_escape_2") => |_, list| {
            let arguments = Arguments(list);
            let mut escape = arguments.text(1)?.chars();
            match (escape.next(), escape.next()) {
                (escape, None) => {
                    some(Datum::Text(similar::expression(arguments.text(0)?, escape)?.into()))
                }
                _ => Err(EvaluationError::Other("invalid escape string")),
            }
        },
        _ => return span::function(code),
    })
}

/// Whether the code needs a constant pattern that has been compiled.
pub(crate) fn wants_expression(code: &str) -> Option<Use> {
    let whether = code.ends_with("regexeq") || code.ends_with("regexne");
    match span::function(code) {
        Some(_) => Some(Use::Span),
        None => (whether || matches!(code, "regexp_like_no_flags" | "regexp_like"))
            .then_some(Use::Whether),
    }
}

fn is_like(call: &Call, list: &[Option<Datum>]) -> Outcome {
    let arguments = Arguments(list);
    let (text, pattern) = (arguments.text(0)?, arguments.text(1)?);
    let matched = if call.code.contains("ic") {
        let map = call.fold.as_ref().ok_or(super::UNEXPECTED)?;
        let fold = |text: &str| text.chars().map(|c| map.lower(c)).collect::<String>();
        like::matches(fold(text).as_bytes(), fold(pattern).as_bytes())?
    } else {
        like::matches(text.as_bytes(), pattern.as_bytes())?
    };
    some(Datum::Bool(matched != call.code.contains("nlike")))
}

fn matches_expression(call: &Call, list: &[Option<Datum>]) -> Result<bool, EvaluationError> {
    let pattern = call.pattern.as_ref().ok_or(super::UNEXPECTED)?;
    Ok(pattern.0.is_match(Arguments(list).text(0)?))
}
