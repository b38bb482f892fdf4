//! Bodies that are read while they are sent: flat memory, and one that cannot be read to its end never
//! looks complete.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::limits::{BODY_PIECE_BYTES, SHARED_SLICE_ENTRIES_MAX, SNAPSHOT_STALL_MAX};
use crate::shape_log::block::{Postings, is_shared, last_op};
use crate::shape_log::encode::{self, Entry};
use crate::shape_log::{BatchPlace, Block, Control, Form, Offset, Piece, Pin, Slice};
use crate::shapes::Shape;
use crate::shapes::base::{Base, Stage};
use crate::shapes::visibility::Visibility;

/// Pieces of a snapshot between its reader and the socket.
const PIECES: usize = 4;

/// A small piece is cheaper to copy than to send by itself.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// A body, in pieces.
struct Parts {
    form: Form,
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

impl Parts {
    fn new(form: Form, shape: &Shape) -> io::Result<Parts> {
        Ok(Parts { form, buffer: form.open(shape)?.to_vec(), empty: true })
    }

    fn push(&mut self, part: &[u8]) {
        if !std::mem::take(&mut self.empty) {
            self.buffer.extend_from_slice(self.form.separator());
        }
        self.buffer.extend_from_slice(part);
    }

    fn piece(&mut self) -> Bytes {
        // Without the room that it grew into: it may wait for long.
        Bytes::from(std::mem::take(&mut self.buffer).into_boxed_slice())
    }

    fn end(&mut self) -> Bytes {
        self.buffer.extend_from_slice(self.form.close());
        self.piece()
    }
}

/// A body of one message.
pub fn message(form: Form, shape: &Shape, message: &Control) -> io::Result<Body> {
    let parts = [&form.open(shape)?[..], &form.control(shape, message)?, form.close()];
    Ok(Body::from(parts.concat()))
}

/// The entries of a slice, then `last`, the message that says where the log stands. Small ones are
/// encoded once for all who wait for them; on this thread if they are `fresh`, so that the disk is not waited for.
pub async fn log(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    form: Form,
    slice: Slice,
    last: Option<Control>,
    fresh: bool,
) -> Result<Body, Arc<io::Error>> {
    let piece = Piece::Slice(shape.id(), slice.after, slice.end, form);
    let last = last.map(|last| form.control(shape, &last)).transpose()?;
    let mut entries = Entries::new(Arc::clone(core), Arc::clone(shape), slice.clone());
    let encode = move || {
        let part = entries.part(form)?;
        Ok(entries.ended.then_some(part))
    };
    let encoded = &core.registry.workshop().encoded;
    let Some(small) = encoded.get(piece, fresh, encode).await? else {
        return Ok(long_log(core, shape, form, slice, last)?);
    };
    let apart = !small.is_empty() && last.is_some();
    let separator = if apart { form.separator() } else { b"" };
    let tail = [separator, &last.unwrap_or_default(), form.close()].concat();
    let open = form.open(shape)?;
    if small.len() < COPIED_BYTES_MAX {
        return Ok(Body::from([&open[..], &small, &tail].concat()));
    }
    // Shared with all other readers, not copied for each.
    let parts = [open, small, Bytes::from(tail)];
    Ok(Body::from_stream(stream::iter(parts.map(Ok::<_, io::Error>))))
}

/// A piece at a time, each read when the connection has room for it: a slow client holds no thread, and
/// no memory but what its connection has buffered.
fn long_log(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    form: Form,
    slice: Slice,
    last: Option<Vec<u8>>,
) -> io::Result<Body> {
    let parts = Parts::new(form, shape)?;
    let entries = Entries::new(Arc::clone(core), Arc::clone(shape), slice);
    let pieces = stream::try_unfold(Some(Unsent { parts, entries, last }), async |unsent| {
        let Some(unsent) = unsent else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || unsent.piece()).await;
        // Cut, not ended: what was sent must not look whole.
        read.map_err(io::Error::other)?.map(Some)
    });
    // Compression asks once more after the end.
    Ok(Body::from_stream(pieces.fuse()))
}

/// What is still to be read of a log that is being sent.
struct Unsent {
    parts: Parts,
    entries: Entries,
    last: Option<Vec<u8>>,
}

impl Unsent {
    /// The next piece, and what comes after it. Blocks on files.
    fn piece(mut self) -> io::Result<(Bytes, Option<Unsent>)> {
        let part = self.entries.part(self.parts.form).inspect_err(|error| {
            let handle = self.entries.shape.handle();
            tracing::error!(%error, handle, "a log cannot be read");
        })?;
        if !part.is_empty() {
            self.parts.push(&part);
        }
        self.entries.core.registry.note_use(&self.entries.shape);
        if !self.entries.ended {
            return Ok((self.parts.piece(), Some(self)));
        }
        self.last.iter().for_each(|message| self.parts.push(message));
        Ok((self.parts.end(), None))
    }
}

/// What a log consists of, towards clients.
enum Message<'a> {
    Entry(&'a Entry<'a>),
    /// The same as JSON, which other shapes have, too.
    Shared(&'a Bytes),
    /// Behind what was brought when the slot had been lost: who waits for one of the transactions that
    /// wrote it is told here that it is contained.
    End(&'a Visibility),
}

/// The entries of a slice that are not sent yet.
pub struct Entries {
    core: Arc<Core>,
    shape: Arc<Shape>,
    slice: Slice,
    next_block: usize,
    block: Option<(Block, Postings)>,
    /// Whether others are about to ask for the same changes: readers of other shapes that wait for them.
    is_news: bool,
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
        let mut counts = slice.blocks.iter().map(|block| block.count);
        let is_news = counts.try_fold(SHARED_SLICE_ENTRIES_MAX, u32::checked_sub).is_some();
        Entries { core, shape, slice, next_block: 0, block: None, is_news, _pin, ended: false }
    }

    /// Gives messages to `each` until they fill a piece or all have been read. Blocks on files.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let (shape, mut json) = (Arc::clone(&self.shape), Vec::new());
        self.walk(Form::Json, |message| {
            json.clear();
            match message {
                Message::Entry(entry) => shape.view().entry(entry, &mut json),
                Message::Shared(message) => {
                    each(message);
                    return Ok(message.len());
                }
                Message::End(seen) => json.extend(encode::snapshot_end(seen).into_bytes()),
            }
            each(&json);
            Ok(json.len())
        })
    }

    /// Messages that fill a piece, or all that have not been read. Blocks on files.
    fn part(&mut self, form: Form) -> io::Result<Bytes> {
        let shape = Arc::clone(&self.shape);
        let mut part = form.part(&shape)?;
        self.walk(form, |message| match message {
            Message::Entry(entry) => part.entry(entry),
            Message::Shared(message) => part.message(message),
            Message::End(seen) => part.snapshot_end(seen),
        })?;
        part.finish()
    }

    /// `each` says how many bytes it made of a message.
    fn walk(
        &mut self,
        form: Form,
        mut each: impl FnMut(Message<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let shop = Arc::clone(self.core.registry.workshop());
        let mut filled = 0;
        while filled < BODY_PIECE_BYTES {
            let Some((block, postings)) = &mut self.block else {
                let Some(block) = self.slice.blocks.get(self.next_block) else {
                    self.ended = true;
                    return Ok(());
                };
                self.block = Some((block.clone(), block.postings()?));
                self.next_block += 1;
                continue;
            };
            let Some(posting) = postings.next().transpose()? else {
                self.block = None;
                continue;
            };
            let last = Offset { tx: block.lsn.0, op: last_op(&posting) };
            if last > self.slice.end {
                self.ended = true;
                return Ok(());
            }
            if last <= self.slice.after {
                continue;
            }
            let change = || block.change(&posting, &shop.change_log, self.shape.table().oid);
            if self.is_news && form == Form::Json && is_shared(&posting) {
                let view = self.shape.view();
                let write = || Ok(view.message(block, &posting, &change()?));
                let messages = &shop.encoded.messages;
                let message = messages.get(view.name(&posting), posting.weight, write)?;
                filled += each(Message::Shared(&message))?;
            } else {
                let mut given: io::Result<()> = Ok(());
                encode::entries(block, &posting, &change()?, self.slice.after, |entry| {
                    if given.is_ok() {
                        given = each(Message::Entry(entry)).map(|bytes| filled += bytes);
                    }
                });
                given?;
            }
            if posting.last
                && let Some(seen) = shop.logs.seen_at(block.lsn)
            {
                filled += each(Message::End(&seen))?;
            }
        }
        Ok(())
    }
}

/// The rows of chunk `chunk` of a base, as they come; the snapshot's end if this is the last one.
pub fn snapshot(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    base: &Arc<Base>,
    form: Form,
    chunk: u32,
) -> io::Result<Body> {
    let mut parts = Parts::new(form, shape)?;
    let (sender, body) = pieces(PIECES);
    let (core, shape, base) = (Arc::clone(core), Arc::clone(shape), Arc::clone(base));
    tokio::spawn(async move {
        let result = rows(&core, &shape, &base, chunk, &mut parts, &sender).await;
        let last_piece = match result {
            Ok(Some(None)) => Ok(parts.end()),
            Ok(Some(Some(end))) => form.control(&shape, &end).map(|end| {
                parts.push(&end);
                parts.end()
            }),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, handle = %base.handle, "a snapshot cannot be sent to its end");
                Err(error)
            }
        };
        _ = sender.send(last_piece).await;
    });
    Ok(body)
}

/// Sends rows; then whether the snapshot ends with this chunk. `None` if nobody listens any more.
async fn rows(
    core: &Arc<Core>,
    shape: &Arc<Shape>,
    base: &Base,
    chunk: u32,
    parts: &mut Parts,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<Option<Option<Control>>> {
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
                Stage::Complete(seen) => {
                    (true, (state.chunk == chunk).then(|| Control::SnapshotEnd(seen.clone())))
                }
                Stage::Failed(_) => return Ok(Some(None)),
                _ => (state.chunk > chunk, None),
            };
            (ready, complete, end)
        };
        for at in next..next + ready {
            let Some(batch) = base.batch(at) else { return Ok(Some(None)) };
            // Who reads for long asks all the time.
            core.registry.note_use(shape);
            match send_batch(core, shape, batch, parts, pieces).await {
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
    parts: &mut Parts,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    let shop = core.registry.workshop();
    let (packs, reader) = (shop.packs.clone(), Arc::clone(shape));
    let form = parts.form;
    let encode = move || {
        let rows = packs.stored(&batch).map_err(io::Error::other)?;
        let mut part = form.part(&reader)?;
        part.snapshot_rows(&rows)?;
        // It is kept for others: without the room that it grew into.
        Ok(Some(Bytes::from(Vec::from(part.finish()?).into_boxed_slice())))
    };
    let part = shop.encoded.get(Piece::Batch(shape.id(), batch, form), false, encode).await;
    let part = part.map_err(io::Error::other)?.unwrap_or_default();
    parts.push(b"");
    let head = parts.piece();
    Ok(pieces.send(Ok(head)).await.is_ok() && pieces.send(Ok(part)).await.is_ok())
}
