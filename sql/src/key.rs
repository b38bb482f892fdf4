//! SQL equality as byte equality.
//!
//! *Enters*: values of some columns of a table, from a row or from constants.
//! *Leaves*: a [`Key`].
//! *Invariant*: two values of a column are equal in SQL exactly when their keys are equal bytes.
//! What is written depends on the column's type alone, and no value's bytes are the beginning of
//! another's, so keys of several columns do not run into one another.

use crate::data_type::DataType;
use crate::datum::Datum;
use crate::decimal::Decimal;
use crate::oid::Oid;
use crate::range::{Bound, Span};
use crate::sql_type::SqlType;
use crate::value::Value;
use crate::{Row, TableSchema, text_form};

/// The values of some columns, canonical under SQL equality.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Key(Box<[u8]>);

impl Key {
    pub(crate) fn new(bytes: Vec<u8>) -> Key {
        Key(bytes.into())
    }

    /// The bytes; equal bytes mean equal values.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A column is NULL: equal to nothing.
    Null,
    /// The key.
    Key(Key),
    /// A value cannot be read: every probe over these columns is a candidate.
    Unknown,
}

/// The key of a row of the table over some of its columns. NULL in one column outweighs an
/// unreadable value in another: nothing can be equal to it.
#[must_use]
pub fn row_key(table: &TableSchema, columns: &[usize], row: &Row) -> RowKey {
    let readers: Option<Vec<(usize, Reader)>> = (columns.iter())
        .map(|at| table.columns.get(*at).map(|column| (*at, Reader::of_column(column))))
        .collect();
    let mut bytes = Vec::with_capacity(columns.len() * 12);
    match readers.map(|readers| write_columns(&readers, row, &mut bytes)) {
        Some(None) => RowKey::Null,
        Some(Some(true)) => RowKey::Key(Key::new(bytes)),
        Some(Some(false)) | None => RowKey::Unknown,
    }
}

/// How a column's text becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Typed(SqlType),
    /// Of a type that is compared by computing.
    Other(Oid),
}

impl Reader {
    fn of_column(column: &crate::Column) -> Reader {
        SqlType::of_column(column).map_or(Reader::Other(Oid(column.base_type_oid)), Reader::Typed)
    }

    pub(crate) fn of(data_type: &DataType) -> Reader {
        SqlType::of(data_type).map_or(Reader::Other(data_type.oid), Reader::Typed)
    }
}

/// Appends the key of some columns; `None` where one is NULL, `Some(false)` where one cannot be read.
pub(crate) fn write_columns(
    columns: &[(usize, Reader)],
    row: &Row,
    bytes: &mut Vec<u8>,
) -> Option<bool> {
    let mut known = true;
    for (column, reader) in columns {
        let text = row.get(*column)?;
        known &= match reader {
            Reader::Typed(sql_type) => {
                Value::read(*sql_type, text).map(|value| write(value, bytes)).is_some()
            }
            Reader::Other(oid) => write_other(*oid, text, bytes),
        };
    }
    Some(known)
}

/// Appends the canonical bytes of a value that a column of its type can hold.
pub(crate) fn write(value: Value<'_>, bytes: &mut Vec<u8>) {
    match value {
        Value::Bool(bool) => bytes.push(u8::from(bool)),
        Value::Int(int) => bytes.extend(int.to_be_bytes()),
        Value::Float(float) => {
            // One NaN, one zero.
            let float = if float.is_nan() { f64::NAN } else { float + 0.0 };
            bytes.extend(float.to_bits().to_be_bytes());
        }
        Value::Numeric(decimal) => write_decimal(decimal, bytes),
        Value::Text(text) => write_text(text, bytes),
        Value::Uuid(uuid) => bytes.extend(uuid),
        Value::Date(date) => bytes.extend(date.to_be_bytes()),
        Value::Timestamp(timestamp) => bytes.extend(timestamp.to_be_bytes()),
    }
}

/// Appends the canonical bytes of a value of a type that is compared by computing; says whether
/// there are any.
pub(crate) fn write_other(oid: Oid, text: &[u8], bytes: &mut Vec<u8>) -> bool {
    let data_type = DataType { oid, labels: None, element: None, domain: None };
    let datum = std::str::from_utf8(text).ok().and_then(|text| text_form::read(&data_type, text));
    datum.is_some_and(|datum| write_datum(oid, &datum, bytes))
}

/// The same of a value that has been read.
pub(crate) fn write_datum(oid: Oid, datum: &Datum, bytes: &mut Vec<u8>) -> bool {
    match (oid, datum) {
        (Oid::BPCHAR, Datum::Padded(text)) => {
            write_text(text.trim_end_matches(' ').as_bytes(), bytes);
        }
        (Oid::NAME | Oid::BIT | Oid::VARBIT, Datum::Text(text)) => {
            write_text(text.as_bytes(), bytes)
        }
        (Oid::BYTEA, Datum::Bytes(value)) => write_text(value, bytes),
        (Oid::MACADDR | Oid::MACADDR8 | Oid::XID8 | Oid::PG_LSN, Datum::Bytes(value)) => {
            bytes.extend(&**value);
        }
        (Oid::TIME, Datum::Time(micros)) => bytes.extend(micros.to_be_bytes()),
        (Oid::INET | Oid::CIDR, Datum::Network(network)) => {
            bytes.extend([u8::from(network.wide), network.bits]);
            bytes.extend(network.address.to_be_bytes());
        }
        (Oid::OID, Datum::Int(int)) => bytes.extend(int.to_be_bytes()),
        (Oid::INTERVAL, Datum::Interval(interval)) => bytes.extend(interval.span().to_be_bytes()),
        (_, Datum::Range(range)) => return write_range(range.0.as_ref(), bytes),
        (_, Datum::Multirange(multirange)) => {
            let spans = multirange.spans();
            bytes.extend((spans.len() as u64).to_be_bytes());
            return spans.iter().all(|span| write_range(Some(span), bytes));
        }
        _ => return false,
    }
    true
}

/// Which bounds there are, then their values; ranges that are equal have equal bounds.
fn write_range(range: Option<&Span>, bytes: &mut Vec<u8>) -> bool {
    let Some(span) = range else {
        bytes.push(u8::MAX);
        return true;
    };
    let flag = |bound: &Bound| u8::from(bound.value.is_some()) | u8::from(bound.inclusive) << 1;
    bytes.push(flag(&span.lower) | flag(&span.upper) << 2);
    let values = [&span.lower, &span.upper].into_iter().filter_map(|bound| bound.value.as_ref());
    for value in values {
        match value {
            Datum::Int(int) => write(Value::Int(*int), bytes),
            Datum::Date(date) => write(Value::Date(*date), bytes),
            Datum::Timestamp(micros) => write(Value::Timestamp(*micros), bytes),
            Datum::Numeric(number) => match Decimal::read(number.to_string().as_bytes()) {
                Some(decimal) => write(Value::Numeric(decimal), bytes),
                None => return false,
            },
            _ => return false,
        }
    }
    true
}

fn write_decimal(decimal: Decimal<'_>, bytes: &mut Vec<u8>) {
    write_text(decimal.text().as_bytes(), bytes);
}

fn write_text(text: &[u8], bytes: &mut Vec<u8>) {
    // Postgres holds at most 1 GiB in a value.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(text);
}
