//! Column values as numbers and bytes, for formats that have types.
//!
//! *Enters*: a column, and values as Postgres prints them under the settings of our sessions (ISO
//! dates, UTC, hexadecimal bytes). *Leaves*: what kind of values the column has, and each value as
//! that kind. *Invariant*: the kind follows from the column's declaration alone, never from values; a
//! value that its kind cannot hold exactly is `None`, never something near it.
//!
//! Kinds count from 1970, as the formats that carry them do.

use crate::Column;
use crate::calendar::{self, DAY_MICROS, EPOCH_DAYS};
use crate::catalog::catalog;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::oid::Oid;
use crate::text_form;
use crate::value::read_uuid;

/// Digits that fit into 128 bits whatever they are.
pub const DECIMAL_DIGITS_MAX: u8 = 38;

/// What values of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// See [`boolean`].
    Bool,
    /// 16 bits, see [`number`].
    Int2,
    /// 32 bits, see [`number`].
    Int4,
    /// 64 bits, see [`number`].
    Int8,
    /// 32 bits, see [`number`].
    Float4,
    /// 64 bits, see [`number`].
    Float8,
    /// `numeric(p,s)`, see [`decimal`].
    Decimal {
        /// Digits, at most [`DECIMAL_DIGITS_MAX`].
        precision: u8,
        /// Digits of the fraction, at most `precision`.
        scale: u8,
    },
    /// See [`bytes()`].
    Bytes,
    /// See [`uuid`].
    Uuid,
    /// See [`date`].
    Date,
    /// See [`time`].
    Time,
    /// See [`timestamp`].
    Timestamp,
    /// See [`timestamptz`].
    Timestamptz,
    /// `json` and `jsonb`, as text.
    Json,
    /// Text itself, and every type that has no other kind.
    Text,
    /// Arrays, see [`items`].
    List(Box<Kind>),
}

impl Kind {
    /// The kind of a column. Domains have that of what they are made of, enums are text. Arrays of
    /// types without a kind of their own, and those declared with more than one dimension, are text.
    #[must_use]
    pub fn of(column: &Column) -> Kind {
        if column.dimensions > 1 {
            return Kind::Text;
        }
        if !column.labels.is_empty() {
            let array = column.element_type_oid != 0;
            return if array { Kind::List(Box::new(Kind::Text)) } else { Kind::Text };
        }
        let oid = Oid(column.base_type_oid);
        if let Some(kind) = Kind::scalar(oid, column.type_modifier) {
            return kind;
        }
        // `int2vector` and `oidvector` are arrays whose text is none.
        const VECTORS: [Oid; 2] = [Oid(22), Oid(30)];
        let entry = catalog().type_of(oid).filter(|entry| entry.category == 'A');
        let entry = entry.filter(|_| !VECTORS.contains(&oid));
        let element = entry.and_then(|entry| entry.element);
        let element = element.and_then(|element| Kind::scalar(element, column.type_modifier));
        element.map_or(Kind::Text, |element| Kind::List(Box::new(element)))
    }

    fn scalar(oid: Oid, modifier: i32) -> Option<Kind> {
        // `json` has no constant: nothing else asks for it.
        const JSON: Oid = Oid(114);
        Some(match oid {
            Oid::BOOL => Kind::Bool,
            Oid::INT2 => Kind::Int2,
            Oid::INT4 => Kind::Int4,
            Oid::INT8 => Kind::Int8,
            Oid::FLOAT4 => Kind::Float4,
            Oid::FLOAT8 => Kind::Float8,
            Oid::NUMERIC => Kind::numeric(modifier),
            Oid::BYTEA => Kind::Bytes,
            Oid::UUID => Kind::Uuid,
            Oid::DATE => Kind::Date,
            Oid::TIME => Kind::Time,
            Oid::TIMESTAMP => Kind::Timestamp,
            Oid::TIMESTAMPTZ => Kind::Timestamptz,
            JSON | Oid::JSONB => Kind::Json,
            Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME => Kind::Text,
            _ => return None,
        })
    }

    /// Postgres allows scales below 0 and above the precision: digits are made of both.
    fn numeric(modifier: i32) -> Kind {
        let Some(packed) = modifier.checked_sub(4).filter(|packed| *packed >= 0) else {
            return Kind::Text;
        };
        let precision = (packed >> 16) & 0xFFFF;
        let scale = ((packed & 0x7FF) ^ 1024) - 1024;
        let (digits, fraction) =
            if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
        match (u8::try_from(digits), u8::try_from(fraction)) {
            (Ok(precision @ 1..=DECIMAL_DIGITS_MAX), Ok(scale)) => {
                Kind::Decimal { precision, scale }
            }
            _ => Kind::Text,
        }
    }

    /// Whether a value is one of this kind.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Kind::Bool => boolean(text).is_some(),
            Kind::Int2 => number::<i16>(text).is_some(),
            Kind::Int4 => number::<i32>(text).is_some(),
            Kind::Int8 => number::<i64>(text).is_some(),
            Kind::Float4 => number::<f32>(text).is_some(),
            Kind::Float8 => number::<f64>(text).is_some(),
            Kind::Decimal { precision, scale } => decimal(text, *precision, *scale).is_some(),
            Kind::Bytes => bytes(text).is_some(),
            Kind::Uuid => uuid(text).is_some(),
            Kind::Date => date(text).is_some(),
            Kind::Time => time(text).is_some(),
            Kind::Timestamp => timestamp(text).is_some(),
            Kind::Timestamptz => timestamptz(text).is_some(),
            Kind::Json | Kind::Text => true,
            Kind::List(item) => {
                let items = items(text);
                items.is_some_and(|items| items.iter().flatten().all(|text| item.holds(text)))
            }
        }
    }
}

/// `t` or `f`.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "true" => Some(true),
        "f" | "false" => Some(false),
        _ => None,
    }
}

/// An integer or a float of Rust's that has the same width.
#[must_use]
pub fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A `numeric(precision,scale)` as a whole number of its last digits; NaN and more digits have none.
#[must_use]
pub fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::from(scale);
    if whole.is_empty() || fraction.len() > scale {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', scale - fraction.len());
    let number =
        whole.bytes().chain(fraction.bytes()).chain(zeros).try_fold(0_i128, |sum, digit| {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (number < limit).then_some(if negative { -number } else { number })
}

/// A `bytea`.
#[must_use]
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    text_form::read_bytes(text)
}

/// A `uuid`.
#[must_use]
pub fn uuid(text: &str) -> Option<[u8; 16]> {
    read_uuid(text.as_bytes())
}

/// A `date` as days since 1970-01-01; the infinities have none.
#[must_use]
pub fn date(text: &str) -> Option<i32> {
    let days = calendar::date(text).ok().filter(|days| *days != i32::MIN && *days != i32::MAX)?;
    i32::try_from(i64::from(days) + EPOCH_DAYS).ok()
}

/// A `time` as microseconds of the day; 24:00:00, which is none of the day's, has none.
#[must_use]
pub fn time(text: &str) -> Option<i64> {
    let (micros, zone) = calendar::time(text).ok()?;
    (zone == 0 && micros < DAY_MICROS).then_some(micros)
}

/// A `timestamp` as microseconds since 1970-01-01; the infinities and the last years of Postgres'
/// calendar (from 294247 on) have none.
#[must_use]
pub fn timestamp(text: &str) -> Option<i64> {
    let micros = calendar::printed(text.as_bytes(), false);
    since_1970(micros.or_else(|| calendar::timestamp(text).ok())?)
}

/// A `timestamptz`, as [`timestamp`], in UTC.
#[must_use]
pub fn timestamptz(text: &str) -> Option<i64> {
    let micros = calendar::printed(text.as_bytes(), true);
    since_1970(micros.or_else(|| calendar::timestamptz(text).ok())?)
}

fn since_1970(micros: i64) -> Option<i64> {
    if micros == i64::MIN || micros == i64::MAX {
        return None;
    }
    micros.checked_add(EPOCH_DAYS * DAY_MICROS)
}

/// The items of an array's text, `None` of them being NULL. An array of more dimensions than one, or
/// that does not begin at 1, has none.
#[must_use]
pub fn items(text: &str) -> Option<Vec<Option<String>>> {
    const TEXT_ARRAY: Oid = Oid(1009);
    let Datum::Array(array) = text_form::read(&DataType::from(TEXT_ARRAY), text)? else {
        return None;
    };
    let plain = match array.dimensions.as_slice() {
        [] => true,
        [only] => only.lower == 1,
        _ => false,
    };
    let item = |item: &Option<Datum>| match item {
        None => Some(None),
        Some(Datum::Text(text)) => Some(Some(text.to_string())),
        Some(_) => None,
    };
    plain.then(|| array.elements.iter().map(item).collect())?
}

#[cfg(test)]
mod tests;
