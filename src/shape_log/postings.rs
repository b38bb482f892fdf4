//! The posting log: what each transaction brought to each shape. Bytes: `FORMAT.md`.
//!
//! A transaction may come in parts, which mean nothing until the frame that ends it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use brooklet_dataflows::Posting;
use brooklet_dataflows::{Change, ShapeId};
use brooklet_sql::Lsn;
use bytes::{Buf, BufMut};

use super::block::{Block, Home, MOVED, PostingFile, ShapeEntry, put_shapes, take_shapes};
use super::posting_files::PostingFiles;
use super::{moved, varint};
use crate::frame::{FileKind, Frame, FrameError, FrameFile, Tail, sync_dir};
use crate::limits::{POSTING_FILE_BYTES_MAX, SLICE_BYTES_MAX};
use crate::storage::StorageHandle;

/// Frame kinds.
pub(super) mod kind {
    pub const TRANSACTION: u8 = 1;
    pub const LATE: u8 = 2;
    pub const ENDED: u8 = 3;
    pub const POSITION: u8 = 4;
    pub const PART: u8 = 5;
    pub const MOVED: u8 = 6;
}

/// What one transaction brings to one shape, where it is written.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Blocks that came in parts: their postings are read back where they are needed.
    pub parts: Vec<Block>,
    /// The postings after those.
    pub postings: Vec<Posting>,
    /// The blocks of these.
    pub blocks: Vec<Block>,
}

/// What the posting log holds, told again at a restart in the order it was written.
#[derive(Debug)]
pub enum Recovered {
    /// Postings of a transaction.
    News(ShapeId, News),
    /// A shape ended.
    Ended(ShapeId),
}

/// The one writer.
pub struct PostingWriter {
    file: FrameFile,
    /// The same file, for readers.
    current: Arc<PostingFile>,
    files: PostingFiles,
    position: Lsn,
    /// Parts of the open transaction.
    parts: u64,
    /// A file is ended beyond this.
    file_bytes_max: u64,
}

impl PostingWriter {
    /// Opens or creates the log in `dir`. A transaction from `end` on, the change log's, is cut off
    /// with all that follows: its rows are not durable.
    pub fn open(
        storage: &StorageHandle,
        dir: &Path,
        end: Lsn,
        each: impl FnMut(Recovered) -> io::Result<()>,
    ) -> Result<PostingWriter, FrameError> {
        PostingWriter::open_with(storage, dir, end, POSTING_FILE_BYTES_MAX, each)
    }

    /// As [`PostingWriter::open`], with files of another size.
    pub(super) fn open_with(
        storage: &StorageHandle,
        dir: &Path,
        end: Lsn,
        file_bytes_max: u64,
        each: impl FnMut(Recovered) -> io::Result<()>,
    ) -> Result<PostingWriter, FrameError> {
        let files = PostingFiles::open(storage, dir)?;
        let all = files.list()?;
        let (mut found, mut newest) = (Found::new(end, each), None);
        for (at, numbers) in all.iter().enumerate() {
            let path = files.path(*numbers);
            let tail = if at + 1 == all.len() { Tail::Newest } else { Tail::Closed };
            let current = PostingFile::new(*numbers, FrameFile::reader(storage, &path)?);
            found.told = Lsn::ZERO;
            let mut file = FrameFile::open(storage, &path, FileKind::Postings, tail, |frame| {
                found.frame(frame, &current);
            })?;
            found.check(&path)?;
            if let Some(cut) = found.cut {
                // For good before this file goes on: what is in them is going to be written again.
                all[at + 1..].iter().rev().try_for_each(|later| files.delete(*later))?;
                sync_dir(&**storage, &path)?;
                file.truncate(cut)?;
            }
            files.all().push(Arc::clone(&current));
            newest = Some((file, current));
            if found.cut.is_some() {
                break;
            }
        }
        let (mut file, current) = match newest {
            Some(newest) => newest,
            None => create(&files, 0)?,
        };
        let position = found.position;
        if found.told < position {
            // It was begun when the process ended, or cut. Others may go, and files of the change log are
            // sealed up to here.
            append_position(&mut file, position);
            file.sync()?;
        }
        Ok(PostingWriter { file, current, files, position, parts: 0, file_bytes_max })
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &PostingFiles {
        &self.files
    }

    /// A failure of the current file.
    pub(super) fn error(&self, source: io::Error) -> FrameError {
        FrameError::Io { path: self.file.path().to_owned(), source }
    }

    /// Every transaction up to here has its frame.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Appends what the open transaction brought so far; it counts once a frame ends the
    /// transaction. Returns where, shape by shape.
    pub fn append_part(&mut self, shapes: &[ShapeEntry<'_>]) -> Vec<Vec<Block>> {
        let mut payload = Vec::new();
        varint::put(self.parts, &mut payload);
        self.parts += 1;
        self.append_shapes(kind::PART, payload, (Lsn::ZERO, 0), shapes)
    }

    /// The open transaction was taken back: its parts never count.
    pub fn abort(&mut self) {
        self.parts = 0;
    }

    /// Appends what a transaction brought beyond its parts, and ends it; returns where, shape by
    /// shape. The parts of shapes that are not named here do not count.
    pub fn append(&mut self, lsn: Lsn, xid: u32, shapes: &[ShapeEntry<'_>]) -> Vec<Vec<Block>> {
        self.position = self.position.max(lsn);
        let mut payload = transaction(lsn, xid);
        varint::put(std::mem::take(&mut self.parts), &mut payload);
        self.append_shapes(kind::TRANSACTION, payload, (lsn, xid), shapes)
    }

    /// Appends what an earlier transaction brought to a shape that had to wait for its snapshot, all
    /// or a part of it; returns where.
    pub fn append_late(
        &mut self,
        lsn: Lsn,
        xid: u32,
        shape: ShapeId,
        postings: &[Posting],
    ) -> Vec<Block> {
        let payload = transaction(lsn, xid);
        let mut places = self.append_shapes(kind::LATE, payload, (lsn, xid), &[(shape, postings)]);
        places.pop().unwrap_or_default()
    }

    /// Appends rows that have no place in the change log; returns what postings that are appended next
    /// have for a seq.
    pub(super) fn append_moved<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<Vec<u64>, FrameError> {
        let (mut payload, mut seqs) = (Vec::new(), Vec::new());
        for change in changes {
            seqs.push(MOVED | (self.file.next_payload() + payload.len() as u64));
            moved::encode(change, &mut payload);
            if payload.len() >= SLICE_BYTES_MAX {
                self.file.append(kind::MOVED, &[&payload]);
                payload.clear();
                self.flush_if_large()?;
            }
        }
        if !payload.is_empty() {
            self.file.append(kind::MOVED, &[&payload]);
        }
        Ok(seqs)
    }

    fn append_shapes(
        &mut self,
        kind: u8,
        mut payload: Vec<u8>,
        (lsn, xid): (Lsn, u32),
        shapes: &[ShapeEntry<'_>],
    ) -> Vec<Vec<Block>> {
        let begin = self.file.next_payload();
        let home = Home { lsn, xid, file: Arc::clone(&self.current) };
        let places = put_shapes(shapes, &home, begin, &mut payload);
        self.current.note_frame(payload.len());
        self.file.append(kind, &[&payload]);
        places
    }

    /// Notes that shapes have ended.
    pub fn append_ended(&mut self, shapes: &[ShapeId]) {
        let mut payload = Vec::new();
        varint::put(shapes.len() as u64, &mut payload);
        shapes.iter().for_each(|shape| varint::put(shape.0, &mut payload));
        self.file.append(kind::ENDED, &[&payload]);
    }

    /// Makes what was appended readable.
    pub fn flush(&mut self) -> Result<(), FrameError> {
        self.file.flush()
    }

    /// As [`PostingWriter::flush`], where much has gathered.
    pub(super) fn flush_if_large(&mut self) -> Result<(), FrameError> {
        if self.file.pending_bytes() >= SLICE_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Makes what was appended durable, together with the fact that everything up to `position` is
    /// there.
    pub fn sync(&mut self, position: Lsn) -> Result<(), FrameError> {
        if position > self.position {
            append_position(&mut self.file, position);
            self.position = position;
        }
        self.file.sync()
    }

    /// Ends the file and begins another if it is large. To be called when everything is durable and
    /// published: a file that is ended may be rewritten from what logs refer to. Parts stay with the
    /// frame that ends them.
    pub fn roll(&mut self) -> Result<(), FrameError> {
        if self.parts > 0 || self.file.end() <= self.file_bytes_max {
            return Ok(());
        }
        let (mut file, current) = create(&self.files, self.current.numbers.1 + 1)?;
        // So that the position does not depend on older files.
        append_position(&mut file, self.position);
        file.sync()?;
        self.file = file;
        self.current = current;
        Ok(())
    }
}

fn create(files: &PostingFiles, number: u32) -> Result<(FrameFile, Arc<PostingFile>), FrameError> {
    let numbers = (number, number);
    let file = FrameFile::create(files.storage(), &files.path(numbers), FileKind::Postings)?;
    let current = PostingFile::new(numbers, Arc::clone(file.file()));
    files.all().push(Arc::clone(&current));
    Ok((file, current))
}

/// The head of a frame that belongs to a known transaction.
pub(super) fn transaction(lsn: Lsn, xid: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_u64_le(lsn.0);
    payload.put_u32_le(xid);
    payload
}

pub(super) fn append_position(file: &mut FrameFile, position: Lsn) {
    file.append(kind::POSITION, &[&position.0.to_le_bytes()]);
}

/// Reads frames back until one belongs to a transaction that the change log does not have.
pub(super) struct Found<F> {
    end: Lsn,
    pub position: Lsn,
    /// What the file that is being read says of it.
    told: Lsn,
    /// Where to cut.
    cut: Option<u64>,
    damaged: Option<u64>,
    failed: Option<io::Error>,
    /// Parts of a transaction whose end is not read yet, and how many.
    parts: HashMap<ShapeId, Vec<Block>>,
    parts_count: u64,
    each: F,
}

impl<F: FnMut(Recovered) -> io::Result<()>> Found<F> {
    pub fn new(end: Lsn, each: F) -> Found<F> {
        let (cut, damaged, failed) = (None, None, None);
        let (parts, parts_count) = (HashMap::new(), 0);
        let (position, told) = (Lsn::ZERO, Lsn::ZERO);
        Found { end, position, told, cut, damaged, failed, parts, parts_count, each }
    }

    /// A frame of something that the change log does not have: what it has begins before its end,
    /// and another may begin just there. Frames come in the order of the stream, so those of all
    /// that it has were before this one, also of what concerned no shape and is in no frame.
    fn has_all(&mut self) -> bool {
        self.position = self.position.max(Lsn(self.end.0.saturating_sub(1)));
        false
    }

    fn reaches(&mut self, lsn: Lsn) {
        (self.position, self.told) = (self.position.max(lsn), self.told.max(lsn));
    }

    pub fn frame(&mut self, frame: Frame<'_>, file: &Arc<PostingFile>) {
        if self.cut.is_some() || self.damaged.is_some() || self.failed.is_some() {
            return;
        }
        match self.read(frame, file) {
            Some(true) => {}
            Some(false) => self.cut = Some(frame.at - crate::frame::FRAME_HEAD as u64),
            None => self.damaged = Some(frame.at),
        }
    }

    /// Whether all frames so far could be read.
    pub fn check(&mut self, path: &Path) -> Result<(), FrameError> {
        match (self.failed.take(), self.damaged) {
            (Some(source), _) => Err(FrameError::Io { path: path.to_owned(), source }),
            (_, Some(at)) => Err(FrameError::Damaged(path.to_owned(), at)),
            _ => Ok(()),
        }
    }

    /// Whether the change log has what the frame is about; `None` if it cannot be read.
    fn read(&mut self, frame: Frame<'_>, file: &Arc<PostingFile>) -> Option<bool> {
        let mut payload = frame.payload;
        match frame.kind {
            kind::TRANSACTION | kind::LATE => {
                let lsn = Lsn(payload.try_get_u64_le().ok()?);
                if lsn >= self.end {
                    return Some(self.has_all());
                }
                let xid = payload.try_get_u32_le().ok()?;
                file.note_frame(frame.payload.len());
                let mut parts = HashMap::new();
                if frame.kind == kind::TRANSACTION {
                    self.reaches(lsn);
                    parts = self.take_parts(varint::take(&mut payload)?)?;
                }
                self.shapes(frame, payload, Home { lsn, xid, file: Arc::clone(file) }, parts)?;
            }
            kind::PART => self.part(frame, payload, file)?,
            // Read by those whose postings refer to them.
            kind::MOVED => {}
            kind::ENDED => {
                for _ in 0..varint::take(&mut payload)? {
                    self.tell(Recovered::Ended(ShapeId(varint::take(&mut payload)?)));
                }
            }
            kind::POSITION => {
                let lsn = Lsn(payload.try_get_u64_le().ok()?);
                if lsn >= self.end {
                    return Some(self.has_all());
                }
                self.reaches(lsn);
            }
            _ => return None,
        }
        Some(true)
    }

    fn shapes(
        &mut self,
        frame: Frame<'_>,
        rest: &[u8],
        home: Home,
        mut parts: HashMap<ShapeId, Vec<Block>>,
    ) -> Option<()> {
        let at = frame.at + (frame.payload.len() - rest.len()) as u64;
        take_shapes(rest, &home, at, |shape, postings, blocks| {
            let mut parts = parts.remove(&shape).unwrap_or_default();
            parts.iter_mut().for_each(|block| block.belongs_to(home.lsn, home.xid));
            self.tell(Recovered::News(shape, News { parts, postings, blocks }));
        })
    }

    /// The first part of a transaction says that an earlier one never ended.
    fn part(&mut self, frame: Frame<'_>, mut rest: &[u8], file: &Arc<PostingFile>) -> Option<()> {
        let number = varint::take(&mut rest)?;
        if number == 0 {
            (self.parts, self.parts_count) = (HashMap::new(), 0);
        }
        if number != self.parts_count {
            return None;
        }
        self.parts_count += 1;
        file.note_frame(frame.payload.len());
        let home = Home { lsn: Lsn::ZERO, xid: 0, file: Arc::clone(file) };
        let at = frame.at + (frame.payload.len() - rest.len()) as u64;
        take_shapes(rest, &home, at, |shape, _, blocks| {
            self.parts.entry(shape).or_default().extend(blocks);
        })
    }

    /// The parts of a transaction that ends; what else there is was never ended.
    fn take_parts(&mut self, count: u64) -> Option<HashMap<ShapeId, Vec<Block>>> {
        let (parts, found) =
            (std::mem::take(&mut self.parts), std::mem::take(&mut self.parts_count));
        match count {
            0 => Some(HashMap::new()),
            _ => (count == found).then_some(parts),
        }
    }

    fn tell(&mut self, recovered: Recovered) {
        if self.failed.is_none() {
            self.failed = (self.each)(recovered).err();
        }
    }
}

#[cfg(test)]
mod tests;
