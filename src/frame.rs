//! Files of checksummed frames: what every log is made of. The bytes are drawn in `FORMAT.md`.
//!
//! *Enters*: payloads. *Leaves*: the same payloads in order, after any crash up to the last whole
//! frame. *Must not know* what the payloads mean.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::{FileHandle, Storage, StorageFile, StorageHandle};

mod syncer;

pub use syncer::Syncer;

const MAGIC: &[u8; 8] = b"BROOKLET";
/// The version of every format in this release.
pub const VERSION: u16 = 3;
/// Bytes before the first frame.
pub const FILE_HEAD: u64 = 16;
/// Bytes of a frame before its payload.
pub const FRAME_HEAD: usize = 9;

/// What a file is for; stored in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum FileKind {
    /// Row-wise change log.
    Changes = 1,
    /// Posting log.
    Postings = 2,
    /// Snapshot pack.
    Pack = 3,
    /// Sealed change log.
    Sealed = 4,
    /// Catalogue.
    Catalog = 5,
    /// Rows that are kept for subqueries.
    Kept = 6,
}

/// Why a file of frames cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not one of our files, or of another version.
    #[error(
        "{0} was not written by this version of Brooklet. Start with the version that wrote it, or with an empty storage directory."
    )]
    Foreign(PathBuf),
    /// Damage that no crash explains.
    #[error(
        "{0} is damaged at byte {1}. Restore it, or move the storage directory away: Brooklet then starts empty and clients fetch anew."
    )]
    Damaged(PathBuf, u64),
}

/// Whether a torn end is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The newest file of a log: cut a torn end off.
    Newest,
    /// An older file: a torn frame is damage.
    Closed,
}

/// One frame as it is read back.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Where the payload begins in the file.
    pub at: u64,
    /// What the payload is, by the file's own numbering.
    pub kind: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// An open file of frames, for appending; readers share [`FrameFile::file`].
///
/// Appended frames are gathered until [`FrameFile::flush`], one system call for many; only flushed
/// frames can be read, only synced ones survive a power cut.
pub struct FrameFile {
    storage: StorageHandle,
    path: PathBuf,
    file: FileHandle,
    syncer: Syncer,
    flushed: u64,
    /// How many bytes of zeros are written at a time behind the frames, and how far they reach.
    zeros: (usize, u64),
    pending: Vec<u8>,
}

impl FrameFile {
    /// Makes a new file; it must not exist.
    pub fn create(
        storage: &StorageHandle,
        path: &Path,
        kind: FileKind,
    ) -> Result<FrameFile, FrameError> {
        let at = |source| FrameError::Io { path: path.to_owned(), source };
        let file = storage.create_new(path).map_err(at)?;
        file.write_all_at(&head(kind), 0).map_err(at)?;
        file.sync_all().map_err(at)?;
        sync_dir(&**storage, path)?;
        Ok(FrameFile::at(storage, path, file, FILE_HEAD))
    }

    /// Opens a file for those who read parts of it.
    pub fn reader(storage: &StorageHandle, path: &Path) -> Result<FileHandle, FrameError> {
        let at = |source| FrameError::Io { path: path.to_owned(), source };
        storage.open(path).map_err(at)
    }

    /// Opens a file and shows every whole frame to `each`.
    pub fn open(
        storage: &StorageHandle,
        path: &Path,
        kind: FileKind,
        tail: Tail,
        mut each: impl FnMut(Frame<'_>),
    ) -> Result<FrameFile, FrameError> {
        let at = |source| FrameError::Io { path: path.to_owned(), source };
        let file = storage.open(path).map_err(at)?;
        let mut length = file.length().map_err(at)?;
        let mut found = [0; FILE_HEAD as usize];
        if length < FILE_HEAD {
            // Created, but the head did not reach the disk.
            if tail == Tail::Closed {
                return Err(FrameError::Damaged(path.to_owned(), 0));
            }
            file.set_len(0).and_then(|()| file.write_all_at(&head(kind), 0)).map_err(at)?;
            length = FILE_HEAD;
        } else {
            file.read_exact_at(&mut found, 0).map_err(at)?;
            if found != head(kind) {
                return Err(FrameError::Foreign(path.to_owned()));
            }
        }
        let end = scan(&*file, FILE_HEAD, length, &mut each).map_err(at)?;
        if end < length {
            if tail == Tail::Closed {
                return Err(FrameError::Damaged(path.to_owned(), end));
            }
            if !begins_with_zeros(&*file, end, length).map_err(at)? {
                tracing::info!(path = %path.display(), end, length, "cut a torn end");
            }
            file.set_len(end).map_err(at)?;
        }
        if tail == Tail::Newest {
            // What was read may be in the page cache only: a process that was killed leaves it so,
            // the file's name too.
            file.sync_all().map_err(at)?;
            sync_dir(&**storage, path)?;
        }
        Ok(FrameFile::at(storage, path, file, end))
    }

    fn at(storage: &StorageHandle, path: &Path, file: FileHandle, flushed: u64) -> FrameFile {
        let syncer = Syncer::new(Arc::clone(&file));
        let (storage, path) = (Arc::clone(storage), path.to_owned());
        FrameFile { storage, path, file, syncer, flushed, zeros: (0, 0), pending: Vec::new() }
    }

    /// From now on there are so many zeros behind the frames, now and then fewer: no frame, so they are cut where a file is
    /// opened. An fsync of what takes their place is one of data only. A file that becomes longer each time costs the
    /// file system a commit of its own as well: measured 4 ms instead of 0.2 where others write, 0.6 instead of 0.1 else.
    #[must_use]
    pub fn ahead(self, bytes: usize) -> FrameFile {
        FrameFile { zeros: (bytes, 0), ..self }
    }

    /// Adds a frame of the given parts; returns where its payload begins.
    pub fn append(&mut self, kind: u8, parts: &[&[u8]]) -> u64 {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // Callers slice by `limits::SLICE_BYTES_MAX` or so; a longer frame could not be read back.
        assert!(u32::try_from(length).is_ok(), "a frame of {length} bytes");
        let head = (length as u32).to_le_bytes();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(&[kind]);
        parts.iter().for_each(|part| crc.update(part));
        self.pending.extend_from_slice(&head);
        self.pending.extend_from_slice(&crc.finalize().to_le_bytes());
        self.pending.push(kind);
        let at = self.end();
        parts.iter().for_each(|part| self.pending.extend_from_slice(part));
        at
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.flushed + self.pending.len() as u64
    }

    /// Where the payload of the next frame begins.
    #[must_use]
    pub fn next_payload(&self) -> u64 {
        self.end() + FRAME_HEAD as u64
    }

    /// Bytes gathered since the last flush.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Writes what was gathered, so that readers can see it.
    pub fn flush(&mut self) -> Result<(), FrameError> {
        if !self.pending.is_empty() {
            self.file.write_all_at(&self.pending, self.flushed).map_err(|e| self.error(e))?;
            self.flushed += self.pending.len() as u64;
            self.pending.clear();
            self.pending.shrink_to(4 * crate::limits::SLICE_BYTES_MAX);
            self.write_zeros();
        }
        Ok(())
    }

    /// Forgets what was gathered since the last flush.
    pub fn discard(&mut self) {
        self.pending = Vec::new();
    }

    /// They are for speed only: where there is no room for them there may be for what counts.
    fn write_zeros(&mut self) {
        let (count, until) = self.zeros;
        if count > 0 && self.flushed > until {
            let zeros = vec![0; count];
            let written = self.file.write_all_at(&zeros, self.flushed);
            let count = if written.is_ok() { count } else { 0 };
            self.zeros = (count, self.flushed + count as u64);
        }
    }

    /// Flushes and waits until the disk has it. After an error the file must not be used again.
    pub fn sync(&mut self) -> Result<(), FrameError> {
        self.flush()?;
        self.syncer.sync().map_err(|e| self.error(e))
    }

    /// To make what is flushed durable from elsewhere.
    #[must_use]
    pub fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Gives the file another name; durable after [`sync_dir`].
    pub fn rename(&mut self, path: &Path) -> Result<(), FrameError> {
        self.storage.rename(&self.path, path).map_err(|e| self.error(e))?;
        self.path = path.to_owned();
        Ok(())
    }

    /// Where the frames end that were flushed.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Leaves what was gathered since the last flush to another file.
    pub fn hand_over(self, to: &mut FrameFile) {
        to.pending.extend_from_slice(&self.pending);
    }

    /// Cuts everything from `at` on. It cannot come back with a power cut, in between what is
    /// appended next.
    pub fn truncate(&mut self, at: u64) -> Result<(), FrameError> {
        self.flush()?;
        self.syncer.truncate(at).map_err(|e| self.error(e))?;
        (self.flushed, self.zeros.1) = (at, at);
        Ok(())
    }

    /// For readers.
    #[must_use]
    pub fn file(&self) -> &FileHandle {
        &self.file
    }

    /// Where files are kept.
    #[must_use]
    pub fn storage(&self) -> &StorageHandle {
        &self.storage
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, source: io::Error) -> FrameError {
        FrameError::Io { path: self.path.clone(), source }
    }
}

/// Shows the frames between two ends of frames, of a file that may be appended to meanwhile.
pub fn read_frames(
    file: &dyn StorageFile,
    path: &Path,
    (begin, end): (u64, u64),
    mut each: impl FnMut(Frame<'_>),
) -> Result<(), FrameError> {
    let at = |source| FrameError::Io { path: path.to_owned(), source };
    let found = scan(file, begin, end, &mut each).map_err(at)?;
    if found < end { Err(FrameError::Damaged(path.to_owned(), found)) } else { Ok(()) }
}

/// The head of a file of this kind.
#[must_use]
pub fn head(kind: FileKind) -> [u8; FILE_HEAD as usize] {
    let mut head = [0; FILE_HEAD as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[10..12].copy_from_slice(&(kind as u16).to_le_bytes());
    head
}

/// Ends the process: after a failed fsync nobody knows what the disk holds, and a second one would
/// succeed and lie.
pub fn fsync_failed(error: &FrameError) -> ! {
    tracing::error!(%error, "the disk did not take what was written; stopping");
    if cfg!(test) {
        // A test goes on after the process it plays.
        std::panic::resume_unwind(Box::new(anyhow::anyhow!("{error}")));
    }
    eprintln!("brooklet: the disk did not take what was written: {error}");
    std::process::exit(2)
}

/// Waits for an fsync, on a thread that may block. One that fails is the end also if nobody waits any
/// more: whoever asks next would be told that all is well.
pub async fn sync_elsewhere(sync: impl FnOnce() -> Result<(), FrameError> + Send + 'static) {
    let synced = tokio::task::spawn_blocking(|| sync().unwrap_or_else(|e| fsync_failed(&e))).await;
    match synced.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(()) => {}
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // It never ran: the process is ending, and nobody is told anything.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Makes a created, renamed or deleted name durable.
pub fn sync_dir(storage: &dyn Storage, path: &Path) -> Result<(), FrameError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    storage.sync_dir(dir).map_err(|source| FrameError::Io { path: dir.to_owned(), source })
}

/// Reads the payload of the frame whose payload begins at `at` and is so long, but for its first `skipped`
/// bytes; `None` if it is not what was written.
pub fn read_frame(
    file: &dyn StorageFile,
    at: u64,
    length: u64,
    skipped: usize,
) -> io::Result<Option<Vec<u8>>> {
    let (Some(begin), Ok(size)) = (at.checked_sub(FRAME_HEAD as u64), u32::try_from(length)) else {
        return Ok(None);
    };
    let Some(kept) = (size as usize).checked_sub(skipped) else { return Ok(None) };
    let (mut head, mut rest) = (vec![0; FRAME_HEAD + skipped], Vec::with_capacity(kept));
    // Not `vec![0; kept]`: of pages that are zero already each would have to be fetched from the system anew.
    rest.resize(kept, 0);
    file.read_exact_at(&mut head, begin)?;
    file.read_exact_at(&mut rest, begin + head.len() as u64)?;
    let whole =
        head[..4] == size.to_le_bytes() && checksum(&head, &rest).to_le_bytes() == head[4..8];
    Ok(whole.then_some(rest))
}

/// The checksum that belongs into a frame's head; what follows the head may begin there.
fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..4]);
    crc.update(&head[8..]);
    crc.update(payload);
    crc.finalize()
}

/// Whether what stands behind the frames was never one, see [`FrameFile::ahead`].
fn begins_with_zeros(file: &dyn StorageFile, end: u64, length: u64) -> io::Result<bool> {
    let mut begin = [1; FRAME_HEAD];
    let count = (length - end).min(FRAME_HEAD as u64) as usize;
    file.read_exact_at(&mut begin[..count], end)?;
    Ok(begin[..count].iter().all(|byte| *byte == 0))
}

/// Shows every whole frame from `end` on; returns where the last one ends.
fn scan(
    file: &dyn StorageFile,
    mut end: u64,
    length: u64,
    each: &mut impl FnMut(Frame<'_>),
) -> io::Result<u64> {
    let rest = Rest { file, at: end, length };
    let mut reader = BufReader::with_capacity(length.min(1 << 20) as usize, rest);
    let mut payload = Vec::new();
    while length.saturating_sub(end) >= FRAME_HEAD as u64 {
        let mut head = [0; FRAME_HEAD];
        reader.read_exact(&mut head)?;
        let size = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let at = end + FRAME_HEAD as u64;
        if at + u64::from(size) > length {
            break;
        }
        payload.resize(size as usize, 0);
        reader.read_exact(&mut payload)?;
        if checksum(&head, &payload) != crc {
            break;
        }
        each(Frame { at, kind: head[8], payload: &payload });
        end = at + u64::from(size);
    }
    Ok(end)
}

/// What is not read yet, one read after the other.
struct Rest<'a> {
    file: &'a dyn StorageFile,
    at: u64,
    length: u64,
}

impl Read for Rest<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = (bytes.len() as u64).min(self.length.saturating_sub(self.at));
        let bytes = &mut bytes[..count as usize];
        self.file.read_exact_at(bytes, self.at)?;
        self.at += count;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests;
