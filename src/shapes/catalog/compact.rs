//! Writing the catalogue again while it is in use, without the records that nobody needs.
//!
//! *Invariant*: under the catalogue's name there is always a file with every record whose write has
//! been waited for. Records are copied as they are; what comes meanwhile goes into the old file, and
//! into the new one before that takes its place. What nobody refers to is left out only once it is forgotten, so that
//! nobody can refer to it again. The catalogue is held for what came in the last moment and a piece of what is forgotten at
//! a time, however many shapes there are: whoever makes or ends one waits for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use brooklet_dataflows::ShapeId;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::numbers::forget;
use super::{Catalog, PartitionsRecord, State, json, kind};
use crate::frame::{
    FILE_HEAD, FRAME_HEAD, FileKind, Frame, FrameError, FrameFile, fsync_failed, read_frames,
    sync_dir,
};
use crate::limits::{
    CATALOG_DEAD_BYTES_MIN, CATALOG_HELD_BYTES_MAX, CATALOG_ZEROS, SLICE_BYTES_MAX,
};
use crate::storage::{FileHandle, StorageHandle};

/// Where a record is that counts.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    length: u32,
}

/// Numbers that no shape refers to, not even through others.
#[derive(Default)]
struct Unused {
    forms: HashSet<u32>,
    templates: HashSet<u32>,
    tables: HashSet<u32>,
    zones: HashSet<u32>,
}

/// What is forgotten, in this order: what somebody may use is kept until nobody can any more who refers to it.
#[derive(Clone, Copy)]
enum Stage {
    Forms,
    Templates,
    Tables,
    Zones,
}

/// Which records count, by what they are about.
struct Survey {
    file: FileHandle,
    path: PathBuf,
    /// Up to where it has read.
    end: u64,
    unused: Unused,
    /// What is forgotten next, and from where on.
    next: (Stage, u32),
    /// The most that was looked at while the catalogue was held, records and others: for tests.
    longest_hold: usize,
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
    fn new(file: FileHandle, path: PathBuf) -> Survey {
        Survey {
            file,
            path,
            end: FILE_HEAD,
            unused: Unused::default(),
            next: (Stage::Forms, 0),
            longest_hold: 0,
            shapes: HashMap::new(),
            forms: BTreeMap::new(),
            templates: BTreeMap::new(),
            tables: BTreeMap::new(),
            zones: BTreeMap::new(),
            partitions: BTreeMap::new(),
            found: BTreeMap::new(),
            highest: None,
        }
    }

    /// Reads on up to `end`; says how many records that were.
    fn read_to(&mut self, end: u64) -> Result<usize, FrameError> {
        let begin = std::mem::replace(&mut self.end, end);
        if begin == end {
            return Ok(0);
        }
        let (mut bad, mut count) = (None, 0);
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        read_frames(&*file, &path, (begin, end), |frame| {
            count += 1;
            if self.read(frame).is_none() {
                bad.get_or_insert(frame.at);
            }
        })?;
        bad.map_or(Ok(count), |at| Err(FrameError::Damaged(path, at)))
    }

    /// `None` if the record cannot be read.
    fn read(&mut self, frame: Frame<'_>) -> Option<()> {
        let place = Place { at: frame.at, length: u32::try_from(frame.payload.len()).ok()? };
        match frame.kind {
            kind::SHAPE => {
                let head: ShapeHead = serde_json::from_slice(frame.payload).ok()?;
                let form = head.filter.map(|filter| filter.form);
                self.use_template(head.template);
                form.into_iter().for_each(|form| self.use_form(form));
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
                self.unused.tables.remove(&head.table);
                self.templates.insert(head.number, (place, head.table));
            }
            kind::FORM => {
                let head: FormHead = serde_json::from_slice(frame.payload).ok()?;
                self.unused.spare(&head);
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

    /// Finds what no shape refers to. What is read later is no longer among it, nor what that refers to.
    fn find_unused(&mut self) {
        let templates: HashSet<u32> = self.shapes.values().map(|shape| shape.1).collect();
        let forms: HashSet<u32> = self.shapes.values().filter_map(|shape| shape.2).collect();
        let known = self.templates.iter().filter(|(number, _)| templates.contains(number));
        let mut tables: HashSet<u32> = known.map(|(_, template)| template.1).collect();
        let mut zones: HashSet<u32> = HashSet::new();
        for (_, (_, form)) in self.forms.iter().filter(|(number, _)| forms.contains(number)) {
            tables.extend(&form.tables);
            zones.extend(&form.zones);
        }
        self.unused = Unused {
            forms: others(&self.forms, &forms),
            templates: others(&self.templates, &templates),
            tables: others(&self.tables, &tables),
            zones: others(&self.zones, &zones),
        };
    }

    fn use_template(&mut self, number: u32) {
        if self.unused.templates.remove(&number)
            && let Some((_, table)) = self.templates.get(&number)
        {
            self.unused.tables.remove(table);
        }
    }

    fn use_form(&mut self, number: u32) {
        if self.unused.forms.remove(&number)
            && let Some((_, form)) = self.forms.get(&number)
        {
            self.unused.spare(form);
        }
    }

    /// Where the records are that stay.
    fn places(&self) -> impl Iterator<Item = Place> {
        let unused = &self.unused;
        let shapes = self.shapes.values().map(|shape| shape.0);
        let templates = but(&self.templates, &unused.templates).map(|template| template.0);
        let forms = but(&self.forms, &unused.forms).map(|form| form.0);
        let tables = but(&self.tables, &unused.tables).chain(but(&self.zones, &unused.zones));
        let rest = tables.chain(self.partitions.values()).chain(self.found.values()).copied();
        shapes.chain(templates).chain(forms).chain(rest)
    }

    fn bytes(&self) -> u64 {
        let bytes = self.places().map(|place| u64::from(place.length) + FRAME_HEAD as u64);
        FILE_HEAD + bytes.sum::<u64>()
    }
}

impl Unused {
    /// A form is used, and with it what it refers to.
    fn spare(&mut self, form: &FormHead) {
        form.tables.iter().for_each(|table| _ = self.tables.remove(table));
        form.zones.iter().for_each(|zone| _ = self.zones.remove(zone));
    }
}

/// The numbers that are not among `used`.
fn others<T>(all: &BTreeMap<u32, T>, used: &HashSet<u32>) -> HashSet<u32> {
    all.keys().filter(|number| !used.contains(number)).copied().collect()
}

/// What has none of these numbers.
fn but<'a, T>(
    all: &'a BTreeMap<u32, T>,
    unused: &'a HashSet<u32>,
) -> impl Iterator<Item = &'a T> + 'a {
    all.iter().filter(|(number, _)| !unused.contains(number)).map(|(_, value)| value)
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
        let Some((file, path, end)) = self.due()? else { return Ok(None) };
        let mut survey = Survey::new(file, path);
        survey.read_to(end)?;
        survey.find_unused();
        let used = survey.bytes();
        let dead = end.saturating_sub(used);
        if dead <= used || dead < CATALOG_DEAD_BYTES_MIN {
            self.state().look_at = end + used.saturating_sub(dead).max(CATALOG_DEAD_BYTES_MIN);
            return Ok(None);
        }
        loop {
            match self.forget_some(&mut survey)? {
                Some(true) => {}
                Some(false) => break,
                None => return Ok(None),
            }
        }
        self.copy(&survey).map(Some)
    }

    /// Forgets what is unused in a piece of what is next, but for what has been used since: whoever needs one of those that
    /// go writes it anew, behind the survey's end. `false` behind the last piece. `None` if there is no file any more.
    fn forget_some(&self, survey: &mut Survey) -> Result<Option<bool>, FrameError> {
        let Some((mut state, read)) = self.caught_up(survey)? else { return Ok(None) };
        let Unused { forms, templates, tables, zones } = &survey.unused;
        let (stage, from) = survey.next;
        let forgotten = match stage {
            Stage::Forms => state.forms.forget(from, forms),
            Stage::Templates => state.templates.forget(from, templates),
            Stage::Tables => forget(&mut state.tables, from, tables),
            Stage::Zones => forget(&mut state.zones, from, zones),
        };
        let (looked_at, next) = match (forgotten, stage) {
            (Some((looked_at, from)), stage) => (looked_at, Some((stage, from))),
            (None, Stage::Forms) => (0, Some((Stage::Templates, 0))),
            (None, Stage::Templates) => (0, Some((Stage::Tables, 0))),
            (None, Stage::Tables) => (0, Some((Stage::Zones, 0))),
            (None, Stage::Zones) => (0, None),
        };
        survey.longest_hold = survey.longest_hold.max(read + looked_at);
        survey.next = next.unwrap_or(survey.next);
        Ok(Some(next.is_some()))
    }

    /// The state, once the survey has read all that was written: most of it while others go on. With the number of
    /// records that were read while they could not.
    fn caught_up(
        &self,
        survey: &mut Survey,
    ) -> Result<Option<(MutexGuard<'_, State>, usize)>, FrameError> {
        loop {
            let mut state = self.state();
            let Some(current) = &mut state.file else { return Ok(None) };
            current.flush()?;
            let end = current.flushed();
            if end - survey.end <= CATALOG_HELD_BYTES_MAX {
                let read = survey.read_to(end)?;
                return Ok(Some((state, read)));
            }
            drop(state);
            survey.read_to(end)?;
        }
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

    fn copy(&self, survey: &Survey) -> Result<Begun, FrameError> {
        let (storage, path) = (self.storage(), &survey.path);
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
        read_frames(&*survey.file, path, (FILE_HEAD, survey.end), |frame| {
            if failed.is_ok() && places.next_if_eq(&frame.at).is_some() {
                copied.append(frame.kind, &[frame.payload]);
                if copied.pending_bytes() > SLICE_BYTES_MAX {
                    failed = copied.flush();
                }
            }
        })?;
        failed?;
        copied.sync()?;
        Ok(Begun { file: Arc::clone(&survey.file), copied, end: survey.end })
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

#[cfg(test)]
mod tests;
