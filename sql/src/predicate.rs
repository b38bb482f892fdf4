//! A compiled clause.
//!
//! *Enters*: a clause, its parameters, the table. *Leaves*: a [`Predicate`].
//! *Invariant*: one tree is behind the SQL text, the columns, the access and the evaluation, so
//! they cannot disagree. (`plan` is made of it, and tested to have its outcome.)

use std::sync::Arc;

use crate::expr::Expr;
use crate::limits::WHERE_BYTES_MAX;
use crate::plan::Plan;
use crate::{Access, EvaluationError, Row, TableSchema, Truth, WhereError};
use crate::{access, evaluate, parse, print, resolve, token};

/// A compiled clause; cheap to clone.
#[derive(Debug, Clone)]
pub struct Predicate(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    expr: Expr,
    plan: Plan,
    sql: String,
    columns: Vec<usize>,
    access: Access,
}

/// Compiles a clause; `params[0]` is `$1`.
///
/// # Errors
/// Whatever is no predicate over the table, and whatever we could not evaluate exactly as Postgres
/// does.
pub fn compile(
    text: &str,
    params: &[String],
    table: &TableSchema,
) -> Result<Predicate, WhereError> {
    if text.len() > WHERE_BYTES_MAX {
        let reason = format!("WHERE clause is bigger than the maximum of {WHERE_BYTES_MAX} bytes");
        return Err(WhereError::whole(reason));
    }
    let lexemes = token::tokenize(text)?;
    let node = parse::parse(&lexemes, text.chars().count())?;
    let expr = resolve::resolve(&node, params, table)?;
    let mut columns = Vec::new();
    expr.columns(&mut columns);
    columns.sort_unstable();
    columns.dedup();
    let sql = print::expr(&expr, table);
    let access = access::access(&expr);
    let plan = Plan::new(&expr);
    Ok(Predicate(Arc::new(Compiled { expr, plan, sql, columns, access })))
}

impl Predicate {
    /// Canonical SQL, parameters substituted: equal text means the same predicate. A boolean
    /// expression over the table's bare columns; a row belongs where it IS TRUE.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.0.columns
    }

    /// Whether a row satisfies it.
    #[must_use]
    pub fn matches(&self, row: &Row) -> Truth {
        self.0.plan.truth(row)
    }

    /// Whether a row satisfies it, or what Postgres would say had gone wrong.
    ///
    /// # Errors
    /// Where [`Predicate::matches`] gives [`Truth::Error`]: the row does not match, and whoever
    /// filters should count it.
    pub fn evaluate(&self, row: &Row) -> Result<Truth, EvaluationError> {
        match self.matches(row) {
            Truth::Error => Err(evaluate::cause(&self.0.expr, row)),
            truth => Ok(truth),
        }
    }

    #[cfg(test)]
    pub(crate) fn expr(&self) -> &Expr {
        &self.0.expr
    }

    /// Which rows can satisfy it at all.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.0.access
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Predicate) -> bool {
        self.sql() == other.sql()
    }
}

impl Eq for Predicate {}

#[cfg(test)]
mod tests;
