//! Rows of snapshots on disk: Arrow record batches of many shapes in shared files. Equal ones are stored once.

mod contents;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use brooklet_dataflows::ShapeId;
use brooklet_sql::{Row, RowBuilder};
use bytes::BufMut;
use contents::{Contents, Digest};
use serde::{Deserialize, Serialize};

use crate::frame::{
    FILE_HEAD, FileKind, FrameError, FrameFile, read_frame, read_frames, sync_elsewhere,
};
use crate::limits::{PACK_BYTES_MAX, PACK_DEAD_BYTES_MIN};
use crate::shared_call::SharedCall;
use crate::storage::{FileHandle, Storage, StorageHandle, make_dir};

const BATCH: u8 = 1;
const BATCH_HEAD: u64 = 8 + 4 + 4;

/// Where a batch of rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchPlace {
    /// The offset chunk its rows belong to.
    pub chunk: u32,
    pack: u32,
    at: u64,
    length: u64,
}

/// Why rows cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file is unusable.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Arrow refused.
    #[error("snapshot rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// What was read is not what was written.
    #[error("snapshot rows in {0} are damaged")]
    Damaged(PathBuf),
}

/// All snapshot rows; cheap to clone.
#[derive(Clone)]
pub struct PackStore {
    inner: Arc<Inner>,
}

struct Inner {
    storage: StorageHandle,
    dir: PathBuf,
    /// Held while one batch is written to the page cache.
    writer: Mutex<Packs>,
    group: SharedCall<()>,
}

#[derive(Default)]
struct Packs {
    current: Option<(u32, FrameFile)>,
    next: u32,
    files: HashMap<u32, FileHandle>,
    /// Bytes that something refers to.
    live: HashMap<u32, u64>,
    contents: Contents,
    /// Written and not known to be durable, with the last write to each.
    dirty: BTreeMap<u32, u64>,
    writes: u64,
}

impl PackStore {
    /// Opens the store; packs without a batch of `live` are deleted, nothing refers to them.
    pub fn open<'a>(
        storage: &StorageHandle,
        dir: &Path,
        live: impl IntoIterator<Item = &'a BatchPlace>,
    ) -> Result<PackStore, PackError> {
        let at = |source| FrameError::Io { path: dir.to_owned(), source };
        make_dir(&**storage, dir).map_err(at)?;
        let mut packs = Packs::default();
        for place in live {
            let live = packs.live.entry(place.pack).or_default();
            if packs.contents.restore((place.pack, place.at), place.length) {
                *live += place.length;
            }
        }
        for path in storage.list(dir).map_err(at)? {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(number) = stem.and_then(|stem| stem.parse::<u32>().ok()) else { continue };
            packs.next = packs.next.max(number + 1);
            if packs.live.contains_key(&number) {
                packs.files.insert(number, storage.open(&path).map_err(at)?);
            } else {
                storage.remove(&path).map_err(at)?;
            }
        }
        let inner = Inner {
            storage: Arc::clone(storage),
            dir: dir.to_owned(),
            writer: Mutex::new(packs),
            group: SharedCall::default(),
        };
        Ok(PackStore { inner: Arc::new(inner) })
    }

    /// Stores rows of `chunk`; they can be read at once and are durable after [`PackStore::sync`].
    pub fn append(
        &self,
        shape: ShapeId,
        chunk: u32,
        number: u32,
        rows: &RecordBatch,
    ) -> Result<BatchPlace, PackError> {
        let mut arrow = StreamWriter::try_new(Vec::new(), &rows.schema())?;
        arrow.write(rows)?;
        let arrow = arrow.into_inner()?;
        let mut head = Vec::with_capacity(BATCH_HEAD as usize);
        head.put_u64_le(shape.0);
        head.put_u32_le(chunk);
        head.put_u32_le(number);
        self.store(chunk, &head, &arrow, None)
    }

    /// Refers to equal bytes that are stored already, but not in the pack `leaving`, or writes them.
    fn store(
        &self,
        chunk: u32,
        head: &[u8],
        arrow: &[u8],
        leaving: Option<u32>,
    ) -> Result<BatchPlace, PackError> {
        let digest = Digest::of(arrow);
        let found = digest.and_then(|digest| self.packs().contents.refer(digest, leaving));
        if let Some((pack, at)) = found {
            let place = BatchPlace { chunk, pack, at, length: arrow.len() as u64 };
            // The reference keeps it meanwhile. What cannot be read is not what is looked for.
            if self.bytes_of(&place).is_ok_and(|stored| stored == arrow) {
                return Ok(place);
            }
            self.release(&[place]);
        }
        let mut packs = self.packs();
        let (pack, file) = packs.current(&self.inner.storage, &self.inner.dir)?;
        let at = file.append(BATCH, &[head, arrow]) + BATCH_HEAD;
        // Whoever failed tries again with all rows, or not at all.
        file.flush().inspect_err(|_| file.discard())?;
        packs.writes += 1;
        let last = packs.writes;
        packs.dirty.insert(pack, last);
        *packs.live.entry(pack).or_default() += arrow.len() as u64;
        digest.into_iter().for_each(|digest| packs.contents.note((pack, at), digest));
        Ok(BatchPlace { chunk, pack, at, length: arrow.len() as u64 })
    }

    /// Nothing refers to these batches any more: packs that hold nothing else are deleted, and one that is
    /// being written is ended if that is most of it, so that what is left can be moved. Best effort, a start
    /// deletes what is left.
    pub fn release(&self, places: &[BatchPlace]) {
        let mut packs = self.packs();
        let mut empty = Vec::new();
        for place in places {
            if !packs.contents.release((place.pack, place.at)) {
                continue;
            }
            let Some(live) = packs.live.get_mut(&place.pack) else { continue };
            *live = live.saturating_sub(place.length);
            if *live == 0 {
                empty.push(place.pack);
            }
        }
        for pack in empty {
            packs.current.take_if(|(current, _)| *current == pack);
            packs.delete(pack, &*self.inner.storage, &self.inner.dir);
        }
        packs.end_if_dead();
    }

    /// Packs of which less than half is in use, but for the one that is being written.
    #[must_use]
    pub fn sparse(&self) -> HashSet<u32> {
        let packs = self.packs();
        let current = packs.current.as_ref().map(|(pack, _)| *pack);
        let sparse = |(pack, live): &(&u32, &u64)| {
            let length = packs.files.get(pack).and_then(|file| file.length().ok());
            Some(**pack) != current && length.is_some_and(|length| 2 * **live < length)
        };
        packs.live.iter().filter(sparse).map(|(pack, _)| *pack).collect()
    }

    /// Bytes of a pack that something refers to.
    #[must_use]
    pub fn live_in(&self, pack: u32) -> u64 {
        self.packs().live.get(&pack).copied().unwrap_or_default()
    }

    /// How many refer to a batch.
    #[must_use]
    pub fn references(&self, place: &BatchPlace) -> u32 {
        self.packs().contents.references((place.pack, place.at))
    }

    /// The shapes that have stored rows in a pack that is no longer written to; of none if there is no such pack.
    /// Others may share them. Blocks on files.
    pub fn shapes_in(&self, pack: u32) -> Result<BTreeSet<ShapeId>, PackError> {
        let (path, mut shapes) = (path(&self.inner.dir, pack), BTreeSet::new());
        let Some(file) = self.packs().files.get(&pack).cloned() else { return Ok(shapes) };
        let length = file.length();
        let length = length.map_err(|source| FrameError::Io { path: path.clone(), source })?;
        let read = read_frames(&*file, &path, (FILE_HEAD, length), |frame| {
            shapes.extend(frame.payload.first_chunk().map(|id| ShapeId(u64::from_le_bytes(*id))));
        });
        match read {
            // What an earlier process was writing when it ended.
            Ok(()) | Err(FrameError::Damaged(..)) => Ok(shapes),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.packs().files.values().filter_map(|file| file.length().ok()).sum()
    }

    /// Bytes that these batches take, of what others refer to as well their share: about what would be free
    /// without them.
    #[must_use]
    pub fn share(&self, places: &[BatchPlace]) -> u64 {
        let packs = self.packs();
        let one = |place: &BatchPlace| {
            place.length / u64::from(packs.contents.references((place.pack, place.at)))
        };
        places.iter().map(one).sum()
    }

    /// Stores a batch once more, in another pack than where it is.
    pub fn copy(&self, shape: ShapeId, place: &BatchPlace) -> Result<BatchPlace, PackError> {
        let arrow = self.bytes_of(place)?;
        let mut head = Vec::with_capacity(BATCH_HEAD as usize);
        head.put_u64_le(shape.0);
        head.put_u32_le(place.chunk);
        head.put_u32_le(0);
        self.store(place.chunk, &head, &arrow, Some(place.pack))
    }

    /// Waits until everything stored before is durable.
    pub async fn sync(&self) -> Result<(), PackError> {
        self.inner.group.call(|| self.fsync()).await
    }

    async fn fsync(&self) -> Result<(), PackError> {
        let (dirty, files): (_, Vec<(u32, FileHandle)>) = {
            let packs = self.packs();
            let file = |n: &u32| Some((*n, Arc::clone(packs.files.get(n)?)));
            (packs.dirty.clone(), packs.dirty.keys().filter_map(file).collect())
        };
        let dir = self.inner.dir.clone();
        let sync = move || {
            files.iter().try_for_each(|(number, file)| {
                file.sync_data()
                    .map_err(|source| FrameError::Io { path: path(&dir, *number), source })
            })
        };
        sync_elsewhere(sync).await;
        // Only now: whoever asks after one who has left in the middle must not take it for done. What was
        // written meanwhile stays.
        self.packs().dirty.retain(|number, last| dirty.get(number) != Some(last));
        Ok(())
    }

    /// The rows of a batch, in order.
    pub fn read(&self, place: &BatchPlace) -> Result<Vec<Row>, PackError> {
        let damaged = || PackError::Damaged(path(&self.inner.dir, place.pack));
        self.stored(place)?.rows().ok_or_else(damaged)
    }

    /// The rows of a batch as they are stored.
    pub fn stored(&self, place: &BatchPlace) -> Result<Stored, PackError> {
        let damaged = || PackError::Damaged(path(&self.inner.dir, place.pack));
        // The columns are parts of what was read.
        let mut bytes = Buffer::from_vec(self.bytes_of(place)?);
        let batch = StreamDecoder::new().decode(&mut bytes)?.ok_or_else(damaged)?;
        Stored::new(&batch).ok_or_else(damaged)
    }

    fn bytes_of(&self, place: &BatchPlace) -> Result<Vec<u8>, PackError> {
        let damaged = || PackError::Damaged(path(&self.inner.dir, place.pack));
        let file = self.packs().files.get(&place.pack).cloned().ok_or_else(damaged)?;
        let begin = place.at.checked_sub(BATCH_HEAD).ok_or_else(damaged)?;
        let length = BATCH_HEAD + place.length;
        let arrow = read_frame(&*file, begin, length, BATCH_HEAD as usize)
            .map_err(|source| FrameError::Io { path: path(&self.inner.dir, place.pack), source })?;
        arrow.ok_or_else(damaged)
    }

    fn packs(&self) -> MutexGuard<'_, Packs> {
        self.inner.writer.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl BatchPlace {
    /// Bytes of its rows as they are stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Where in its pack.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Which pack it is in.
    #[must_use]
    pub fn pack(&self) -> u32 {
        self.pack
    }
}

impl Packs {
    fn current(
        &mut self,
        storage: &StorageHandle,
        dir: &Path,
    ) -> Result<(u32, &mut FrameFile), FrameError> {
        let full = |(_, file): &(u32, FrameFile)| file.end() > PACK_BYTES_MAX;
        if self.current.as_ref().is_none_or(full) {
            // Never again, even if it cannot be made: a file without a whole head may be there by then.
            let number = self.next;
            self.next += 1;
            let file = FrameFile::create(storage, &path(dir, number), FileKind::Pack)?;
            self.files.insert(number, Arc::clone(file.file()));
            let full = self.current.replace((number, file));
            if let Some((full, _)) = full
                && self.live.get(&full) == Some(&0)
            {
                self.delete(full, &**storage, dir);
            }
        }
        match &mut self.current {
            Some((number, file)) => Ok((*number, file)),
            None => Err(FrameError::Foreign(dir.to_owned())),
        }
    }
}

impl Packs {
    fn end_if_dead(&mut self) {
        let Packs { current, live, .. } = self;
        current.take_if(|(pack, file)| {
            let live = live.get(pack).copied().unwrap_or_default();
            let dead = file.end().saturating_sub(live);
            dead > live && dead >= PACK_DEAD_BYTES_MIN
        });
    }

    /// Readers that have the file open read on.
    fn delete(&mut self, pack: u32, storage: &dyn Storage, dir: &Path) {
        self.files.remove(&pack);
        self.live.remove(&pack);
        self.dirty.remove(&pack);
        if let Err(error) = storage.remove(&path(dir, pack)) {
            tracing::warn!(%error, pack, "a snapshot pack cannot be deleted");
        }
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:06}.pack"))
}

/// Rows, column by column.
pub struct Stored {
    columns: Vec<StringArray>,
    count: usize,
}

impl Stored {
    fn new(batch: &RecordBatch) -> Option<Stored> {
        let text = |column: &ArrayRef| column.as_any().downcast_ref::<StringArray>().cloned();
        let columns = batch.columns().iter().map(text).collect::<Option<_>>()?;
        Some(Stored { columns, count: batch.num_rows() })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.value_data().len()).sum()
    }

    /// Bytes of a row's values.
    #[must_use]
    pub fn bytes_of(&self, row: usize) -> usize {
        (0..self.columns.len()).filter_map(|column| self.get(row, column)).map(<[u8]>::len).sum()
    }

    /// The text of a row's column; `None` for SQL NULL and for what there is not.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<&[u8]> {
        let column = self.columns.get(column).filter(|column| row < column.len())?;
        column.is_valid(row).then(|| column.value(row).as_bytes())
    }

    /// Row by row; `None` if they are none of ours.
    #[must_use]
    pub fn rows(&self) -> Option<Vec<Row>> {
        (0..self.count).map(|number| self.row(number)).collect()
    }

    fn row(&self, number: usize) -> Option<Row> {
        let mut row = RowBuilder::new(self.columns.len()).ok()?;
        for column in 0..self.columns.len() {
            row.push(self.get(number, column)).ok()?;
        }
        row.finish().ok()
    }
}

#[cfg(test)]
mod tests;
