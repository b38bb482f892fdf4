//! The finished shapes, on disk: what survives a restart.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_dataflows::ShapeId;
use brooklet_sql::{Lsn, TableSchema};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, FilterSource};
use super::partitions::KnownPartitions;
use super::visibility::Visibility;
use crate::frame::{FileKind, FrameError, FrameFile, Tail, sync_dir};
use crate::shape_log::group_sync::GroupSync;
use crate::shape_log::{BatchPlace, LogPoint};
use crate::storage::StorageHandle;

mod kind {
    pub const SHAPE: u8 = 1;
    pub const REMOVED: u8 = 2;
    pub const TABLE: u8 = 3;
    pub const PARTITIONS: u8 = 4;
}

/// A finished shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeRecord {
    /// Its number.
    pub id: ShapeId,
    /// Its question.
    pub definition: Definition,
    /// Its filter as it was written.
    pub source: Option<FilterSource>,
    /// Which of the catalogue's tables the definition's places refer to.
    table: u32,
    /// Bytes of a chunk: part of the record, so that chunk ends never move.
    pub chunk_bytes: u64,
    /// What its first snapshot contains: transactions up to `until` are filtered by it.
    pub visibility: Visibility,
    /// No transaction after this position is in the first snapshot.
    pub until: Lsn,
    /// What its handles stand for, the newest last.
    pub bases: Vec<BaseRecord>,
    /// Handles whose rows are gone.
    #[serde(default)]
    pub retired: Vec<String>,
    /// Which generation of its table's partitions it was made under.
    #[serde(default)]
    pub generation: u64,
}

/// Rows that a log begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// Their name towards clients.
    pub handle: String,
    /// The entries after this place follow them.
    pub after: LogPoint,
    /// When they were stored, seconds since 1970.
    pub made: u64,
    /// Which transactions they contain, as clients are told.
    pub visibility: Visibility,
    /// Where they are.
    pub batches: Vec<BatchPlace>,
    /// How many chunks they make.
    pub chunks: u32,
}

/// What a record is made of, but for what the catalogue adds.
pub struct Finished {
    /// See [`ShapeRecord`].
    pub id: ShapeId,
    /// See [`ShapeRecord`].
    pub definition: Definition,
    /// See [`ShapeRecord`].
    pub source: Option<FilterSource>,
    /// The table.
    pub table: Arc<TableSchema>,
    /// See [`ShapeRecord`].
    pub chunk_bytes: u64,
    /// See [`ShapeRecord`].
    pub visibility: Visibility,
    /// See [`ShapeRecord`].
    pub until: Lsn,
    /// See [`ShapeRecord`].
    pub bases: Vec<BaseRecord>,
    /// See [`ShapeRecord`].
    pub retired: Vec<String>,
    /// See [`ShapeRecord`].
    pub generation: u64,
}

/// The catalogue.
pub struct Catalog {
    /// Held while a record is gathered, never across an fsync.
    state: Mutex<State>,
    group: GroupSync,
}

struct State {
    file: Option<FrameFile>,
    path: PathBuf,
    tables: Vec<Arc<TableSchema>>,
    written: HashSet<u32>,
}

/// What was found at a start.
pub struct Recovered {
    /// The finished shapes with their tables.
    pub shapes: Vec<(ShapeRecord, Arc<TableSchema>)>,
    /// A number above every shape's.
    pub next_id: u64,
    /// Partitions whose rows shapes may hold, by partitioned table.
    pub partitions: BTreeMap<u32, KnownPartitions>,
}

/// What frames say, read one after the other.
#[derive(Default)]
struct Found {
    tables: BTreeMap<u32, Arc<TableSchema>>,
    shapes: BTreeMap<ShapeId, ShapeRecord>,
    partitions: BTreeMap<u32, KnownPartitions>,
    next_id: u64,
}

#[derive(Serialize, Deserialize)]
struct PartitionsRecord {
    root: u32,
    known: KnownPartitions,
}

#[derive(Serialize, Deserialize)]
struct TableRecord {
    number: u32,
    schema: TableSchema,
}

impl Catalog {
    /// Reads the catalogue at `path`, without the shapes that `ended` names, and rewrites it.
    pub fn open(
        storage: &StorageHandle,
        path: &Path,
        ended: &HashSet<ShapeId>,
    ) -> Result<(Catalog, Recovered), FrameError> {
        let mut recovered = Catalog::read(storage, path)?;
        recovered.shapes.retain(|(shape, _)| !ended.contains(&shape.id));
        let catalog = Catalog::rewrite(storage, path, &recovered)?;
        Ok((catalog, recovered))
    }

    /// Reads the catalogue at `path`, if there is one.
    pub fn read(storage: &StorageHandle, path: &Path) -> Result<Recovered, FrameError> {
        let (mut found, mut bad) = (Found { next_id: 1, ..Found::default() }, None);
        let at = |source| FrameError::Io { path: path.to_owned(), source };
        if storage.exists(path).map_err(at)? {
            FrameFile::open(storage, path, FileKind::Catalog, Tail::Newest, |frame| {
                if found.read(frame.kind, frame.payload).is_none() {
                    bad.get_or_insert(frame.at);
                }
            })?;
        }
        if let Some(at) = bad {
            return Err(FrameError::Damaged(path.to_owned(), at));
        }
        let Found { tables, shapes, partitions, next_id } = found;
        // One of an earlier generation was about to end when the process did.
        let current = |shape: &ShapeRecord| {
            let known = partitions.get(&shape.definition.table);
            known.is_none_or(|known| shape.generation >= known.generation)
        };
        let shapes: Vec<(ShapeRecord, Arc<TableSchema>)> = (shapes.into_values())
            .filter(current)
            .filter_map(|shape| Some((shape.clone(), Arc::clone(tables.get(&shape.table)?))))
            .collect();
        Ok(Recovered { shapes, next_id, partitions })
    }

    /// Begins a catalogue of what was read and is still wanted; it replaces the one at `path`.
    pub fn rewrite(
        storage: &StorageHandle,
        path: &Path,
        recovered: &Recovered,
    ) -> Result<Catalog, FrameError> {
        let Recovered { shapes, next_id, partitions } = recovered;
        let temporary = path.with_extension("tmp");
        let at = |source| FrameError::Io { path: temporary.clone(), source };
        if storage.exists(&temporary).map_err(at)? {
            storage.remove(&temporary).map_err(at)?;
        }
        let mut file = FrameFile::create(storage, &temporary, FileKind::Catalog)?;
        let mut state = State {
            file: None,
            path: path.to_owned(),
            tables: Vec::new(),
            written: HashSet::new(),
        };
        for (shape, table) in shapes {
            let table = state.table(table, &mut file);
            let shape = ShapeRecord { table, ..shape.clone() };
            file.append(kind::SHAPE, &[&json(&shape)]);
        }
        // Keeps the numbers rising, whoever was removed: no number is given twice.
        let highest = ShapeId(*next_id - 1);
        if shapes.iter().all(|(shape, _)| shape.id != highest) {
            file.append(kind::REMOVED, &[&json(&highest)]);
        }
        for (root, known) in partitions {
            let (root, known) = (*root, known.clone());
            file.append(kind::PARTITIONS, &[&json(&PartitionsRecord { root, known })]);
        }
        file.sync()?;
        storage.rename(&temporary, path).map_err(at)?;
        sync_dir(&**storage, path)?;
        state.file = Some(file);
        Ok(Catalog { state: Mutex::new(state), group: GroupSync::default() })
    }

    /// Adds a finished shape, or what has become of it since; durable when it returns.
    pub async fn finish(&self, shape: Finished) -> Result<(), FrameError> {
        self.append(|state, file| {
            let table = state.table(&shape.table, file);
            let record = ShapeRecord {
                id: shape.id,
                definition: shape.definition,
                source: shape.source,
                table,
                chunk_bytes: shape.chunk_bytes,
                visibility: shape.visibility,
                until: shape.until,
                bases: shape.bases,
                retired: shape.retired,
                generation: shape.generation,
            };
            file.append(kind::SHAPE, &[&json(&record)]);
        });
        self.sync().await
    }

    /// Forgets a shape; durable when it returns.
    pub async fn remove(&self, shape: ShapeId) -> Result<(), FrameError> {
        self.remove_all(&[shape]).await
    }

    /// Forgets shapes; durable when it returns.
    pub async fn remove_all(&self, shapes: &[ShapeId]) -> Result<(), FrameError> {
        for shape in shapes {
            self.append(|_, file| _ = file.append(kind::REMOVED, &[&json(shape)]));
        }
        self.sync().await
    }

    /// Remembers the partitions of a table; durable after [`Catalog::sync`].
    pub fn note_partitions(&self, root: u32, known: &KnownPartitions) {
        let record = PartitionsRecord { root, known: known.clone() };
        self.append(|_, file| _ = file.append(kind::PARTITIONS, &[&json(&record)]));
    }

    fn append(&self, record: impl FnOnce(&mut State, &mut FrameFile)) {
        let mut state = self.state();
        if let Some(mut file) = state.file.take() {
            record(&mut state, &mut file);
            state.file = Some(file);
        }
    }

    /// Makes durable what was noted before.
    pub async fn sync(&self) -> Result<(), FrameError> {
        self.group
            .sync(|| async {
                let (file, path) = {
                    let mut state = self.state();
                    let path = state.path.clone();
                    let Some(file) = &mut state.file else { return Ok(()) };
                    file.flush()?;
                    (Arc::clone(file.file()), path)
                };
                let at = |source| FrameError::Io { path, source };
                let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
                let synced = synced.map_err(std::io::Error::other).and_then(|synced| synced);
                synced.unwrap_or_else(|error| crate::frame::fsync_failed(&at(error)));
                Ok(())
            })
            .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of a table, which is written once.
    fn table(&mut self, table: &Arc<TableSchema>, file: &mut FrameFile) -> u32 {
        let same = |known: &Arc<TableSchema>| Arc::ptr_eq(known, table) || known == table;
        let number = self.tables.iter().rposition(same).unwrap_or_else(|| {
            self.tables.push(Arc::clone(table));
            self.tables.len() - 1
        }) as u32;
        if self.written.insert(number) {
            let schema = TableSchema::clone(table);
            file.append(kind::TABLE, &[&json(&TableRecord { number, schema })]);
        }
        number
    }
}

impl Found {
    fn read(&mut self, kind: u8, payload: &[u8]) -> Option<()> {
        let mut seen = |id: ShapeId| self.next_id = self.next_id.max(id.0 + 1);
        match kind {
            kind::TABLE => {
                let table: TableRecord = serde_json::from_slice(payload).ok()?;
                self.tables.insert(table.number, Arc::new(table.schema));
            }
            kind::SHAPE => {
                let shape: ShapeRecord = serde_json::from_slice(payload).ok()?;
                seen(shape.id);
                self.shapes.insert(shape.id, shape);
            }
            kind::REMOVED => {
                let shape: ShapeId = serde_json::from_slice(payload).ok()?;
                seen(shape);
                self.shapes.remove(&shape);
            }
            kind::PARTITIONS => {
                let found: PartitionsRecord = serde_json::from_slice(payload).ok()?;
                self.partitions.insert(found.root, found.known);
            }
            _ => return None,
        }
        Some(())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of strings, numbers and lists always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
