//! `citext`: text that is compared by its lower case.
//!
//! *Enters*: operators on `citext`, as the extension declares them. *Leaves*: operators on text.
//! *Invariant*: an expression of `citext` prints as text, so that what is printed needs neither the
//! type nor a search path; a column of it stands under a cast that nothing looks through. Operators
//! of the extension have no code of ours: one that is not rewritten here is refused.

use super::call::choose_operator;
use super::collate::Derived;
use super::{Resolver, overload};
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::datum::{Array, Datum};
use crate::expr::Comparison;
use crate::oid::Oid;
use crate::routine::Conversion;
use crate::scalar::{Kind, Scalar};
use crate::{Collation, Column, WhereError};

/// A column of `citext`.
pub(super) fn column(index: usize, at: usize) -> Scalar {
    let operand = Box::new(Scalar::new(Kind::Column(index), Oid::TEXT, at));
    let conversion = Conversion::Relabel;
    let kind = Kind::Cast { operand, conversion, modifier: None, implicit: false };
    Scalar::new(kind, Oid::CITEXT, at)
}

/// The column that an item of `citext` is.
pub(super) fn column_of(item: &Scalar) -> Option<usize> {
    match &item.kind {
        Kind::Cast { operand, .. } if item.data_type.oid == Oid::CITEXT => match operand.kind {
            Kind::Column(index) if operand.data_type.oid == Oid::TEXT => Some(index),
            _ => None,
        },
        _ => None,
    }
}

/// The same value as `citext`, or as text again.
pub(super) fn relabelled(item: Scalar, data_type: impl Into<DataType>) -> Scalar {
    Scalar { data_type: data_type.into(), ..item }
}

/// What `citext`, or an array of it, is as text; `None` of other types.
pub(super) fn text_of(data_type: &DataType) -> Option<DataType> {
    match data_type.oid {
        Oid::CITEXT => Some(Oid::TEXT.into()),
        _ if data_type.holds_citext() => DataType::from(Oid::TEXT).array(),
        _ => None,
    }
}

/// Whether a type is `citext` or an array of it.
pub(super) fn is_made_of(oid: Oid) -> bool {
    let element = catalog().type_of(oid).and_then(|entry| entry.element);
    oid == Oid::CITEXT || element == Some(Oid::CITEXT)
}

/// What an operator is declared for, if it is one of the extension's.
pub(super) fn declared(symbol: &str, types: &[DataType]) -> Option<Vec<Oid>> {
    if !types.iter().any(|one| is_made_of(one.oid)) {
        return None;
    }
    let candidates = overload::candidates(catalog().operators(symbol, types.len()), types.len());
    let found = choose_operator(candidates, types)?;
    (found.declared.first() == Some(&Oid::CITEXT)).then_some(found.declared)
}

/// The operator of text that does the same, and whether both sides are folded before.
fn of_text(symbol: &str) -> Option<(&'static str, bool)> {
    Some(match symbol {
        "~~" | "~~*" => ("~~*", false),
        "!~~" | "!~~*" => ("!~~*", false),
        "~" | "~*" => ("~*", false),
        "!~" | "!~*" => ("!~*", false),
        other => (Comparison::from_symbol(other)?.symbol(), true),
    })
}

fn unsupported(symbol: &str, at: usize) -> WhereError {
    WhereError::at(at, format!("the operator {symbol} for citext is not supported"))
}

impl<'a> Resolver<'a> {
    /// Whether the table says which type is meant by `citext`.
    pub(super) fn has_citext(&self) -> bool {
        let mut columns = self.table.columns.iter();
        columns.any(|one| !one.dropped && is_made_of(Oid(one.base_type_oid)))
    }

    /// The database's default collation, as a column of the table has it: all of `citext` do.
    pub(super) fn default_collation(&self) -> Option<&'a Collation> {
        let is_default = |one: &&Column| {
            !one.dropped
                && (is_made_of(Oid(one.base_type_oid))
                    || one.collation.as_ref().is_some_and(|collation| collation.is_default))
        };
        self.table.columns.iter().find(is_default)?.collation.as_ref()
    }

    /// An operator of the extension and its operands as those of text; `None` of other operators.
    pub(super) fn uncased(
        &mut self,
        symbol: &str,
        items: &[Scalar],
        at: usize,
    ) -> Result<Option<(&'static str, Vec<Scalar>)>, WhereError> {
        let types: Vec<DataType> = items.iter().map(|item| item.data_type.clone()).collect();
        let Some(declared) = declared(symbol, &types) else {
            return self.uncased_arrays(symbol, items);
        };
        let (symbol, folds) = of_text(symbol).ok_or_else(|| unsupported(symbol, at))?;
        let mut made = Vec::with_capacity(items.len());
        for (item, oid) in items.iter().zip(declared) {
            let item = self.coerce(item.clone(), &oid.into())?;
            made.push(self.bare(item, folds)?);
        }
        Ok(Some((symbol, made)))
    }

    /// The same of an operator before ANY or ALL.
    pub(super) fn uncased_any(
        &mut self,
        symbol: &str,
        declared: Vec<Oid>,
        left: Scalar,
        array: Scalar,
        at: usize,
    ) -> Result<(&'static str, Scalar, Scalar), WhereError> {
        let refuse = || unsupported(symbol, at);
        let (operator, folds) = of_text(symbol).ok_or_else(refuse)?;
        let [first, second] = declared[..] else { return Err(refuse()) };
        let left = self.coerce(left, &first.into())?;
        let left = self.bare(left, folds)?;
        let element = DataType::from(second);
        let wanted = element.array().ok_or_else(refuse)?;
        let array = self.coerce(array, &wanted)?;
        let text = DataType::from(Oid::TEXT).array().ok_or_else(refuse)?;
        let array = if folds { self.lowered_array(array)? } else { relabelled(array, text) };
        Ok((operator, left, array))
    }

    /// The same of two arrays.
    fn uncased_arrays(
        &mut self,
        symbol: &str,
        items: &[Scalar],
    ) -> Result<Option<(&'static str, Vec<Scalar>)>, WhereError> {
        const CONTAIN: [&str; 3] = ["@>", "<@", "&&"];
        let contains = CONTAIN.into_iter().find(|one| *one == symbol);
        let compares = Comparison::from_symbol(symbol).map(Comparison::symbol);
        let ([_, _], Some(symbol)) = (items, contains.or(compares)) else { return Ok(None) };
        let mut types = items.iter().map(|item| &item.data_type);
        let Some(own) = types.find(|one| one.holds_citext()).cloned() else { return Ok(None) };
        let same = |item: &Scalar| item.data_type == own || item.data_type.oid == Oid::UNKNOWN;
        if !items.iter().all(same) {
            return Ok(None);
        }
        let mut made = Vec::with_capacity(items.len());
        for item in items {
            let item = self.coerce(item.clone(), &own)?;
            made.push(self.lowered_array(item)?);
        }
        Ok(Some((symbol, made)))
    }

    /// What asks an array of `citext` for an element, as what asks one of text.
    pub(super) fn uncased_search(
        &mut self,
        name: &str,
        items: Vec<Scalar>,
    ) -> Result<Vec<Scalar>, WhereError> {
        let [array, element, rest @ ..] = items.as_slice() else { return Ok(items) };
        let searches = matches!(name, "array_position" | "array_positions");
        let same = matches!(element.data_type.oid, Oid::CITEXT | Oid::UNKNOWN);
        if !searches || !same || !array.data_type.holds_citext() {
            return Ok(items);
        }
        let element = self.coerce(element.clone(), &Oid::CITEXT.into())?;
        let mut made = vec![self.lowered_array(array.clone())?, self.lowered(element)?];
        made.extend(rest.iter().cloned());
        Ok(made)
    }

    /// An array of `citext` as one of text in lower case. What is computed is folded as a whole: no letter folds to
    /// what an array's text is made of, and what is NULL there stays so.
    fn lowered_array(&mut self, array: Scalar) -> Result<Scalar, WhereError> {
        let at = array.at;
        let refuse = || WhereError::at(at, "arrays of citext are not supported");
        let text = DataType::from(Oid::TEXT).array().ok_or_else(refuse)?;
        let element = array.data_type.element.as_deref().cloned().ok_or_else(refuse)?;
        let kind = match array.kind {
            Kind::Constant(Some(Datum::Array(values))) => {
                let mut elements = Vec::with_capacity(values.elements.len());
                for value in &values.elements {
                    let one = Scalar::new(Kind::Constant(value.clone()), element.clone(), at);
                    let one = self.lowered(one)?;
                    elements.push(one.constant().cloned().ok_or_else(refuse)?);
                }
                let dimensions = values.dimensions.clone();
                Kind::Constant(Some(Datum::Array(Array { dimensions, elements }.into())))
            }
            Kind::Array(list) if list.iter().all(|one| one.data_type == element) => {
                let list = list.into_iter().map(|one| self.lowered(one));
                Kind::Array(list.collect::<Result<_, _>>()?)
            }
            Kind::Constant(None) => Kind::Constant(None),
            kind => {
                let shown = self.as_text(Scalar::new(kind, text.clone(), at))?;
                let lowered = self.lowered(shown)?;
                return self.read_as(lowered, &text);
            }
        };
        Ok(Scalar::new(kind, text, at))
    }

    /// `citext` as text, in lower case where it is to be compared.
    fn bare(&mut self, item: Scalar, folds: bool) -> Result<Scalar, WhereError> {
        if folds { self.lowered(item) } else { Ok(relabelled(item, Oid::TEXT)) }
    }

    /// `citext` is folded by the default collation, whatever its own. Text has to be of that one too:
    /// what we print is `lower`, which folds by the collation of what it is given.
    pub(super) fn lowered(&mut self, item: Scalar) -> Result<Scalar, WhereError> {
        let at = item.at;
        let refuse = |reason: String| WhereError::at(at, reason);
        let default = self.default_collation();
        let default = default.ok_or_else(|| refuse("type citext is not supported".into()))?;
        let fits = match self.derive(&item) {
            Derived::Default => true,
            Derived::Column(collation) => collation == default,
            Derived::Explicit | Derived::Conflict => false,
        };
        if !fits {
            let reason = "comparing citext of another collation than the default is not supported";
            return Err(refuse(reason.into()));
        }
        let Some(map) = default.case_map.clone() else {
            let reason = format!(
                "folding case (citext) under the collation {} is not supported; cast it to text",
                default.name
            );
            return Err(refuse(reason));
        };
        let given = [DataType::from(Oid::TEXT)];
        let chosen =
            overload::choose(overload::candidates(catalog().functions("lower"), 1), &given);
        let call = chosen.and_then(|chosen| self.call(&chosen, &given, false));
        let mut call = call.ok_or_else(|| refuse("type citext is not supported".into()))?;
        call.fold = Some(map);
        self.finish(call, vec![relabelled(item, Oid::TEXT)], at)
    }
}
