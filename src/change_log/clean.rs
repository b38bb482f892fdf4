//! Giving disk back: sealed files without anything that is needed are deleted, those with little are
//! written again without the rest, small neighbours as one.
//!
//! *Invariant*: a change that is kept has the same seq before and after; positions do not move.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch};
use brooklet_sql::Lsn;

use super::sealed::{self, SealedFile, SealedWriter, column};
use super::segment::Segment;
use super::{ChangeLog, ChangeLogError};
use crate::frame::{FrameError, sync_dir};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_CHANGES_MAX};
use crate::storage::StorageHandle;

/// A sealed file, as far as cleaning is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSize {
    /// Its name.
    pub first_seq: u64,
    /// Its last transaction; those of the file before it are not in it.
    pub last_lsn: Lsn,
    /// How many changes it holds.
    pub changes: u64,
    /// On disk.
    pub bytes: u64,
}

impl ChangeLog {
    /// The sealed files in order, up to one that is still row-wise: those beyond it do not follow these, so they must not
    /// become one with them. Without the newest: that one says where the log stands.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedSize> {
        let segments = self.all();
        let sealed = segments.iter().map_while(|segment| match &**segment {
            Segment::Sealed(sealed) => Some(sealed.size()),
            Segment::Raw(_) => None,
        });
        let mut sealed: Vec<SealedSize> = sealed.collect();
        sealed.pop();
        sealed
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all().iter().map(|segment| segment.bytes()).sum()
    }

    /// Deletes a sealed file that holds nothing that is needed.
    pub fn delete(&self, first_seq: u64) -> Result<(), ChangeLogError> {
        {
            let mut segments = self.segments.write().unwrap_or_else(|e| e.into_inner());
            segments.retain(|segment| segment.first_seq() != first_seq);
        }
        self.remove_sealed(first_seq)
    }

    /// Writes sealed files that follow each other again as one, with the changes in `live` only, which
    /// is sorted.
    pub fn rewrite(&self, run: &[u64], live: &[u64]) -> Result<(), ChangeLogError> {
        let segments = self.all();
        let old: Vec<&SealedFile> = (segments.iter())
            .filter_map(|segment| match &**segment {
                Segment::Sealed(sealed) if run.contains(&sealed.first_seq()) => Some(sealed),
                _ => None,
            })
            .collect();
        let Some(first) = old.first() else { return Ok(()) };
        let new = rewritten(&self.storage, &self.dir, &old, live);
        let new = new.inspect_err(|_| self.discard_unfinished(first.first_seq()))?;
        let new = Arc::new(Segment::Sealed(new));
        {
            let mut segments = self.segments.write().unwrap_or_else(|e| e.into_inner());
            let at = segments.partition_point(|segment| segment.first_seq() < new.first_seq());
            segments.retain(|segment| !run.contains(&segment.first_seq()));
            segments.insert(at, new);
        }
        // Else a power cut might bring the first one back alone. After an error the others stay, and go at a start.
        sync_dir(&*self.storage, &sealed::path(&self.dir, first.first_seq()))?;
        // The first one's name is the new file's.
        run.iter().skip(1).try_for_each(|first_seq| self.remove_sealed(*first_seq))
    }

    /// What a file took that could not be written to its end: there may be no room for anything else.
    pub(super) fn discard_unfinished(&self, first_seq: u64) {
        if let Err(error) = self.storage.remove(&sealed::unfinished(&self.dir, first_seq)) {
            tracing::debug!(%error, first_seq, "an unfinished file stays until the next start");
        }
    }

    fn remove_sealed(&self, first_seq: u64) -> Result<(), ChangeLogError> {
        let path = sealed::path(&self.dir, first_seq);
        let at = |source| FrameError::Io { path: path.clone(), source };
        Ok(self.storage.remove(&path).map_err(at)?)
    }
}

/// Files that follow each other as one, with what is live.
fn rewritten(
    storage: &StorageHandle,
    dir: &Path,
    files: &[&SealedFile],
    live: &[u64],
) -> Result<SealedFile, ChangeLogError> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else {
        return Err(ChangeLogError::Missing(0));
    };
    let mut writer = SealedWriter::create(storage, dir, first.first_seq())?;
    let tables: BTreeSet<u32> = files.iter().flat_map(|file| file.tables()).collect();
    for table in tables {
        rewrite_table(table, files, live, &mut writer)?;
    }
    last.commits().last().iter().for_each(|commit| writer.push_commit(**commit));
    writer.finish()
}

/// Copies what is live of one table, blocks of the same columns together as far as a block may go.
fn rewrite_table(
    table: u32,
    files: &[&SealedFile],
    live: &[u64],
    writer: &mut SealedWriter,
) -> Result<(), ChangeLogError> {
    let mut gathered: Vec<RecordBatch> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for file in files {
        for batch in file.batches(table) {
            let pieces = keep(&batch?, live).and_then(|kept| pieces(&kept));
            for (piece, weight) in pieces.map_err(|reason| file.error(&reason))? {
                let same = gathered.first().is_none_or(|first| first.schema() == piece.schema());
                rows += piece.num_rows();
                bytes += weight;
                if !same || rows > BLOCK_CHANGES_MAX || bytes > BLOCK_BYTES_MAX {
                    write(table, &mut gathered, writer)?;
                    (rows, bytes) = (piece.num_rows(), weight);
                }
                gathered.push(piece);
            }
        }
    }
    write(table, &mut gathered, writer)
}

/// What is in a batch, each piece no larger than a block may be, with its bytes; a row that is larger is alone.
fn pieces(batch: &RecordBatch) -> Result<Vec<(RecordBatch, usize)>, String> {
    let weights = row_bytes(batch)?;
    let (mut pieces, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (at, weight) in weights.iter().enumerate() {
        if at > begin && (bytes + weight > BLOCK_BYTES_MAX || at - begin == BLOCK_CHANGES_MAX) {
            pieces.push((batch.slice(begin, at - begin), bytes));
            (begin, bytes) = (at, 0);
        }
        bytes += weight;
    }
    if begin < weights.len() {
        pieces.push((batch.slice(begin, weights.len() - begin), bytes));
    }
    Ok(pieces)
}

/// What the rows of each change weigh in a batch: their text, and where each value ends.
fn row_bytes(batch: &RecordBatch) -> Result<Vec<usize>, String> {
    let mut bytes = vec![0; batch.num_rows()];
    for number in [4, 5] {
        let rows = column::<StructArray>(batch, number)?;
        for values in rows.columns() {
            let values: &StringArray =
                values.as_any().downcast_ref().ok_or("a column has another type")?;
            for (at, length) in values.offsets().lengths().enumerate() {
                bytes[at] += if rows.is_valid(at) { length + size_of::<i32>() } else { 0 };
            }
        }
    }
    Ok(bytes)
}

fn keep(batch: &RecordBatch, live: &[u64]) -> Result<RecordBatch, String> {
    let seqs = column::<UInt64Array>(batch, 0)?;
    let wanted: BooleanArray =
        seqs.values().iter().map(|seq| Some(live.binary_search(seq).is_ok())).collect();
    filter_record_batch(batch, &wanted).map_err(|error| error.to_string())
}

fn write(
    table: u32,
    gathered: &mut Vec<RecordBatch>,
    writer: &mut SealedWriter,
) -> Result<(), ChangeLogError> {
    let Some(first) = gathered.first() else { return Ok(()) };
    let joined = concat_batches(&first.schema(), gathered.iter());
    let joined = joined.map_err(|error| writer.error(&error.to_string()))?;
    gathered.clear();
    writer.push_batch(table, &joined)
}
