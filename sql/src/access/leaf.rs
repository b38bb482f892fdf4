//! What a single comparison says about the rows for which it is true.
//!
//! *Invariant*: as of `access`. Where a comparison with another type rounds, bounds are taken wide.

use crate::datum::Datum;
use crate::expr::{Comparison, Expr, Like, Operand};
use crate::key::{self, Key, Reader};
use crate::normalize;
use crate::routine::Call;
use crate::scalar::{Kind, Scalar};
use crate::sort_key::{self, Keyed};
use crate::sql_type::SqlType;
use crate::value::{Constant, Value};

use super::bounds::{Held, around, held, range};
use super::document;
use super::pattern::{self, Required};
use super::source::{Fold, Source};
use super::{Probe, Says, Values, Want};

/// `pairs` as in [`super::find`].
pub(super) fn find(expr: &Expr, pairs: &mut usize) -> Says {
    match expr {
        Expr::Constant(Some(true)) => Says::default(),
        Expr::Constant(_) => Says::nothing_matches(),
        Expr::Flag { column, expected } => equality(*column, SqlType::Bool, Value::Bool(*expected)),
        Expr::Compare {
            comparison,
            left: Operand::Column { column, sql_type },
            right: Operand::Constant(constant),
        } => compared(*comparison, *column, *sql_type, constant),
        Expr::Distinct {
            left: Operand::Column { column, sql_type },
            right: Operand::Constant(constant),
            negated,
        } => {
            let constant = std::slice::from_ref(constant);
            if *negated {
                return one_of(*column, *sql_type, constant);
            }
            let mut says = none_of(*column, *sql_type, constant);
            let source = of_column(*column, *sql_type);
            says.others.iter_mut().for_each(|probes| {
                probes.push(Probe { source: source.clone(), want: Want::Null });
            });
            says
        }
        Expr::In { operand: Operand::Column { column, sql_type }, list, null, negated } => {
            match (negated, null) {
                (false, _) => one_of(*column, *sql_type, list),
                // It is never unlike NULL.
                (true, true) => Says::nothing_matches(),
                (true, false) => none_of(*column, *sql_type, list),
            }
        }
        Expr::Like(like) if !like.negated => liked(like),
        Expr::IsNull { column, negated } => presence(Source::presence(*column), *negated),
        Expr::Null { scalar, negated } => presence(Source::scalar(scalar), *negated),
        Expr::Test { operand, expected: Some(true), negated: false } => super::find(operand, pairs),
        Expr::Test { operand, expected: Some(false), negated: false } => {
            super::find(&normalize::not((**operand).clone()), pairs)
        }
        Expr::Computed { scalar, negated } => computed(scalar, *negated),
        _ => Says::default(),
    }
}

fn presence(source: Source, there: bool) -> Says {
    let want = if there { Want::NotNull } else { Want::Null };
    Says::one_of(vec![Probe { source, want }])
}

fn of_column(column: usize, sql_type: SqlType) -> Source {
    Source::columns(&[(column, Reader::Typed(sql_type))])
}

fn equality(column: usize, sql_type: SqlType, value: Value<'_>) -> Says {
    let mut bytes = Vec::new();
    key::write(value, &mut bytes);
    let values = Values::from([(column, (Reader::Typed(sql_type), bytes))]);
    Says { equal: Some(vec![values]), others: Vec::new() }
}

/// `column = constant`, or one of several.
fn one_of(column: usize, sql_type: SqlType, list: &[Constant]) -> Says {
    let mut found = Vec::with_capacity(list.len());
    for constant in list {
        match held(sql_type, constant.value()) {
            Held::As(value) => {
                let mut bytes = Vec::new();
                key::write(value, &mut bytes);
                found.push(Values::from([(column, (Reader::Typed(sql_type), bytes))]));
            }
            Held::Never => {}
            Held::Several => return Says::default(),
        }
    }
    listed(found)
}

fn listed(found: Vec<Values>) -> Says {
    let fits = found.len() <= crate::limits::PROBES_MAX;
    Says { equal: fits.then_some(found), others: Vec::new() }
}

/// `column <> constant`, or none of several.
fn none_of(column: usize, sql_type: SqlType, list: &[Constant]) -> Says {
    let keys = list.iter().filter_map(|constant| match held(sql_type, constant.value()) {
        Held::As(value) => {
            let mut bytes = Vec::new();
            key::write(value, &mut bytes);
            Some(Key::new(bytes))
        }
        // Whatever is not excluded by itself stays a candidate.
        Held::Never | Held::Several => None,
    });
    except(of_column(column, sql_type), keys.collect())
}

fn except(source: Source, mut keys: Vec<Key>) -> Says {
    keys.sort_unstable();
    keys.dedup();
    let want = match keys.len() {
        0 => Want::NotNull,
        1..=crate::limits::PROBES_MAX => Want::Except(keys.into()),
        _ => return Says::default(),
    };
    Says::one_of(vec![Probe { source, want }])
}

fn compared(comparison: Comparison, column: usize, sql_type: SqlType, constant: &Constant) -> Says {
    let list = std::slice::from_ref(constant);
    match comparison {
        Comparison::Equal => one_of(column, sql_type, list),
        Comparison::NotEqual => none_of(column, sql_type, list),
        _ => match around(sql_type, constant.value()) {
            Some((floor, ceiling)) => {
                range(Source::column(column, sql_type), comparison, floor, ceiling)
            }
            None => Says::default(),
        },
    }
}

/// LIKE and ILIKE of a column.
fn liked(like: &Like) -> Says {
    let (Operand::Column { column, sql_type: SqlType::Text }, Operand::Constant(pattern)) =
        (&like.operand, &like.pattern)
    else {
        return Says::default();
    };
    let text = Source::column(*column, SqlType::Text);
    match (&like.fold, &like.folded_pattern) {
        (None, _) => required(text, pattern::of_like(&pattern.text())),
        (Some(map), Some(pattern)) => {
            let folded = Source::folded(text, Fold::Map(map.clone()));
            required(folded, pattern::of_like(pattern))
        }
        (Some(_), None) => Says::default(),
    }
}

/// One of the texts, somewhere in the source; the source is not NULL in any case.
fn required(text: Source, required: impl IntoIterator<Item = Required>) -> Says {
    let want = |one: Required| match one {
        Required::Exact(text) => Want::Equal(Key::new(text)),
        Required::Prefix(text) => Want::Prefix(Key::new(text)),
        Required::Fragment(text) => Want::Fragment(Key::new(text)),
    };
    let probes: Vec<Probe> =
        (required.into_iter()).map(|one| Probe { source: text.clone(), want: want(one) }).collect();
    match probes.len() {
        0 => presence(text, true),
        _ => Says::one_of(probes),
    }
}

/// A boolean that is computed.
fn computed(scalar: &Scalar, negated: bool) -> Says {
    match &scalar.kind {
        Kind::Call(call, arguments) => match arguments.as_slice() {
            [left, right] => called(call, left, right, negated),
            _ => Says::default(),
        },
        Kind::Quantified { call, left, array, all } => quantified(call, left, array, *all, negated),
        Kind::Distinct { left, right, negated: equal } => distinct(left, right, *equal != negated),
        Kind::RowCompare { comparison, left, right } if !negated => {
            first_of_row(*comparison, left, right)
        }
        _ => Says::default(),
    }
}

fn called(call: &Call, left: &Scalar, right: &Scalar, negated: bool) -> Says {
    if let Some(comparison) = Comparison::from_symbol(call.name).filter(|_| call.is_operator) {
        let comparison = if negated { comparison.inverse() } else { comparison };
        // Another type on the other side has another comparison.
        if call.arguments[0] != call.arguments[1] {
            return Says::default();
        }
        return match (datum(left), datum(right)) {
            (None, Some(constant)) => with_constant(comparison, left, constant),
            (Some(constant), None) => with_constant(comparison.flipped(), right, constant),
            _ => Says::default(),
        };
    }
    match negated {
        true => Says::default(),
        false => found_by_code(call, left, right),
    }
}

fn with_constant(comparison: Comparison, made: &Scalar, constant: &Datum) -> Says {
    let list = std::slice::from_ref(constant);
    match comparison {
        Comparison::Equal => equals_one_of(made, list.iter()),
        Comparison::NotEqual => equals_none_of(made, list.iter()),
        _ => {
            let mut key = Vec::new();
            match sort_key::write_datum(constant, &mut key) {
                Keyed::Ordered => range(Source::scalar(made), comparison, key.clone(), key),
                Keyed::Equal | Keyed::Not => Says::default(),
            }
        }
    }
}

/// A bare column's keys are those of its columns, so that they join others in a conjunction.
fn equals_one_of<'a>(made: &Scalar, constants: impl Iterator<Item = &'a Datum>) -> Says {
    let bare = match made.kind {
        Kind::Column(column) => Some(column),
        _ => None,
    };
    let source = Source::scalar(made);
    let (mut values, mut probes, mut joins) = (Vec::new(), Vec::new(), bare.is_some());
    for constant in constants {
        let mut bytes = Vec::new();
        if joins && key::write_datum(made.data_type.oid, constant, &mut bytes) {
            let column = bare.unwrap_or_default();
            values.push(Values::from([(column, (Reader::of(&made.data_type), bytes))]));
        } else {
            joins = false;
        }
        let mut key = Vec::new();
        if sort_key::write_datum(constant, &mut key) != Keyed::Not {
            probes.push(Probe { source: source.clone(), want: Want::Equal(Key::new(key)) });
        } else if !joins {
            return Says::default();
        }
    }
    match joins {
        true => listed(values),
        false => Says::one_of(probes),
    }
}

fn equals_none_of<'a>(made: &Scalar, constants: impl Iterator<Item = &'a Datum>) -> Says {
    let keys = constants.filter_map(|constant| {
        let mut key = Vec::new();
        let keyed = sort_key::write_datum(constant, &mut key);
        (keyed != Keyed::Not).then(|| Key::new(key))
    });
    except(Source::scalar(made), keys.collect())
}

/// `left IS [NOT] DISTINCT FROM right`, one of them a constant.
fn distinct(left: &Scalar, right: &Scalar, equal: bool) -> Says {
    let (made, constant) = match (datum(left), datum(right)) {
        (None, Some(constant)) => (left, constant),
        (Some(constant), None) => (right, constant),
        _ => return Says::default(),
    };
    if left.data_type != right.data_type {
        return Says::default();
    }
    let list = std::slice::from_ref(constant);
    if equal {
        return equals_one_of(made, list.iter());
    }
    let mut says = equals_none_of(made, list.iter());
    let null = Probe { source: Source::scalar(made), want: Want::Null };
    says.others.iter_mut().for_each(|probes| probes.push(null.clone()));
    says
}

fn quantified(call: &Call, left: &Scalar, array: &Scalar, all: bool, negated: bool) -> Says {
    let same = call.arguments[0] == call.arguments[1];
    let Some(Datum::Array(list)) = datum(array) else {
        let element = array.data_type.element.as_deref();
        return match (datum(left), call.name) {
            (Some(constant), "=")
                if call.is_operator
                    && same
                    && !all
                    && !negated
                    && element.is_some_and(|one| *one == call.arguments[1]) =>
            {
                has_one_of(array, std::iter::once(constant))
            }
            _ => Says::default(),
        };
    };
    let elements = || list.elements.iter().flatten();
    let null = list.elements.iter().any(Option::is_none);
    let comparison = Comparison::from_symbol(call.name).filter(|_| call.is_operator && same);
    match (comparison, all, negated) {
        (Some(Comparison::Equal), false, false) => equals_one_of(left, elements()),
        // True only where it is unlike all, and nothing is unlike NULL.
        (Some(Comparison::NotEqual), true, false) | (Some(Comparison::Equal), false, true) => {
            match (null, elements().next()) {
                (true, _) => Says::nothing_matches(),
                // Of no elements all are unlike anything, NULL too.
                (false, None) => Says::default(),
                (false, Some(_)) => equals_none_of(left, elements()),
            }
        }
        (None, false, false) => {
            let mut union = Vec::new();
            for element in elements() {
                let Some(found) = by_code(call, left, element) else { return Says::default() };
                union.extend(found);
            }
            Says::one_of(union)
        }
        _ => Says::default(),
    }
}

/// `(a, b) > (constants)`: the first is not below its constant.
fn first_of_row(comparison: Comparison, left: &[Scalar], right: &[Scalar]) -> Says {
    let ([left, ..], [right, ..]) = (left, right) else { return Says::default() };
    if left.data_type != right.data_type {
        return Says::default();
    }
    let wide = |comparison| match comparison {
        Comparison::Less => Comparison::LessOrEqual,
        Comparison::Greater => Comparison::GreaterOrEqual,
        other => other,
    };
    match (datum(left), datum(right)) {
        (None, Some(constant)) => with_constant(wide(comparison), left, constant),
        (Some(constant), None) => with_constant(wide(comparison.flipped()), right, constant),
        _ => Says::default(),
    }
}

/// Operators and functions by Postgres' name for their code.
fn found_by_code(call: &Call, left: &Scalar, right: &Scalar) -> Says {
    match (call.code, datum(left), datum(right)) {
        ("arraycontains", None, Some(Datum::Array(part)))
        | ("arraycontained", Some(Datum::Array(part)), None) => {
            let array = if call.code == "arraycontains" { left } else { right };
            if part.elements.iter().any(Option::is_none) {
                return Says::nothing_matches();
            }
            let each = part.elements.iter().flatten();
            let each = each.map(|element| has_one_of(array, std::iter::once(element)));
            // No column is said to be equal to anything.
            let says = super::both(each.collect(), &mut 0);
            if part.elements.is_empty() { presence(Source::elements(array), true) } else { says }
        }
        ("arraycontains", Some(Datum::Array(whole)), None)
        | ("arraycontained", None, Some(Datum::Array(whole))) => {
            let array = if call.code == "arraycontains" { right } else { left };
            match element_keys(whole.elements.iter().flatten()) {
                Some(mut keys) => {
                    keys.sort_unstable();
                    keys.dedup();
                    let want = Want::Within(keys.into());
                    Says::one_of(vec![Probe { source: Source::elements(array), want }])
                }
                None => Says::default(),
            }
        }
        ("arrayoverlap", None, Some(Datum::Array(list)))
        | ("arrayoverlap", Some(Datum::Array(list)), None) => {
            let array = if datum(left).is_none() { left } else { right };
            has_one_of(array, list.elements.iter().flatten())
        }
        ("jsonb_contains", None, Some(Datum::Json(part))) => document::contains(left, part),
        ("jsonb_contained", Some(Datum::Json(part)), None) => document::contains(right, part),
        ("jsonb_exists" | "jsonb_exists_any" | "jsonb_exists_all", None, Some(keys)) => {
            document::has_keys(call.code, left, keys)
        }
        (_, None, Some(constant)) => match by_code(call, left, constant) {
            Some(probes) => Says::one_of(probes),
            None => Says::default(),
        },
        _ => Says::default(),
    }
}

/// Codes that look for a constant in a text.
fn by_code(call: &Call, made: &Scalar, constant: &Datum) -> Option<Vec<Probe>> {
    // Blanks at the end of `char(n)` are a part of the text here, and not of its key.
    let text = crate::oid::Oid::TEXT == made.data_type.oid
        || crate::oid::Oid::VARCHAR == made.data_type.oid
        || crate::oid::Oid::NAME == made.data_type.oid;
    let Datum::Text(constant) = constant else { return None };
    if !text {
        return None;
    }
    let source = Source::scalar(made);
    let says = match call.code {
        "text_starts_with" => {
            let prefix = Required::Prefix(constant.as_bytes().to_vec());
            required(source, (!constant.is_empty()).then_some(prefix))
        }
        "textlike" | "namelike" => required(source, like(constant)?),
        "texticlike" | "nameiclike" => {
            let map = call.fold.as_ref()?;
            let pattern: String = constant.chars().map(|c| map.lower(c)).collect();
            required(Source::folded(source, Fold::Map(map.clone())), like(&pattern)?)
        }
        "textregexeq" | "nameregexeq" | "regexp_like_no_flags" => {
            let found = pattern::of_expression(call.pattern.as_ref()?.text(), false);
            required(source, found.into_iter().flatten())
        }
        "texticregexeq" | "nameicregexeq" => {
            // Both cases of ASCII letters are what the expression spells out.
            let found = pattern::of_expression(call.pattern.as_ref()?.text(), true);
            required(Source::folded(source, Fold::Ascii), found.into_iter().flatten())
        }
        _ => return None,
    };
    says.others.into_iter().next()
}

/// What a LIKE pattern requires; `None` for one whose error only a row shows.
fn like(pattern: &str) -> Option<Option<Required>> {
    (!crate::like::ends_in_escape(pattern)).then(|| pattern::of_like(pattern))
}

/// An array with at least one of the elements.
fn has_one_of<'a>(array: &Scalar, elements: impl Iterator<Item = &'a Datum>) -> Says {
    let source = Source::elements(array);
    match element_keys(elements) {
        Some(keys) => {
            let equal = |key| Probe { source: source.clone(), want: Want::Equal(key) };
            Says::one_of(keys.into_iter().map(equal).collect())
        }
        None => Says::default(),
    }
}

fn element_keys<'a>(elements: impl Iterator<Item = &'a Datum>) -> Option<Vec<Key>> {
    let key = |element: &Datum| {
        let mut key = Vec::new();
        (sort_key::write_datum(element, &mut key) != Keyed::Not).then(|| Key::new(key))
    };
    elements.map(key).collect()
}

fn datum(scalar: &Scalar) -> Option<&Datum> {
    scalar.constant()?.as_ref()
}
