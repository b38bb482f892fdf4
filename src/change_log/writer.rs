//! Appending to the change log, and finding its end again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation};

use super::record::{self, RowsHead, StoredCommit, kind};
use super::sealed::{BlockCache, SealedFile};
use super::segment::{self, Place, RawSegment, Segment};
use super::{ChangeLog, ChangeLogError};
use crate::frame::{FileKind, FrameError, FrameFile, Syncer, Tail};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::storage::{StorageHandle, make_dir};

/// A file that is complete and may be sealed once the posting log has everything up to `end`.
#[derive(Debug, Clone, Copy)]
pub struct Rolled {
    /// Its name.
    pub first_seq: u64,
    /// The last transaction in it.
    pub end: Lsn,
}

/// What can be read and may not be durable yet.
#[derive(Clone)]
pub struct Flushed {
    syncer: Syncer,
    path: PathBuf,
    end: Lsn,
}

impl Flushed {
    /// Makes it durable; gives back the position that may be confirmed then. After an error the process must end.
    pub fn sync(&self) -> Result<Lsn, ChangeLogError> {
        let at = |source| FrameError::Io { path: self.path.clone(), source };
        self.syncer.sync().map_err(at)?;
        Ok(self.end)
    }
}

/// The one writer. Every method appends; nothing is readable before [`Writer::flush`] and nothing
/// may be confirmed before [`Flushed::sync`].
pub struct Writer {
    log: ChangeLog,
    file: FrameFile,
    segment: Arc<Segment>,
    next_seq: u64,
    end: Lsn,
    last_commit: Lsn,
    open: Option<OpenTransaction>,
    relations: BTreeMap<u32, Arc<Relation>>,
    /// Places of changes that are appended but not flushed.
    unflushed: Vec<Place>,
    scratch: Vec<u8>,
}

/// Where to go back to when a transaction is cut off.
struct OpenTransaction {
    lsn: Lsn,
    xid: u32,
    file_at: u64,
    first_seq: u64,
    truncates: bool,
}

impl Writer {
    /// The log's end: the position to confirm, and to start the stream from.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// The last complete transaction.
    #[must_use]
    pub fn last_commit(&self) -> Lsn {
        self.last_commit
    }

    /// The seq of the next change.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The last definition of every table that is in the log.
    #[must_use]
    pub fn relations(&self) -> HashMap<u32, Arc<Relation>> {
        self.relations.clone().into_iter().collect()
    }

    /// A transaction begins. One that is still open was cut off and is taken back; `true` then.
    pub fn begin(&mut self, lsn: Lsn, xid: u32) -> Result<bool, ChangeLogError> {
        let cut = self.abort()?;
        let (file_at, first_seq) = (self.file.end(), self.next_seq);
        self.open = Some(OpenTransaction { lsn, xid, file_at, first_seq, truncates: false });
        Ok(cut)
    }

    /// Numbers the changes of the open transaction and appends them.
    pub fn append(&mut self, changes: &mut [Change]) {
        let Some(open) = &self.open else { return };
        let head = RowsHead {
            lsn: open.lsn,
            xid: open.xid,
            first_seq: self.next_seq,
            count: changes.len() as u32,
        };
        self.scratch.clear();
        let begin = self.file.next_payload() + record::ROWS_HEAD as u64;
        for (number, change) in changes.iter_mut().enumerate() {
            change.seq = self.next_seq;
            self.next_seq += 1;
            let at = begin + self.scratch.len() as u64;
            let length = record::encode_change(change, &mut self.scratch);
            let bytes = &self.scratch[self.scratch.len() - length as usize..];
            Place::note(&mut self.unflushed, number == 0, change.seq, at, bytes);
        }
        self.file.append(kind::ROWS, &[&head.encode(), &self.scratch]);
        self.scratch.shrink_to(4 * crate::limits::SLICE_BYTES_MAX);
    }

    /// A table's definition from here on.
    pub fn append_relation(&mut self, relation: &Arc<Relation>) {
        write_relation(&mut self.file, kind::RELATION, relation);
        self.relations.insert(relation.oid, Arc::clone(relation));
    }

    /// The open transaction emptied these tables.
    pub fn append_truncate(&mut self, tables: &[u32]) {
        let Some(open) = &mut self.open else { return };
        open.truncates = true;
        let lsn = open.lsn.0.to_le_bytes();
        self.file.append(kind::TRUNCATE, &[&lsn, &record::encode_tables(tables)]);
    }

    /// The open transaction is complete; says so, and whether its file was rolled behind it.
    pub fn commit(
        &mut self,
        end_lsn: Lsn,
        time: i64,
    ) -> Result<Option<(StoredCommit, Option<Rolled>)>, ChangeLogError> {
        let Some(open) = self.open.take() else { return Ok(None) };
        let (first_seq, next_seq) = (open.first_seq, self.next_seq);
        let (lsn, xid, truncates) = (open.lsn, open.xid, open.truncates);
        let commit = StoredCommit { lsn, end_lsn, xid, time, first_seq, next_seq, truncates };
        self.file.append(kind::COMMIT, &[&commit.encode()]);
        self.end = self.end.max(end_lsn);
        self.last_commit = open.lsn;
        // A file is named by its first change, so one without any is not rolled.
        let full = self.file.end() > SEGMENT_BYTES_MAX && next_seq > self.segment.first_seq();
        let rolled = if full { Some(self.roll()?) } else { None };
        Ok(Some((commit, rolled)))
    }

    /// Whether a transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Nothing of interest up to `lsn`.
    pub fn position(&mut self, lsn: Lsn) {
        if self.open.is_none() && lsn > self.end {
            self.file.append(kind::POSITION, &[&lsn.0.to_le_bytes()]);
            self.end = lsn;
        }
    }

    /// Takes the open transaction back; `false` if there is none.
    pub fn abort(&mut self) -> Result<bool, ChangeLogError> {
        let Some(open) = self.open.take() else { return Ok(false) };
        self.flush()?;
        self.file.truncate(open.file_at)?;
        self.next_seq = open.first_seq;
        if let Segment::Raw(raw) = &*self.segment {
            let mut places = raw.places.write().unwrap_or_else(|e| e.into_inner());
            let keep = places.partition_point(|place| place.first_seq < open.first_seq);
            places.truncate(keep);
        }
        Ok(true)
    }

    /// Makes what was appended readable.
    pub fn flush(&mut self) -> Result<(), ChangeLogError> {
        self.file.flush()?;
        if let Segment::Raw(raw) = &*self.segment {
            let mut places = raw.places.write().unwrap_or_else(|e| e.into_inner());
            places.append(&mut self.unflushed);
        }
        Ok(())
    }

    /// Bytes that wait for [`Writer::flush`].
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.file.pending_bytes()
    }

    /// What the last flush has made readable. Files before this one are durable.
    #[must_use]
    pub fn flushed(&self) -> Flushed {
        let (syncer, path) = (self.file.syncer().clone(), self.file.path().to_owned());
        Flushed { syncer, path, end: self.end }
    }

    /// Makes what was appended durable. After an error the process must end.
    pub fn sync(&mut self) -> Result<(), ChangeLogError> {
        self.flush()?;
        Ok(self.file.sync()?)
    }

    /// Ends the file being written and begins another.
    pub(super) fn roll(&mut self) -> Result<Rolled, ChangeLogError> {
        self.sync()?;
        let rolled = Rolled { first_seq: self.segment.first_seq(), end: self.last_commit };
        let (file, segment) = create(&self.log.storage, &self.log.dir, self.next_seq)?;
        self.file = file;
        for relation in self.relations.values() {
            write_relation(&mut self.file, kind::KNOWN_RELATION, relation);
        }
        self.segment = Arc::clone(&segment);
        self.log.segments.write().unwrap_or_else(|e| e.into_inner()).push(segment);
        Ok(rolled)
    }
}

fn write_relation(file: &mut FrameFile, kind: u8, relation: &Relation) {
    // A struct of strings and numbers always has a JSON form.
    let json = serde_json::to_vec(relation).unwrap_or_default();
    file.append(kind, &[&json]);
}

fn create(
    storage: &StorageHandle,
    dir: &Path,
    first_seq: u64,
) -> Result<(FrameFile, Arc<Segment>), ChangeLogError> {
    let path = raw_path(dir, first_seq);
    let file = FrameFile::create(storage, &path, FileKind::Changes)?;
    let segment = raw_segment(&file, first_seq, Vec::new());
    Ok((file, segment))
}

fn raw_segment(file: &FrameFile, first_seq: u64, places: Vec<Place>) -> Arc<Segment> {
    Arc::new(Segment::Raw(RawSegment {
        storage: Arc::clone(file.storage()),
        path: file.path().to_owned(),
        first_seq,
        file: Arc::clone(file.file()),
        places: RwLock::new(places),
        sealed: Mutex::default(),
    }))
}

fn raw_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.log"))
}

/// Opens or creates the log in `dir`.
pub(super) fn open(
    storage: &StorageHandle,
    dir: &Path,
) -> Result<(ChangeLog, Writer, Vec<StoredCommit>), ChangeLogError> {
    let at = |source| FrameError::Io { path: dir.to_owned(), source };
    make_dir(&**storage, dir).map_err(at)?;
    let Found { mut raw, sealed } = find(storage, dir)?;
    if raw.is_empty() {
        let first = sealed.last().map_or(0, SealedFile::next_seq);
        FrameFile::create(storage, &raw_path(dir, first), FileKind::Changes)?;
        raw.push(first);
    }
    let mut commits: Vec<StoredCommit> =
        sealed.iter().flat_map(|file| file.commits().iter().copied()).collect();
    let mut segments: Vec<Arc<Segment>> =
        sealed.into_iter().map(|file| Arc::new(Segment::Sealed(file))).collect();
    let mut newest = None;
    for (number, first) in raw.iter().enumerate() {
        let tail = if number + 1 == raw.len() { Tail::Newest } else { Tail::Closed };
        let recovered = recover(storage, &raw_path(dir, *first), *first, tail)?;
        commits.extend_from_slice(&recovered.commits);
        segments.push(raw_segment(&recovered.file, *first, recovered.places.clone()));
        newest = Some(recovered);
    }
    let Some(newest) = newest else { return Err(ChangeLogError::Missing(0)) };
    // One that could not be sealed stands between others that were.
    segments.sort_by_key(|segment| segment.first_seq());
    commits.sort_by_key(|commit| commit.next_seq);
    let segment = segments.last().cloned().ok_or(ChangeLogError::Missing(0))?;
    let next_seq = newest.places.last().map_or(segment.first_seq(), Place::next_seq);
    let last_commit = commits.last().map_or(Lsn::ZERO, |commit| commit.lsn);
    let end = commits.iter().map(|commit| commit.end_lsn).fold(newest.position, Lsn::max);
    let log = ChangeLog {
        storage: Arc::clone(storage),
        dir: dir.into(),
        segments: Arc::new(RwLock::new(segments)),
        cache: BlockCache::default(),
    };
    let writer = Writer {
        log: log.clone(),
        file: newest.file,
        segment,
        next_seq,
        end,
        last_commit,
        open: None,
        relations: newest.relations,
        unflushed: Vec::new(),
        scratch: Vec::new(),
    };
    Ok((log, writer, commits))
}

/// The files of a log that count, in order.
struct Found {
    /// Row-wise ones, by first seq.
    raw: Vec<u64>,
    sealed: Vec<SealedFile>,
}

/// Looks for the files in `dir`; what an interruption or an error has left beside them is deleted.
fn find(storage: &StorageHandle, dir: &Path) -> Result<Found, ChangeLogError> {
    let (mut raw, mut names, mut leftovers) = (Vec::new(), Vec::new(), Vec::new());
    let all = storage.list(dir);
    for path in all.map_err(|source| FrameError::Io { path: dir.to_owned(), source })? {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match (path.extension().and_then(|e| e.to_str()), stem.parse::<u64>()) {
            (Some("log"), Ok(seq)) => raw.push(seq),
            (Some("arrow"), Ok(seq)) => names.push(seq),
            (Some("tmp"), _) => leftovers.push(path),
            _ => {}
        }
    }
    raw.sort_unstable();
    names.sort_unstable();
    let mut sealed: Vec<SealedFile> = Vec::new();
    for first in names {
        match SealedFile::open(storage, dir, first) {
            // Written again as a part of the file before it.
            Ok(file) if sealed.last().is_some_and(|last| file.next_seq() <= last.next_seq()) => {
                leftovers.push(super::sealed::path(dir, first));
            }
            Ok(file) => sealed.push(file),
            Err(error) if raw.contains(&first) => {
                tracing::warn!(%error, "the row-wise form is used, and sealed again");
            }
            Err(error) => return Err(error),
        }
    }
    // A sealed file has its name once it is complete, and may hold what was in its neighbours by now: it rules.
    let holds = |seq: &mut u64| {
        let after = sealed.partition_point(|file| file.first_seq() <= *seq);
        sealed[..after].last().is_some_and(|file| *seq < file.next_seq())
    };
    leftovers.extend(raw.extract_if(.., holds).map(|first| raw_path(dir, first)));
    if !leftovers.is_empty() {
        // What rules may have its name since a moment ago only.
        storage.sync_dir(dir).map_err(|source| FrameError::Io { path: dir.to_owned(), source })?;
    }
    for path in leftovers {
        storage.remove(&path).map_err(|source| FrameError::Io { path, source })?;
    }
    Ok(Found { raw, sealed })
}

/// What a row-wise file holds up to its last whole transaction.
struct Recovered {
    file: FrameFile,
    places: Vec<Place>,
    commits: Vec<StoredCommit>,
    relations: BTreeMap<u32, Arc<Relation>>,
    position: Lsn,
}

fn recover(
    storage: &StorageHandle,
    path: &Path,
    first_seq: u64,
    tail: Tail,
) -> Result<Recovered, ChangeLogError> {
    let mut places = Vec::new();
    let mut commits: Vec<StoredCommit> = Vec::new();
    let mut relations = BTreeMap::new();
    let (mut position, mut bad) = (Lsn::ZERO, false);
    let (mut kept, mut kept_at) = (0, crate::frame::FILE_HEAD);
    let mut file = FrameFile::open(storage, path, FileKind::Changes, tail, |frame| {
        let whole = match frame.kind {
            kind::ROWS => {
                let mut is_first = true;
                segment::rows(frame, |_, change, at, bytes| {
                    let first = std::mem::take(&mut is_first);
                    Place::note(&mut places, first, change.seq, at, bytes);
                })
            }
            kind::COMMIT => StoredCommit::decode(frame.payload).map(|commit| commits.push(commit)),
            kind::POSITION => frame.payload.first_chunk().map(|lsn| {
                position = Lsn(u64::from_le_bytes(*lsn));
            }),
            kind::RELATION | kind::KNOWN_RELATION => {
                segment::relation(frame.payload).map(|relation| {
                    relations.insert(relation.oid, relation);
                })
            }
            kind::TRUNCATE => Some(()),
            _ => None,
        };
        bad |= whole.is_none();
        if matches!(frame.kind, kind::COMMIT | kind::POSITION | kind::KNOWN_RELATION) {
            kept = places.len();
            kept_at = frame.at + frame.payload.len() as u64;
        }
    })?;
    if bad {
        return Err(FrameError::Damaged(path.to_owned(), first_seq).into());
    }
    if file.end() > kept_at && tail == Tail::Newest {
        tracing::info!(path = %path.display(), "took back a transaction that was cut off");
        file.truncate(kept_at)?;
        places.truncate(kept);
    }
    Ok(Recovered { file, places, commits, relations, position })
}
