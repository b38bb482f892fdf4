//! Where a log's chunks end: a function of stored bytes only, so the same after a restart.

use brooklet_dataflows::Posting;
use brooklet_sql::Lsn;

use super::block::last_op;
use super::{LogPoint, Offset};
use crate::limits::ENTRY_OVERHEAD_BYTES;

/// Finds them, entry by entry.
pub(super) struct ChunkEnds {
    /// Bytes of a chunk.
    pub size: u64,
    /// The last entry.
    pub last: LogPoint,
    /// Entries that filled one.
    pub ends: Vec<Offset>,
}

impl ChunkEnds {
    pub fn add(&mut self, lsn: Lsn, posting: &Posting) {
        let weight = u64::from(posting.weight) + ENTRY_OVERHEAD_BYTES;
        let LogPoint { offset, filled, weight: all } = &mut self.last;
        *offset = Offset { tx: lsn.0, op: last_op(posting) };
        *all += weight;
        *filled += weight;
        if *filled >= self.size {
            *filled = 0;
            self.ends.push(*offset);
        }
    }
}
