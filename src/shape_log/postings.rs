//! The posting log: what each transaction brought to each shape. Bytes: `FORMAT.md`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

pub use brooklet_dataflows::Posting;
use brooklet_dataflows::{ShapeId, Verdict};
use brooklet_sql::Lsn;
use bytes::{Buf, BufMut};

use super::Offset;
use crate::frame::{FileKind, Frame, FrameError, FrameFile, Tail};
use crate::limits::{POSTING_FILE_BYTES_MAX, POSTINGS_PER_BLOCK_MAX};
use crate::storage::{FileHandle, StorageHandle, make_dir};

mod kind {
    pub const TRANSACTION: u8 = 1;
    pub const LATE: u8 = 2;
    pub const ENDED: u8 = 3;
    pub const POSITION: u8 = 4;
}

const HEAD: u64 = 8 + 4 + 4;
const SHAPE_HEAD: u64 = 8 + 4;
const POSTING: usize = 8 + 8 + 1 + 1 + 3 + 4;

/// Up to [`POSTINGS_PER_BLOCK_MAX`] postings of one transaction and shape, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The transaction.
    pub lsn: Lsn,
    /// Its 32-bit id.
    pub xid: u32,
    /// How many postings.
    pub count: u32,
    /// The place of its last entry.
    pub last_op: u64,
    file: u32,
    /// Of its bytes: a frame's covers all shapes, and a block is read alone.
    crc: u32,
    at: u64,
}

impl Block {
    /// The offset of its last entry.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset { tx: self.lsn.0, op: self.last_op }
    }
}

/// The place of a posting's last entry: a key change takes two.
#[must_use]
pub fn last_op(posting: &Posting) -> u64 {
    posting.op_position + u64::from(posting.verdict == Verdict::Rekey)
}

/// What a transaction brings to one shape.
pub type ShapeEntry<'a> = (ShapeId, &'a [Posting]);

/// Reads postings back; cheap to clone.
#[derive(Clone, Default)]
pub struct PostingReader {
    files: Arc<RwLock<Vec<FileHandle>>>,
}

impl PostingReader {
    /// The postings of a block, in order.
    pub fn read(&self, block: &Block) -> std::io::Result<Vec<Posting>> {
        let file = {
            let files = self.files.read().unwrap_or_else(|e| e.into_inner());
            files.get(block.file as usize).cloned()
        };
        let file = file.ok_or_else(|| std::io::Error::other("a posting file is missing"))?;
        let mut bytes = vec![0; POSTING * block.count as usize];
        file.read_exact_at(&mut bytes, block.at)?;
        if crc32fast::hash(&bytes) != block.crc {
            return Err(std::io::Error::other("postings are damaged"));
        }
        let decoded = bytes.chunks_exact(POSTING).map(decode).collect::<Option<_>>();
        decoded.ok_or_else(|| std::io::Error::other("a posting is damaged"))
    }
}

impl PostingReader {
    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let files = self.files.read().unwrap_or_else(|e| e.into_inner());
        files.iter().filter_map(|file| file.length().ok()).sum()
    }
}

/// What the posting log holds, told again at a restart in the order it was written.
pub enum Recovered<'a> {
    /// Postings of a transaction, with where they are.
    Postings(ShapeId, &'a [Posting], Vec<Block>),
    /// A shape ended.
    Ended(ShapeId),
}

/// The one writer.
pub struct PostingWriter {
    dir: PathBuf,
    file: FrameFile,
    number: u32,
    reader: PostingReader,
    position: Lsn,
}

impl PostingWriter {
    /// Opens or creates the log in `dir`. A transaction from `end` on, the change log's, is cut off
    /// with all that follows: its rows are not durable.
    pub fn open(
        storage: &StorageHandle,
        dir: &Path,
        end: Lsn,
        mut each: impl FnMut(Recovered<'_>),
    ) -> Result<PostingWriter, FrameError> {
        let at = |source| FrameError::Io { path: dir.to_owned(), source };
        make_dir(&**storage, dir).map_err(at)?;
        let reader = PostingReader::default();
        let (mut position, mut number, mut newest) = (Lsn::ZERO, 0, None);
        let exists = |number| storage.exists(&path(dir, number)).map_err(at);
        while exists(number)? {
            let newer = exists(number + 1)?;
            let tail = if newer { Tail::Closed } else { Tail::Newest };
            let mut keep = Keep { end, position, cut: None };
            let open = path(dir, number);
            let mut file = FrameFile::open(storage, &open, FileKind::Postings, tail, |frame| {
                keep.frame(frame, number, &mut each);
            })?;
            position = keep.position;
            if let Some(cut) = keep.cut {
                file.truncate(cut)?;
                for later in number + 1.. {
                    if !exists(later)? {
                        break;
                    }
                    storage.remove(&path(dir, later)).map_err(at)?;
                }
            }
            reader.files.write().unwrap_or_else(|e| e.into_inner()).push(Arc::clone(file.file()));
            newest = Some(file);
            number += 1;
        }
        let file = match newest {
            Some(file) => file,
            None => {
                number = 1;
                let file = FrameFile::create(storage, &path(dir, 0), FileKind::Postings)?;
                reader
                    .files
                    .write()
                    .unwrap_or_else(|e| e.into_inner())
                    .push(Arc::clone(file.file()));
                file
            }
        };
        Ok(PostingWriter { dir: dir.to_owned(), file, number: number - 1, reader, position })
    }

    /// For readers.
    #[must_use]
    pub fn reader(&self) -> PostingReader {
        self.reader.clone()
    }

    /// Every transaction up to here has its frame.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Appends what a transaction brought; returns where, shape by shape. `late` for one that had
    /// to wait for its shape's snapshot.
    pub fn append(
        &mut self,
        lsn: Lsn,
        xid: u32,
        shapes: &[ShapeEntry<'_>],
        late: bool,
    ) -> Vec<Vec<Block>> {
        let mut payload = Vec::new();
        payload.put_u64_le(lsn.0);
        payload.put_u32_le(xid);
        payload.put_u32_le(shapes.len() as u32);
        for (shape, postings) in shapes {
            payload.put_u64_le(shape.0);
            payload.put_u32_le(postings.len() as u32);
        }
        for posting in shapes.iter().flat_map(|(_, postings)| *postings) {
            encode(posting, &mut payload);
        }
        let kind = if late { kind::LATE } else { kind::TRANSACTION };
        let mut at = self.file.append(kind, &[&payload]);
        if !late {
            self.position = self.position.max(lsn);
        }
        at += HEAD + SHAPE_HEAD * shapes.len() as u64;
        let mut places = Vec::with_capacity(shapes.len());
        for (_, postings) in shapes {
            places.push(blocks(lsn, xid, postings, self.number, at));
            at += (POSTING * postings.len()) as u64;
        }
        places
    }

    /// Notes that shapes have ended.
    pub fn append_ended(&mut self, shapes: &[ShapeId]) {
        let mut payload = Vec::new();
        payload.put_u32_le(shapes.len() as u32);
        shapes.iter().for_each(|shape| payload.put_u64_le(shape.0));
        self.file.append(kind::ENDED, &[&payload]);
    }

    /// Makes what was appended readable.
    pub fn flush(&mut self) -> Result<(), FrameError> {
        self.file.flush()
    }

    /// Makes what was appended durable, together with the fact that everything up to `position` is
    /// there.
    pub fn sync(&mut self, position: Lsn) -> Result<(), FrameError> {
        if position > self.position {
            self.file.append(kind::POSITION, &[&position.0.to_le_bytes()]);
            self.position = position;
        }
        self.file.sync()?;
        if self.file.end() > POSTING_FILE_BYTES_MAX {
            let (number, storage) = (self.number + 1, self.file.storage());
            self.file = FrameFile::create(storage, &path(&self.dir, number), FileKind::Postings)?;
            self.number = number;
            let file = Arc::clone(self.file.file());
            self.reader.files.write().unwrap_or_else(|e| e.into_inner()).push(file);
        }
        Ok(())
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:06}.log"))
}

fn blocks(lsn: Lsn, xid: u32, postings: &[Posting], file: u32, at: u64) -> Vec<Block> {
    let pieces = postings.chunks(POSTINGS_PER_BLOCK_MAX).enumerate();
    pieces
        .map(|(number, piece)| Block {
            lsn,
            xid,
            count: piece.len() as u32,
            last_op: piece.last().map_or(0, last_op),
            file,
            crc: checksum(piece),
            at: at + (number * POSTINGS_PER_BLOCK_MAX * POSTING) as u64,
        })
        .collect()
}

fn checksum(postings: &[Posting]) -> u32 {
    let mut bytes = Vec::with_capacity(POSTING * postings.len());
    postings.iter().for_each(|posting| encode(posting, &mut bytes));
    crc32fast::hash(&bytes)
}

fn encode(posting: &Posting, out: &mut Vec<u8>) {
    out.put_u64_le(posting.seq);
    out.put_u64_le(posting.op_position);
    out.put_u8(posting.verdict as u8);
    out.put_u8(u8::from(posting.last));
    out.put_bytes(0, 3);
    out.put_u32_le(posting.weight);
}

fn decode(mut bytes: &[u8]) -> Option<Posting> {
    let bytes = &mut bytes;
    let seq = bytes.try_get_u64_le().ok()?;
    let op_position = bytes.try_get_u64_le().ok()?;
    let verdict = Verdict::from_u8(bytes.try_get_u8().ok()?)?;
    let last = bytes.try_get_u8().ok()? == 1;
    bytes.advance(3);
    let weight = bytes.try_get_u32_le().ok()?;
    // One that breaks a promise is never stored.
    Some(Posting { seq, op_position, verdict, last, weight, breaks_promise: false })
}

/// Reads frames back until one belongs to a transaction that the change log does not have.
struct Keep {
    end: Lsn,
    position: Lsn,
    cut: Option<u64>,
}

impl Keep {
    fn frame(&mut self, frame: Frame<'_>, file: u32, each: &mut impl FnMut(Recovered<'_>)) {
        if self.cut.is_some() || self.read(frame, file, each).is_some() {
            return;
        }
        self.cut = Some(frame.at - 9);
    }

    /// A frame of something that the change log does not have: what it has begins before its end,
    /// and another may begin just there. Frames come in the order of the stream, so those of all
    /// that it has were before this one, also of what concerned no shape and is in no frame.
    fn has_all(&mut self) -> Option<()> {
        self.position = self.position.max(Lsn(self.end.0.saturating_sub(1)));
        None
    }

    fn read(
        &mut self,
        frame: Frame<'_>,
        file: u32,
        each: &mut impl FnMut(Recovered<'_>),
    ) -> Option<()> {
        let mut payload = frame.payload;
        match frame.kind {
            kind::TRANSACTION | kind::LATE => {
                let lsn = Lsn(payload.try_get_u64_le().ok()?);
                if lsn >= self.end {
                    return self.has_all();
                }
                let xid = payload.try_get_u32_le().ok()?;
                let count = payload.try_get_u32_le().ok()?;
                let mut shapes = Vec::new();
                for _ in 0..count {
                    let shape = ShapeId(payload.try_get_u64_le().ok()?);
                    shapes.push((shape, payload.try_get_u32_le().ok()? as usize));
                }
                let mut at = frame.at + HEAD + SHAPE_HEAD * u64::from(count);
                for (shape, count) in shapes {
                    let bytes = payload.get(..count * POSTING)?;
                    let postings =
                        bytes.chunks_exact(POSTING).map(decode).collect::<Option<Vec<_>>>()?;
                    payload.advance(count * POSTING);
                    let places = blocks(lsn, xid, &postings, file, at);
                    each(Recovered::Postings(shape, &postings, places));
                    at += (count * POSTING) as u64;
                }
                if frame.kind == kind::TRANSACTION {
                    self.position = self.position.max(lsn);
                }
            }
            kind::ENDED => {
                for _ in 0..payload.try_get_u32_le().ok()? {
                    each(Recovered::Ended(ShapeId(payload.try_get_u64_le().ok()?)));
                }
            }
            kind::POSITION => {
                let lsn = Lsn(payload.try_get_u64_le().ok()?);
                if lsn >= self.end {
                    return self.has_all();
                }
                self.position = self.position.max(lsn);
            }
            _ => return None,
        }
        Some(())
    }
}
