//! Types whose values are a few bytes or bits: `macaddr`, `macaddr8`, `xid8`, `pg_lsn`, `bit`, `bit varying`.
//!
//! *Invariant*: the order of the bytes, or of the digits of bits, is that of the values.

use std::sync::Arc;

use crate::datum::Datum;
use crate::oid::Oid;

/// Reads the forms that Postgres prints, and those of addresses in capitals and with `-`; `None` of others, and of other
/// types.
pub(super) fn read(oid: Oid, text: &str) -> Option<Datum> {
    Some(match oid {
        Oid::MACADDR => bytes(&address(text, 6)?),
        Oid::MACADDR8 => bytes(&address(text, 8)?),
        Oid::XID8 => bytes(&whole(text)?.to_be_bytes()),
        Oid::PG_LSN => {
            let (high, low) = text.split_once('/')?;
            bytes(&[half(high)?.to_be_bytes(), half(low)?.to_be_bytes()].concat())
        }
        Oid::BIT | Oid::VARBIT => {
            let digits = text.strip_prefix(['b', 'B']).unwrap_or(text);
            digits.bytes().all(|digit| matches!(digit, b'0' | b'1')).then(|| Datum::text(digits))?
        }
        _ => return None,
    })
}

/// What Postgres prints of such bytes; `None` of other types.
pub(super) fn write(oid: Oid, bytes: &[u8]) -> Option<String> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    Some(match oid {
        Oid::MACADDR | Oid::MACADDR8 => {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(":")
        }
        Oid::XID8 => number(bytes).to_string(),
        Oid::PG_LSN => format!("{:X}/{:X}", number(bytes) >> 32, number(bytes) & 0xffff_ffff),
        _ => return None,
    })
}

fn bytes(bytes: &[u8]) -> Datum {
    Datum::Bytes(Arc::from(bytes))
}

/// So many pairs of digits with one sign between them.
fn address(text: &str, count: usize) -> Option<Vec<u8>> {
    let between = if text.contains('-') { '-' } else { ':' };
    let pair = |pair: &str| {
        let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    let pairs: Vec<u8> = text.split(between).map(pair).collect::<Option<_>>()?;
    (pairs.len() == count).then_some(pairs)
}

/// A number as it is printed: zeros before it are octal to some versions.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

fn half(text: &str) -> Option<u32> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok())?
}
