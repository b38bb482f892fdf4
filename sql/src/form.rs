//! What predicates share that differ in constants only.
//!
//! *Enters*: an expression in normal form. *Leaves*: a [`Form`] and the constants that were taken out
//! of it, from which the same expression can be put together again.
//! *Invariant*: for one table, a form's text and the texts of the constants together mean the same as
//! the printed expression: two predicates are equal when both are.
//!
//! Taken out are the equalities of a column with a constant that all must hold: what tells a million
//! shapes of one kind apart. Constants elsewhere (in ranges, lists, patterns, alternatives) stay a part
//! of the form.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use crate::expr::{Comparison, Expr, Operand};
use crate::plan::Plan;
use crate::sql_type::SqlType;
use crate::value::Constant;
use crate::{Row, TableSchema, Truth, literal, name, normalize, print};

/// A predicate without the constants that are its own.
#[derive(Debug)]
pub struct Form {
    text: String,
    pub(crate) own: Box<[Own]>,
    /// What must hold besides.
    rest: Expr,
    /// The same, ready for rows.
    pub(crate) plan: Plan,
    columns: Box<[usize]>,
    /// What `columns` are called, quoted.
    names: Box<[String]>,
}

/// An equality whose constant is each predicate's own.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) column: usize,
    pub(crate) sql_type: SqlType,
    /// The type of the constant.
    constant: SqlType,
}

/// Takes the constants out.
pub(crate) fn split(expr: Expr, table: &TableSchema) -> (Form, Vec<Constant>) {
    let mut columns = Vec::new();
    expr.columns(&mut columns);
    columns.sort_unstable();
    columns.dedup();
    let list = match expr {
        Expr::And(list) => list,
        other => vec![other],
    };
    let (mut own, mut constants, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for operand in list {
        match operand {
            Expr::Compare {
                comparison: Comparison::Equal,
                left: Operand::Column { column, sql_type },
                right: Operand::Constant(constant),
            } => {
                own.push(Own { column, sql_type, constant: constant.sql_type });
                constants.push(constant);
            }
            other => rest.push(other),
        }
    }
    let rest = normalize::all(rest);
    let called =
        |at: usize| table.columns.get(at).map_or_else(String::new, |c| name::quote(&c.name));
    let mut text = String::new();
    for one in &own {
        text += &format!("{} = ?::{} AND ", called(one.column), one.constant.name());
    }
    text += &print::expr(&rest, table);
    let names = columns.iter().map(|at| called(*at)).collect();
    let plan = Plan::new(&rest);
    (Form { text, own: own.into(), rest, plan, columns: columns.into(), names }, constants)
}

impl Form {
    /// Its text with a `?` in the place of every constant: equal text means the same form, for the
    /// same table.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its text with a `?` in the place of every constant in it, those that are not each predicate's
    /// own too: for people, and without anybody's values.
    #[must_use]
    pub fn template(&self) -> String {
        mask(&self.text)
    }

    /// What every predicate of this form asks besides its own constants.
    #[must_use]
    pub fn rest_truth(&self, row: &Row) -> Truth {
        self.plan.truth(row)
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The whole expression, in normal form.
    pub(crate) fn expr(&self, constants: &[Constant]) -> Expr {
        let own = self.own.iter().zip(constants).map(|(own, constant)| Expr::Compare {
            comparison: Comparison::Equal,
            left: Operand::Column { column: own.column, sql_type: own.sql_type },
            right: Operand::Constant(constant.clone()),
        });
        normalize::all(own.chain(std::iter::once(self.rest.clone())).collect())
    }

    /// SQL of an expression over the form's columns.
    pub(crate) fn print(&self, expr: &Expr) -> String {
        let called = |column: usize| match self.columns.binary_search(&column) {
            Ok(at) => self.names[at].clone(),
            Err(_) => "NULL".to_owned(),
        };
        print::expr_by_name(expr, &called)
    }

    /// Reads constants that were printed; `None` if they are not the form's.
    pub(crate) fn constants(&self, texts: &[String]) -> Option<Vec<Constant>> {
        let read = |(own, text): (&Own, &String)| {
            literal::input(own.constant, text).ok().filter(|constant| constant.text() == *text)
        };
        let constants: Vec<Constant> =
            self.own.iter().zip(texts).map(read).collect::<Option<_>>()?;
        (texts.len() == self.own.len()).then_some(constants)
    }
}

/// Constants of a list, masked.
static LISTS: LazyLock<Option<regex::Regex>> =
    LazyLock::new(|| regex::Regex::new(r"(\?(?:::[a-z0-9_]+)?)(?:, \?(?:::[a-z0-9_]+)?)+").ok());

/// Puts a `?` in the place of every quoted constant; several in a row are one.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                // A name: quotes within are doubled, so each half is one.
                masked.push(c);
                masked.extend(rest.by_ref().take_while(|c| *c != '"'));
                masked.push('"');
            }
            '\'' => {
                while let Some(c) = rest.next() {
                    if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                        break;
                    }
                }
                masked.push('?');
            }
            other => masked.push(other),
        }
    }
    let Some(lists) = &*LISTS else { return masked };
    lists.replace_all(&masked, "$1, …").into_owned()
}

impl PartialEq for Form {
    fn eq(&self, other: &Form) -> bool {
        self.text == other.text
    }
}

impl Eq for Form {}

impl Hash for Form {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
