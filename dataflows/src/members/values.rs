//! Packed rows in which values that recur are numbers.
//!
//! *Enters*: packed rows. *Leaves*: shorter ones, and from them the same. *Invariant*: a value that some row has is there once,
//! counted by the rows that have it; so two rows are equal exactly where the short ones are.
//!
//! In a short row a value of these columns is a mark, and its number in three bytes or four. Shorter values are as they
//! were packed.

use super::bag::{Bag, FrozenBag};
use super::packing::length;

/// A number of three bytes. As a packed value's mark it would be a text that is too long to be left as it is.
const NARROW: u8 = 254;

/// The same of four.
const WIDE: u8 = 255;

/// Packed values of fewer bytes are left: a number takes up to five.
const LEAST: usize = 6;

/// Rows are made anew for the room of values that are gone once that is an eighth of theirs.
const MUCH: usize = if cfg!(test) { usize::MAX } else { 8 };

/// Values of some of a row's columns.
#[derive(Default)]
pub(super) struct Values {
    /// Of each packed column, whether its values recur.
    recur: Box<[bool]>,
    values: Bag,
}

/// The packed values of so many columns, one by one.
fn each(columns: usize, mut packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..columns).map_while(move |_| {
        let (value, rest) = packed.split_at_checked(length(1, packed)?)?;
        packed = rest;
        Some(value)
    })
}

fn push(number: u32, into: &mut Vec<u8>) {
    let bytes = number.to_le_bytes();
    match bytes {
        [a, b, c, 0] => into.extend([NARROW, a, b, c]),
        [a, b, c, d] => into.extend([WIDE, a, b, c, d]),
    }
}

/// The number that a short value begins with, and how many bytes it takes.
fn number(short: &[u8]) -> Option<(u32, usize)> {
    match *short {
        [NARROW, a, b, c, ..] => Some((u32::from_le_bytes([a, b, c, 0]), 4)),
        [WIDE, a, b, c, d, ..] => Some((u32::from_le_bytes([a, b, c, d]), 5)),
        _ => None,
    }
}

/// Appends the packed row that a short one stands for.
fn expand<'a>(
    recur: &[bool],
    mut short: &[u8],
    value: impl Fn(u32) -> Option<&'a [u8]>,
    into: &mut Vec<u8>,
) -> Option<()> {
    for recurs in recur {
        let length = match number(short).filter(|_| *recurs) {
            Some((number, length)) => {
                into.extend_from_slice(value(number)?);
                length
            }
            None => {
                let length = length(1, short)?;
                into.extend_from_slice(&short[..length]);
                length
            }
        };
        short = &short[length..];
    }
    Some(())
}

impl Values {
    /// None yet.
    pub(super) fn new(recur: Box<[bool]>) -> Values {
        Values { recur, values: Bag::default() }
    }

    /// Whether there is a column whose values recur: else a packed row is short as it is.
    pub(super) fn is_used(&self) -> bool {
        self.recur.contains(&true)
    }

    /// The columns that this is about.
    pub(super) fn recur(&self) -> &[bool] {
        &self.recur
    }

    /// Makes a packed row short, if all its values are there: else no row that is there is the same.
    pub(super) fn shorten(&self, packed: &[u8], into: &mut Vec<u8>) -> bool {
        for (value, recurs) in each(self.recur.len(), packed).zip(&self.recur) {
            match *recurs && value.len() >= LEAST {
                true => match self.values.find(value) {
                    Some(number) => push(number, into),
                    None => return false,
                },
                false => into.extend_from_slice(value),
            }
        }
        true
    }

    /// Makes a packed row short that comes, and counts its values. `None` if there are more than can be numbered.
    pub(super) fn hold(&mut self, packed: &[u8], into: &mut Vec<u8>) -> Option<()> {
        for (value, recurs) in each(self.recur.len(), packed).zip(&self.recur) {
            match *recurs && value.len() >= LEAST {
                true => push(self.values.change(value, 1)?.id, into),
                false => into.extend_from_slice(value),
            }
        }
        Some(())
    }

    /// A short row goes.
    pub(super) fn release(&mut self, mut short: &[u8]) {
        for recurs in &self.recur {
            let found = number(short).filter(|_| *recurs);
            found.iter().for_each(|(number, _)| self.values.release(*number));
            let Some(length) = found.map(|(_, length)| length).or_else(|| length(1, short)) else {
                return;
            };
            short = &short[length..];
        }
    }

    /// Appends the packed row that a short one stands for.
    pub(super) fn expand(&self, short: &[u8], into: &mut Vec<u8>) -> Option<()> {
        expand(&self.recur, short, |number| self.values.content(number), into)
    }

    /// As it is now.
    pub(super) fn freeze(&self) -> FrozenValues {
        FrozenValues { recur: self.recur.clone(), values: self.values.freeze() }
    }

    /// Whether most of its room is that of what is gone, and that is much beside so many bytes.
    pub(super) fn is_mostly_empty_beside(&mut self, bytes: usize) -> bool {
        self.values.is_mostly_empty() && self.values.unused() > bytes / MUCH
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }
}

/// Values as they were at one time.
pub(super) struct FrozenValues {
    recur: Box<[bool]>,
    values: FrozenBag,
}

impl FrozenValues {
    /// As [`Values::expand`].
    pub(super) fn expand(&self, short: &[u8], into: &mut Vec<u8>) -> Option<()> {
        match self.recur.contains(&true) {
            true => expand(&self.recur, short, |number| self.values.content(number), into),
            false => {
                into.extend_from_slice(short);
                Some(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::packing::pack;
    use brooklet_sql::Row;

    fn packed(texts: [&str; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(&[0, 1, 2], &Row::new(texts.map(Some)).unwrap(), &mut bytes);
        bytes
    }

    #[test]
    fn a_short_row_is_the_same_row_and_its_values_go_with_the_last() {
        let mut values = Values::new([true, false, true].into());
        let long = "x".repeat(244);
        let texts = ["", "7", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "12345", &long, "süden"];
        let rows: Vec<Vec<u8>> =
            (0..216).map(|at| packed([texts[at % 6], texts[at / 6 % 6], texts[at / 36]])).collect();
        let mut shorts = Vec::new();
        for packed in &rows {
            let mut short = Vec::new();
            values.hold(packed, &mut short).unwrap();
            let mut again = Vec::new();
            assert!(values.shorten(packed, &mut again));
            assert_eq!(again, short);
            shorts.push(short);
        }
        assert_eq!(values.values.len(), 3, "those of six bytes and more");
        let mut different = shorts.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), rows.len());
        let frozen = values.freeze();
        for (short, packed) in shorts.iter().zip(&rows) {
            let mut back = Vec::new();
            values.expand(short, &mut back).unwrap();
            assert_eq!(back, *packed);
            values.release(short);
        }
        assert_eq!(values.values.len(), 0);
        let mut again = Vec::new();
        assert!(!values.shorten(&rows[215], &mut again), "no row has this value");
        for (short, packed) in shorts.iter().zip(&rows) {
            let mut back = Vec::new();
            frozen.expand(short, &mut back).unwrap();
            assert_eq!(back, *packed, "as it was");
        }
    }

    #[test]
    fn numbers_of_any_size_are_read_back() {
        for one in [0, 1, 255, 1 << 23, (1 << 24) - 1, 1 << 24, u32::MAX] {
            let mut bytes = Vec::new();
            push(one, &mut bytes);
            assert_eq!(number(&bytes), Some((one, bytes.len())));
            assert_eq!(bytes.len(), if one < 1 << 24 { 4 } else { 5 });
        }
        assert_eq!(number(&[12, 7]), None);
    }
}
