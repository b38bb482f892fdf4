//! Predicates over rows, in every form: what `plan` has no quick test for ends here.
//!
//! *Enters*: an expression and a row. *Leaves*: a [`Truth`].
//! *Invariant*: reads only the columns it needs, allocates only for ILIKE and what is computed; a column that cannot be
//! read is an error, never a value.

use crate::compute;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::expr::{Comparison, Expr, Like, Operand};
use crate::like;
use crate::sql_type::SqlType;
use crate::value::{self, Constant, Stored, Value};
use crate::{Row, Truth};

/// An operand's value in a row.
enum Found<'a> {
    Value(Value<'a>),
    Null,
    Error,
}

/// The outcome of an expression for a row.
pub(crate) fn evaluate(expr: &Expr, row: &Row) -> Truth {
    match expr {
        Expr::Constant(value) => truth(*value),
        Expr::Flag { column, expected } => match row.get(*column) {
            None => Truth::Null,
            Some(b"t" | b"true") => Truth::from(*expected),
            Some(b"f" | b"false") => Truth::from(!*expected),
            Some(_) => Truth::Error,
        },
        Expr::Compare {
            comparison,
            left: Operand::Column { column, sql_type },
            right: Operand::Constant(constant),
        } => compare(*comparison, *column, *sql_type, &constant.stored, row),
        Expr::Compare { comparison, left, right } => match pair(left, right, row) {
            Ok((Some(left), Some(right))) => match left.compare(right) {
                Some(order) => Truth::from(comparison.holds(order)),
                None => Truth::Error,
            },
            Ok(_) => Truth::Null,
            Err(Unreadable) => Truth::Error,
        },
        Expr::Distinct { left, right, negated } => match pair(left, right, row) {
            Ok((Some(left), Some(right))) => match left.compare(right) {
                Some(order) => Truth::from(order.is_eq() == *negated),
                None => Truth::Error,
            },
            Ok((None, None)) => Truth::from(*negated),
            Ok(_) => Truth::from(!*negated),
            Err(Unreadable) => Truth::Error,
        },
        Expr::In { operand, list, null, negated } => {
            is_in(operand, list, *null, row).negate_if(*negated)
        }
        Expr::Like(like) => is_like(like, row).negate_if(like.negated),
        Expr::IsNull { column, negated } => Truth::from(row.get(*column).is_none() != *negated),
        Expr::Test { operand, expected, negated } => match evaluate(operand, row) {
            Truth::Error => Truth::Error,
            found => Truth::from((found == truth(*expected)) != *negated),
        },
        Expr::And(list) => Truth::all(list.iter().map(|operand| evaluate(operand, row))),
        Expr::Or(list) => Truth::any(list.iter().map(|operand| evaluate(operand, row))),
        Expr::Computed { scalar, negated } => match compute::value(scalar, row) {
            Ok(Some(Datum::Bool(value))) => Truth::from(value != *negated),
            Ok(None) => Truth::Null,
            Ok(Some(_)) | Err(_) => Truth::Error,
        },
        Expr::Null { scalar, negated } => match compute::value(scalar, row) {
            Ok(value) => Truth::from(value.is_none() != *negated),
            Err(_) => Truth::Error,
        },
    }
}

/// The outcome of a column's comparison with a constant.
pub(crate) fn compare(
    comparison: Comparison,
    column: usize,
    sql_type: SqlType,
    constant: &Stored,
    row: &Row,
) -> Truth {
    match row.get(column) {
        None => Truth::Null,
        Some(text) => match value::compare_text(sql_type, text, constant) {
            Some(order) => Truth::from(comparison.holds(order)),
            None => Truth::Error,
        },
    }
}

/// What went wrong where the outcome was an error.
pub(crate) fn cause(expr: &Expr, row: &Row) -> EvaluationError {
    let operand = |operand: &Operand| match operand {
        Operand::Predicate(expr) if evaluate(expr, row) == Truth::Error => Some(cause(expr, row)),
        _ => None,
    };
    let found = match expr {
        Expr::Computed { scalar, .. } | Expr::Null { scalar, .. } => {
            compute::value(scalar, row).err()
        }
        Expr::And(list) | Expr::Or(list) => (list.iter())
            .find(|expr| evaluate(expr, row) == Truth::Error)
            .map(|expr| cause(expr, row)),
        Expr::Test { operand, .. } => Some(cause(operand, row)),
        Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
            let range = EvaluationError::OutOfRange("out of range for type double precision");
            let decimal =
                |side: &Operand| matches!(side, Operand::Column { sql_type: SqlType::Numeric, .. });
            let range = (decimal(left) || decimal(right)).then_some(range);
            operand(left).or_else(|| operand(right)).or(range)
        }
        Expr::In { operand: left, .. } => operand(left),
        Expr::Like(_) => {
            Some(EvaluationError::Other("LIKE pattern must not end with escape character"))
        }
        Expr::Constant(_) | Expr::Flag { .. } | Expr::IsNull { .. } => None,
    };
    found.unwrap_or(EvaluationError::Unreadable)
}

fn truth(value: Option<bool>) -> Truth {
    value.map_or(Truth::Null, Truth::from)
}

/// A value that cannot be read or cast.
struct Unreadable;

type Pair<'a> = (Option<Value<'a>>, Option<Value<'a>>);

fn pair<'a>(left: &'a Operand, right: &'a Operand, row: &'a Row) -> Result<Pair<'a>, Unreadable> {
    let value = |operand| match find(operand, row) {
        Found::Value(value) => Ok(Some(value)),
        Found::Null => Ok(None),
        Found::Error => Err(Unreadable),
    };
    let (one, other) = (value(left)?, value(right)?);
    if !widens(one, right, other) || !widens(other, left, one) {
        return Err(Unreadable);
    }
    Ok((one, other))
}

/// Postgres casts a decimal to a float before it looks whether the float is NULL, and that cast can
/// fail.
fn widens(value: Option<Value<'_>>, operand: &Operand, other: Option<Value<'_>>) -> bool {
    match (value, operand, other) {
        (
            Some(value @ Value::Numeric(_)),
            Operand::Column { sql_type: SqlType::Float4 | SqlType::Float8, .. },
            None,
        ) => value.to_f64().is_some(),
        _ => true,
    }
}

fn find<'a>(operand: &'a Operand, row: &'a Row) -> Found<'a> {
    match operand {
        Operand::Column { column, sql_type } => match row.get(*column) {
            None => Found::Null,
            Some(text) => Value::read(*sql_type, text).map_or(Found::Error, Found::Value),
        },
        Operand::Constant(constant) => Found::Value(constant.value()),
        Operand::Predicate(expr) => match evaluate(expr, row) {
            Truth::True => Found::Value(Value::Bool(true)),
            Truth::False => Found::Value(Value::Bool(false)),
            Truth::Null => Found::Null,
            Truth::Error => Found::Error,
        },
    }
}

fn is_in(operand: &Operand, list: &[Constant], null: bool, row: &Row) -> Truth {
    let value = match find(operand, row) {
        Found::Value(value) => value,
        Found::Null => return Truth::Null,
        Found::Error => return Truth::Error,
    };
    let mut failed = false;
    let found = list.binary_search_by(|element| match element.value().compare(value) {
        Some(order) => order,
        None => {
            failed = true;
            std::cmp::Ordering::Equal
        }
    });
    match found {
        _ if failed => Truth::Error,
        Ok(_) => Truth::True,
        Err(_) if null => Truth::Null,
        Err(_) => Truth::False,
    }
}

fn is_like(like: &Like, row: &Row) -> Truth {
    let (text, pattern) = match pair(&like.operand, &like.pattern, row) {
        Ok((Some(Value::Text(text)), Some(Value::Text(pattern)))) => (text, pattern),
        Ok((None, _) | (_, None)) => return Truth::Null,
        _ => return Truth::Error,
    };
    let matched = match &like.fold {
        None => like::matches(text, pattern),
        Some(map) => {
            let fold = |text: &[u8]| -> String {
                String::from_utf8_lossy(text).chars().map(|c| map.lower(c)).collect()
            };
            match &like.folded_pattern {
                Some(pattern) => like::matches(fold(text).as_bytes(), pattern.as_bytes()),
                None => like::matches(fold(text).as_bytes(), fold(pattern).as_bytes()),
            }
        }
    };
    matched.map_or(Truth::Error, Truth::from)
}
