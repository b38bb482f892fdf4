//! The rows that are kept for subqueries, on disk: a restart goes on with them, and asks Postgres for none.
//!
//! *Enters*: the rows as they stand after some transaction ([`Standing`]); at a start, the change log. *Leaves*: the rows
//! as they stand where the logs end. *Invariant*: a file that has its name is whole, and stands at a place that both
//! logs have made durable; what is added to it is all that came between, once. Whatever is not certain counts
//! as missing: then the rows are read from Postgres.
//!
//! Only rows that a shape needs which was there at the time of the checkpoint, and still is, are taken from it: whatever
//! breaks the stream of a table ends the table's shapes, so for these rows it has not been broken since.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use brooklet_dataflows::members::{Counts, Frozen, KeptName, loses};
use brooklet_dataflows::{Change, ShapeId, ShapePlan};
use brooklet_sql::{Lsn, Relation};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, oneshot};

use super::Input;
use super::collected::bytes;
use super::load::{Need, all_needs};
use crate::change_log::{ChangeLog, ChangeLogError, Replayed};
use crate::frame::{
    FILE_HEAD, FRAME_HEAD, FileKind, FrameError, FrameFile, Tail, head, read_frame, sync_dir,
};
use crate::limits::SLICE_BYTES_MAX;
use crate::shapes::create::Workshop;
use crate::storage::StorageHandle;

/// Kinds of frames.
mod kind {
    pub const HEAD: u8 = 1;
    pub const ROWS: u8 = 2;
    pub const END: u8 = 3;
}

/// All that is kept, after one transaction.
pub struct Standing {
    /// The transaction.
    pub position: Lsn,
    /// Whose it is.
    pub shapes: Vec<ShapeId>,
    /// The rows.
    pub rows: Vec<(KeptName, Frozen)>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    position: Lsn,
    shapes: Vec<u64>,
    names: Vec<Name>,
}

#[derive(Serialize, Deserialize)]
struct Name {
    table: u32,
    columns: Vec<usize>,
    identity: String,
}

impl Name {
    fn is(&self, name: &KeptName) -> bool {
        self.table == name.table
            && self.columns[..] == name.columns[..]
            && self.identity == name.identity()
    }
}

/// Why what is on disk is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It is not whole, or of another version.
    #[error("it cannot be read")]
    Broken,
    /// It does not belong to the logs.
    #[error("it stands at {0}, and the logs end at {1}")]
    Elsewhere(Lsn, Lsn),
    /// A table was emptied, altered, or changed by a transaction larger than what may be kept.
    #[error("table {0} is not what it was")]
    Redefined(u32),
    /// The file, or the change log.
    #[error(transparent)]
    File(#[from] FrameError),
    /// The change log does not reach back.
    #[error(transparent)]
    Log(#[from] ChangeLogError),
}

/// The file.
pub struct Checkpoints {
    storage: StorageHandle,
    path: PathBuf,
    position: AtomicU64,
    bytes: AtomicU64,
    turn: Mutex<()>,
}

impl Checkpoints {
    /// In this directory.
    #[must_use]
    pub fn new(storage: &StorageHandle, dir: &Path) -> Checkpoints {
        let (storage, path) = (Arc::clone(storage), dir.join("kept.rows"));
        let (position, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Checkpoints { storage, path, position, bytes, turn: Mutex::new(()) }
    }

    /// What is on disk needs no transaction up to here; all of them if there is nothing.
    #[must_use]
    pub fn position(&self) -> Lsn {
        Lsn(self.position.load(Ordering::Acquire))
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn note(&self, position: Lsn, bytes: u64) {
        self.position.store(position.0, Ordering::Release);
        self.bytes.store(bytes, Ordering::Release);
    }

    /// Writes what stands; it takes the place of what was there once it is durable.
    pub(crate) fn write(&self, standing: &Standing) -> Result<(), FrameError> {
        if standing.shapes.is_empty() {
            return self.remove();
        }
        let temporary = self.path.with_extension("tmp");
        remove(&self.storage, &temporary)?;
        let mut file = FrameFile::create(&self.storage, &temporary, FileKind::Kept)?;
        let names = standing.rows.iter().map(|(name, _)| Name {
            table: name.table,
            columns: name.columns.to_vec(),
            identity: name.identity().to_owned(),
        });
        let shapes = standing.shapes.iter().map(|shape| shape.0).collect();
        let head = Head { position: standing.position, shapes, names: names.collect() };
        let head = serde_json::to_vec(&head).map_err(|error| FrameError::Io {
            path: temporary.clone(),
            source: io::Error::other(error),
        })?;
        file.append(kind::HEAD, &[&head]);
        let mut frames: u64 = 0;
        for (number, (_, rows)) in (0_u32..).zip(&standing.rows) {
            for piece in rows.pieces(SLICE_BYTES_MAX) {
                file.append(kind::ROWS, &[&number.to_le_bytes(), &piece]);
                file.flush()?;
                frames += 1;
            }
        }
        file.append(kind::END, &[&frames.to_le_bytes()]);
        file.sync()?;
        file.rename(&self.path)?;
        sync_dir(&*self.storage, &self.path)?;
        self.note(standing.position, file.flushed());
        Ok(())
    }

    /// Nothing is kept.
    pub(crate) fn remove(&self) -> Result<(), FrameError> {
        self.note(Lsn::ZERO, 0);
        remove(&self.storage, &self.path)
    }

    /// Brings what is on disk from where it stands to the end of the logs, which is `after`, as far as `plans` need it.
    /// Nothing from before `repaired` can be used, and no transaction of more than `bytes_max`. To be called
    /// before the log goes on.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn catch_up(
        &self,
        log: &ChangeLog,
        plans: &[Arc<ShapePlan>],
        (repaired, after): (Lsn, Lsn),
        bytes_max: usize,
    ) -> Result<CaughtUp, Unfit> {
        let at = |source| FrameError::Io { path: self.path.clone(), source };
        if !self.storage.exists(&self.path).map_err(at)? {
            return Err(Unfit::Missing);
        }
        let (head, bytes) = self.head().map_err(at)?.ok_or(Unfit::Broken)?;
        if head.position < repaired || head.position > after {
            return Err(Unfit::Elsewhere(head.position, after));
        }
        let known: HashSet<u64> = head.shapes.into_iter().collect();
        let needs = all_needs(plans.iter().filter(|plan| known.contains(&plan.id.0)));
        let mut caught_up = CaughtUp::new(self, &head.names, needs);
        let mut replay = Replay { bytes_max, after, ..Replay::default() };
        let mut unfit = None;
        log.replay(head.position, |event| {
            if unfit.is_none() {
                unfit = replay.event(event, &mut caught_up).err();
            }
        })?;
        self.note(head.position, bytes);
        unfit.map_or(Ok(caught_up), |table| Err(Unfit::Redefined(table)))
    }

    /// The first frame, and how long the file is; `None` if it is none of ours.
    fn head(&self) -> io::Result<Option<(Head, u64)>> {
        let file = self.storage.open(&self.path)?;
        let length = file.length()?;
        let mut start = [0; FILE_HEAD as usize + FRAME_HEAD];
        if length < start.len() as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut start, 0)?;
        let (of_file, of_frame) = start.split_at(FILE_HEAD as usize);
        let size = of_frame.first_chunk().map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
        let at = start.len() as u64;
        if of_file != head(FileKind::Kept) || of_frame[8] != kind::HEAD || at + size > length {
            return Ok(None);
        }
        let payload = read_frame(&*file, at, size, 0)?;
        let head = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        Ok(head.map(|head| (head, length)))
    }
}

fn remove(storage: &StorageHandle, path: &Path) -> Result<(), FrameError> {
    let removed =
        storage.exists(path).and_then(|is| if is { storage.remove(path) } else { Ok(()) });
    removed.map_err(|source| FrameError::Io { path: path.to_owned(), source })
}

/// A part of what is on disk.
struct Part {
    name: KeptName,
    needs: Need,
    /// How much more often each row is there where the logs end.
    counts: Counts,
}

/// What is on disk, with what came after it: only its rows are not read yet.
pub struct CaughtUp {
    storage: StorageHandle,
    path: PathBuf,
    /// By number; what nobody needs is left out.
    parts: Vec<Option<Part>>,
}

impl CaughtUp {
    fn new(checkpoints: &Checkpoints, names: &[Name], needs: Vec<Need>) -> CaughtUp {
        let part = |name: &Name| {
            let needs = needs.iter().find(|(need, _)| name.is(need))?.clone();
            Some(Part { name: needs.0.clone(), counts: Counts::new(&needs.0), needs })
        };
        let parts = names.iter().map(part).collect();
        let (storage, path) = (Arc::clone(&checkpoints.storage), checkpoints.path.clone());
        CaughtUp { storage, path, parts }
    }

    fn of_table(&mut self, table: u32) -> impl Iterator<Item = &mut Part> {
        self.parts.iter_mut().flatten().filter(move |part| part.name.table == table)
    }

    fn count(&mut self, change: &Change) {
        for Part { name, counts, .. } in self.of_table(change.table) {
            for (row, delta) in [(&change.old, -1), (&change.new, 1)] {
                if let Some(row) = row.as_ref().and_then(|row| name.project(row)) {
                    counts.add(&row, delta);
                }
            }
        }
    }

    /// Reads the rows; they stand where the logs end.
    ///
    /// # Errors
    /// The file is not whole, or not what came before the change log.
    pub fn read(self) -> Result<Vec<(KeptName, Counts)>, Unfit> {
        let CaughtUp { storage, path, mut parts } = self;
        let (mut frames, mut end, mut whole) = (0_u64, None, true);
        FrameFile::open(&storage, &path, FileKind::Kept, Tail::Closed, |frame| {
            whole &= end.is_none();
            match frame.kind {
                kind::HEAD => {}
                kind::ROWS => {
                    frames += 1;
                    whole &= add(frame.payload, &mut parts).is_some();
                }
                kind::END => end = frame.payload.first_chunk().copied().map(u64::from_le_bytes),
                _ => whole = false,
            }
        })?;
        let rows: Vec<_> =
            parts.into_iter().flatten().map(|part| (part.name, part.counts)).collect();
        whole &= end == Some(frames) && rows.iter().all(|(_, counts)| counts.is_whole());
        if whole { Ok(rows) } else { Err(Unfit::Broken) }
    }
}

fn add(payload: &[u8], parts: &mut [Option<Part>]) -> Option<()> {
    let (number, piece) = payload.split_first_chunk()?;
    let part = parts.get_mut(u32::from_le_bytes(*number) as usize)?;
    part.as_mut().map_or(Some(()), |part| part.counts.add_piece(piece))
}

/// What came after a checkpoint. A transaction's place is known at its end only.
#[derive(Default)]
struct Replay {
    after: Lsn,
    bytes_max: usize,
    open: Vec<Change>,
    open_bytes: usize,
    /// A table that the open transaction made another.
    redefined: Option<u32>,
    is_over: bool,
}

impl Replay {
    /// Told is a table whose rows cannot be known any more.
    fn event(&mut self, event: Replayed, into: &mut CaughtUp) -> Result<(), u32> {
        match event {
            _ if self.is_over => {}
            Replayed::Change(change) if into.of_table(change.table).next().is_some() => {
                self.open_bytes += bytes(&change);
                match self.open_bytes > self.bytes_max {
                    true => (self.open, self.redefined) = (Vec::new(), Some(change.table)),
                    false => self.open.push(change),
                }
            }
            Replayed::Change(_) => {}
            Replayed::Truncate(tables) => {
                let own = tables.into_iter().find(|table| into.of_table(*table).next().is_some());
                self.redefined = self.redefined.or(own);
            }
            Replayed::Relation(relation) => {
                let loses = |part: &mut Part| part.loses(&relation);
                let own = into.of_table(relation.oid).any(loses).then_some(relation.oid);
                self.redefined = self.redefined.or(own);
            }
            Replayed::Commit(commit) if commit.lsn > self.after => self.is_over = true,
            Replayed::Commit(_) => {
                self.redefined.map_or(Ok(()), Err)?;
                self.open_bytes = 0;
                self.open.drain(..).for_each(|change| into.count(&change));
            }
        }
        Ok(())
    }
}

impl Part {
    /// Whether a definition says something else of its columns.
    fn loses(&self, relation: &Relation) -> bool {
        let (name, table) = &self.needs;
        loses(&table.difference(relation), &name.columns)
    }
}

/// Makes a checkpoint of what is kept now; `false` if that is not known yet, since rows are still being read. What the disk
/// refuses is told to the operator only: there is another way.
pub async fn make(shop: &Workshop) -> bool {
    let members = &shop.members;
    let _turn = members.checkpoints.turn.lock().await;
    let (answer, asked) = oneshot::channel();
    if members.inputs.send(Input::Checkpoint(answer)).await.is_err() {
        return true;
    }
    let Ok(standing) = asked.await else { return false };
    // A restart goes on where the logs end, which must not be before this.
    let mut durable = shop.durable.clone();
    if members.appender.sync().await.is_err()
        || durable.wait_for(|durable| *durable > standing.position).await.is_err()
    {
        return true;
    }
    let checkpoints = Arc::clone(&members.checkpoints);
    let written = tokio::task::spawn_blocking(move || checkpoints.write(&standing)).await;
    match written {
        Ok(Ok(())) => {
            tracing::debug!(bytes = members.checkpoints.bytes(), "rows of subqueries kept")
        }
        Ok(Err(error)) => tracing::warn!(%error, "what is kept for subqueries cannot be written"),
        Err(error) => tracing::error!(%error, "what is kept for subqueries was not written"),
    }
    true
}

#[cfg(test)]
mod tests;
