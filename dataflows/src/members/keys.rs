//! The keys of all sets that select the same columns.
//!
//! *Enters*: rows of a set that come and go, by their key. *Leaves*: how many a set has of a key, which sets have
//! it, which keys a set has. *Invariant*: each key is there once, whoever has it; a pair whose last row the
//! open transaction took away stays, with none, until it is settled.

use brooklet_sql::MemberKey;
use hashbrown::HashMap;

use super::bag::Bag;
use super::kept::mostly_empty;
use super::pairs::{Pairs, other, pair};
use super::sets::SetId;

/// A key's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(u32);

#[derive(Default)]
pub(super) struct Keys {
    /// Each key, counted by the sets that have it.
    all: Bag,
    /// A key, and a set that has it.
    by_key: Pairs,
    /// A set, and a key of it.
    by_set: Pairs,
    /// How many rows of a set have a key, where that is not one; by key and set.
    counts: HashMap<u64, u64>,
}

impl Keys {
    /// A key's number, if any set has it or has just lost it.
    pub(super) fn find(&self, key: &MemberKey) -> Option<KeyId> {
        self.all.find(key.as_bytes()).map(KeyId)
    }

    pub(super) fn key(&self, id: KeyId) -> Option<MemberKey> {
        self.all.content(id.0).map(MemberKey::of_bytes)
    }

    /// Counts rows of a set in or out; says under which number, and whether the set had none. `None` if there are
    /// more keys than can be numbered: before that, there are more rows than that.
    pub(super) fn change(
        &mut self,
        set: SetId,
        key: &MemberKey,
        delta: i64,
    ) -> Option<(KeyId, bool)> {
        let known = self.find(key).filter(|id| self.has(set, *id));
        let is_new = known.is_none();
        let id = match known {
            Some(id) => id,
            None => KeyId(self.all.change(key.as_bytes(), 1)?.id),
        };
        let (by_key, by_set) = (pair(id.0, set.0), pair(set.0, id.0));
        let count = match is_new {
            true => 0,
            false => self.counts.get(&by_key).copied().unwrap_or(1),
        };
        if is_new {
            self.by_key.insert(by_key);
            self.by_set.insert(by_set);
        }
        match count.saturating_add_signed(delta) {
            1 => _ = self.counts.remove(&by_key),
            count => _ = self.counts.insert(by_key, count),
        }
        Some((id, is_new))
    }

    /// Forgets a pair that has no rows left.
    pub(super) fn settle(&mut self, set: SetId, id: KeyId) {
        if self.count(set, id) == 0 {
            self.forget_pair(set, id);
        }
    }

    fn forget_pair(&mut self, set: SetId, id: KeyId) {
        self.by_key.remove(pair(id.0, set.0));
        self.by_set.remove(pair(set.0, id.0));
        self.counts.remove(&pair(id.0, set.0));
        self.all.release(id.0);
    }

    /// A set is gone.
    pub(super) fn forget(&mut self, set: SetId) {
        let keys: Vec<KeyId> = self.of_set(set).collect();
        keys.into_iter().for_each(|id| self.forget_pair(set, id));
        if self.by_set.is_empty() {
            // Tables that are empty keep their room.
            *self = Keys::default();
        }
    }

    /// Gives back the room of keys that are gone, if they were most of all; none may be waiting to be settled.
    /// Numbers of keys change.
    pub(super) fn give_back(&mut self) {
        if mostly_empty(self.counts.capacity(), self.counts.len()) {
            self.counts.shrink_to_fit();
        }
        if !self.all.is_mostly_empty() {
            return;
        }
        let old = std::mem::take(self);
        for both in old.by_key.iter() {
            let (id, set) = (KeyId((both >> 32) as u32), SetId(other(both)));
            if let Some(key) = old.key(id) {
                self.change(set, &key, old.count(set, id) as i64);
            }
        }
    }

    /// Rows of a set that have a key, now.
    pub(super) fn count(&self, set: SetId, id: KeyId) -> u64 {
        let known = self.counts.get(&pair(id.0, set.0)).copied();
        known.unwrap_or_else(|| u64::from(self.has(set, id)))
    }

    /// Whether a set has a key, or has just lost it.
    pub(super) fn has(&self, set: SetId, id: KeyId) -> bool {
        self.by_key.contains(pair(id.0, set.0))
    }

    /// The sets that have a key, or have just lost it.
    pub(super) fn sets(&self, id: KeyId) -> impl Iterator<Item = SetId> {
        self.by_key.of(id.0).map(SetId)
    }

    /// The keys that a set has, or has just lost.
    pub(super) fn of_set(&self, set: SetId) -> impl Iterator<Item = KeyId> {
        self.by_set.of(set.0).map(KeyId)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let counts = self.counts.allocation_size();
        self.all.bytes() + self.by_key.bytes() + self.by_set.bytes() + counts
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
        for number in 0..3_000 {
            for set in sets {
                all.push((set, number, keys.change(set, &key(Some(number)), 3).unwrap().0));
            }
        }
        for (set, number, id) in all {
            if number % 1_000 != 7 {
                keys.change(set, &key(Some(number)), -3);
                keys.settle(set, id);
            }
        }
        keys.give_back();
        assert_eq!((keys.all.len(), keys.by_set.iter().count(), keys.counts.len()), (3, 6, 6));
        assert!(keys.bytes() < 4_000, "{}", keys.bytes());
        for number in 0..3_000 {
            let id = keys.find(&key(Some(number)));
            assert_eq!(id.is_some(), number % 1_000 == 7);
            assert!(sets.iter().all(|set| id.is_none_or(|id| keys.count(*set, id) == 3)));
        }
    }
}
