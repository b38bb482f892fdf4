//! Typed expressions of any type: what a predicate compares, computes and tests.
//!
//! *Invariant*: names, overloads and casts have been resolved; every call has code of ours that
//! gives Postgres' result; constants among themselves have been computed.

use std::sync::Arc;

use crate::data_type::DataType;
use crate::datum::Datum;
use crate::expr::{Comparison, Expr};
use crate::routine::{Call, Conversion, Modifier};

/// An expression with a value.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    pub(crate) data_type: DataType,
    /// Where it stands in the user's text.
    pub(crate) at: usize,
}

/// What it is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Column(usize),
    /// A column of a type we cannot look into.
    Opaque(usize),
    /// Whether all fields of a composite column are NULL; with `negated` whether none is.
    Fields {
        column: usize,
        negated: bool,
        count: usize,
    },
    /// `None` is NULL.
    Constant(Option<Datum>),
    /// A constant whose type the context decides; gone once it has.
    Unknown {
        text: String,
        parameter: Option<usize>,
    },
    /// A boolean.
    Truth(Box<Expr>),
    Call(Box<Call>, Vec<Scalar>),
    Cast {
        operand: Box<Scalar>,
        conversion: Conversion,
        modifier: Option<Modifier>,
        /// Not written by the user.
        implicit: bool,
    },
    Collate(Box<Scalar>),
    /// `left operator ANY|ALL (array)`.
    Quantified {
        call: Box<Call>,
        left: Box<Scalar>,
        array: Box<Scalar>,
        all: bool,
    },
    /// `IS DISTINCT FROM`, with `negated` IS NOT DISTINCT FROM.
    Distinct {
        left: Box<Scalar>,
        right: Box<Scalar>,
        negated: bool,
    },
    Case {
        branches: Vec<(Expr, Scalar)>,
        otherwise: Option<Box<Scalar>>,
    },
    /// `nullif(value, other)` as `equal` says.
    NullIf {
        equal: Box<Scalar>,
        value: Box<Scalar>,
        other: Box<Scalar>,
    },
    Coalesce(Vec<Scalar>),
    /// GREATEST, LEAST.
    Extreme {
        greatest: bool,
        list: Vec<Scalar>,
    },
    Array(Vec<Scalar>),
    Subscript {
        operand: Box<Scalar>,
        subscripts: Vec<Subscript>,
    },
    /// A row value; only within a comparison or a test for NULL.
    Row(Vec<Scalar>),
    /// `(a, b) < (c, d)` for the four comparisons that are not AND or OR of others.
    RowCompare {
        comparison: Comparison,
        left: Vec<Scalar>,
        right: Vec<Scalar>,
    },
}

/// `[index]` or `[lower:upper]`.
#[derive(Debug, Clone)]
pub(crate) enum Subscript {
    Index(Scalar),
    Slice(Option<Scalar>, Option<Scalar>),
}

impl Scalar {
    pub(crate) fn new(kind: Kind, data_type: impl Into<DataType>, at: usize) -> Scalar {
        Scalar { kind, data_type: data_type.into(), at }
    }

    pub(crate) fn truth(expr: Expr, at: usize) -> Scalar {
        Scalar::new(Kind::Truth(Box::new(expr)), crate::oid::Oid::BOOL, at)
    }

    /// Its value, where that is the same for every row.
    pub(crate) fn constant(&self) -> Option<&Option<Datum>> {
        match &self.kind {
            Kind::Constant(value) => Some(value),
            Kind::Collate(operand) => operand.constant(),
            _ => None,
        }
    }

    /// Whether it is NULL before any row is looked at: Postgres computes nothing of it then, so nothing
    /// in it can fail.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Constant(value) => value.is_none(),
            Kind::Collate(operand) | Kind::Cast { operand, .. } => operand.is_null(),
            Kind::Call(call, arguments) => call.strict && arguments.iter().any(Scalar::is_null),
            _ => false,
        }
    }

    /// Visits the expressions right below this one.
    pub(crate) fn for_each_child(&self, visit: &mut dyn FnMut(&Scalar)) {
        match &self.kind {
            Kind::Column(_)
            | Kind::Opaque(_)
            | Kind::Fields { .. }
            | Kind::Constant(_)
            | Kind::Unknown { .. } => {}
            Kind::Truth(expr) => expr.for_each_scalar(visit),
            Kind::Call(_, list)
            | Kind::Coalesce(list)
            | Kind::Extreme { list, .. }
            | Kind::Array(list)
            | Kind::Row(list) => list.iter().for_each(visit),
            Kind::Cast { operand, .. } | Kind::Collate(operand) => visit(operand),
            Kind::Quantified { left, array: right, .. } | Kind::Distinct { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Kind::Case { branches, otherwise } => {
                for (when, then) in branches {
                    when.for_each_scalar(visit);
                    visit(then);
                }
                otherwise.iter().for_each(|otherwise| visit(otherwise));
            }
            // `equal` is made of the other two.
            Kind::NullIf { value, other, .. } => {
                visit(value);
                visit(other);
            }
            Kind::Subscript { operand, subscripts } => {
                visit(operand);
                for subscript in subscripts {
                    match subscript {
                        Subscript::Index(index) => visit(index),
                        Subscript::Slice(low, high) => low.iter().chain(high).for_each(&mut *visit),
                    }
                }
            }
            Kind::RowCompare { left, right, .. } => left.iter().chain(right).for_each(visit),
        }
    }

    /// Adds the columns it reads.
    pub(crate) fn columns(&self, into: &mut Vec<usize>) {
        match &self.kind {
            Kind::Column(column) | Kind::Opaque(column) | Kind::Fields { column, .. } => {
                into.push(*column);
            }
            Kind::Truth(expr) => expr.columns(into),
            Kind::Case { branches, otherwise } => {
                for (when, then) in branches {
                    when.columns(into);
                    then.columns(into);
                }
                otherwise.iter().for_each(|otherwise| otherwise.columns(into));
            }
            _ => self.for_each_child(&mut |child| child.columns(into)),
        }
    }

    /// How many expressions a copy of it is made of.
    pub(crate) fn size(&self) -> usize {
        let mut size = 1;
        match &self.kind {
            Kind::Truth(expr) => size += expr.size(),
            Kind::Case { branches, otherwise } => {
                size +=
                    branches.iter().map(|(when, then)| when.size() + then.size()).sum::<usize>();
                size += otherwise.as_ref().map_or(0, |otherwise| otherwise.size());
            }
            Kind::NullIf { equal, value, other } => {
                size += equal.size() + value.size() + other.size();
            }
            _ => self.for_each_child(&mut |child| size += child.size()),
        }
        size
    }
}

/// A scalar that a predicate shares.
pub(crate) type Shared = Arc<Scalar>;
