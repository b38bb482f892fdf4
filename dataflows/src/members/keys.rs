//! The keys of all sets that select the same columns.
//!
//! *Enters*: rows of a set that come and go, by their key. *Leaves*: how many a set has of a key, which sets have
//! it, which keys a set has. *Invariant*: each key is there once, whoever has it; a pair whose last row the
//! open transaction took away stays, with none, until it is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use brooklet_sql::MemberKey;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::kept::mostly_empty;
use super::sets::SetId;

/// Bytes of a key besides its own: its slot, its allocation, its place in the table.
const KEY_BYTES: usize = 64;

/// Bytes of a key in a set, in both orders.
const PAIR_BYTES: usize = 44;

/// A key's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(u32);

#[derive(Default)]
pub(super) struct Keys {
    slots: Vec<Option<MemberKey>>,
    free: Vec<KeyId>,
    by_bytes: HashTable<KeyId>,
    hasher: DefaultHashBuilder,
    /// How many rows of a set have a key.
    by_key: BTreeMap<(KeyId, SetId), u64>,
    by_set: BTreeSet<(SetId, KeyId)>,
    bytes: usize,
}

impl Keys {
    /// A key's number, if any set has it or has just lost it.
    pub(super) fn find(&self, key: &MemberKey) -> Option<KeyId> {
        let same = |id: &KeyId| self.key(*id) == Some(key);
        self.by_bytes.find(self.hasher.hash_one(key), same).copied()
    }

    pub(super) fn key(&self, id: KeyId) -> Option<&MemberKey> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// Counts rows of a set in or out; says under which number.
    pub(super) fn change(&mut self, set: SetId, key: MemberKey, delta: i64) -> KeyId {
        let id = self.find(&key).unwrap_or_else(|| self.insert(key));
        self.by_set.insert((set, id));
        let count = self.by_key.entry((id, set)).or_default();
        *count = count.saturating_add_signed(delta);
        id
    }

    fn insert(&mut self, key: MemberKey) -> KeyId {
        let hash = self.hasher.hash_one(&key);
        self.bytes += KEY_BYTES + key.len();
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // More keys than that are more bytes than are ever allowed.
            KeyId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        self.slots[id.0 as usize] = Some(key);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash =
            |id: &KeyId| slots[id.0 as usize].as_ref().map_or(0, |key| hasher.hash_one(key));
        self.by_bytes.insert_unique(hash, id, rehash);
        id
    }

    /// Forgets a pair that has no rows left.
    pub(super) fn settle(&mut self, set: SetId, id: KeyId) {
        if self.count(set, id) > 0 {
            return;
        }
        self.by_key.remove(&(id, set));
        self.by_set.remove(&(set, id));
        if self.sets(id).next().is_some() {
            return;
        }
        let Some(key) = self.slots[id.0 as usize].take() else { return };
        self.bytes -= KEY_BYTES + key.len();
        let hash = self.hasher.hash_one(&key);
        if let Ok(entry) = self.by_bytes.find_entry(hash, |one| *one == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// A set is gone.
    pub(super) fn forget(&mut self, set: SetId) {
        let keys: Vec<KeyId> = self.of_set(set).collect();
        for id in keys {
            self.by_key.remove(&(id, set));
            self.settle(set, id);
        }
    }

    /// Gives back the room of keys that are gone, if they were most of all; none may be waiting to be settled.
    /// Numbers of keys change.
    pub(super) fn give_back(&mut self) {
        if !mostly_empty(self.slots.len(), self.by_bytes.len()) {
            return;
        }
        let old = std::mem::take(self);
        for ((id, set), count) in &old.by_key {
            if let Some(key) = old.key(*id) {
                let id = self.change(*set, key.clone(), 0);
                self.by_key.insert((id, *set), *count);
            }
        }
    }

    /// Rows of a set that have a key, now.
    pub(super) fn count(&self, set: SetId, id: KeyId) -> u64 {
        self.by_key.get(&(id, set)).copied().unwrap_or_default()
    }

    /// Whether a set has a key, or has just lost it.
    pub(super) fn has(&self, set: SetId, id: KeyId) -> bool {
        self.by_key.contains_key(&(id, set))
    }

    /// The sets that have a key, or have just lost it.
    pub(super) fn sets(&self, id: KeyId) -> impl Iterator<Item = SetId> {
        let pairs = self.by_key.range((id, SetId::MIN)..=(id, SetId::MAX));
        pairs.map(|((_, set), _)| *set)
    }

    /// The keys that a set has, or has just lost.
    pub(super) fn of_set(&self, set: SetId) -> impl Iterator<Item = KeyId> {
        let pairs = self.by_set.range((set, KeyId(u32::MIN))..=(set, KeyId(u32::MAX)));
        pairs.map(|(_, id)| *id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_set.is_empty()
    }

    /// Bytes, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + PAIR_BYTES * self.by_set.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::key;

    #[test]
    fn room_of_keys_that_are_gone_is_given_back_and_the_others_are_there() {
        let (mut keys, sets) = (Keys::default(), [SetId(1), SetId(2)]);
        let mut all = Vec::new();
        for number in 0..10_000 {
            for set in sets {
                all.push((set, number, keys.change(set, key(Some(number)), 3)));
            }
        }
        for (set, number, id) in all {
            if number % 1_000 != 7 {
                keys.change(set, key(Some(number)), -3);
                keys.settle(set, id);
            }
        }
        keys.give_back();
        assert_eq!((keys.slots.len(), keys.free.len(), keys.by_set.len()), (10, 0, 20));
        for number in 0..10_000 {
            let id = keys.find(&key(Some(number)));
            assert_eq!(id.is_some(), number % 1_000 == 7);
            assert!(sets.iter().all(|set| id.is_none_or(|id| keys.count(*set, id) == 3)));
        }
    }
}
