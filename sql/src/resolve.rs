//! Names and types: from a syntax tree to a typed expression.
//!
//! *Enters*: a [`Node`], the parameters, the table. *Leaves*: an [`Expr`], or the first refusal.
//! *Invariant*: types, overloads and casts come out as Postgres' own resolution gives them (an
//! untyped constant takes the other side's type; a list is unified first), and whatever has no exact
//! evaluation here is refused here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Tables;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::expr::Expr;
use crate::limits::EXPRESSION_NODES_MAX;
use crate::oid::Oid;
use crate::scalar::{Kind, Scalar};
use crate::subquery::Membership;
use crate::syntax::{Node, Syntax};
use crate::{TableSchema, WhereError, normalize, server, text_form};

mod array;
mod call;
mod coerce;
mod collate;
mod composite;
mod condition;
mod encoding;
mod exists;
mod fast;
mod joined;
mod list;
mod named;
mod outer_join;
mod overload;
mod pattern;
mod polymorphic;
mod row;
mod side;
mod single;
mod subquery;
mod uncased;
mod union;

pub(crate) use subquery::relation_name;

/// Resolves a whole clause. The tests of the second part are boolean columns behind the table's own.
pub(crate) fn resolve(
    node: &Node,
    params: &[String],
    table: &TableSchema,
    tables: &Tables,
) -> Result<(Expr, Vec<Membership>), WhereError> {
    let fixed = vec![None; params.len()];
    let (alias, within, explicit) = (None, None, None);
    let (memberships, resolved) = (Vec::new(), HashMap::new());
    let (lazy, copied, again, level, decides) = (0, 0, 0, 0, false);
    let mut resolver = Resolver {
        table,
        tables,
        alias,
        within,
        memberships,
        resolved,
        params,
        fixed,
        explicit,
        lazy,
        copied,
        again,
        level,
        decides,
    };
    let expr = resolver.in_order(|resolver| resolver.whole(node))?;
    Ok((expr, resolver.take_memberships()))
}

struct Resolver<'a> {
    table: &'a TableSchema,
    /// Those that subqueries may name.
    tables: &'a Tables,
    /// What the table is called, if not by its name.
    alias: Option<&'a str>,
    /// The table outside, in a subquery.
    within: Option<&'a TableSchema>,
    /// What the boolean columns behind the table's own stand for, each with its text.
    memberships: Vec<(String, Membership)>,
    /// Those of subqueries that were resolved already, by where they stand in the text, as do copies of them.
    resolved: HashMap<(usize, Use), Membership>,
    params: &'a [String],
    /// The type a parameter's first use has given it.
    fixed: Vec<Option<DataType>>,
    /// What the clause calls the collation `C`.
    explicit: Option<String>,
    /// Depth of branches that may never be evaluated: errors of constants wait in them.
    lazy: usize,
    /// Expressions that exist more than once because Postgres compares them more than once.
    copied: usize,
    /// Parts of subqueries that were resolved more than once.
    again: usize,
    /// Subqueries around this one.
    level: usize,
    /// Whether the next item decides over a row by itself or under AND and OR, so that NULL is as good as false.
    decides: bool,
}

/// What a subquery is asked; of some there are several tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    /// What is written.
    Member,
    /// Of a table that must be absent: whether a row has NULL.
    HasNull,
    /// Of a value: what it is, compared with nothing.
    Selected,
    /// Whether there is one.
    HasRow,
    /// The same, and that it is not NULL.
    HasValue,
}

impl Resolver<'_> {
    fn whole(&mut self, node: &Node) -> Result<Expr, WhereError> {
        self.decides = true;
        let item = self.item(node)?;
        let boolean = item.data_type.oid == Oid::BOOL || item.data_type.oid == Oid::UNKNOWN;
        if boolean && !matches!(item.kind, Kind::Opaque(_) | Kind::Row(_)) {
            self.truth(item, "WHERE")
        } else {
            Err(WhereError::whole("WHERE clause must return a boolean"))
        }
    }

    fn item(&mut self, node: &Node) -> Result<Scalar, WhereError> {
        let at = node.at;
        let decides = std::mem::take(&mut self.decides);
        if let Some(expr) = self.single(node, decides)? {
            return Ok(as_scalar(expr, at));
        }
        match &node.syntax {
            Syntax::And(list) => {
                Ok(as_scalar(normalize::all(self.operands(list, "AND", decides)?), at))
            }
            Syntax::Or(list) => {
                Ok(as_scalar(normalize::any(self.operands(list, "OR", decides)?), at))
            }
            Syntax::Column(parts) => self.column(parts, at),
            Syntax::Number(digits) => number(digits, at),
            Syntax::Text(text) => {
                let kind = Kind::Unknown { text: text.clone(), parameter: None };
                Ok(Scalar::new(kind, Oid::UNKNOWN, at))
            }
            Syntax::Parameter(number) => self.parameter(*number, at),
            Syntax::Null => Ok(Scalar::new(Kind::Constant(None), Oid::UNKNOWN, at)),
            Syntax::Bool(value) => {
                Ok(Scalar::new(Kind::Constant(Some(Datum::Bool(*value))), Oid::BOOL, at))
            }
            Syntax::Moment(_) => Err(WhereError::at(at, "the time of day is not supported")),
            Syntax::Unary { operator, operand } => {
                let operand = self.item(operand)?;
                self.operator(operator, vec![operand], at)
            }
            Syntax::Binary { operator, left, right } => {
                let (left, right) = (self.item(left)?, self.item(right)?);
                self.binary(operator, left, right, at)
            }
            Syntax::Cast { operand, target } => self.written_cast(operand, target),
            Syntax::Call { name, arguments } => self.function(name, arguments, at),
            Syntax::Named { .. } => {
                Err(WhereError::at(at, "syntax error: only calls name arguments"))
            }
            Syntax::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref(), at)
            }
            Syntax::Array(list) => self.array(list, at),
            Syntax::Row(fields) => {
                let fields: Vec<Scalar> =
                    fields.iter().map(|field| self.item(field)).collect::<Result<_, _>>()?;
                Ok(Scalar::new(Kind::Row(fields), Oid::RECORD, at))
            }
            Syntax::Subscript { operand, subscripts } => self.subscript(operand, subscripts, at),
            Syntax::Collate { operand, collation } => self.collate(operand, collation, at),
            Syntax::Quantified { operator, left, array, all } => {
                self.quantified(operator, left, array, *all, at)
            }
            _ => self.predicate(node).map(|expr| as_scalar(expr, at)),
        }
    }

    fn operands(
        &mut self,
        list: &[Node],
        of: &str,
        decides: bool,
    ) -> Result<Vec<Expr>, WhereError> {
        let operands = list.iter().map(|one| {
            self.decides = decides;
            self.boolean(one, of)
        });
        operands.collect()
    }

    fn column(&self, parts: &[String], at: usize) -> Result<Scalar, WhereError> {
        let index = self.place(parts, at)?;
        let column = &self.table.columns[index];
        Ok(match DataType::of_column(column) {
            Some(data_type) if data_type.oid == Oid::CITEXT => {
                uncased::relabelled(uncased::column(index, at), data_type)
            }
            Some(data_type) => Scalar::new(Kind::Column(index), data_type, at),
            None => Scalar::new(Kind::Opaque(index), Oid(column.base_type_oid), at),
        })
    }

    fn parameter(&self, number: usize, at: usize) -> Result<Scalar, WhereError> {
        let text = server::parameter(self.params, number, at)?;
        let kind = Kind::Unknown { text: text.to_owned(), parameter: Some(number - 1) };
        self.refresh(Scalar::new(kind, Oid::UNKNOWN, at))
    }

    /// The same item, in the light of the uses resolved since it was made: a parameter has the type
    /// of its first use.
    fn refresh(&self, item: Scalar) -> Result<Scalar, WhereError> {
        let Kind::Unknown { text, parameter: Some(index) } = &item.kind else { return Ok(item) };
        let Some(data_type) = self.fixed.get(*index).cloned().flatten() else { return Ok(item) };
        let datum =
            text_form::input(&data_type, text).map_err(|reason| WhereError::at(item.at, reason))?;
        Ok(Scalar::new(Kind::Constant(Some(datum)), data_type, item.at))
    }

    /// A copy for a second comparison.
    fn copy(&mut self, item: &Scalar) -> Result<Scalar, WhereError> {
        self.copied += item.size();
        if self.copied > EXPRESSION_NODES_MAX {
            let reason = format!("expressions of more than {EXPRESSION_NODES_MAX} parts");
            return Err(WhereError::at(item.at, reason + " are not supported"));
        }
        Ok(item.clone())
    }

    fn refuse_opaque(&self, item: &Scalar) -> Result<(), WhereError> {
        match item.kind {
            Kind::Opaque(index) => {
                let column = &self.table.columns[index];
                let array = if column.dimensions > 0 { "[]" } else { "" };
                let reason = format!(
                    "column {} has type {}{array}, for which only IS [NOT] NULL is supported",
                    column.name, column.type_name
                );
                let why = match column.type_name.as_str() {
                    "citext" => {
                        ": citext is compared without a COLLATE of its own, and where search_path finds it"
                    }
                    _ => "",
                };
                Err(WhereError::at(item.at, reason + why))
            }
            Kind::Row(_) => Err(WhereError::at(item.at, "row values are not supported here")),
            Kind::Array(_) if item.data_type.oid == Oid::UNKNOWN => {
                let reason = "cannot determine type of empty array; cast it: ARRAY[]::int4[]";
                Err(WhereError::at(item.at, reason))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn predicate(&mut self, node: &Node) -> Result<Expr, WhereError> {
        let at = node.at;
        match &node.syntax {
            Syntax::Not(operand) => self.boolean(operand, "NOT").map(normalize::not),
            Syntax::Distinct { left, right, negated } => {
                let (left, right) = (self.item(left)?, self.item(right)?);
                self.distinct(left, right, *negated, at)
            }
            Syntax::IsNull { operand, negated } => {
                let item = self.item(operand)?;
                if let Some(fields) = self.fields_null(&item, *negated) {
                    return Ok(fields);
                }
                if !matches!(item.kind, Kind::Opaque(_) | Kind::Row(_)) {
                    self.refuse_opaque(&item)?;
                }
                self.refuse_composites(&item)?;
                is_null(item, *negated)
            }
            Syntax::Test { operand, expected, negated } => {
                let operand = self.boolean(operand, "IS TRUE")?;
                Ok(normalize::test(operand, *expected, *negated))
            }
            Syntax::In { operand, list, negated } => {
                let found = self.is_in(operand, list, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            Syntax::Member { left, query, negated } => self.member(left, query, *negated),
            Syntax::Exists(query) => self.exists(query),
            Syntax::Between { operand, low, high, symmetric, negated } => {
                let items = [self.item(operand)?, self.item(low)?, self.item(high)?];
                let found = self.between(items, *symmetric, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            Syntax::Like { operand, pattern, escape, form, negated } => {
                let found = self.like(operand, pattern, escape.as_deref(), *form, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            _ => {
                let item = self.item(node)?;
                self.truth(item, "WHERE")
            }
        }
    }

    /// A node as a boolean.
    fn boolean(&mut self, node: &Node, of: &str) -> Result<Expr, WhereError> {
        let item = self.item(node)?;
        self.truth(item, of)
    }

    fn truth(&mut self, item: Scalar, of: &str) -> Result<Expr, WhereError> {
        self.refuse_opaque(&item)?;
        let item = match item.data_type.oid {
            Oid::UNKNOWN => self.coerce(item, &Oid::BOOL.into())?,
            _ => item,
        };
        if item.data_type.oid != Oid::BOOL {
            let title = item.data_type.title();
            let reason = format!("argument of {of} must be type boolean, not type {title}");
            return Err(WhereError::at(item.at, reason));
        }
        Ok(match item.kind {
            Kind::Truth(expr) => *expr,
            Kind::Column(column) => Expr::Flag { column, expected: true },
            Kind::Constant(Some(Datum::Bool(value))) => Expr::Constant(Some(value)),
            Kind::Constant(_) => Expr::Constant(None),
            _ => Expr::Computed { scalar: Arc::new(item), negated: false },
        })
    }

    /// As Postgres expands it: each bound is its own comparison.
    fn between(
        &mut self,
        [operand, low, high]: [Scalar; 3],
        symmetric: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let forward = self.within(&operand, &low, &high, at)?;
        if !symmetric {
            return Ok(forward);
        }
        let backward = self.within(&operand, &high, &low, at)?;
        Ok(normalize::any(vec![forward, backward]))
    }

    fn within(
        &mut self,
        operand: &Scalar,
        low: &Scalar,
        high: &Scalar,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let (left, low) = (self.copy(operand)?, self.copy(low)?);
        let above = self.binary(">=", left, low, at)?;
        let above = self.truth(above, "AND")?;
        let (left, high) = (self.copy(operand)?, self.copy(high)?);
        let below = self.binary("<=", left, high, at)?;
        let below = self.truth(below, "AND")?;
        Ok(normalize::all(vec![above, below]))
    }
}

/// An integer by magnitude `int4`, `int8`, then `numeric`.
fn number(digits: &str, at: usize) -> Result<Scalar, WhereError> {
    let whole = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|b| b.is_ascii_digit());
    let refuse = |reason| WhereError::at(at, reason);
    if let Some(int) = digits.parse::<i64>().ok().filter(|_| whole) {
        let oid = if i32::try_from(int).is_ok() { Oid::INT4 } else { Oid::INT8 };
        return Ok(Scalar::new(Kind::Constant(Some(Datum::Int(int))), oid, at));
    }
    let numeric = DataType::from(Oid::NUMERIC);
    let datum = text_form::input(&numeric, digits).map_err(refuse)?;
    Ok(Scalar::new(Kind::Constant(Some(datum)), numeric, at))
}

/// A predicate as a value.
fn as_scalar(expr: Expr, at: usize) -> Scalar {
    match expr {
        Expr::Constant(value) => Scalar::new(Kind::Constant(value.map(Datum::Bool)), Oid::BOOL, at),
        Expr::Flag { column, expected: true } => Scalar::new(Kind::Column(column), Oid::BOOL, at),
        Expr::Computed { scalar, negated: false } => {
            Arc::try_unwrap(scalar).unwrap_or_else(|shared| (*shared).clone())
        }
        expr => Scalar::truth(expr, at),
    }
}

/// IS NULL; of a row, that all its fields are.
fn is_null(item: Scalar, negated: bool) -> Result<Expr, WhereError> {
    if let Some(column) = uncased::column_of(&item) {
        return Ok(Expr::IsNull { column, negated });
    }
    Ok(match item.kind {
        Kind::Constant(value) => Expr::Constant(Some(value.is_none() != negated)),
        Kind::Unknown { .. } => Expr::Constant(Some(negated)),
        // What has no type behind it is no value yet.
        Kind::Collate(operand) if operand.data_type.oid == Oid::UNKNOWN => {
            return is_null(*operand, negated);
        }
        Kind::Column(column) | Kind::Opaque(column) => Expr::IsNull { column, negated },
        Kind::Truth(expr) => normalize::test(*expr, None, negated),
        Kind::Row(fields) => {
            let fields: Vec<Expr> = fields
                .into_iter()
                .map(|field| is_null(field, negated))
                .collect::<Result<_, _>>()?;
            normalize::all(fields)
        }
        _ => Expr::Null { scalar: Arc::new(item), negated },
    })
}
