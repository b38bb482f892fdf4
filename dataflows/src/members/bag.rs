//! How often sequences of bytes are there.
//!
//! *Enters*: bytes with how much more often they are there. *Leaves*: those that are there at all, with how often, under a
//! number. *Invariant*: bytes are there once, with a count that is not zero; it may be less than zero while sums are made
//! whose order does not matter.

use std::hash::BuildHasher;

use hashbrown::HashMap;

use super::kept::mostly_empty;
use super::numbers::Numbers;
use super::slabs::Slabs;
use crate::hashing::Hashing;

/// A record's first byte, for a count that is in a map: too large for the byte, or less than zero.
const ELSEWHERE: u8 = u8::MAX;

#[derive(Default)]
pub(super) struct Bag {
    /// A count in a byte, and the bytes.
    slabs: Slabs,
    by_content: Numbers,
    elsewhere: HashMap<u32, i64>,
    hasher: Hashing,
    record: Vec<u8>,
}

/// What became of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) id: u32,
    pub(super) before: i64,
    pub(super) after: i64,
}

/// A record without its count.
fn content(record: &[u8]) -> &[u8] {
    record.get(1..).unwrap_or_default()
}

/// How often a record is there.
fn count(id: u32, record: &[u8], elsewhere: &HashMap<u32, i64>) -> i64 {
    match record.first() {
        None => 0,
        Some(&ELSEWHERE) => elsewhere.get(&id).copied().unwrap_or_default(),
        Some(count) => i64::from(*count),
    }
}

impl Bag {
    /// The number of these bytes, if they are there.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.find_hashed(self.hasher.hash_one(bytes), bytes)
    }

    fn find_hashed(&self, hash: u64, bytes: &[u8]) -> Option<u32> {
        self.by_content.find(hash, |id| self.content(id) == Some(bytes))
    }

    /// Counts bytes so much more often, or less; `None` if there are more than can be numbered.
    pub(super) fn change(&mut self, bytes: &[u8], delta: i64) -> Option<Counted> {
        let hash = self.hasher.hash_one(bytes);
        let Some(id) = self.find_hashed(hash, bytes) else {
            if delta == 0 {
                return Some(Counted { id: 0, before: 0, after: 0 });
            }
            let id = self.insert(hash, bytes)?;
            self.set(id, delta);
            return Some(Counted { id, before: 0, after: delta });
        };
        let before = self.count(id);
        let after = before.saturating_add(delta);
        match after {
            0 => self.remove(id, hash),
            after => self.set(id, after),
        }
        Some(Counted { id, before, after })
    }

    /// One less of those under a number.
    pub(super) fn release(&mut self, id: u32) {
        match self.count(id) {
            1 => {
                let hash = self.content(id).map(|bytes| self.hasher.hash_one(bytes));
                hash.into_iter().for_each(|hash| self.remove(id, hash));
            }
            count => self.set(id, count - 1),
        }
    }

    fn insert(&mut self, hash: u64, bytes: &[u8]) -> Option<u32> {
        self.record.clear();
        self.record.push(ELSEWHERE);
        self.record.extend_from_slice(bytes);
        let id = self.slabs.insert(&self.record)?;
        let (slabs, hasher) = (&self.slabs, &self.hasher);
        let hash_of = |id: u32| hasher.hash_one(slabs.get(id).map_or(&[][..], content));
        self.by_content.insert(hash, id, hash_of);
        Some(id)
    }

    fn remove(&mut self, id: u32, hash: u64) {
        self.slabs.remove(id);
        self.elsewhere.remove(&id);
        self.by_content.remove(hash, id);
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

    /// How often those under a number are there.
    pub(super) fn count(&self, id: u32) -> i64 {
        self.slabs.get(id).map_or(0, |record| count(id, record, &self.elsewhere))
    }

    /// The bytes under a number.
    pub(super) fn content(&self, id: u32) -> Option<&[u8]> {
        self.slabs.get(id).map(content)
    }

    /// All with their numbers, and how often they are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], i64)> {
        all(&self.slabs, &self.elsewhere)
    }

    /// All as they are now; not copied, but for large counts, until they change.
    pub(super) fn freeze(&self) -> FrozenBag {
        FrozenBag { slabs: self.slabs.clone(), elsewhere: self.elsewhere.clone() }
    }

    /// Whether every count is one that can be kept.
    pub(super) fn is_whole(&self) -> bool {
        self.elsewhere.values().all(|count| u32::try_from(*count).is_ok())
    }

    /// Whether most of its room is that of what is gone. What is elsewhere moves here, and nothing else with it.
    pub(super) fn is_mostly_empty(&mut self) -> bool {
        if mostly_empty(self.elsewhere.capacity(), self.elsewhere.len()) {
            self.elsewhere.shrink_to_fit();
        }
        self.slabs.is_mostly_empty()
    }

    /// Bytes of its room that hold nothing.
    pub(super) fn unused(&self) -> usize {
        self.slabs.unused()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_content.len()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.slabs.bytes() + self.by_content.bytes() + self.elsewhere.allocation_size()
    }
}

fn all<'a>(
    slabs: &'a Slabs,
    elsewhere: &'a HashMap<u32, i64>,
) -> impl Iterator<Item = (u32, &'a [u8], i64)> {
    slabs.iter().map(|(id, record)| (id, content(record), count(id, record, elsewhere)))
}

/// What was there at one time.
pub(super) struct FrozenBag {
    slabs: Slabs,
    elsewhere: HashMap<u32, i64>,
}

impl FrozenBag {
    /// As [`Bag::iter`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], i64)> {
        all(&self.slabs, &self.elsewhere)
    }

    /// As [`Bag::content`].
    pub(super) fn content(&self, id: u32) -> Option<&[u8]> {
        self.slabs.get(id).map(content)
    }
}
