//! UNION and VALUES in subqueries: several ways to be among what is selected.
//!
//! *Invariant*: `x IN (A UNION B)` is `x IN (A) OR x IN (B)` where the common type of A and B, to which Postgres casts
//! both, changes no comparison; other unions are refused.

use super::Resolver;
use super::side::unnested;
use super::single::size;
use crate::expr::Expr;
use crate::oid::Oid;
use crate::syntax::{Node, Syntax, TypeName};
use crate::{WhereError, normalize};

const VALUES: &str = "VALUES and SELECT without FROM are only supported for constants";

impl Resolver<'_> {
    /// `left IN (VALUES …)`: whether it is one of these constants, which have types of their own: a bare string is
    /// text to Postgres here.
    pub(super) fn value_of(
        &mut self,
        left: &Node,
        rows: &[Node],
        at: usize,
        kinds: &mut Vec<Vec<Oid>>,
    ) -> Result<Expr, WhereError> {
        let (width, is_row) = match &left.syntax {
            Syntax::Row(fields) => (fields.len(), true),
            _ => (1, false),
        };
        if let ([row], false) = (rows, is_row)
            && let Some(array) = unnested(row)
        {
            return self.element_of(left, array, kinds);
        }
        let mut list = Vec::with_capacity(rows.len());
        for row in rows {
            let fields = match &row.syntax {
                Syntax::Row(fields) => fields.iter().collect(),
                _ => vec![row],
            };
            check_width(width, fields.len(), row.at)?;
            let mut found = Vec::with_capacity(width);
            let mut of = Vec::with_capacity(width);
            for field in fields {
                let field = constant(field, VALUES)?;
                of.push(self.item(&field)?.data_type.oid);
                found.push(field);
            }
            kinds.push(of);
            list.extend(match is_row {
                true => vec![Node { syntax: Syntax::Row(found), ..row.clone() }],
                false => found,
            });
        }
        check_kinds(kinds, at)?;
        // Each by itself: a list of them would take a type from the left side, too.
        let one = |field| self.is_in(left, std::slice::from_ref(field), at);
        Ok(normalize::any(list.iter().map(one).collect::<Result<_, _>>()?))
    }
}

impl Resolver<'_> {
    /// A column of nothing but NULL is one of text.
    pub(super) fn check_nulls(
        &mut self,
        left: &Node,
        kinds: &[Vec<Oid>],
        at: usize,
    ) -> Result<(), WhereError> {
        let fields = match &left.syntax {
            Syntax::Row(fields) => fields.as_slice(),
            _ => std::slice::from_ref(left),
        };
        for (column, field) in fields.iter().enumerate() {
            if kinds.iter().all(|kinds| kinds.get(column) == Some(&Oid::UNKNOWN)) {
                let null = Node { syntax: Syntax::Null, at, height: 1 };
                self.is_in(field, &[as_text(&null)], at)?;
            }
        }
        Ok(())
    }
}

impl Resolver<'_> {
    /// `left IN (SELECT unnest(array))`: whether it is one of its elements, of which NULL has none.
    fn element_of(
        &mut self,
        left: &Node,
        array: &Node,
        kinds: &mut Vec<Vec<Oid>>,
    ) -> Result<Expr, WhereError> {
        let at = array.at;
        // Both are resolved again below, and the left side is there once for each branch.
        self.count_nodes(size(left) + size(array), at)?;
        let item = self.item(array)?;
        let Some(element) = &item.data_type.element else {
            let reason = format!("unnest of {} is not supported", item.data_type.title());
            return Err(WhereError::at(at, reason));
        };
        kinds.push(vec![element.oid]);
        let node = |syntax, height| Node { syntax, at, height };
        let arguments = vec![array.clone(), node(Syntax::Text("{}".into()), 1)];
        let call = Syntax::Call { name: vec!["coalesce".into()], arguments };
        let some = Box::new(node(call, array.height + 1));
        let height = left.height.max(some.height) + 1;
        let (operator, left) = ("=".to_owned(), Box::new(left.clone()));
        self.predicate(&node(
            Syntax::Quantified { operator, left, array: some, all: false },
            height,
        ))
    }
}

/// A constant that has no type is of text.
fn as_text(node: &Node) -> Node {
    let (path, modifiers, fields) = (vec!["text".to_owned()], Vec::new(), None);
    let target = TypeName { path, modifiers, dimensions: 0, fields, at: node.at };
    let syntax = Syntax::Cast { operand: Box::new(node.clone()), target };
    Node { syntax, at: node.at, height: node.height + 1 }
}

/// A constant with the type that it has by itself.
pub(super) fn constant(node: &Node, reason: &str) -> Result<Node, WhereError> {
    match &node.syntax {
        Syntax::Number(_) | Syntax::Bool(_) | Syntax::Null => Ok(node.clone()),
        Syntax::Text(_) | Syntax::Parameter(_) => Ok(as_text(node)),
        Syntax::Cast { operand, .. } if is_literal(operand) => Ok(node.clone()),
        _ => Err(WhereError::at(node.at, reason)),
    }
}

fn is_literal(node: &Node) -> bool {
    let literal = |syntax: &Syntax| matches!(syntax, Syntax::Text(_) | Syntax::Parameter(_));
    literal(&node.syntax)
        || matches!(node.syntax, Syntax::Number(_) | Syntax::Bool(_) | Syntax::Null)
}

/// The types of a branch's rows.
pub(super) struct Kinds {
    pub(super) rows: Vec<Vec<Oid>>,
    /// As VALUES are: a column of nothing but NULL is text at once, however many rows there are.
    pub(super) settled: bool,
}

/// The same of all branches. Postgres takes two of them at a time, and if both are nothing but NULL the type is text.
pub(super) fn check_branches(branches: &[Kinds], at: usize) -> Result<(), WhereError> {
    let kinds: Vec<Vec<Oid>> = branches.iter().flat_map(|kinds| kinds.rows.clone()).collect();
    check_kinds(&kinds, at)?;
    if branches.len() == 1 {
        return Ok(());
    }
    for column in 0..kinds.first().map_or(0, Vec::len) {
        let is_null = |row: &Vec<Oid>| row[column] == Oid::UNKNOWN;
        let nulls = branches.iter().filter(|kinds| kinds.rows.iter().all(is_null));
        let other =
            |row: &Vec<Oid>| ![Oid::UNKNOWN, Oid::TEXT, Oid::VARCHAR].contains(&row[column]);
        let are_text = nulls.clone().count() > 1 || nulls.clone().any(|kinds| kinds.settled);
        if are_text && kinds.iter().any(other) {
            let reason = "NULLs in a UNION that are text to Postgres are not supported beside other types; write NULL in one SELECT, or cast it";
            return Err(WhereError::at(at, reason));
        }
    }
    Ok(())
}

/// Refuses columns of several branches that are cast before they are compared.
fn check_kinds(kinds: &[Vec<Oid>], at: usize) -> Result<(), WhereError> {
    let Some((first, rest)) = kinds.split_first() else { return Ok(()) };
    for other in rest {
        if other.len() != first.len() {
            return Err(WhereError::at(
                at,
                "each UNION query must have the same number of columns",
            ));
        }
    }
    for column in 0..first.len() {
        let all = || kinds.iter().map(|kinds| kinds[column]).filter(|oid| *oid != Oid::UNKNOWN);
        let one = all().next();
        let whole = |oid: Oid| [Oid::INT2, Oid::INT4, Oid::INT8, Oid::NUMERIC].contains(&oid);
        let text = |oid: Oid| [Oid::TEXT, Oid::VARCHAR].contains(&oid);
        if !(all().all(|oid| Some(oid) == one) || all().all(whole) || all().all(text)) {
            let reason = "columns of different types in a UNION are not supported, but for integers with numerics and text with varchar; write OR with two INs";
            return Err(WhereError::at(at, reason));
        }
    }
    Ok(())
}

/// Refuses sides of different width.
pub(super) fn check_width(left: usize, right: usize, at: usize) -> Result<(), WhereError> {
    if left == right {
        return Ok(());
    }
    let few = if right < left { "few" } else { "many" };
    Err(WhereError::at(at, format!("subquery has too {few} columns")))
}
