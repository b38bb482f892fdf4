//! One fsync for everybody who waits for one.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Whoever arrives while an fsync runs is covered by the next one, and many by the same.
#[derive(Default)]
pub struct GroupSync {
    asked: AtomicU64,
    /// The last number that is covered. An async mutex: it is held across the fsync, on purpose.
    done: Mutex<u64>,
}

impl GroupSync {
    /// Returns once an fsync that began after this call has ended.
    pub async fn sync<E, F>(&self, fsync: impl FnOnce() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().await;
        if *done < mine {
            let covered = self.asked.load(Ordering::SeqCst);
            fsync().await?;
            *done = covered;
        }
        Ok(())
    }

    /// Nobody's fsync runs or begins as long as the guard lives.
    pub async fn pause(&self) -> MutexGuard<'_, u64> {
        self.done.lock().await
    }
}
