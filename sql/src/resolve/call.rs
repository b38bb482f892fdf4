//! Operators and functions.

use std::sync::Arc;

use super::Resolver;
use super::collate::Derived;
use super::overload::{self, Candidate};
use super::polymorphic;
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::expr::{Comparison, Expr};
use crate::mathematics::Functions;
use crate::oid::Oid;
use crate::routine::{self, Call};
use crate::scalar::{Kind, Scalar};
use crate::syntax::{Node, TypeName};
use crate::{WhereError, Zone, normalize, zone};

impl Resolver<'_> {
    /// An operator between two items, rows included.
    pub(super) fn binary(
        &mut self,
        symbol: &str,
        left: Scalar,
        right: Scalar,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        if matches!((&left.kind, &right.kind), (Kind::Row(_), _) | (_, Kind::Row(_))) {
            return self.row_operator(symbol, left, right, at);
        }
        self.operator(symbol, vec![left, right], at)
    }

    /// An operator with one or two operands.
    pub(super) fn operator(
        &mut self,
        symbol: &str,
        operands: Vec<Scalar>,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let operands = self.settled(operands)?;
        if let Some((symbol, operands)) = self.uncased(symbol, &operands, at)? {
            return self.operator(symbol, operands, at);
        }
        let mut call = self.operator_call(symbol, &operands, at)?;
        let operands = self.coerce_all(operands, &call)?;
        self.prepare(&mut call, &operands, at)?;
        self.finish(call, operands, at)
    }

    pub(super) fn settled(&mut self, items: Vec<Scalar>) -> Result<Vec<Scalar>, WhereError> {
        let settle = |item: Scalar| {
            self.refuse_opaque(&item)?;
            self.refresh(item)
        };
        items.into_iter().map(settle).collect()
    }

    pub(super) fn coerce_all(
        &mut self,
        items: Vec<Scalar>,
        call: &Call,
    ) -> Result<Vec<Scalar>, WhereError> {
        let pairs = items.into_iter().zip(&call.arguments);
        pairs.map(|(item, data_type)| self.coerce(item, data_type)).collect()
    }

    /// The overload of an operator for operands of these types.
    pub(super) fn operator_call(
        &mut self,
        symbol: &str,
        operands: &[Scalar],
        at: usize,
    ) -> Result<Call, WhereError> {
        let types: Vec<DataType> = operands.iter().map(|item| item.data_type.clone()).collect();
        let routines = catalog().operators(symbol, operands.len());
        if routines.is_empty() {
            return Err(WhereError::at(at, format!("the operator {symbol} is not supported")));
        }
        let titles: Vec<String> = types.iter().map(DataType::title).collect();
        let titles = titles.join(" and ");
        let shown = match symbol {
            "~~" => "LIKE",
            "~~*" => "ILIKE",
            other => other,
        };
        let found = choose_operator(overload::candidates(routines, types.len()), &types);
        let found = found.ok_or_else(|| {
            let reason =
                format!("no operator {shown} for {titles}; an explicit cast may be needed");
            WhereError::at(at, reason)
        })?;
        self.call(&found, &types, true).ok_or_else(|| {
            WhereError::at(at, format!("the operator {shown} for {titles} is not supported"))
        })
    }

    pub(super) fn call(
        &self,
        found: &Candidate<'_>,
        given: &[DataType],
        is_operator: bool,
    ) -> Option<Call> {
        let routine = found.routine;
        let (arguments, result) = polymorphic::settle(&found.declared, routine.result, given)?;
        // The static name lives in the catalogue.
        let function = routine::function(routine.name, routine.code, is_operator, &arguments)?;
        let sound = arguments.iter().chain([&result]).all(DataType::is_readable)
            && (!routine::finds_elements(routine.code)
                || arguments.iter().all(|one| routine::is_comparable(one, false)));
        sound.then_some(Call {
            name: routine.name,
            is_operator,
            code: routine.code,
            arguments,
            result,
            strict: routine.strict,
            stable: routine.stable,
            function,
            ignores_case: false,
            fold: None,
            pattern: None,
            zone: None,
        })
    }

    /// A function by its name, or one of the forms that look like one.
    pub(super) fn function(
        &mut self,
        path: &[String],
        arguments: &[Node],
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let unknown = || {
            let reason =
                format!("unknown or unsupported function {}/{}", path.join("."), arguments.len());
            WhereError::at(at, reason)
        };
        let name = match path {
            [name] => name,
            [schema, name] if schema == "pg_catalog" && name != "citext" => name,
            _ => return Err(unknown()),
        };
        let ordered = super::named::in_order(name, arguments, at)?;
        let arguments = ordered.as_deref().unwrap_or(arguments);
        if path.len() == 1
            && let Some(found) = self.special_form(name, arguments, at)?
        {
            return Ok(found);
        }
        let items: Vec<Scalar> =
            arguments.iter().map(|node| self.item(node)).collect::<Result<_, _>>()?;
        self.function_of(name, items, at)
    }

    /// A built-in function of resolved arguments.
    pub(super) fn function_of(
        &mut self,
        name: &str,
        items: Vec<Scalar>,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let items = self.settled(items)?;
        let items = self.uncased_search(name, items)?;
        if name == "ilike" && items.len() == 2 {
            return self.operator("~~*", items, at);
        }
        let count = items.len();
        let unknown =
            || WhereError::at(at, format!("unknown or unsupported function {name}/{count}"));
        let types: Vec<DataType> = items.iter().map(|item| item.data_type.clone()).collect();
        let routines = catalog().functions(name);
        let candidates = overload::candidates(routines, types.len());
        if let ([_], Some(_)) = (types.as_slice(), catalog().named(name)) {
            let name = TypeName {
                path: vec![name.to_owned()],
                modifiers: Vec::new(),
                dimensions: 0,
                fields: None,
                at,
            };
            let Some(item) = items.into_iter().next() else { return Err(unknown()) };
            return self.cast(item, &name);
        }
        if routines.is_empty() {
            return Err(unknown());
        }
        let titles: Vec<String> = types.iter().map(DataType::title).collect();
        let titles = titles.join(", ");
        let found = overload::choose(candidates, &types).ok_or_else(|| {
            let reason = format!("no function {name}({titles}); an explicit cast may be needed");
            WhereError::at(at, reason)
        })?;
        let mut call = self.call(&found, &types, false).ok_or_else(|| {
            WhereError::at(at, format!("the function {name}({titles}) is not supported"))
        })?;
        let items = self.coerce_all(items, &call)?;
        self.prepare(&mut call, &items, at)?;
        self.finish(call, items, at)
    }

    /// What depends on collations and constants: case folding, compiled patterns, known fields.
    fn prepare(&self, call: &mut Call, items: &[Scalar], at: usize) -> Result<(), WhereError> {
        if let Some(options) = routine::options_argument(call.code).and_then(|at| items.get(at)) {
            call.ignores_case = match options.is_null() {
                true => false,
                false => routine::check_options(call.code, constant_text(options))
                    .map_err(|reason| WhereError::at(options.at, reason))?,
            };
        }
        self.refuse_bytes_of_call(call, items, at)?;
        self.check_collation(call, items, at)?;
        if routine::is_power(call.code) && !self.tables.has_powers() {
            let reason = "powers and logarithms of numerics are only supported of Postgres 15: \
                          others have other digits";
            return Err(WhereError::at(at, reason));
        }
        if !Functions::of(call.code).are_among(self.tables.mathematics) {
            let reason = format!(
                "{} of integers and floats is only supported of a server whose C library rounds it as ours does, \
                 and this one's does not; of numerics there are powers, exponentials and logarithms",
                call.name
            );
            return Err(WhereError::at(at, reason));
        }
        let first = items.first().and_then(constant_text);
        // NULL makes the result NULL, whatever else is there.
        let null = call.strict && items.iter().any(Scalar::is_null);
        if !null {
            let zone = items.first().and_then(|item| item.constant()?.as_ref());
            routine::check_constant(call.code, first, items.get(1).and_then(constant_text))
                .and_then(|()| routine::check_offset(call.code, zone))
                .and_then(|()| {
                    routine::check_encoding(call.code, items.get(1).and_then(constant_text))
                })
                .and_then(|()| {
                    routine::check_format(call.code, items.first().and_then(Scalar::constant))
                })
                .map_err(|reason| WhereError::at(at, reason))?;
        }
        if let Some(place) = routine::zone_argument(call.code).filter(|_| !null) {
            call.zone = self.zone(call, items.get(place).and_then(constant_text), at)?;
        }
        if call.code == "initcap" && !self.is_ascii(items) {
            let reason = "initcap is only supported under the collation \"C\"";
            return Err(WhereError::at(at, reason));
        }
        self.compile_pattern(call, items, at)
    }

    /// The zone of a call; `None` is UTC.
    fn zone(
        &self,
        call: &Call,
        name: Option<&str>,
        at: usize,
    ) -> Result<Option<Arc<Zone>>, WhereError> {
        let refuse = |reason: String| Err(WhereError::at(at, reason));
        let Some(name) = name else {
            return refuse("a time zone that is no constant is not supported".to_owned());
        };
        if zone::is_utc(name) {
            return Ok(None);
        }
        if call.code == "timetz_zone" {
            let reason =
                "of a time of day only the time zone UTC is supported: others depend on the date";
            return refuse(reason.to_owned());
        }
        match self.tables.zones.get(&name.to_ascii_lowercase()) {
            Some(zone) => Ok(Some(Arc::clone(zone))),
            None => refuse(format!(
                "time zone \"{name}\" is not supported: supported are names of the server's pg_timezone_names that are no abbreviations and whose rules repeat every 400 years"
            )),
        }
    }

    /// A call of settled arguments: computed if all are constants, else in its fastest form.
    pub(super) fn finish(
        &mut self,
        call: Call,
        items: Vec<Scalar>,
        at: usize,
    ) -> Result<Scalar, WhereError> {
        let derived = match call.result.is_collatable() {
            true => self.derive_all(&items),
            false => Derived::Default,
        };
        let null = call.strict && items.iter().any(Scalar::is_null);
        // What is NULL may still decide the collation of what stands around it.
        if null && self.may_forget(derived) {
            return Ok(Scalar::new(Kind::Constant(None), call.result, at));
        }
        let constants: Option<Vec<Option<Datum>>> =
            items.iter().map(|item| item.constant().cloned()).collect();
        if let Some(constants) = constants {
            match call.run(&constants) {
                // To Postgres this is no constant NULL, which would hide what it meets.
                Ok(None) if call.stable => {}
                // Its text could not be read again.
                Ok(Some(Datum::Numeric(number))) if number.is_long() => {}
                Ok(value) => {
                    let value = Scalar::new(Kind::Constant(value), call.result, at);
                    return Ok(self.computed(derived, value));
                }
                Err(error) if self.lazy == 0 => {
                    return Err(WhereError::at(at, error.to_string()));
                }
                Err(_) => {}
            }
        }
        if let Some(expr) = self.fast(&call, &items, at)? {
            return Ok(super::as_scalar(expr, at));
        }
        let result = call.result.clone();
        Ok(Scalar::new(Kind::Call(Box::new(call), items), result, at))
    }

    pub(super) fn distinct(
        &mut self,
        left: Scalar,
        right: Scalar,
        negated: bool,
        at: usize,
    ) -> Result<Expr, WhereError> {
        // Postgres turns this into a test for NULL, for which the other side may be anything.
        let is_null = |item: &Scalar| {
            matches!(item.kind, Kind::Constant(None)) && item.data_type.oid == Oid::UNKNOWN
        };
        self.refuse_composites(&left)?;
        self.refuse_composites(&right)?;
        if is_null(&left) {
            return super::is_null(right, !negated);
        }
        if is_null(&right) {
            return super::is_null(left, !negated);
        }
        if let (Kind::Row(left), Kind::Row(right)) = (&left.kind, &right.kind) {
            return self.distinct_rows(left.clone(), right.clone(), negated, at);
        }
        let items = self.settled(vec![left, right])?;
        let items = match self.uncased("=", &items, at)? {
            Some((_, items)) => items,
            None => items,
        };
        let mut call = self.operator_call("=", &items, at)?;
        let items = self.coerce_all(items, &call)?;
        self.prepare(&mut call, &items, at)?;
        let [left, right]: [Scalar; 2] =
            items.try_into().map_err(|_| WhereError::at(at, "syntax error"))?;
        if let Some((left, right)) = super::fast::pair(&left, &right, false) {
            return normalize::distinct(left, right, negated)
                .map_err(|reason| WhereError::at(at, reason));
        }
        if let (Some(one), Some(other)) = (left.constant(), right.constant()) {
            let same = match (one, other) {
                (Some(one), Some(other)) => one.compare(other).is_eq(),
                (one, other) => one.is_none() && other.is_none(),
            };
            return Ok(Expr::Constant(Some(same == negated)));
        }
        let kind = Kind::Distinct { left: Box::new(left), right: Box::new(right), negated };
        let scalar = Arc::new(Scalar::new(kind, Oid::BOOL, at));
        Ok(Expr::Computed { scalar, negated: false })
    }
}

/// The text of a constant.
pub(super) fn constant_text(item: &Scalar) -> Option<&str> {
    match &item.kind {
        Kind::Constant(Some(Datum::Text(text))) => Some(text),
        Kind::Collate(operand) => constant_text(operand),
        _ => None,
    }
}

/// An untyped constant opposite a typed operand is first tried as that same type.
pub(super) fn choose_operator<'c>(
    candidates: Vec<Candidate<'c>>,
    types: &[DataType],
) -> Option<Candidate<'c>> {
    if let [left, right] = types {
        let both = match (left.oid, right.oid) {
            (Oid::UNKNOWN, other) | (other, Oid::UNKNOWN) => Some(other),
            _ => None,
        };
        if let Some(both) = both {
            let found = candidates.iter().find(|one| one.declared.iter().all(|oid| *oid == both));
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
    }
    overload::choose(candidates, types)
}

/// Whether a symbol is one of the six comparisons.
pub(super) fn comparison(symbol: &str) -> Option<Comparison> {
    Comparison::from_symbol(symbol)
}
