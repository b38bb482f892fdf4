//! How often rows are there, in few bytes.
//!
//! *Enters*: rows with how much more often they are there. *Leaves*: each row that is there at all, with how often, under a
//! number. *Invariant*: a row is there once, with a count that is not zero; it may be less than zero while sums
//! are made whose order does not matter.

use std::hash::BuildHasher;

use brooklet_sql::Row;
use hashbrown::{HashMap, HashTable};

use super::kept::{KeptName, mostly_empty};
use super::packing::{length, pack, unpack};
use super::slabs::Slabs;
use crate::hashing::Hashing;

/// A record's first byte, for a count that is in a map: too large for the byte, or less than zero.
const ELSEWHERE: u8 = u8::MAX;

/// How often rows are there, or how much more often than before.
pub struct Counts {
    /// Those of a row that are kept, sorted.
    columns: Box<[usize]>,
    /// A row's count in a byte, and the row.
    slabs: Slabs,
    by_row: HashTable<u32>,
    elsewhere: HashMap<u32, i64>,
    hasher: Hashing,
    packed: Vec<u8>,
    /// A row could not be numbered.
    incomplete: bool,
}

/// What became of a row's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) id: u32,
    pub(super) before: i64,
    pub(super) after: i64,
}

/// What two have in common.
fn content(record: &[u8]) -> &[u8] {
    record.get(1..).unwrap_or_default()
}

impl Counts {
    /// None yet, of rows that have the columns of this name.
    #[must_use]
    pub fn new(name: &KeptName) -> Counts {
        Counts::of(&name.columns)
    }

    pub(super) fn of(columns: &[usize]) -> Counts {
        Counts {
            columns: columns.into(),
            slabs: Slabs::default(),
            by_row: HashTable::new(),
            elsewhere: HashMap::new(),
            hasher: Hashing::default(),
            packed: Vec::new(),
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
        self.packed.push(ELSEWHERE);
        pack(&self.columns, row, &mut self.packed);
        self.change_packed(delta)
    }

    fn change_packed(&mut self, delta: i64) -> Option<Counted> {
        let hash = self.hasher.hash_one(content(&self.packed));
        let (slabs, packed) = (&self.slabs, &self.packed);
        let same = |id: &u32| slabs.get(*id).is_some_and(|one| content(one) == content(packed));
        match self.by_row.find(hash, same).copied() {
            Some(id) => {
                let before = self.count(id);
                let after = before.saturating_add(delta);
                match after {
                    0 => self.remove(id, hash),
                    after => self.set(id, after),
                }
                Some(Counted { id, before, after })
            }
            None if delta == 0 => Some(Counted { id: 0, before: 0, after: 0 }),
            None => {
                let id = self.insert(hash)?;
                self.set(id, delta);
                Some(Counted { id, before: 0, after: delta })
            }
        }
    }

    /// Puts in what is packed.
    fn insert(&mut self, hash: u64) -> Option<u32> {
        let id = self.slabs.insert(&self.packed)?;
        let (slabs, hasher) = (&self.slabs, &self.hasher);
        let rehash = |id: &u32| hasher.hash_one(slabs.get(*id).map_or(&[][..], content));
        self.by_row.insert_unique(hash, id, rehash);
        Some(id)
    }

    fn remove(&mut self, id: u32, hash: u64) {
        self.slabs.remove(id);
        self.elsewhere.remove(&id);
        if let Ok(entry) = self.by_row.find_entry(hash, |one| *one == id) {
            entry.remove();
        }
    }

    fn set(&mut self, id: u32, count: i64) {
        match u8::try_from(count) {
            Ok(count) if (1..ELSEWHERE).contains(&count) => {
                self.slabs.mark(id, count);
                self.elsewhere.remove(&id);
            }
            _ => {
                self.slabs.mark(id, ELSEWHERE);
                self.elsewhere.insert(id, count);
            }
        }
    }

    fn count(&self, id: u32) -> i64 {
        match self.slabs.get(id).and_then(|record| record.first()) {
            None => 0,
            Some(&ELSEWHERE) => self.elsewhere.get(&id).copied().unwrap_or_default(),
            Some(count) => i64::from(*count),
        }
    }

    /// One of the rows.
    pub(super) fn row(&self, id: u32) -> Option<(Row, i64)> {
        let row = unpack(&self.columns, content(self.slabs.get(id)?))?;
        Some((row, self.count(id)))
    }

    /// Every row with its number, and how often it is there.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, Row, i64)> {
        self.slabs.iter().filter_map(|(id, record)| {
            Some((id, unpack(&self.columns, content(record))?, self.count(id)))
        })
    }

    /// Every row with how often it is there.
    pub fn rows(&self) -> impl Iterator<Item = (Row, i64)> {
        self.numbered().map(|(_, row, count)| (row, count))
    }

    /// The rows as they are now; not copied, but for large counts, until they change.
    pub(super) fn freeze(&self) -> Frozen {
        let (slabs, elsewhere) = (self.slabs.clone(), self.elsewhere.clone());
        Frozen { slabs, elsewhere }
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
            self.packed.push(ELSEWHERE);
            self.packed.extend_from_slice(row);
            self.change_packed(count)?;
            piece = rest;
        }
        Some(())
    }

    /// Whether every row is there, and as often as can be said.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.incomplete && self.elsewhere.values().all(|count| u32::try_from(*count).is_ok())
    }

    /// Gives back the room of rows that are gone, if they were most of all; says whether numbers of rows
    /// changed.
    pub(super) fn give_back(&mut self) -> bool {
        if !mostly_empty(self.by_row.capacity(), self.by_row.len()) && !self.slabs.is_mostly_empty()
        {
            return false;
        }
        let old = std::mem::replace(self, Counts::of(&self.columns));
        for (id, record) in old.slabs.iter() {
            self.packed.clear();
            self.packed.extend_from_slice(record);
            // As many as there were can be numbered.
            match self.insert(self.hasher.hash_one(content(record))) {
                Some(new) => self.set(new, old.count(id)),
                None => self.incomplete = true,
            }
        }
        true
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.by_row.len()
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slabs.bytes() + self.by_row.allocation_size() + self.elsewhere.allocation_size()
    }
}

/// Rows as they were at one time.
pub struct Frozen {
    slabs: Slabs,
    elsewhere: HashMap<u32, i64>,
}

impl Frozen {
    /// The rows as bytes, in pieces of `bytes` or a row more. A row is its count in a byte, or 255 and the count as
    /// `u32`, and then its packed values.
    pub fn pieces(&self, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut records = self.slabs.iter();
        std::iter::from_fn(move || {
            let mut piece = Vec::new();
            while piece.len() < bytes
                && let Some((id, record)) = records.next()
            {
                piece.push(record[0]);
                if record[0] == ELSEWHERE {
                    // No count that is kept is less than zero, or more than that.
                    let count =
                        self.elsewhere.get(&id).and_then(|count| u32::try_from(*count).ok());
                    piece.extend_from_slice(&count.unwrap_or_default().to_le_bytes());
                }
                piece.extend_from_slice(content(record));
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
        let mut counts = Counts::of(&[0, 2]);
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
        let mut back = Counts::of(&[0, 2]);
        for piece in frozen.pieces(1_000) {
            assert_eq!(back.add_piece(&piece), Some(()));
            // Also those that were cut make no noise.
            (0..piece.len().min(40))
                .for_each(|cut| _ = Counts::of(&[0, 2]).add_piece(&piece[..cut]));
        }
        assert_eq!(all(&back), before);
        assert!(back.is_whole());
        assert_eq!(back.add_piece(&[1, 4, 0]), None);
    }

    #[test]
    fn counts_of_any_size_and_sign_are_summed() {
        let mut counts = Counts::of(&[0]);
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
        assert_eq!((counts.len(), counts.is_whole(), counts.elsewhere.len()), (1, true, 0));
    }
}
