//! Which rows can satisfy a predicate at all.
//!
//! *Enters*: a typed expression. *Leaves*: an [`Access`].
//! *Invariant*: a row for which the predicate is true has, for at least one probe, the probe's key
//! over the probe's columns (or a key that is unknown). Probes may name too many rows, never too
//! few.

use std::collections::{BTreeMap, HashSet};

use crate::datum::Datum;
use crate::expr::{Comparison, Expr, Operand};
use crate::key::{self, Key};
use crate::limits::PROBES_MAX;
use crate::scalar::{Kind, Scalar};
use crate::sql_type::SqlType;
use crate::value::{Constant, Value};
use crate::{calendar, decimal};

/// How to find the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// No row ever matches.
    Nothing,
    /// Every row is a candidate.
    All,
    /// A matching row has the key of at least one probe.
    Equality(Vec<Probe>),
}

/// Columns and the values they must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Places in the table, sorted.
    pub columns: Vec<usize>,
    /// Their values.
    pub key: Key,
}

/// The canonical bytes that columns must have.
type Values = BTreeMap<usize, Vec<u8>>;

/// What an expression says about the rows for which it is true.
enum Found {
    All,
    /// One of these; none of them if there are none.
    OneOf(Vec<Values>),
}

/// Derives the access of an expression.
pub(crate) fn access(expr: &Expr) -> Access {
    match find(expr) {
        Found::All => Access::All,
        Found::OneOf(list) if list.is_empty() => Access::Nothing,
        Found::OneOf(list) => Access::Equality(list.into_iter().map(probe).collect()),
    }
}

fn probe(values: Values) -> Probe {
    Probe {
        columns: values.keys().copied().collect(),
        key: Key::new(values.into_values().flatten().collect()),
    }
}

fn find(expr: &Expr) -> Found {
    match expr {
        Expr::Constant(Some(true)) => Found::All,
        Expr::Constant(_) => Found::OneOf(Vec::new()),
        Expr::Flag { column, expected } => equality(*column, Value::Bool(*expected)),
        Expr::Compare { comparison: Comparison::Equal, left, right }
        | Expr::Distinct { left, right, negated: true } => match (left, right) {
            (Operand::Column { column, sql_type }, Operand::Constant(constant)) => {
                one_of(*column, *sql_type, std::slice::from_ref(constant))
            }
            _ => Found::All,
        },
        Expr::In {
            operand: Operand::Column { column, sql_type }, list, negated: false, ..
        } => one_of(*column, *sql_type, list),
        Expr::Test { operand, expected: Some(true), negated: false } => find(operand),
        Expr::Computed { scalar, negated: false } => computed(scalar),
        Expr::And(list) => both(list.iter().map(find).collect()),
        Expr::Or(list) => either(list.iter().map(find)),
        _ => Found::All,
    }
}

/// Equality of a column that is compared by computing, with one constant or several.
fn computed(scalar: &Scalar) -> Found {
    let (call, left, right) = match &scalar.kind {
        Kind::Call(call, arguments) => match arguments.as_slice() {
            [left, right] => (call, left, right),
            _ => return Found::All,
        },
        Kind::Quantified { call, left, array, all: false } => (call, &**left, &**array),
        _ => return Found::All,
    };
    if !call.is_operator || call.name != "=" {
        return Found::All;
    }
    let (column, data_type, constant) = match (&left.kind, &right.kind) {
        (Kind::Column(column), _) => (*column, &left.data_type, right.constant()),
        (_, Kind::Column(column)) => (*column, &right.data_type, left.constant()),
        _ => return Found::All,
    };
    // Another type on the other side has another comparison.
    if call.arguments[0] != *data_type || call.arguments[0] != call.arguments[1] {
        return Found::All;
    }
    let constants: Vec<&Datum> = match (&scalar.kind, constant) {
        (Kind::Quantified { .. }, Some(Some(Datum::Array(array)))) => {
            array.elements.iter().flatten().collect()
        }
        (Kind::Call(..), Some(Some(datum))) => vec![datum],
        _ => return Found::All,
    };
    let mut found = Vec::with_capacity(constants.len());
    for constant in constants {
        let mut bytes = Vec::new();
        if !key::write_datum(data_type.oid, constant, &mut bytes) {
            return Found::All;
        }
        found.push(Values::from([(column, bytes)]));
    }
    if found.len() > PROBES_MAX { Found::All } else { Found::OneOf(found) }
}

fn equality(column: usize, value: Value<'_>) -> Found {
    let mut bytes = Vec::new();
    key::write(value, &mut bytes);
    Found::OneOf(vec![Values::from([(column, bytes)])])
}

fn one_of(column: usize, sql_type: SqlType, list: &[Constant]) -> Found {
    let mut found = Vec::with_capacity(list.len());
    for constant in list {
        match held(sql_type, constant.value()) {
            Held::As(value) => {
                let mut bytes = Vec::new();
                key::write(value, &mut bytes);
                found.push(Values::from([(column, bytes)]));
            }
            Held::Never => {}
            Held::Several => return Found::All,
        }
    }
    if found.len() > PROBES_MAX { Found::All } else { Found::OneOf(found) }
}

/// Which values of a column equal a constant.
enum Held<'a> {
    As(Value<'a>),
    Never,
    /// More than one, or we cannot tell.
    Several,
}

/// The largest integer up to which every `int8` is a float of its own.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_991.0;

fn held(sql_type: SqlType, constant: Value<'_>) -> Held<'_> {
    let fits = |int: Option<i64>| match int {
        Some(int) if sql_type.integer_range().contains(&int) => Held::As(Value::Int(int)),
        _ => Held::Never,
    };
    match (sql_type, constant) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Int(int)) => fits(Some(int)),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Numeric(decimal)) => {
            fits(decimal::Decimal::to_i64(decimal))
        }
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Float(float)) => {
            if float.abs() > EXACT_FLOAT_MAX {
                Held::Several
            } else if float.fract() == 0.0 {
                // In range, as checked above.
                fits(Some(float as i64))
            } else {
                Held::Never
            }
        }
        (SqlType::Date, Value::Timestamp(micros)) => match calendar::day_of_midnight(micros) {
            Some(day) => Held::As(Value::Date(day)),
            None => Held::Never,
        },
        // Not settled to a timestamp because it is later than all of them.
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Date(_)) => Held::Never,
        (SqlType::Numeric, Value::Numeric(_))
        | (SqlType::Float4 | SqlType::Float8, Value::Float(_))
        | (SqlType::Bool, Value::Bool(_))
        | (SqlType::Text | SqlType::Enum, Value::Text(_))
        | (SqlType::Uuid, Value::Uuid(_))
        | (SqlType::Date, Value::Date(_))
        | (SqlType::Timestamp | SqlType::Timestamptz, Value::Timestamp(_)) => Held::As(constant),
        // Several decimals are one float.
        _ => Held::Several,
    }
}

/// AND: all columns together, unless that makes too many probes. Starts with the side that has the
/// fewest, which is then always kept.
fn both(sides: Vec<Found>) -> Found {
    let mut lists: Vec<Vec<Values>> = Vec::new();
    for side in sides {
        match side {
            Found::All => {}
            Found::OneOf(list) => lists.push(list),
        }
    }
    lists.sort_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let Some(mut product) = lists.next() else { return Found::All };
    for list in lists {
        if product.len().saturating_mul(list.len()) <= PROBES_MAX {
            product = multiply(&product, &list);
        }
    }
    Found::OneOf(product)
}

/// Every pair of one value each; pairs that want two values of one column match nothing.
fn multiply(left: &[Values], right: &[Values]) -> Vec<Values> {
    let mut seen = HashSet::new();
    let mut product = Vec::new();
    for one in left {
        for other in right {
            let agrees = |(column, value)| one.get(column).is_none_or(|found| found == value);
            if other.iter().all(agrees) {
                let mut values = one.clone();
                values.extend(other.clone());
                if seen.insert(values.clone()) {
                    product.push(values);
                }
            }
        }
    }
    product
}

/// OR: every side's probes, if every side has some.
fn either(sides: impl Iterator<Item = Found>) -> Found {
    let mut seen = HashSet::new();
    let mut union = Vec::new();
    for side in sides {
        let Found::OneOf(list) = side else { return Found::All };
        union.extend(list.into_iter().filter(|values| seen.insert(values.clone())));
        if union.len() > PROBES_MAX {
            return Found::All;
        }
    }
    Found::OneOf(union)
}
