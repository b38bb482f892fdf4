//! Expressions into SQL.
//!
//! *Enters*: a typed expression. *Leaves*: SQL that means the same to Postgres whatever its
//! operator precedence: every operator in parentheses, every constant with its type.
//! *Invariant*: nothing of the user's text gets through but column names, quoted, and the values of
//! constants, quoted.

use crate::expr::{Expr, Like, Operand};
use crate::name::literal;
use crate::scalar::Scalar;
use crate::sql_type::SqlType;
use crate::value::Constant;

mod scalar;

/// The SQL of an expression over columns that are called as `name` says.
pub(crate) fn expr_by_name(expr: &Expr, name: &dyn Fn(usize) -> String) -> String {
    let mut text = String::new();
    Printer { name }.expr(expr, &mut text);
    text
}

/// SQL of something computed.
pub(crate) fn scalar_by_name(scalar: &Scalar, name: &dyn Fn(usize) -> String) -> String {
    let mut text = String::new();
    Printer { name }.scalar(scalar, &mut text);
    text
}

/// The same with columns as numbers: an identity that needs no table.
pub(crate) fn expr_by_number(expr: &Expr) -> String {
    let mut text = String::new();
    Printer { name: &|column| format!("#{column:05}") }.expr(expr, &mut text);
    text
}

struct Printer<'a> {
    name: &'a dyn Fn(usize) -> String,
}

impl Printer<'_> {
    fn expr(&self, expr: &Expr, text: &mut String) {
        match expr {
            Expr::Constant(None) => *text += "NULL::bool",
            Expr::Constant(Some(value)) => *text += if *value { "true" } else { "false" },
            Expr::Flag { column, expected: true } => *text += &(self.name)(*column),
            Expr::Flag { column, expected: false } => {
                *text += &format!("(NOT {})", (self.name)(*column));
            }
            Expr::Compare { comparison, left, right } => {
                self.binary(left, comparison.symbol(), right, text);
            }
            Expr::Distinct { left, right, negated } => {
                let operator = if *negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" };
                self.binary(left, operator, right, text);
            }
            Expr::In { operand, list, null, negated } => {
                self.list(operand, list, *null, *negated, text);
            }
            Expr::Like(like) => self.like(like, text),
            Expr::IsNull { column, negated } => self.is_null(*column, *negated, text),
            Expr::Test { operand, expected, negated } => {
                text.push('(');
                self.expr(operand, text);
                *text += if *negated { " IS NOT " } else { " IS " };
                *text += match expected {
                    Some(true) => "TRUE)",
                    Some(false) => "FALSE)",
                    None => "UNKNOWN)",
                };
            }
            Expr::And(list) => self.chain(list, " AND ", text),
            Expr::Or(list) => self.chain(list, " OR ", text),
            Expr::Computed { scalar, negated } => {
                *text += if *negated { "(NOT " } else { "" };
                self.scalar(scalar, text);
                *text += if *negated { ")" } else { "" };
            }
            Expr::Null { scalar, negated } => {
                text.push('(');
                self.scalar(scalar, text);
                *text += if *negated { " IS NOT NULL)" } else { " IS NULL)" };
            }
        }
    }

    fn is_null(&self, column: usize, negated: bool, text: &mut String) {
        let not = if negated { "NOT " } else { "" };
        *text += &format!("({} IS {not}NULL)", (self.name)(column));
    }

    fn chain(&self, list: &[Expr], connective: &str, text: &mut String) {
        text.push('(');
        for (at, operand) in list.iter().enumerate() {
            if at > 0 {
                *text += connective;
            }
            self.expr(operand, text);
        }
        text.push(')');
    }

    fn binary(&self, left: &Operand, operator: &str, right: &Operand, text: &mut String) {
        text.push('(');
        self.operand(left, text);
        *text += &format!(" {operator} ");
        self.operand(right, text);
        text.push(')');
    }

    fn operand(&self, operand: &Operand, text: &mut String) {
        match operand {
            Operand::Column { column, .. } => *text += &(self.name)(*column),
            Operand::Constant(value) => constant(value, text),
            Operand::Predicate(expr) => self.expr(expr, text),
        }
    }

    fn list(
        &self,
        operand: &Operand,
        list: &[Constant],
        null: bool,
        negated: bool,
        text: &mut String,
    ) {
        text.push('(');
        self.operand(operand, text);
        *text += if negated { " NOT IN (" } else { " IN (" };
        for (at, element) in list.iter().enumerate() {
            if at > 0 {
                *text += ", ";
            }
            constant(element, text);
        }
        *text += if null { ", NULL))" } else { "))" };
    }

    fn like(&self, like: &Like, text: &mut String) {
        let operator = match (like.fold.is_some(), like.negated) {
            (false, false) => "LIKE",
            (false, true) => "NOT LIKE",
            (true, false) => "ILIKE",
            (true, true) => "NOT ILIKE",
        };
        self.binary(&like.operand, operator, &like.pattern, text);
    }
}

/// SQL of a constant.
pub(crate) fn constant_alone(value: &Constant) -> String {
    let mut text = String::new();
    constant(value, &mut text);
    text
}

fn constant(constant: &Constant, text: &mut String) {
    if constant.sql_type == SqlType::Enum {
        // It stands opposite a column of its type, which it takes.
        *text += &literal(&constant.text());
        return;
    }
    *text += &format!("{}::{}", literal(&constant.text()), constant.sql_type.name());
}
