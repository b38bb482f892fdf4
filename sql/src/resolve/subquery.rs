//! Subqueries: their names and types, and the test that they are to the clause around them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Resolver;
use crate::expr::Expr;
use crate::subquery::{self, Membership, Subquery};
use crate::syntax::{Node, Select, Syntax};
use crate::{Predicate, RelationName, TableSchema, WhereError, normalize};

impl Resolver<'_> {
    /// `left IN (SELECT …)`.
    pub(super) fn member(
        &mut self,
        left: &Node,
        query: &Select,
        negated: bool,
    ) -> Result<Expr, WhereError> {
        if let Some(found) = self.known(query) {
            return Ok(if negated { normalize::not(found) } else { found });
        }
        let table = self.inner_table(query)?;
        // As Postgres does: what stands inside gives parameters their types first.
        let subquery = self.subquery(query, &table, query.filter.iter().collect(), None)?;
        let fields = match &left.syntax {
            Syntax::Row(fields) => fields.iter().collect(),
            _ => vec![left],
        };
        let columns: Vec<usize> =
            fields.into_iter().map(|field| self.bare_column(field)).collect::<Result<_, _>>()?;
        if columns.len() != subquery.columns.len() {
            let few = subquery.columns.len() < columns.len();
            let reason = format!("subquery has too {} columns", if few { "few" } else { "many" });
            return Err(WhereError::at(query.at, reason));
        }
        let membership = subquery::membership(self.table, columns, subquery, left.at)?;
        let found = self.note(query, membership);
        Ok(if negated { normalize::not(found) } else { found })
    }

    /// `EXISTS (SELECT … FROM t WHERE t.a = b AND …)`: whether `b` is among `SELECT a FROM t WHERE …`.
    pub(super) fn exists(&mut self, query: &Select) -> Result<Expr, WhereError> {
        if let Some(found) = self.known(query) {
            return Ok(normalize::test(found, Some(true), false));
        }
        let table = self.inner_table(query)?;
        let (mut left, mut right, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for condition in query.filter.iter().flat_map(conjuncts) {
            match self.correlation(condition, query, &table) {
                Some((outer, inner)) => {
                    left.push(outer);
                    right.push(inner);
                }
                None => rest.push(condition),
            }
        }
        let subquery = self.subquery(query, &table, rest, Some(right))?;
        let membership = subquery::membership(self.table, left, subquery, query.at)?;
        let found = self.note(query, membership);
        Ok(normalize::test(found, Some(true), false))
    }

    /// An equality of a column of the row outside with one of the subquery's table.
    fn correlation(
        &self,
        condition: &Node,
        query: &Select,
        table: &TableSchema,
    ) -> Option<(usize, usize)> {
        let Syntax::Binary { operator, left, right } = &condition.syntax else { return None };
        let (Syntax::Column(left), Syntax::Column(right)) = (&left.syntax, &right.syntax) else {
            return None;
        };
        let alias = query.alias.as_deref();
        let inner = |path: &[String]| named(table, alias, path);
        let outer = |path: &[String]| match inner(path) {
            // The innermost table that has the name, as in Postgres.
            Some(_) => None,
            None => named(self.table, self.alias, path),
        };
        if operator != "=" {
            return None;
        }
        match (outer(left), inner(right)) {
            (Some(outer), Some(inner)) => Some((outer, inner)),
            _ => Some((outer(right)?, inner(left)?)),
        }
    }

    /// The subquery by itself: nothing in it may depend on the row outside. `columns` stand for its
    /// items where these do not matter.
    fn subquery(
        &mut self,
        query: &Select,
        table: &Arc<TableSchema>,
        conditions: Vec<&Node>,
        columns: Option<Vec<usize>>,
    ) -> Result<Subquery, WhereError> {
        let mut inner = Resolver {
            table,
            tables: self.tables,
            alias: query.alias.as_deref(),
            within: Some(self.table),
            memberships: Vec::new(),
            resolved: HashMap::new(),
            params: self.params,
            fixed: std::mem::take(&mut self.fixed),
            lazy: self.lazy,
            copied: self.copied,
        };
        let columns = match columns {
            Some(columns) => columns,
            None if query.items.is_empty() => {
                return Err(WhereError::at(query.at, "SELECT * is only supported in EXISTS"));
            }
            None => {
                query.items.iter().map(|item| inner.bare_column(item)).collect::<Result<_, _>>()?
            }
        };
        let predicate = match conditions.is_empty() {
            true => None,
            false => {
                let expr = inner.in_order(|inner| {
                    let parts = conditions.iter().map(|one| inner.boolean(one, "WHERE"));
                    parts.collect::<Result<_, _>>().map(normalize::all)
                })?;
                Some(Predicate::new(expr, table, std::mem::take(&mut inner.memberships)))
            }
        };
        (self.fixed, self.copied) = (inner.fixed, inner.copied);
        Ok(Subquery { table: Arc::clone(table), columns: columns.into(), predicate })
    }

    fn inner_table(&self, query: &Select) -> Result<Arc<TableSchema>, WhereError> {
        let refuse = |reason: String| WhereError::at(query.table_at, reason);
        let name = super::relation_name(&query.table)
            .ok_or_else(|| refuse(format!("invalid table name {}", query.table.join("."))))?;
        let found = self.tables.get(&name).cloned();
        found.ok_or_else(|| refuse(format!("table {name} does not exist or cannot be served")))
    }

    /// A column as it stands.
    fn bare_column(&self, node: &Node) -> Result<usize, WhereError> {
        let Syntax::Column(path) = &node.syntax else {
            let reason = "only bare columns are supported here, on both sides of a subquery's IN";
            return Err(WhereError::at(node.at, reason));
        };
        self.place(path, node.at)
    }

    /// The place of a column by its name.
    pub(super) fn place(&self, path: &[String], at: usize) -> Result<usize, WhereError> {
        let found = named(self.table, self.alias, path);
        let index = found.ok_or_else(|| {
            let outside = self.within.is_some_and(|outer| named(outer, None, path).is_some());
            let reason = match outside {
                false => format!("unknown reference {}", path.join(".")),
                true => format!(
                    "reference to {} of the row outside: that is supported only in EXISTS, as an equality that stands alone or under AND",
                    path.join(".")
                ),
            };
            WhereError::at(at, reason)
        })?;
        let column = &self.table.columns[index];
        if column.generated {
            let name = &column.name;
            let reason = format!("column {name} is generated, which replication leaves out");
            return Err(WhereError::at(at, reason));
        }
        Ok(index)
    }

    /// Resolves; if there are several tests, again with them in the order of their text, so that the order
    /// in which they were written, which is that of their columns, does not show. Each subquery is
    /// resolved once.
    pub(super) fn in_order(
        &mut self,
        mut resolve: impl FnMut(&mut Self) -> Result<Expr, WhereError>,
    ) -> Result<Expr, WhereError> {
        let copied = self.copied;
        let expr = resolve(self)?;
        let table = self.table;
        if self.memberships.is_sorted_by_key(|one| one.sql(table)) {
            return Ok(expr);
        }
        self.memberships.sort_by_cached_key(|one| one.sql(table));
        self.copied = copied;
        resolve(self)
    }

    fn known(&mut self, query: &Select) -> Option<Expr> {
        let known = self.resolved.get(&std::ptr::from_ref(query).addr()).cloned()?;
        Some(self.link(known))
    }

    fn note(&mut self, query: &Select, membership: Membership) -> Expr {
        self.resolved.insert(std::ptr::from_ref(query).addr(), membership.clone());
        self.link(membership)
    }

    /// The boolean column that a test is to the clause; equal tests are one.
    fn link(&mut self, membership: Membership) -> Expr {
        let sql = membership.sql(self.table);
        let known = self.memberships.iter().position(|known| known.sql(self.table) == sql);
        let at = known.unwrap_or_else(|| {
            self.memberships.push(membership);
            self.memberships.len() - 1
        });
        Expr::Flag { column: self.table.columns.len() + at, expected: true }
    }
}

fn conjuncts(node: &Node) -> Vec<&Node> {
    match &node.syntax {
        Syntax::And(list) => list.iter().flat_map(conjuncts).collect(),
        _ => vec![node],
    }
}

fn named(table: &TableSchema, alias: Option<&str>, path: &[String]) -> Option<usize> {
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
