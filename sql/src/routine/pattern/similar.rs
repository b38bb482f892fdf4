//! SIMILAR TO, by rewriting its patterns to regular expressions as Postgres does.

use crate::evaluation_error::EvaluationError;

/// The regular expression a pattern stands for.
pub(super) fn expression(pattern: &str, escape: Option<char>) -> Result<String, EvaluationError> {
    let mut expression = "^(?:".to_owned();
    let (mut escaped, mut in_class) = (false, false);
    for c in pattern.chars() {
        if escaped {
            if c == '"' {
                return Err(EvaluationError::Other("separators in SIMILAR TO are not supported"));
            }
            expression.push('\\');
            expression.push(c);
            escaped = false;
        } else if Some(c) == escape {
            escaped = true;
        } else if in_class {
            if c == '\\' {
                expression.push('\\');
            }
            expression.push(c);
            in_class = c != ']';
        } else {
            match c {
                '[' => {
                    expression.push('[');
                    in_class = true;
                }
                '%' => expression += ".*",
                '_' => expression.push('.'),
                '(' => expression += "(?:",
                '\\' | '.' | '^' | '$' => {
                    expression.push('\\');
                    expression.push(c);
                }
                other => expression.push(other),
            }
        }
    }
    Ok(expression + ")$")
}
