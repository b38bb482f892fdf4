//! Subqueries as values: `x = (SELECT …)`, of one row at most.
//!
//! *Enters*: a comparison with a subquery that pins all columns of a unique key. *Leaves*: tests of membership.
//! *Invariant*: all three truth values are those of the comparison with the one row's value, and with NULL where
//! there is no row.
//!
//! Of one row `x IN (S)` says what `x = (S)` does; of none it is false, where the comparison is NULL. So `x = (S)` is
//! `x IN (S) OR (NOT EXISTS (S) AND NULL)`, the second part of which is left out where NULL is as good as false.

use std::sync::Arc;

use super::composite::refuse_composite;
use super::joined::Plan;
use super::subquery::computable;
use super::union::check_width;
use super::{Resolver, Use, is_null};
use crate::expr::{Comparison, Expr, Operand};
use crate::limits::EXPRESSION_NODES_MAX;
use crate::subquery::{self, Side, Subquery};
use crate::syntax::{Branch, Node, Query, Select, Syntax};
use crate::{WhereError, normalize};

const OTHER_USE: &str = "a subquery as a value is supported next to =, <> and IS [NOT] DISTINCT FROM, under IS [NOT] NULL, and as a condition; otherwise write IN (SELECT …); it is not supported here";

const MANY_ROWS: &str = "a subquery as a value must be of one row at most: pin all columns of its table's primary key or of a unique index to constants or to columns of the row outside, or write IN (SELECT …)";

const ONE_COLUMN: &str = "subquery must return only one column";

/// Aggregates have a value where there is no row: sets cannot say which.
const AGGREGATES: [&str; 14] = [
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "mode",
    "string_agg",
    "sum",
    "xmlagg",
];

/// A subquery of one row at most.
struct Single<'q> {
    select: &'q Select,
    plan: Plan<'q>,
    subquery: Arc<Subquery>,
}

impl Resolver<'_> {
    /// A condition on a subquery's value, if the node is one; `decides` where NULL is as good as false.
    pub(super) fn single(
        &mut self,
        node: &Node,
        decides: bool,
    ) -> Result<Option<Expr>, WhereError> {
        let found = match &node.syntax {
            Syntax::Single(query) => {
                // A condition is what it is equal to.
                let truth = Node { syntax: Syntax::Bool(true), at: node.at, height: 1 };
                self.equals(&truth, query, (true, decides)).map_err(|error| {
                    if error.reason == MANY_ROWS { error } else { other_use(node, error) }
                })
            }
            Syntax::Binary { operator, left, right } => {
                let Some((value, query)) = sides(left, right) else { return Ok(None) };
                one_column(value, query, right)?;
                match operator.as_str() {
                    "=" => self.equals(value, query, (true, decides)),
                    "<>" => self.equals(value, query, (false, decides)),
                    _ => Err(WhereError::at(query.at, OTHER_USE)),
                }
            }
            Syntax::Distinct { left, right, negated } => {
                let Some((value, query)) = sides(left, right) else { return Ok(None) };
                if let Syntax::Row(_) = value.syntax {
                    return Err(WhereError::at(query.at, ONE_COLUMN));
                }
                let same = self.is_same(value, query);
                same.map(|same| if *negated { same } else { normalize::not(same) })
            }
            Syntax::IsNull { operand, negated } => {
                let Syntax::Single(query) = &operand.syntax else { return Ok(None) };
                let single = self.one_row(query)?;
                check_width(1, single.select.items.len(), query.at)?;
                let has_value = self.has_value(&single);
                has_value.map(|has| if *negated { has } else { normalize::not(has) })
            }
            _ => return Ok(None),
        };
        found.map(Some)
    }

    /// `left = (query)`, or `<>`, which is its opposite for rows of several columns, too.
    fn equals(
        &mut self,
        left: &Node,
        query: &Query,
        (equal, decides): (bool, bool),
    ) -> Result<Expr, WhereError> {
        let single = self.one_row(query)?;
        let (mut parts, among) = self.among_one(left, &single)?;
        match (equal, decides) {
            (true, true) => parts.push(among),
            (false, true) => parts.extend([normalize::not(among), self.has_one(&single)?]),
            (_, false) => {
                let none = normalize::not(self.has_one(&single)?);
                let unknown = normalize::all(vec![none, Expr::Constant(None)]);
                let found = normalize::any(vec![among, unknown]);
                parts.push(if equal { found } else { normalize::not(found) });
            }
        }
        Ok(normalize::all(parts))
    }

    /// `left IS NOT DISTINCT FROM (query)`.
    fn is_same(&mut self, left: &Node, query: &Query) -> Result<Expr, WhereError> {
        let single = self.one_row(query)?;
        let (mut parts, among) = self.among_one(left, &single)?;
        let membership = self.known(single.select, Use::Member);
        let side = membership.as_ref().and_then(|membership| membership.left.first());
        let is_null =
            side.map_or(Ok(Expr::Constant(Some(false))), |side| is_null_side(side, false))?;
        let no_value = normalize::not(self.has_value(&single)?);
        parts.push(normalize::any(vec![
            normalize::test(among, Some(true), false),
            normalize::all(vec![is_null, no_value]),
        ]));
        Ok(normalize::all(parts))
    }

    /// What makes the left side's value one, and whether the row has it.
    fn among_one(&mut self, left: &Node, single: &Single) -> Result<(Vec<Expr>, Expr), WhereError> {
        let membership = self.tested(left, single.select, &single.plan)?;
        let parts = computable(&membership.left)?;
        // As it will be read again, it has these conditions of its own, too.
        let mut all = parts.clone();
        all.push(self.in_selected(membership, (&single.plan, single.select.at))?);
        Ok((parts, normalize::all(all)))
    }

    fn has_one(&mut self, single: &Single) -> Result<Expr, WhereError> {
        self.count_again(single, Use::HasRow)?;
        // One whose value cannot be computed is not selected.
        let computable = computable(&single.subquery.columns)?;
        let and = (!computable.is_empty()).then(|| normalize::all(computable));
        self.has_row(single.select, &single.plan, Use::HasRow, and)
    }

    /// Whether there is a row whose value is not NULL.
    fn has_value(&mut self, single: &Single) -> Result<Expr, WhereError> {
        self.count_again(single, Use::HasValue)?;
        let value = single.subquery.columns.first();
        if let Some(side) = value {
            refuse_composite(side.like(&single.subquery.table), single.select.at)?;
        }
        let known = value.map(|side| is_null_side(side, true)).transpose()?;
        self.has_row(single.select, &single.plan, Use::HasValue, known)
    }

    /// Subqueries inside are there once more, and so is, each time, what is about the row outside.
    fn count_again(&mut self, single: &Single, of: Use) -> Result<(), WhereError> {
        let (at, outside) = (single.select.at, single.plan.outside.iter());
        self.count_nodes(outside.map(|node| size(node)).sum(), at)?;
        if self.known(single.select, of).is_some() {
            return Ok(());
        }
        self.count_nodes(single.select.nodes().into_iter().map(size).sum(), at)
    }

    /// So many parts are resolved once more.
    pub(super) fn count_nodes(&mut self, nodes: usize, at: usize) -> Result<(), WhereError> {
        self.again += nodes;
        match self.again > EXPRESSION_NODES_MAX {
            false => Ok(()),
            true => {
                let reason = format!(
                    "expressions of more than {EXPRESSION_NODES_MAX} parts are not supported"
                );
                Err(WhereError::at(at, reason))
            }
        }
    }

    /// Refuses what may be of several rows.
    fn one_row<'q>(&mut self, query: &'q Query) -> Result<Single<'q>, WhereError> {
        let refuse = |reason: &str| Err(WhereError::at(query.at, reason));
        let [Branch::Select(select)] = query.branches.as_slice() else {
            return refuse(MANY_ROWS);
        };
        let aggregate = select.items.iter().find_map(|item| match &item.syntax {
            Syntax::Call { name, .. } => {
                name.last().filter(|name| AGGREGATES.contains(&name.as_str()))
            }
            _ => None,
        });
        if let Some(name) = aggregate {
            return refuse(&format!("the aggregate {name} in a subquery is not supported"));
        }
        if select.items.is_empty() {
            return refuse("SELECT * is only supported in EXISTS");
        }
        if select.sources.len() > 1 {
            return refuse(
                "a subquery as a value of several tables is not supported, write IN (SELECT …)",
            );
        }
        let plan = self.plan(select, &select.items)?;
        let known = match self.known(select, Use::Selected) {
            Some(known) => known,
            None => {
                let inner: Vec<usize> = plan.correlated.iter().map(|(_, inner)| *inner).collect();
                let subquery = self.subquery(&plan.root, &select.items, &inner, &inner)?;
                let known = subquery::membership(self.table, Vec::new(), subquery, select.at)?;
                self.note(select, Use::Selected, known)
            }
        };
        let subquery = known.subquery;
        let pinned = self.pinned(&plan, &subquery);
        let pins = |key: &Vec<usize>| key.iter().all(|column| pinned.contains(column));
        let elements = subquery.columns.iter().any(|side| matches!(side, Side::Elements(_)));
        if elements || !subquery.table.unique.iter().any(pins) {
            return refuse(MANY_ROWS);
        }
        Ok(Single { select, plan, subquery })
    }

    /// The columns of which all rows of a subquery have one value, under the equality that unique keys heed.
    fn pinned(&self, plan: &Plan, subquery: &Subquery) -> Vec<usize> {
        let table = &subquery.table;
        let expr = subquery.predicate.as_ref().map(|predicate| predicate.expr());
        let parts = match expr {
            Some(Expr::And(list)) => list,
            other => other.into_iter().collect(),
        };
        let constant = parts.iter().filter_map(|part| match part {
            Expr::Flag { column, .. } => Some(*column),
            Expr::Compare {
                comparison: Comparison::Equal,
                left: Operand::Column { column, sql_type },
                right: Operand::Constant(constant),
            }
            | Expr::Distinct {
                left: Operand::Column { column, sql_type },
                right: Operand::Constant(constant),
                negated: true,
            } => subquery::compares_apart(*sql_type, constant.sql_type).then_some(*column),
            _ => None,
        });
        let outside = plan.correlated.iter().filter(|(outer, inner)| {
            subquery::keeps_apart(&self.table.columns[*outer], &table.columns[*inner])
        });
        let deterministic = |column: &usize| {
            let column = table.columns.get(*column);
            column.is_some_and(|one| one.collation.as_ref().is_none_or(|c| c.deterministic))
        };
        constant.chain(outside.map(|(_, inner)| *inner)).filter(deterministic).collect()
    }
}

/// A value and the subquery that it is compared with.
fn sides<'n>(left: &'n Node, right: &'n Node) -> Option<(&'n Node, &'n Query)> {
    match (&left.syntax, &right.syntax) {
        (_, Syntax::Single(query)) => Some((left, query)),
        (Syntax::Single(query), _) => Some((right, query)),
        _ => None,
    }
}

/// Refuses what Postgres refuses, rows but on the left, and subqueries on both sides.
fn one_column(value: &Node, query: &Query, right: &Node) -> Result<(), WhereError> {
    if let Syntax::Single(_) = value.syntax {
        return Err(WhereError::at(value.at, OTHER_USE));
    }
    match (&value.syntax, &right.syntax) {
        (Syntax::Row(_), Syntax::Row(_)) => Err(WhereError::at(query.at, ONE_COLUMN)),
        _ => Ok(()),
    }
}

fn is_null_side(side: &Side, negated: bool) -> Result<Expr, WhereError> {
    match side {
        Side::Column(column) => Ok(Expr::IsNull { column: *column, negated }),
        Side::Computed(computed) => is_null(computed.scalar().clone(), negated),
        // It is not of one row.
        Side::Elements(computed) => Err(WhereError::at(computed.scalar().at, MANY_ROWS)),
    }
}

/// What is no condition stands where no subquery may.
fn other_use(node: &Node, error: WhereError) -> WhereError {
    match error.reason.contains("cannot be compared") {
        true => WhereError::at(node.at, OTHER_USE),
        false => error,
    }
}

/// How many parts it has.
pub(super) fn size(node: &Node) -> usize {
    1 + node.syntax.children().into_iter().map(size).sum::<usize>()
}
