//! Strings of bits, which are kept as their digits.

use super::{Arguments, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "bit_and" => |_, list| combined(list, |left, right| left & right),
        "bit_or" => |_, list| combined(list, |left, right| left | right),
        "bitxor" => |_, list| combined(list, |left, right| left ^ right),
        "bitnot" => |_, list| {
            let turned = Arguments(list).text(0)?.bytes().map(|digit| digit == b'0');
            bits(turned)
        },
        "bitcat" => |_, list| {
            let arguments = Arguments(list);
            some(Datum::Text([arguments.text(0)?, arguments.text(1)?].concat().into()))
        },
        "bitshiftleft" => |_, list| shifted(list, 1),
        "bitshiftright" => |_, list| shifted(list, -1),
        "bitlength" | "bit_length/1/1812" => {
            |_, list| some(Datum::Int(Arguments(list).text(0)?.len() as i64))
        }
        "bitoctetlength" => {
            |_, list| some(Datum::Int(Arguments(list).text(0)?.len().div_ceil(8) as i64))
        }
        "bitgetbit" => |_, list| {
            let arguments = Arguments(list);
            let (whole, at) = (arguments.text(0)?, *arguments.int(1)?);
            let found = usize::try_from(at).ok().and_then(|at| whole.as_bytes().get(at));
            let outside = EvaluationError::Other("bit index out of valid range");
            some(Datum::Int(i64::from(*found.ok_or(outside)? == b'1')))
        },
        _ => return None,
    })
}

fn bits(bits: impl Iterator<Item = bool>) -> Outcome {
    let digits: String = bits.map(|bit| if bit { '1' } else { '0' }).collect();
    some(Datum::Text(digits.into()))
}

fn combined(list: &[Option<Datum>], combine: fn(bool, bool) -> bool) -> Outcome {
    let arguments = Arguments(list);
    let (left, right) = (arguments.text(0)?, arguments.text(1)?);
    if left.len() != right.len() {
        return Err(EvaluationError::Other("bit strings of different sizes"));
    }
    let is_set = |digit: u8| digit == b'1';
    let pairs = left.bytes().zip(right.bytes());
    bits(pairs.map(|(left, right)| combine(is_set(left), is_set(right))))
}

/// The length stays; zeros come in.
fn shifted(list: &[Option<Datum>], left: i64) -> Outcome {
    let arguments = Arguments(list);
    let (whole, by) = (arguments.text(0)?.as_bytes(), *arguments.int(1)? * left);
    let at = |place: i64| usize::try_from(place + by).ok().and_then(|at| whole.get(at));
    bits((0..whole.len() as i64).map(|place| at(place) == Some(&b'1')))
}
