//! CASE, COALESCE, NULLIF, GREATEST, LEAST: what is not evaluated in every case.

use super::{Resolver, overload};
use crate::WhereError;
use crate::data_type::DataType;
use crate::expr::Expr;
use crate::oid::Oid;
use crate::routine::{TextUse, is_comparable};
use crate::scalar::{Kind, Scalar};
use crate::syntax::Node;

impl Resolver<'_> {
    pub(super) fn special_form(
        &mut self,
        name: &str,
        arguments: &[Node],
        at: usize,
    ) -> Result<Option<Scalar>, WhereError> {
        if !matches!(name, "coalesce" | "nullif" | "greatest" | "least") {
            return Ok(None);
        }
        let lazy = name == "coalesce";
        self.lazy += usize::from(lazy);
        let items: Result<Vec<Scalar>, _> = arguments.iter().map(|node| self.item(node)).collect();
        self.lazy -= usize::from(lazy);
        let items = items?;
        if items.is_empty() {
            return Err(WhereError::at(at, format!("{name} needs an argument")));
        }
        match (name, items.as_slice()) {
            ("nullif", [_, _]) => self.null_if(items, at),
            ("nullif", _) => Err(WhereError::at(at, "nullif needs two arguments")),
            ("coalesce", _) => self.coalesce(items, at),
            _ => self.extreme(items, name == "greatest", at),
        }
        .map(Some)
    }

    /// All items as the type they have in common.
    fn unify(
        &mut self,
        items: Vec<Scalar>,
        at: usize,
    ) -> Result<(Vec<Scalar>, DataType), WhereError> {
        let mut refreshed = Vec::with_capacity(items.len());
        for item in items {
            self.refuse_opaque(&item)?;
            refreshed.push(self.refresh(item)?);
        }
        let common = overload::common_type(refreshed.iter().map(|item| &item.data_type))
            .filter(DataType::is_readable)
            .ok_or_else(|| WhereError::at(at, "these types cannot be matched"))?;
        let mut unified = Vec::with_capacity(refreshed.len());
        for item in refreshed {
            unified.push(self.coerce(item, &common)?);
        }
        Ok((unified, common))
    }

    fn coalesce(&mut self, items: Vec<Scalar>, at: usize) -> Result<Scalar, WhereError> {
        self.lazy += 1;
        let unified = self.unify(items, at);
        self.lazy -= 1;
        let (items, common) = unified?;
        let mut kept = Vec::new();
        for item in &items {
            match item.constant() {
                Some(None) => {}
                Some(Some(_)) => {
                    kept.push(item.clone());
                    break;
                }
                None => kept.push(item.clone()),
            }
        }
        // What is never looked at may still decide the collation.
        let derived = self.derive_all(&items);
        if self.derive_all(&kept) != derived && !self.may_forget(derived) {
            return Ok(Scalar::new(Kind::Coalesce(items), common, at));
        }
        if kept.is_empty() {
            return Ok(Scalar::new(Kind::Constant(None), common, at));
        }
        let alone = kept.len() == 1 && !waits(&kept[0]);
        match kept.pop() {
            Some(only) if alone => Ok(only),
            last => {
                kept.extend(last);
                Ok(Scalar::new(Kind::Coalesce(kept), common, at))
            }
        }
    }

    fn extreme(
        &mut self,
        items: Vec<Scalar>,
        greatest: bool,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let (list, common) = self.unify(items, at)?;
        if !is_comparable(&common, true) {
            let title = common.title();
            return Err(WhereError::at(at, format!("ordering {title} is not supported")));
        }
        self.check_text(&list, TextUse::Order, at)?;
        let constant = list.iter().all(|item| item.constant().is_some());
        let found = Scalar::new(Kind::Extreme { greatest, list }, common, at);
        if constant { self.fold(found) } else { Ok(found) }
    }

    fn null_if(&mut self, items: Vec<Scalar>, at: usize) -> Result<Scalar, WhereError> {
        let mut items = items.into_iter();
        let (Some(left), Some(right)) = (items.next(), items.next()) else {
            return Err(WhereError::at(at, "nullif needs two arguments"));
        };
        let (left, right) = (self.refresh(left)?, self.refresh(right)?);
        self.refuse_opaque(&left)?;
        self.refuse_opaque(&right)?;
        let call = self.operator_call("=", &[left.clone(), right.clone()], at)?;
        // The value is of the type that is compared: a numeric for `nullif(7, 1.5)`.
        let value = self.coerce(left, &call.arguments[0])?;
        let other = self.coerce(right, &call.arguments[1])?;
        let (one, two) = (self.copy(&value)?, self.copy(&other)?);
        let equal = self.binary("=", one, two, at)?;
        let constant = value.constant().is_some() && equal.constant().is_some();
        let data_type = value.data_type.clone();
        let kind =
            Kind::NullIf { equal: Box::new(equal), value: Box::new(value), other: Box::new(other) };
        let found = Scalar::new(kind, data_type, at);
        if constant { self.fold(found) } else { Ok(found) }
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&Node>,
        branches: &[(Node, Node)],
        otherwise: Option<&Node>,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let operand = operand.map(|operand| self.item(operand)).transpose()?;
        // Postgres takes an untyped operand as text.
        let operand = match operand {
            Some(item) if item.data_type.oid == Oid::UNKNOWN => {
                Some(self.coerce(item, &Oid::TEXT.into())?)
            }
            operand => operand,
        };
        self.lazy += 1;
        let found = self.branches(operand.as_ref(), branches, otherwise, at);
        self.lazy -= 1;
        found
    }

    fn branches(
        &mut self,
        operand: Option<&Scalar>,
        branches: &[(Node, Node)],
        otherwise: Option<&Node>,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let mut conditions = Vec::with_capacity(branches.len());
        // The type of ELSE leads.
        let mut values = vec![match otherwise {
            Some(node) => self.item(node)?,
            None => Scalar::new(Kind::Constant(None), Oid::UNKNOWN, at),
        }];
        for (when, then) in branches {
            conditions.push(match operand {
                Some(operand) => {
                    let (left, right) = (self.copy(operand)?, self.item(when)?);
                    let equal = self.binary("=", left, right, when.at)?;
                    self.truth(equal, "CASE/WHEN")?
                }
                None => self.boolean(when, "CASE/WHEN")?,
            });
            values.push(self.item(then)?);
        }
        let (values, common) = self.unify(values, at)?;
        let derived = self.derive_all(&values);
        let mut values = values.into_iter();
        let last = values.next();
        let branches: Vec<(Expr, Scalar)> = conditions.into_iter().zip(values).collect();
        let whole =
            Kind::Case { branches: branches.clone(), otherwise: last.clone().map(Box::new) };
        let kept = match reached(branches, last) {
            Reached::Always(value) => value,
            Reached::Some(kind) => Scalar::new(kind, common.clone(), at),
        };
        // What is never reached may still decide the collation.
        if self.derive(&kept) != derived && !self.may_forget(derived) {
            return Ok(Scalar::new(whole, common, at));
        }
        Ok(kept)
    }
}

/// What is left of a CASE.
enum Reached {
    /// Every row comes to this value.
    Always(Scalar),
    Some(Kind),
}

/// The branches that some row may reach.
fn reached(branches: Vec<(Expr, Scalar)>, otherwise: Option<Scalar>) -> Reached {
    let mut last = otherwise;
    let mut kept = Vec::new();
    for (condition, branch) in branches {
        match condition {
            Expr::Constant(Some(true)) => {
                last = Some(branch);
                break;
            }
            Expr::Constant(_) => {}
            condition => kept.push((condition, branch)),
        }
    }
    let otherwise = match last {
        Some(last) if kept.is_empty() && !waits(&last) => return Reached::Always(last),
        // An error must go on waiting for a row.
        Some(last) if kept.is_empty() => {
            kept.push((Expr::Constant(Some(true)), last));
            None
        }
        last => last.map(Box::new),
    };
    Reached::Some(Kind::Case { branches: kept, otherwise })
}

/// Whether an error of constants waits in a value: something without columns is left to compute.
fn waits(scalar: &Scalar) -> bool {
    if scalar.constant().is_some() {
        return false;
    }
    let mut columns = Vec::new();
    scalar.columns(&mut columns);
    let mut found = columns.is_empty();
    scalar.for_each_child(&mut |child| found |= waits(child));
    found
}
