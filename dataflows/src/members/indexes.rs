//! Kept rows by what they have of some columns.
//!
//! *Enters*: rows that come and go, each under a number. *Leaves*: the numbers of those that may have a key.
//! *Invariant*: a key finds every row that has it, and may find others; a row of which cannot be said what it
//! has is found by every value.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash};

use brooklet_sql::{Found, Membership, Reading, Row, Source};

use super::pairs::{Pairs, pair};
use crate::hashing::Hashing;

/// Indexes of the same rows, under numbers.
#[derive(Default)]
pub(super) struct Indexes {
    slots: Vec<Option<Index>>,
    by_name: HashMap<String, u32>,
    hasher: Hashing,
    reading: Reading,
}

/// What an index reads of a row.
pub(super) enum By {
    /// The columns that a subquery is compared with.
    Link(Box<Membership>),
    /// What a filter wants something of.
    Source(Source),
}

struct Index {
    by: By,
    name: String,
    users: usize,
    /// The hash of a key, and a row that has it. Two keys of one hash find each other's rows.
    by_key: Pairs,
    /// Rows with a NULL in one of several columns; of a source, those of which nothing can be said.
    partial: Pairs,
}

/// All that is kept of a key.
fn hash<K: Hash + ?Sized>(hasher: &Hashing, key: &K) -> u32 {
    (hasher.hash_one(key) >> 32) as u32
}

/// What rows that are partial are under.
const PARTIAL: u32 = 0;

impl Indexes {
    /// One user more of an index; also says whether it is new, and has to be filled.
    pub(super) fn add(&mut self, by: By) -> (u32, bool) {
        let name = match &by {
            By::Link(membership) => membership.link_name(),
            By::Source(source) => format!("of {}", source.name()),
        };
        if let Some(at) = self.by_name.get(&name)
            && let Some(index) = &mut self.slots[*at as usize]
        {
            index.users += 1;
            return (*at, false);
        }
        let (by_key, partial) = (Pairs::default(), Pairs::default());
        let index = Index { by, name: name.clone(), users: 1, by_key, partial };
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        match self.slots.get_mut(at) {
            Some(slot) => *slot = Some(index),
            None => self.slots.push(Some(index)),
        }
        // There are as many as ways to read a table's columns in filters.
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        self.by_name.insert(name, at);
        (at, true)
    }

    /// One user less; the last one takes it along.
    pub(super) fn release(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        let Some(index) = slot else { return };
        index.users -= 1;
        if index.users == 0 {
            self.by_name.remove(&index.name);
            *slot = None;
        }
    }

    /// No row is there any more.
    pub(super) fn clear(&mut self) {
        for index in self.slots.iter_mut().flatten() {
            (index.by_key, index.partial) = (Pairs::default(), Pairs::default());
        }
    }

    pub(super) fn insert(&mut self, id: u32, row: &Row) {
        for index in self.slots.iter_mut().flatten() {
            index.insert(id, row, &self.hasher, &mut self.reading);
        }
    }

    /// Into one of them.
    pub(super) fn insert_into(&mut self, at: u32, id: u32, row: &Row) {
        if let Some(Some(index)) = self.slots.get_mut(at as usize) {
            index.insert(id, row, &self.hasher, &mut self.reading);
        }
    }

    pub(super) fn remove(&mut self, id: u32, row: &Row) {
        for index in self.slots.iter_mut().flatten() {
            index.remove(id, row, &self.hasher, &mut self.reading);
        }
    }

    pub(super) fn find<K: Hash + ?Sized>(
        &self,
        at: u32,
        key: &K,
        partial: bool,
        into: &mut BTreeSet<u32>,
    ) {
        let Some(Some(index)) = self.slots.get(at as usize) else { return };
        into.extend(index.by_key.of(hash(&self.hasher, key)));
        if partial {
            into.extend(index.partial.of(PARTIAL));
        }
    }

    /// How many rows a key finds, without those that are partial.
    pub(super) fn count<K: Hash + ?Sized>(&self, at: u32, key: &K) -> usize {
        let Some(Some(index)) = self.slots.get(at as usize) else { return 0 };
        index.by_key.count(hash(&self.hasher, key))
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |index: &Index| index.by_key.bytes() + index.partial.bytes();
        self.slots.iter().flatten().map(bytes).sum()
    }
}

impl Index {
    /// Calls `each` with the hash of every key that a row has; says whether it is partial.
    fn read(
        &self,
        row: &Row,
        hasher: &Hashing,
        reading: &mut Reading,
        mut each: impl FnMut(u32),
    ) -> bool {
        match &self.by {
            By::Link(membership) => {
                let key = membership.outer_key(row);
                if key.has_null {
                    // One column alone that is NULL depends on whether there is any row, and on nothing
                    // else.
                    return membership.left.len() > 1;
                }
                each(hash(hasher, &key));
                false
            }
            By::Source(source) => {
                source.read(row, reading);
                if reading.found == Found::Keys {
                    reading.keys().for_each(|key| each(hash(hasher, key)));
                }
                reading.found == Found::Unknown
            }
        }
    }

    fn insert(&mut self, id: u32, row: &Row, hasher: &Hashing, reading: &mut Reading) {
        let mut hashes = Vec::with_capacity(1);
        if self.read(row, hasher, reading, |hash| hashes.push(hash)) {
            self.partial.insert(pair(PARTIAL, id));
        }
        hashes.into_iter().for_each(|hash| _ = self.by_key.insert(pair(hash, id)));
    }

    fn remove(&mut self, id: u32, row: &Row, hasher: &Hashing, reading: &mut Reading) {
        let mut hashes = Vec::with_capacity(1);
        if self.read(row, hasher, reading, |hash| hashes.push(hash)) {
            self.partial.remove(pair(PARTIAL, id));
        }
        hashes.into_iter().for_each(|hash| _ = self.by_key.remove(pair(hash, id)));
    }
}
