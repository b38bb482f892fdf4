//! SQL order as byte order.
//!
//! *Enters*: values and data of one type. *Leaves*: bytes.
//! *Invariant*: two values of one type compare in Postgres exactly as their bytes do, so equal values
//! have equal bytes: 1.0 and 1.00, −0 and 0, every NaN, `char(n)` whatever blanks follow. Text is
//! ordered by its bytes; whoever asks for another order has been refused before.

use crate::datum::{Array, Datum};
use crate::decimal::Decimal;
use crate::json::Json;
use crate::sql_type::SqlType;
use crate::value::Value;

/// What a type's bytes are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// Order and equality.
    Ordered,
    /// Equality only.
    Equal,
    /// Nothing: there are none.
    Not,
}

/// Whether all keys of a column's type have eight bytes.
pub(crate) fn is_narrow(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Int2
            | SqlType::Int4
            | SqlType::Int8
            | SqlType::Float4
            | SqlType::Float8
            | SqlType::Date
            | SqlType::Timestamp
            | SqlType::Timestamptz
    )
}

/// Appends the key of a column's value.
pub(crate) fn write(value: Value<'_>, bytes: &mut Vec<u8>) {
    match value {
        Value::Bool(bool) => bytes.push(u8::from(bool)),
        Value::Int(int) | Value::Timestamp(int) => bytes.extend(of_int(int)),
        Value::Date(date) => bytes.extend(of_int(i64::from(date))),
        Value::Float(float) => bytes.extend(of_float(float)),
        Value::Numeric(decimal) => decimal.write_sort_key(bytes),
        Value::Text(text) => bytes.extend(text),
        Value::Uuid(uuid) => bytes.extend(uuid),
    }
}

/// Appends the key of a datum.
pub(crate) fn write_datum(datum: &Datum, bytes: &mut Vec<u8>) -> Keyed {
    match datum {
        Datum::Bool(bool) => bytes.push(u8::from(*bool)),
        Datum::Int(int) | Datum::Time(int) | Datum::Timestamp(int) => bytes.extend(of_int(*int)),
        Datum::Date(date) => bytes.extend(of_int(i64::from(*date))),
        Datum::Float(float) => bytes.extend(of_float(*float)),
        Datum::Numeric(number) => match Decimal::read(number.to_string().as_bytes()) {
            Some(decimal) => decimal.write_sort_key(bytes),
            None => return Keyed::Not,
        },
        Datum::Text(text) => bytes.extend(text.as_bytes()),
        Datum::Padded(text) => bytes.extend(text.trim_end_matches(' ').as_bytes()),
        Datum::Enum { order, .. } => bytes.extend(of_int(i64::from(*order))),
        Datum::Bytes(value) => bytes.extend(&**value),
        Datum::Uuid(uuid) => bytes.extend(uuid),
        Datum::TimeTz { time, zone } => {
            bytes.extend(of_int(time + i64::from(*zone) * 1_000_000));
            bytes.extend(of_int(i64::from(*zone)));
        }
        Datum::Interval(interval) => {
            // With the first bit turned, the order is that of unsigned numbers.
            bytes.extend((interval.span() ^ i128::MIN).to_be_bytes());
        }
        Datum::Json(json) => {
            write_json(json, bytes);
            return Keyed::Equal;
        }
        Datum::Array(array) => return write_array(array, bytes),
        Datum::Network(_) | Datum::Range(_) | Datum::Multirange(_) => return Keyed::Not,
    }
    Keyed::Ordered
}

/// The first bit turned: the order of unsigned numbers.
fn of_int(int: i64) -> [u8; 8] {
    (int ^ i64::MIN).to_be_bytes()
}

fn of_float(float: f64) -> [u8; 8] {
    // One NaN, above everything, and one zero.
    let bits = if float.is_nan() { f64::NAN.to_bits() } else { (float + 0.0).to_bits() };
    let negative = bits >> 63 == 1;
    (if negative { !bits } else { bits | 1 << 63 }).to_be_bytes()
}

/// A scalar of `jsonb`, or a whole value: equal ones have equal bytes.
pub(crate) fn write_json(json: &Json, bytes: &mut Vec<u8>) {
    let length = |count: usize| (count as u64).to_be_bytes();
    match json {
        Json::Null => bytes.push(b'0'),
        Json::Bool(bool) => bytes.push(if *bool { b't' } else { b'f' }),
        Json::Number(number) => {
            bytes.push(b'n');
            let text = number.to_string();
            let text = Decimal::read(text.as_bytes()).map_or(text.clone(), |one| one.text());
            bytes.extend(length(text.len()));
            bytes.extend(text.as_bytes());
        }
        Json::Text(text) => {
            bytes.push(b's');
            bytes.extend(length(text.len()));
            bytes.extend(text.as_bytes());
        }
        Json::Array(elements) => {
            bytes.push(b'[');
            bytes.extend(length(elements.len()));
            elements.iter().for_each(|element| write_json(element, bytes));
        }
        Json::Object(members) => {
            bytes.push(b'{');
            bytes.extend(length(members.len()));
            for (key, value) in members {
                bytes.extend(length(key.len()));
                bytes.extend(key.as_bytes());
                write_json(value, bytes);
            }
        }
    }
}

/// Dimensions, then elements with their lengths.
fn write_array(array: &Array, bytes: &mut Vec<u8>) -> Keyed {
    bytes.extend((array.dimensions.len() as u64).to_be_bytes());
    for dimension in &array.dimensions {
        bytes.extend((dimension.length as u64).to_be_bytes());
        bytes.extend(dimension.lower.to_be_bytes());
    }
    for element in &array.elements {
        let Some(element) = element else {
            bytes.extend(u64::MAX.to_be_bytes());
            continue;
        };
        let mut key = Vec::new();
        if write_datum(element, &mut key) == Keyed::Not {
            return Keyed::Not;
        }
        bytes.extend((key.len() as u64).to_be_bytes());
        bytes.extend(key);
    }
    Keyed::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(sql_type: SqlType, texts: &[&str]) -> Vec<Vec<u8>> {
        let key = |text: &&str| {
            let mut bytes = Vec::new();
            write(Value::read(sql_type, text.as_bytes()).unwrap(), &mut bytes);
            bytes
        };
        texts.iter().map(key).collect()
    }

    #[test]
    fn bytes_are_in_the_order_of_values() {
        let numbers = [
            "-Infinity",
            "-1000",
            "-100",
            "-12",
            "-10.5",
            "-10",
            "-1.5",
            "-1.05",
            "-1",
            "-0.1",
            "-0.01",
            "-0.009",
            "0",
            "0.009",
            "0.01",
            "0.1",
            "0.10001",
            "1",
            "1.05",
            "1.5",
            "9",
            "10",
            "10.5",
            "12",
            "100",
            "1000",
            "12345678901234567890.1",
            "Infinity",
            "NaN",
        ];
        assert!(keys(SqlType::Numeric, &numbers).is_sorted_by(|one, other| one < other));
        let floats = [
            "-Infinity",
            "-1e300",
            "-1",
            "-5e-324",
            "0",
            "5e-324",
            "1",
            "1e300",
            "Infinity",
            "NaN",
        ];
        assert!(keys(SqlType::Float8, &floats).is_sorted_by(|one, other| one < other));
        let ints = ["-9223372036854775808", "-1", "0", "1", "9223372036854775807"];
        assert!(keys(SqlType::Int8, &ints).is_sorted_by(|one, other| one < other));
        let texts = ["", "A", "a", "a\u{1}", "aa", "b", "é", "日"];
        assert!(keys(SqlType::Text, &texts).is_sorted_by(|one, other| one < other));
        let days = ["-infinity", "4714-11-24 BC", "0001-01-01", "2024-02-29", "infinity"];
        assert!(keys(SqlType::Date, &days).is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        let same = |sql_type, texts: &[&str]| {
            let keys = keys(sql_type, texts);
            assert!(keys.iter().all(|key| *key == keys[0]), "{texts:?}");
        };
        same(SqlType::Numeric, &["1", "1.0", "1.00", "01"]);
        same(SqlType::Numeric, &["100", "100.0"]);
        same(SqlType::Numeric, &["0", "0.00", "-0.0"]);
        same(SqlType::Float8, &["0", "-0"]);
        same(SqlType::Float8, &["NaN", "-NaN"]);
        let padded = |text: &str| {
            let mut bytes = Vec::new();
            write_datum(&Datum::Padded(text.into()), &mut bytes);
            bytes
        };
        assert_eq!(padded("a  "), padded("a"));
        let json = |text: &str| {
            let mut bytes = Vec::new();
            write_json(&Json::read(text).unwrap(), &mut bytes);
            bytes
        };
        assert_eq!(json("{\"a\": [1.0, \"x\"], \"a\": [1, \"x\"]}"), json("{\"a\":[1.00,\"x\"]}"));
        assert_ne!(json("\"1\""), json("1"));
    }
}
