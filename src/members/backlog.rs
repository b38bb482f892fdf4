//! How much of the stream waits for the thread of subqueries.
//!
//! *Enters*: parts, by their bytes; each goes when it is done. *Leaves*: whether one more may come. *Invariant*: no more than
//! the limit waits, but for one part that is larger; who asks waits only while parts get done.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::{MEMBERS_BEHIND_BYTES_MAX, MEMBERS_STALL_MAX};

/// What waits.
pub struct Backlog {
    bytes_max: usize,
    stall_max: Duration,
    waiting: Mutex<Waiting>,
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: usize,
    /// Parts that were done so far.
    done: u64,
}

/// A part that waits, until it is dropped.
#[derive(Default)]
pub struct Share(Option<(Arc<Backlog>, usize)>);

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog::new(MEMBERS_BEHIND_BYTES_MAX, MEMBERS_STALL_MAX)
    }
}

impl Backlog {
    /// With room for so many bytes, for a thread that gets something done within this time.
    pub(super) fn new(bytes_max: usize, stall_max: Duration) -> Backlog {
        let (waiting, done) = (Mutex::default(), Condvar::new());
        Backlog { bytes_max, stall_max, waiting, done }
    }

    /// Makes room for one more; `None` if nothing gets done.
    pub(super) fn enter(self: &Arc<Backlog>, bytes: usize) -> Option<Share> {
        let mut waiting = self.waiting();
        while waiting.bytes > 0 && waiting.bytes + bytes > self.bytes_max {
            let before = waiting.done;
            let stands = |waiting: &mut Waiting| waiting.done == before;
            let waited = self.done.wait_timeout_while(waiting, self.stall_max, stands);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return None;
            }
            waiting = now;
        }
        waiting.bytes += bytes;
        Some(Share(Some((Arc::clone(self), bytes))))
    }

    /// Whether everything is done.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().bytes == 0
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((backlog, bytes)) = self.0.take() else { return };
        let mut waiting = backlog.waiting();
        waiting.bytes -= bytes;
        waiting.done += 1;
        backlog.done.notify_all();
    }
}
