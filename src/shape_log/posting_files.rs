//! The files of the posting log: their names, which of them count, and who holds them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block::PostingFile;
use crate::frame::FrameError;
use crate::storage::{StorageHandle, make_dir};

/// The numbers that a file stands for, first and last: those that were rewritten together keep
/// theirs.
pub type Numbers = (u32, u32);

/// All files of the log; cheap to clone.
#[derive(Clone)]
pub struct PostingFiles {
    storage: StorageHandle,
    dir: Arc<Path>,
    /// In order, the last one is being written. Held for a look-up or a swap.
    all: Arc<Mutex<Vec<Arc<PostingFile>>>>,
}

impl PostingFiles {
    /// The files in `dir`, which is made if there is none.
    pub fn open(storage: &StorageHandle, dir: &Path) -> Result<PostingFiles, FrameError> {
        let at = |source| FrameError::Io { path: dir.to_owned(), source };
        make_dir(&**storage, dir).map_err(at)?;
        let storage = Arc::clone(storage);
        Ok(PostingFiles { storage, dir: dir.into(), all: Arc::default() })
    }

    /// Where they are kept.
    #[must_use]
    pub fn storage(&self) -> &StorageHandle {
        &self.storage
    }

    /// Where a file is.
    #[must_use]
    pub fn path(&self, (first, last): Numbers) -> PathBuf {
        let span = if first == last { String::new() } else { format!("-{last:06}") };
        self.dir.join(format!("{first:06}{span}.log"))
    }

    /// The files on disk, in order. What an interrupted rewriting has left is deleted: its unfinished
    /// file, or the files that a finished one stands for.
    pub fn list(&self) -> Result<Vec<Numbers>, FrameError> {
        let at = |source| FrameError::Io { path: self.dir.to_path_buf(), source };
        let mut found = Vec::new();
        for path in self.storage.list(&self.dir).map_err(at)? {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match (extension, numbers(&path)) {
                (Some("log"), Some(numbers)) => found.push(numbers),
                (Some("tmp"), _) => self.storage.remove(&path).map_err(at)?,
                _ => {}
            }
        }
        // Of files that begin together the one that reaches furthest comes first.
        found.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
        let mut kept: Vec<Numbers> = Vec::new();
        for numbers in found {
            if kept.last().is_some_and(|(_, last)| numbers.1 <= *last) {
                self.delete(numbers)?;
            } else {
                kept.push(numbers);
            }
        }
        Ok(kept)
    }

    /// Deletes a file; who holds it can still read it.
    pub fn delete(&self, numbers: Numbers) -> Result<(), FrameError> {
        let path = self.path(numbers);
        self.storage.remove(&path).map_err(|source| FrameError::Io { path, source })
    }

    /// Complete files that nobody refers to: no log, no reader.
    #[must_use]
    pub fn unused(&self) -> Vec<Numbers> {
        let all = self.all();
        let complete = all.iter().take(all.len().saturating_sub(1));
        complete.filter(|file| Arc::strong_count(file) == 1).map(|file| file.numbers).collect()
    }

    /// Deletes those of these files that nobody refers to. What they say of ended shapes must be in the
    /// catalogue.
    pub fn delete_unused(&self, candidates: &[Numbers]) -> Result<(), FrameError> {
        let unused = self.unused();
        let mut all = Ok(());
        for numbers in candidates.iter().filter(|numbers| unused.contains(numbers)) {
            self.all().retain(|file| file.numbers != *numbers);
            // One that stays keeps no other.
            all = all.and(self.delete(*numbers));
        }
        all
    }

    /// The numbers of those that are complete, in order.
    #[must_use]
    pub fn complete(&self) -> Vec<Numbers> {
        self.closed().iter().map(|file| file.numbers).collect()
    }

    /// Those that are complete, in order.
    pub(super) fn closed(&self) -> Vec<Arc<PostingFile>> {
        let all = self.all();
        all[..all.len().saturating_sub(1)].to_vec()
    }

    /// Whether there are no others between these.
    pub(super) fn are_neighbours(&self, files: &[Arc<PostingFile>]) -> bool {
        let all = self.all();
        let same = |(one, other): (&Arc<PostingFile>, &Arc<PostingFile>)| Arc::ptr_eq(one, other);
        all.windows(files.len().max(1)).any(|some| some.iter().zip(files).all(same))
    }

    /// These files are gone; what was written again of them is in `new`.
    pub(super) fn replace(&self, old: &[Arc<PostingFile>], new: Option<Arc<PostingFile>>) {
        let mut all = self.all();
        let is_old = |file: &Arc<PostingFile>| old.iter().any(|old| Arc::ptr_eq(old, file));
        let Some(at) = all.iter().position(is_old) else { return };
        all.retain(|file| !is_old(file));
        new.into_iter().for_each(|new| all.insert(at, new));
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all().iter().map(|file| file.bytes()).sum()
    }

    /// All of them, in order; the last one is being written.
    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Arc<PostingFile>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a name says.
fn numbers(path: &Path) -> Option<Numbers> {
    let stem = path.file_stem()?.to_str()?;
    let (first, last) = stem.split_once('-').unwrap_or((stem, stem));
    let numbers = (first.parse().ok()?, last.parse().ok()?);
    (numbers.0 <= numbers.1).then_some(numbers)
}
