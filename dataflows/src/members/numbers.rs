//! Numbers under hashes, in few bytes however many there are.
//!
//! *Enters*: numbers with the hash of what they stand for. *Leaves*: those that may stand for something. *Invariant*: a
//! number is found under its hash until it is taken out.
//!
//! A table that doubles is between 44 and 88 percent full. Here one bucket is split at a time (linear hashing), so
//! buckets have as many numbers when there are many as when there are few, and each has hardly more room than it needs. Who
//! looks something up reads one byte of each number in a bucket, and compares those whose byte is right.

/// As many as this are in a bucket on the average: more are more bytes to read, fewer more allocations.
const EACH: usize = 64;

/// Bytes of a number: a part of its hash, and it.
const ENTRY: usize = 5;

/// For how many numbers more a bucket gets room.
const ROOM: usize = 8;

/// Bytes that an allocation takes besides what was asked for.
const ALLOCATION: usize = 16;

/// A bucket has a byte for each number, then the numbers.
#[derive(Default)]
pub(super) struct Numbers {
    buckets: Vec<Vec<u8>>,
    len: usize,
    allocated: usize,
}

/// What tells most numbers of a bucket apart; buckets are chosen by the lowest bits.
fn tag(hash: u64) -> u8 {
    (hash >> 56) as u8
}

fn number(bucket: &[u8], at: usize) -> u32 {
    let begin = bucket.len() / ENTRY + 4 * at;
    bucket[begin..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn size(bucket: &Vec<u8>) -> usize {
    if bucket.capacity() == 0 { 0 } else { ALLOCATION + bucket.capacity() }
}

fn put(bucket: &mut Vec<u8>, tag: u8, number: u32) {
    if bucket.capacity() - bucket.len() < ENTRY {
        bucket.reserve_exact(ROOM * ENTRY);
    }
    bucket.insert(bucket.len() / ENTRY, tag);
    bucket.extend_from_slice(&number.to_le_bytes());
}

fn take(bucket: &mut Vec<u8>, at: usize) {
    let begin = bucket.len() / ENTRY + 4 * at;
    bucket.drain(begin..begin + 4);
    bucket.remove(at);
    if bucket.capacity() > 2 * bucket.len() + ROOM * ENTRY {
        bucket.shrink_to(bucket.len() + ROOM * ENTRY);
    }
}

impl Numbers {
    /// The bucket of a hash; there is one.
    fn place(&self, hash: u64) -> usize {
        let mask = self.buckets.len().next_power_of_two() - 1;
        let at = hash as usize & mask;
        if at < self.buckets.len() { at } else { at & (mask >> 1) }
    }

    /// The bucket whose numbers one takes its own from, and gives them back to; the first has none.
    fn partner(last: usize) -> usize {
        last & ((last + 1).next_power_of_two() / 2 - 1)
    }

    fn position(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        if self.buckets.is_empty() {
            return None;
        }
        let place = self.place(hash);
        let bucket = &self.buckets[place];
        let tags = &bucket[..bucket.len() / ENTRY];
        let mut found = memchr::memchr_iter(tag(hash), tags);
        found.find(|at| is(number(bucket, *at))).map(|at| (place, at))
    }

    /// The number under a hash that is the one.
    pub(super) fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let (place, at) = self.position(hash, is)?;
        Some(number(&self.buckets[place], at))
    }

    /// Puts one in that is not there; `hash_of` is asked about some of those that are.
    pub(super) fn insert(&mut self, hash: u64, new: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= EACH * self.buckets.len() {
            self.split(hash_of);
        }
        let place = self.place(hash);
        self.change(place, |bucket| put(bucket, tag(hash), new));
        self.len += 1;
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, hash: u64, old: u32) {
        let Some((place, at)) = self.position(hash, |one| one == old) else { return };
        self.change(place, |bucket| take(bucket, at));
        self.len -= 1;
        if self.len < EACH / 2 * (self.buckets.len() - 1) {
            self.join();
        }
    }

    fn change(&mut self, place: usize, how: impl FnOnce(&mut Vec<u8>)) {
        let bucket = &mut self.buckets[place];
        self.allocated -= size(bucket);
        how(bucket);
        self.allocated += size(bucket);
    }

    /// One bucket more, with some of another one's numbers.
    fn split(&mut self, hash_of: impl Fn(u32) -> u64) {
        let last = self.buckets.len();
        if self.buckets.capacity() == last {
            self.buckets.reserve_exact(1 + last / 8);
        }
        self.buckets.push(Vec::new());
        if last == 0 {
            return;
        }
        let partner = Numbers::partner(last);
        let old = std::mem::take(&mut self.buckets[partner]);
        self.allocated -= size(&old);
        let numbers = (0..old.len() / ENTRY).map(|at| number(&old, at));
        let hashes: Vec<(u64, u32)> = numbers.map(|one| (hash_of(one), one)).collect();
        for place in [partner, last] {
            let mine = hashes.iter().filter(|(hash, _)| self.place(*hash) == place);
            let mine: Vec<(u64, u32)> = mine.copied().collect();
            self.change(place, |bucket| {
                bucket.reserve_exact(ENTRY * mine.len());
                mine.iter().for_each(|(hash, one)| put(bucket, tag(*hash), *one));
            });
        }
    }

    /// One bucket less: its numbers go back.
    fn join(&mut self) {
        let Some(last) = self.buckets.pop() else { return };
        self.allocated -= size(&last);
        self.change(Numbers::partner(self.buckets.len()), |bucket| {
            bucket.reserve_exact(last.len());
            let numbers = last.len() / ENTRY;
            (0..numbers).for_each(|at| put(bucket, last[at], number(&last, at)));
        });
        if self.buckets.capacity() > 2 * self.buckets.len() + ROOM {
            self.buckets.shrink_to_fit();
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.allocated + size_of::<Vec<u8>>() * self.buckets.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hash(of: u32) -> u64 {
        let mixed = u64::from(of).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    fn check(numbers: &Numbers, model: &BTreeMap<u32, u64>) {
        assert_eq!(numbers.len(), model.len());
        for (one, hash) in model {
            assert_eq!(numbers.find(*hash, |other| other == *one), Some(*one));
            assert_eq!(numbers.find(*hash, |other| other == one + 1_000_000), None);
        }
        let sizes: usize = numbers.buckets.iter().map(size).sum();
        assert_eq!(numbers.allocated, sizes);
        assert_eq!(numbers.buckets.iter().map(|one| one.len() / ENTRY).sum::<usize>(), model.len());
    }

    #[test]
    fn numbers_are_found_under_their_hashes_as_they_come_and_go() {
        for hash in [hash, |_| 7, |of| u64::from(of % 3) << 62] {
            let (mut numbers, mut model) = (Numbers::default(), BTreeMap::new());
            let mut state = 1_u32;
            for round in 0..6_000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if round / 2_000 % 2 == 0 || model.is_empty() {
                    numbers.insert(hash(round), round, hash);
                    model.insert(round, hash(round));
                } else {
                    let near = model.range(state % round..).next().or(model.first_key_value());
                    let (one, hash) = near.map(|(one, hash)| (*one, *hash)).unwrap();
                    numbers.remove(hash, one + 1_000_000);
                    numbers.remove(hash, one);
                    model.remove(&one);
                }
                if round % 500 == 0 {
                    check(&numbers, &model);
                }
            }
            check(&numbers, &model);
            for (one, hash) in std::mem::take(&mut model) {
                numbers.remove(hash, one);
            }
            check(&numbers, &model);
            assert!(numbers.bytes() < 1_000, "{}", numbers.bytes());
        }
    }

    /// The worst and the mean of all sizes.
    #[test]
    fn a_number_takes_six_to_seven_bytes_however_many_there_are() {
        let (mut numbers, mut worst, mut sum) = (Numbers::default(), 0.0_f64, 0.0);
        for one in 0..300_000 {
            numbers.insert(hash(one), one, hash);
            if one >= 10_000 {
                let each = numbers.bytes() as f64 / f64::from(one + 1);
                (worst, sum) = (worst.max(each), sum + each);
            }
        }
        let mean = sum / 290_000.0;
        println!("{worst:.2} bytes a number at the worst size, {mean:.2} on the average of all");
        assert!(worst < 7.0 && mean < 6.6, "{worst}, {mean}");
    }
}
