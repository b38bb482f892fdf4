//! A disk in memory that fails as disks do.
//!
//! What is written stands in the page cache. A sync makes a file's bytes durable, a sync of a
//! directory its names. A killed process leaves the page cache; a power cut leaves what was durable
//! and a random part of the rest: any blocks, any names, torn at any byte. A failed sync loses the
//! bytes and the next one succeeds, as Linux does it.

mod contents;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use contents::{Contents, Unsynced, write};

use super::rng::Rng;
use crate::storage::{FileHandle, Storage, StorageFile, StorageHandle};

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process ends in the middle of the operation.
    Kill,
    /// The power goes in the middle of the operation.
    PowerCut,
    /// The next sync fails; what it should have made durable is gone from the cache's books.
    SyncFails,
    /// There is no space from now on; a write may end short.
    NoSpace,
    /// The next read fails.
    ReadFails,
    /// The next deletion fails.
    RemoveFails,
}

/// One life of a process on the disk; [`Faulty::restart`] begins the next.
#[derive(Clone)]
pub(crate) struct Faulty {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

struct Disk {
    rng: Rng,
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    /// Changes of names that no sync of their directory has covered; each happens or does not.
    renames: Vec<(PathBuf, Renames)>,
    life: u64,
    dead: bool,
    operations: u64,
    armed: Option<(Fault, u64)>,
    hit: Option<Fault>,
    full: bool,
    /// The file whose sync failed, and whether it was synced again in the same life.
    failed: Option<usize>,
    retried: bool,
    /// What comes before the next read of a file with this extension.
    before_read: Option<(&'static str, Act)>,
}

type Act = Box<dyn FnOnce() + Send>;

/// What names are from now on; all of it happens at once.
type Renames = Vec<(PathBuf, Option<Entry>)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Directory,
    File(usize),
}

/// What is to become of an operation.
enum Fate {
    Whole,
    /// Only a part of it happens; the process does not live to see it.
    Torn,
    NoSpace,
}

struct Open {
    disk: Faulty,
    file: usize,
}

fn dead() -> io::Error {
    io::Error::other("the process has ended")
}

fn input_output() -> io::Error {
    // EIO has no kind of its own.
    io::Error::from_raw_os_error(5)
}

fn no_space() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Faulty {
    pub(crate) fn new(rng: Rng) -> Faulty {
        let root = BTreeMap::from([(PathBuf::from("/"), Entry::Directory)]);
        let disk = Disk {
            rng,
            files: Vec::new(),
            names: root.clone(),
            durable: root,
            renames: Vec::new(),
            life: 0,
            dead: false,
            operations: 0,
            armed: None,
            hit: None,
            full: false,
            failed: None,
            retried: false,
            before_read: None,
        };
        Faulty { disk: Arc::new(Mutex::new(disk)), life: 0 }
    }

    pub(crate) fn handle(&self) -> StorageHandle {
        Arc::new(self.clone())
    }

    /// Lets `fault` happen at the operation that comes after so many others.
    pub(crate) fn arm(&self, fault: Fault, after: u64) {
        let mut disk = self.disk();
        disk.armed = Some((fault, disk.operations + after));
        disk.hit = None;
    }

    /// Something happens before the next read of a file with this extension, while its reader waits.
    pub(crate) fn before_read(&self, extension: &'static str, act: impl FnOnce() + Send + 'static) {
        self.disk().before_read = Some((extension, Box::new(act)));
    }

    /// The fault that has happened.
    pub(crate) fn hit(&self) -> Option<Fault> {
        self.disk().hit
    }

    /// Operations that change something, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Ends this process, if it has not ended, and begins the next. There is space again.
    pub(crate) fn restart(&self, power_cut: bool) -> Faulty {
        let mut disk = self.disk();
        if power_cut {
            disk.lose();
        }
        disk.life += 1;
        (disk.failed, disk.retried) = (None, false);
        (disk.dead, disk.armed, disk.hit, disk.full) = (false, None, None, false);
        Faulty { disk: Arc::clone(&self.disk), life: disk.life }
    }

    /// Whether a sync that had failed was tried again.
    pub(crate) fn retried(&self) -> bool {
        self.disk().retried
    }

    /// The names of all files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let disk = self.disk();
        let files = disk.names.iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// How long a file is.
    pub(crate) fn length(&self, path: &Path) -> usize {
        let disk = self.disk();
        disk.files[disk.file(path).unwrap()].cached.len()
    }

    /// Flips a bit of a file.
    pub(crate) fn flip(&self, path: &Path, at: usize, bit: u8) {
        let mut disk = self.disk();
        let file = disk.file(path).unwrap();
        disk.files[file].cached[at] ^= 1 << bit;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if disk.dead || disk.life != self.life { Err(dead()) } else { Ok(disk) }
    }

    /// Begins an operation that changes something.
    fn operate(&self, takes_space: bool) -> io::Result<(MutexGuard<'_, Disk>, Fate)> {
        let mut disk = self.alive()?;
        disk.operations += 1;
        let due = disk.armed.is_some_and(|(_, at)| disk.operations > at);
        let mut fate = Fate::Whole;
        match disk.armed {
            Some((fault @ (Fault::Kill | Fault::PowerCut), _)) if due => {
                (disk.dead, disk.hit) = (true, Some(fault));
                fate = Fate::Torn;
            }
            Some((Fault::NoSpace, _)) if due => disk.full = true,
            _ => {}
        }
        if disk.full && takes_space {
            disk.hit = Some(Fault::NoSpace);
            fate = Fate::NoSpace;
        }
        Ok((disk, fate))
    }

    fn rename_entries(
        &self,
        takes_space: bool,
        changes: &[(&Path, Option<Entry>)],
    ) -> io::Result<()> {
        let (mut disk, fate) = self.operate(takes_space)?;
        match fate {
            Fate::NoSpace => return Err(no_space()),
            Fate::Torn if disk.rng.percent(50) => return Err(dead()),
            _ => {}
        }
        let dir = changes[0].0.parent().unwrap().to_owned();
        for (path, entry) in changes {
            match entry {
                Some(entry) => disk.names.insert((*path).to_owned(), *entry),
                None => disk.names.remove(*path),
            };
        }
        let owned = changes.iter().map(|(path, entry)| ((*path).to_owned(), *entry)).collect();
        disk.renames.push((dir, owned));
        if disk.dead { Err(dead()) } else { Ok(()) }
    }
}

impl Disk {
    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(file)) => Ok(*file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn vacant(&self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match self.names.get(path.parent().unwrap()) {
            Some(Entry::Directory) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The power is gone: whatever is not durable may be.
    fn lose(&mut self) {
        let Disk { files, rng, renames, durable, names, .. } = self;
        for file in files {
            file.persist_some(rng);
            file.cached = file.durable.clone();
            file.unsynced.clear();
        }
        let keep = [0, 50, 100][rng.below(3)];
        for (_, changes) in renames.drain(..) {
            if rng.percent(keep) {
                change(durable, &changes);
            }
        }
        // A directory that is gone takes everything in it along.
        let mut found: BTreeSet<PathBuf> = BTreeSet::new();
        durable.retain(|path, _| {
            let kept = path.parent().is_none_or(|parent| found.contains(parent));
            if kept {
                found.insert(path.clone());
            }
            kept
        });
        *names = durable.clone();
    }
}

fn change(names: &mut BTreeMap<PathBuf, Entry>, changes: &[(PathBuf, Option<Entry>)]) {
    for (path, entry) in changes {
        match entry {
            Some(entry) => names.insert(path.clone(), *entry),
            None => names.remove(path),
        };
    }
}

impl Storage for Faulty {
    fn create_new(&self, path: &Path) -> io::Result<FileHandle> {
        let file = {
            let mut disk = self.alive()?;
            disk.vacant(path)?;
            disk.files.push(Contents::default());
            disk.files.len() - 1
        };
        self.rename_entries(true, &[(path, Some(Entry::File(file)))])?;
        Ok(Arc::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<FileHandle> {
        let file = self.alive()?.file(path)?;
        Ok(Arc::new(Open { disk: self.clone(), file }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.alive()?.names.contains_key(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let disk = self.alive()?;
        Ok(disk.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent());
        let file = self.alive()?.file(from)?;
        self.rename_entries(false, &[(from, None), (to, Some(Entry::File(file)))])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.file(path)?;
        if disk.fails(Fault::RemoveFails, 0) {
            return Err(input_output());
        }
        drop(disk);
        self.rename_entries(false, &[(path, None)])
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.vacant(dir)?;
        self.rename_entries(true, &[(dir, Some(Entry::Directory))])
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        for path in self.list(dir)? {
            if self.alive()?.file(&path).is_ok() {
                self.remove(&path)?;
            } else {
                self.remove_dir_all(&path)?;
            }
        }
        self.rename_entries(false, &[(dir, None)])
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut disk, fate) = self.operate(false)?;
        if matches!(fate, Fate::Torn) {
            return Err(dead());
        }
        if disk.sync_fails() {
            return Err(input_output());
        }
        let (synced, rest) =
            std::mem::take(&mut disk.renames).into_iter().partition(|(d, _)| d == dir);
        disk.renames = rest;
        let synced: Vec<(PathBuf, _)> = synced;
        synced.iter().for_each(|(_, changes)| change(&mut disk.durable, changes));
        Ok(())
    }
}

impl Disk {
    fn before_read(&mut self, file: usize) -> Option<Act> {
        let (extension, _) = self.before_read.as_ref()?;
        let is_one = |(path, entry): (&PathBuf, &Entry)| {
            *entry == Entry::File(file) && path.extension().is_some_and(|found| found == *extension)
        };
        let due = self.names.iter().any(is_one);
        self.before_read.take_if(|_| due).map(|(_, act)| act)
    }

    fn sync_fails(&mut self) -> bool {
        // It has been counted itself.
        self.fails(Fault::SyncFails, 1)
    }

    fn read_fails(&mut self) -> bool {
        self.fails(Fault::ReadFails, 0)
    }

    fn fails(&mut self, fault: Fault, counted: u64) -> bool {
        let due = self.armed.is_some_and(|(armed, at)| {
            armed == fault && self.operations >= at + counted && self.hit.is_none()
        });
        if due {
            self.hit = Some(fault);
        }
        due
    }
}

impl StorageFile for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.files[self.file].cached.len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let act = self.disk.alive()?.before_read(self.file);
        act.into_iter().for_each(|act| act());
        let mut disk = self.disk.alive()?;
        if disk.read_fails() {
            return Err(input_output());
        }
        let at = usize::try_from(at).unwrap();
        let found = disk.files[self.file].cached.get(at..at + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (mut disk, fate) = self.disk.operate(true)?;
        let written = match fate {
            Fate::Whole => bytes.len(),
            Fate::Torn | Fate::NoSpace => disk.rng.below(bytes.len() + 1),
        };
        let (at, bytes) = (usize::try_from(at).unwrap(), &bytes[..written]);
        let file = &mut disk.files[self.file];
        write(&mut file.cached, at, bytes);
        file.unsynced.push(Unsynced::Write(at, bytes.to_vec()));
        match fate {
            Fate::Whole => Ok(()),
            Fate::Torn => Err(dead()),
            Fate::NoSpace => Err(no_space()),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let (mut disk, fate) = self.disk.operate(false)?;
        let length = usize::try_from(length).unwrap();
        if matches!(fate, Fate::Whole) || disk.rng.percent(50) {
            let file = &mut disk.files[self.file];
            file.cached.resize(length, 0);
            file.unsynced.push(Unsynced::Length(length));
        }
        if matches!(fate, Fate::Torn) { Err(dead()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut disk, fate) = self.disk.operate(false)?;
        let failed = disk.sync_fails();
        let Disk { files, rng, failed: failing, retried, .. } = &mut *disk;
        let file = &mut files[self.file];
        match fate {
            // A part may have reached the disk; the rest is lost with the power, if that goes.
            Fate::Torn => return Err(dead()),
            _ if failed => {
                file.persist_some(rng);
                *failing = Some(self.file);
                return Err(input_output());
            }
            _ => {}
        }
        *retried |= *failing == Some(self.file);
        for unsynced in std::mem::take(&mut file.unsynced) {
            match unsynced {
                Unsynced::Length(length) => file.durable.resize(length, 0),
                Unsynced::Write(at, bytes) => write(&mut file.durable, at, &bytes),
            }
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
