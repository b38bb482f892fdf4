//! Arrays: `ARRAY[…]`, subscripts, ANY and ALL.

use super::{Resolver, overload};
use crate::WhereError;
use crate::data_type::DataType;
use crate::oid::Oid;
use crate::scalar::{self, Kind, Scalar};
use crate::syntax::{Node, Subscript, Syntax};

/// The type of an element by itself. Postgres has no operator for a domain over an enum, we take it for the enum.
fn as_value(element: &DataType) -> DataType {
    if element.labels.is_some() { element.base() } else { element.clone() }
}

impl Resolver<'_> {
    /// `ARRAY[…]`.
    pub(super) fn array(&mut self, list: &[Node], at: usize) -> Result<Scalar, WhereError> {
        let items: Vec<Scalar> = list
            .iter()
            .map(|node| match &node.syntax {
                Syntax::Array(inner) => self.array(inner, node.at),
                _ => self.item(node),
            })
            .collect::<Result<_, _>>()?;
        if items.is_empty() {
            // Only a cast around it can say what it holds; that is where it is taken apart.
            return Ok(Scalar::new(Kind::Array(items), Oid::UNKNOWN, at));
        }
        for item in &items {
            self.refuse_opaque(item)?;
        }
        let common = overload::common_type(items.iter().map(|item| &item.data_type));
        let refuse = |reason: &str| WhereError::at(at, reason);
        let common = common.ok_or_else(|| refuse("ARRAY types cannot be matched"))?;
        let array_type = match &common.element {
            Some(_) => Some(common.clone()),
            None => common.array().filter(DataType::is_readable),
        };
        let array_type =
            array_type.ok_or_else(|| refuse("arrays of this type are not supported"))?;
        let mut elements = Vec::with_capacity(items.len());
        for item in items {
            elements.push(self.coerce(item, &common)?);
        }
        let constant = elements.iter().all(|element| element.constant().is_some());
        let array = Scalar::new(Kind::Array(elements), array_type, at);
        if constant { self.fold(array) } else { Ok(array) }
    }

    pub(super) fn subscript(
        &mut self,
        operand: &Node,
        subscripts: &[Subscript],
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let operand = self.item(operand)?;
        self.refuse_opaque(&operand)?;
        if operand.data_type.oid == Oid::JSONB {
            return self.members(operand, subscripts, at);
        }
        let Some(element) = operand.data_type.element.clone() else {
            let title = operand.data_type.title();
            let reason = format!("subscripts of type {title} are not supported");
            return Err(WhereError::at(at, reason));
        };
        let mut bound = |node: &Node| -> Result<Scalar, WhereError> {
            let item = self.item(node)?;
            self.coerce(item, &Oid::INT4.into())
        };
        let mut resolved = Vec::with_capacity(subscripts.len());
        let mut slice = false;
        for subscript in subscripts {
            resolved.push(match subscript {
                Subscript::Slice(low, high) => {
                    slice = true;
                    let low = low.as_ref().map(&mut bound).transpose()?;
                    scalar::Subscript::Slice(low, high.as_ref().map(&mut bound).transpose()?)
                }
                Subscript::Index(index) => scalar::Subscript::Index(bound(index)?),
            });
        }
        if resolved.len() > 6 {
            return Err(WhereError::at(at, "arrays have at most 6 dimensions"));
        }
        let data_type = if slice { operand.data_type.clone() } else { as_value(&element) };
        let kind = Kind::Subscript { operand: Box::new(operand), subscripts: resolved };
        let found = Scalar::new(kind, data_type, at);
        let mut constant = true;
        found.for_each_child(&mut |child| constant &= child.constant().is_some());
        if constant { self.fold(found) } else { Ok(found) }
    }

    /// `document['key'][0]`, which is what `jsonb_extract_path` gives.
    fn members(
        &mut self,
        operand: Scalar,
        subscripts: &[Subscript],
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let mut path = vec![operand];
        for subscript in subscripts {
            let Subscript::Index(index) = subscript else {
                return Err(WhereError::at(at, "jsonb subscript does not support slices"));
            };
            let index = self.item(index)?;
            self.refuse_opaque(&index)?;
            let index = self.refresh(index)?;
            // Postgres does not compute it where the document is NULL, a function's argument it does.
            if !matches!(index.kind, Kind::Constant(_) | Kind::Unknown { .. } | Kind::Column(_)) {
                let reason = "computed subscripts of jsonb are not supported; write -> or #>";
                return Err(WhereError::at(index.at, reason));
            }
            // Postgres takes what it casts to one of the two by itself.
            let index = match index.data_type.oid {
                Oid::UNKNOWN | Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME => index,
                Oid::INT2 | Oid::INT4 => self.coerce(index, &Oid::INT4.into())?,
                _ => {
                    let title = index.data_type.title();
                    let reason = format!("subscript type {title} is not supported");
                    return Err(WhereError::at(index.at, reason));
                }
            };
            path.push(self.as_text(index)?);
        }
        self.function_of("jsonb_extract_path", path, at)
    }

    pub(super) fn quantified(
        &mut self,
        operator: &str,
        left: &Node,
        array: &Node,
        all: bool,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let (left, array) = (self.item(left)?, self.item(array)?);
        if matches!(left.kind, Kind::Row(_)) {
            return Err(WhereError::at(at, "row values with ANY and ALL are not supported"));
        }
        self.any_of(operator, left, array, all, at)
    }
}
