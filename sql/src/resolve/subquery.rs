//! Subqueries: their names and types, and the test that they are to the clause around them.

use std::collections::HashMap;
use std::sync::Arc;

use super::composite::refuse_composite;
use super::joined::{Link, LinkKind, Part, Plan};
use super::side::one_array;
use super::union::{Kinds, check_branches};
use super::{Resolver, Use};
use crate::expr::Expr;
use crate::limits::{CLAUSE_CONSTANTS_BYTES_MAX, SUBQUERIES_MAX, SUBQUERY_LEVELS_MAX};
use crate::oid::Oid;
use crate::subquery::{self, Membership, Side, Subquery};
use crate::syntax::{Branch, Node, Query, Select, Source, Syntax};
use crate::{Column, Predicate, RelationName, TableSchema, WhereError, normalize};

impl Resolver<'_> {
    /// `left IN (query)`: of a UNION, whether it is in any of its branches, which is what SQL says of NULL, too.
    pub(super) fn member(
        &mut self,
        left: &Node,
        query: &Query,
        negated: bool,
    ) -> Result<Expr, WhereError> {
        let (mut found, mut all) = (Vec::new(), Vec::new());
        for branch in &query.branches {
            let mut kinds = Vec::new();
            found.push(match branch {
                Branch::Select(select) => self.member_of(left, select, &mut kinds)?,
                other => self.value_of(left, other.rows(), query.at, &mut kinds)?,
            });
            all.push(Kinds { rows: kinds, settled: matches!(branch, Branch::Values(_)) });
        }
        check_branches(&all, query.at)?;
        let kinds: Vec<Vec<Oid>> = all.into_iter().flat_map(|kinds| kinds.rows).collect();
        self.check_nulls(left, &kinds, query.at)?;
        let found = normalize::any(found);
        Ok(if negated { normalize::not(found) } else { found })
    }

    /// `left IN (SELECT …)`. What is compared with the row outside is a column more on both sides, where it is not
    /// NULL; so `NOT IN` has its three truth values.
    fn member_of(
        &mut self,
        left: &Node,
        select: &Select,
        kinds: &mut Vec<Vec<Oid>>,
    ) -> Result<Expr, WhereError> {
        if select.items.is_empty() {
            return Err(WhereError::at(select.at, "SELECT * is only supported in EXISTS"));
        }
        let plan = self.plan(select, &select.items)?;
        let membership = self.tested(left, select, &plan)?;
        let (query, width) = (&membership.subquery, select.items.len());
        let kind = |side: &Side| Oid(side.like(&query.table).base_type_oid);
        kinds.push(query.columns[..width].iter().map(kind).collect());
        let mut parts = computable(&membership.left)?;
        parts.push(self.in_selected(membership, (&plan, select.at))?);
        Ok(normalize::all(parts))
    }

    /// The test of `left IN (SELECT …)`.
    pub(super) fn tested(
        &mut self,
        left: &Node,
        select: &Select,
        plan: &Plan,
    ) -> Result<Membership, WhereError> {
        if let Some(known) = self.known(select, Use::Member) {
            return Ok(known);
        }
        let (outer, inner): (Vec<usize>, Vec<usize>) = plan.correlated.iter().copied().unzip();
        // As Postgres does: what stands inside gives parameters their types first.
        let subquery = match self.known(select, Use::Selected) {
            Some(known) => (*known.subquery).clone(),
            None => self.subquery(&plan.root, &select.items, &inner, &inner)?,
        };
        let mut sides = self.fields(left, &subquery, select)?;
        sides.extend(self.column_sides(outer, left.at)?);
        let membership = subquery::membership(self.table, sides, subquery, left.at)?;
        Ok(self.note(select, Use::Member, membership))
    }

    /// What it says of a row, where what is compared can be computed.
    pub(super) fn in_selected(
        &mut self,
        membership: Membership,
        (plan, at): (&Plan, usize),
    ) -> Result<Expr, WhereError> {
        let mut parts = vec![self.link(membership, at)?];
        let outer = plan.correlated.iter().map(|(outer, _)| *outer);
        parts.extend(outer.map(|column| Expr::IsNull { column, negated: true }));
        parts.extend(self.outside(plan)?);
        Ok(normalize::all(parts))
    }

    /// Whether there is a row; `and` is asked of it, too.
    pub(super) fn has_row(
        &mut self,
        select: &Select,
        plan: &Plan,
        of: Use,
        and: Option<Expr>,
    ) -> Result<Expr, WhereError> {
        let membership = match self.known(select, of) {
            Some(known) => known,
            None => {
                let (outer, inner) = plan.correlated.iter().copied().unzip();
                let (outer, inner): (Vec<usize>, Vec<usize>) = (outer, inner);
                let outer = self.column_sides(outer, select.at)?;
                let mut subquery = self.subquery(&plan.root, &[], &inner, &[])?;
                if let Some(condition) = and {
                    subquery = subquery.and(condition);
                }
                let membership = subquery::membership(self.table, outer, subquery, select.at)?;
                self.note(select, of, membership)
            }
        };
        let link = self.link(membership, select.at)?;
        let mut parts = vec![normalize::test(link, Some(true), false)];
        parts.extend(self.outside(plan)?);
        Ok(normalize::all(parts))
    }

    /// Conditions inside that are about the row outside: without them there is no row.
    pub(super) fn outside(&mut self, plan: &Plan) -> Result<Vec<Expr>, WhereError> {
        let conditions = plan.outside.iter();
        conditions
            .map(|node| Ok(normalize::test(self.boolean(node, "WHERE")?, Some(true), false)))
            .collect()
    }

    /// The rows of a part by themselves: nothing in it may depend on the row outside. Selected are `items`, then
    /// `columns`; `known` are columns that must not be NULL.
    pub(super) fn subquery(
        &mut self,
        part: &Part,
        items: &[Node],
        columns: &[usize],
        known: &[usize],
    ) -> Result<Subquery, WhereError> {
        if self.level == SUBQUERY_LEVELS_MAX {
            let reason = format!(
                "subqueries and joins nested deeper than {SUBQUERY_LEVELS_MAX} levels are not supported"
            );
            return Err(WhereError::at(part.source.at, reason));
        }
        let table = &part.table;
        let mut inner = Resolver {
            table,
            tables: self.tables,
            alias: part.source.alias.as_deref(),
            within: Some(self.table),
            memberships: Vec::new(),
            resolved: HashMap::new(),
            params: self.params,
            fixed: std::mem::take(&mut self.fixed),
            explicit: self.explicit.take(),
            lazy: self.lazy,
            copied: self.copied,
            again: self.again,
            level: self.level + 1,
            decides: false,
        };
        let mut selected: Vec<Side> =
            items.iter().map(|item| inner.item_side(item)).collect::<Result<_, _>>()?;
        one_array(&selected, items)?;
        let computable = computable(&selected)?;
        check_replicated(table, columns, part.source.at)?;
        for column in columns {
            selected.push(inner.column_side(*column, part.source.at)?);
        }
        let is_known = |column: &usize| Expr::IsNull { column: *column, negated: true };
        let expr = inner.in_order(|inner| {
            let own = part.conditions.iter().map(|one| {
                inner.decides = true;
                inner.boolean(one, "WHERE")
            });
            let mut parts: Vec<Expr> = own.collect::<Result<_, _>>()?;
            for link in &part.links {
                parts.push(inner.linked(link)?);
            }
            parts.extend(known.iter().map(is_known));
            parts.extend(computable.iter().cloned());
            Ok(normalize::all(parts))
        })?;
        let predicate = match expr {
            Expr::Constant(Some(true)) => None,
            expr => Some(Predicate::new(expr, table, inner.take_memberships())),
        };
        (self.fixed, self.explicit) = (inner.fixed, inner.explicit);
        (self.copied, self.again) = (inner.copied, inner.again);
        Ok(Subquery { table: Arc::clone(table), columns: selected.into(), predicate })
    }

    /// The test that a join is to the table above it.
    fn linked(&mut self, link: &Link) -> Result<Expr, WhereError> {
        let has = self.link_test(link, None)?;
        let LinkKind::NoneOrNull(column) = link.kind else {
            // As it is printed, and as EXISTS is.
            let exists = link.pairs.is_empty();
            return Ok(if exists { normalize::test(has, Some(true), false) } else { has });
        };
        let is_null = self.link_test(link, Some(column))?;
        let has_none = normalize::not(normalize::test(has, Some(true), false));
        Ok(normalize::any(vec![has_none, is_null]))
    }

    /// The same; with `null` only of rows in which this column is NULL.
    fn link_test(&mut self, link: &Link, null: Option<usize>) -> Result<Expr, WhereError> {
        let of = if null.is_some() { Use::HasNull } else { Use::Member };
        let key = (link.part.source.at, of);
        let membership = match self.resolved.get(&key) {
            Some(known) => known.clone(),
            None => {
                let (above, below) = link.pairs.iter().copied().unzip();
                let (above, below): (Vec<usize>, Vec<usize>) = (above, below);
                check_replicated(self.table, &above, link.at)?;
                check_replicated(&link.part.table, null.as_slice(), link.at)?;
                let above = self.column_sides(above, link.at)?;
                let mut subquery = self.subquery(&link.part, &[], &below, &[])?;
                if let Some(column) = null {
                    refuse_composite(&link.part.table.columns[column], link.at)?;
                    subquery = subquery.and(Expr::IsNull { column, negated: false });
                }
                let membership = subquery::membership(self.table, above, subquery, link.at)?;
                self.resolved.insert(key, membership.clone());
                membership
            }
        };
        self.link(membership, link.at)
    }

    /// The table that a name behind FROM means.
    pub(super) fn inner_table(&self, source: &Source) -> Result<Arc<TableSchema>, WhereError> {
        let refuse = |reason: String| WhereError::at(source.at, reason);
        let name = super::relation_name(&source.table)
            .ok_or_else(|| refuse(format!("invalid table name {}", source.table.join("."))))?;
        let found = self.tables.get(&name).cloned();
        found.ok_or_else(|| refuse(format!("table {name} does not exist or cannot be served")))
    }

    /// The place of a column by its name.
    pub(super) fn place(&self, path: &[String], at: usize) -> Result<usize, WhereError> {
        let found = named(self.table, self.alias, path);
        let index = found.ok_or_else(|| {
            let outside = self.within.is_some_and(|outer| named(outer, None, path).is_some());
            let reason = match outside {
                false => format!("unknown reference {}", path.join(".")),
                true => format!(
                    "reference to {} of the row outside: that is supported only in EXISTS and IN, as an equality with a column that stands alone or under AND",
                    path.join(".")
                ),
            };
            WhereError::at(at, reason)
        })?;
        check_replicated(self.table, &[index], at)?;
        Ok(index)
    }

    /// Resolves; if there are several tests, again with them in the order of their text, so that the order
    /// in which they were written, which is that of their columns, does not show. Each subquery is
    /// resolved once. Tests that make no difference to it (`… AND false`) are left out.
    pub(super) fn in_order(
        &mut self,
        mut resolve: impl FnMut(&mut Self) -> Result<Expr, WhereError>,
    ) -> Result<Expr, WhereError> {
        let copied = self.copied;
        let expr = resolve(self)?;
        let (table, mut columns, all) = (self.table, Vec::new(), self.memberships.len());
        expr.columns(&mut columns);
        self.hold_tests(&columns)?;
        let mut at = table.columns.len()..;
        self.memberships.retain(|_| at.next().is_some_and(|at| columns.contains(&at)));
        let used = self.memberships.len();
        if used == all && self.memberships.is_sorted_by(|one, other| one.0 <= other.0) {
            return Ok(expr);
        }
        self.memberships.sort_by(|one, other| one.0.cmp(&other.0));
        self.copied = copied;
        let expr = resolve(self);
        // The others are behind them now.
        self.memberships.truncate(used);
        expr
    }

    /// Refuses tests that take too much text: each is printed as often as it is asked for.
    fn hold_tests(&self, columns: &[usize]) -> Result<(), WhereError> {
        let places = columns.iter().filter_map(|at| at.checked_sub(self.table.columns.len()));
        let texts = places.filter_map(|place| self.memberships.get(place));
        let bytes: usize = texts.map(|(text, _)| text.len()).sum();
        if bytes > CLAUSE_CONSTANTS_BYTES_MAX {
            let reason = format!(
                "a clause whose subqueries, each as often as it is asked, take more than {CLAUSE_CONSTANTS_BYTES_MAX} bytes is not supported"
            );
            return Err(WhereError::whole(reason));
        }
        Ok(())
    }

    /// What the boolean columns stand for, in their order.
    pub(super) fn take_memberships(&mut self) -> Vec<Membership> {
        std::mem::take(&mut self.memberships).into_iter().map(|(_, one)| one).collect()
    }

    pub(super) fn known(&self, select: &Select, of: Use) -> Option<Membership> {
        self.resolved.get(&(select.at, of)).cloned()
    }

    pub(super) fn note(&mut self, select: &Select, of: Use, membership: Membership) -> Membership {
        self.resolved.insert((select.at, of), membership.clone());
        membership
    }

    /// The boolean column that a test is to the clause; equal tests are one.
    pub(super) fn link(&mut self, membership: Membership, at: usize) -> Result<Expr, WhereError> {
        let sql = membership.sql(self.table);
        let known = self.memberships.iter().position(|(known, _)| *known == sql);
        let place = known.unwrap_or(self.memberships.len());
        if place == SUBQUERIES_MAX {
            let reason = format!(
                "more than {SUBQUERIES_MAX} different subqueries in one clause are not supported: put what they select into one table, or split the shape"
            );
            return Err(WhereError::at(at, reason));
        }
        if known.is_none() {
            self.memberships.push((sql, membership));
        }
        Ok(Expr::Flag { column: self.table.columns.len() + place, expected: true })
    }
}

/// What is true of a row for which these can be computed, and an error where that fails: the row is not selected then,
/// nor does the test of it say anything else.
pub(super) fn computable(sides: &[Side]) -> Result<Vec<Expr>, WhereError> {
    let computed = sides.iter().filter_map(Side::fallible);
    let both = computed.map(|scalar| {
        let is_null = |negated| super::is_null(scalar.clone(), negated);
        Ok(normalize::any(vec![is_null(false)?, is_null(true)?]))
    });
    both.collect()
}

/// Refuses columns that the stream does not bring.
fn check_replicated(table: &TableSchema, columns: &[usize], at: usize) -> Result<(), WhereError> {
    match columns.iter().map(|column| &table.columns[*column]).find(|column| column.generated) {
        Some(Column { name, .. }) => {
            let reason = format!("column {name} is generated, which replication leaves out");
            Err(WhereError::at(at, reason))
        }
        None => Ok(()),
    }
}

/// The parts of a condition under AND.
pub(super) fn conjuncts(node: &Node) -> Vec<&Node> {
    match &node.syntax {
        Syntax::And(list) => list.iter().flat_map(conjuncts).collect(),
        _ => vec![node],
    }
}

/// The column that a path means in a table.
pub(super) fn named(table: &TableSchema, alias: Option<&str>, path: &[String]) -> Option<usize> {
    let relation = &table.name;
    let name = match (path, alias) {
        ([name], _) => name,
        ([table, name], Some(alias)) if table == alias => name,
        ([table, name], None) if *table == relation.table => name,
        ([schema, table, name], None) if *schema == relation.schema && *table == relation.table => {
            name
        }
        _ => return None,
    };
    table.column(name)
}

/// The table that a path names.
pub(crate) fn relation_name(path: &[String]) -> Option<RelationName> {
    let (schema, table) = match path {
        [table] => ("public", table),
        [schema, table] => (schema.as_str(), table),
        _ => return None,
    };
    Some(RelationName { schema: schema.to_owned(), table: table.clone() })
}
