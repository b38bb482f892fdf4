//! Writing the catalogue again while it is in use, without the records that nobody needs.
//!
//! *Invariant*: under the catalogue's name there is always a file with every record whose write has
//! been waited for. Records are copied as they are; what comes meanwhile goes into the old file, and
//! into the new one before that takes its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brooklet_dataflows::ShapeId;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Catalog, PartitionsRecord, json, kind};
use crate::frame::{
    FILE_HEAD, FRAME_HEAD, FileKind, Frame, FrameError, FrameFile, fsync_failed, read_frames,
    sync_dir,
};
use crate::limits::{CATALOG_DEAD_BYTES_MIN, CATALOG_ZEROS, SLICE_BYTES_MAX};
use crate::storage::{FileHandle, StorageFile, StorageHandle};

/// Where a record is that counts.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    length: u32,
}

/// Which records count, by what they are about.
#[derive(Default)]
struct Survey {
    /// With the numbers of the template and the form.
    shapes: HashMap<ShapeId, (Place, u32, Option<u32>)>,
    /// With the numbers of the tables and zones.
    forms: BTreeMap<u32, (Place, FormHead)>,
    /// With the number of the table.
    templates: BTreeMap<u32, (Place, u32)>,
    tables: BTreeMap<u32, Place>,
    zones: BTreeMap<u32, Place>,
    partitions: BTreeMap<u32, Place>,
    /// How tables were found.
    found: BTreeMap<u32, Place>,
    /// The highest shape ever.
    highest: Option<ShapeId>,
}

#[derive(Deserialize)]
struct ShapeHead {
    id: ShapeId,
    template: u32,
    filter: Option<FilterHead>,
}

#[derive(Deserialize)]
struct FilterHead {
    form: u32,
}

#[derive(Deserialize)]
struct TemplateHead {
    number: u32,
    table: u32,
}

#[derive(Deserialize)]
struct FormHead {
    number: u32,
    tables: Vec<u32>,
    zones: Vec<u32>,
}

#[derive(Deserialize)]
struct Numbered {
    number: u32,
}

impl Survey {
    fn read_all(
        &mut self,
        file: &dyn StorageFile,
        path: &Path,
        between: (u64, u64),
    ) -> Result<(), FrameError> {
        let mut bad = None;
        read_frames(file, path, between, |frame| {
            if self.read(frame).is_none() {
                bad.get_or_insert(frame.at);
            }
        })?;
        bad.map_or(Ok(()), |at| Err(FrameError::Damaged(path.to_owned(), at)))
    }

    /// `None` if the record cannot be read.
    fn read(&mut self, frame: Frame<'_>) -> Option<()> {
        let place = Place { at: frame.at, length: u32::try_from(frame.payload.len()).ok()? };
        match frame.kind {
            kind::SHAPE => {
                let head: ShapeHead = serde_json::from_slice(frame.payload).ok()?;
                let form = head.filter.map(|filter| filter.form);
                self.highest = self.highest.max(Some(head.id));
                self.shapes.insert(head.id, (place, head.template, form));
            }
            kind::REMOVED => {
                let id: ShapeId = serde_json::from_slice(frame.payload).ok()?;
                self.highest = self.highest.max(Some(id));
                self.shapes.remove(&id);
            }
            kind::TABLE => {
                let head: Numbered = serde_json::from_slice(frame.payload).ok()?;
                self.tables.insert(head.number, place);
            }
            kind::ZONE => {
                let head: Numbered = serde_json::from_slice(frame.payload).ok()?;
                self.zones.insert(head.number, place);
            }
            kind::TEMPLATE => {
                let head: TemplateHead = serde_json::from_slice(frame.payload).ok()?;
                self.templates.insert(head.number, (place, head.table));
            }
            kind::FORM => {
                let head: FormHead = serde_json::from_slice(frame.payload).ok()?;
                self.forms.insert(head.number, (place, head));
            }
            kind::PARTITIONS => {
                let known: PartitionsRecord = serde_json::from_slice(frame.payload).ok()?;
                self.partitions.insert(known.root, place);
            }
            kind::NO_PARTITIONS => {
                let root: u32 = serde_json::from_slice(frame.payload).ok()?;
                self.partitions.remove(&root);
            }
            kind::FOUND => {
                let (oid, _): (u32, IgnoredAny) = serde_json::from_slice(frame.payload).ok()?;
                self.found.insert(oid, place);
            }
            _ => return None,
        }
        Some(())
    }

    /// Leaves out what no shape refers to.
    fn keep_used(&mut self) {
        let templates: HashSet<u32> = self.shapes.values().map(|shape| shape.1).collect();
        let forms: HashSet<u32> = self.shapes.values().filter_map(|shape| shape.2).collect();
        self.templates.retain(|number, _| templates.contains(number));
        self.forms.retain(|number, _| forms.contains(number));
        let mut tables: HashSet<u32> = self.templates.values().map(|template| template.1).collect();
        let mut zones: HashSet<u32> = HashSet::new();
        for (_, form) in self.forms.values() {
            tables.extend(&form.tables);
            zones.extend(&form.zones);
        }
        self.tables.retain(|number, _| tables.contains(number));
        self.zones.retain(|number, _| zones.contains(number));
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let shapes = self.shapes.values().map(|shape| shape.0);
        let templates = self.templates.values().map(|template| template.0);
        let forms = self.forms.values().map(|form| form.0);
        let rest = [&self.tables, &self.zones, &self.partitions, &self.found].into_iter();
        shapes.chain(templates).chain(forms).chain(rest.flat_map(|places| places.values().copied()))
    }

    fn bytes(&self) -> u64 {
        let bytes = self.places().map(|place| u64::from(place.length) + FRAME_HEAD as u64);
        FILE_HEAD + bytes.sum::<u64>()
    }
}

/// A panic of what ran elsewhere as an error.
fn joined<T>(path: &Path, ended: Result<T, tokio::task::JoinError>) -> Result<T, FrameError> {
    ended.map_err(|error| FrameError::Io { path: path.to_owned(), source: io::Error::other(error) })
}

impl Catalog {
    /// Writes the file again without what is dead in it, if that is more than what is alive. Says whether
    /// it did. After an error everything is as it was.
    pub async fn compact(self: &Arc<Catalog>) -> Result<bool, FrameError> {
        let catalog = Arc::clone(self);
        let begun = tokio::task::spawn_blocking(move || catalog.begin()).await;
        let Some(begun) = joined(&self.state().path, begun)?? else { return Ok(false) };
        // Nobody waits for a record meanwhile, and what is gathered goes along.
        let paused = self.group.pause().await;
        let catalog = Arc::clone(self);
        let replaced = tokio::task::spawn_blocking(move || catalog.replace(begun)).await;
        drop(paused);
        match joined(&self.state().path, replaced)? {
            Ok(()) => Ok(true),
            Err(Failure::Unchanged(error)) => Err(error),
            Err(Failure::Fatal(error)) => fsync_failed(&error),
        }
    }

    /// Copies what counts of all records so far, if that is worth it. Blocks on files.
    pub(super) fn begin(&self) -> Result<Option<Begun>, FrameError> {
        let Some((file, path, first)) = self.due()? else { return Ok(None) };
        let mut survey = Survey::default();
        survey.read_all(&*file, &path, (FILE_HEAD, first))?;
        let end = {
            let mut state = self.state();
            let Some(current) = &mut state.file else { return Ok(None) };
            current.flush()?;
            let end = current.flushed();
            survey.read_all(&*file, &path, (first, end))?;
            survey.keep_used();
            let used = survey.bytes();
            let dead = end.saturating_sub(used);
            if dead <= used || dead < CATALOG_DEAD_BYTES_MIN {
                state.look_at = end + used.saturating_sub(dead).max(CATALOG_DEAD_BYTES_MIN);
                return Ok(None);
            }
            // Whoever needs one of those that go writes it anew, behind this place.
            state.tables.retain(|number, _| survey.tables.contains_key(number));
            state.zones.retain(|number, _| survey.zones.contains_key(number));
            state.templates.retain(|_, number| survey.templates.contains_key(number));
            state.forms.retain(|_, number| survey.forms.contains_key(number));
            end
        };
        let copied = self.copy(&*file, &path, end, &survey)?;
        Ok(Some(Begun { file, copied, end }))
    }

    /// The file and its end, if it has grown enough to look at.
    fn due(&self) -> Result<Option<(FileHandle, PathBuf, u64)>, FrameError> {
        let mut state = self.state();
        let (path, look_at) = (state.path.clone(), state.look_at);
        let Some(file) = state.file.as_mut().filter(|file| file.end() >= look_at) else {
            return Ok(None);
        };
        file.flush()?;
        Ok(Some((Arc::clone(file.file()), path, file.flushed())))
    }

    fn copy(
        &self,
        file: &dyn StorageFile,
        path: &Path,
        end: u64,
        survey: &Survey,
    ) -> Result<FrameFile, FrameError> {
        let storage = self.storage();
        let temporary = path.with_extension("tmp");
        let at = |source| FrameError::Io { path: temporary.clone(), source };
        if storage.exists(&temporary).map_err(at)? {
            storage.remove(&temporary).map_err(at)?;
        }
        let copied = FrameFile::create(&storage, &temporary, FileKind::Catalog)?;
        let mut copied = copied.ahead(CATALOG_ZEROS);
        if let Some(highest) = survey.highest.filter(|id| !survey.shapes.contains_key(id)) {
            copied.append(kind::REMOVED, &[&json(&highest)]);
        }
        let mut places: Vec<u64> = survey.places().map(|place| place.at).collect();
        places.sort_unstable();
        let (mut places, mut failed) = (places.into_iter().peekable(), Ok(()));
        read_frames(file, path, (FILE_HEAD, end), |frame| {
            if failed.is_ok() && places.next_if_eq(&frame.at).is_some() {
                copied.append(frame.kind, &[frame.payload]);
                if copied.pending_bytes() > SLICE_BYTES_MAX {
                    failed = copied.flush();
                }
            }
        })?;
        failed?;
        copied.sync()?;
        Ok(copied)
    }

    /// Adds what has come since, and lets the copy take the place of the file. Nothing is flushed to
    /// that meanwhile. Blocks on files.
    pub(super) fn replace(&self, begun: Begun) -> Result<(), Failure> {
        let Begun { file, mut copied, end } = begun;
        let path = self.state().path.clone();
        let flushed = self.state().file.as_ref().map_or(end, FrameFile::flushed);
        let named = read_frames(&*file, &path, (end, flushed), |frame| {
            copied.append(frame.kind, &[frame.payload]);
        });
        let named = named.and_then(|()| copied.sync()).and_then(|()| copied.rename(&path));
        if let Err(error) = named {
            // If it stays, the next one or a start deletes it.
            _ = self.storage().remove(copied.path());
            return Err(Failure::Unchanged(error));
        }
        sync_dir(&*self.storage(), &path).map_err(Failure::Fatal)?;
        let mut state = self.state();
        let bytes = copied.end();
        if let Some(old) = state.file.take() {
            tracing::debug!(before = old.end(), bytes, "catalogue written again");
            old.hand_over(&mut copied);
        }
        state.look_at = bytes + bytes.max(CATALOG_DEAD_BYTES_MIN);
        state.file = Some(copied);
        Ok(())
    }

    fn storage(&self) -> StorageHandle {
        Arc::clone(&self.state().storage)
    }
}

/// A copy under way.
pub(super) struct Begun {
    /// What is copied.
    file: FileHandle,
    copied: FrameFile,
    /// Up to where it goes.
    end: u64,
}

pub(super) enum Failure {
    /// The old file stays.
    Unchanged(FrameError),
    /// Nobody knows whether the disk has the old or the new: the process must end.
    Fatal(FrameError),
}
