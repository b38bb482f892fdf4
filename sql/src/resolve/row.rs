//! Row values: `(a, b) = (1, 2)`, `(a, b) > ($1, $2)`.

use super::Resolver;
use super::call::comparison;
use crate::expr::{Comparison, Expr};
use crate::oid::Oid;
use crate::scalar::{Kind, Scalar};
use crate::{WhereError, normalize};

impl Resolver<'_> {
    pub(super) fn row_operator(
        &mut self,
        symbol: &str,
        left: Scalar,
        right: Scalar,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let refuse = |reason: &str| WhereError::at(at, reason);
        let (Kind::Row(left), Kind::Row(right)) = (left.kind, right.kind) else {
            return Err(refuse("a row value can only be compared with a row value"));
        };
        let found = comparison(symbol)
            .ok_or_else(|| refuse("row values can only be compared with =, <>, <, <=, > and >="))?;
        if left.len() != right.len() || left.is_empty() {
            return Err(refuse("unequal number of entries in row expressions"));
        }
        if !found.needs_order() {
            let pairs = left.into_iter().zip(right);
            let parts = pairs.map(|(left, right)| {
                let part = self.binary(symbol, left, right, at)?;
                self.truth(part, "AND")
            });
            let parts = parts.collect::<Result<Vec<Expr>, _>>()?;
            let expr = match found {
                Comparison::Equal => normalize::all(parts),
                _ => normalize::any(parts),
            };
            return Ok(super::as_scalar(expr, at));
        }
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for (left, right) in left.into_iter().zip(right) {
            let items = self.settled(vec![left, right])?;
            let items = self.uncased(symbol, &items, at)?.map_or(items, |(_, items)| items);
            let mut call = self.operator_call(symbol, &items, at)?;
            let items = self.coerce_all(items, &call)?;
            self.check_collation(&mut call, &items, at)?;
            let [left, right]: [Scalar; 2] =
                items.try_into().map_err(|_| WhereError::at(at, "syntax error"))?;
            lefts.push(left);
            rights.push(right);
        }
        let constant = lefts.iter().chain(&rights).all(|item| item.constant().is_some());
        let kind = Kind::RowCompare { comparison: found, left: lefts, right: rights };
        let scalar = Scalar::new(kind, Oid::BOOL, at);
        if constant { self.fold(scalar) } else { Ok(scalar) }
    }

    pub(super) fn distinct_rows(
        &mut self,
        left: Vec<Scalar>,
        right: Vec<Scalar>,
        negated: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        if left.len() != right.len() {
            let reason = "unequal number of entries in row expressions";
            return Err(WhereError::at(at, reason));
        }
        let pairs = left.into_iter().zip(right);
        let parts: Vec<Expr> = pairs
            .map(|(left, right)| self.distinct(left, right, negated, at))
            .collect::<Result<_, _>>()?;
        Ok(if negated { normalize::all(parts) } else { normalize::any(parts) })
    }

    /// The value of an expression over constants.
    pub(super) fn fold(&self, scalar: Scalar) -> Result<Scalar, WhereError> {
        let nothing = crate::Row::new(Vec::<Option<&str>>::new());
        let Ok(row) = nothing else { return Ok(scalar) };
        match crate::compute::value(&scalar, &row) {
            Ok(value) => {
                let derived = self.derive(&scalar);
                let value = Scalar::new(Kind::Constant(value), scalar.data_type, scalar.at);
                Ok(self.computed(derived, value))
            }
            Err(error) if self.lazy == 0 => Err(WhereError::at(scalar.at, error.to_string())),
            Err(_) => Ok(scalar),
        }
    }
}
