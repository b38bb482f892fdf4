//! A sealed file of the change log: Arrow record batches by table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, StringBuilder, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use brooklet_dataflows::Change;
use brooklet_sql::{Lsn, Relation, Row, RowBuilder};
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};

use super::ChangeLogError;
use super::clean::SealedSize;
use super::record::StoredCommit;
use crate::frame::{FILE_HEAD, FileKind, FrameError, head};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_CACHE_BYTES_MAX, BLOCK_CHANGES_MAX};
use crate::storage::{FileHandle, Storage, StorageHandle};

/// Bytes after the directory: length, checksum, magic.
const FOOT: u64 = 4 + 4 + 8;

/// Decoded blocks, shared by the readers of all sealed files; `(file's id, block)` names one.
#[derive(Clone)]
pub(super) struct BlockCache(moka::sync::Cache<(u64, usize), Arc<Block>>);

impl Default for BlockCache {
    fn default() -> BlockCache {
        let weigh = |_: &_, block: &Arc<Block>| u32::try_from(block.bytes).unwrap_or(u32::MAX);
        // Whoever goes through a block asks for it again and again: not to let it in, because others were asked for
        // more often, would decode it for every entry.
        let builder = moka::sync::Cache::builder().eviction_policy(EvictionPolicy::lru());
        BlockCache(builder.weigher(weigh).max_capacity(BLOCK_CACHE_BYTES_MAX).build())
    }
}

impl BlockCache {
    fn get(
        &self,
        key: (u64, usize),
        load: impl FnOnce() -> Result<Arc<Block>, String>,
    ) -> Result<Arc<Block>, Arc<String>> {
        let mut loaded = false;
        let block = self.0.try_get_with(key, || {
            loaded = true;
            load()
        });
        if loaded {
            // Else many blocks may wait before the cache looks at how large it is.
            self.0.run_pending_tasks();
        }
        block
    }
}

/// Where one block is and what it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BlockEntry {
    table: u32,
    first_seq: u64,
    last_seq: u64,
    changes: u64,
    at: u64,
    length: u64,
    /// Of its bytes.
    crc32: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    first_seq: u64,
    /// The first seq that a later file may have.
    next_seq: u64,
    blocks: Vec<BlockEntry>,
    commits: Vec<StoredCommit>,
}

/// A file that is complete; read only.
pub(super) struct SealedFile {
    path: PathBuf,
    file: FileHandle,
    directory: Directory,
    /// Names its blocks in the cache: a file that is written again has the same name.
    id: u64,
}

/// A decoded block.
struct Block {
    table: u32,
    batch: RecordBatch,
    bytes: usize,
}

/// The name of a sealed file.
pub(super) fn path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.arrow"))
}

impl SealedFile {
    pub fn open(
        storage: &StorageHandle,
        dir: &Path,
        first_seq: u64,
    ) -> Result<SealedFile, ChangeLogError> {
        let path = path(dir, first_seq);
        let (file, directory) = read_directory(&**storage, &path)
            .map_err(|reason| ChangeLogError::Sealed { path: path.clone(), reason })?;
        Ok(SealedFile::new(path, file, directory))
    }

    fn new(path: PathBuf, file: FileHandle, directory: Directory) -> SealedFile {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        SealedFile { path, file, directory, id }
    }

    /// The first seq that a later file may have.
    pub fn next_seq(&self) -> u64 {
        self.directory.next_seq
    }

    pub fn size(&self) -> SealedSize {
        let Directory { first_seq, blocks, commits, .. } = &self.directory;
        SealedSize {
            first_seq: *first_seq,
            last_lsn: commits.last().map_or(Lsn::ZERO, |commit| commit.lsn),
            changes: blocks.iter().map(|block| block.changes).sum(),
            bytes: self.bytes(),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.file.length().unwrap_or_default()
    }

    /// The tables it has changes of.
    pub fn tables(&self) -> impl Iterator<Item = u32> {
        self.directory.blocks.iter().map(|block| block.table)
    }

    /// The blocks of a table, in order.
    pub fn batches(&self, table: u32) -> impl Iterator<Item = Result<RecordBatch, ChangeLogError>> {
        let mine = self.directory.blocks.iter().filter(move |entry| entry.table == table);
        mine.map(|entry| self.load(entry).map(|block| block.batch).map_err(|e| self.error(&e)))
    }

    pub fn first_seq(&self) -> u64 {
        self.directory.first_seq
    }

    pub fn commits(&self) -> &[StoredCommit] {
        &self.directory.commits
    }

    /// Sealing waits for the posting log, so there is never anything to tell again.
    pub fn holds_nothing_after(&self, after: Lsn) -> Result<(), ChangeLogError> {
        match self.directory.commits.last() {
            Some(last) if last.lsn > after => {
                Err(self.error("it was sealed before the posting log had all of it"))
            }
            _ => Ok(()),
        }
    }

    /// The change with this seq, if it is one of `table`.
    pub fn find(
        &self,
        seq: u64,
        table: u32,
        cache: &BlockCache,
    ) -> Result<Option<Change>, ChangeLogError> {
        let holds = |(_, entry): &(usize, &BlockEntry)| {
            entry.table == table && entry.first_seq <= seq && seq <= entry.last_seq
        };
        for (number, entry) in self.directory.blocks.iter().enumerate().filter(holds) {
            let key = (self.id, number);
            let block = cache.get(key, || self.load(entry).map(Arc::new));
            let block = block.map_err(|reason| self.error(&reason))?;
            if let Some(change) = block.change(seq) {
                return change.map(Some).map_err(|reason| self.error(&reason));
            }
        }
        Ok(None)
    }

    fn load(&self, entry: &BlockEntry) -> Result<Block, String> {
        let mut bytes = vec![0; usize::try_from(entry.length).map_err(|e| e.to_string())?];
        self.file.read_exact_at(&mut bytes, entry.at).map_err(|e| e.to_string())?;
        if crc32fast::hash(&bytes) != entry.crc32 {
            return Err(format!("the block at byte {} is damaged", entry.at));
        }
        let mut reader = StreamReader::try_new(&bytes[..], None).map_err(|e| e.to_string())?;
        let batch = reader.next().ok_or("an empty block")?.map_err(|e| e.to_string())?;
        // Not those of the file, which is compressed.
        Ok(Block { table: entry.table, bytes: batch.get_array_memory_size(), batch })
    }

    pub fn error(&self, reason: &str) -> ChangeLogError {
        ChangeLogError::Sealed { path: self.path.clone(), reason: reason.to_owned() }
    }
}

impl Block {
    /// The change with this seq, if it is here: seqs of one table have gaps.
    fn change(&self, seq: u64) -> Option<Result<Change, String>> {
        let seqs = column::<UInt64Array>(&self.batch, 0).ok()?;
        let at = seqs.values().binary_search(&seq).ok()?;
        Some(self.at(seq, at))
    }

    fn at(&self, seq: u64, at: usize) -> Result<Change, String> {
        let op_position = column::<UInt64Array>(&self.batch, 3)?.value(at);
        let row = |number: usize| -> Result<Option<Row>, String> {
            let rows = column::<StructArray>(&self.batch, number)?;
            if rows.is_null(at) { Ok(None) } else { struct_row(rows, at).map(Some) }
        };
        Ok(Change { seq, op_position, table: self.table, old: row(4)?, new: row(5)? })
    }
}

pub(super) fn column<T: 'static>(batch: &RecordBatch, number: usize) -> Result<&T, String> {
    let column = batch.columns().get(number).ok_or("a column is missing")?;
    column.as_any().downcast_ref::<T>().ok_or_else(|| "a column has another type".to_owned())
}

fn struct_row(rows: &StructArray, at: usize) -> Result<Row, String> {
    let mut row = RowBuilder::new(rows.num_columns()).map_err(|e| e.to_string())?;
    for values in rows.columns() {
        let values: &StringArray =
            values.as_any().downcast_ref().ok_or("a column has another type")?;
        let value = values.is_valid(at).then(|| values.value(at).as_bytes());
        row.push(value).map_err(|e| e.to_string())?;
    }
    row.finish().map_err(|e| e.to_string())
}

fn read_directory(storage: &dyn Storage, path: &Path) -> Result<(FileHandle, Directory), String> {
    let text = |e: std::io::Error| e.to_string();
    let file = storage.open(path).map_err(text)?;
    let length = file.length().map_err(text)?;
    let mut found = [0; FILE_HEAD as usize];
    file.read_exact_at(&mut found, 0).map_err(text)?;
    if found != head(FileKind::Sealed) || length < FILE_HEAD + FOOT {
        return Err("not a sealed change log file of this version".into());
    }
    let mut foot = [0; FOOT as usize];
    file.read_exact_at(&mut foot, length - FOOT).map_err(text)?;
    let size = u64::from(u32::from_le_bytes([foot[0], foot[1], foot[2], foot[3]]));
    let crc = u32::from_le_bytes([foot[4], foot[5], foot[6], foot[7]]);
    if FILE_HEAD + size + FOOT > length {
        return Err("the directory is longer than the file".into());
    }
    let mut json = vec![0; size as usize];
    file.read_exact_at(&mut json, length - FOOT - size).map_err(text)?;
    if crc32fast::hash(&json) != crc {
        return Err("the directory is damaged".into());
    }
    let directory = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    Ok((file, directory))
}

/// Where a file is written that is not complete yet.
pub(super) fn unfinished(dir: &Path, first_seq: u64) -> PathBuf {
    path(dir, first_seq).with_extension("tmp")
}

/// Writes a sealed file under a temporary name.
pub(super) struct SealedWriter {
    storage: StorageHandle,
    dir: PathBuf,
    temporary: PathBuf,
    file: FileHandle,
    at: u64,
    directory: Directory,
    open: BTreeMap<u32, OpenBlock>,
}

/// Changes of one table that are not written yet.
struct OpenBlock {
    relation: Arc<Relation>,
    seq: Vec<u64>,
    lsn: Vec<u64>,
    xid: Vec<u32>,
    op_position: Vec<u64>,
    old: Vec<Option<Row>>,
    new: Vec<Option<Row>>,
    bytes: usize,
}

impl SealedWriter {
    pub fn create(
        storage: &StorageHandle,
        dir: &Path,
        first_seq: u64,
    ) -> Result<SealedWriter, ChangeLogError> {
        let temporary = unfinished(dir, first_seq);
        let directory =
            Directory { first_seq, next_seq: first_seq, blocks: Vec::new(), commits: Vec::new() };
        let at = |source| FrameError::Io { path: temporary.clone(), source };
        if storage.exists(&temporary).map_err(at)? {
            storage.remove(&temporary).map_err(at)?;
        }
        let file = storage.create_new(&temporary).map_err(at)?;
        file.write_all_at(&head(FileKind::Sealed), 0).map_err(at)?;
        let (storage, dir) = (Arc::clone(storage), dir.to_owned());
        let (at, open) = (FILE_HEAD, BTreeMap::new());
        Ok(SealedWriter { storage, dir, temporary, file, at, directory, open })
    }

    pub fn path(&self) -> &Path {
        &self.temporary
    }

    pub fn push(
        &mut self,
        relation: &Arc<Relation>,
        lsn: Lsn,
        xid: u32,
        change: Change,
    ) -> Result<(), ChangeLogError> {
        let block =
            (self.open.entry(change.table)).or_insert_with(|| OpenBlock::new(Arc::clone(relation)));
        block.push(lsn, xid, change);
        if block.seq.len() >= BLOCK_CHANGES_MAX || block.bytes >= BLOCK_BYTES_MAX {
            let table = relation.oid;
            self.end_table(table)?;
        }
        Ok(())
    }

    pub fn push_commit(&mut self, commit: StoredCommit) {
        self.directory.next_seq = commit.next_seq;
        self.directory.commits.push(commit);
    }

    /// Writes what is gathered for a table; its next changes begin a block, maybe of other columns.
    pub fn end_table(&mut self, table: u32) -> Result<(), ChangeLogError> {
        let Some(block) = self.open.remove(&table) else { return Ok(()) };
        let (Some(&first_seq), Some(&last_seq)) = (block.seq.first(), block.seq.last()) else {
            return Ok(());
        };
        let changes = block.seq.len() as u64;
        let batch = block.encode().map_err(|e| self.error(&e.to_string()))?;
        self.push_block(
            BlockEntry { table, first_seq, last_seq, changes, at: 0, length: 0, crc32: 0 },
            &batch,
        )
    }

    /// Writes a block that was read from a sealed file.
    pub fn push_batch(&mut self, table: u32, batch: &RecordBatch) -> Result<(), ChangeLogError> {
        let seqs = column::<UInt64Array>(batch, 0).map_err(|reason| self.error(&reason))?.values();
        let (Some(&first_seq), Some(&last_seq)) = (seqs.first(), seqs.last()) else {
            return Ok(());
        };
        let changes = seqs.len() as u64;
        self.push_block(
            BlockEntry { table, first_seq, last_seq, changes, at: 0, length: 0, crc32: 0 },
            batch,
        )
    }

    fn push_block(&mut self, entry: BlockEntry, batch: &RecordBatch) -> Result<(), ChangeLogError> {
        let bytes = ipc(batch).map_err(|e| self.error(&e.to_string()))?;
        let (at, length) = (self.at, bytes.len() as u64);
        self.write(&bytes)?;
        let crc32 = crc32fast::hash(&bytes);
        self.directory.blocks.push(BlockEntry { at, length, crc32, ..entry });
        Ok(())
    }

    /// Completes the file and gives it its name: of what fails before that, nothing is there, and nothing fails afterwards.
    /// The name is durable once the directory is synced.
    pub fn finish(mut self) -> Result<SealedFile, ChangeLogError> {
        let tables: Vec<u32> = self.open.keys().copied().collect();
        for table in tables {
            self.end_table(table)?;
        }
        let json = serde_json::to_vec(&self.directory).map_err(|e| self.error(&e.to_string()))?;
        let size = u32::try_from(json.len()).map_err(|e| self.error(&e.to_string()))?;
        let crc = crc32fast::hash(&json);
        self.write(&json)?;
        self.write(&size.to_le_bytes())?;
        self.write(&crc.to_le_bytes())?;
        self.write(b"BROOKLET")?;
        let at = |source| FrameError::Io { path: self.temporary.clone(), source };
        self.file.sync_all().map_err(at)?;
        let name = path(&self.dir, self.directory.first_seq);
        self.storage.rename(&self.temporary, &name).map_err(at)?;
        Ok(SealedFile::new(name, self.file, self.directory))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ChangeLogError> {
        let at = |source| FrameError::Io { path: self.temporary.clone(), source };
        self.file.write_all_at(bytes, self.at).map_err(at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub fn error(&self, reason: &str) -> ChangeLogError {
        ChangeLogError::Sealed { path: self.temporary.clone(), reason: reason.to_owned() }
    }
}

impl OpenBlock {
    fn new(relation: Arc<Relation>) -> OpenBlock {
        OpenBlock {
            relation,
            seq: Vec::new(),
            lsn: Vec::new(),
            xid: Vec::new(),
            op_position: Vec::new(),
            old: Vec::new(),
            new: Vec::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, lsn: Lsn, xid: u32, change: Change) {
        let rows = [&change.old, &change.new];
        self.bytes += rows.iter().flat_map(|r| *r).map(|r| r.as_bytes().len()).sum::<usize>();
        self.seq.push(change.seq);
        self.lsn.push(lsn.0);
        self.xid.push(xid);
        self.op_position.push(change.op_position);
        self.old.push(change.old);
        self.new.push(change.new);
    }

    fn encode(self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let names: Vec<&str> = self.relation.columns.iter().map(|c| c.name.as_str()).collect();
        let (old, new) = (rows_array(&names, &self.old)?, rows_array(&names, &self.new)?);
        let number = |name: &str, kind| Field::new(name, kind, false);
        let schema = Arc::new(Schema::new(vec![
            number("seq", DataType::UInt64),
            number("lsn", DataType::UInt64),
            number("xid", DataType::UInt32),
            number("op_position", DataType::UInt64),
            Field::new("old", old.data_type().clone(), true),
            Field::new("new", new.data_type().clone(), true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.seq)),
            Arc::new(UInt64Array::from(self.lsn)),
            Arc::new(UInt32Array::from(self.xid)),
            Arc::new(UInt64Array::from(self.op_position)),
            Arc::new(old),
            Arc::new(new),
        ];
        RecordBatch::try_new(schema, columns)
    }
}

/// A stream of one batch. Compressed: a sealed file is written once and seldom read.
fn ipc(batch: &RecordBatch) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let options =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Rows as a struct of text columns; a row that is absent is a null struct.
fn rows_array(
    names: &[&str],
    rows: &[Option<Row>],
) -> Result<StructArray, arrow::error::ArrowError> {
    let field = |name: &&str| Field::new(*name, DataType::Utf8, true);
    let fields: Fields = names.iter().map(field).collect();
    let columns = (0..names.len()).map(|number| {
        let mut column = StringBuilder::new();
        for row in rows {
            column.append_option(row.as_ref().and_then(|row| row.text(number)));
        }
        Arc::new(column.finish()) as ArrayRef
    });
    let valid: NullBuffer = rows.iter().map(Option::is_some).collect::<Vec<_>>().into();
    StructArray::try_new_with_length(fields, columns.collect(), Some(valid), rows.len())
}
