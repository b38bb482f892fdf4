//! How often rows are there, in few bytes.
//!
//! *Enters*: rows with how much more often they are there. *Leaves*: each row that is there at all, with how often, under a
//! number. *Invariant*: a row is there once, with a count that is not zero; it may be less than zero while sums
//! are made whose order does not matter.

use brooklet_sql::Row;

use super::bag::{Bag, Counted, FrozenBag};
use super::kept::KeptName;
use super::packing::{length, pack, unpack};
use super::values::{FrozenValues, Values};

/// A row's first byte in a piece, for a count that follows: too large for the byte.
const ELSEWHERE: u8 = u8::MAX;

/// How often rows are there, or how much more often than before.
pub struct Counts {
    /// Those of a row that are kept, sorted.
    columns: Box<[usize]>,
    /// Packed rows, made short.
    rows: Bag,
    values: Values,
    packed: Vec<u8>,
    short: Vec<u8>,
    /// A row could not be numbered.
    incomplete: bool,
}

impl Counts {
    /// None yet, of rows that have the columns of this name.
    #[must_use]
    pub fn new(name: &KeptName) -> Counts {
        let recur = name.columns.iter().map(|at| name.recurring.contains(*at)).collect();
        Counts::of(&name.columns, recur)
    }

    pub(super) fn of(columns: &[usize], recur: Box<[bool]>) -> Counts {
        Counts {
            columns: columns.into(),
            rows: Bag::default(),
            values: Values::new(recur),
            packed: Vec::new(),
            short: Vec::new(),
            incomplete: false,
        }
    }

    /// Counts a row so much more often, or less.
    pub fn add(&mut self, row: &Row, delta: i64) {
        let counted = self.change(row, delta);
        self.incomplete |= counted.is_none();
    }

    /// The same; `None` if there are more rows than can be numbered.
    pub(super) fn change(&mut self, row: &Row, delta: i64) -> Option<Counted> {
        self.packed.clear();
        pack(&self.columns, row, &mut self.packed);
        self.change_packed(delta)
    }

    fn change_packed(&mut self, delta: i64) -> Option<Counted> {
        if !self.values.is_used() {
            return self.rows.change(&self.packed, delta);
        }
        self.short.clear();
        let known = self.values.shorten(&self.packed, &mut self.short);
        if known && self.rows.find(&self.short).is_some() {
            let counted = self.rows.change(&self.short, delta)?;
            if counted.after == 0 {
                self.values.release(&self.short);
            }
            return Some(counted);
        }
        if delta == 0 {
            return Some(Counted { id: 0, before: 0, after: 0 });
        }
        self.short.clear();
        self.values.hold(&self.packed, &mut self.short)?;
        self.rows.change(&self.short, delta)
    }

    /// A row of its short form.
    fn unpack(&self, short: &[u8]) -> Option<Row> {
        if !self.values.is_used() {
            return unpack(&self.columns, short);
        }
        let mut packed = Vec::with_capacity(short.len() + 32);
        self.values.expand(short, &mut packed)?;
        unpack(&self.columns, &packed)
    }

    /// One of the rows.
    pub(super) fn row(&self, id: u32) -> Option<(Row, i64)> {
        Some((self.unpack(self.rows.content(id)?)?, self.rows.count(id)))
    }

    /// Every row with its number, and how often it is there.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, Row, i64)> {
        self.rows.iter().filter_map(|(id, short, count)| Some((id, self.unpack(short)?, count)))
    }

    /// Every row with how often it is there.
    pub fn rows(&self) -> impl Iterator<Item = (Row, i64)> {
        self.numbered().map(|(_, row, count)| (row, count))
    }

    /// The rows as they are now; not copied, but for large counts, until they change.
    pub(super) fn freeze(&self) -> Frozen {
        Frozen { rows: self.rows.freeze(), values: self.values.freeze() }
    }

    /// Adds the rows of a piece that [`Frozen::pieces`] has made, of the same columns. `None` if it is something
    /// else: then some of it may have been added.
    pub fn add_piece(&mut self, mut piece: &[u8]) -> Option<()> {
        while let Some((count, rest)) = piece.split_first() {
            let (count, rest) = match *count {
                ELSEWHERE => {
                    let (count, rest) = rest.split_first_chunk()?;
                    (i64::from(u32::from_le_bytes(*count)), rest)
                }
                count => (i64::from(count), rest),
            };
            let (row, rest) = rest.split_at_checked(length(self.columns.len(), rest)?)?;
            self.packed.clear();
            self.packed.extend_from_slice(row);
            self.change_packed(count)?;
            piece = rest;
        }
        Some(())
    }

    /// Whether every row is there, and as often as can be said.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.incomplete && self.rows.is_whole()
    }

    /// Gives back the room of rows that are gone, if they were most of all; says whether numbers of rows
    /// changed.
    pub(super) fn give_back(&mut self) -> bool {
        // Of values that are gone the rows need not know, few as they may be beside these.
        let rows = self.rows.bytes();
        if !self.rows.is_mostly_empty() && !self.values.is_mostly_empty_beside(rows) {
            return false;
        }
        let new = Counts::of(&self.columns, self.values.recur().into());
        let old = std::mem::replace(self, new);
        for (_, short, count) in old.rows.iter() {
            self.packed.clear();
            // As many as there were can be numbered.
            let added = match old.values.is_used() {
                true => old.values.expand(short, &mut self.packed),
                false => {
                    self.packed.extend_from_slice(short);
                    Some(())
                }
            };
            let added = added.and_then(|()| self.change_packed(count));
            self.incomplete |= added.is_none();
        }
        true
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.values.bytes()
    }
}

/// Rows as they were at one time.
pub struct Frozen {
    rows: FrozenBag,
    values: FrozenValues,
}

impl Frozen {
    /// The rows as bytes, in pieces of `bytes` or a row more. A row is its count in a byte, or 255 and the count as
    /// `u32`, and then its packed values.
    pub fn pieces(&self, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut rows = self.rows.iter();
        std::iter::from_fn(move || {
            let mut piece = Vec::new();
            while piece.len() < bytes
                && let Some((_, short, count)) = rows.next()
            {
                // No count that is kept is less than zero, or more than that.
                let count = u32::try_from(count).unwrap_or_default();
                match u8::try_from(count) {
                    Ok(count) if count != ELSEWHERE => piece.push(count),
                    _ => {
                        piece.push(ELSEWHERE);
                        piece.extend_from_slice(&count.to_le_bytes());
                    }
                }
                // What a row refers to was frozen with it.
                _ = self.values.expand(short, &mut piece);
            }
            (!piece.is_empty()).then_some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::row;

    #[test]
    fn what_is_frozen_comes_back_whatever_happens_meanwhile() {
        let all = |counts: &Counts| {
            let mut rows: Vec<_> = counts.rows().map(|(row, n)| (format!("{row:?}"), n)).collect();
            rows.sort();
            rows
        };
        let mut counts = Counts::of(&[0, 2], [true, false].into());
        for number in 0..5_000 {
            let often = [1, 1, 254, 255, 100_000][number as usize % 5];
            counts.add(&row(&[Some(number), None, Some(number % 7).filter(|n| *n > 0)]), often);
        }
        let (before, frozen) = (all(&counts), counts.freeze());
        for number in 0..5_000 {
            counts.add(
                &row(&[Some(number), None, Some(number % 7).filter(|n| *n > 0)]),
                number % 3 - 1,
            );
        }
        assert_ne!(all(&counts), before);
        let mut back = Counts::of(&[0, 2], [true, false].into());
        for piece in frozen.pieces(1_000) {
            assert_eq!(back.add_piece(&piece), Some(()));
            // Also those that were cut make no noise.
            (0..piece.len().min(40)).for_each(|cut| {
                _ = Counts::of(&[0, 2], [true, false].into()).add_piece(&piece[..cut])
            });
        }
        assert_eq!(all(&back), before);
        assert!(back.is_whole());
        assert_eq!(back.add_piece(&[1, 4, 0]), None);
    }

    #[test]
    fn counts_of_any_size_and_sign_are_summed() {
        let mut counts = Counts::of(&[0], [true].into());
        let deltas = [1, 252, 1, 1, 1, -300, 43, 1, 70_000, -69_999, -2, i64::from(u32::MAX), 1];
        let mut sum = 0;
        for delta in deltas {
            sum += delta;
            counts.add(&row(&[Some(7)]), delta);
            counts.add(&row(&[Some(8)]), 1);
            let rows: Vec<(Row, i64)> = counts.rows().collect();
            let seven = rows.iter().find(|(one, _)| *one == row(&[Some(7)]));
            assert_eq!(seven.map_or(0, |(_, count)| *count), sum);
            assert_eq!(rows.len(), if sum == 0 { 1 } else { 2 });
            assert_eq!(counts.is_whole(), u32::try_from(sum).is_ok(), "{sum}");
        }
        counts.add(&row(&[Some(7)]), -sum);
        counts.add(&row(&[Some(9)]), 0);
        assert_eq!((counts.len(), counts.is_whole()), (1, true));
    }
}
