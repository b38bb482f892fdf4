//! One file of the change log, row-wise or sealed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation};
use bytes::Bytes;

use super::record::{self, ROWS_HEAD, RowsHead, StoredCommit, kind};
use super::sealed::{BlockCache, SealedFile, SealedWriter};
use super::{ChangeLogError, Replayed};
use crate::frame::{FileKind, Frame, FrameError, FrameFile, Tail, sync_dir};
use crate::limits::{PLACE_BYTES_MAX, PLACE_CHANGES_MAX};
use crate::storage::{FileHandle, StorageHandle};

/// Where a few changes stand in a row-wise file, one behind the other: an entry of its index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub first_seq: u64,
    pub at: u64,
    pub length: u32,
    pub count: u32,
    /// Of their bytes: a frame's covers all its changes, and these are read alone.
    pub crc: u32,
}

impl Place {
    /// Adds the next change to `places`; a frame's first one begins a place, since a frame's head is
    /// before it.
    pub fn note(places: &mut Vec<Place>, is_first: bool, seq: u64, at: u64, bytes: &[u8]) {
        let length = bytes.len() as u32;
        match places.last_mut() {
            Some(last)
                if !is_first && last.count < PLACE_CHANGES_MAX && last.length < PLACE_BYTES_MAX =>
            {
                last.length += length;
                last.count += 1;
                let mut crc = crc32fast::Hasher::new_with_initial(last.crc);
                crc.update(bytes);
                last.crc = crc.finalize();
            }
            _ => {
                let crc = crc32fast::hash(bytes);
                places.push(Place { first_seq: seq, at, length, count: 1, crc });
            }
        }
    }

    /// The seq after its changes.
    pub fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }
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
    /// One entry, 32 bytes, for a transaction or up to [`PLACE_CHANGES_MAX`] changes of a large one.
    pub places: RwLock<Vec<Place>>,
    /// Its other form, durable, where this one could not be deleted yet.
    pub sealed: Mutex<Option<Arc<Segment>>>,
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
            // It is gone, with the file that had it.
            Segment::Sealed(sealed) if seq >= sealed.next_seq() => {
                Err(ChangeLogError::Missing(seq))
            }
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

    /// Replaces this file by its sealed form, which is what is left on disk. After an error both may be, and this one
    /// rules as long as the process lives.
    pub fn seal(&self, dir: &Path) -> Result<Arc<Segment>, ChangeLogError> {
        let Segment::Raw(raw) = self else {
            return Err(ChangeLogError::Missing(self.first_seq()));
        };
        let mut durable = raw.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = match &*durable {
            Some(sealed) => Arc::clone(sealed),
            None => {
                let sealed = raw.write_sealed(dir)?;
                sync_dir(&*raw.storage, &raw.path)?;
                Arc::new(Segment::Sealed(sealed))
            }
        };
        *durable = Some(Arc::clone(&sealed));
        match raw.storage.remove(&raw.path) {
            // It may have been an error of which the deletion was not.
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(FrameError::Io { path: raw.path.clone(), source }.into())
            }
            _ => Ok(sealed),
        }
    }
}

impl RawSegment {
    /// Writes the sealed form beside this one.
    fn write_sealed(&self, dir: &Path) -> Result<SealedFile, ChangeLogError> {
        let mut writer = SealedWriter::create(&self.storage, dir, self.first_seq)?;
        let mut relations: HashMap<u32, Arc<Relation>> = HashMap::new();
        let mut failed = None;
        FrameFile::open(&self.storage, &self.path, FileKind::Changes, Tail::Closed, |frame| {
            if failed.is_none() {
                failed = seal_frame(frame, &mut relations, &mut writer).err();
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => writer.finish(),
        }
    }

    fn read(&self, seq: u64) -> Result<Change, ChangeLogError> {
        let missing = ChangeLogError::Missing(seq);
        let place = {
            let places = self.places.read().unwrap_or_else(|e| e.into_inner());
            let after = places.partition_point(|place| place.first_seq <= seq);
            after.checked_sub(1).and_then(|at| places.get(at)).copied()
        };
        let place = place.filter(|place| seq < place.next_seq());
        let Some(place) = place else { return Err(missing) };
        let mut bytes = vec![0; place.length as usize];
        let at = |source| FrameError::Io { path: self.path.clone(), source };
        self.file.read_exact_at(&mut bytes, place.at).map_err(at)?;
        let damaged = || FrameError::Damaged(self.path.clone(), place.at);
        if crc32fast::hash(&bytes) != place.crc {
            return Err(damaged().into());
        }
        let mut bytes = Bytes::from(bytes);
        for _ in place.first_seq..seq {
            let length = record::change_length(&bytes).filter(|length| *length <= bytes.len());
            bytes = bytes.slice(length.ok_or_else(damaged)?..);
        }
        let decoded = record::decode_change(seq, &bytes);
        decoded.map(|(change, _)| change).ok_or_else(|| damaged().into())
    }
}

/// Shows the changes of a rows frame, each with where it stands in the file and its bytes.
pub(super) fn rows(
    frame: Frame<'_>,
    mut each: impl FnMut(RowsHead, Change, u64, &[u8]),
) -> Option<()> {
    let head = RowsHead::decode(frame.payload)?;
    let mut rest = Bytes::copy_from_slice(frame.payload.get(ROWS_HEAD..)?);
    let mut at = frame.at + ROWS_HEAD as u64;
    for number in 0..u64::from(head.count) {
        let (change, length) = record::decode_change(head.first_seq + number, &rest)?;
        each(head, change, at, &rest[..length]);
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
                rows(frame, |_, change, _, _| each(Replayed::Change(change)))?;
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
            rows(frame, |head, change, _, _| changes.push((head, change))).ok_or_else(damaged)?;
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
