//! Values in the order of their keys, in few bytes.
//!
//! *Invariant*: whatever is done to one costs the logarithm of their number, and moves at most [`CHUNK`] others; keys
//! that come in their order, as numbers and times do, fill chunks up. So a value takes little more than its own bytes,
//! where a B-tree's nodes would be half empty.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Values that stand together.
const CHUNK: usize = 64;

/// What a value is found by; never changes while it is in.
pub(super) trait Keyed {
    type Key: Ord + Copy;

    fn key(&self) -> Self::Key;
}

/// See the module.
pub(super) struct Sorted<T: Keyed> {
    /// Each by a key that is not above those in it, and above those before it; none is empty.
    chunks: BTreeMap<T::Key, Vec<T>>,
    len: usize,
}

impl<T: Keyed> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<T: Keyed> Sorted<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a value in; returns the one that had its key.
    pub(super) fn insert(&mut self, value: T) -> Option<T> {
        let key = value.key();
        let last = self.chunks.last_key_value().map(|(last, _)| *last);
        let Some((first, chunk)) = self.chunks.range_mut(..=key).next_back() else {
            self.len += 1;
            // Below all others.
            match self.chunks.first_key_value() {
                Some((_, chunk)) if chunk.len() < CHUNK => {
                    if let Some((_, mut chunk)) = self.chunks.pop_first() {
                        chunk.insert(0, value);
                        self.chunks.insert(key, chunk);
                    }
                }
                _ => _ = self.chunks.insert(key, vec![value]),
            }
            return None;
        };
        let first = *first;
        let at = match chunk.binary_search_by_key(&key, T::key) {
            Ok(at) => return chunk.get_mut(at).map(|place| std::mem::replace(place, value)),
            Err(at) => at,
        };
        self.len += 1;
        if chunk.len() < CHUNK {
            chunk.insert(at, value);
        } else if at == chunk.len() && last == Some(first) {
            self.chunks.insert(key, vec![value]);
        } else {
            let mut upper = chunk.split_off(CHUNK / 2);
            let (part, at) =
                if at <= CHUNK / 2 { (chunk, at) } else { (&mut upper, at - CHUNK / 2) };
            part.insert(at, value);
            let begin = upper.first().map_or(first, T::key);
            self.chunks.insert(begin, upper);
        }
        None
    }

    pub(super) fn get(&self, key: T::Key) -> Option<&T> {
        let (_, chunk) = self.chunks.range(..=key).next_back()?;
        let at = chunk.binary_search_by_key(&key, T::key).ok()?;
        chunk.get(at)
    }

    pub(super) fn remove(&mut self, key: T::Key) -> Option<T> {
        let (first, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let (first, at) = (*first, chunk.binary_search_by_key(&key, T::key).ok()?);
        let value = chunk.remove(at);
        self.len -= 1;
        let left = chunk.len();
        if left == 0 {
            self.chunks.remove(&first);
        } else if left <= CHUNK / 4 {
            chunk.shrink_to(2 * left);
            self.merge(first, left);
        }
        Some(value)
    }

    /// Puts a chunk of few together with a neighbour that has room.
    fn merge(&mut self, first: T::Key, few: usize) {
        let fits =
            |(key, chunk): (&T::Key, &Vec<T>)| (chunk.len() + few <= CHUNK / 2).then_some(*key);
        let next = self.chunks.range((Excluded(first), Unbounded)).next().and_then(fits);
        let before = self.chunks.range(..first).next_back().and_then(fits);
        let (kept, gone) = match (next, before) {
            (Some(next), _) => (first, next),
            (None, Some(before)) => (before, first),
            (None, None) => return,
        };
        if let Some(mut gone) = self.chunks.remove(&gone)
            && let Some(kept) = self.chunks.get_mut(&kept)
        {
            kept.append(&mut gone);
        }
    }

    /// Those after a key, in order; all if there is none.
    pub(super) fn after(&self, key: Option<T::Key>) -> impl Iterator<Item = &T> {
        let begun = key.and_then(|key| self.chunks.range(..=key).next_back());
        let rest = begun.map_or(&[][..], |(_, chunk)| {
            let at = key.map_or(0, |key| chunk.partition_point(|value| value.key() <= key));
            chunk.get(at..).unwrap_or_default()
        });
        let later = match key {
            Some(key) => self.chunks.range((Excluded(key), Unbounded)),
            None => self.chunks.range(..),
        };
        rest.iter().chain(later.flat_map(|(_, chunk)| chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::rng::Rng;

    /// A key, and what tells two of one key apart.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Pair(u64, u64);

    impl Keyed for Pair {
        type Key = u64;

        fn key(&self) -> u64 {
            self.0
        }
    }

    fn check(sorted: &Sorted<Pair>, model: &BTreeMap<u64, Pair>, rng: &mut Rng) {
        assert_eq!(sorted.len(), model.len());
        let begin = rng.below(300) as u64;
        let after: Vec<Pair> = sorted.after(Some(begin)).copied().collect();
        assert!(after.iter().eq(model.range(begin + 1..).map(|(_, pair)| pair)), "after {begin}");
        assert!(sorted.after(None).eq(model.values()));
        assert_eq!(sorted.after(None).next(), model.values().next());
        assert!(sorted.chunks.values().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
        let small = |chunk: &&Vec<Pair>| chunk.len() <= CHUNK / 8;
        let chunks: Vec<&Vec<Pair>> = sorted.chunks.values().collect();
        let pairs = chunks.windows(2).filter(|pair| pair.iter().all(small)).count();
        assert_eq!(pairs, 0, "two small chunks stand side by side");
    }

    #[test]
    fn it_is_what_an_ordered_map_is() {
        for seed in 0..20 {
            let (mut rng, mut model) = (Rng::new(seed), BTreeMap::new());
            let mut sorted = Sorted::default();
            let mut next = 0;
            for step in 0..4_000 {
                // It grows, then it shrinks.
                let grows = if step < 2_000 { 70 } else { 25 };
                let key = if rng.percent(40) { next } else { rng.below(300) as u64 };
                if rng.percent(grows) {
                    let pair = Pair(key, step);
                    assert_eq!(sorted.insert(pair), model.insert(key, pair));
                    next = (next + 1) % 1_000;
                } else {
                    assert_eq!(sorted.remove(key), model.remove(&key));
                }
                assert_eq!(sorted.get(key), model.get(&key));
                if step % 50 == 0 {
                    check(&sorted, &model, &mut rng);
                }
            }
        }
    }

    #[test]
    fn keys_that_come_in_order_fill_their_chunks() {
        let mut sorted = Sorted::default();
        (0..10_000).for_each(|key| _ = sorted.insert(Pair(key, key)));
        let room: usize = sorted.chunks.values().map(Vec::capacity).sum();
        assert!(room < 10_100, "room for {room}");
        // What goes at one end and comes at the other, as times of use do.
        for key in 10_000..50_000 {
            sorted.remove(key - 10_000).unwrap();
            sorted.insert(Pair(key, key));
        }
        let room: usize = sorted.chunks.values().map(Vec::capacity).sum();
        assert!(room < 10_200 && sorted.len() == 10_000, "room for {room}");
    }
}
