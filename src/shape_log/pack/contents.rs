//! Which stored batches have which bytes, and how many shapes refer to each.
//!
//! *Enters*: batches as they are stored and given up. *Leaves*: where the same bytes are already. *Invariant*: a
//! batch counts as given up with its last reference, never before. *Must not know* what is in them.

use std::collections::HashMap;

use crate::limits::SHARED_BATCH_BYTES_MIN;

/// What batches of equal bytes have in common; others may have it, too, so bytes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest {
    length: u64,
    crc: u32,
}

impl Digest {
    /// Of a batch that is worth being shared.
    pub fn of(bytes: &[u8]) -> Option<Digest> {
        let length = bytes.len() as u64;
        (length >= SHARED_BATCH_BYTES_MIN).then(|| Digest { length, crc: crc32fast::hash(bytes) })
    }
}

/// Pack and place in it.
pub(super) type At = (u32, u64);

/// The large batches of a store. Small ones have no entry: it would take as much memory as they take disk.
#[derive(Default)]
pub(super) struct Contents {
    stored: HashMap<At, Kept>,
    by_digest: HashMap<Digest, At>,
}

struct Kept {
    references: u32,
    /// Not known of what an earlier process has stored.
    digest: Option<Digest>,
}

impl Contents {
    /// Notes a reference that the catalogue has; whether it is the first one to these bytes.
    pub fn restore(&mut self, at: At, length: u64) -> bool {
        if length < SHARED_BATCH_BYTES_MIN {
            return true;
        }
        let kept = self.stored.entry(at).or_insert(Kept { references: 0, digest: None });
        kept.references += 1;
        kept.references == 1
    }

    /// Notes a batch that was stored, with one reference.
    pub fn note(&mut self, at: At, digest: Digest) {
        self.stored.insert(at, Kept { references: 1, digest: Some(digest) });
        self.by_digest.insert(digest, at);
    }

    /// Where a batch may be that has these bytes, outside of the pack `leaving`; it has one reference more.
    pub fn refer(&mut self, digest: Digest, leaving: Option<u32>) -> Option<At> {
        let at = *self.by_digest.get(&digest)?;
        if leaving == Some(at.0) {
            return None;
        }
        self.stored.get_mut(&at)?.references += 1;
        Some(at)
    }

    /// How many refer to it.
    pub fn references(&self, at: At) -> u32 {
        self.stored.get(&at).map_or(1, |kept| kept.references)
    }

    /// Takes a reference back; whether it was the last one.
    pub fn release(&mut self, at: At) -> bool {
        let Some(kept) = self.stored.get_mut(&at) else { return true };
        kept.references -= 1;
        if kept.references > 0 {
            return false;
        }
        let digest = kept.digest;
        self.stored.remove(&at);
        // A copy of it may stand there by now.
        if let Some(digest) = digest
            && self.by_digest.get(&digest) == Some(&at)
        {
            self.by_digest.remove(&digest);
        }
        true
    }
}
