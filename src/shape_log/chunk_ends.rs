//! Where a log's chunks end: a function of stored bytes only, so the same after a restart.

use brooklet_dataflows::Posting;
use brooklet_sql::Lsn;

use super::Offset;
use super::block::last_op;
use crate::limits::ENTRY_OVERHEAD_BYTES;

/// Finds them, entry by entry.
pub(super) struct ChunkEnds {
    /// Bytes of a chunk.
    pub size: u64,
    /// Bytes of the one that is being filled.
    pub filled: u64,
    /// Bytes of all entries there ever were.
    pub weight: u64,
    /// The last entry.
    pub end: Offset,
    /// Entries that filled one.
    pub ends: Vec<Offset>,
}

impl ChunkEnds {
    pub fn add(&mut self, lsn: Lsn, posting: &Posting) {
        let weight = u64::from(posting.weight) + ENTRY_OVERHEAD_BYTES;
        self.filled += weight;
        self.weight += weight;
        self.end = Offset { tx: lsn.0, op: last_op(posting) };
        if self.filled >= self.size {
            self.filled = 0;
            self.ends.push(self.end);
        }
    }
}
