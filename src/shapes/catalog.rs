//! The finished shapes, on disk: what survives a restart.
//!
//! What shapes have in common is written once: tables, time zones, templates, the forms of filters. Records
//! refer to them by number.

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brooklet_dataflows::ShapeId;
use brooklet_sql::{Lsn, Predicate, TableSchema, Zone, Zones};
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::handle::Handle;
use super::partitions::KnownPartitions;
use super::template::Template;
use super::visibility::Visibility;
use crate::frame::{FileKind, FrameError, FrameFile, Tail, sync_dir, sync_elsewhere};
use crate::limits::{CATALOG_DEAD_BYTES_MIN, CATALOG_ZEROS, SLICE_BYTES_MAX};
use crate::replication::rewrites::Note;
use crate::shape_log::{BatchPlace, LogPoint, ShapeLog};
use crate::shared_call::SharedCall;
use crate::storage::StorageHandle;
use found::Found;
use numbers::Numbers;

pub use found::Recovered;

mod compact;
mod found;
mod numbers;

mod kind {
    pub const SHAPE: u8 = 1;
    pub const REMOVED: u8 = 2;
    pub const TABLE: u8 = 3;
    pub const PARTITIONS: u8 = 4;
    pub const TEMPLATE: u8 = 5;
    pub const FORM: u8 = 6;
    pub const NO_PARTITIONS: u8 = 7;
    pub const ZONE: u8 = 8;
    pub const FOUND: u8 = 9;
}

/// A finished shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeRecord {
    /// Its number.
    pub id: ShapeId,
    /// Which of the catalogue's templates it has.
    pub template: u32,
    /// Its filter.
    pub filter: Option<FilterRecord>,
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
    pub retired: Vec<Handle>,
    /// Which generation of its table's partitions it was made under.
    #[serde(default)]
    pub generation: u64,
}

/// Rows that a log begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// Their name towards clients.
    pub handle: Handle,
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

/// A shape's filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRecord {
    /// Which of the catalogue's forms it has.
    pub form: u32,
    /// Its own constants.
    pub constants: Vec<String>,
}

/// What is shown of which table.
#[derive(Debug, Clone)]
pub struct StoredTemplate {
    /// The table.
    pub table: Arc<TableSchema>,
    /// What is shown.
    pub definition: Definition,
}

/// What filters have in common that differ in constants only.
#[derive(Debug, Clone)]
pub struct StoredForm {
    /// The template of its shapes.
    pub template: u32,
    /// Its text.
    pub text: String,
    /// A filter of this form, printed: what a restart compiles again.
    pub example: String,
    /// The tables of its subqueries.
    pub tables: Vec<Arc<TableSchema>>,
    /// Its time zones.
    pub zones: Zones,
}

/// What a record is made of, but for what the catalogue adds.
pub struct Finished {
    /// See [`ShapeRecord`].
    pub id: ShapeId,
    /// What it shows.
    pub template: Arc<Template>,
    /// Its filter.
    pub predicate: Option<Predicate>,
    /// See [`ShapeRecord`].
    pub chunk_bytes: u64,
    /// See [`ShapeRecord`].
    pub visibility: Visibility,
    /// See [`ShapeRecord`].
    pub until: Lsn,
    /// See [`ShapeRecord`].
    pub bases: Vec<BaseRecord>,
    /// See [`ShapeRecord`].
    pub retired: Vec<Handle>,
    /// See [`ShapeRecord`].
    pub generation: u64,
}

/// The catalogue.
pub struct Catalog {
    /// Held while a record is gathered, never across an fsync.
    state: Mutex<State>,
    group: SharedCall<()>,
    /// Held while a record of a shape is made, written and acted upon.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    file: Option<FrameFile>,
    storage: StorageHandle,
    path: PathBuf,
    /// What the file has already, by number.
    tables: BTreeMap<u32, Arc<TableSchema>>,
    zones: BTreeMap<u32, Arc<Zone>>,
    templates: Numbers<(u32, Definition)>,
    forms: Numbers<(u32, String)>,
    /// Numbers above all that were given.
    next_table: u32,
    next_zone: u32,
    next_template: u32,
    next_form: u32,
    /// The length of the file at which is looked for what is dead in it.
    look_at: u64,
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

#[derive(Serialize, Deserialize)]
struct ZoneRecord {
    number: u32,
    zone: Zone,
}

#[derive(Serialize, Deserialize)]
struct FormRecord {
    number: u32,
    template: u32,
    text: String,
    example: String,
    /// Numbers of the tables of its subqueries,
    tables: Vec<u32>,
    /// and of its time zones. One table or zone is in thousands of forms.
    zones: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct TemplateRecord {
    number: u32,
    table: u32,
    definition: Definition,
}

impl Catalog {
    /// Reads the catalogue at `path`, without the shapes that `ended` names, and rewrites it.
    #[cfg(test)]
    pub fn open(
        storage: &StorageHandle,
        path: &Path,
        ended: &HashSet<ShapeId>,
    ) -> Result<(Catalog, Recovered), FrameError> {
        let mut recovered = Catalog::read(storage, path)?;
        recovered.keep(|shape| !ended.contains(&shape.id));
        let catalog = Catalog::rewrite(storage, path, &recovered)?;
        Ok((catalog, recovered))
    }

    /// Reads the catalogue at `path`, if there is one.
    pub fn read(storage: &StorageHandle, path: &Path) -> Result<Recovered, FrameError> {
        let (mut found, mut bad) = (Found::new(), None);
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
        Ok(found.alive())
    }

    /// Begins a catalogue of what was read and is still wanted; it replaces the one at `path`.
    pub fn rewrite(
        storage: &StorageHandle,
        path: &Path,
        recovered: &Recovered,
    ) -> Result<Catalog, FrameError> {
        let Recovered { shapes, templates, forms, next_id, partitions, notes } = recovered;
        let temporary = path.with_extension("tmp");
        let at = |source| FrameError::Io { path: temporary.clone(), source };
        if storage.exists(&temporary).map_err(at)? {
            storage.remove(&temporary).map_err(at)?;
        }
        let mut file = FrameFile::create(storage, &temporary, FileKind::Catalog)?;
        let mut state = State {
            file: None,
            storage: Arc::clone(storage),
            path: path.to_owned(),
            tables: BTreeMap::new(),
            zones: BTreeMap::new(),
            templates: Numbers::default(),
            forms: Numbers::default(),
            next_table: 0,
            next_zone: 0,
            next_template: templates.last_key_value().map_or(0, |(last, _)| last + 1),
            next_form: forms.last_key_value().map_or(0, |(last, _)| last + 1),
            look_at: 0,
        };
        for (number, template) in templates {
            state.known_template(*number, template, &mut file);
        }
        for (number, form) in forms {
            state.known_form(*number, form, &mut file);
        }
        for shape in shapes {
            file.append(kind::SHAPE, &[&json(shape)]);
            // There may be a million: not all of them at once.
            if file.pending_bytes() > SLICE_BYTES_MAX {
                file.flush()?;
            }
        }
        // Keeps the numbers rising, whoever was removed: no number is given twice.
        let highest = ShapeId(*next_id - 1);
        if shapes.last().is_none_or(|shape| shape.id != highest) {
            file.append(kind::REMOVED, &[&json(&highest)]);
        }
        for (root, known) in partitions {
            let (root, known) = (*root, known.clone());
            file.append(kind::PARTITIONS, &[&json(&PartitionsRecord { root, known })]);
        }
        for found in notes {
            file.append(kind::FOUND, &[&json(&found)]);
        }
        file.sync()?;
        file.rename(path)?;
        sync_dir(&**storage, path)?;
        state.look_at = file.end() + file.end().max(CATALOG_DEAD_BYTES_MIN);
        state.file = Some(file.ahead(CATALOG_ZEROS));
        let (group, turn) = (SharedCall::default(), tokio::sync::Mutex::default());
        Ok(Catalog { state: Mutex::new(state), group, turn })
    }

    /// Waits until nobody else is about to write what has become of a shape. Of two records the last
    /// one counts, so it has to be made of what the one before it said.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Adds a finished shape, or what has become of it since; durable when it returns. Nothing is added, and `false`
    /// returned, of one that has ended or whose removal is under way: no record comes after that.
    pub async fn finish(&self, shape: Finished, log: &ShapeLog) -> Result<bool, FrameError> {
        let added = self.note_finished(shape, log);
        self.sync().await.map(|()| added)
    }

    /// The same, durable after [`Catalog::sync`].
    pub fn note_finished(&self, shape: Finished, log: &ShapeLog) -> bool {
        let mut added = false;
        self.append(|state, file| {
            added = log.stays();
            if !added {
                return;
            }
            let template = state.template(&shape.template, file);
            let predicate = shape.predicate.as_ref();
            let record = ShapeRecord {
                id: shape.id,
                template,
                filter: predicate.map(|predicate| state.filter(template, predicate, file)),
                chunk_bytes: shape.chunk_bytes,
                visibility: shape.visibility,
                until: shape.until,
                bases: shape.bases,
                retired: shape.retired,
                generation: shape.generation,
            };
            file.append(kind::SHAPE, &[&json(&record)]);
        });
        added
    }

    /// Forgets a shape; durable when it returns.
    pub async fn remove(&self, shape: ShapeId) -> Result<(), FrameError> {
        self.remove_all(&[shape]).await
    }

    /// Forgets shapes; durable when it returns.
    pub async fn remove_all(&self, shapes: &[ShapeId]) -> Result<(), FrameError> {
        self.append(|_, file| {
            shapes.iter().for_each(|shape| _ = file.append(kind::REMOVED, &[&json(shape)]));
        });
        self.sync().await
    }

    /// Remembers the partitions of a table; durable after [`Catalog::sync`].
    pub fn note_partitions(&self, root: u32, known: &KnownPartitions) {
        let record = PartitionsRecord { root, known: known.clone() };
        self.append(|_, file| _ = file.append(kind::PARTITIONS, &[&json(&record)]));
    }

    /// Forgets the partitions of a table that no shape is about; durable after [`Catalog::sync`].
    pub fn forget_partitions(&self, root: u32) {
        self.append(|_, file| _ = file.append(kind::NO_PARTITIONS, &[&json(&root)]));
    }

    /// Remembers how a table was found; durable with what is made durable later.
    pub fn note_found(&self, oid: u32, note: &Note) {
        self.append(|_, file| _ = file.append(kind::FOUND, &[&json(&(oid, note))]));
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().file.as_ref().map_or(0, FrameFile::flushed)
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
            .call(|| async {
                let (file, path) = {
                    let mut state = self.state();
                    let path = state.path.clone();
                    let Some(file) = &mut state.file else { return Ok(()) };
                    file.flush()?;
                    (Arc::clone(file.file()), path)
                };
                let at = |source| FrameError::Io { path, source };
                sync_elsewhere(move || file.sync_data().map_err(at)).await;
                Ok(())
            })
            .await
    }

    /// Nothing becomes durable as long as the guard lives.
    #[cfg(test)]
    pub(crate) async fn pause(&self) -> tokio::sync::MutexGuard<'_, crate::shared_call::Done<()>> {
        self.group.pause().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of a table, which is written once.
    fn table(&mut self, table: &Arc<TableSchema>, file: &mut FrameFile) -> u32 {
        let same = |known: &Arc<TableSchema>| Arc::ptr_eq(known, table) || known == table;
        if let Some((number, _)) = self.tables.iter().rev().find(|(_, known)| same(known)) {
            return *number;
        }
        let number = self.next_table;
        self.next_table += 1;
        self.tables.insert(number, Arc::clone(table));
        let schema = TableSchema::clone(table);
        file.append(kind::TABLE, &[&json(&TableRecord { number, schema })]);
        number
    }

    /// The number of a template, which is written once.
    fn template(&mut self, template: &Template, file: &mut FrameFile) -> u32 {
        let table = self.table(template.table(), file);
        if let Some(number) = self.templates.number(table, &template.definition) {
            return number;
        }
        let number = self.next_template;
        self.next_template += 1;
        let (table, definition) = (Arc::clone(template.table()), template.definition.clone());
        self.known_template(number, &StoredTemplate { table, definition }, file);
        number
    }

    /// Writes a template under its number.
    fn known_template(&mut self, number: u32, template: &StoredTemplate, file: &mut FrameFile) {
        let table = self.table(&template.table, file);
        let definition = template.definition.clone();
        self.templates.insert((table, definition.clone()), number);
        let record = TemplateRecord { number, table, definition };
        file.append(kind::TEMPLATE, &[&json(&record)]);
    }

    /// The number of a time zone, which is written once.
    fn zone(&mut self, zone: &Arc<Zone>, file: &mut FrameFile) -> u32 {
        if let Some((number, _)) = self.zones.iter().rev().find(|(_, known)| *known == zone) {
            return *number;
        }
        let number = self.next_zone;
        self.next_zone += 1;
        self.zones.insert(number, Arc::clone(zone));
        let zone = Zone::clone(zone);
        file.append(kind::ZONE, &[&json(&ZoneRecord { number, zone })]);
        number
    }

    /// Writes a form under its number.
    fn known_form(&mut self, number: u32, form: &StoredForm, file: &mut FrameFile) {
        let StoredForm { template, text, example, tables, zones } = form.clone();
        let tables = tables.iter().map(|table| self.table(table, file)).collect();
        let zones = zones.values().map(|zone| self.zone(zone, file)).collect();
        self.forms.insert((template, text.clone()), number);
        let record = FormRecord { number, template, text, example, tables, zones };
        file.append(kind::FORM, &[&json(&record)]);
    }

    /// The record of a filter, whose form is written once.
    fn filter(
        &mut self,
        template: u32,
        predicate: &Predicate,
        file: &mut FrameFile,
    ) -> FilterRecord {
        let text = predicate.form().text();
        let number = self.forms.number(template, text).unwrap_or_else(|| {
            let number = self.next_form;
            self.next_form += 1;
            let (tables, zones) = (predicate.subquery_tables(), predicate.form().zones());
            let (text, example) = (text.to_owned(), predicate.sql());
            let form = StoredForm { template, text, example, tables, zones };
            self.known_form(number, &form, file);
            number
        });
        FilterRecord { form: number, constants: predicate.constants() }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of strings, numbers and lists always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
