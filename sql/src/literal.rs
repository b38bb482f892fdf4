//! Constants: Postgres' input functions and the casts between constants.
//!
//! *Enters*: text of a literal or a parameter, or a typed constant, and the type wanted.
//! *Leaves*: a [`Constant`] or Postgres' own words of refusal.
//! *Invariant*: a form Postgres accepts and we do not is refused, never read differently.

use crate::calendar::{self, CalendarError};
use crate::decimal::{self, DecimalError, is_c_space};
use crate::limits::NUMERIC_CONSTANT_DIGITS_MAX;
use crate::sql_type::SqlType;
use crate::value::{Constant, Stored, Value, read_uuid};

mod hexadecimal;

/// Reads the text of a constant as a type's input function does.
pub(crate) fn input(sql_type: SqlType, text: &str) -> Result<Constant, String> {
    let stored = match sql_type {
        SqlType::Bool => Stored::Bool(input_bool(text).ok_or_else(|| invalid(sql_type, text))?),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            Stored::Int(input_integer(sql_type, text)?)
        }
        SqlType::Float4 | SqlType::Float8 => Stored::Float(input_float(sql_type, text)?),
        SqlType::Numeric => Stored::Numeric(input_numeric(text)?.into()),
        SqlType::Text | SqlType::Enum => Stored::Text(text.into()),
        SqlType::Uuid => {
            Stored::Uuid(read_uuid(text.as_bytes()).ok_or_else(|| invalid(sql_type, text))?)
        }
        SqlType::Date => Stored::Date(
            calendar::date(text).map_err(|why| calendar_words(why, sql_type.title(), text))?,
        ),
        SqlType::Timestamp => Stored::Timestamp(
            calendar::timestamp(text).map_err(|why| calendar_words(why, sql_type.title(), text))?,
        ),
        SqlType::Timestamptz => Stored::Timestamp(
            calendar::timestamptz(text)
                .map_err(|why| calendar_words(why, sql_type.title(), text))?,
        ),
    };
    Ok(Constant::new(sql_type, stored))
}

/// Casts a typed constant; `None` where we do not support the pair.
pub(crate) fn cast(constant: &Constant, target: SqlType) -> Option<Result<Constant, String>> {
    if constant.sql_type == target {
        return Some(Ok(constant.clone()));
    }
    let stored = match (constant.value(), target) {
        (Value::Text(_), _) => return Some(input(target, &constant.text())),
        (Value::Int(int), SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
            fit(target, Some(int)).map(Stored::Int)
        }
        (Value::Int(int), SqlType::Numeric) => Ok(Stored::Numeric(int.to_string().into())),
        (Value::Int(int), SqlType::Float8) => Ok(Stored::Float(int as f64)),
        (Value::Int(int), SqlType::Float4) => Ok(Stored::Float(f64::from(int as f32))),
        (Value::Numeric(decimal), SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
            fit(target, decimal.round_to_i64()).map(Stored::Int)
        }
        (Value::Numeric(decimal), SqlType::Float8 | SqlType::Float4) => {
            return Some(input(target, &decimal.text()));
        }
        (Value::Float(float), SqlType::Float8) => Ok(Stored::Float(float)),
        (Value::Float(float), SqlType::Float4) => narrow(float).map(Stored::Float),
        (Value::Date(date), SqlType::Timestamp | SqlType::Timestamptz) => {
            let out_of_range = || "date out of range for timestamp".to_owned();
            calendar::midnight(date).map(Stored::Timestamp).ok_or_else(out_of_range)
        }
        (Value::Timestamp(micros), SqlType::Timestamp | SqlType::Timestamptz) => {
            Ok(Stored::Timestamp(micros))
        }
        _ => return None,
    };
    Some(stored.map(|stored| Constant::new(target, stored)))
}

/// The same value as the type a column of `column` type is best compared with, so that different
/// spellings of a constant become one. Only changes that cannot change any comparison.
pub(crate) fn settle(constant: Constant, column: SqlType) -> Result<Constant, String> {
    let integer = |int: i64| {
        let fits = column.integer_range().contains(&int);
        Constant::new(if fits { column } else { SqlType::Int8 }, Stored::Int(int))
    };
    Ok(match (column, constant.value()) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Int(int)) => integer(int),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, Value::Numeric(decimal)) => {
            decimal.to_i64().map_or(constant, integer)
        }
        (SqlType::Numeric, Value::Int(int)) => {
            Constant::new(SqlType::Numeric, Stored::Numeric(int.to_string().into()))
        }
        // Postgres compares these as `float8`, whatever the width of the constant.
        (SqlType::Float4 | SqlType::Float8, Value::Int(_) | Value::Numeric(_)) => {
            cast(&constant, SqlType::Float8).unwrap_or(Ok(constant))?
        }
        (_, Value::Float(float)) => Constant::new(SqlType::Float8, Stored::Float(float)),
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Timestamp(micros)) => {
            Constant::new(column, Stored::Timestamp(micros))
        }
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Date(date)) => {
            match calendar::midnight(date) {
                Some(micros) => Constant::new(column, Stored::Timestamp(micros)),
                None => constant,
            }
        }
        (SqlType::Date, Value::Timestamp(micros)) => match calendar::day_of_midnight(micros) {
            Some(day) => Constant::new(SqlType::Date, Stored::Date(day)),
            None => constant,
        },
        _ => constant,
    })
}

fn invalid(sql_type: SqlType, text: &str) -> String {
    format!("invalid input syntax for type {}: \"{text}\"", sql_type.title())
}

fn fit(target: SqlType, int: Option<i64>) -> Result<i64, String> {
    int.filter(|int| target.integer_range().contains(int))
        .ok_or_else(|| format!("{} out of range", target.title()))
}

fn narrow(float: f64) -> Result<f64, String> {
    // The cast rounds to nearest, as C does.
    let narrow = float as f32;
    if narrow.is_infinite() && float.is_finite() {
        return Err("value out of range: overflow".to_owned());
    }
    if narrow == 0.0 && float != 0.0 {
        return Err("value out of range: underflow".to_owned());
    }
    Ok(f64::from(narrow))
}

fn input_bool(text: &str) -> Option<bool> {
    let word = text.trim_matches(is_c_space).to_ascii_lowercase();
    let starts = |whole: &str| !word.is_empty() && whole.starts_with(&word);
    if starts("true") || starts("yes") || word == "on" || word == "1" {
        Some(true)
    } else if starts("false") || starts("no") || word == "of" || word == "off" || word == "0" {
        Some(false)
    } else {
        None
    }
}

fn input_integer(sql_type: SqlType, text: &str) -> Result<i64, String> {
    let digits = text.trim_matches(is_c_space);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(sql_type, text));
    }
    let int = digits.parse::<i64>().ok().filter(|int| sql_type.integer_range().contains(int));
    int.ok_or_else(|| format!("value \"{text}\" is out of range for type {}", sql_type.title()))
}

fn input_float(sql_type: SqlType, text: &str) -> Result<f64, String> {
    let word = text.trim_matches(is_c_space);
    let bare = word.strip_prefix(['+', '-']).unwrap_or(word);
    let narrow = sql_type == SqlType::Float4;
    let out_of_range = || format!("\"{text}\" is out of range for type {}", sql_type.title());
    if let Some(digits) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
        let (size, zero) =
            hexadecimal::read(digits, narrow).ok_or_else(|| invalid(sql_type, text))?;
        if size.is_infinite() || (size == 0.0 && !zero) {
            return Err(out_of_range());
        }
        return Ok(if word.starts_with('-') { -size } else { size });
    }
    if is_named_nan(bare) {
        return Ok(f64::NAN);
    }
    // Stricter than Rust, which we let do the rounding.
    let special = ["nan", "inf", "infinity"].iter().any(|name| bare.eq_ignore_ascii_case(name));
    let decimal = bare.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    if !special && !decimal {
        return Err(invalid(sql_type, text));
    }
    let float = match narrow {
        true => word.parse::<f32>().map(f64::from),
        false => word.parse::<f64>(),
    };
    let float = float.map_err(|_| invalid(sql_type, text))?;
    let mantissa = bare.split(['e', 'E']).next().unwrap_or_default();
    let nonzero = mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if !special && (float.is_infinite() || (float == 0.0 && nonzero)) {
        return Err(out_of_range());
    }
    Ok(float)
}

/// C's `nan(…)`, whose inside means nothing.
fn is_named_nan(word: &str) -> bool {
    let inside = (word.get(..4))
        .filter(|start| start.eq_ignore_ascii_case("nan("))
        .and_then(|_| word[4..].strip_suffix(')'));
    inside.is_some_and(|inside| inside.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

fn input_numeric(text: &str) -> Result<String, String> {
    decimal::input(text).map_err(|why| match why {
        DecimalError::Syntax => invalid(SqlType::Numeric, text),
        DecimalError::Long => format!(
            "numeric constants of more than {NUMERIC_CONSTANT_DIGITS_MAX} digits are not supported"
        ),
    })
}

/// Why text is no date or time, with what would be one.
pub(crate) fn calendar_words(why: CalendarError, title: &str, text: &str) -> String {
    let example = match title {
        "date" => "2024-01-31",
        "time without time zone" | "time with time zone" => "12:30:00",
        _ => "2024-01-31 12:30:00+00",
    };
    match why {
        CalendarError::Syntax => {
            format!("invalid input syntax for type {title}: \"{text}\" (write it like {example})")
        }
        CalendarError::Clock => format!(
            "\"{text}\" is not supported: it would stay what it is now; write it like {example}"
        ),
        CalendarError::Zone => format!(
            "\"{text}\" is not supported: zones are offsets such as +02:00, UTC, GMT and Z, because \
             tables of zones differ"
        ),
        CalendarError::Field => format!("date/time field value out of range: \"{text}\""),
        CalendarError::Range if title == "date" => format!("date out of range: \"{text}\""),
        CalendarError::Range => format!("timestamp out of range: \"{text}\""),
    }
}
