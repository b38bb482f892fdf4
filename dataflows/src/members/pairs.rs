//! A sorted set of pairs of numbers, in few bytes.
//!
//! *Enters*: pairs that come and go. *Leaves*: in order, those with a certain first number. *Invariant*: a chunk stands under
//! its first pair and has those up to the next chunk's, each by what is other than in the one before it. Neighbours
//! are close, so most take one to three bytes.
//!
//! A step is twice what the second number is more, if the first is the same; else twice what the first is more, and one, and
//! then the second. Numbers are written in seven bits a byte, the lowest first.

use std::collections::BTreeMap;

/// A chunk of more bytes becomes two. What is looked up is walked to within one.
const CHUNK_BYTES_MAX: usize = 256;

/// A chunk of fewer is put to the next one, if both have room in one.
const CHUNK_BYTES_MIN: usize = CHUNK_BYTES_MAX / 4;

/// Bytes of a chunk besides its pairs: its place in the map, and its allocation.
const CHUNK_OVERHEAD: usize = 72;

/// The room that a chunk grows by.
const CHUNK_ROOM: usize = 16;

/// Bytes of a step, at most.
const STEP_BYTES_MAX: usize = 10;

#[derive(Default)]
pub(super) struct Pairs {
    chunks: BTreeMap<u64, Chunk>,
    bytes: usize,
}

/// Those that come after the first one.
#[derive(Default)]
struct Chunk {
    steps: Vec<u8>,
    len: u32,
}

pub(super) fn pair(one: u32, other: u32) -> u64 {
    u64::from(one) << 32 | u64::from(other)
}

/// The second number.
pub(super) fn other(pair: u64) -> u32 {
    pair as u32
}

impl Pairs {
    /// Puts one in; `false` if it is there.
    pub(super) fn insert(&mut self, new: u64) -> bool {
        let begin = self.chunks.range(..=new).next_back().map(|(first, _)| *first);
        let Some(first) = begin else {
            self.insert_first(new);
            return true;
        };
        let Some(chunk) = self.chunks.get_mut(&first) else { return false };
        self.bytes -= chunk.size();
        let is_new = chunk.insert(first, new);
        let more = (chunk.steps.len() > CHUNK_BYTES_MAX).then(|| chunk.split(first, new));
        self.bytes += chunk.size();
        if let Some((first, chunk)) = more {
            self.bytes += chunk.size();
            self.chunks.insert(first, chunk);
        }
        is_new
    }

    /// Puts one in that is less than all.
    fn insert_first(&mut self, new: u64) {
        let mut chunk = Chunk::default();
        if let Some((first, old)) = self.chunks.pop_first() {
            self.bytes -= old.size();
            match old.steps.len() < CHUNK_BYTES_MAX / 2 {
                true => chunk.append((new, first), &old),
                false => {
                    self.bytes += old.size();
                    self.chunks.insert(first, old);
                }
            }
        }
        self.bytes += chunk.size();
        self.chunks.insert(new, chunk);
    }

    /// Takes one out; `false` if it is not there.
    pub(super) fn remove(&mut self, old: u64) -> bool {
        let begin = self.chunks.range(..=old).next_back().map(|(first, _)| *first);
        let Some((first, mut chunk)) = begin.and_then(|first| self.chunks.remove_entry(&first))
        else {
            return false;
        };
        self.bytes -= chunk.size();
        let (left, is_gone) = match first == old {
            true => (chunk.remove_first(first), true),
            false => (Some(first), chunk.remove(first, old)),
        };
        let Some(first) = left else { return true };
        if is_gone && chunk.steps.len() < CHUNK_BYTES_MIN {
            self.take_next(first, &mut chunk);
        }
        self.bytes += chunk.size();
        self.chunks.insert(first, chunk);
        is_gone
    }

    /// Puts the following chunk to this one, which is not in the map, if both are small.
    fn take_next(&mut self, first: u64, chunk: &mut Chunk) {
        let following = self.chunks.range(first..).next();
        let following = following.filter(|(_, next)| next.steps.len() < CHUNK_BYTES_MAX / 2);
        if let Some(at) = following.map(|(at, _)| *at)
            && let Some(next) = self.chunks.remove(&at)
        {
            self.bytes -= next.size();
            chunk.append((chunk.last(first), at), &next);
        }
    }

    pub(super) fn contains(&self, pair: u64) -> bool {
        self.range(pair, pair).next().is_some()
    }

    /// Those from one to another, both included.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let begin = self.chunks.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let chunks = self.chunks.range(begin..=to);
        let pairs = chunks.flat_map(|(first, chunk)| {
            let rest = Walk { steps: &chunk.steps, at: 0, value: *first };
            std::iter::once(*first).chain(rest)
        });
        pairs.skip_while(move |pair| *pair < from).take_while(move |pair| *pair <= to)
    }

    /// The second numbers of those with this first one.
    pub(super) fn of(&self, one: u32) -> impl Iterator<Item = u32> {
        self.range(pair(one, 0), pair(one, u32::MAX)).map(other)
    }

    /// How many have this first number; looks into two chunks at most.
    pub(super) fn count(&self, one: u32) -> usize {
        let (from, to) = (pair(one, 0), pair(one, u32::MAX));
        let inside = self.chunks.range(from..=to);
        let whole: usize = inside.map(|(_, chunk)| 1 + chunk.len as usize).sum();
        let before = self.chunks.range(..from).next_back();
        let last = self.chunks.range(..=to).next_back();
        let of = |first: u64, chunk: &Chunk, wanted: &dyn Fn(u64) -> bool| {
            let walk = Walk { steps: &chunk.steps, at: 0, value: first };
            walk.filter(|value| wanted(*value)).count()
        };
        let more = before.map_or(0, |(first, chunk)| of(*first, chunk, &|v| v >= from && v <= to));
        let less = last.filter(|(first, _)| **first >= from);
        whole + more - less.map_or(0, |(first, chunk)| of(*first, chunk, &|v| v > to))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.range(0, u64::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Chunk {
    fn size(&self) -> usize {
        CHUNK_OVERHEAD + self.steps.capacity()
    }

    /// Where the step to the first pair not less than this begins, the pair before it, and it, with where its
    /// step ends.
    fn seek(&self, first: u64, wanted: u64) -> (usize, u64, Option<(u64, usize)>) {
        let mut walk = Walk { steps: &self.steps, at: 0, value: first };
        let (mut begin, mut before) = (0, first);
        while let Some(value) = walk.next() {
            if value >= wanted {
                return (begin, before, Some((value, walk.at)));
            }
            (begin, before) = (walk.at, value);
        }
        (begin, before, None)
    }

    /// `new` is greater than `first`, or it.
    fn insert(&mut self, first: u64, new: u64) -> bool {
        if first == new {
            return false;
        }
        let mut step = [0; 2 * STEP_BYTES_MAX];
        let (begin, before, next) = self.seek(first, new);
        let mut length = write((before, new), &mut step);
        let end = match next {
            Some((value, _)) if value == new => return false,
            Some((value, end)) => {
                length += write((new, value), &mut step[length..]);
                end
            }
            None => begin,
        };
        self.replace(begin, end, &step[..length]);
        self.len += 1;
        true
    }

    fn replace(&mut self, begin: usize, end: usize, by: &[u8]) {
        let more = by.len().saturating_sub(end - begin);
        if self.steps.capacity() - self.steps.len() < more {
            self.steps.reserve_exact(more.max(CHUNK_ROOM));
        }
        self.steps.splice(begin..end, by.iter().copied());
    }

    /// Without its first pair; told which one is the first then.
    fn remove_first(&mut self, first: u64) -> Option<u64> {
        let mut walk = Walk { steps: &self.steps, at: 0, value: first };
        let next = walk.next()?;
        let end = walk.at;
        self.steps.drain(..end);
        self.len -= 1;
        Some(next)
    }

    /// Takes one out that is not the first.
    fn remove(&mut self, first: u64, old: u64) -> bool {
        let (begin, before, found) = self.seek(first, old);
        let Some((_, end)) = found.filter(|(value, _)| *value == old) else { return false };
        let mut step = [0; 2 * STEP_BYTES_MAX];
        let mut walk = Walk { steps: &self.steps, at: end, value: old };
        let next = walk.next();
        let end = walk.at;
        let length = next.map_or(0, |value| write((before, value), &mut step));
        self.replace(begin, end, &step[..length]);
        self.len -= 1;
        if self.steps.capacity() > 2 * self.steps.len() + CHUNK_ROOM {
            self.steps.shrink_to(self.steps.len() + CHUNK_ROOM);
        }
        true
    }

    /// Adds another chunk; of a step the ends are told, which are the last pair here and its first.
    fn append(&mut self, step: (u64, u64), other: &Chunk) {
        let mut bytes = [0; STEP_BYTES_MAX];
        let length = write(step, &mut bytes);
        self.steps.reserve_exact(length + other.steps.len());
        self.steps.extend_from_slice(&bytes[..length]);
        self.steps.extend_from_slice(&other.steps);
        self.len += 1 + other.len;
    }

    fn last(&self, first: u64) -> u64 {
        Walk { steps: &self.steps, at: 0, value: first }.last().unwrap_or(first)
    }

    /// Leaves about a half here; told is the rest, with its first pair. If `new` is the last, more may come behind it:
    /// then all but that stays, so that what comes in order fills chunks.
    fn split(&mut self, first: u64, new: u64) -> (u64, Chunk) {
        let is_last = self.last(first) == new;
        let mut walk = Walk { steps: &self.steps, at: 0, value: first };
        let (mut begin, mut kept) = (0, 0);
        let next = loop {
            // There is more than a half, so this is never past the end.
            let Some(value) = walk.next() else { break walk.value };
            if if is_last { value == new } else { walk.at > self.steps.len() / 2 } {
                break value;
            }
            (begin, kept) = (walk.at, kept + 1);
        };
        let chunk = Chunk { steps: self.steps[walk.at..].to_vec(), len: self.len - kept - 1 };
        self.steps.truncate(begin);
        self.steps.shrink_to_fit();
        self.len = kept;
        (next, chunk)
    }
}

/// Walks over the pairs after one.
struct Walk<'a> {
    steps: &'a [u8],
    at: usize,
    value: u64,
}

impl Iterator for Walk<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let step = self.number()?;
        self.value = match step & 1 {
            0 => self.value + (step >> 1),
            _ => ((self.value >> 32) + (step >> 1)) << 32 | self.number()?,
        };
        Some(self.value)
    }
}

impl Walk<'_> {
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = *self.steps.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }
}

/// Writes the step from a pair to a greater one; told how many bytes.
fn write((from, to): (u64, u64), into: &mut [u8]) -> usize {
    if from >> 32 == to >> 32 {
        return write_number((to - from) << 1, into);
    }
    let length = write_number(((to >> 32) - (from >> 32)) << 1 | 1, into);
    length + write_number(u64::from(other(to)), &mut into[length..])
}

fn write_number(mut number: u64, into: &mut [u8]) -> usize {
    let mut length = 0;
    while number >= 0x80 {
        into[length] = number as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    into[length] = number as u8;
    length + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(pairs: &Pairs, model: &BTreeSet<u64>) {
        assert!(pairs.iter().eq(model.iter().copied()));
        let sizes = pairs.chunks.values().map(Chunk::size);
        assert_eq!(pairs.bytes(), sizes.sum::<usize>());
        let mut lens = pairs.chunks.iter();
        assert!(lens.all(|(first, chunk)| {
            let walk = Walk { steps: &chunk.steps, at: 0, value: *first };
            walk.count() == chunk.len as usize && chunk.steps.len() <= CHUNK_BYTES_MAX
        }));
    }

    #[test]
    fn it_is_what_a_tree_is() {
        for (seed, ones, others) in [(1, 5, 300), (2, 3_000, 4), (3, 60, 60), (4, 1, u64::MAX)] {
            let (mut pairs, mut model) = (Pairs::default(), BTreeSet::new());
            let mut state: u64 = seed;
            let mut next = move |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 11).wrapping_mul(0x9E37_79B9_7F4A_7C15) % below
            };
            for round in 0..12_000 {
                let one = pair(next(ones) as u32, next(others) as u32);
                // Twice mostly in, twice mostly out.
                if next(10) < [8, 2, 9, 1][round / 3_000] {
                    assert_eq!(pairs.insert(one), model.insert(one));
                } else {
                    let near = model.range(one..).next().copied().unwrap_or(one);
                    assert_eq!(pairs.remove(near), model.remove(&near));
                }
                assert_eq!(pairs.contains(one), model.contains(&one));
                let first = next(ones) as u32;
                let range = model.range(pair(first, 0)..=pair(first, u32::MAX));
                assert_eq!(pairs.count(first), range.clone().count(), "seed {seed}, {round}");
                assert!(pairs.of(first).eq(range.map(|one| *one as u32)));
                if round % 100 == 0 {
                    check(&pairs, &model);
                }
            }
            model.retain(|one| {
                assert!(pairs.remove(*one));
                false
            });
            check(&pairs, &model);
            assert_eq!((pairs.bytes(), pairs.is_empty()), (0, true));
        }
    }

    #[test]
    fn numbers_as_far_apart_as_can_be_are_kept() {
        let (mut pairs, mut model) = (Pairs::default(), BTreeSet::new());
        for one in [u64::MAX, 0, 1, u64::MAX - 1, 1 << 63] {
            assert_eq!(pairs.insert(one), model.insert(one));
            assert!(!pairs.insert(one));
            check(&pairs, &model);
        }
        for one in [0, u64::MAX, 1 << 63] {
            assert_eq!(pairs.remove(one), model.remove(&one));
            assert!(!pairs.remove(one));
            check(&pairs, &model);
        }
    }

    #[test]
    fn pairs_of_a_hundred_each_take_few_bytes() {
        let mut pairs = Pairs::default();
        for number in 0..1_000_u32 {
            (0..100).for_each(|at| _ = pairs.insert(pair(at, 17 * number)));
        }
        assert!(pairs.bytes() < 100_000 * 2, "{}", pairs.bytes());
        let mut pairs = Pairs::default();
        for number in 0..100_000_u32 {
            pairs.insert(pair(number.wrapping_mul(0x9E37_79B9), number));
        }
        assert!(pairs.bytes() < 100_000 * 11, "{}", pairs.bytes());
    }
}
