//! One file of the change log, row-wise or sealed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation};
use bytes::Bytes;

use super::record::{self, ROWS_HEAD, RowsHead, StoredCommit, kind};
use super::sealed::{BlockCache, SealedFile, SealedWriter};
use super::{ChangeLogError, Replayed};
use crate::frame::{FileKind, Frame, FrameError, FrameFile, Tail};
use crate::storage::{FileHandle, StorageHandle};

/// Where a change stands in a row-wise file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub at: u64,
    pub length: u32,
    /// Of its bytes: a frame's covers all its changes, and one is read alone.
    pub crc: u32,
}

/// A file of the log.
pub(super) enum Segment {
    Raw(RawSegment),
    Sealed(SealedFile),
}

/// A row-wise file: an index from seq to place, in memory.
pub(super) struct RawSegment {
    pub storage: StorageHandle,
    pub path: PathBuf,
    pub first_seq: u64,
    pub file: FileHandle,
    /// One entry a change, 16 bytes; a file holds [`crate::limits::SEGMENT_BYTES_MAX`].
    pub places: RwLock<Vec<Place>>,
}

impl Segment {
    pub fn first_seq(&self) -> u64 {
        match self {
            Segment::Raw(raw) => raw.first_seq,
            Segment::Sealed(sealed) => sealed.first_seq(),
        }
    }

    /// On disk.
    pub fn bytes(&self) -> u64 {
        match self {
            Segment::Raw(raw) => raw.file.length().unwrap_or_default(),
            Segment::Sealed(sealed) => sealed.bytes(),
        }
    }

    /// The change with this seq, if it is one of `table`.
    pub fn find(
        &self,
        seq: u64,
        table: u32,
        cache: &BlockCache,
    ) -> Result<Option<Change>, ChangeLogError> {
        match self {
            Segment::Raw(raw) => Ok(Some(raw.read(seq)?).filter(|change| change.table == table)),
            Segment::Sealed(sealed) => sealed.find(seq, table, cache),
        }
    }

    /// Shows what belongs to transactions after `after`. Sealed files hold none of those: a file is
    /// sealed once the posting log has all of it.
    pub fn replay(
        &self,
        after: Lsn,
        each: &mut impl FnMut(Replayed),
    ) -> Result<(), ChangeLogError> {
        let raw = match self {
            Segment::Raw(raw) => raw,
            Segment::Sealed(sealed) => return sealed.holds_nothing_after(after),
        };
        let mut bad = false;
        let mut replay = Replay { after, announced: Vec::new() };
        FrameFile::open(&raw.storage, &raw.path, FileKind::Changes, Tail::Closed, |frame| {
            bad |= replay.frame(frame, each).is_none();
        })?;
        if bad { Err(FrameError::Damaged(raw.path.clone(), 0).into()) } else { Ok(()) }
    }

    /// Writes the sealed form beside this one.
    pub fn seal(&self, dir: &Path) -> Result<Segment, ChangeLogError> {
        let Segment::Raw(raw) = self else {
            return Err(ChangeLogError::Missing(self.first_seq()));
        };
        let mut writer = SealedWriter::create(&raw.storage, dir, raw.first_seq)?;
        let mut relations: HashMap<u32, Arc<Relation>> = HashMap::new();
        let mut failed = None;
        FrameFile::open(&raw.storage, &raw.path, FileKind::Changes, Tail::Closed, |frame| {
            if failed.is_none() {
                failed = seal_frame(frame, &mut relations, &mut writer).err();
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(Segment::Sealed(writer.finish()?)),
        }
    }

    pub fn delete_raw(&self) -> Result<(), ChangeLogError> {
        if let Segment::Raw(raw) = self {
            let at = |source| FrameError::Io { path: raw.path.clone(), source };
            raw.storage.remove(&raw.path).map_err(at)?;
        }
        Ok(())
    }
}

impl RawSegment {
    fn read(&self, seq: u64) -> Result<Change, ChangeLogError> {
        let missing = ChangeLogError::Missing(seq);
        let place = {
            let places = self.places.read().unwrap_or_else(|e| e.into_inner());
            let index = seq.checked_sub(self.first_seq).and_then(|i| usize::try_from(i).ok());
            index.and_then(|index| places.get(index)).copied()
        };
        let Some(place) = place else { return Err(missing) };
        let mut bytes = vec![0; place.length as usize];
        let at = |source| FrameError::Io { path: self.path.clone(), source };
        self.file.read_exact_at(&mut bytes, place.at).map_err(at)?;
        let damaged = || FrameError::Damaged(self.path.clone(), place.at);
        if crc32fast::hash(&bytes) != place.crc {
            return Err(damaged().into());
        }
        let decoded = record::decode_change(seq, &Bytes::from(bytes));
        decoded.map(|(change, _)| change).ok_or_else(|| damaged().into())
    }
}

/// Shows the changes of a rows frame with their places in the file.
pub(super) fn rows(frame: Frame<'_>, mut each: impl FnMut(RowsHead, Change, Place)) -> Option<()> {
    let head = RowsHead::decode(frame.payload)?;
    let mut rest = Bytes::copy_from_slice(frame.payload.get(ROWS_HEAD..)?);
    let mut at = frame.at + ROWS_HEAD as u64;
    for number in 0..u64::from(head.count) {
        let (change, length) = record::decode_change(head.first_seq + number, &rest)?;
        let crc = crc32fast::hash(&rest[..length]);
        each(head, change, Place { at, length: length as u32, crc });
        rest = rest.slice(length..);
        at += length as u64;
    }
    Some(())
}

/// Tells frames again, without those of transactions up to `after`.
struct Replay {
    after: Lsn,
    /// Announced inside of a transaction that is not known to be wanted yet. A definition from
    /// before `after` must not be told: shapes may have been made under a later one.
    announced: Vec<Arc<Relation>>,
}

impl Replay {
    fn frame(&mut self, frame: Frame<'_>, each: &mut impl FnMut(Replayed)) -> Option<()> {
        match frame.kind {
            kind::RELATION => self.announced.push(relation(frame.payload)?),
            kind::ROWS if RowsHead::decode(frame.payload)?.lsn > self.after => {
                self.announce(each);
                rows(frame, |_, change, _| each(Replayed::Change(change)))?;
            }
            kind::TRUNCATE => {
                let (lsn, tables) = frame.payload.split_first_chunk::<8>()?;
                if Lsn(u64::from_le_bytes(*lsn)) > self.after {
                    self.announce(each);
                    each(Replayed::Truncate(record::decode_tables(tables)?));
                }
            }
            kind::COMMIT => {
                let commit = StoredCommit::decode(frame.payload)?;
                if commit.lsn > self.after {
                    self.announce(each);
                    each(Replayed::Commit(commit));
                }
                self.announced.clear();
            }
            _ => {}
        }
        Some(())
    }

    fn announce(&mut self, each: &mut impl FnMut(Replayed)) {
        self.announced.drain(..).for_each(|relation| each(Replayed::Relation(relation)));
    }
}

fn seal_frame(
    frame: Frame<'_>,
    relations: &mut HashMap<u32, Arc<Relation>>,
    writer: &mut SealedWriter,
) -> Result<(), ChangeLogError> {
    let reason = format!("frame at {} cannot be read", frame.at);
    let path = writer.path().to_owned();
    let damaged = || ChangeLogError::Sealed { path: path.clone(), reason: reason.clone() };
    match frame.kind {
        kind::RELATION | kind::KNOWN_RELATION => {
            let relation = relation(frame.payload).ok_or_else(damaged)?;
            writer.end_table(relation.oid)?;
            relations.insert(relation.oid, relation);
        }
        kind::ROWS => {
            let mut changes = Vec::new();
            rows(frame, |head, change, _| changes.push((head, change))).ok_or_else(damaged)?;
            for (head, change) in changes {
                let relation = relations.get(&change.table).ok_or_else(damaged)?;
                writer.push(relation, head.lsn, head.xid, change)?;
            }
        }
        kind::COMMIT => {
            writer.push_commit(StoredCommit::decode(frame.payload).ok_or_else(damaged)?);
        }
        _ => {}
    }
    Ok(())
}

/// The payload of a relation frame.
pub(super) fn relation(payload: &[u8]) -> Option<Arc<Relation>> {
    serde_json::from_slice(payload).ok().map(Arc::new)
}
