//! Many small records without an allocation of their own.
//!
//! *Enters*: records of any length. *Leaves*: numbers that find them. *Invariant*: a record has its number until it is
//! taken out; its first byte is its owner's and is never 0, which is the mark of a free place.
//!
//! Records of one length stand side by side in blocks, so a place that becomes free fits the next one exactly, and a
//! block whose last record goes is given back. A copy shares the blocks; who changes one then, has it copied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kept::mostly_empty;

/// Bytes of a block of more than one record: its allocation is large beside what is kept of it, and half-filled ones are
/// small beside a store.
const BLOCK_BYTES: usize = if cfg!(test) { 4 << 10 } else { 256 << 10 };

/// The bits of a number that count within a block.
const PLACE_BITS: u32 = 12;

/// Bytes of a block besides its records: its allocation, its place among blocks, and among those with room.
const BLOCK_OVERHEAD: usize = 112;

#[derive(Default, Clone)]
pub(super) struct Slabs {
    blocks: Vec<Option<Arc<Block>>>,
    /// Numbers of blocks that were given back.
    gone: Vec<u32>,
    /// Blocks with room, by the length of their records.
    open: BTreeMap<usize, BTreeSet<u32>>,
    used: usize,
    allocated: usize,
}

struct Block {
    length: usize,
    bytes: Vec<u8>,
    free: Vec<u16>,
}

impl Clone for Block {
    /// With the room it has: that is counted.
    fn clone(&self) -> Block {
        let mut bytes = Vec::with_capacity(self.bytes.capacity());
        bytes.extend_from_slice(&self.bytes);
        let mut free = Vec::with_capacity(self.free.capacity());
        free.extend_from_slice(&self.free);
        Block { length: self.length, bytes, free }
    }
}

impl Block {
    /// How many records it may have.
    fn places(&self) -> usize {
        (BLOCK_BYTES / self.length).clamp(1, 1 << PLACE_BITS)
    }

    fn is_full(&self) -> bool {
        self.free.is_empty() && self.bytes.len() >= self.places() * self.length
    }

    fn is_empty(&self) -> bool {
        self.free.len() * self.length == self.bytes.len()
    }

    fn size(&self) -> usize {
        BLOCK_OVERHEAD + self.bytes.capacity() + 2 * self.free.capacity()
    }

    fn insert(&mut self, record: &[u8]) -> usize {
        if let Some(place) = self.free.pop().map(usize::from) {
            self.bytes[place * self.length..][..self.length].copy_from_slice(record);
            return place;
        }
        let bytes = &mut self.bytes;
        if bytes.capacity() - bytes.len() < self.length {
            // An eighth more, but never for more records than there will be.
            let places = (BLOCK_BYTES / self.length).clamp(1, 1 << PLACE_BITS);
            let more = (bytes.len() / 8).next_multiple_of(self.length);
            bytes.reserve_exact(more.min(places * self.length - bytes.len()).max(self.length));
        }
        bytes.extend_from_slice(record);
        bytes.len() / self.length - 1
    }
}

impl Slabs {
    /// Puts a record in, which is not empty and begins with a byte other than 0; `None` if there are too many to be
    /// numbered, which is at some 256 GiB.
    pub(super) fn insert(&mut self, record: &[u8]) -> Option<u32> {
        debug_assert!(record.first().is_some_and(|first| *first != 0));
        let length = record.len();
        let number = match self.open.get(&length).and_then(BTreeSet::first) {
            Some(number) => *number,
            None => self.new_block(length)?,
        };
        let block = self.blocks[number as usize].as_mut()?;
        self.allocated -= block.size();
        let block = Arc::make_mut(block);
        let place = block.insert(record);
        self.allocated += block.size();
        if block.is_full() {
            self.shut(number, length);
        }
        self.used += length;
        Some(number << PLACE_BITS | place as u32)
    }

    fn new_block(&mut self, length: usize) -> Option<u32> {
        let number = self.gone.pop().unwrap_or_else(|| {
            self.blocks.push(None);
            self.blocks.len() as u32 - 1
        });
        if number >> (32 - PLACE_BITS) > 0 {
            return None;
        }
        let block = Block { length, bytes: Vec::new(), free: Vec::new() };
        self.allocated += block.size();
        self.blocks[number as usize] = Some(Arc::new(block));
        self.open.entry(length).or_default().insert(number);
        Some(number)
    }

    /// No longer among those with room.
    fn shut(&mut self, number: u32, length: usize) {
        if let Some(open) = self.open.get_mut(&length) {
            open.remove(&number);
            if open.is_empty() {
                self.open.remove(&length);
            }
        }
    }

    fn block(&self, id: u32) -> Option<(&Block, usize)> {
        let block = self.blocks.get((id >> PLACE_BITS) as usize)?.as_ref()?;
        Some((block, (id & ((1 << PLACE_BITS) - 1)) as usize * block.length))
    }

    /// A record.
    pub(super) fn get(&self, id: u32) -> Option<&[u8]> {
        let (block, begin) = self.block(id)?;
        block.bytes.get(begin..begin + block.length).filter(|record| record[0] != 0)
    }

    /// Changes a record's first byte, to one other than 0.
    pub(super) fn mark(&mut self, id: u32, mark: u8) {
        let Some((_, begin)) = self.block(id) else { return };
        if let Some(Some(block)) = self.blocks.get_mut((id >> PLACE_BITS) as usize)
            && let Some(byte) = Arc::make_mut(block).bytes.get_mut(begin)
        {
            *byte = mark;
        }
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, id: u32) {
        if self.get(id).is_none() {
            return;
        }
        self.mark(id, 0);
        let number = id >> PLACE_BITS;
        let Some(Some(block)) = self.blocks.get_mut(number as usize) else { return };
        let length = block.length;
        self.used -= length;
        self.allocated -= block.size();
        let block = Arc::make_mut(block);
        block.free.push((id & ((1 << PLACE_BITS) - 1)) as u16);
        if block.is_empty() {
            self.blocks[number as usize] = None;
            self.gone.push(number);
            self.shut(number, length);
        } else {
            self.allocated += block.size();
            self.open.entry(length).or_default().insert(number);
        }
    }

    /// Every record with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.filter_map(|(number, block)| Some((number as u32, block.as_ref()?)));
        let records = blocks.flat_map(|(number, block)| {
            let places = block.bytes.chunks_exact(block.length).enumerate();
            places.map(move |(place, record)| (number << PLACE_BITS | place as u32, record))
        });
        records.filter(|(_, record)| record[0] != 0)
    }

    /// Whether most of its room is free.
    pub(super) fn is_mostly_empty(&self) -> bool {
        mostly_empty(self.allocated / 64, self.used / 64)
    }

    /// Bytes that are free.
    pub(super) fn unused(&self) -> usize {
        self.allocated.saturating_sub(self.used)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn records_are_found_by_their_numbers_and_room_is_given_back() {
        let (mut slabs, mut all, mut number) = (Slabs::default(), HashMap::new(), 0_u64);
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
            (number >> 33) as usize
        };
        for round in 0..200_000 {
            let grows = round / 50_000 % 2 == 0;
            if grows || next() % 4 == 0 || all.is_empty() {
                let length = if next() % 5_000 == 0 { 300_000 } else { 1 + next() % 40 };
                let record: Vec<u8> =
                    (0..length).map(|at| 1 + ((at + round) % 255) as u8).collect();
                let id = slabs.insert(&record).unwrap();
                assert!(all.insert(id, record).is_none(), "two under one number");
            } else {
                let id = *all.keys().next().unwrap();
                let record = all.remove(&id).unwrap();
                assert_eq!(slabs.get(id), Some(&*record));
                slabs.remove(id);
                assert_eq!(slabs.get(id), None);
            }
        }
        let there: HashMap<u32, Vec<u8>> =
            slabs.iter().map(|(id, record)| (id, record.to_vec())).collect();
        assert_eq!(there, all);
        let used: usize = all.values().map(Vec::len).sum();
        assert_eq!(slabs.used, used);
        let sizes = slabs.blocks.iter().flatten().map(|block| block.size());
        assert_eq!(slabs.allocated, sizes.sum::<usize>());
        all.keys().for_each(|id| slabs.remove(*id));
        assert_eq!((slabs.used, slabs.bytes(), slabs.open.len()), (0, 0, 0));
    }

    #[test]
    fn a_copy_stays_what_it_is() {
        let mut slabs = Slabs::default();
        let ids: Vec<u32> = (0..20_000_u32)
            .map(|n| slabs.insert(&[1, n as u8, (n >> 8) as u8, 9][..3 + n as usize % 2]).unwrap())
            .collect();
        let all = |slabs: &Slabs| -> HashMap<u32, Vec<u8>> {
            slabs.iter().map(|(id, record)| (id, record.to_vec())).collect()
        };
        let (before, copy) = (all(&slabs), slabs.clone());
        ids.iter().step_by(3).for_each(|id| slabs.remove(*id));
        ids.iter().skip(1).step_by(3).for_each(|id| slabs.mark(*id, 7));
        (0..9_000_u32).for_each(|n| _ = slabs.insert(&[3, n as u8, 5]));
        assert_eq!(all(&copy), before);
        let sizes = slabs.blocks.iter().flatten().map(|block| block.size());
        assert_eq!(slabs.allocated, sizes.sum::<usize>(), "what was copied is counted as before");
    }

    #[test]
    fn small_records_take_little_more_than_their_bytes() {
        let mut slabs = Slabs::default();
        for number in 0..100_000_u32 {
            let mut record = [1; 9];
            record[1..5].copy_from_slice(&number.to_le_bytes());
            slabs.insert(&record).unwrap();
        }
        assert!(slabs.bytes() < 100_000 * 10, "{}", slabs.bytes());
        let id = slabs.insert(&[7]).unwrap();
        slabs.mark(id, 9);
        assert_eq!(slabs.get(id), Some(&[9][..]));
    }
}
