//! What is appended and not durable yet, between the thread that appends and the one that syncs.
//!
//! *Enters*: how far was appended. *Leaves*: the newest of that. *Invariant*: what is not taken yet is bounded, in slices
//! of the stream; whoever appends waits beyond that, and for nothing else.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::change_log::Flushed;
use crate::limits::SLICES_PER_FLUSH_MAX;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    newest: Option<Flushed>,
    /// Since the last one was taken.
    slices: usize,
    /// One of both sides is gone.
    ended: bool,
}

/// The side of whoever appends.
pub struct Appended(Arc<Shared>);

/// The side of whoever syncs.
pub struct Unsynced(Arc<Shared>);

/// Both sides.
#[must_use]
pub fn unsynced() -> (Appended, Unsynced) {
    let shared = Arc::<Shared>::default();
    (Appended(Arc::clone(&shared)), Unsynced(shared))
}

impl Appended {
    /// So many slices more, up to there: files before this one are durable, so it stands for all that came before. `false`
    /// if nobody syncs any more.
    #[must_use]
    pub fn put(&self, newest: Flushed, slices: usize) -> bool {
        let full = |state: &mut State| {
            !state.ended && state.newest.is_some() && state.slices + slices > SLICES_PER_FLUSH_MAX
        };
        let state = self.0.changed.wait_while(self.0.state(), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.newest = Some(newest);
        state.slices += slices;
        self.0.changed.notify_all();
        !state.ended
    }
}

impl Unsynced {
    /// Waits for something to sync; `None` once nothing will come.
    pub fn take(&self) -> Option<Flushed> {
        let none = |state: &mut State| !state.ended && state.newest.is_none();
        let state = self.0.changed.wait_while(self.0.state(), none);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.slices = 0;
        self.0.changed.notify_all();
        state.newest.take()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change_log::ChangeLog;
    use crate::storage::Directory;

    #[test]
    fn who_appends_waits_for_a_slow_disk_and_stops_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (_, writer, _) =
            ChangeLog::open(&Directory::handle(), &dir.path().join("changes")).unwrap();
        let (appended, unsynced) = unsynced();
        assert!(appended.put(writer.flushed(), SLICES_PER_FLUSH_MAX - 1));
        assert!(appended.put(writer.flushed(), 1));
        let (sender, put) = std::sync::mpsc::channel();
        let flushed = writer.flushed();
        let thread = std::thread::spawn(move || {
            sender.send(appended.put(flushed, 1)).unwrap();
            appended
        });
        // It cannot have put it: there is no room.
        assert!(put.try_recv().is_err());
        assert!(unsynced.take().is_some());
        assert!(put.recv().unwrap());
        let appended = thread.join().unwrap();
        assert!(unsynced.take().is_some());
        drop(unsynced);
        assert!(!appended.put(writer.flushed(), SLICES_PER_FLUSH_MAX));
    }
}
