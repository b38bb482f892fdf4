//! Kept rows by what they have of some columns.
//!
//! *Enters*: rows that come and go, each under a number. *Leaves*: the numbers of those that may have a key.
//! *Invariant*: a key finds every row that has it, and may find others; a row of which cannot be said what it
//! has is found by every value.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};
use std::hash::{BuildHasher, Hash};

use brooklet_sql::{Found, Membership, Reading, Row, Source};
use hashbrown::DefaultHashBuilder;

/// Bytes of a key in an index: its place in the map, and the least that a list of rows takes.
const ENTRY_BYTES: usize = 48;

/// Indexes of the same rows, under numbers.
#[derive(Default)]
pub(super) struct Indexes {
    slots: Vec<Option<Index>>,
    by_name: HashMap<String, u32>,
    hasher: DefaultHashBuilder,
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
    by_key: HashMap<u64, Ids>,
    /// Rows with a NULL in one of several columns; of a source, those of which nothing can be said.
    partial: BTreeSet<u32>,
    entries: usize,
}

enum Ids {
    One(u32),
    Many(BTreeSet<u32>),
}

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
        let (by_key, partial) = (HashMap::new(), BTreeSet::new());
        let index = Index { by, name: name.clone(), users: 1, by_key, partial, entries: 0 };
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
            (index.by_key, index.partial) = (HashMap::new(), BTreeSet::new());
            index.entries = 0;
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
        match index.by_key.get(&self.hasher.hash_one(key)) {
            None => {}
            Some(Ids::One(id)) => _ = into.insert(*id),
            Some(Ids::Many(ids)) => into.extend(ids),
        }
        if partial {
            into.extend(&index.partial);
        }
    }

    /// How many rows a key finds, without those that are partial.
    pub(super) fn count<K: Hash + ?Sized>(&self, at: u32, key: &K) -> usize {
        let Some(Some(index)) = self.slots.get(at as usize) else { return 0 };
        match index.by_key.get(&self.hasher.hash_one(key)) {
            None => 0,
            Some(Ids::One(_)) => 1,
            Some(Ids::Many(ids)) => ids.len(),
        }
    }

    /// Bytes, by estimate.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |index: &Index| {
            ENTRY_BYTES * index.by_key.len() + 8 * (index.entries + index.partial.len())
        };
        self.slots.iter().flatten().map(bytes).sum()
    }
}

impl Index {
    /// Calls `each` with the hash of every key that a row has; says whether it is partial.
    fn read(
        &self,
        row: &Row,
        hasher: &DefaultHashBuilder,
        reading: &mut Reading,
        mut each: impl FnMut(u64),
    ) -> bool {
        match &self.by {
            By::Link(membership) => {
                let key = membership.outer_key(row);
                if key.has_null {
                    // One column alone that is NULL depends on whether there is any row, and on nothing
                    // else.
                    return membership.left.len() > 1;
                }
                each(hasher.hash_one(&key));
                false
            }
            By::Source(source) => {
                source.read(row, reading);
                if reading.found == Found::Keys {
                    reading.keys().for_each(|key| each(hasher.hash_one(key)));
                }
                reading.found == Found::Unknown
            }
        }
    }

    fn insert(&mut self, id: u32, row: &Row, hasher: &DefaultHashBuilder, reading: &mut Reading) {
        let mut hashes = Vec::with_capacity(1);
        if self.read(row, hasher, reading, |hash| hashes.push(hash)) {
            self.partial.insert(id);
        }
        for hash in hashes {
            let is_new = match self.by_key.entry(hash) {
                Entry::Vacant(entry) => {
                    entry.insert(Ids::One(id));
                    true
                }
                Entry::Occupied(mut entry) => match entry.get_mut() {
                    Ids::One(one) if *one == id => false,
                    Ids::One(one) => {
                        let both = BTreeSet::from([*one, id]);
                        entry.insert(Ids::Many(both));
                        true
                    }
                    Ids::Many(ids) => ids.insert(id),
                },
            };
            self.entries += usize::from(is_new);
        }
    }

    fn remove(&mut self, id: u32, row: &Row, hasher: &DefaultHashBuilder, reading: &mut Reading) {
        let mut hashes = Vec::with_capacity(1);
        if self.read(row, hasher, reading, |hash| hashes.push(hash)) {
            self.partial.remove(&id);
        }
        for hash in hashes {
            let (was_there, is_empty) = match self.by_key.get_mut(&hash) {
                Some(Ids::One(one)) => (*one == id, *one == id),
                Some(Ids::Many(ids)) => (ids.remove(&id), ids.is_empty()),
                None => (false, false),
            };
            self.entries -= usize::from(was_there);
            if is_empty {
                self.by_key.remove(&hash);
            }
        }
    }
}
