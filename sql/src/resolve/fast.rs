//! Comparisons that need no computing: of columns, constants and predicates.
//!
//! *Invariant*: only casts that Postgres added are looked through, and only between types whose
//! comparison in [`crate::value`] is the same with and without the cast.

use super::Resolver;
use crate::datum::Datum;
use crate::decimal;
use crate::expr::{Comparison, Expr, Like, Operand};
use crate::routine::Call;
use crate::scalar::{Kind, Scalar};
use crate::sql_type::{Category, SqlType};
use crate::value::{Constant, Stored};
use crate::{WhereError, normalize};

/// An operand; the inner `None` is NULL, the outer one something that must be computed.
pub(super) fn operand(item: &Scalar) -> Option<Option<Operand>> {
    match &item.kind {
        Kind::Constant(None) => Some(None),
        Kind::Constant(Some(datum)) => {
            constant(SqlType::of(&item.data_type)?, datum).map(|one| Some(Operand::Constant(one)))
        }
        Kind::Column(column) => {
            let sql_type = SqlType::of(&item.data_type)?;
            Some(Some(Operand::Column { column: *column, sql_type }))
        }
        Kind::Truth(expr) => Some(Some(Operand::Predicate(expr.clone()))),
        Kind::Cast { operand: inner, modifier: None, implicit: true, .. } => {
            let from = SqlType::of(&inner.data_type)?;
            let to = SqlType::of(&item.data_type)?;
            if from.category() == to.category() && matches!(inner.kind, Kind::Column(_)) {
                operand(inner)
            } else {
                None
            }
        }
        _ => None,
    }
}

pub(super) fn constant(sql_type: SqlType, datum: &Datum) -> Option<Constant> {
    let stored = match datum {
        Datum::Bool(value) => Stored::Bool(*value),
        Datum::Int(int) => Stored::Int(*int),
        Datum::Float(float) => Stored::Float(*float),
        Datum::Numeric(number) => Stored::Numeric(decimal::input(&number.to_string()).ok()?.into()),
        Datum::Text(text) => Stored::Text((**text).into()),
        Datum::Enum { label, .. } => Stored::Text((**label).into()),
        Datum::Uuid(uuid) => Stored::Uuid(*uuid),
        Datum::Date(date) => Stored::Date(*date),
        Datum::Timestamp(timestamp) => Stored::Timestamp(*timestamp),
        _ => return None,
    };
    Some(Constant::new(sql_type, stored))
}

/// Two sides that compare without computing.
pub(super) fn pair(
    left: &Scalar,
    right: &Scalar,
    ordered: bool,
) -> Option<(Option<Operand>, Option<Operand>)> {
    let (left, right) = (operand(left)?, operand(right)?);
    let category = |side: &Option<Operand>| match side {
        None => None,
        Some(Operand::Column { sql_type, .. }) => Some(sql_type.category()),
        Some(Operand::Constant(constant)) => Some(constant.sql_type.category()),
        Some(Operand::Predicate(_)) => Some(Category::Boolean),
    };
    let categories = (category(&left), category(&right));
    let same = match categories {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let labels = |category| category == Some(Category::Enum);
    let reorders = ordered && (labels(categories.0) || labels(categories.1));
    (same && !reorders).then_some((left, right))
}

impl Resolver<'_> {
    /// A call as a predicate that compares in place, if it is one.
    pub(super) fn fast(
        &mut self,
        call: &Call,
        items: &[Scalar],
        at: usize,
    ) -> Result<Option<Expr>, WhereError> {
        let [left, right] = items else { return Ok(None) };
        if !call.is_operator {
            return Ok(None);
        }
        let refuse = |reason| WhereError::at(at, reason);
        if let Some(comparison) = Comparison::from_symbol(call.name) {
            let Some((left, right)) = pair(left, right, comparison.needs_order()) else {
                return Ok(None);
            };
            return normalize::compare(comparison, left, right).map(Some).map_err(refuse);
        }
        let (folds, negated) = match call.code {
            "textlike" => (false, false),
            "textnlike" => (false, true),
            "texticlike" => (true, false),
            "texticnlike" => (true, true),
            _ => return Ok(None),
        };
        let Some((Some(operand), Some(pattern))) = pair(left, right, false) else {
            return Ok(None);
        };
        let fold = call.fold.clone().filter(|_| folds);
        normalize::like(Like { operand, pattern, fold, folded_pattern: None, negated })
            .map(Some)
            .map_err(refuse)
    }
}
