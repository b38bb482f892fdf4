//! Bodies that are read while they are sent: flat memory, and one that cannot be read to its end never
//! looks complete.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::limits::{BODY_PIECE_BYTES, SNAPSHOT_STALL_MAX};
use crate::shape_log::block::last_op;
use crate::shape_log::encode::snapshot_end;
use crate::shape_log::postings::Posting;
use crate::shape_log::{BatchPlace, Block, Offset, Piece, Pin, Slice};
use crate::shapes::Shape;
use crate::shapes::base::{Base, Stage};
use crate::shapes::visibility::Visibility;

/// Pieces between the reader of the log and the socket.
const PIECES: usize = 4;

/// A small piece is cheaper to copy than to send by itself.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// A JSON array that is being sent.
struct Array {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    empty: bool,
}

/// A body made of what is sent, and where to send it; `count` pieces may wait.
pub fn pieces(count: usize) -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (pieces, receiver) = mpsc::channel(count);
    let stream = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    // Compression asks once more after the end.
    (pieces, Body::from_stream(stream.fuse()))
}

impl Array {
    fn new() -> (Array, Body) {
        let (pieces, body) = pieces(PIECES);
        (Array { pieces, buffer: vec![b'['], empty: true }, body)
    }

    fn push(&mut self, message: &[u8]) {
        if !std::mem::take(&mut self.empty) {
            self.buffer.push(b',');
        }
        self.buffer.extend_from_slice(message);
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        Ok(Bytes::from(std::mem::take(&mut self.buffer)))
    }

    fn end(&mut self) -> io::Result<Bytes> {
        self.buffer.push(b']');
        self.piece()
    }
}

/// The entries of a slice, then `last`, the message that says where the log stands. Small ones are
/// encoded once for all who wait for them.
pub async fn log(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    slice: Slice,
    last: Option<String>,
) -> Result<Body, Arc<io::Error>> {
    let piece = Piece::Slice(shape.id, slice.after, slice.end);
    let mut entries = Entries::new(Arc::clone(core), Arc::clone(shape), slice.clone());
    let encode = move || {
        let mut json = Vec::new();
        entries.read(|message| {
            if !json.is_empty() {
                json.push(b',');
            }
            json.extend_from_slice(message);
        })?;
        Ok(entries.ended.then(|| Bytes::from(json)))
    };
    let Some(small) = core.encoded.get(piece, encode).await? else {
        return Ok(long_log(core, shape, slice, last));
    };
    let comma = if small.is_empty() || last.is_none() { "" } else { "," };
    let tail = format!("{comma}{}]", last.unwrap_or_default());
    if small.len() < COPIED_BYTES_MAX {
        return Ok(Body::from([b"[", &small[..], tail.as_bytes()].concat()));
    }
    // Shared with all other readers, not copied for each.
    let parts = [Bytes::from_static(b"["), small, Bytes::from(tail)];
    Ok(Body::from_stream(stream::iter(parts.map(Ok::<_, io::Error>))))
}

fn long_log(core: &Arc<Core>, shape: &Arc<Shape>, slice: Slice, last: Option<String>) -> Body {
    let (mut array, body) = Array::new();
    let (core, shape) = (Arc::clone(core), Arc::clone(shape));
    let (handle, cut) = (shape.handle(), array.pieces.clone());
    let mut entries = Entries::new(core, shape, slice);
    tokio::spawn(async move {
        let last_piece = loop {
            // A piece at a time: a slow client holds no thread and no more than a piece.
            let filled = tokio::task::spawn_blocking(move || {
                let filled = entries.read(|message| array.push(message));
                (entries, array, filled)
            });
            let (rest, filling, filled) = match filled.await {
                Ok(filled) => filled,
                // Cut, not ended: what was sent must not look whole.
                Err(error) => {
                    _ = cut.send(Err(io::Error::other(error))).await;
                    return;
                }
            };
            (entries, array) = (rest, filling);
            if let Err(error) = filled {
                tracing::error!(%error, handle, "a log cannot be read");
                break Err(error);
            }
            if entries.ended {
                last.iter().for_each(|message| array.push(message.as_bytes()));
                break array.end();
            }
            let piece = array.piece();
            if array.pieces.send(piece).await.is_err() {
                return;
            }
        };
        _ = array.pieces.send(last_piece).await;
    });
    body
}

/// The entries of a slice that are not sent yet.
pub struct Entries {
    core: Arc<Core>,
    shape: Arc<Shape>,
    slice: Slice,
    next_block: usize,
    block: Option<(Block, std::vec::IntoIter<Posting>)>,
    /// What is read must stay until then.
    _pin: Option<Pin>,
    /// Whether all have been read.
    pub ended: bool,
}

impl Entries {
    /// All of a slice.
    #[must_use]
    pub fn new(core: Arc<Core>, shape: Arc<Shape>, slice: Slice) -> Entries {
        let logs = &core.registry.workshop().logs;
        let _pin = slice.blocks.first().map(|block| logs.pin(block.lsn));
        Entries { core, shape, slice, next_block: 0, block: None, _pin, ended: false }
    }

    /// Gives messages to `each` until they fill a piece or all have been read. Blocks on files.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = 0;
        let mut each = |message: &[u8]| {
            bytes += message.len();
            each(message);
            bytes
        };
        let mut filled = 0;
        while filled < BODY_PIECE_BYTES {
            let Some((block, postings)) = &mut self.block else {
                let Some(block) = self.slice.blocks.get(self.next_block) else {
                    self.ended = true;
                    return Ok(());
                };
                self.block = Some((block.clone(), block.read()?.into_iter()));
                self.next_block += 1;
                continue;
            };
            let Some(posting) = postings.next() else {
                self.block = None;
                continue;
            };
            let last = Offset { tx: block.lsn.0, op: last_op(&posting) };
            if last > self.slice.end {
                self.ended = true;
                return Ok(());
            }
            if last > self.slice.after {
                let changes = &self.core.registry.workshop().change_log;
                let table = self.shape.defined.table.oid;
                let change = changes.read(posting.seq, table).map_err(io::Error::other)?;
                let give = |json: &[u8]| filled = each(json);
                self.shape.view.entries(block, &posting, &change, self.slice.after, give);
            }
        }
        Ok(())
    }
}

/// The rows of chunk `chunk` of a base, as they come; the snapshot's end if this is the last one.
pub fn snapshot(core: &Arc<Core>, shape: &Arc<Shape>, base: &Arc<Base>, chunk: u32) -> Body {
    let (mut array, body) = Array::new();
    let (core, shape, base) = (Arc::clone(core), Arc::clone(shape), Arc::clone(base));
    tokio::spawn(async move {
        let result = rows(&core, &shape, &base, chunk, &mut array).await;
        let last_piece = match result {
            Ok(Some(end)) => {
                end.iter().for_each(|seen| array.push(snapshot_end(seen).as_bytes()));
                array.end()
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, handle = base.handle, "a snapshot cannot be sent to its end");
                Err(error)
            }
        };
        _ = array.pieces.send(last_piece).await;
    });
    body
}

/// Sends rows; then whether the snapshot ends with this chunk. `None` if nobody listens any more.
async fn rows(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    base: &Base,
    chunk: u32,
    array: &mut Array,
) -> io::Result<Option<Option<Visibility>>> {
    let mut snapshot = base.snapshot();
    let mut next = snapshot.borrow().batches.partition_point(|batch| batch.chunk < chunk);
    loop {
        let (ready, complete, end) = {
            let state = snapshot.borrow_and_update();
            // The shape has ended. Not cut: clients stop for good at that. No snapshot-end says
            // that this is all, and the next request learns the truth.
            if shape.log.ended().is_some() {
                return Ok(Some(None));
            }
            let ready = state.batches.get(next..).unwrap_or_default();
            let ready = ready.iter().take_while(|batch| batch.chunk == chunk).count();
            let (complete, end) = match &state.stage {
                Stage::Complete(seen) => (true, (state.chunk == chunk).then(|| seen.clone())),
                Stage::Failed(_) => return Ok(Some(None)),
                _ => (state.chunk > chunk, None),
            };
            (ready, complete, end)
        };
        for at in next..next + ready {
            // Rows may have been copied to another place since the last look.
            let batch = snapshot.borrow().batches.get(at).copied();
            let Some(batch) = batch else { return Ok(Some(None)) };
            match send_batch(core, shape, batch, array).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if shape.log.ended().is_some() => return Ok(Some(None)),
                Err(error) => return Err(error),
            }
        }
        next += ready;
        if complete {
            return Ok(Some(end));
        }
        let changed = tokio::time::timeout(SNAPSHOT_STALL_MAX, snapshot.changed()).await;
        changed.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
}

async fn send_batch(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    batch: BatchPlace,
    array: &mut Array,
) -> io::Result<bool> {
    let (packs, reader) = (core.registry.workshop().packs.clone(), Arc::clone(shape));
    let encode = move || {
        let rows = packs.read(&batch).map_err(io::Error::other)?;
        let mut json = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                json.push(b',');
            }
            reader.view.snapshot_row(row, &mut json);
        }
        Ok(Some(Bytes::from(json)))
    };
    let json = core.encoded.get(Piece::Batch(shape.id, batch), encode).await;
    let json = json.map_err(io::Error::other)?.unwrap_or_default();
    array.push(b"");
    let head = array.piece()?;
    let sent =
        array.pieces.send(Ok(head)).await.is_ok() && array.pieces.send(Ok(json)).await.is_ok();
    Ok(sent)
}
