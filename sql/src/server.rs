//! Filters and orders that Postgres alone evaluates: those of subset requests.
//!
//! *Enters*: text of a `where` or an `order_by`, parameters, the table, the columns that may be
//! named. *Leaves*: SQL printed from the parsed tree.
//! *Invariant*: nothing of the user's text gets through but names of the table's columns, quoted,
//! and values of constants, quoted; every operator stands in parentheses, so that the text means to
//! Postgres what was parsed. Types are Postgres' business: constants stay without one.

use crate::limits::WHERE_BYTES_MAX;
use crate::name::quote;
use crate::syntax::Syntax;
use crate::{TableSchema, WhereError, parse, predicate, token};

mod printer;

use printer::Printer;
pub(crate) use printer::parameter;

/// A filter for Postgres alone: our evaluator never sees it, so everything that can be printed with
/// a certain meaning is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFilter {
    sql: String,
    columns: Vec<usize>,
}

impl ServerFilter {
    /// An expression over the table's bare columns; a row belongs where it IS TRUE.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }
}

/// What comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    sql: String,
    columns: Vec<usize>,
}

impl OrderBy {
    /// What stands after ORDER BY.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The table's columns it reads, sorted.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }
}

/// Compiles a filter; `params[0]` is `$1`. A column outside `visible` is treated as if the table had
/// none of that name.
///
/// # Errors
/// Text that is no expression, names that are unknown, subqueries, and whatever gives different
/// results from call to call. Types are not looked at: Postgres refuses them when it runs.
pub fn compile_for_server(
    text: &str,
    params: &[String],
    table: &TableSchema,
    visible: Option<&[usize]>,
) -> Result<ServerFilter, WhereError> {
    check_size(text, "WHERE clause")?;
    let lexemes = token::tokenize(text)?;
    predicate::hold_parameters(&lexemes, params)?;
    let node = parse::parse(&lexemes, text.chars().count(), false).map_err(|error| {
        if error.reason == parse::SUBQUERY {
            return WhereError { reason: "Subqueries are not allowed in subsets".into(), ..error };
        }
        error
    })?;
    let mut printer = Printer::new(table, params, visible);
    let sql = printer.print(&node)?;
    Ok(ServerFilter { sql, columns: sorted(printer.columns) })
}

/// Compiles `"id" DESC NULLS LAST, label`: names of columns, each with its direction.
///
/// # Errors
/// Anything but columns, and columns that are unknown or outside `visible`.
pub fn compile_order(
    text: &str,
    table: &TableSchema,
    visible: Option<&[usize]>,
) -> Result<OrderBy, WhereError> {
    check_size(text, "ORDER BY clause")?;
    let lexemes = token::tokenize(text)?;
    let items = parse::parse_order(&lexemes, text.chars().count())?;
    let (mut parts, mut columns) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        let at = item.node.at;
        let path = match &item.node.syntax {
            Syntax::Column(path) => path,
            Syntax::Parameter(number) => {
                let reason = format!("parameter ${number} is not supported in ORDER BY clauses");
                return Err(WhereError::at(at, reason));
            }
            other => {
                let kind = other.title();
                let reason = format!("{kind} expressions are not allowed in ORDER BY clauses");
                return Err(WhereError::at(at, reason));
            }
        };
        let column = column(table, path, visible, at)?;
        let direction = if item.descending { " DESC" } else { "" };
        let nulls = match item.nulls_first {
            None => "",
            Some(true) => " NULLS FIRST",
            Some(false) => " NULLS LAST",
        };
        parts.push(format!("{}{direction}{nulls}", quote(&table.columns[column].name)));
        columns.push(column);
    }
    Ok(OrderBy { sql: parts.join(", "), columns: sorted(columns) })
}

fn check_size(text: &str, what: &str) -> Result<(), WhereError> {
    if text.len() > WHERE_BYTES_MAX {
        let reason = format!("{what} is bigger than the maximum of {WHERE_BYTES_MAX} bytes");
        return Err(WhereError::whole(reason));
    }
    Ok(())
}

fn sorted(mut columns: Vec<usize>) -> Vec<usize> {
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Resolves a column, bare or with the table's name before it.
pub(crate) fn column(
    table: &TableSchema,
    path: &[String],
    visible: Option<&[usize]>,
    at: usize,
) -> Result<usize, WhereError> {
    let relation = &table.name;
    let name = match path {
        [name] => Some(name),
        [table, name] if *table == relation.table => Some(name),
        [schema, table, name] if *schema == relation.schema && *table == relation.table => {
            Some(name)
        }
        _ => None,
    };
    let found = name.and_then(|name| table.column(name));
    let allowed = |column: &usize| visible.is_none_or(|visible| visible.contains(column));
    found
        .filter(allowed)
        .ok_or_else(|| WhereError::at(at, format!("unknown reference {}", path.join("."))))
}

#[cfg(test)]
mod tests;
