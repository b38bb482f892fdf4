//! What stands in parentheses after a type: lengths, digits.
//!
//! *Enters*: numbers that the user wrote. *Leaves*: values cut or rounded as an explicit cast does it.

use super::UNEXPECTED;
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
use crate::interval::Interval;
use crate::limits::MADE_CONSTANT_BYTES_MAX;
use crate::oid::Oid;

/// What stands in parentheses after a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modifier {
    /// `varchar(n)`.
    Length(usize),
    /// `char(n)`.
    Width(usize),
    /// `bit(n)`.
    Bits(usize),
    Decimal {
        precision: i32,
        scale: i32,
    },
    /// Digits of seconds.
    Seconds(u32),
}

/// The modifier that a cast gives a type; `None` where we do not apply it. A few characters of a clause could ask for
/// any number of blanks.
pub(crate) fn modifier(oid: Oid, list: &[i32]) -> Option<Modifier> {
    known(oid, list).filter(|modifier| match modifier {
        Modifier::Width(n) | Modifier::Bits(n) => *n <= MADE_CONSTANT_BYTES_MAX,
        _ => true,
    })
}

fn known(oid: Oid, list: &[i32]) -> Option<Modifier> {
    let length =
        |length: i32| usize::try_from(length).ok().filter(|n| (1..=10_485_760).contains(n));
    Some(match (oid, list) {
        (Oid::VARCHAR, [n]) => Modifier::Length(length(*n)?),
        (Oid::BPCHAR, [n]) => Modifier::Width(length(*n)?),
        (Oid::VARBIT, [n]) => Modifier::Length(length(*n)?),
        (Oid::BIT, [n]) => Modifier::Bits(length(*n)?),
        (Oid::NUMERIC, [precision]) if (1..=1000).contains(precision) => {
            Modifier::Decimal { precision: *precision, scale: 0 }
        }
        (Oid::NUMERIC, [precision, scale])
            if (1..=1000).contains(precision) && (0..=*precision).contains(scale) =>
        {
            Modifier::Decimal { precision: *precision, scale: *scale }
        }
        (
            Oid::TIME | Oid::TIMETZ | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::INTERVAL,
            [digits @ 0..=6],
        ) => Modifier::Seconds(digits.unsigned_abs()),
        _ => return None,
    })
}

impl Modifier {
    /// From `pg_type.typtypmod`; `None` where we do not apply it.
    pub(crate) fn unpacked(oid: Oid, packed: i32) -> Option<Modifier> {
        // Four is the size of what Postgres keeps in front of such values.
        match oid {
            Oid::VARCHAR | Oid::BPCHAR => known(oid, &[packed.checked_sub(4)?]),
            Oid::NUMERIC => {
                let packed = packed.checked_sub(4)?;
                let scale = ((packed & 0x7FF) ^ 1024) - 1024;
                known(oid, &[(packed >> 16) & 0xFFFF, scale])
            }
            // Its fields are in there too.
            Oid::INTERVAL => None,
            _ => known(oid, &[packed]),
        }
    }

    /// Applies it as reading a constant does, which casts nothing away but blanks.
    pub(crate) fn hold(self, oid: Oid, datum: &Datum) -> Result<Datum, String> {
        let title = crate::data_type::title(oid);
        let too_long = |n: usize| Err(format!("value too long for type {title}({n})"));
        match (self, datum) {
            (Modifier::Bits(n), Datum::Text(digits)) if digits.len() != n => {
                Err(format!("bit string length {} does not match type bit({n})", digits.len()))
            }
            (Modifier::Length(n), Datum::Text(bits)) if oid == Oid::VARBIT && bits.len() > n => {
                too_long(n)
            }
            (Modifier::Length(n) | Modifier::Width(n), Datum::Text(text) | Datum::Padded(text))
                if text.chars().skip(n).any(|c| c != ' ') =>
            {
                too_long(n)
            }
            _ => self.apply(datum).map_err(|error| error.to_string()),
        }
    }

    /// Applies it as an explicit cast does.
    pub(crate) fn apply(self, datum: &Datum) -> Result<Datum, EvaluationError> {
        Ok(match (self, datum) {
            (Modifier::Length(length), Datum::Text(text)) => {
                Datum::Text(text.chars().take(length).collect::<String>().into())
            }
            (Modifier::Width(width), Datum::Padded(text)) => {
                let kept: String = text.chars().take(width).collect();
                let missing = width - kept.chars().count();
                Datum::Padded((kept + &" ".repeat(missing)).into())
            }
            (Modifier::Bits(width), Datum::Text(digits)) => {
                let kept = &digits[..width.min(digits.len())];
                Datum::Text((kept.to_owned() + &"0".repeat(width - kept.len())).into())
            }
            (Modifier::Decimal { precision, scale }, Datum::Numeric(number)) => {
                let rounded = number.with_scale(i64::from(scale), true);
                if rounded.exceeds(precision - scale) {
                    return Err(EvaluationError::OutOfRange("numeric field overflow"));
                }
                Datum::Numeric(rounded)
            }
            (Modifier::Seconds(digits), Datum::Time(time)) => Datum::Time(round(*time, digits)),
            (Modifier::Seconds(digits), Datum::TimeTz { time, zone }) => {
                Datum::TimeTz { time: round(*time, digits), zone: *zone }
            }
            (Modifier::Seconds(digits), Datum::Interval(interval)) => {
                Datum::Interval(Interval { micros: round(interval.micros, digits), ..*interval })
            }
            (Modifier::Seconds(digits), Datum::Timestamp(micros)) => match *micros {
                i64::MIN | i64::MAX => datum.clone(),
                // Postgres does not look whether rounding leaves the range.
                finite => Datum::Timestamp(round(finite, digits)),
            },
            _ => return Err(UNEXPECTED),
        })
    }

    /// As SQL has it.
    pub(crate) fn sql(self) -> String {
        match self {
            Modifier::Length(n) | Modifier::Width(n) | Modifier::Bits(n) => format!("({n})"),
            Modifier::Decimal { precision, scale } => format!("({precision},{scale})"),
            Modifier::Seconds(digits) => format!("({digits})"),
        }
    }
}

/// Halves away from zero.
fn round(micros: i64, digits: u32) -> i64 {
    let unit = 10_i128.pow(6 - digits.min(6));
    let size = (i128::from(micros.unsigned_abs()) + unit / 2) / unit * unit;
    // Only an interval may be so long that rounding leaves the range.
    i64::try_from(if micros < 0 { -size } else { size }).unwrap_or(micros)
}
