//! Building expressions in one canonical form.
//!
//! *Enters*: operands and operators whose types have been settled.
//! *Leaves*: [`Expr`]s: constants folded, sides and operands in a fixed order, duplicates gone.
//! *Invariant*: no rewriting changes the outcome for any row, NULL and errors included; two
//! spellings that become the same expression print the same text.

use std::cmp::Ordering;

use crate::evaluation_error::EvaluationError;
use crate::expr::{Comparison, Expr, Like, Operand};
use crate::like;
use crate::literal;
use crate::print;
use crate::sql_type::SqlType;
use crate::value::{Constant, Stored};

/// A comparison; `None` operands are NULL.
pub(crate) fn compare(
    comparison: Comparison,
    left: Option<Operand>,
    right: Option<Operand>,
) -> Result<Expr, String> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(Expr::Constant(None)) };
    let (left, right, turned) = arrange(left, right)?;
    let comparison = if turned { comparison.flipped() } else { comparison };
    if let (Operand::Constant(left), Operand::Constant(right)) = (&left, &right) {
        return fold(left, right).map(|order| Expr::Constant(Some(comparison.holds(order))));
    }
    if let (Some(expected), false) = (as_bool(&right), comparison.needs_order()) {
        let expected = expected == (comparison == Comparison::Equal);
        match left {
            Operand::Column { column, .. } => return Ok(Expr::Flag { column, expected }),
            Operand::Predicate(expr) if expected => return Ok(*expr),
            Operand::Predicate(expr) => return Ok(not(*expr)),
            Operand::Constant(_) => {}
        }
    }
    Ok(Expr::Compare { comparison, left, right })
}

/// IS DISTINCT FROM, with `negated` IS NOT DISTINCT FROM.
pub(crate) fn distinct(
    left: Option<Operand>,
    right: Option<Operand>,
    negated: bool,
) -> Result<Expr, String> {
    let (left, right) = match (left, right) {
        (None, None) => return Ok(Expr::Constant(Some(negated))),
        (Some(one), None) | (None, Some(one)) => return Ok(is_null(one, !negated)),
        (Some(left), Some(right)) => (left, right),
    };
    let (left, right, _) = arrange(left, right)?;
    if let (Operand::Constant(left), Operand::Constant(right)) = (&left, &right) {
        return fold(left, right).map(|order| Expr::Constant(Some(order.is_eq() == negated)));
    }
    Ok(Expr::Distinct { left, right, negated })
}

/// IS NULL, with `negated` IS NOT NULL, of something that is not the constant NULL.
pub(crate) fn is_null(operand: Operand, negated: bool) -> Expr {
    match operand {
        Operand::Column { column, .. } => Expr::IsNull { column, negated },
        Operand::Constant(_) => Expr::Constant(Some(negated)),
        Operand::Predicate(expr) => test(*expr, None, negated),
    }
}

/// IS TRUE, IS FALSE, IS UNKNOWN and their negatives.
pub(crate) fn test(operand: Expr, expected: Option<bool>, negated: bool) -> Expr {
    match operand {
        Expr::Constant(value) => Expr::Constant(Some((value == expected) != negated)),
        Expr::Flag { column, .. } if expected.is_none() => Expr::IsNull { column, negated },
        // These are never NULL.
        same @ (Expr::IsNull { .. } | Expr::Test { .. } | Expr::Distinct { .. }) => {
            match expected {
                Some(expected) if expected != negated => same,
                Some(_) => not(same),
                // The one thing left that may be unknown is an error, which must stay one.
                None => Expr::Test { operand: Box::new(same), expected, negated },
            }
        }
        operand => Expr::Test { operand: Box::new(operand), expected, negated },
    }
}

/// IN over constants of one type; `null`: NULL was among them.
pub(crate) fn is_in(
    operand: Option<Operand>,
    list: Vec<Constant>,
    null: bool,
) -> Result<Expr, String> {
    let Some(operand) = operand else { return Ok(Expr::Constant(None)) };
    if let Operand::Constant(constant) = &operand {
        for element in &list {
            if fold(constant, element)?.is_eq() {
                return Ok(Expr::Constant(Some(true)));
            }
        }
        return Ok(Expr::Constant(if null { None } else { Some(false) }));
    }
    let mut list = settle_all(&operand, list)?;
    // Elements of one type always compare; equal ones are neighbours afterwards.
    list.sort_by(order);
    list.dedup_by(|left, right| order(left, right).is_eq());
    match (list.len(), null) {
        (0, _) => Ok(Expr::Constant(None)),
        (1, false) => {
            let only = list.pop().map(Operand::Constant);
            compare(Comparison::Equal, Some(operand), only)
        }
        _ => Ok(Expr::In { operand, list: list.into(), null, negated: false }),
    }
}

/// LIKE; a constant pattern is checked here.
pub(crate) fn like(like: Like) -> Result<Expr, String> {
    let Operand::Constant(pattern) = &like.pattern else { return Ok(Expr::Like(Box::new(like))) };
    let pattern = pattern.text();
    if like::ends_in_escape(&pattern) {
        return Err("LIKE pattern must not end with escape character".to_owned());
    }
    if let (Operand::Constant(text), None) = (&like.operand, &like.fold) {
        let outcome = like::matches(text.text().as_bytes(), pattern.as_bytes());
        let matched = outcome.map_err(|why| EvaluationError::from(why).to_string())?;
        return Ok(Expr::Constant(Some(matched != like.negated)));
    }
    let fold = |map: &std::sync::Arc<crate::CaseMap>| {
        pattern.chars().map(|c| map.lower(c)).collect::<String>().into_boxed_str()
    };
    let folded_pattern = like.fold.as_ref().map(fold);
    Ok(Expr::Like(Box::new(Like { folded_pattern, ..like })))
}

/// NOT, pushed down to the leaves.
pub(crate) fn not(expr: Expr) -> Expr {
    match expr {
        Expr::Constant(value) => Expr::Constant(value.map(|value| !value)),
        Expr::Flag { column, expected } => Expr::Flag { column, expected: !expected },
        Expr::Compare { comparison, left, right } => {
            Expr::Compare { comparison: comparison.inverse(), left, right }
        }
        Expr::Distinct { left, right, negated } => {
            Expr::Distinct { left, right, negated: !negated }
        }
        Expr::In { operand, list, null, negated } => {
            Expr::In { operand, list, null, negated: !negated }
        }
        Expr::Like(like) => Expr::Like(Box::new(Like { negated: !like.negated, ..*like })),
        Expr::IsNull { column, negated } => Expr::IsNull { column, negated: !negated },
        Expr::Test { operand, expected, negated } => {
            Expr::Test { operand, expected, negated: !negated }
        }
        Expr::Computed { scalar, negated } => Expr::Computed { scalar, negated: !negated },
        Expr::Null { scalar, negated } => Expr::Null { scalar, negated: !negated },
        Expr::And(list) => any(list.into_iter().map(not).collect()),
        Expr::Or(list) => all(list.into_iter().map(not).collect()),
    }
}

/// AND.
pub(crate) fn all(operands: Vec<Expr>) -> Expr {
    let flat = operands.into_iter().flat_map(|operand| match operand {
        Expr::And(inner) => inner,
        other => vec![other],
    });
    join(flat, false, Expr::And)
}

/// OR.
pub(crate) fn any(operands: Vec<Expr>) -> Expr {
    let flat = operands.into_iter().flat_map(|operand| match operand {
        Expr::Or(inner) => inner,
        other => vec![other],
    });
    join(flat, true, Expr::Or)
}

/// Joins operands: `decides` ends it, its opposite is left out, NULL is kept once. Cheap operands
/// come first; the order is otherwise that of their text, so that it does not depend on the user's.
fn join(operands: impl Iterator<Item = Expr>, decides: bool, make: fn(Vec<Expr>) -> Expr) -> Expr {
    let mut kept = Vec::new();
    for operand in operands {
        match operand {
            Expr::Constant(Some(value)) if value == decides => {
                return Expr::Constant(Some(decides));
            }
            Expr::Constant(Some(_)) => {}
            other => {
                let text = print::expr_by_number(&other);
                kept.push((cost(&other), text, other));
            }
        }
    }
    kept.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    kept.dedup_by(|left, right| left.1 == right.1);
    let mut list: Vec<Expr> = kept.into_iter().map(|(_, _, operand)| operand).collect();
    match (list.len(), list.pop()) {
        (_, None) => Expr::Constant(Some(!decides)),
        (1, Some(only)) => only,
        (_, Some(last)) => {
            list.push(last);
            make(list)
        }
    }
}

/// How much work an expression is, roughly.
fn cost(expr: &Expr) -> u8 {
    let of_operand = |operand: &Operand| match operand {
        Operand::Column { sql_type, .. } => match sql_type {
            SqlType::Bool | SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => 1,
            SqlType::Text | SqlType::Uuid => 2,
            _ => 3,
        },
        Operand::Constant(_) => 0,
        Operand::Predicate(_) => 5,
    };
    match expr {
        Expr::Constant(_) | Expr::Flag { .. } | Expr::IsNull { .. } => 0,
        Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
            of_operand(left).max(of_operand(right))
        }
        Expr::In { operand, .. } => of_operand(operand) + 1,
        Expr::Like(_) | Expr::Computed { .. } | Expr::Null { .. } => 5,
        Expr::Test { .. } | Expr::And(_) | Expr::Or(_) => 6,
    }
}

/// Puts a constant right and sides of one kind in order; says whether the sides were exchanged.
fn arrange(left: Operand, right: Operand) -> Result<(Operand, Operand, bool), String> {
    let turned = match (&left, &right) {
        (Operand::Constant(_), Operand::Constant(_)) => false,
        (Operand::Constant(_), _) => true,
        (Operand::Column { column: one, .. }, Operand::Column { column: other, .. }) => one > other,
        (Operand::Predicate(_), Operand::Column { .. }) => true,
        (Operand::Predicate(one), Operand::Predicate(other)) => {
            print::expr_by_number(one) > print::expr_by_number(other)
        }
        _ => false,
    };
    let (left, right) = if turned { (right, left) } else { (left, right) };
    let right = match (&left, right) {
        (Operand::Column { sql_type, .. }, Operand::Constant(constant)) => {
            Operand::Constant(literal::settle(constant, *sql_type)?)
        }
        (_, right) => right,
    };
    Ok((left, right, turned))
}

fn settle_all(operand: &Operand, list: Vec<Constant>) -> Result<Vec<Constant>, String> {
    match operand {
        Operand::Column { sql_type, .. } => {
            list.into_iter().map(|constant| literal::settle(constant, *sql_type)).collect()
        }
        _ => Ok(list),
    }
}

fn fold(left: &Constant, right: &Constant) -> Result<Ordering, String> {
    let out_of_range = || "value out of range for type double precision".to_owned();
    left.value().compare(right.value()).ok_or_else(out_of_range)
}

fn order(left: &Constant, right: &Constant) -> Ordering {
    left.value().compare(right.value()).unwrap_or(Ordering::Equal)
}

fn as_bool(operand: &Operand) -> Option<bool> {
    match operand {
        Operand::Constant(Constant { stored: Stored::Bool(value), .. }) => Some(*value),
        _ => None,
    }
}
