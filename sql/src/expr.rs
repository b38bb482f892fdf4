//! Typed predicates.
//!
//! *Invariant*: every expression has been made by `normalize`: AND and OR hold at least two
//! operands, none of them the same kind; constants stand on the right; NOT has been pushed down to
//! what it negates; no operand is a NULL constant.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::CaseMap;
use crate::scalar::{Scalar, Shared};
use crate::sql_type::SqlType;
use crate::value::Constant;

/// A predicate over one row.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// True, false or NULL for every row.
    Constant(Option<bool>),
    /// A boolean column equals a constant.
    Flag {
        column: usize,
        expected: bool,
    },
    Compare {
        comparison: Comparison,
        left: Operand,
        right: Operand,
    },
    /// `IS [NOT] DISTINCT FROM`; `negated` is the form with NOT, an equality.
    Distinct {
        left: Operand,
        right: Operand,
        negated: bool,
    },
    /// `list` is sorted and without duplicates, `null` says whether NULL was in it too.
    In {
        operand: Operand,
        list: Arc<[Constant]>,
        null: bool,
        negated: bool,
    },
    Like(Box<Like>),
    IsNull {
        column: usize,
        negated: bool,
    },
    Test {
        operand: Box<Expr>,
        expected: Option<bool>,
        negated: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// A boolean that has to be computed.
    Computed {
        scalar: Shared,
        negated: bool,
    },
    /// `IS NULL` of something that has to be computed.
    Null {
        scalar: Shared,
        negated: bool,
    },
}

/// `[NOT] LIKE` and `[NOT] ILIKE`.
#[derive(Debug, Clone)]
pub(crate) struct Like {
    pub(crate) operand: Operand,
    pub(crate) pattern: Operand,
    /// The collation's case map: ILIKE.
    pub(crate) fold: Option<Arc<CaseMap>>,
    /// The constant pattern, folded where that is asked for.
    pub(crate) folded_pattern: Option<Box<str>>,
    pub(crate) negated: bool,
}

/// What is compared.
#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Column {
        column: usize,
        sql_type: SqlType,
    },
    Constant(Constant),
    /// A boolean.
    Predicate(Box<Expr>),
}

/// The comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn from_symbol(symbol: &str) -> Option<Comparison> {
        Some(match symbol {
            "=" => Comparison::Equal,
            "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The comparison with the sides exchanged.
    pub(crate) fn flipped(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    /// The comparison that holds exactly when this one does not; every order here is total.
    pub(crate) fn inverse(self) -> Comparison {
        match self {
            Comparison::Equal => Comparison::NotEqual,
            Comparison::NotEqual => Comparison::Equal,
            Comparison::Less => Comparison::GreaterOrEqual,
            Comparison::LessOrEqual => Comparison::Greater,
            Comparison::Greater => Comparison::LessOrEqual,
            Comparison::GreaterOrEqual => Comparison::Less,
        }
    }

    /// Whether it asks for more than equality.
    pub(crate) fn needs_order(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::NotEqual)
    }
}

impl Expr {
    /// Adds the columns it reads.
    pub(crate) fn columns(&self, into: &mut Vec<usize>) {
        match self {
            Expr::Constant(_) => {}
            Expr::Flag { column, .. } | Expr::IsNull { column, .. } => into.push(*column),
            Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
                left.columns(into);
                right.columns(into);
            }
            Expr::In { operand, .. } => operand.columns(into),
            Expr::Like(like) => {
                like.operand.columns(into);
                like.pattern.columns(into);
            }
            Expr::Test { operand, .. } => operand.columns(into),
            Expr::And(list) | Expr::Or(list) => list.iter().for_each(|expr| expr.columns(into)),
            Expr::Computed { scalar, .. } | Expr::Null { scalar, .. } => scalar.columns(into),
        }
    }

    /// How many expressions it is made of.
    pub(crate) fn size(&self) -> usize {
        1 + match self {
            Expr::Constant(_) | Expr::Flag { .. } | Expr::IsNull { .. } => 0,
            Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
                left.size() + right.size()
            }
            Expr::In { operand, list, .. } => operand.size() + list.len(),
            Expr::Like(like) => like.operand.size() + like.pattern.size(),
            Expr::Test { operand, .. } => operand.size(),
            Expr::And(list) | Expr::Or(list) => list.iter().map(Expr::size).sum(),
            Expr::Computed { scalar, .. } | Expr::Null { scalar, .. } => scalar.size(),
        }
    }

    /// Visits the computed values it is made of.
    pub(crate) fn for_each_scalar(&self, visit: &mut dyn FnMut(&Scalar)) {
        let mut of_operand = |operand: &Operand| {
            if let Operand::Predicate(expr) = operand {
                expr.for_each_scalar(visit);
            }
        };
        match self {
            Expr::Constant(_) | Expr::Flag { .. } | Expr::IsNull { .. } => {}
            Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
                of_operand(left);
                of_operand(right);
            }
            Expr::In { operand, .. } => of_operand(operand),
            Expr::Like(like) => {
                of_operand(&like.operand);
                of_operand(&like.pattern);
            }
            Expr::Test { operand, .. } => operand.for_each_scalar(visit),
            Expr::And(list) | Expr::Or(list) => {
                list.iter().for_each(|expr| expr.for_each_scalar(visit));
            }
            Expr::Computed { scalar, .. } | Expr::Null { scalar, .. } => visit(scalar),
        }
    }
}

impl Operand {
    fn size(&self) -> usize {
        match self {
            Operand::Column { .. } | Operand::Constant(_) => 1,
            Operand::Predicate(expr) => expr.size(),
        }
    }

    fn columns(&self, into: &mut Vec<usize>) {
        match self {
            Operand::Column { column, .. } => into.push(*column),
            Operand::Constant(_) => {}
            Operand::Predicate(expr) => expr.columns(into),
        }
    }
}
