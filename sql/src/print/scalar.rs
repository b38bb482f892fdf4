//! Values that are computed, into SQL.

use super::Printer;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::expr::Expr;
use crate::name::{literal, quote};
use crate::routine::{Call, Conversion};
use crate::scalar::{Kind, Scalar, Subscript};
use crate::text_form;

impl Printer<'_> {
    pub(super) fn scalar(&self, scalar: &Scalar, text: &mut String) {
        match &scalar.kind {
            Kind::Column(column) | Kind::Opaque(column) => *text += &(self.name)(*column),
            Kind::Fields { column, negated, .. } => self.is_null(*column, *negated, text),
            Kind::Constant(value) => constant(&scalar.data_type, value.as_ref(), text),
            Kind::Unknown { text: value, .. } => *text += &literal(value),
            Kind::Truth(expr) => self.expr(expr, text),
            Kind::Call(call, arguments) => self.call(call, arguments, text),
            Kind::Cast { operand, modifier, conversion, .. } => {
                text.push('(');
                match conversion {
                    Conversion::Known(_, forms) => {
                        forms.hold(text, |text| self.scalar(operand, text));
                    }
                    _ => self.scalar(operand, text),
                }
                let modifier = modifier.map(|one| one.sql()).unwrap_or_default();
                *text += &format!("::{}{modifier})", scalar.data_type.sql());
            }
            Kind::Collate(operand) => {
                text.push('(');
                self.scalar(operand, text);
                *text += " COLLATE \"C\")";
            }
            Kind::Quantified { call, left, array, all } => {
                text.push('(');
                self.scalar(left, text);
                *text += &format!(" {} {} (", call.name, if *all { "ALL" } else { "ANY" });
                self.scalar(array, text);
                *text += "))";
            }
            Kind::Distinct { left, right, negated } => {
                text.push('(');
                self.scalar(left, text);
                *text += if *negated { " IS NOT DISTINCT FROM " } else { " IS DISTINCT FROM " };
                self.scalar(right, text);
                text.push(')');
            }
            Kind::Case { branches, otherwise } => self.case(branches, otherwise.as_deref(), text),
            Kind::NullIf { value, other, .. } => {
                *text += "NULLIF(";
                self.scalar(value, text);
                *text += ", ";
                self.scalar(other, text);
                text.push(')');
            }
            Kind::Coalesce(list) => self.scalars("COALESCE(", list, ")", text),
            Kind::Extreme { greatest, list } => {
                self.scalars(if *greatest { "GREATEST(" } else { "LEAST(" }, list, ")", text);
            }
            Kind::Array(list) => self.scalars("ARRAY[", list, "]", text),
            Kind::Row(list) => self.scalars("ROW(", list, ")", text),
            Kind::Subscript { operand, subscripts } => {
                *text += "((";
                self.scalar(operand, text);
                text.push(')');
                for subscript in subscripts {
                    self.subscript(subscript, text);
                }
                text.push(')');
            }
            Kind::RowCompare { comparison, left, right } => {
                self.scalars("(ROW(", left, ")", text);
                *text += &format!(" {} ", comparison.symbol());
                self.scalars("ROW(", right, "))", text);
            }
        }
    }

    fn case(&self, branches: &[(Expr, Scalar)], otherwise: Option<&Scalar>, text: &mut String) {
        *text += "(CASE";
        for (when, then) in branches {
            *text += " WHEN ";
            self.expr(when, text);
            *text += " THEN ";
            self.scalar(then, text);
        }
        if let Some(otherwise) = otherwise {
            *text += " ELSE ";
            self.scalar(otherwise, text);
        }
        *text += " END)";
    }

    fn scalars(&self, open: &str, list: &[Scalar], close: &str, text: &mut String) {
        *text += open;
        for (at, item) in list.iter().enumerate() {
            *text += if at > 0 { ", " } else { "" };
            self.scalar(item, text);
        }
        *text += close;
    }

    fn call(&self, call: &Call, arguments: &[Scalar], text: &mut String) {
        match (call.is_operator, arguments) {
            (true, [operand]) => {
                *text += &format!("({} ", call.name);
                self.scalar(operand, text);
                text.push(')');
            }
            (true, [left, right]) => {
                text.push('(');
                self.scalar(left, text);
                *text += &format!(" {} ", call.name);
                self.scalar(right, text);
                text.push(')');
            }
            _ => {
                let open = format!("pg_catalog.{}(", quote(call.name));
                self.scalars(&open, arguments, ")", text);
            }
        }
    }

    fn subscript(&self, subscript: &Subscript, text: &mut String) {
        text.push('[');
        match subscript {
            Subscript::Index(index) => self.scalar(index, text),
            Subscript::Slice(low, high) => {
                if let Some(low) = low {
                    self.scalar(low, text);
                }
                *text += " : ";
                if let Some(high) = high {
                    self.scalar(high, text);
                }
            }
        }
        text.push(']');
    }
}

/// A constant with its type.
fn constant(data_type: &DataType, value: Option<&Datum>, text: &mut String) {
    let shown = match value {
        None => "NULL".to_owned(),
        Some(datum) => literal(&text_form::output(data_type, datum)),
    };
    // Bare `bpchar` keeps the blanks, and `"char"` would be another type.
    *text += &format!("{shown}::{}", data_type.sql());
}
