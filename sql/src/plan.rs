//! The form of a predicate that rows are tested with.
//!
//! *Enters*: an expression. *Leaves*: a plan, and its truth for a row.
//! *Invariant*: a plan has the expression's outcome for every row. What is common is decided on a
//! column's text as it stands; whatever a quick test does not know (another form of a value, text
//! that is no value) goes to the general evaluator, so errors are found in one place only.

use std::sync::Arc;

use crate::data_type::DataType;
use crate::datum::Datum;
use crate::evaluate;
use crate::expr::{Comparison, Expr, Operand};
use crate::oid::Oid;
use crate::routine::{Call, Conversion};
use crate::scalar::{Kind, Scalar};
use crate::sql_type::SqlType;
use crate::value::{Constant, Stored};
use crate::{Row, Truth};

mod column_test;
mod elements;
mod ordinal;
mod range;

use column_test::{ColumnTest, Matcher};
use ordinal::Ordinal;
use range::Range;

/// A prepared predicate.
#[derive(Debug)]
pub(crate) enum Plan {
    And(Vec<Plan>),
    Or(Vec<Plan>),
    /// CASE of booleans.
    Case {
        branches: Vec<(Plan, Plan)>,
        otherwise: Box<Plan>,
        negated: bool,
    },
    /// Of one column; NULL where that is NULL.
    Column {
        column: usize,
        test: ColumnTest,
        negated: bool,
        /// The same for the general evaluator.
        expr: Expr,
    },
    General(Expr),
}

impl Plan {
    /// Prepares an expression.
    pub(crate) fn new(expr: &Expr) -> Plan {
        match expr {
            Expr::And(list) => match merge(list.iter().map(Plan::new).collect()) {
                (1, Some(only), _) => only,
                (_, last, mut list) => {
                    list.extend(last);
                    Plan::And(list)
                }
            },
            Expr::Or(list) => Plan::Or(list.iter().map(Plan::new).collect()),
            Expr::Computed { scalar, negated } => match &scalar.kind {
                Kind::Case { branches, otherwise } => Plan::case(branches, otherwise, *negated),
                _ => Plan::leaf(expr),
            },
            other => Plan::leaf(other),
        }
    }

    fn leaf(expr: &Expr) -> Plan {
        match prepare(expr) {
            Some((column, test, negated)) => {
                Plan::Column { column, test, negated, expr: expr.clone() }
            }
            None => Plan::General(expr.clone()),
        }
    }

    fn case(branches: &[(Expr, Scalar)], otherwise: &Option<Box<Scalar>>, negated: bool) -> Plan {
        let branches = branches.iter().map(|(when, then)| (Plan::new(when), Plan::scalar(then)));
        let otherwise = match otherwise {
            Some(scalar) => Plan::scalar(scalar),
            None => Plan::General(Expr::Constant(None)),
        };
        Plan::Case { branches: branches.collect(), otherwise: Box::new(otherwise), negated }
    }

    /// Of a boolean.
    fn scalar(scalar: &Scalar) -> Plan {
        match &scalar.kind {
            Kind::Truth(expr) => Plan::new(expr),
            _ => Plan::new(&Expr::Computed { scalar: Arc::new(scalar.clone()), negated: false }),
        }
    }

    /// The outcome for a row.
    pub(crate) fn truth(&self, row: &Row) -> Truth {
        match self {
            Plan::And(list) => Truth::all(list.iter().map(|plan| plan.truth(row))),
            Plan::Or(list) => Truth::any(list.iter().map(|plan| plan.truth(row))),
            Plan::Case { branches, otherwise, negated } => {
                for (when, then) in branches {
                    match when.truth(row) {
                        Truth::Error => return Truth::Error,
                        Truth::True => return then.truth(row).negate_if(*negated),
                        Truth::False | Truth::Null => {}
                    }
                }
                otherwise.truth(row).negate_if(*negated)
            }
            Plan::Column { column, test, negated, expr } => match row.get(*column) {
                None => Truth::Null,
                Some(text) => match test.run(text) {
                    Some(truth) => truth.negate_if(*negated),
                    None => evaluate::evaluate(expr, row),
                },
            },
            Plan::General(expr) => evaluate::evaluate(expr, row),
        }
    }
}

/// Joins the ranges of one column under AND, so that its text is read once. Gives the number of
/// plans left, the last of them and the others.
fn merge(plans: Vec<Plan>) -> (usize, Option<Plan>, Vec<Plan>) {
    let mut merged: Vec<Plan> = Vec::with_capacity(plans.len());
    for plan in plans {
        if !merged.iter_mut().any(|earlier| narrow(earlier, &plan)) {
            merged.push(plan);
        }
    }
    (merged.len(), merged.pop(), merged)
}

/// Takes a later range of the same column into an earlier one, if they are such.
fn narrow(earlier: &mut Plan, later: &Plan) -> bool {
    let Plan::Column { column, test: ColumnTest::Range(kind, range), negated: false, expr } =
        earlier
    else {
        return false;
    };
    match later {
        Plan::Column {
            column: other,
            test: ColumnTest::Range(other_kind, other_range),
            negated: false,
            expr: other_expr,
        } if other == column && other_kind == kind => {
            *range = range.and(*other_range);
            // Flat: there may be thousands, and each level is one of the evaluator's stack.
            match expr {
                Expr::And(list) => list.push(other_expr.clone()),
                first => {
                    let taken = std::mem::replace(first, Expr::Constant(None));
                    *first = Expr::And(vec![taken, other_expr.clone()]);
                }
            }
            true
        }
        _ => false,
    }
}

type Prepared = (usize, ColumnTest, bool);

fn prepare(expr: &Expr) -> Option<Prepared> {
    match expr {
        Expr::Compare {
            comparison,
            left: Operand::Column { column, sql_type },
            right: Operand::Constant(constant),
        } => match (Ordinal::of(*sql_type), &constant.stored) {
            (_, Stored::Text(text)) => {
                let matcher = Matcher::Compare(*comparison, text.clone());
                Some((*column, ColumnTest::Text(matcher), false))
            }
            (Some(kind), _) => {
                let (range, negated) = Range::new(*comparison, kind.constant(constant)?);
                Some((*column, ColumnTest::Range(kind, range), negated))
            }
            _ => None,
        },
        Expr::In { operand: Operand::Column { column, sql_type }, list, null, negated } => {
            let test = set(Ordinal::of(*sql_type), list, *null)?;
            Some((*column, test, *negated))
        }
        Expr::Like(like) => match (&like.operand, &like.pattern) {
            (Operand::Column { column, .. }, Operand::Constant(_)) => {
                let pattern = match (&like.folded_pattern, &like.pattern) {
                    (Some(pattern), _) => pattern,
                    (None, Operand::Constant(Constant { stored: Stored::Text(text), .. })) => text,
                    _ => return None,
                };
                let matcher = Matcher::like(pattern)?;
                let test = match &like.fold {
                    None => ColumnTest::Text(matcher),
                    Some(map) => ColumnTest::Folded { map: map.clone(), upper: false, matcher },
                };
                Some((*column, test, like.negated))
            }
            _ => None,
        },
        Expr::Computed { scalar, negated } => {
            let (column, test, inner) = computed(scalar)?;
            Some((column, test, inner != *negated))
        }
        _ => None,
    }
}

fn set(kind: Option<Ordinal>, list: &[Constant], null: bool) -> Option<ColumnTest> {
    if let Some(kind) = kind {
        let keys: Option<Vec<i128>> = list.iter().map(|constant| kind.constant(constant)).collect();
        let mut keys = keys?;
        keys.sort_unstable();
        return Some(ColumnTest::Set { kind, keys: keys.into(), null });
    }
    let texts = list.iter().map(|constant| match &constant.stored {
        Stored::Text(text) => Some(Box::from(text.as_bytes())),
        _ => None,
    });
    Some(ColumnTest::texts(texts.collect::<Option<Vec<_>>>()?, null))
}

/// What is computed from one column and constants, in the forms that applications write most.
fn computed(scalar: &Scalar) -> Option<Prepared> {
    match &scalar.kind {
        Kind::Call(call, arguments) => {
            let [left, right] = arguments.as_slice() else { return None };
            call_test(call, left, right)
        }
        Kind::Quantified { call, left, array, all: false } if call.name == "=" => {
            if let Some(Datum::Array(list)) = constant(array) {
                return Some((column_of(left)?, any_of(&left.data_type, &list.elements)?, false));
            }
            let element = array.data_type.element.as_deref()?;
            let column = column_of(array)?;
            let kind = elements::Kind::of(element.oid)?;
            let wanted = kind.wanted(left.constant()?.as_ref()?)?;
            Some((column, ColumnTest::HasElement(wanted), false))
        }
        _ => None,
    }
}

/// `column = ANY ('{…}')`.
fn any_of(data_type: &DataType, list: &[Option<Datum>]) -> Option<ColumnTest> {
    let sql_type = SqlType::of(data_type)?;
    let constants = list.iter().flatten().map(|element| {
        let stored = match (sql_type, element) {
            (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Datum::Int(int)) => Stored::Int(*int),
            (SqlType::Text, Datum::Text(text)) => Stored::Text((**text).into()),
            (SqlType::Uuid, Datum::Uuid(uuid)) => Stored::Uuid(*uuid),
            _ => return None,
        };
        Some(Constant::new(sql_type, stored))
    });
    let constants = constants.collect::<Option<Vec<_>>>()?;
    let kind = match Ordinal::of(sql_type) {
        Some(Ordinal::Int) => Some(Ordinal::Within(sql_type)),
        kind => kind,
    };
    set(kind, &constants, list.iter().any(Option::is_none))
}

fn call_test(call: &Call, left: &Scalar, right: &Scalar) -> Option<Prepared> {
    let comparison = Comparison::from_symbol(call.name).filter(|_| call.is_operator);
    match (comparison, call.code) {
        (Some(comparison), _) => match (constant(left), constant(right)) {
            (None, Some(Datum::Text(text))) => compared(comparison, left, text),
            (Some(Datum::Text(text)), None) => compared(comparison.flipped(), right, text),
            (None, Some(Datum::Int(int))) => remainder(comparison, left, *int),
            _ => None,
        },
        (None, "textlike" | "textnlike" | "texticlike" | "texticnlike") => {
            let Datum::Text(pattern) = constant(right)? else { return None };
            let (column, test) = liked(call, left, pattern)?;
            Some((column, test, call.code.ends_with("nlike")))
        }
        (None, "jsonb_contains") => {
            let Datum::Json(part) = constant(right)? else { return None };
            Some((column_of(left)?, ColumnTest::JsonContains((&**part).into()), false))
        }
        (None, "arraycontains") => {
            let Datum::Array(part) = constant(right)? else { return None };
            let kind = elements::Kind::of(left.data_type.element.as_deref()?.oid)?;
            let wanted = part.elements.iter().map(|element| kind.wanted(element.as_ref()?));
            let wanted = wanted.collect::<Option<Vec<_>>>().filter(|list| !list.is_empty())?;
            Some((column_of(left)?, ColumnTest::HasElements(wanted), false))
        }
        _ => None,
    }
}

/// LIKE of a column or of its folded text, ILIKE of a column.
fn liked(call: &Call, left: &Scalar, pattern: &str) -> Option<(usize, ColumnTest)> {
    let ignores_case = call.code.contains("ic");
    if let Some((column, map, upper)) = folded(left).filter(|_| !ignores_case) {
        let matcher = Matcher::like(pattern)?;
        return Some((column, ColumnTest::Folded { map: map.clone(), upper, matcher }));
    }
    let column = column_of(left).filter(|_| is_text(left))?;
    if !ignores_case {
        return Some((column, ColumnTest::Text(Matcher::like(pattern)?)));
    }
    let map = call.fold.clone()?;
    let pattern: String = pattern.chars().map(|c| map.lower(c)).collect();
    let matcher = Matcher::like(&pattern)?;
    Some((column, ColumnTest::Folded { map, upper: false, matcher }))
}

/// `column % constant`, compared with a constant.
fn remainder(comparison: Comparison, made: &Scalar, int: i64) -> Option<Prepared> {
    let Kind::Call(call, arguments) = &made.kind else { return None };
    let ("int2mod" | "int4mod" | "int8mod", [left, right]) = (call.code, arguments.as_slice())
    else {
        return None;
    };
    let Datum::Int(by) = constant(right)? else { return None };
    let (range, negated) = Range::new(comparison, i128::from(int));
    let sql_type = SqlType::of(&left.data_type)?;
    let test = ColumnTest::Remainder { sql_type, by: i128::from(*by), range };
    Some((column_of(left)?, test, negated))
}

/// A text that is made of a column, compared with a constant.
fn compared(comparison: Comparison, made: &Scalar, text: &str) -> Option<Prepared> {
    let matcher = Matcher::Compare(comparison, text.into());
    if let Some((column, map, upper)) = folded(made) {
        return Some((column, ColumnTest::Folded { map: map.clone(), upper, matcher }, false));
    }
    let Kind::Call(call, arguments) = &made.kind else { return None };
    let ("jsonb_object_field_text", [json, key]) = (call.code, arguments.as_slice()) else {
        return None;
    };
    let Datum::Text(key) = constant(key)? else { return None };
    Some((column_of(json)?, ColumnTest::JsonMember { key: (**key).into(), matcher }, false))
}

/// `lower(column)` or `upper(column)`.
fn folded(scalar: &Scalar) -> Option<(usize, &Arc<crate::CaseMap>, bool)> {
    let Kind::Call(call, arguments) = &scalar.kind else { return None };
    match (call.code, arguments.as_slice()) {
        ("lower" | "upper", [text]) if is_text(text) => {
            Some((column_of(bare(text))?, call.fold.as_ref()?, call.code == "upper"))
        }
        _ => None,
    }
}

/// A column of `citext` stands under a cast that changes nothing.
fn bare(text: &Scalar) -> &Scalar {
    match &text.kind {
        Kind::Cast { operand, conversion: Conversion::Relabel, modifier: None, .. }
            if is_text(operand) =>
        {
            operand
        }
        _ => text,
    }
}

fn is_text(scalar: &Scalar) -> bool {
    [Oid::TEXT, Oid::VARCHAR].contains(&scalar.data_type.oid)
}

fn column_of(scalar: &Scalar) -> Option<usize> {
    match scalar.kind {
        Kind::Column(column) => Some(column),
        _ => None,
    }
}

fn constant(scalar: &Scalar) -> Option<&Datum> {
    scalar.constant()?.as_ref()
}

#[cfg(test)]
mod tests;
