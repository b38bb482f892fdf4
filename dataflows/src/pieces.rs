//! A hash table that grows a piece at a time.
//!
//! *Enters*: values with their hashes. *Leaves*: the values, by hash and a question, or a piece at a time. *Invariant*:
//! putting one in moves the values of one piece at most, however many there are: a table that grows as a whole would
//! hash a million again, while everybody waits. Who walks over the pieces from the first to the last, and lets others
//! in between, sees every value that is there all the time, some of them twice; none is missed.
//!
//! This is linear hashing: whenever there are more values than fit on average, the next piece in turn is divided in two
//! by one more bit of the hash. The new half becomes the last piece, so nothing moves to where a walk has been.

use hashbrown::HashTable;

/// Values of a piece, on average; some have twice as many. A lock that is held for one is held for a tenth of a
/// millisecond.
const PIECE: usize = 1024;

/// See the module.
pub struct Pieces<T> {
    pieces: Vec<HashTable<T>>,
    len: usize,
}

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces { pieces: Vec::new(), len: 0 }
    }
}

impl<T> Pieces<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first value of this hash that is meant.
    #[must_use]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.pieces.get(place(hash, self.pieces.len()))?.find(hash, &mut is_it)
    }

    /// The same, to change.
    pub fn find_mut(&mut self, hash: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = place(hash, self.pieces.len());
        self.pieces.get_mut(at)?.find_mut(hash, &mut is_it)
    }

    /// One more value; `hashed` says again what the hash of one is. Returns how many others were looked at.
    pub fn insert(&mut self, hash: u64, value: T, hashed: impl Fn(&T) -> u64) -> usize {
        let divided = if self.len >= PIECE * self.pieces.len() { self.divide(&hashed) } else { 0 };
        let at = place(hash, self.pieces.len());
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.insert_unique(hash, value, &hashed);
            self.len += 1;
        }
        divided
    }

    /// Divides the piece whose turn it is.
    fn divide(&mut self, hashed: &impl Fn(&T) -> u64) -> usize {
        let new = self.pieces.len();
        self.pieces.push(HashTable::new());
        // The one that has been the home of the new one's values.
        let Some(old) = new.checked_ilog2().map(|bits| new - (1 << bits)) else { return 0 };
        let [old, half] = self.pieces.get_disjoint_mut([old, new]).unwrap_or_else(|_| {
            // They are two pieces, and both are there.
            unreachable!("a piece is divided into itself")
        });
        let looked_at = old.len();
        for value in old.extract_if(|value| place(hashed(value), new + 1) == new) {
            let hash = hashed(&value);
            half.insert_unique(hash, value, hashed);
        }
        old.shrink_to(0, hashed);
        looked_at
    }

    /// Takes a value out.
    pub fn remove(
        &mut self,
        hash: u64,
        mut is_it: impl FnMut(&T) -> bool,
        hashed: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let at = place(hash, self.pieces.len());
        let piece = self.pieces.get_mut(at)?;
        let (value, _) = piece.find_entry(hash, &mut is_it).ok()?.remove();
        self.len -= 1;
        if 8 * piece.len() < piece.capacity() {
            piece.shrink_to(2 * piece.len(), hashed);
        }
        Some(value)
    }

    /// The values of a piece; `None` behind the last one.
    #[must_use]
    pub fn piece(&self, number: usize) -> Option<impl Iterator<Item = &T>> {
        self.pieces.get(number).map(HashTable::iter)
    }

    /// Keeps of a piece what is wanted; `false` behind the last one.
    pub fn retain_in(&mut self, number: usize, mut wanted: impl FnMut(&T) -> bool) -> bool {
        let Some(piece) = self.pieces.get_mut(number) else { return false };
        let before = piece.len();
        piece.retain(|value| wanted(value));
        self.len -= before - piece.len();
        true
    }
}

/// Where a hash is among so many pieces. Tables look at the lowest bits and the seven highest.
fn place(hash: u64, pieces: usize) -> usize {
    let bits = (hash >> 24) as usize & 0xffff_ffff;
    let whole = pieces.next_power_of_two();
    let at = bits & (whole - 1);
    // Who belongs to a piece that is still to come is with the one that will be divided for it.
    if at < pieces { at } else { at & (whole / 2).saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn putting_one_in_moves_as_few_among_many_as_among_few() {
        let (hasher, mut pieces) = (RandomState::new(), Pieces::default());
        let hashed = |value: &u64| hasher.hash_one(value);
        let mut worst = Vec::new();
        for value in 0..300_000 {
            worst.push(pieces.insert(hashed(&value), value, hashed));
        }
        let most = |range: &[usize]| range.iter().copied().max().unwrap();
        assert!(most(&worst[..30_000]) > 0, "it has not grown");
        assert!(most(&worst) <= 4 * PIECE, "{} were looked at", most(&worst));
        let [few, many] = [&worst[20_000..30_000], &worst[200_000..300_000]]
            .map(|range| range.iter().sum::<usize>() / range.len());
        assert!(few.abs_diff(many) <= 1, "{few} each among few, {many} among many");
        for value in 0..300_000 {
            assert_eq!(pieces.find(hashed(&value), |one| *one == value), Some(&value));
        }
        for value in 0..300_000 {
            assert_eq!(pieces.remove(hashed(&value), |one| *one == value, hashed), Some(value));
        }
        assert!(pieces.is_empty() && pieces.pieces.iter().all(HashTable::is_empty));
        assert!(pieces.pieces.iter().all(|piece| piece.capacity() < 16), "memory is given back");
    }

    #[test]
    fn a_walk_misses_nothing_that_is_there_all_the_time() {
        let (hasher, mut pieces) = (RandomState::new(), Pieces::default());
        let hashed = |value: &u64| hasher.hash_one(value);
        (0..5_000).for_each(|value| _ = pieces.insert(hashed(&value), value, hashed));
        let (mut seen, mut next, mut number) = (vec![0; 5_000], 5_000, 0);
        let mut look = |pieces: &Pieces<u64>, number: usize| {
            let own = pieces.piece(number)?.filter(|value| **value < 5_000);
            own.for_each(|value| seen[*value as usize] += 1);
            Some(())
        };
        while look(&pieces, number).is_some() {
            number += 1;
            // Others come and go between any two pieces, more of them come.
            for value in next..next + 1_500 {
                pieces.insert(hashed(&value), value, hashed);
            }
            for value in next..next + 500 {
                pieces.remove(hashed(&value), |one| *one == value, hashed).unwrap();
            }
            next += 1_500;
            if next > 50_000 {
                break;
            }
        }
        assert!(number > 20, "{number} pieces");
        while look(&pieces, number).is_some() {
            number += 1;
        }
        assert!(seen.iter().all(|seen| *seen > 0));
    }
}
