//! The files that logs are made of, behind a trait: a test can let the power fail between any two
//! operations.
//!
//! *Enters*: paths and bytes. *Leaves*: the same bytes. *Invariant*: bytes outlive a crash after
//! [`StorageFile::sync_data`], names after [`Storage::sync_dir`], nothing before. *Must not know* what
//! the files are for.

mod directory;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use directory::Directory;

/// Where files are kept; passed to whatever opens one.
pub type StorageHandle = Arc<dyn Storage>;
/// An open file; its writer and its readers share it.
pub type FileHandle = Arc<dyn StorageFile>;

/// A place that files are kept in. Errors are the system's.
pub trait Storage: Send + Sync {
    /// Makes a file, for reading and writing; refuses a name that exists.
    fn create_new(&self, path: &Path) -> io::Result<FileHandle>;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<FileHandle>;
    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The paths of what is in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Gives a file another name in the same directory; one that has it already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory in one that exists; refuses a name that exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Deletes a directory and all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes durable which names a directory has.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Errors are the system's; after one of a sync nobody knows what the disk holds.
pub trait StorageFile: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `bytes` from `at` on; a file that ends before is an error.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `at`; after an error any part of them may be there.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes its bytes durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes its bytes and what is known about it durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// Makes a directory and those above it where they are missing. Their names are durable when it
/// returns; of those that were there, the directory's own is.
pub fn make_dir(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if !storage.exists(dir)? {
        if let Some(parent) = parent
            && !storage.exists(parent)?
        {
            make_dir(storage, parent)?;
        }
        storage.create_dir(dir)?;
    }
    storage.sync_dir(parent.unwrap_or(Path::new(".")))
}

#[cfg(test)]
pub(crate) mod tests;
