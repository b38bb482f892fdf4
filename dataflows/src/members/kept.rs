//! The rows of a table, the columns that somebody needs of them, in memory.
//!
//! *Invariant*: it is a multiset of rows, each with only the columns that are kept; an index finds every row
//! whose key is not NULL by that key, and may find others.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use brooklet_sql::{MemberKey, Membership, Row, RowBuilder, Source};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::indexes::{By, Indexes};

/// What a row costs besides its bytes: its slot, its place in the table, its own allocation. Measured with an
/// index over five rows a key: 500,000 rows of 85 bytes and 100,000 of 24 took 230 bytes a row.
pub const KEPT_ROW_OVERHEAD: usize = 144;

/// Fewer empty places than these are kept for what comes next.
const ROOM_KEPT: usize = 1_024;

/// Whether so many places are too many for what is in them. Then they are made anew, which costs as much as there is,
/// and three times as many have gone since.
pub(super) fn mostly_empty(places: usize, used: usize) -> bool {
    places > ROOM_KEPT && 4 * used < places
}

/// Which rows: of which table, which columns of them (sorted).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeptName {
    /// `pg_class.oid`.
    pub table: u32,
    /// Places in the table.
    pub columns: Box<[usize]>,
}

impl KeptName {
    /// A row with these columns only; the others are left empty, so that places stay.
    #[must_use]
    pub fn project(&self, row: &Row) -> Option<Row> {
        self.build(|place, _| row.get(place))
    }

    /// A row whose values are these columns' and no others.
    #[must_use]
    pub fn place(&self, values: &Row) -> Option<Row> {
        self.build(|_, number| values.get(number))
    }

    fn build<'a>(&self, value: impl Fn(usize, usize) -> Option<&'a [u8]>) -> Option<Row> {
        let width = self.columns.last().map_or(0, |last| last + 1);
        let mut row = RowBuilder::new(width).ok()?;
        let mut number = 0;
        for place in 0..width {
            let kept = self.columns.get(number) == Some(&place);
            row.push(if kept { value(place, number) } else { None }).ok()?;
            number += usize::from(kept);
        }
        row.finish().ok()
    }
}

/// The rows.
#[derive(Default)]
pub struct Kept {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_row: HashTable<u32>,
    hasher: DefaultHashBuilder,
    indexes: Indexes,
    bytes: usize,
}

struct Slot {
    row: Row,
    count: u32,
}

/// More rows were taken away than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing;

impl Kept {
    /// Adds or takes copies of a row.
    pub fn change(&mut self, row: &Row, delta: i64) -> Result<(), Missing> {
        let hash = self.hasher.hash_one(row.as_bytes());
        let slots = &mut self.slots;
        let same = |id: &u32| slots[*id as usize].as_ref().is_some_and(|slot| slot.row == *row);
        let found = self.by_row.find(hash, same).copied();
        let before = found.map_or(0, |id| slots[id as usize].as_ref().map_or(0, |slot| slot.count));
        let after = u32::try_from(i64::from(before) + delta).map_err(|_| Missing)?;
        match (found, after) {
            (None, 0) => {}
            (None, count) => self.insert(row.clone(), count, hash),
            (Some(id), 0) => self.remove(id, hash),
            (Some(id), count) => {
                self.slots[id as usize].iter_mut().for_each(|slot| slot.count = count);
            }
        }
        Ok(())
    }

    fn insert(&mut self, row: Row, count: u32, hash: u64) {
        self.bytes += row.as_bytes().len() + KEPT_ROW_OVERHEAD;
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // More rows than that are more bytes than are ever allowed.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.indexes.insert(id, &row);
        self.slots[id as usize] = Some(Slot { row, count });
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |id: &u32| match &slots[*id as usize] {
            Some(slot) => hasher.hash_one(slot.row.as_bytes()),
            None => 0,
        };
        self.by_row.insert_unique(hash, id, rehash);
    }

    fn remove(&mut self, id: u32, hash: u64) {
        let Some(slot) = self.slots[id as usize].take() else { return };
        self.bytes -= slot.row.as_bytes().len() + KEPT_ROW_OVERHEAD;
        if let Ok(entry) = self.by_row.find_entry(hash, |one| *one == id) {
            entry.remove();
        }
        self.indexes.remove(id, &slot.row);
        self.free.push(id);
    }

    /// Gives back the room of rows that are gone, if they were most of all. Numbers of rows change.
    pub(super) fn give_back(&mut self) {
        if !mostly_empty(self.slots.len(), self.by_row.len()) {
            return;
        }
        let rows: Vec<Slot> = std::mem::take(&mut self.slots).into_iter().flatten().collect();
        (self.free, self.by_row, self.bytes) = (Vec::new(), HashTable::new(), 0);
        self.indexes.clear();
        for Slot { row, count } in rows {
            let hash = self.hasher.hash_one(row.as_bytes());
            self.insert(row, count, hash);
        }
    }

    /// Every row with how often it is there.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &Row, u32)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(id, slot)| slot.as_ref().map(|slot| (id as u32, &slot.row, slot.count)))
    }

    /// One of them.
    #[must_use]
    pub fn row(&self, id: u32) -> Option<(&Row, u32)> {
        let slot = self.slots.get(id as usize)?.as_ref()?;
        Some((&slot.row, slot.count))
    }

    /// How many different rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_row.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_row.is_empty()
    }

    /// Bytes that the rows take, by estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.indexes.bytes()
    }

    /// From now on rows are found by what this tests; told by which number. Whoever asks lets go of it
    /// again.
    pub(super) fn add_link(&mut self, membership: &Membership) -> u32 {
        let (index, is_new) = self.indexes.add(By::Link(Box::new(membership.clone())));
        self.fill(index, is_new);
        index
    }

    /// The same by what a row has of a source.
    pub(super) fn add_source(&mut self, source: &Source) -> u32 {
        let (index, is_new) = self.indexes.add(By::Source(source.clone()));
        self.fill(index, is_new);
        index
    }

    fn fill(&mut self, index: u32, is_new: bool) {
        for (id, slot) in self.slots.iter().enumerate().filter(|_| is_new) {
            if let Some(slot) = slot {
                self.indexes.insert_into(index, id as u32, &slot.row);
            }
        }
    }

    /// One user less of an index.
    pub(super) fn release(&mut self, index: u32) {
        self.indexes.release(index);
    }

    /// The rows that may have this key; with `partial` also those of which one of several columns is
    /// NULL.
    pub(super) fn find(
        &self,
        index: u32,
        key: &MemberKey,
        partial: bool,
        into: &mut BTreeSet<u32>,
    ) {
        self.indexes.find(index, key, partial, into);
    }

    /// The rows that may have this of a source.
    pub(super) fn find_value(&self, index: u32, key: &[u8], into: &mut BTreeSet<u32>) {
        self.indexes.find(index, key, true, into);
    }

    /// How many rows these find.
    pub(super) fn count<K: std::hash::Hash + ?Sized>(&self, index: u32, key: &K) -> usize {
        self.indexes.count(index, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{key, membership, row};

    #[test]
    fn room_of_rows_that_are_gone_is_given_back_and_the_others_are_found() {
        let row = |number: i64| row(&[Some(number), Some(number)]);
        let mut kept = Kept::default();
        let index = kept.add_link(&membership("parent_id IN (SELECT id FROM parent)"));
        (0..10_000).for_each(|number| kept.change(&row(number), 2).unwrap());
        (0..10_000).filter(|n| n % 1_000 != 7).for_each(|n| kept.change(&row(n), -2).unwrap());
        kept.give_back();
        assert_eq!((kept.len(), kept.slots.len(), kept.free.len()), (10, 10, 0));
        for number in 0..10_000 {
            let mut found = BTreeSet::new();
            kept.find(index, &key(Some(number)), false, &mut found);
            let rows: Vec<_> = found.iter().map(|id| kept.row(*id).unwrap()).collect();
            let there = number % 1_000 == 7;
            let row = row(number);
            assert_eq!(rows, if there { vec![(&row, 2)] } else { vec![] });
        }
        kept.change(&row(7), -2).unwrap();
        assert_eq!(kept.len(), 9);
    }
}
