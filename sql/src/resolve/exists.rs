//! EXISTS: whether there is a row, whatever is selected of it, which must exist all the same.

use super::joined::Scope;
use super::union::{Kinds, check_branches, constant};
use super::{Resolver, Use};
use crate::data_type::DataType;
use crate::expr::Expr;
use crate::limits::ORDER_MAX;
use crate::oid::Oid;
use crate::syntax::{Branch, Node, Query, Select, Syntax};
use crate::{Column, WhereError, normalize};

const FUNCTION: &str = "functions in the list of EXISTS are not supported, write SELECT 1";

const OTHER_ITEM: &str =
    "the list of EXISTS is only supported with columns and constants, write SELECT 1";

const OTHER_TYPE: &str =
    "columns of this type in a UNION or without FROM are not supported in EXISTS, write SELECT 1";

/// What can be sorted, as DISTINCT, UNION and ORDER BY do; a UNION makes one collation of two, too.
const SORTED: [Oid; 6] = [Oid::INT2, Oid::INT4, Oid::INT8, Oid::NUMERIC, Oid::BOOL, Oid::UUID];

const SORTED_ALONE: [Oid; 20] = [
    Oid::TEXT,
    Oid::VARCHAR,
    Oid::BPCHAR,
    Oid::CITEXT,
    Oid::FLOAT4,
    Oid::FLOAT8,
    Oid::DATE,
    Oid::TIME,
    Oid::TIMESTAMP,
    Oid::TIMESTAMPTZ,
    Oid::INTERVAL,
    Oid::TIMETZ,
    Oid::BYTEA,
    Oid::JSONB,
    Oid::INET,
    Oid::CIDR,
    Oid::MACADDR,
    Oid::BIT,
    Oid::VARBIT,
    Oid::OID,
];

impl Resolver<'_> {
    /// `EXISTS (query)`: for `SELECT … FROM t WHERE t.a = b AND …` whether `b` is among `SELECT a FROM t WHERE …`.
    pub(super) fn exists(&mut self, query: &Query) -> Result<Expr, WhereError> {
        let (mut found, mut all) = (Vec::new(), Vec::new());
        let united = query.branches.len() > 1;
        for branch in &query.branches {
            match branch {
                Branch::Select(select) => {
                    // An aggregate has a row where there is none, a set has none where there is one.
                    refuse_calls(&select.items)?;
                    let plan = self.plan(select, &[])?;
                    found.push(self.has_row(select, &plan, Use::Member, None)?);
                    all.push(Kinds { rows: vec![self.listed(select, united)?], settled: false });
                }
                Branch::Values(_) | Branch::Row(_) => {
                    refuse_calls(branch.rows())?;
                    found.push(Expr::Constant(Some(true)));
                    let row = |row: &Node| match &row.syntax {
                        Syntax::Row(fields) => self.kinds(fields, None, true),
                        _ => self.kinds(std::slice::from_ref(row), None, true),
                    };
                    let rows = branch.rows().iter().map(row).collect::<Result<_, _>>()?;
                    all.push(Kinds { rows, settled: matches!(branch, Branch::Values(_)) });
                }
            }
        }
        check_branches(&all, query.at)?;
        Ok(normalize::any(found))
    }

    /// The types of what is selected, which are looked at only where it is compared or sorted.
    fn listed(&mut self, select: &Select, united: bool) -> Result<Vec<Oid>, WhereError> {
        let scope = self.scope(select)?;
        if select.items.is_empty() {
            let columns = || scope.tables.iter().flat_map(|table| &table.columns);
            let reason = "SELECT * with UNION, or with DISTINCT of types that Postgres does not sort, is not supported in EXISTS, write SELECT 1";
            return match united || select.distinct && !columns().all(sorts) {
                true => Err(WhereError::at(select.at, reason)),
                false => Ok(Vec::new()),
            };
        }
        let kinds = self.kinds(&select.items, Some(&scope), united)?;
        let sorted = select.distinct || !select.order.is_empty();
        match kinds.iter().zip(&select.items).find(|(oid, _)| sorted && !is_sorted(**oid)) {
            Some((_, item)) => Err(unsorted(item.at)),
            None => Ok(kinds),
        }
    }

    /// The types of columns and constants; without tables the columns are the row outside's.
    fn kinds(
        &mut self,
        items: &[Node],
        scope: Option<&Scope>,
        united: bool,
    ) -> Result<Vec<Oid>, WhereError> {
        let kind = |item: &Node| {
            let oid = match &item.syntax {
                Syntax::Column(path) => Oid(self.seen(path, scope, item.at)?.base_type_oid),
                _ => self.item(&constant(item, OTHER_ITEM)?)?.data_type.oid,
            };
            let is_column = matches!(item.syntax, Syntax::Column(_));
            let known = SORTED.contains(&oid)
                || !is_column && [Oid::TEXT, Oid::VARCHAR, Oid::UNKNOWN].contains(&oid);
            match known || !united {
                true => Ok(oid),
                false => Err(WhereError::at(item.at, OTHER_TYPE)),
            }
        };
        items.iter().map(kind).collect()
    }

    /// The column that a name means in these tables, or else outside.
    fn seen(
        &self,
        path: &[String],
        scope: Option<&Scope>,
        at: usize,
    ) -> Result<Column, WhereError> {
        let found = scope.map(|scope| scope.find(path, 0..scope.tables.len(), at)).transpose()?;
        Ok(match (found.flatten(), scope) {
            (Some((table, column)), Some(scope)) => scope.tables[table].columns[column].clone(),
            _ => self.table.columns[self.place(path, at)?].clone(),
        })
    }

    /// Refuses an ORDER BY that Postgres refuses.
    pub(super) fn check_order(&self, select: &Select, scope: &Scope) -> Result<(), WhereError> {
        let all = 0..scope.tables.len();
        if let Some(node) = select.order.get(ORDER_MAX) {
            let reason = format!("more than {ORDER_MAX} columns behind ORDER BY are not supported");
            return Err(WhereError::at(node.at, reason));
        }
        for node in &select.order {
            let Syntax::Column(path) = &node.syntax else { continue };
            let column = self.seen(path, Some(scope), node.at)?;
            if !sorts(&column) {
                return Err(unsorted(node.at));
            }
            if !select.distinct || select.items.is_empty() {
                continue;
            }
            let found = scope.find(path, all.clone(), node.at)?;
            let same = |item: &Node| match &item.syntax {
                Syntax::Column(path) => Ok(scope.find(path, all.clone(), item.at)? == found),
                _ => Ok(false),
            };
            let selected = select.items.iter().map(same).collect::<Result<Vec<bool>, _>>()?;
            if found.is_none() || !selected.contains(&true) {
                let reason = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                return Err(WhereError::at(node.at, reason));
            }
        }
        Ok(())
    }
}

/// Whether Postgres can sort a column, as far as that is known here.
fn sorts(column: &Column) -> bool {
    let element = || DataType::made_of(column).and_then(|whole| whole.element);
    column.dropped
        || !column.labels.is_empty()
        || is_sorted(Oid(column.base_type_oid))
        || element().is_some_and(|element| is_sorted(element.oid))
}

fn is_sorted(oid: Oid) -> bool {
    oid == Oid::UNKNOWN || SORTED.contains(&oid) || SORTED_ALONE.contains(&oid)
}

fn unsorted(at: usize) -> WhereError {
    WhereError::at(at, "DISTINCT and ORDER BY are not supported for this type in subqueries")
}

fn refuse_calls(items: &[Node]) -> Result<(), WhereError> {
    match items.iter().find_map(call_in) {
        Some(call) => Err(WhereError::at(call.at, FUNCTION)),
        None => Ok(()),
    }
}

fn call_in(node: &Node) -> Option<&Node> {
    match node.syntax {
        Syntax::Call { .. } => Some(node),
        _ => node.syntax.children().into_iter().find_map(call_in),
    }
}
