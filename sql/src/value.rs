//! Values: read from a row's text, kept as constants, compared as Postgres compares.
//!
//! *Enters*: column text as Postgres prints it; constants made by `literal`.
//! *Leaves*: the order of two values of one category.
//! *Invariant*: which comparison applies follows from the two variants alone: integers with
//! decimals exactly, anything with a float as `f64`, dates with timestamps in UTC.

use std::cmp::Ordering;

use crate::calendar;
use crate::decimal::{self, Decimal};
use crate::sql_type::SqlType;

/// A value that borrows from a row or a constant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Int(i64),
    /// `float4` is widened once it has been read as `f32`.
    Float(f64),
    Numeric(Decimal<'a>),
    Text(&'a [u8]),
    Uuid([u8; 16]),
    Date(i32),
    Timestamp(i64),
}

impl<'a> Value<'a> {
    /// Reads a column's text. `None`: not what Postgres prints for the type.
    pub(crate) fn read(sql_type: SqlType, text: &'a [u8]) -> Option<Value<'a>> {
        Some(match sql_type {
            SqlType::Bool => Value::Bool(match text {
                b"t" | b"true" => true,
                b"f" | b"false" => false,
                _ => return None,
            }),
            SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => Value::Int(read_integer(text)?),
            SqlType::Float4 => Value::Float(f64::from(utf8(text)?.parse::<f32>().ok()?)),
            SqlType::Float8 => Value::Float(utf8(text)?.parse().ok()?),
            SqlType::Numeric => Value::Numeric(Decimal::read(text)?),
            SqlType::Text | SqlType::Enum => Value::Text(text),
            SqlType::Uuid => Value::Uuid(read_uuid(text)?),
            SqlType::Date => Value::Date(calendar::date(utf8(text)?).ok()?),
            SqlType::Timestamp | SqlType::Timestamptz => {
                let zoned = sql_type == SqlType::Timestamptz;
                Value::Timestamp(match calendar::printed(text, zoned) {
                    Some(micros) => micros,
                    None if zoned => calendar::timestamptz(utf8(text)?).ok()?,
                    None => calendar::timestamp(utf8(text)?).ok()?,
                })
            }
        })
    }

    /// The order of two values; `None` where Postgres raises an error (a decimal too large for a
    /// float) and for pairs that typing never lets through.
    pub(crate) fn compare(self, other: Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Int(left), Value::Int(right)) => left.cmp(&right),
            (Value::Text(left), Value::Text(right)) => left.cmp(right),
            (Value::Bool(left), Value::Bool(right)) => left.cmp(&right),
            (Value::Uuid(left), Value::Uuid(right)) => left.cmp(&right),
            (Value::Numeric(left), Value::Numeric(right)) => left.compare(&right),
            (Value::Numeric(left), Value::Int(right)) => left.compare_integer(right),
            (Value::Int(left), Value::Numeric(right)) => right.compare_integer(left).reverse(),
            (Value::Date(left), Value::Date(right)) => left.cmp(&right),
            (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(&right),
            (Value::Date(left), Value::Timestamp(right)) => calendar::compare_date(left, right),
            (Value::Timestamp(left), Value::Date(right)) => {
                calendar::compare_date(right, left).reverse()
            }
            (left, right) => compare_floats(left.to_f64()?, right.to_f64()?),
        })
    }

    /// As a float, the way Postgres casts numbers to `float8`.
    pub(crate) fn to_f64(self) -> Option<f64> {
        match self {
            // Rounds to nearest even, as C does.
            Value::Int(int) => Some(int as f64),
            Value::Float(float) => Some(float),
            Value::Numeric(decimal) => decimal.to_f64(),
            _ => None,
        }
    }
}

/// The order of a column's text and a constant; `None` as for [`Value::compare`], and where the text
/// cannot be read. The pairs that are most common are compared without a value in between.
pub(crate) fn compare_text(sql_type: SqlType, text: &[u8], constant: &Stored) -> Option<Ordering> {
    match (sql_type, constant) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Stored::Int(int)) => {
            Some(read_integer(text)?.cmp(int))
        }
        (SqlType::Text | SqlType::Enum, Stored::Text(other)) => Some(text.cmp(other.as_bytes())),
        (SqlType::Numeric, Stored::Numeric(other)) => compare_decimals(text, other.as_bytes()),
        _ => Value::read(sql_type, text)?.compare(constant.value()),
    }
}

/// The order of a column's text and a constant's, which is canonical and so can always be read.
#[inline]
fn compare_decimals(text: &[u8], constant: &[u8]) -> Option<Ordering> {
    if text == constant {
        return Some(Ordering::Equal);
    }
    if let (Some(text), Some(constant)) = (decimal::in_units(text), decimal::in_units(constant)) {
        return Some(text.cmp(&constant));
    }
    let constant = Decimal::read(constant).unwrap_or(Decimal::NotANumber);
    Some(Decimal::read(text)?.compare(&constant))
}

/// Postgres' total order: NaN equals itself and is above everything, −0 equals 0.
pub(crate) fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

#[inline]
pub(crate) fn read_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // So many digits cannot overflow.
    if digits.len() <= 18 {
        let mut number = 0_i64;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + i64::from(digit);
        }
        return Some(if negative { -number } else { number });
    }
    let mut number: i64 = 0;
    for byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?;
        number = if negative { number.checked_sub(digit)? } else { number.checked_add(digit)? };
    }
    Some(number)
}

/// Reads a uuid in all forms Postgres takes: any case, braces, a hyphen after any four digits.
pub(crate) fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        let [high, low, tail @ ..] = rest else { return None };
        *byte = hex(*high)? << 4 | hex(*low)?;
        rest = match tail {
            [b'-', tail @ ..] if at % 2 == 1 && at < 15 => tail,
            _ => tail,
        };
    }
    rest.is_empty().then_some(uuid)
}

fn hex(digit: u8) -> Option<u8> {
    const NONE: u8 = 16;
    const DIGITS: [u8; 256] = {
        let mut digits = [NONE; 256];
        let mut at = 0;
        while at < 16 {
            digits[b"0123456789abcdef"[at] as usize] = at as u8;
            digits[b"0123456789ABCDEF"[at] as usize] = at as u8;
            at += 1;
        }
        digits
    };
    let digit = DIGITS[usize::from(digit)];
    (digit != NONE).then_some(digit)
}

/// A value that owns itself.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Canonical text, see `decimal`.
    Numeric(Box<str>),
    Text(Box<str>),
    Uuid([u8; 16]),
    Date(i32),
    Timestamp(i64),
}

/// A typed constant; never NULL.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub(crate) sql_type: SqlType,
    pub(crate) stored: Stored,
}

impl Constant {
    pub(crate) fn new(sql_type: SqlType, stored: Stored) -> Constant {
        Constant { sql_type, stored }
    }

    pub(crate) fn value(&self) -> Value<'_> {
        self.stored.value()
    }

    /// The text Postgres reads back as the same value.
    pub(crate) fn text(&self) -> String {
        self.stored.text(self.sql_type)
    }
}

impl Stored {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Stored::Bool(bool) => Value::Bool(*bool),
            Stored::Int(int) => Value::Int(*int),
            Stored::Float(float) => Value::Float(*float),
            // Canonical text always reads; NaN is only what the compiler asks to be named here.
            Stored::Numeric(text) => {
                Value::Numeric(Decimal::read(text.as_bytes()).unwrap_or(Decimal::NotANumber))
            }
            Stored::Text(text) => Value::Text(text.as_bytes()),
            Stored::Uuid(uuid) => Value::Uuid(*uuid),
            Stored::Date(date) => Value::Date(*date),
            Stored::Timestamp(timestamp) => Value::Timestamp(*timestamp),
        }
    }

    /// The text Postgres reads back as the same value of this type.
    pub(crate) fn text(&self, sql_type: SqlType) -> String {
        match self {
            Stored::Bool(bool) => bool.to_string(),
            Stored::Int(int) => int.to_string(),
            Stored::Float(float) if float.is_nan() => "NaN".to_owned(),
            Stored::Float(float) if float.is_infinite() => {
                if *float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
            }
            // Adding zero makes −0, which equals 0, look like it.
            Stored::Float(float) => format!("{:e}", float + 0.0),
            Stored::Numeric(text) | Stored::Text(text) => text.to_string(),
            Stored::Uuid(uuid) => uuid_text(*uuid),
            Stored::Date(date) => calendar::date_text(*date),
            Stored::Timestamp(timestamp) => {
                calendar::timestamp_text(*timestamp, sql_type == SqlType::Timestamptz)
            }
        }
    }
}

pub(crate) fn uuid_text(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_a_total_order() {
        assert_eq!(compare_floats(f64::NAN, f64::NAN), Ordering::Equal);
        assert_eq!(compare_floats(f64::NAN, f64::INFINITY), Ordering::Greater);
        assert_eq!(compare_floats(-0.0, 0.0), Ordering::Equal);
        let float4 = Value::read(SqlType::Float4, b"1.1").unwrap();
        assert_eq!(float4.compare(Value::Float(1.1)), Some(Ordering::Greater));
        let constant = Constant::new(SqlType::Float8, Stored::Float(-0.0));
        assert_eq!(constant.text(), "0e0");
    }

    #[test]
    fn integers_compare_with_floats_as_floats_and_with_decimals_exactly() {
        let int = Value::Int(9_007_199_254_740_993);
        assert_eq!(int.compare(Value::Float(9_007_199_254_740_992.0)), Some(Ordering::Equal));
        let decimal = Value::read(SqlType::Numeric, b"9007199254740993.0").unwrap();
        assert_eq!(int.compare(decimal), Some(Ordering::Equal));
        let huge = "9".repeat(400);
        let huge = Value::read(SqlType::Numeric, huge.as_bytes()).unwrap();
        assert_eq!(huge.compare(Value::Float(1.0)), None);
    }

    #[test]
    fn decimals_of_every_length_compare_as_their_digits_do() {
        let long = "9".repeat(19);
        let list = [
            "0",
            "-0.5",
            "0.50",
            "19.99",
            "19.990",
            "20",
            "-20",
            "NaN",
            "Infinity",
            "-Infinity",
            &long,
        ];
        for text in list.into_iter().chain(["0.00", "-19.99", "1.0000000000000000001", "1"]) {
            for constant in list.map(|one| Decimal::read(one.as_bytes()).unwrap().text()) {
                let general = Decimal::read(text.as_bytes()).unwrap();
                let general = general.compare(&Decimal::read(constant.as_bytes()).unwrap());
                let quick = compare_decimals(text.as_bytes(), constant.as_bytes());
                assert_eq!(quick, Some(general), "{text} {constant}");
            }
        }
        assert_eq!(compare_decimals(b"x", b"1"), None);
    }

    #[test]
    fn uuids_take_every_form() {
        let plain = read_uuid(b"a0eebc999c0b4ef8bb6d6bb9bd380a11").unwrap();
        assert_eq!(read_uuid(b"{A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11}"), Some(plain));
        assert_eq!(read_uuid(b"a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"), Some(plain));
        assert_eq!(uuid_text(plain), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        for bad in
            [&b""[..], b"{a0eebc999c0b4ef8bb6d6bb9bd380a11", b"a0-eebc999c0b4ef8bb6d6bb9bd380a11"]
        {
            assert_eq!(read_uuid(bad), None);
        }
    }

    #[test]
    fn refuses_text_that_is_no_value() {
        for (sql_type, text) in [
            (SqlType::Int4, &b""[..]),
            (SqlType::Int4, b"-"),
            (SqlType::Int8, b"9223372036854775808"),
            (SqlType::Bool, b"yes"),
            (SqlType::Numeric, b"1e5"),
            (SqlType::Date, b"x"),
        ] {
            assert!(Value::read(sql_type, text).is_none());
        }
        assert!(matches!(read_integer(b"-9223372036854775808"), Some(i64::MIN)));
    }
}
