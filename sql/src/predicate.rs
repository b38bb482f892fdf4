//! A compiled clause.
//!
//! *Enters*: a clause, its parameters, the table. *Leaves*: a [`Predicate`].
//! *Invariant*: one form and its constants are behind the SQL text, the columns, the access and the
//! evaluation, so they cannot disagree (`plan` is made of it, and tested to have its outcome). A million predicates that differ in constants only are a
//! million lists of constants and one form.

use std::hash::{Hash, Hasher};
use std::iter;
use std::sync::Arc;

use crate::Tables;
use crate::access::MemberWay;
use crate::expr::{Comparison, Expr};
use crate::form::Form;
use crate::limits::{CLAUSE_CONSTANTS_BYTES_MAX, WHERE_BYTES_MAX, WHERE_NESTING_MAX};
use crate::subquery::Membership;
use crate::syntax::Node;
use crate::token::{Lexeme, Token};
use crate::value::Stored;
use crate::{Access, EvaluationError, Row, TableSchema, Truth, WhereError};
use crate::{access, evaluate, form, parse, resolve, token};

/// A compiled clause: a form, and the constants that are its own.
#[derive(Debug, Clone)]
pub struct Predicate {
    form: Arc<Form>,
    constants: Constants,
}

/// Constants, whose types the form has; most predicates have one, which then needs no memory of its own.
#[derive(Debug, Clone)]
enum Constants {
    One(Stored),
    Some(Box<[Stored]>),
}

/// There may be a million.
const _: () = assert!(size_of::<Predicate>() <= 32);

impl Constants {
    fn new(mut constants: Vec<Stored>) -> Constants {
        match constants.pop() {
            Some(only) if constants.is_empty() => Constants::One(only),
            last => {
                constants.extend(last);
                Constants::Some(constants.into())
            }
        }
    }

    /// Bytes of those that may be long.
    fn bytes(&self) -> usize {
        let texts = self.as_slice().iter().map(|one| match one {
            Stored::Text(text) | Stored::Numeric(text) => text.len(),
            _ => 0,
        });
        texts.sum()
    }

    fn as_slice(&self) -> &[Stored] {
        match self {
            Constants::One(constant) => std::slice::from_ref(constant),
            Constants::Some(constants) => constants,
        }
    }
}

/// Compiles a clause without subqueries; `params[0]` is `$1`.
///
/// # Errors
/// Whatever is no predicate over the table, and whatever we could not evaluate exactly as Postgres
/// does.
pub fn compile(
    text: &str,
    params: &[String],
    table: &TableSchema,
) -> Result<Predicate, WhereError> {
    compile_with(text, params, table, &Tables::new())
}

/// Compiles a clause whose subqueries may name `tables`.
///
/// # Errors
/// As [`compile`], and for every other table.
pub fn compile_with(
    text: &str,
    params: &[String],
    table: &TableSchema,
    tables: &Tables,
) -> Result<Predicate, WhereError> {
    if text.len() > WHERE_BYTES_MAX {
        let reason = format!("WHERE clause is bigger than the maximum of {WHERE_BYTES_MAX} bytes");
        return Err(WhereError::whole(reason));
    }
    let lexemes = token::tokenize(text)?;
    hold_parameters(&lexemes, params)?;
    let node = parse::parse(&lexemes, text.chars().count(), true)?;
    let predicate = resolved(&node, params, table, tables)?;
    hold_constants(predicate.form.text().len() + predicate.constants.bytes())?;
    // What it has become is nested deeper (a cast of text by three levels for one), and a restart reads that.
    if !predicate.memberships().is_empty() || node.height > WHERE_NESTING_MAX / 4 {
        parsed(&predicate.sql()).map_err(|error| WhereError::whole(error.reason))?;
    }
    Ok(predicate)
}

/// Refuses parameters that are too many bytes, each as often as it is named: they become constants there.
pub(crate) fn hold_parameters(lexemes: &[Lexeme], params: &[String]) -> Result<(), WhereError> {
    let named = lexemes.iter().filter_map(|lexeme| match &lexeme.token {
        Token::Parameter(number) => params.get(number.checked_sub(1)?),
        _ => None,
    });
    hold_constants(named.map(String::len).sum())
}

fn hold_constants(bytes: usize) -> Result<(), WhereError> {
    if bytes <= CLAUSE_CONSTANTS_BYTES_MAX {
        return Ok(());
    }
    let reason = format!(
        "a clause with more than {CLAUSE_CONSTANTS_BYTES_MAX} bytes of constants and parameters is not supported"
    );
    Err(WhereError::whole(reason))
}

fn parsed(text: &str) -> Result<Node, WhereError> {
    parse::parse(&token::tokenize(text)?, text.chars().count(), true)
}

/// Compiles what [`Predicate::sql`] gave, which may be longer than what a user may write.
///
/// # Errors
/// None for tables that have the columns as they were.
pub fn compile_printed(
    text: &str,
    table: &TableSchema,
    tables: &Tables,
) -> Result<Predicate, WhereError> {
    // Another version is another server, of which nothing is kept; that it computes otherwise is looked at apart.
    resolved(&parsed(text)?, &[], table, &tables.as_before())
}

fn resolved(
    node: &Node,
    params: &[String],
    table: &TableSchema,
    tables: &Tables,
) -> Result<Predicate, WhereError> {
    let (expr, memberships) = resolve::resolve(node, params, table, tables)?;
    Ok(Predicate::new(expr, table, memberships))
}

impl Predicate {
    pub(crate) fn new(expr: Expr, table: &TableSchema, memberships: Vec<Membership>) -> Predicate {
        let (form, constants) = form::split(expr, table, memberships);
        Predicate { form: Arc::new(form), constants: Constants::new(constants) }
    }

    /// The tests of subqueries in it.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        self.form.memberships()
    }

    /// The tables that its subqueries name, each once.
    #[must_use]
    pub fn subquery_tables(&self) -> Vec<Arc<TableSchema>> {
        let mut tables = Vec::new();
        self.memberships().iter().for_each(|one| one.subquery.tables(&mut tables));
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        tables.dedup_by(|one, other| one.name == other.name);
        tables
    }

    /// Whether a row satisfies it, given the answers of [`Predicate::memberships`], in their order.
    #[must_use]
    pub fn matches_members(&self, row: &Row, answers: &[Truth]) -> Truth {
        // A row is at most one of Postgres' and some booleans.
        self.form.extended(row, answers).map_or(Truth::Error, |row| self.matches(&row))
    }

    /// Canonical SQL, parameters substituted: equal text means the same predicate. A boolean
    /// expression over the table's bare columns; a row belongs where it IS TRUE.
    #[must_use]
    pub fn sql(&self) -> String {
        self.form.print(&self.expr())
    }

    /// SQL of the constants that are its own, with their types.
    pub(crate) fn constants_sql(&self) -> Vec<String> {
        self.form.print_constants(self.constants.as_slice())
    }

    /// What it shares with predicates that differ in constants only.
    #[must_use]
    pub fn form(&self) -> &Arc<Form> {
        &self.form
    }

    /// Takes part in an equal form that exists already, so that there is one of it. Both must have
    /// been compiled for the same table.
    pub fn share(&mut self, form: &Arc<Form>) {
        if self.form == *form {
            self.form = Arc::clone(form);
        }
    }

    /// The constants that are its own, as [`Predicate::bind`] reads them.
    #[must_use]
    pub fn constants(&self) -> Vec<String> {
        self.form.texts(self.constants.as_slice())
    }

    /// The predicate of a form and constants that another one of this form gave; `None` if they were
    /// not.
    #[must_use]
    pub fn bind(form: &Arc<Form>, constants: &[String]) -> Option<Predicate> {
        let constants = Constants::new(form.constants(constants)?);
        Some(Predicate { form: Arc::clone(form), constants })
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        self.form.columns()
    }

    /// Whether a row satisfies it.
    #[must_use]
    pub fn matches(&self, row: &Row) -> Truth {
        Truth::all(self.own_truths(row).chain(iter::once_with(|| self.form.rest_truth(row))))
    }

    /// The same of the part that is its own; with [`Form::rest_truth`] both make the whole under AND.
    #[must_use]
    pub fn own_truth(&self, row: &Row) -> Truth {
        Truth::all(self.own_truths(row))
    }

    fn own_truths(&self, row: &Row) -> impl Iterator<Item = Truth> {
        let own = self.form.own.iter().zip(self.constants.as_slice());
        own.map(|(own, constant)| {
            evaluate::compare(Comparison::Equal, own.column, own.sql_type, constant, row)
        })
    }

    /// Whether a row satisfies it, or what Postgres would say had gone wrong.
    ///
    /// # Errors
    /// Where [`Predicate::matches`] gives [`Truth::Error`]: the row does not match, and whoever
    /// filters should count it.
    pub fn evaluate(&self, row: &Row) -> Result<Truth, EvaluationError> {
        match self.matches(row) {
            Truth::Error => Err(evaluate::cause(&self.expr(), row)),
            truth => Ok(truth),
        }
    }

    /// Which rows can satisfy it at all, whatever its subqueries answer.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.memberships() {
            [] => access::access(&self.expr()),
            _ => access::access(&access::of_row(&self.expr(), self.form.width())),
        }
    }

    /// The tests of subqueries that it cannot be true without: ways to find rows, each enough.
    #[must_use]
    pub fn member_ways(&self) -> Vec<MemberWay> {
        match self.memberships() {
            [] => Vec::new(),
            _ => access::ways(&self.expr(), self.form.width()),
        }
    }

    /// The whole of it in normal form.
    pub(crate) fn expr(&self) -> Expr {
        self.form.expr(self.constants.as_slice())
    }
}

impl PartialEq for Predicate {
    /// Whether both print the same text.
    fn eq(&self, other: &Predicate) -> bool {
        self.form == other.form && self.constants() == other.constants()
    }
}

impl Eq for Predicate {}

impl Hash for Predicate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.form.hash(state);
        self.constants().hash(state);
    }
}

#[cfg(test)]
mod tests;
