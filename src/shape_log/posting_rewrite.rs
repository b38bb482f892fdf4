//! Giving disk back: closed posting files that are mostly dead are written again without what is dead,
//! neighbours as one.
//!
//! *Enters*: closed files and the logs that refer to them. *Leaves*: fewer and smaller files.
//! *Invariant*: on disk there is always all of the old or all of the new, and a start counts only one
//! of them; entries keep their order and their bytes, so nothing but places changes; readers go on with
//! the file they hold.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use brooklet_sql::Lsn;
use bytes::Buf;

use super::Logs;
use super::block::{Block, Home, PostingFile, take_shapes};
use super::posting_files::{Numbers, PostingFiles};
use super::postings::{append_position, kind, transaction};
use super::varint;
use crate::frame::{FileKind, Frame, FrameError, FrameFile, Tail, sync_dir};
use crate::limits::{POSTING_FILE_BYTES_MAX, SLICE_BYTES_MAX};

/// Where a block is: in which of the run's files, and where there.
type Place = (u32, u64);

/// Files that follow each other and are to become one, or none.
pub struct Run {
    files: Vec<Arc<PostingFile>>,
    /// What logs refer to in them, sorted.
    live: Vec<Place>,
}

/// Which closed files are worth it; those of which nothing is needed come first, since they make room for what is written.
/// What they say of shapes that have ended before this call is left out: see [`Run::write`].
#[must_use]
pub fn runs(files: &PostingFiles, logs: &impl Logs) -> Vec<Run> {
    let closed = files.closed();
    let mut live: HashMap<Numbers, u64> = HashMap::new();
    if !closed.is_empty() {
        logs.each(&mut |log| {
            log.each_block(|block| {
                *live.entry(block.file.numbers).or_default() += u64::from(block.length);
            });
        });
    }
    let is_dead = |file: &Arc<PostingFile>| !live.contains_key(&file.numbers);
    let (dead, closed): (Vec<_>, Vec<_>) = closed.into_iter().partition(is_dead);
    let (mut runs, mut run, mut run_bytes) = (Vec::new(), Vec::new(), 0);
    if !dead.is_empty() {
        runs.push(Run { files: dead, live: Vec::new() });
    }
    let mut end = |run: &mut Vec<Arc<PostingFile>>| {
        let files = std::mem::take(run);
        let left = |file: &PostingFile| live.get(&file.numbers).copied().unwrap_or_default();
        let sparse = |file: &PostingFile| 2 * file.estimate(left(file)) <= file.bytes();
        if files.len() > 1 || files.iter().any(|file| sparse(file)) {
            runs.push(Run { files, live: Vec::new() });
        }
    };
    for file in closed {
        let left = file.estimate(live.get(&file.numbers).copied().unwrap_or_default());
        let worth = 2 * left <= file.bytes() || 4 * file.bytes() < POSTING_FILE_BYTES_MAX;
        if !worth || run_bytes + left > POSTING_FILE_BYTES_MAX {
            end(&mut run);
            run_bytes = 0;
        }
        if worth {
            run.push(file);
            run_bytes += left;
        }
    }
    end(&mut run);
    runs
}

impl Run {
    /// Notes what is alive. What is dead now must be so for a restart, too, before [`Run::write`].
    pub fn note_live(&mut self, logs: &impl Logs) {
        let Run { files, live } = self;
        live.clear();
        logs.each(&mut |log| {
            log.each_block_in(span(files), |block| live.extend(place(files, block)));
        });
        live.sort_unstable();
        live.dedup();
    }

    /// Writes what is alive again and deletes the rest. The catalogue must know of all shapes whose end
    /// is told in these files: that is left out. A failure has changed nothing. Blocks on files.
    pub fn write(self, files: &PostingFiles, logs: &impl Logs) -> Result<(), RewriteError> {
        let Run { files: old, live } = &self;
        let numbers = span(old);
        if !live.is_empty() && !files.are_neighbours(old) {
            // What nobody needed between them has not gone, and a start must not take it for a part of them.
            return Ok(());
        }
        let new = if live.is_empty() { None } else { Some(store(files, old, live)?) };
        if let Some(Copied { file, places }) = &new {
            logs.each(&mut |log| {
                log.move_blocks(numbers, |block| {
                    let at = live.binary_search(&place(old, block)?).ok()?;
                    Some(block.moved(file, places[at]))
                });
            });
        }
        let written = new.as_ref().map_or(0, |new| new.file.bytes());
        let bytes = old.iter().map(|file| file.bytes()).sum::<u64>();
        tracing::debug!(files = old.len(), bytes, written, "postings written again");
        let replaced = new.is_some().then_some(numbers);
        files.replace(old, new.map(|new| new.file));
        let mut all = Ok(());
        for file in old.iter().filter(|file| Some(file.numbers) != replaced) {
            // One that stays keeps no other.
            all = all.and(files.delete(file.numbers));
        }
        all.map_err(RewriteError::Unchanged)
    }
}

/// Why files were not written again.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// Nothing has changed, or only a file that nobody needs is still there.
    #[error(transparent)]
    Unchanged(FrameError),
    /// Nobody knows whether the disk has the old or the new: the process must end.
    #[error(transparent)]
    Fatal(FrameError),
}

/// The numbers that these files stand for together.
fn span(files: &[Arc<PostingFile>]) -> Numbers {
    let first = files.first().map_or(0, |file| file.numbers.0);
    (first, files.last().map_or(first, |file| file.numbers.1))
}

fn place(files: &[Arc<PostingFile>], block: &Block) -> Option<Place> {
    let at = files.partition_point(|file| file.numbers.1 < block.file.numbers.0);
    files.get(at).filter(|file| Arc::ptr_eq(file, &block.file))?;
    Some((at as u32, block.at))
}

/// Writes under a temporary name first; durable under the one of the files together when it returns.
fn store(
    files: &PostingFiles,
    old: &[Arc<PostingFile>],
    live: &[Place],
) -> Result<Copied, RewriteError> {
    let (storage, path) = (files.storage(), files.path(span(old)));
    let temporary = path.with_extension("tmp");
    let named = copy(files, old, live, &temporary).and_then(|copied| {
        let at = |source| FrameError::Io { path: path.clone(), source };
        storage.rename(&temporary, &path).map_err(at).map(|()| copied)
    });
    let copied = named.map_err(|error| {
        // If it stays, a start deletes it.
        _ = storage.remove(&temporary);
        RewriteError::Unchanged(error)
    })?;
    sync_dir(&**storage, &path).map_err(RewriteError::Fatal)?;
    Ok(copied)
}

/// What was written.
struct Copied {
    file: Arc<PostingFile>,
    /// Where each of the live blocks is now.
    places: Vec<u64>,
}

fn copy(
    files: &PostingFiles,
    old: &[Arc<PostingFile>],
    live: &[Place],
    temporary: &Path,
) -> Result<Copied, FrameError> {
    let storage = files.storage();
    let target = FrameFile::create(storage, temporary, FileKind::Postings)?;
    let file = PostingFile::new(span(old), Arc::clone(target.file()));
    let mut copy = Copy {
        file: Arc::clone(&file),
        target,
        live,
        places: Vec::with_capacity(live.len()),
        position: Lsn::ZERO,
        parts: 0,
        failed: None,
    };
    for (number, old) in old.iter().enumerate() {
        let path = files.path(old.numbers);
        let mut bad = None;
        FrameFile::open(storage, &path, FileKind::Postings, Tail::Closed, |frame| {
            if copy.failed.is_none() && copy.frame(number as u32, frame).is_none() {
                bad.get_or_insert(frame.at);
            }
        })?;
        if let Some(error) = copy.failed.take() {
            return Err(error);
        }
        if let Some(at) = bad {
            return Err(FrameError::Damaged(path, at));
        }
    }
    if copy.places.len() < live.len() {
        // Logs refer to what is not there.
        let path = old.last().map(|file| files.path(file.numbers)).unwrap_or_default();
        return Err(FrameError::Damaged(path, 0));
    }
    append_position(&mut copy.target, copy.position);
    copy.target.sync()?;
    Ok(Copied { file, places: copy.places })
}

/// Copies frame by frame.
struct Copy<'a> {
    target: FrameFile,
    /// The same file, for readers.
    file: Arc<PostingFile>,
    live: &'a [Place],
    /// Where those live blocks are now that were copied.
    places: Vec<u64>,
    position: Lsn,
    /// Parts of the open transaction that were copied.
    parts: u64,
    failed: Option<FrameError>,
}

/// What a frame brings to a shape.
struct Entry {
    shape: ShapeId,
    blocks: Vec<Block>,
}

impl Copy<'_> {
    /// `None` if the frame cannot be read.
    fn frame(&mut self, number: u32, frame: Frame<'_>) -> Option<()> {
        let mut rest = frame.payload;
        match frame.kind {
            kind::TRANSACTION | kind::LATE => {
                let (lsn, xid) = (rest.try_get_u64_le().ok()?, rest.try_get_u32_le().ok()?);
                let mut payload = transaction(Lsn(lsn), xid);
                if frame.kind == kind::TRANSACTION {
                    self.position = self.position.max(Lsn(lsn));
                    // What it has of them, if it has any: those before were never ended.
                    let parts = std::mem::take(&mut self.parts);
                    let has = varint::take(&mut rest)? > 0;
                    varint::put(if has { parts } else { 0 }, &mut payload);
                }
                self.shapes(number, frame, rest, payload)?;
            }
            kind::PART => {
                if varint::take(&mut rest)? == 0 {
                    self.parts = 0;
                }
                let mut payload = Vec::new();
                varint::put(self.parts, &mut payload);
                self.parts += u64::from(self.shapes(number, frame, rest, payload)?);
            }
            kind::POSITION => {
                self.position = self.position.max(Lsn(rest.try_get_u64_le().ok()?));
            }
            // The catalogue knows.
            kind::ENDED => {}
            _ => return None,
        }
        Some(())
    }

    /// Appends what is alive of a frame whose payload begins so; `false` if nothing is.
    fn shapes(
        &mut self,
        number: u32,
        frame: Frame<'_>,
        rest: &[u8],
        mut payload: Vec<u8>,
    ) -> Option<bool> {
        let mut entries = Vec::new();
        // Blocks are looked at here only: they are not counted for any file that stays.
        let file = PostingFile::new((number, number), Arc::clone(self.target.file()));
        let at = frame.at + (frame.payload.len() - rest.len()) as u64;
        take_shapes(rest, &Home { lsn: Lsn::ZERO, xid: 0, file }, at, |shape, _, blocks| {
            let is_live = |block: &Block| self.live.binary_search(&(number, block.at)).is_ok();
            if blocks.iter().any(is_live) {
                entries.push(Entry { shape, blocks });
            }
        })?;
        if entries.is_empty() {
            return Some(false);
        }
        varint::put(entries.len() as u64, &mut payload);
        let (mut previous, begin) = (0, self.target.next_payload());
        for Entry { shape, blocks } in &entries {
            varint::put(shape.0.wrapping_sub(previous), &mut payload);
            varint::put(blocks.iter().map(|block| u64::from(block.count)).sum(), &mut payload);
            previous = shape.0;
            for block in blocks {
                if self.live.binary_search(&(number, block.at)).is_ok() {
                    self.places.push(begin + payload.len() as u64);
                }
                let from = usize::try_from(block.at - frame.at).ok()?;
                payload.extend_from_slice(frame.payload.get(from..from + block.length as usize)?);
                self.file.note_block(block.length);
            }
        }
        self.file.note_frame(payload.len());
        self.target.append(frame.kind, &[&payload]);
        if self.target.pending_bytes() >= SLICE_BYTES_MAX {
            self.failed = self.target.flush().err();
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests;
