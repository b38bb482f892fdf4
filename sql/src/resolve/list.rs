//! `IN (…)`: Postgres unifies the types of a list before it compares.
//!
//! *Invariant*: two or more constants are cast to one type that the left side takes part in
//! choosing, and then compared; a lone constant and every element that reads the row is an `=` of
//! its own. The difference shows: `real IN (1.1)` is false where `real IN (1.1, 2.2)` is true.

use super::{Item, Kind, Resolver, Use};
use crate::expr::{Comparison, Expr};
use crate::sql_type::SqlType;
use crate::syntax::Node;
use crate::value::Constant;
use crate::{WhereError, literal, normalize};

impl Resolver<'_> {
    pub(super) fn is_in(
        &mut self,
        operand: &Node,
        list: &[Node],
        at: usize,
    ) -> Result<Expr, WhereError> {
        let operand = self.item(operand)?;
        self.refuse_opaque(&operand)?;
        let list: Vec<Item> =
            list.iter().map(|element| self.item(element)).collect::<Result<_, _>>()?;
        let (mut alone, constants): (Vec<Item>, Vec<Item>) =
            list.into_iter().partition(Item::is_variable);
        let mut found = Vec::new();
        match self.common(&operand, &constants) {
            Some(common) if constants.len() > 1 => {
                found.push(self.among(operand.clone(), constants, common, at)?);
            }
            _ => alone.extend(constants),
        }
        if operand.is_predicate() && found.len() + alone.len() > 1 {
            // Each comparison would copy the predicate.
            return Err(WhereError::at(at, "a predicate IN such a list is not supported"));
        }
        for element in alone {
            found.push(self.compare(Comparison::Equal, (operand.clone(), element), at)?);
        }
        Ok(normalize::any(found))
    }

    /// The type the constants are cast to; `None` where there is none in common.
    fn common(&self, operand: &Item, constants: &[Item]) -> Option<SqlType> {
        let members = std::iter::once(operand).chain(constants);
        let types: Vec<SqlType> = members.filter_map(Item::sql_type).collect();
        if types.is_empty() { Some(SqlType::Text) } else { SqlType::common(types) }
    }

    fn among(
        &mut self,
        operand: Item,
        constants: Vec<Item>,
        common: SqlType,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let mut null = false;
        let mut list: Vec<Constant> = Vec::with_capacity(constants.len());
        for item in constants {
            let item = self.coerce(item, common)?;
            match &item.kind {
                Kind::Constant(constant) => list.push(unify(constant, common, item.at)?),
                _ => null = true,
            }
        }
        let operand = self.coerce(operand, common)?;
        self.check_collation([&operand, &operand], Use::Equality, at)?;
        normalize::is_in(operand.operand(), list, null).map_err(|reason| WhereError::at(at, reason))
    }
}

fn unify(constant: &Constant, common: SqlType, at: usize) -> Result<Constant, WhereError> {
    let unsupported = || {
        let (from, to) = (constant.sql_type.title(), common.title());
        WhereError::at(at, format!("casting {from} to {to} is not supported"))
    };
    literal::cast(constant, common)
        .ok_or_else(unsupported)?
        .map_err(|reason| WhereError::at(at, reason))
}
