//! fsync of a file that is appended to meanwhile, by whoever asks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::storage::FileHandle;

/// Makes what was flushed to a file durable; cheap to clone.
///
/// *Invariant*: once an fsync has failed none succeeds. The kernel tells of lost pages once only, so of two callers one
/// would be told that all is well.
#[derive(Clone)]
pub struct Syncer(Arc<Inner>);

struct Inner {
    file: FileHandle,
    failed: Mutex<bool>,
}

impl Syncer {
    pub(super) fn new(file: FileHandle) -> Syncer {
        Syncer(Arc::new(Inner { file, failed: Mutex::new(false) }))
    }

    /// Waits until the disk has what was flushed before.
    ///
    /// # Errors
    /// The system's, or that an earlier call has failed.
    pub fn sync(&self) -> io::Result<()> {
        self.once(|file| file.sync_data())
    }

    /// Cuts the file, durably.
    pub(super) fn truncate(&self, at: u64) -> io::Result<()> {
        self.once(|file| file.set_len(at).and_then(|()| file.sync_all()))
    }

    fn once(&self, sync: impl FnOnce(&FileHandle) -> io::Result<()>) -> io::Result<()> {
        let Inner { file, failed } = &*self.0;
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("an earlier fsync has failed"));
        }
        sync(file).inspect_err(|_| *failed = true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::storage::StorageFile;

    /// Its first fsync fails, as the kernel has it.
    #[derive(Default)]
    struct Failing(AtomicUsize);

    impl StorageFile for Failing {
        fn length(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::Error::other("lost")),
                _ => Ok(()),
            }
        }

        fn sync_all(&self) -> io::Result<()> {
            self.sync_data()
        }
    }

    #[test]
    fn after_one_that_failed_none_succeeds() {
        let syncer = Syncer::new(Arc::new(Failing::default()));
        let other = syncer.clone();
        assert!(syncer.sync().is_err());
        assert!(other.sync().is_err() && other.truncate(0).is_err());
    }
}
