//! Postings as bytes: what one transaction brings to one shape, in blocks that are read alone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use brooklet_dataflows::{Change, Posting, ShapeId, Verdict};
use brooklet_sql::{Lsn, Row};

use super::{Offset, moved, varint};
use crate::change_log::ChangeLog;
use crate::frame::FRAME_HEAD;
use crate::limits::POSTINGS_PER_BLOCK_MAX;
use crate::storage::FileHandle;

/// Bits of a posting's flags: the verdict, and whether it is its transaction's last.
const VERDICT: u8 = 3;
const LAST: u8 = 4;

/// Set in a posting's seq: its rows are in the posting log, at this place of the posting's own file. They
/// came or went for another table's sake and have no place in the change log.
pub(super) const MOVED: u64 = 1 << 63;

/// Bytes of the shortest posting.
const POSTING_BYTES_MIN: usize = 4;

/// A file of the posting log. Blocks hold it, so that a slow reader can read to the end what has been
/// rewritten or deleted meanwhile.
pub struct PostingFile {
    /// The numbers it stands for: files that were rewritten together keep theirs.
    pub(super) numbers: (u32, u32),
    file: FileHandle,
    /// Bytes of all blocks that were written to it, and of the frames that they are in.
    blocks: AtomicU64,
    frames: AtomicU64,
}

impl std::fmt::Debug for PostingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostingFile").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

impl PostingFile {
    pub(super) fn new(numbers: (u32, u32), file: FileHandle) -> Arc<PostingFile> {
        let (blocks, frames) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(PostingFile { numbers, file, blocks, frames })
    }

    /// The row of a posting that moved.
    fn moved(&self, at: u64) -> io::Result<(u32, Option<Row>, Option<Row>)> {
        let mut head = [0; moved::HEAD];
        self.file.read_exact_at(&mut head, at)?;
        let length = moved::length(&head);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at + moved::HEAD as u64)?;
        moved::decode(&head, bytes).ok_or_else(|| io::Error::other("a moved row is damaged"))
    }

    /// On disk.
    pub(super) fn bytes(&self) -> u64 {
        self.file.length().unwrap_or_default()
    }

    /// A block has come to stand in it.
    pub(super) fn note_block(&self, length: u32) {
        self.blocks.fetch_add(u64::from(length), Ordering::Relaxed);
    }

    /// A frame with blocks has come to stand in it.
    pub(super) fn note_frame(&self, payload: usize) {
        self.frames.fetch_add((FRAME_HEAD + payload) as u64, Ordering::Relaxed);
    }

    /// About how many bytes so many bytes of its blocks take with their frames.
    pub(super) fn estimate(&self, live: u64) -> u64 {
        let (blocks, frames) =
            (self.blocks.load(Ordering::Relaxed), self.frames.load(Ordering::Relaxed));
        let bytes = u128::from(live) * u128::from(frames) / u128::from(blocks.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Up to [`POSTINGS_PER_BLOCK_MAX`] postings of one transaction and shape, on disk.
#[derive(Debug, Clone)]
pub struct Block {
    /// The transaction.
    pub lsn: Lsn,
    /// Its 32-bit id.
    pub xid: u32,
    /// How many postings.
    pub count: u32,
    /// The place of its last entry.
    pub last_op: u64,
    /// Where its bytes begin.
    pub(super) at: u64,
    pub(super) length: u32,
    /// Of them: a frame's covers all shapes, and a block is read alone.
    crc: u32,
    pub(super) file: Arc<PostingFile>,
}

/// Every shape keeps one for every transaction that concerns it.
const _: () = assert!(size_of::<Block>() <= 48);

impl Block {
    /// The offset of its last entry.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset { tx: self.lsn.0, op: self.last_op }
    }

    /// The transaction of a part, once it is known.
    pub(super) fn belongs_to(&mut self, lsn: Lsn, xid: u32) {
        (self.lsn, self.xid) = (lsn, xid);
    }

    /// The same postings, written again at another place.
    pub(super) fn moved(&self, file: &Arc<PostingFile>, at: u64) -> Block {
        Block { at, file: Arc::clone(file), ..self.clone() }
    }

    /// What one of its postings refers to. Waits for the disk.
    pub fn change(&self, posting: &Posting, changes: &ChangeLog, table: u32) -> io::Result<Change> {
        change(posting.seq, posting.op_position, &self.file, changes, table)
    }

    /// Its postings, in order. Waits for the disk.
    pub fn read(&self) -> io::Result<Vec<Posting>> {
        self.postings()?.collect()
    }

    /// Its postings, in order, each decoded when it is asked for: their bytes are a fifth of them, and who
    /// reads slowly holds them for long. Waits for the disk.
    pub fn postings(&self) -> io::Result<Postings> {
        let mut bytes = vec![0; self.length as usize];
        self.file.file.read_exact_at(&mut bytes, self.at)?;
        if crc32fast::hash(&bytes) != self.crc {
            return Err(io::Error::other("postings are damaged"));
        }
        Ok(Postings { bytes, at: 0, left: self.count, before: Before::default() })
    }
}

/// The postings of a block that are not decoded yet.
pub struct Postings {
    bytes: Vec<u8>,
    at: usize,
    left: u32,
    before: Before,
}

impl Iterator for Postings {
    type Item = io::Result<Posting>;

    fn next(&mut self) -> Option<io::Result<Posting>> {
        self.left = self.left.checked_sub(1)?;
        let mut rest = &self.bytes[self.at..];
        let posting = self.before.take(&mut rest).filter(|_| self.left > 0 || rest.is_empty());
        self.at = self.bytes.len() - rest.len();
        Some(posting.ok_or_else(|| {
            self.left = 0;
            io::Error::other("a posting is damaged")
        }))
    }
}

/// What a posting of this file refers to.
pub(super) fn change(
    seq: u64,
    op_position: u64,
    file: &PostingFile,
    changes: &ChangeLog,
    table: u32,
) -> io::Result<Change> {
    if seq & MOVED == 0 {
        return changes.read(seq, table).map_err(io::Error::other);
    }
    let (of, old, new) = file.moved(seq & !MOVED)?;
    if of != table {
        return Err(io::Error::other("a moved row is another table's"));
    }
    Ok(Change { seq, op_position, table, old, new })
}

/// Whether a posting is one entry of what stands in the change log, where other shapes refer to it, too.
#[must_use]
pub fn is_shared(posting: &Posting) -> bool {
    posting.seq & MOVED == 0 && posting.verdict != Verdict::Rekey
}

/// The place of a posting's last entry: a key change takes two.
#[must_use]
pub fn last_op(posting: &Posting) -> u64 {
    posting.op_position.saturating_add(u64::from(posting.verdict == Verdict::Rekey))
}

/// What a transaction brings to one shape.
pub type ShapeEntry<'a> = (ShapeId, &'a [Posting]);

/// Where blocks come to stand: of which transaction, in which file.
#[derive(Clone)]
pub(super) struct Home {
    pub lsn: Lsn,
    pub xid: u32,
    pub file: Arc<PostingFile>,
}

impl Home {
    fn block(&self, postings: &[Posting], at: u64, bytes: &[u8]) -> Block {
        self.file.note_block(bytes.len() as u32);
        Block {
            lsn: self.lsn,
            xid: self.xid,
            count: postings.len() as u32,
            last_op: postings.last().map_or(0, last_op),
            at,
            length: bytes.len() as u32,
            crc: crc32fast::hash(bytes),
            file: Arc::clone(&self.file),
        }
    }
}

/// Appends the shapes of a frame to its payload, which will begin at `begin` of the file; returns
/// their blocks, shape by shape.
pub(super) fn put_shapes(
    shapes: &[ShapeEntry<'_>],
    home: &Home,
    begin: u64,
    payload: &mut Vec<u8>,
) -> Vec<Vec<Block>> {
    varint::put(shapes.len() as u64, payload);
    let (mut previous, mut places) = (0, Vec::with_capacity(shapes.len()));
    for (shape, postings) in shapes {
        varint::put(shape.0.wrapping_sub(previous), payload);
        varint::put(postings.len() as u64, payload);
        previous = shape.0;
        let pieces = postings.chunks(POSTINGS_PER_BLOCK_MAX);
        let blocks = pieces.map(|piece| {
            let at = payload.len();
            encode(piece, payload);
            home.block(piece, begin + at as u64, &payload[at..])
        });
        places.push(blocks.collect());
    }
    places
}

/// Takes the shapes of a frame, each with its postings and blocks; `rest` stands at `at` of the file.
pub(super) fn take_shapes(
    mut rest: &[u8],
    home: &Home,
    at: u64,
    mut each: impl FnMut(ShapeId, Vec<Posting>, Vec<Block>),
) -> Option<()> {
    let end = at + rest.len() as u64;
    let mut shape = 0u64;
    for _ in 0..varint::take(&mut rest)? {
        shape = shape.wrapping_add(varint::take(&mut rest)?);
        let mut count = usize::try_from(varint::take(&mut rest)?).ok()?;
        let (mut postings, mut blocks) = (Vec::new(), Vec::new());
        while count > 0 {
            let (here, before) = (end - rest.len() as u64, rest);
            let piece = decode(&mut rest, count.min(POSTINGS_PER_BLOCK_MAX))?;
            count -= piece.len();
            let bytes = &before[..before.len() - rest.len()];
            blocks.push(home.block(&piece, here, bytes));
            postings.extend(piece);
        }
        each(ShapeId(shape), postings, blocks);
    }
    rest.is_empty().then_some(())
}

/// The first posting as it is, the others as what they add to the one before.
fn encode(postings: &[Posting], out: &mut Vec<u8>) {
    let (mut seq, mut op) = (0, 0);
    for posting in postings {
        varint::put(posting.seq.wrapping_sub(seq), out);
        varint::put(posting.op_position.wrapping_sub(op), out);
        out.push(posting.verdict as u8 | if posting.last { LAST } else { 0 });
        varint::put(u64::from(posting.weight), out);
        (seq, op) = (posting.seq, posting.op_position);
    }
}

/// What the posting before said, which the next one adds to.
#[derive(Default)]
struct Before {
    seq: u64,
    op_position: u64,
}

impl Before {
    fn take(&mut self, rest: &mut &[u8]) -> Option<Posting> {
        self.seq = self.seq.wrapping_add(varint::take(rest)?);
        self.op_position = self.op_position.wrapping_add(varint::take(rest)?);
        let (&flags, after) = rest.split_first()?;
        *rest = after;
        let verdict = Verdict::from_u8(flags & VERDICT).filter(|_| flags <= VERDICT | LAST)?;
        let last = flags & LAST != 0;
        let weight = u32::try_from(varint::take(rest)?).ok()?;
        let Before { seq, op_position } = *self;
        // Whether one breaks a promise is not stored: a shape that gets such a one ends.
        Some(Posting { seq, op_position, verdict, last, weight, breaks_promise: false })
    }
}

fn decode(rest: &mut &[u8], count: usize) -> Option<Vec<Posting>> {
    if count > rest.len() / POSTING_BYTES_MIN {
        return None;
    }
    let mut before = Before::default();
    (0..count).map(|_| before.take(rest)).collect()
}

#[cfg(test)]
mod tests;
