//! `IN (…)`: Postgres unifies the types of a list before it compares.
//!
//! *Invariant*: two or more constants are cast to one type that the left side takes part in
//! choosing, and then compared; a lone constant and every element that reads the row is an `=` of
//! its own. The difference shows: `real IN (1.1)` is false where `real IN (1.1, 2.2)` is true.

use std::sync::Arc;

use super::{Resolver, fast, overload};
use crate::data_type::DataType;
use crate::datum::{Array, Datum};
use crate::expr::Expr;
use crate::oid::Oid;
use crate::scalar::{Kind, Scalar};
use crate::syntax::{Node, Syntax};
use crate::{WhereError, normalize};

impl Resolver<'_> {
    pub(super) fn is_in(
        &mut self,
        operand: &Node,
        list: &[Node],
        at: usize,
    ) -> Result<Expr, WhereError> {
        let operand = self.item(operand)?;
        let list: Vec<(bool, Scalar)> = list
            .iter()
            .map(|element| Ok((names_column(element), self.item(element)?)))
            .collect::<Result<_, _>>()?;
        let is_row = matches!(operand.kind, Kind::Row(_));
        if !is_row {
            self.refuse_opaque(&operand)?;
        }
        let (mut alone, mut constants) = (Vec::new(), Vec::new());
        for (variable, item) in list {
            if is_row || variable { &mut alone } else { &mut constants }.push(item);
        }
        let mut found = Vec::new();
        match self.common(&operand, &constants) {
            Some(common) if constants.len() > 1 => {
                let left = self.copy(&operand)?;
                found.push(self.among(left, constants, &common, at)?);
            }
            _ => alone.extend(constants),
        }
        for element in alone {
            let left = self.copy(&operand)?;
            let equal = self.binary("=", left, element, at)?;
            found.push(self.truth(equal, "IN")?);
        }
        Ok(normalize::any(found))
    }

    /// The type the constants are cast to; `None` where there is none in common.
    fn common(&self, operand: &Scalar, constants: &[Scalar]) -> Option<DataType> {
        let types = || std::iter::once(operand).chain(constants).map(|item| &item.data_type);
        let common = overload::common_type(types())?;
        let all = types().all(|one| overload::widens(one, &common));
        (all && common.array().is_some()).then_some(common)
    }

    fn among(
        &mut self,
        operand: Scalar,
        constants: Vec<Scalar>,
        common: &DataType,
        at: usize,
    ) -> Result<Expr, WhereError> {
        let mut elements = Vec::with_capacity(constants.len());
        for item in constants {
            elements.push(self.coerce(item, common)?);
        }
        let array_type = common.array().unwrap_or_else(|| Oid::UNKNOWN.into());
        let values: Option<Vec<Option<Datum>>> =
            elements.iter().map(|element| element.constant().cloned()).collect();
        let kind = match values {
            Some(values) => Kind::Constant(Some(Datum::Array(Arc::new(Array::flat(values))))),
            None => Kind::Array(elements),
        };
        let array = Scalar::new(kind, array_type, at);
        let found = self.any_of("=", operand, array, false, at)?;
        self.truth(found, "IN")
    }

    /// `left operator ANY|ALL (array)` with both sides resolved.
    pub(super) fn any_of(
        &mut self,
        symbol: &str,
        left: Scalar,
        array: Scalar,
        all: bool,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let left = self.refresh(left)?;
        let array = self.refresh(array)?;
        self.refuse_opaque(&left)?;
        self.refuse_opaque(&array)?;
        let element = match &array.data_type.element {
            Some(element) => element.base(),
            None if array.data_type.oid == Oid::UNKNOWN => Oid::UNKNOWN.into(),
            None => {
                let reason = "op ANY/ALL (array) requires array on right side";
                return Err(WhereError::at(at, reason));
            }
        };
        let stand_in = Scalar::new(Kind::Constant(None), element, at);
        let member = [left.data_type.clone(), stand_in.data_type.clone()];
        if let Some(declared) = super::uncased::declared(symbol, &member) {
            let (symbol, left, array) = self.uncased_any(symbol, declared, left, array, at)?;
            return self.any_of(symbol, left, array, all, at);
        }
        let mut call = self.operator_call(symbol, &[left.clone(), stand_in], at)?;
        if call.result.oid != Oid::BOOL {
            return Err(WhereError::at(
                at,
                "op ANY/ALL (array) requires operator to yield boolean",
            ));
        }
        let left = self.coerce(left, &call.arguments[0].clone())?;
        let wanted = call.arguments[1]
            .array()
            .ok_or_else(|| WhereError::at(at, "arrays of this type are not supported"))?;
        let array = self.coerce(array, &wanted)?;
        let items = [left, array];
        self.check_collation(&mut call, &items, at)?;
        let [left, array] = items;
        if crate::routine::wants_expression(call.code).is_some() {
            return self.one_by_one(symbol, left, array, all, at);
        }
        if let Some(expr) = self.fast_any(symbol, &left, &array, all, at)? {
            return Ok(super::as_scalar(expr, at));
        }
        let constant = left.constant().is_some() && array.constant().is_some();
        let (left, array) = (Box::new(left), Box::new(array));
        let kind = Kind::Quantified { call: Box::new(call), left, array, all };
        let found = Scalar::new(kind, Oid::BOOL, at);
        if constant { self.fold(found) } else { Ok(found) }
    }

    /// Regular expressions are compiled once: the operator with each of a constant array's elements, under OR or AND.
    fn one_by_one(
        &mut self,
        symbol: &str,
        left: Scalar,
        array: Scalar,
        all: bool,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let elements = match (array.constant(), &array.data_type.element) {
            (Some(None), _) => return Ok(Scalar::new(Kind::Constant(None), Oid::BOOL, at)),
            (Some(Some(Datum::Array(values))), Some(element)) => {
                let one = |value: &Option<Datum>| {
                    let kind = Kind::Constant(value.clone());
                    Scalar::new(kind, (**element).clone(), array.at)
                };
                values.elements.iter().map(one).collect::<Vec<_>>()
            }
            _ => {
                let reason =
                    "regular expressions in arrays that are no constants are not supported";
                return Err(WhereError::at(at, reason));
            }
        };
        let mut found = Vec::with_capacity(elements.len());
        for element in elements {
            let left = self.copy(&left)?;
            let one = self.operator(symbol, vec![left, element], at)?;
            found.push(self.truth(one, "ANY")?);
        }
        let found = if all { normalize::all(found) } else { normalize::any(found) };
        Ok(super::as_scalar(found, at))
    }

    /// `= ANY` and `<> ALL` over constants are IN and NOT IN.
    fn fast_any(
        &mut self,
        symbol: &str,
        left: &Scalar,
        array: &Scalar,
        all: bool,
        at: usize,
    ) -> Result<Option<Expr>, WhereError> {
        let wanted = matches!((symbol, all), ("=", false) | ("<>", true));
        let (Some(Some(Datum::Array(values))), Some(element)) =
            (array.constant(), &array.data_type.element)
        else {
            return Ok(None);
        };
        if !wanted {
            return Ok(None);
        }
        if values.elements.is_empty() {
            return Ok(Some(Expr::Constant(Some(all))));
        }
        let member =
            Scalar::new(Kind::Constant(values.elements[0].clone()), (**element).clone(), at);
        let Some((operand, _)) = fast::pair(left, &member, false) else { return Ok(None) };
        let Some(sql_type) = crate::sql_type::SqlType::of(element) else { return Ok(None) };
        let constants: Option<Vec<_>> =
            values.elements.iter().flatten().map(|one| fast::constant(sql_type, one)).collect();
        let Some(constants) = constants else { return Ok(None) };
        let null = values.elements.iter().any(Option::is_none);
        let found = normalize::is_in(operand, constants, null)
            .map_err(|reason| WhereError::at(at, reason))?;
        Ok(Some(if all { normalize::not(found) } else { found }))
    }
}

/// Whether an element reads the row as it is written, which is when Postgres decides.
fn names_column(node: &Node) -> bool {
    matches!(node.syntax, Syntax::Column(_)) || node.syntax.children().into_iter().any(names_column)
}
