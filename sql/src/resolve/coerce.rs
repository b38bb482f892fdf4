//! Casts: those users write and those Postgres adds.

use super::{Resolver, collate, uncased};
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::interval::Interval;
use crate::oid::Oid;
use crate::routine::{Conversion, Forms, Modifier, conversion, modifier, reads_every_form};
use crate::scalar::{Kind, Scalar};
use crate::syntax::{Node, TypeName};
use crate::{WhereError, text_form};

/// What COLLATE stands behind, once it has a type: it goes where that has no collation.
fn collated(typed: Scalar, at: usize) -> Scalar {
    let data_type = typed.data_type.clone();
    match data_type.is_collatable() {
        true => Scalar::new(Kind::Collate(Box::new(typed)), data_type, at),
        false => typed,
    }
}

/// An item of a domain, of `citext` or of arrays of these as what they are made of, which prints the same.
fn as_made_of(item: &Scalar) -> Option<Scalar> {
    let data_type = match item.data_type.is_domain() {
        true => item.data_type.base(),
        false => uncased::text_of(&item.data_type)?,
    };
    Some(uncased::relabelled(item.clone(), data_type))
}

/// Types whose input functions do not look at blanks at the end, and that no cast of its own leads to.
fn reads_past_blanks(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::BOOL
            | Oid::INT2
            | Oid::INT4
            | Oid::INT8
            | Oid::FLOAT4
            | Oid::FLOAT8
            | Oid::NUMERIC
            | Oid::DATE
            | Oid::TIME
            | Oid::TIMETZ
            | Oid::TIMESTAMP
            | Oid::TIMESTAMPTZ
    )
}

impl Resolver<'_> {
    /// An item as a type that Postgres casts it to by itself.
    pub(super) fn coerce(&mut self, item: Scalar, target: &DataType) -> Result<Scalar, WhereError> {
        self.convert(item, target, None, true)
    }

    /// An item as text, by a cast that one has to write.
    pub(super) fn as_text(&mut self, item: Scalar) -> Result<Scalar, WhereError> {
        self.read_as(item, &Oid::TEXT.into())
    }

    /// An item as what one has to write a cast to.
    pub(super) fn read_as(
        &mut self,
        item: Scalar,
        target: &DataType,
    ) -> Result<Scalar, WhereError> {
        self.convert(item, target, None, false)
    }

    fn convert(
        &mut self,
        item: Scalar,
        target: &DataType,
        modifier: Option<Modifier>,
        implicit: bool,
    ) -> Result<Scalar, WhereError> {
        self.refuse_opaque(&item)?;
        let item = self.refresh(item)?;
        let at = item.at;
        let refuse = |reason: String| WhereError::at(at, reason);
        if item.data_type.oid == Oid::UNKNOWN
            && let Kind::Collate(operand) = item.kind
        {
            let typed = self.convert(*operand, target, modifier, implicit)?;
            return Ok(collated(typed, at));
        }
        self.refuse_bytes_of_cast(&item, target)?;
        if let Kind::Unknown { text, parameter } = &item.kind {
            let typed = self.input(text, *parameter, target, at)?;
            return self.modify(typed, modifier);
        }
        if item.data_type == *target && modifier.is_none() {
            return Ok(item);
        }
        if let Some(as_made) = as_made_of(&item) {
            return self.convert(as_made, target, modifier, implicit);
        }
        if matches!(item.kind, Kind::Constant(None)) && item.data_type.oid == Oid::UNKNOWN {
            return Ok(Scalar::new(Kind::Constant(None), target.clone(), at));
        }
        if !target.is_domain()
            && let Some(text) = uncased::text_of(target)
        {
            let text = self.convert(item, &text, modifier, implicit)?;
            return Ok(uncased::relabelled(text, target.clone()));
        }
        // What is read there with blanks behind it means the same without them.
        if item.data_type.oid == Oid::BPCHAR && !implicit && reads_past_blanks(target.oid) {
            let text = self.as_text(item)?;
            return self.convert(text, target, modifier, implicit);
        }
        let constant = item.constant().is_some();
        let found = conversion(&item.data_type, target, !implicit, constant);
        let conversion = found.ok_or_else(|| {
            let (from, to) = (item.data_type.title(), target.title());
            refuse(format!("casting {from} to {to} is not supported"))
        })?;
        // A constant of type `name` has the collation "C", which one of text would not have.
        let named = collate::is_of_names(&item.data_type) && target.is_collatable();
        if !named && let Some(value) = self.cast_constant(&item, target, &conversion)? {
            let typed = Scalar::new(Kind::Constant(value), target.clone(), at);
            return self.modify(typed, modifier);
        }
        let kind = Kind::Cast { operand: Box::new(item), conversion, modifier, implicit };
        Ok(Scalar::new(kind, target.clone(), at))
    }

    /// The value of a constant that is cast; `None` of what has to wait for a row.
    fn cast_constant(
        &self,
        item: &Scalar,
        target: &DataType,
        conversion: &Conversion,
    ) -> Result<Option<Option<Datum>>, WhereError> {
        let value = match &item.kind {
            Kind::Constant(value) => Some(value),
            // The collation ends with the text.
            Kind::Collate(_) if !target.is_collatable() => item.constant(),
            _ => None,
        };
        let Some(value) = value else { return Ok(None) };
        match value.as_ref().map_or(Ok(None), |datum| conversion.run(datum)) {
            // To Postgres a cast that depends on settings is no constant NULL.
            Ok(None) if value.is_some() && item.data_type.oid == Oid::TIMESTAMPTZ => Ok(None),
            Ok(value) => Ok(Some(value)),
            // What waits for a row is an error there too, not a form that only we do not know.
            Err(error) if self.lazy == 0 || !reads_every_form(target) => {
                // The input function says more.
                let said = value.as_ref().and_then(|datum| match datum {
                    Datum::Text(text) => text_form::input(target, text).err(),
                    _ => None,
                });
                let said = said.unwrap_or_else(|| error.to_string());
                Err(WhereError::at(item.at, said))
            }
            Err(_) => Ok(None),
        }
    }

    /// A constant that gets its type here, and with it the parameter that it may be.
    fn input(
        &mut self,
        text: &str,
        parameter: Option<usize>,
        target: &DataType,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let refuse = |reason| WhereError::at(at, reason);
        let datum = text_form::input(target, text).map_err(refuse)?;
        if let Some(slot) = parameter.and_then(|index| self.fixed.get_mut(index)) {
            *slot = Some(target.clone());
        }
        Ok(Scalar::new(Kind::Constant(Some(datum)), target.clone(), at))
    }

    /// Applies a modifier to a constant.
    fn modify(&self, item: Scalar, modifier: Option<Modifier>) -> Result<Scalar, WhereError> {
        let (Some(modifier), Kind::Constant(Some(datum))) = (modifier, &item.kind) else {
            return Ok(item);
        };
        let datum =
            modifier.apply(datum).map_err(|error| WhereError::at(item.at, error.to_string()))?;
        Ok(Scalar::new(Kind::Constant(Some(datum)), item.data_type, item.at))
    }

    /// A cast that the user wrote, or that we printed.
    pub(super) fn written_cast(
        &mut self,
        operand: &Node,
        name: &TypeName,
    ) -> Result<Scalar, WhereError> {
        let target = self.data_type(name)?;
        let held = Forms::of(target.oid).and_then(|forms| forms.held(operand));
        let item = self.item(held.unwrap_or(operand))?;
        self.cast(item, name)
    }

    pub(super) fn cast(&mut self, item: Scalar, name: &TypeName) -> Result<Scalar, WhereError> {
        let target = self.data_type(name)?;
        if let (Some(fields), Kind::Unknown { text, .. }) = (&name.fields, &item.kind) {
            let interval = Interval::read(text, Some(fields)).ok_or_else(|| {
                let reason = format!("this form of an interval is not supported: \"{text}\"");
                WhereError::at(item.at, reason)
            })?;
            return Ok(Scalar::new(
                Kind::Constant(Some(Datum::Interval(interval))),
                target,
                item.at,
            ));
        }
        let applied = match name.modifiers.as_slice() {
            _ if name.fields.is_some() => None,
            [] => {
                let unpacked = self.array_under_cast(item, &target)?;
                return self.convert(unpacked, &target, None, false);
            }
            list if name.dimensions == 0 => modifier(target.oid, list),
            _ => None,
        };
        if applied.is_none() {
            let reason = format!("type {name} with such modifiers is not supported");
            return Err(WhereError::at(name.at, reason));
        }
        self.convert(item, &target, applied, false)
    }

    /// `ARRAY[]::int4[]`: the cast decides what an array without typed elements holds.
    fn array_under_cast(&mut self, item: Scalar, target: &DataType) -> Result<Scalar, WhereError> {
        match (&item.kind, &target.element) {
            (Kind::Array(list), Some(_)) if list.is_empty() => {
                let empty = crate::datum::Array::flat(Vec::new());
                let datum = Datum::Array(std::sync::Arc::new(empty));
                Ok(Scalar::new(Kind::Constant(Some(datum)), target.clone(), item.at))
            }
            _ => Ok(item),
        }
    }

    /// A type by its name: built in, or that of a column.
    pub(super) fn data_type(&self, name: &TypeName) -> Result<DataType, WhereError> {
        let refuse = || WhereError::at(name.at, format!("type {name} is not supported"));
        let array = |data_type: DataType| {
            if name.dimensions > 0 { data_type.array() } else { Some(data_type) }
        };
        let built_in = match name.path.as_slice() {
            [one] => Some(one),
            [schema, one] if schema == "pg_catalog" => Some(one),
            _ => None,
        };
        if let Some(oid) = built_in.and_then(|one| catalog().named(one)) {
            let own = oid == Oid::CITEXT && name.path.len() == 1;
            if uncased::is_made_of(oid) && !(own && self.has_citext()) {
                return Err(refuse());
            }
            let found = array(DataType::from(oid)).filter(DataType::is_readable);
            return found.ok_or_else(refuse);
        }
        let wanted = name.path.iter().map(|part| crate::name::quote(part)).collect::<Vec<_>>();
        let (wanted, bare) = (wanted.join("."), wanted.last().cloned().unwrap_or_default());
        for column in &self.table.columns {
            let Some(data_type) = DataType::of_column(column) else { continue };
            let own = match &data_type.element {
                Some(element) => (**element).clone(),
                None => data_type,
            };
            let called = |own: &str| {
                let unqualified =
                    name.path.len() == 1 && (own == bare || own.ends_with(&format!(".{bare}")));
                own == wanted || unqualified
            };
            // A single value of a domain is one of what the domain is made of, once it has been checked.
            if name.dimensions > 0 && own.domain.as_ref().is_some_and(|own| called(&own.name)) {
                return array(own).ok_or_else(refuse);
            }
            let base = own.base();
            if base.labels.as_ref().is_some_and(|own| called(&own.name)) {
                return array(base).ok_or_else(refuse);
            }
        }
        Err(refuse())
    }
}
