//! Names and types: from a syntax tree to a typed expression.
//!
//! *Enters*: a [`Node`], the parameters, the table. *Leaves*: an [`Expr`], or the first refusal.
//! *Invariant*: types come out as Postgres' own resolution gives them (an untyped constant takes
//! the other side's type; a list is unified first), and whatever has no exact evaluation here is
//! refused here.

use crate::expr::{Comparison, Expr, Like, Operand};
use crate::limits::PARAMETER_BYTES_MAX;
use crate::sql_type::SqlType;
use crate::syntax::{Node, PatternForm, Syntax};
use crate::value::{Constant, Stored};
use crate::{TableSchema, WhereError, literal, normalize};

mod collate;
mod list;

use collate::Use;

/// Resolves a whole clause.
pub(crate) fn resolve(
    node: &Node,
    params: &[String],
    table: &TableSchema,
) -> Result<Expr, WhereError> {
    let mut resolver = Resolver { table, params, fixed: vec![None; params.len()] };
    let item = resolver.item(node)?;
    if matches!(item.sql_type(), Some(SqlType::Bool) | None) && item.opaque().is_none() {
        resolver.truth(item, "WHERE")
    } else {
        Err(WhereError::whole("WHERE clause must return a boolean"))
    }
}

struct Resolver<'a> {
    table: &'a TableSchema,
    params: &'a [String],
    /// The type a parameter's first use has given it.
    fixed: Vec<Option<SqlType>>,
}

/// Something with a value, and where it stands.
#[derive(Debug, Clone)]
struct Item {
    kind: Kind,
    at: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    Column(usize, SqlType),
    /// A column of a type we cannot look into.
    Opaque(usize),
    Constant(Constant),
    /// NULL, of any type where none is given.
    Null(Option<SqlType>),
    /// A constant whose type the context decides.
    Unknown {
        text: String,
        parameter: Option<usize>,
    },
    Predicate(Expr),
}

impl Item {
    /// `None`: the context decides.
    fn sql_type(&self) -> Option<SqlType> {
        match &self.kind {
            Kind::Column(_, sql_type) => Some(*sql_type),
            Kind::Constant(constant) => Some(constant.sql_type),
            Kind::Null(sql_type) => *sql_type,
            Kind::Predicate(_) => Some(SqlType::Bool),
            Kind::Opaque(_) | Kind::Unknown { .. } => None,
        }
    }

    fn opaque(&self) -> Option<usize> {
        match self.kind {
            Kind::Opaque(column) => Some(column),
            _ => None,
        }
    }

    /// Whether it reads the row.
    fn is_variable(&self) -> bool {
        matches!(self.kind, Kind::Column(..) | Kind::Opaque(_) | Kind::Predicate(_))
    }

    fn is_predicate(&self) -> bool {
        matches!(self.kind, Kind::Predicate(_))
    }

    /// As an operand, once its type is known; `None` is NULL.
    fn operand(self) -> Option<Operand> {
        match self.kind {
            Kind::Column(column, sql_type) => Some(Operand::Column { column, sql_type }),
            Kind::Constant(constant) => Some(Operand::Constant(constant)),
            Kind::Predicate(expr) => Some(Operand::Predicate(Box::new(expr))),
            Kind::Null(_) | Kind::Opaque(_) | Kind::Unknown { .. } => None,
        }
    }
}

impl Resolver<'_> {
    fn item(&mut self, node: &Node) -> Result<Item, WhereError> {
        let at = node.at;
        let refuse = |reason: String| WhereError::at(at, reason);
        let kind = match &node.syntax {
            Syntax::Column(parts) => self.column(parts, at)?,
            Syntax::Number(digits) => Kind::Constant(literal::number(digits).map_err(refuse)?),
            Syntax::Text(text) => Kind::Unknown { text: text.clone(), parameter: None },
            Syntax::Parameter(number) => self.parameter(*number, at)?,
            Syntax::Null => Kind::Null(None),
            Syntax::Bool(value) => {
                Kind::Constant(Constant::new(SqlType::Bool, Stored::Bool(*value)))
            }
            Syntax::Unary { operator, operand } if operator == "-" || operator == "+" => {
                self.sign(operator == "-", operand, at)?
            }
            Syntax::Cast { operand, target } => {
                let operand = self.item(operand)?;
                let plain = target.modifiers.is_empty() && target.dimensions == 0;
                let target = match target.path.as_slice() {
                    [name] if plain => SqlType::from_name(name),
                    _ => None,
                }
                .ok_or_else(|| {
                    WhereError::at(target.at, format!("type {target} is not supported"))
                })?;
                self.cast(operand, target)?
            }
            _ => match self.predicate(node)? {
                Expr::Constant(Some(value)) => {
                    Kind::Constant(Constant::new(SqlType::Bool, Stored::Bool(value)))
                }
                Expr::Constant(None) => Kind::Null(Some(SqlType::Bool)),
                Expr::Flag { column, expected: true } => Kind::Column(column, SqlType::Bool),
                expr => Kind::Predicate(expr),
            },
        };
        Ok(Item { kind, at })
    }

    fn column(&self, parts: &[String], at: usize) -> Result<Kind, WhereError> {
        let unknown = || WhereError::at(at, format!("unknown reference {}", parts.join(".")));
        let relation = &self.table.name;
        let name = match parts {
            [name] => name,
            [table, name] if *table == relation.table => name,
            [schema, table, name] if *schema == relation.schema && *table == relation.table => name,
            _ => return Err(unknown()),
        };
        let index = self.table.column(name).ok_or_else(unknown)?;
        let column = &self.table.columns[index];
        if column.generated {
            let reason = format!("column {name} is generated, which replication leaves out");
            return Err(WhereError::at(at, reason));
        }
        Ok(match SqlType::from_oid(column.base_type_oid) {
            Some(sql_type) => Kind::Column(index, sql_type),
            None => Kind::Opaque(index),
        })
    }

    fn parameter(&self, number: usize, at: usize) -> Result<Kind, WhereError> {
        let index = number.wrapping_sub(1);
        let text = self
            .params
            .get(index)
            .ok_or_else(|| WhereError::at(at, format!("parameter ${number} was not provided")))?;
        if text.len() > PARAMETER_BYTES_MAX {
            let reason = format!("parameter ${number} is over {PARAMETER_BYTES_MAX} bytes");
            return Err(WhereError::at(at, reason));
        }
        if text.contains('\0') {
            let reason = format!("parameter ${number} holds U+0000, which Postgres does not have");
            return Err(WhereError::at(at, reason));
        }
        self.fixed_kind(index, text, at)
    }

    /// A parameter: typed if an earlier use has given it a type.
    fn fixed_kind(&self, index: usize, text: &str, at: usize) -> Result<Kind, WhereError> {
        match self.fixed.get(index).copied().flatten() {
            None => Ok(Kind::Unknown { text: text.to_owned(), parameter: Some(index) }),
            Some(sql_type) => literal::input(sql_type, text)
                .map(Kind::Constant)
                .map_err(|reason| WhereError::at(at, reason)),
        }
    }

    /// The same item, in the light of the uses resolved since it was made.
    fn refresh(&self, item: Item) -> Result<Item, WhereError> {
        match item.kind {
            Kind::Unknown { text, parameter: Some(index) } => {
                Ok(Item { kind: self.fixed_kind(index, &text, item.at)?, at: item.at })
            }
            _ => Ok(item),
        }
    }

    fn sign(&mut self, negative: bool, operand: &Node, at: usize) -> Result<Kind, WhereError> {
        let symbol = if negative { '-' } else { '+' };
        let unsupported =
            || WhereError::at(at, format!("the operator {symbol} is only supported on numbers"));
        match self.item(operand)?.kind {
            Kind::Constant(constant) => {
                let negated = literal::negate(&constant).ok_or_else(unsupported)?;
                let result = if negative { negated } else { Ok(constant) };
                result.map(Kind::Constant).map_err(|reason| WhereError::at(at, reason))
            }
            _ => Err(unsupported()),
        }
    }

    fn cast(&mut self, item: Item, target: SqlType) -> Result<Kind, WhereError> {
        self.refuse_opaque(&item)?;
        let from = item.sql_type();
        let unsupported = || {
            let from = from.map_or("unknown", SqlType::title);
            let reason = format!("casting {from} to {} is not supported", target.title());
            WhereError::at(item.at, reason)
        };
        match &item.kind {
            Kind::Unknown { .. } => self.coerce(item, target).map(|item| item.kind),
            Kind::Null(_) => Ok(Kind::Null(Some(target))),
            Kind::Constant(constant) => literal::cast(constant, target)
                .ok_or_else(unsupported)?
                .map(Kind::Constant)
                .map_err(|reason| WhereError::at(item.at, reason)),
            _ if from == Some(target) => Ok(item.kind),
            _ => Err(unsupported()),
        }
    }

    /// Gives an untyped constant a type; anything else keeps its own.
    fn coerce(&mut self, item: Item, target: SqlType) -> Result<Item, WhereError> {
        let item = self.refresh(item)?;
        let kind = match item.kind {
            Kind::Unknown { text, parameter } => {
                let constant = literal::input(target, &text)
                    .map_err(|reason| WhereError::at(item.at, reason))?;
                if let Some(slot) = parameter.and_then(|index| self.fixed.get_mut(index)) {
                    *slot = Some(target);
                }
                Kind::Constant(constant)
            }
            Kind::Null(None) => Kind::Null(Some(target)),
            kind => kind,
        };
        Ok(Item { kind, at: item.at })
    }

    fn refuse_opaque(&self, item: &Item) -> Result<(), WhereError> {
        let Some(index) = item.opaque() else { return Ok(()) };
        let column = &self.table.columns[index];
        let array = if column.dimensions > 0 { "[]" } else { "" };
        let reason = format!(
            "column {} has type {}{array}, for which only IS [NOT] NULL is supported",
            column.name, column.type_name
        );
        Err(WhereError::at(item.at, reason))
    }

    /// Both sides of an operator with their types settled.
    fn pair(
        &mut self,
        (left, right): (Item, Item),
        symbol: &str,
        at: usize,
    ) -> Result<(Item, Item), WhereError> {
        let (left, right) = (self.refresh(left)?, self.refresh(right)?);
        self.refuse_opaque(&left)?;
        self.refuse_opaque(&right)?;
        match (left.sql_type(), right.sql_type()) {
            (None, None) => {
                let left = self.coerce(left, SqlType::Text)?;
                Ok((left, self.coerce(right, SqlType::Text)?))
            }
            (Some(sql_type), None) => Ok((left, self.coerce(right, sql_type)?)),
            (None, Some(sql_type)) => Ok((self.coerce(left, sql_type)?, right)),
            (Some(one), Some(other)) if one.category() == other.category() => Ok((left, right)),
            (Some(one), Some(other)) => {
                let reason = format!(
                    "no operator {symbol} for {} and {}; an explicit cast may be needed",
                    one.title(),
                    other.title()
                );
                Err(WhereError::at(at, reason))
            }
        }
    }

    /// A comparison of two items.
    fn compare(
        &mut self,
        comparison: Comparison,
        sides: (Item, Item),
        at: usize,
    ) -> Result<Expr, WhereError> {
        let sides = self.pair(sides, comparison.symbol(), at)?;
        let purpose = if comparison.needs_order() { Use::Order } else { Use::Equality };
        self.check_collation([&sides.0, &sides.1], purpose, at)?;
        normalize::compare(comparison, sides.0.operand(), sides.1.operand())
            .map_err(|reason| WhereError::at(at, reason))
    }

    fn predicate(&mut self, node: &Node) -> Result<Expr, WhereError> {
        let at = node.at;
        match &node.syntax {
            Syntax::Not(operand) => self.boolean(operand, "NOT").map(normalize::not),
            Syntax::And(list) => {
                let list: Result<_, _> = list.iter().map(|one| self.boolean(one, "AND")).collect();
                list.map(normalize::all)
            }
            Syntax::Or(list) => {
                let list: Result<_, _> = list.iter().map(|one| self.boolean(one, "OR")).collect();
                list.map(normalize::any)
            }
            Syntax::Binary { operator, left, right } => {
                let comparison = Comparison::from_symbol(operator).ok_or_else(|| {
                    WhereError::at(at, format!("the operator {operator} is not supported"))
                })?;
                let sides = (self.item(left)?, self.item(right)?);
                self.compare(comparison, sides, at)
            }
            Syntax::Distinct { left, right, negated } => {
                let sides = (self.item(left)?, self.item(right)?);
                self.distinct(sides, *negated, at)
            }
            Syntax::IsNull { operand, negated } => {
                let item = self.item(operand)?;
                Ok(is_null(item, *negated))
            }
            Syntax::Test { operand, expected, negated } => {
                let operand = self.boolean(operand, "IS TRUE")?;
                Ok(normalize::test(operand, *expected, *negated))
            }
            Syntax::In { operand, list, negated } => {
                let found = self.is_in(operand, list, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            Syntax::Between { operand, low, high, symmetric, negated } => {
                let items = [self.item(operand)?, self.item(low)?, self.item(high)?];
                let found = self.between(items, *symmetric, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            Syntax::Like { operand, pattern, escape, form, negated }
                if *form != PatternForm::Similar =>
            {
                let fold = *form == PatternForm::Ilike;
                let found = self.like(operand, pattern, escape.as_deref(), fold, at)?;
                Ok(if *negated { normalize::not(found) } else { found })
            }
            Syntax::Column(_)
            | Syntax::Number(_)
            | Syntax::Text(_)
            | Syntax::Parameter(_)
            | Syntax::Null
            | Syntax::Bool(_)
            | Syntax::Cast { .. } => {
                let item = self.item(node)?;
                self.truth(item, "WHERE")
            }
            other => {
                Err(WhereError::at(at, format!("{} expressions are not supported", other.title())))
            }
        }
    }

    /// A node as a boolean.
    fn boolean(&mut self, node: &Node, of: &str) -> Result<Expr, WhereError> {
        let item = self.item(node)?;
        self.truth(item, of)
    }

    fn truth(&mut self, item: Item, of: &str) -> Result<Expr, WhereError> {
        self.refuse_opaque(&item)?;
        let item = self.coerce(item, SqlType::Bool)?;
        let title = item.sql_type().map_or("unknown", SqlType::title);
        let refuse = || {
            let reason = format!("argument of {of} must be type boolean, not type {title}");
            Err(WhereError::at(item.at, reason))
        };
        match item.kind {
            Kind::Predicate(expr) => Ok(expr),
            Kind::Column(column, SqlType::Bool) => Ok(Expr::Flag { column, expected: true }),
            Kind::Constant(Constant { stored: Stored::Bool(value), .. }) => {
                Ok(Expr::Constant(Some(value)))
            }
            Kind::Null(Some(SqlType::Bool)) => Ok(Expr::Constant(None)),
            _ => refuse(),
        }
    }

    fn distinct(
        &mut self,
        sides: (Item, Item),
        negated: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        // Postgres turns this into a test for NULL, for which the other side may be anything.
        match (&sides.0.kind, &sides.1.kind) {
            (Kind::Null(None), _) => return Ok(is_null(sides.1, !negated)),
            (_, Kind::Null(None)) => return Ok(is_null(sides.0, !negated)),
            _ => {}
        }
        let (left, right) = self.pair(sides, "=", at)?;
        self.check_collation([&left, &right], Use::Equality, at)?;
        normalize::distinct(left.operand(), right.operand(), negated)
            .map_err(|reason| WhereError::at(at, reason))
    }

    /// As Postgres expands it: each bound is its own comparison.
    fn between(
        &mut self,
        [operand, low, high]: [Item; 3],
        symmetric: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        if [&operand, &low, &high].iter().any(|item| item.is_predicate()) {
            return Err(WhereError::at(at, "BETWEEN over predicates is not supported"));
        }
        let mut within = |low: &Item, high: &Item| -> Result<Expr, WhereError> {
            let above = (operand.clone(), low.clone());
            let above = self.compare(Comparison::GreaterOrEqual, above, at)?;
            let below = (operand.clone(), high.clone());
            let below = self.compare(Comparison::LessOrEqual, below, at)?;
            Ok(normalize::all(vec![above, below]))
        };
        let forward = within(&low, &high)?;
        if !symmetric {
            return Ok(forward);
        }
        let backward = within(&high, &low)?;
        Ok(normalize::any(vec![forward, backward]))
    }

    fn like(
        &mut self,
        operand: &Node,
        pattern: &Node,
        escape: Option<&Node>,
        fold: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let symbol = if fold { "ILIKE" } else { "LIKE" };
        let sides = (self.item(operand)?, self.item(pattern)?);
        let (operand, pattern) = self.pair(sides, symbol, at)?;
        for side in [&operand, &pattern] {
            if side.sql_type() != Some(SqlType::Text) {
                let title = side.sql_type().map_or("unknown", SqlType::title);
                let reason =
                    format!("no operator {symbol} for {title}; an explicit cast may be needed");
                return Err(WhereError::at(at, reason));
            }
        }
        let pattern = match escape {
            Some(escape) => self.rewrite_escape(pattern, escape)?,
            None => pattern,
        };
        let purpose = if fold { Use::Fold } else { Use::Equality };
        let case_map = self.check_collation([&operand, &pattern], purpose, at)?;
        let (Some(operand), Some(pattern)) = (operand.operand(), pattern.operand()) else {
            return Ok(Expr::Constant(None));
        };
        let fold = case_map.filter(|_| fold);
        normalize::like(Like { operand, pattern, fold, folded_pattern: None, negated: false })
            .map_err(|reason| WhereError::at(at, reason))
    }

    fn rewrite_escape(&mut self, pattern: Item, escape: &Node) -> Result<Item, WhereError> {
        let escape_item = self.item(escape)?;
        let escape_item = self.coerce(escape_item, SqlType::Text)?;
        let (text, escape_text) = match (&pattern.kind, &escape_item.kind) {
            (Kind::Constant(pattern), Kind::Constant(escape)) => (pattern.text(), escape.text()),
            (_, Kind::Null(_)) | (Kind::Null(_), _) => {
                return Ok(Item { kind: Kind::Null(Some(SqlType::Text)), at: pattern.at });
            }
            _ => return Err(WhereError::at(escape.at, "ESCAPE needs a constant pattern")),
        };
        let mut characters = escape_text.chars();
        let rewritten = match (characters.next(), characters.next()) {
            (Some('\\'), None) => text,
            (character, None) => crate::like::rewrite_escape(&text, character),
            _ => return Err(WhereError::at(escape.at, "invalid escape string")),
        };
        let constant = Constant::new(SqlType::Text, Stored::Text(rewritten.into()));
        Ok(Item { kind: Kind::Constant(constant), at: pattern.at })
    }
}

fn is_null(item: Item, negated: bool) -> Expr {
    match item.kind {
        Kind::Null(_) => Expr::Constant(Some(!negated)),
        Kind::Unknown { .. } | Kind::Constant(_) => Expr::Constant(Some(negated)),
        Kind::Column(column, _) | Kind::Opaque(column) => Expr::IsNull { column, negated },
        Kind::Predicate(expr) => normalize::test(expr, None, negated),
    }
}
