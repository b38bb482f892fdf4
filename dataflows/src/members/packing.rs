//! Rows in few bytes, and back.
//!
//! *Enters*: a row's values of certain columns. *Leaves*: bytes, and from them the same row. *Invariant*: two rows are
//! equal exactly where their bytes are; so whole numbers and UUIDs are packed only as Postgres prints them, and
//! other spellings are text.
//!
//! A value is a mark, and what the mark says that there is:
//!
//! ```text
//! 0        NULL
//! 1 … 8    a whole number in so many bytes
//! 9        a UUID, 16 bytes
//! 10       text, its length as u32 before it
//! 11 … 255 text of this length less 11
//! ```

use std::io::Write;

use brooklet_sql::{Row, RowBuilder};

const NULL: u8 = 0;
const NUMBER_MAX: u8 = 8;
const UUID: u8 = 9;
const LONG: u8 = 10;
const SHORT: u8 = 11;

/// Where the hyphens of a UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The longest text of a whole number, or a UUID.
const TEXT_MAX: usize = 36;

/// Appends a row's values of these columns, which are sorted.
pub(super) fn pack(columns: &[usize], row: &Row, into: &mut Vec<u8>) {
    for at in columns {
        let Some(text) = row.get(*at) else {
            into.push(NULL);
            continue;
        };
        if let Some(number) = number(text) {
            let bytes = number.to_le_bytes();
            let length = (1..8).find(|length| signed(&bytes[..*length]) == number).unwrap_or(8);
            into.push(length as u8);
            into.extend_from_slice(&bytes[..length]);
        } else if let Some(uuid) = uuid(text) {
            into.push(UUID);
            into.extend_from_slice(&uuid);
        } else {
            match u8::try_from(text.len() + usize::from(SHORT)) {
                Ok(mark) => into.push(mark),
                Err(_) => {
                    into.push(LONG);
                    // No value of Postgres is longer than 1 GiB.
                    into.extend_from_slice(&(text.len() as u32).to_le_bytes());
                }
            }
            into.extend_from_slice(text);
        }
    }
}

/// The row of which these columns were packed; the others are empty. `None` for bytes that [`pack`] does not
/// make.
pub(super) fn unpack(columns: &[usize], mut bytes: &[u8]) -> Option<Row> {
    let width = columns.last().map_or(0, |last| last + 1);
    let mut row = RowBuilder::with_room(width, 2 * bytes.len()).ok()?;
    let mut columns = columns.iter().peekable();
    for place in 0..width {
        match columns.next_if(|at| **at == place) {
            Some(_) => bytes = unpack_value(bytes, &mut row)?,
            None => row.push(None).ok()?,
        }
    }
    row.finish().ok()
}

/// How many bytes the values of so many columns take at the beginning of `bytes`; `None` if they do not begin with
/// what [`pack`] makes.
pub(super) fn length(columns: usize, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..columns {
        let mark = *bytes.get(at)?;
        at += 1;
        at += match mark {
            NULL => 0,
            1..=NUMBER_MAX => usize::from(mark),
            UUID => 16,
            LONG => {
                let length = bytes.get(at..)?.first_chunk()?;
                at += 4;
                u32::from_le_bytes(*length) as usize
            }
            mark => usize::from(mark - SHORT),
        };
    }
    (at <= bytes.len()).then_some(at)
}

/// Appends the first value; told what follows it.
fn unpack_value<'a>(bytes: &'a [u8], row: &mut RowBuilder) -> Option<&'a [u8]> {
    let (mark, rest) = bytes.split_first()?;
    let length = match *mark {
        NULL => 0,
        1..=NUMBER_MAX => usize::from(*mark),
        UUID => 16,
        LONG => {
            let (length, rest) = rest.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            row.push(Some(text)).ok()?;
            return Some(rest);
        }
        mark => usize::from(mark - SHORT),
    };
    let (value, rest) = rest.split_at_checked(length)?;
    let mut text = [0; TEXT_MAX];
    let pushed = match *mark {
        NULL => row.push(None),
        1..=NUMBER_MAX => {
            let mut left = &mut text[..];
            write!(left, "{}", signed(value)).ok()?;
            let length = TEXT_MAX - left.len();
            row.push(Some(&text[..length]))
        }
        UUID => {
            print_uuid(value, &mut text);
            row.push(Some(&text))
        }
        _ => row.push(Some(value)),
    };
    pushed.ok()?;
    Some(rest)
}

/// A whole number, if this is how Postgres prints it.
fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = digits.iter().all(u8::is_ascii_digit);
    let first_is_right = digits.first() != Some(&b'0') || text == b"0";
    let is_number = plain && first_is_right && (1..=19).contains(&digits.len());
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Of some bytes, the lowest first.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let mut all = if negative { [0xFF; 8] } else { [0; 8] };
    all.iter_mut().zip(bytes).for_each(|(one, byte)| *one = *byte);
    i64::from_le_bytes(all)
}

/// The bytes of a UUID, if this is how Postgres prints it.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != TEXT_MAX {
        return None;
    }
    let mut uuid = [0; 16];
    let mut digits = 0;
    for (at, byte) in text.iter().enumerate() {
        let digit = match byte {
            b'-' if HYPHENS.contains(&at) => continue,
            _ if HYPHENS.contains(&at) => return None,
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        uuid[digits / 2] = uuid[digits / 2] << 4 | digit;
        digits += 1;
    }
    Some(uuid)
}

fn print_uuid(uuid: &[u8], text: &mut [u8; TEXT_MAX]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = uuid.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let places = (0..TEXT_MAX).filter(|at| !HYPHENS.contains(at));
    text.fill(b'-');
    places.zip(digits).for_each(|(at, digit)| text[at] = DIGITS[usize::from(digit)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUIDS: [&str; 5] = [
        "00000000-0000-0000-0000-000000000000",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g",
    ];

    fn texts() -> Vec<Option<String>> {
        let mut texts: Vec<Option<String>> = vec![None];
        let words = ["", "t", "-", "-0", "00", "01", "-01", "+1", "1.0", "1e3", " 1", "süd", "٣"];
        texts.extend(words.iter().chain(&UUIDS).map(|text| Some((*text).to_owned())));
        for length in [243, 244, 245, 246, 300, 70_000] {
            texts.push(Some("x".repeat(length)));
            texts.push(Some("9".repeat(length)));
        }
        for power in 0..64 {
            for near in [-1, 0, 1] {
                let number = (1_i128 << power) + near;
                texts.extend([Some(number.to_string()), Some((-number).to_string())]);
            }
        }
        texts.extend(["9223372036854775808", "-9223372036854775809"].map(|s| Some(s.to_owned())));
        texts
    }

    #[test]
    fn a_row_is_the_same_after_packing_and_differs_where_another_does() {
        let texts = texts();
        let mut seen = std::collections::HashMap::new();
        for (at, text) in texts.iter().enumerate() {
            let other = &texts[(7 * at + 3) % texts.len()];
            let row = Row::new([None, text.as_deref(), None, other.as_deref()]).unwrap();
            let mut bytes = Vec::new();
            pack(&[1, 3], &row, &mut bytes);
            assert_eq!(unpack(&[1, 3], &bytes).as_ref(), Some(&row), "{text:?}, {other:?}");
            assert_eq!(length(2, &[&bytes[..], b"more"].concat()), Some(bytes.len()));
            let cuts = (0..bytes.len()).filter(|cut| length(2, &bytes[..*cut]).is_some());
            assert_eq!(cuts.count(), 0, "{text:?}, {other:?}");
            if let Some(same) = seen.insert(bytes, row.clone()) {
                assert_eq!(same, row);
            }
        }
        let row = Row::new(None::<Option<&str>>).unwrap();
        assert_eq!(unpack(&[], &[]), Some(row), "of no column");
    }

    #[test]
    fn numbers_and_uuids_take_as_many_bytes_as_they_have() {
        for (text, length) in
            [("0", 2), ("-128", 2), ("128", 3), ("40000", 4), ("9223372036854775807", 9)]
                .into_iter()
                .chain([(UUIDS[1], 17), (UUIDS[2], 37), ("t", 2)])
        {
            let (row, mut bytes) = (Row::new([Some(text)]).unwrap(), Vec::new());
            pack(&[0], &row, &mut bytes);
            assert_eq!(bytes.len(), length, "{text}");
        }
    }

    #[test]
    fn bytes_that_nobody_packed_are_no_row() {
        for bytes in [&[][..], &[8, 1], &[9, 0], &[10, 1, 0], &[10, 9, 0, 0, 0, 1], &[13, b'a']] {
            assert_eq!(unpack(&[0], bytes), None, "{bytes:?}");
        }
    }
}
