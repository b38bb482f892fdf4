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

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::expr::{Comparison, Expr, Operand};
use crate::mathematics::Functions;
use crate::plan::Plan;
use crate::routine::Call;
use crate::scalar::{Kind, Scalar};
use crate::sql_type::SqlType;
use crate::subquery::{Membership, Side};
use crate::value::{Constant, Stored};
use crate::{
    Row, RowBuilder, RowError, TableSchema, Truth, Zone, Zones, access, literal, normalize, print,
};

/// A predicate without the constants that are its own.
#[derive(Debug)]
pub struct Form {
    text: String,
    /// How much of it is for people.
    shown: usize,
    pub(crate) own: Box<[Own]>,
    /// What must hold besides.
    rest: Expr,
    /// The same, ready for rows.
    pub(crate) plan: Plan,
    /// Those of the table that it reads.
    columns: Box<[usize]>,
    /// The columns in the expression and what they are called, quoted; tests of subqueries among them.
    printed: Box<[usize]>,
    names: Box<[String]>,
    /// How many columns the table has: those behind them are tests of subqueries.
    width: usize,
    memberships: Box<[Membership]>,
    /// Of each of them, whether false and NULL come to the same.
    positive: Box<[bool]>,
    /// And whether nothing is true without it.
    required: Box<[bool]>,
    /// The time zones in it, not those in its subqueries.
    zones: Box<[Arc<Zone>]>,
    /// What the C library computes in it, besides its subqueries' filters.
    mathematics: Functions,
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
pub(crate) fn split(
    expr: Expr,
    table: &TableSchema,
    memberships: Vec<Membership>,
) -> (Form, Vec<Stored>) {
    let width = table.columns.len();
    let mut printed = Vec::new();
    expr.columns(&mut printed);
    let tested = memberships.iter().flat_map(|membership| &*membership.left);
    let tested = tested.flat_map(Side::columns);
    let read = printed.iter().filter(|at| **at < width);
    let columns = sorted(read.chain(tested).copied().collect());
    let printed = sorted(printed);
    let positive = (0..memberships.len()).map(|at| is_positive(&expr, width + at)).collect();
    let required = (0..memberships.len()).map(|at| is_required(&expr, width + at)).collect();
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
                constants.push(constant.stored);
            }
            other => rest.push(other),
        }
    }
    let rest = normalize::all(rest);
    let called = |at: usize| match table.columns.get(at) {
        Some(column) => column.sql(),
        None => memberships.get(at - width).map_or_else(String::new, |one| one.sql(table)),
    };
    let mut text = String::new();
    for one in &own {
        text += &format!("{} = ?::{} AND ", called(one.column), one.constant.name());
    }
    text += &print::expr_by_name(&rest, &called);
    let shown = text.len();
    // A table of the same name may be another one.
    memberships.iter().for_each(|one| text += &one.identity());
    let (zones, mathematics) = asked_of_the_server(&rest, &memberships);
    // The rules of a zone may be others by now.
    zones.iter().for_each(|zone| text += &zone.identity());
    let names = printed.iter().map(|at| called(*at)).collect();
    let (own, plan, columns) = (own.into(), Plan::new(&rest), columns.into());
    let (printed, memberships) = (printed.into(), memberships.into());
    let form = Form {
        text,
        shown,
        own,
        rest,
        plan,
        columns,
        printed,
        names,
        width,
        memberships,
        positive,
        required,
        zones: zones.into(),
        mathematics,
    };
    (form, constants)
}

/// The zones in an expression and in what it tests and selects, each once, and what the C library computes in it.
fn asked_of_the_server(expr: &Expr, memberships: &[Membership]) -> (Vec<Arc<Zone>>, Functions) {
    let (mut zones, mut mathematics) = (Vec::new(), Functions::none());
    for_each_call(expr, memberships, &mut |call| {
        zones.extend(call.zone.iter().cloned());
        mathematics.add(Functions::of(call.code));
    });
    zones.sort_by(|one, other| one.name().cmp(other.name()));
    zones.dedup();
    (zones, mathematics)
}

/// The calls in an expression and in what it tests and selects.
fn for_each_call(expr: &Expr, memberships: &[Membership], found: &mut impl FnMut(&Call)) {
    fn visit(scalar: &Scalar, found: &mut impl FnMut(&Call)) {
        if let Kind::Call(call, _) = &scalar.kind {
            found(call);
        }
        scalar.for_each_child(&mut |child| visit(child, found));
    }
    expr.for_each_scalar(&mut |scalar| visit(scalar, found));
    let sides = memberships.iter().flat_map(|one| one.left.iter().chain(&one.subquery.columns));
    sides.filter_map(Side::scalar).for_each(|scalar| visit(scalar, found));
}

/// Whether an expression can only be true where the column is.
fn is_required(expr: &Expr, column: usize) -> bool {
    match expr {
        Expr::And(list) => list.iter().any(|one| is_required(one, column)),
        Expr::Flag { column: read, expected: true } => *read == column,
        Expr::Test { operand, expected: Some(true), negated: false } => {
            is_required(operand, column)
        }
        _ => false,
    }
}

/// Whether an expression is true of the same rows when the column is NULL instead of false.
fn is_positive(expr: &Expr, column: usize) -> bool {
    match expr {
        Expr::And(list) | Expr::Or(list) => list.iter().all(|one| is_positive(one, column)),
        Expr::Flag { column: read, expected } if *read == column => *expected,
        // Whether it is true is all that is asked of the operand.
        Expr::Test { operand, expected: Some(true), .. } => is_positive(operand, column),
        other => {
            let mut columns = Vec::new();
            other.columns(&mut columns);
            !columns.contains(&column)
        }
    }
}

fn sorted(mut columns: Vec<usize>) -> Vec<usize> {
    columns.sort_unstable();
    columns.dedup();
    columns
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
        mask(&self.text[..self.shown])
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

    /// The tests of subqueries in it.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.memberships
    }

    /// What the expression means besides what its text says, but for the constants that were taken out of it.
    pub(crate) fn unsaid(&self, into: &mut BTreeSet<String>) {
        self.rest.for_each_scalar(&mut |scalar| {
            access::for_each_unsaid(scalar, &mut |part| _ = into.insert(part));
        });
    }

    /// The time zones in it and in its subqueries, by their names in lower case.
    #[must_use]
    pub fn zones(&self) -> Zones {
        let mut zones: Zones =
            self.zones.iter().map(|zone| (zone.key(), Arc::clone(zone))).collect();
        for membership in &self.memberships {
            let inner = membership.subquery.predicate.iter();
            zones.extend(inner.flat_map(|predicate| predicate.form().zones()));
        }
        zones
    }

    /// What the C library computes in it and in its subqueries.
    #[must_use]
    pub fn mathematics(&self) -> Functions {
        let mut functions = self.mathematics;
        let inner = self.memberships.iter().flat_map(|one| &one.subquery.predicate);
        inner.for_each(|predicate| functions.add(predicate.form().mathematics()));
        functions
    }

    /// Whether it is all the same to the predicate if a test of [`Form::memberships`] is false or NULL.
    #[must_use]
    pub fn is_positive(&self, at: usize) -> bool {
        self.positive.get(at).copied().unwrap_or_default()
    }

    /// Whether the predicate can only be true where a test of [`Form::memberships`] is.
    #[must_use]
    pub fn is_required(&self, at: usize) -> bool {
        self.required.get(at).copied().unwrap_or_default()
    }

    /// How many columns the table has: those of the expression from there on are tests of subqueries.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// A row with the answers of the tests behind it.
    pub(crate) fn extended(&self, row: &Row, answers: &[Truth]) -> Result<Row, RowError> {
        let mut extended = RowBuilder::new(self.width + answers.len())?;
        for at in 0..self.width {
            extended.push(row.get(at))?;
        }
        for answer in answers {
            extended.push(match answer {
                Truth::True => Some(b"t"),
                Truth::False => Some(b"f"),
                Truth::Null | Truth::Error => None,
            })?;
        }
        extended.finish()
    }

    /// The whole expression, in normal form.
    pub(crate) fn expr(&self, constants: &[Stored]) -> Expr {
        let own = self.own.iter().zip(constants).map(|(own, constant)| Expr::Compare {
            comparison: Comparison::Equal,
            left: Operand::Column { column: own.column, sql_type: own.sql_type },
            right: Operand::Constant(Constant::new(own.constant, constant.clone())),
        });
        normalize::all(own.chain(std::iter::once(self.rest.clone())).collect())
    }

    /// The whole expression with something else in the place of the constants that are taken out: SQL of each by its
    /// number. `None` where that would have to be told its type, or there is none.
    pub(crate) fn print_with(&self, constant: impl Fn(usize) -> String) -> Option<String> {
        // An enum's constant takes the type of its column.
        if self.own.is_empty() || self.own.iter().any(|own| own.constant == SqlType::Enum) {
            return None;
        }
        let own = self.own.iter().enumerate().map(|(number, own)| Expr::Compare {
            comparison: Comparison::Equal,
            left: Operand::Column { column: own.column, sql_type: own.sql_type },
            right: Operand::Column { column: usize::MAX - number, sql_type: own.constant },
        });
        let rest = Some(&self.rest).filter(|rest| !matches!(rest, Expr::Constant(Some(true))));
        let all: Vec<Expr> = own.chain(rest.cloned()).collect();
        let called = |column: usize| match self.printed.binary_search(&column) {
            Ok(at) => self.names[at].clone(),
            Err(_) => constant(usize::MAX - column),
        };
        let printed = all.iter().map(|expr| print::expr_by_name(expr, &called));
        Some(printed.collect::<Vec<_>>().join(" AND "))
    }

    /// SQL of constants that were taken out, with their types.
    pub(crate) fn print_constants(&self, constants: &[Stored]) -> Vec<String> {
        let own = self.own.iter().zip(constants);
        let typed = own.map(|(own, constant)| Constant::new(own.constant, constant.clone()));
        typed.map(|constant| print::constant_alone(&constant)).collect()
    }

    /// SQL of an expression over the form's columns.
    pub(crate) fn print(&self, expr: &Expr) -> String {
        let called = |column: usize| match self.printed.binary_search(&column) {
            Ok(at) => self.names[at].clone(),
            Err(_) => "NULL".to_owned(),
        };
        print::expr_by_name(expr, &called)
    }

    /// Prints constants.
    pub(crate) fn texts(&self, constants: &[Stored]) -> Vec<String> {
        let own = self.own.iter().zip(constants);
        own.map(|(own, constant)| constant.text(own.constant)).collect()
    }

    /// Reads constants that were printed; `None` if they are not the form's.
    pub(crate) fn constants(&self, texts: &[String]) -> Option<Vec<Stored>> {
        let read = |(own, text): (&Own, &String)| {
            let constant = literal::input(own.constant, text).ok()?;
            (constant.text() == *text).then_some(constant.stored)
        };
        let constants: Vec<Stored> = self.own.iter().zip(texts).map(read).collect::<Option<_>>()?;
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
