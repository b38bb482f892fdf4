//! The change log: the stream, made durable once.
//!
//! *Enters*: row operations and commits in stream order ([`Writer`]). *Leaves*: changes by their seq
//! ([`ChangeLog::read`]), all of them again after a restart ([`ChangeLog::replay`]).
//! *Invariant*: what [`Flushed::sync`] returned for survives any crash; a seq means the same change
//! for ever, before and after its file is sealed. *Must not know*: Postgres' protocol, shapes, HTTP.
//!
//! Bytes and crash cases: `FORMAT.md`.

mod clean;
mod record;
mod sealed;
mod segment;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation};

pub use clean::SealedSize;
pub use record::StoredCommit;
pub use writer::{Flushed, Rolled, Writer};

use crate::frame::FrameError;
use crate::storage::StorageHandle;
use sealed::BlockCache;
use segment::Segment;

/// Why the log cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ChangeLogError {
    /// A file is unusable.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A sealed file is unusable.
    #[error("{path}: {reason}")]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A posting names a change that the log does not have: a bug, or a file that was deleted.
    #[error("change {0} is not in the change log")]
    Missing(u64),
}

/// What the log tells again at a restart.
#[derive(Debug)]
pub enum Replayed {
    /// A row operation.
    Change(Change),
    /// A table's definition from here on.
    Relation(Arc<Relation>),
    /// These tables were emptied.
    Truncate(Vec<u32>),
    /// The transaction is complete.
    Commit(StoredCommit),
}

/// The log, for readers; cheap to clone.
#[derive(Clone)]
pub struct ChangeLog {
    storage: StorageHandle,
    dir: Arc<Path>,
    /// Sorted by first seq; the last one is being written. Held only to look up or swap a segment,
    /// never while a file is read.
    segments: Arc<RwLock<Vec<Arc<Segment>>>>,
    cache: BlockCache,
}

impl ChangeLog {
    /// Opens or creates the log in `dir`; also returns every commit it holds, in order.
    pub fn open(
        storage: &StorageHandle,
        dir: &Path,
    ) -> Result<(ChangeLog, Writer, Vec<StoredCommit>), ChangeLogError> {
        writer::open(storage, dir)
    }

    /// The change with this seq, which is one of `table`.
    pub fn read(&self, seq: u64, table: u32) -> Result<Change, ChangeLogError> {
        self.find(seq, table)?.ok_or(ChangeLogError::Missing(seq))
    }

    /// Shows every change of `table` with a seq in `range`, in order.
    pub fn read_range(
        &self,
        range: std::ops::Range<u64>,
        table: u32,
        mut each: impl FnMut(Change),
    ) -> Result<(), ChangeLogError> {
        for seq in range {
            self.find(seq, table)?.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    fn find(&self, seq: u64, table: u32) -> Result<Option<Change>, ChangeLogError> {
        let segment = self.segment_of(seq).ok_or(ChangeLogError::Missing(seq))?;
        segment.find(seq, table, &self.cache)
    }

    /// Shows everything that belongs to transactions after `after`, in stream order. Only what is
    /// not yet sealed can be asked for: sealing waits for the posting log.
    pub fn replay(&self, after: Lsn, mut each: impl FnMut(Replayed)) -> Result<(), ChangeLogError> {
        for segment in self.all() {
            segment.replay(after, &mut each)?;
        }
        Ok(())
    }

    /// Rewrites a rolled file as Arrow and deletes the row-wise form. Readers notice nothing. Sealed is only what has no
    /// row-wise form left: beside one, a file that was written again with its neighbours would look like a leftover.
    pub fn seal(&self, rolled: &Rolled) -> Result<(), ChangeLogError> {
        let Some(raw) = self.all().into_iter().find(|s| s.first_seq() == rolled.first_seq) else {
            return Ok(());
        };
        let sealed = raw.seal(&self.dir);
        let sealed = sealed.inspect_err(|_| self.discard_unfinished(rolled.first_seq))?;
        let mut segments = self.segments.write().unwrap_or_else(|e| e.into_inner());
        if let Some(place) = segments.iter_mut().find(|s| s.first_seq() == rolled.first_seq) {
            *place = sealed;
        }
        Ok(())
    }

    /// Files that are complete and still row-wise; asked at a start, with all `commits` of the log.
    #[must_use]
    pub fn unsealed(&self, commits: &[StoredCommit]) -> Vec<Rolled> {
        let segments = self.all();
        let pairs = segments.iter().zip(segments.iter().skip(1));
        let raw = pairs.filter(|(segment, _)| matches!(&***segment, Segment::Raw(_)));
        let rolled = |(segment, next): (&Arc<Segment>, &Arc<Segment>)| {
            let before = commits.partition_point(|commit| commit.next_seq <= next.first_seq());
            let last = before.checked_sub(1).and_then(|at| commits.get(at));
            let end = last.map_or(Lsn::ZERO, |commit| commit.lsn);
            Rolled { first_seq: segment.first_seq(), end }
        };
        raw.map(rolled).collect()
    }

    fn all(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn segment_of(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(|e| e.into_inner());
        let after = segments.partition_point(|segment| segment.first_seq() <= seq);
        segments.get(after.checked_sub(1)?).cloned()
    }
}

#[cfg(test)]
mod tests;
