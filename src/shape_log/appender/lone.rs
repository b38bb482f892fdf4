//! The dataflow's results on their way to the appender.
//!
//! *Enters*: results in order, and when no more come for now. *Leaves*: the same to the appender, in order. *Invariant*:
//! many go to the appender's thread, which works while the dataflow does; a few are appended right here, which spares
//! a lone write a change of threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use brooklet_dataflows::Collated;

use super::{Appender, AppenderHandle, Command};
use crate::engine::Outlet;
use crate::frame::FrameError;
use crate::limits::APPENDED_HERE_MAX;
use crate::unpark;

/// An appender that a thread runs, and whoever has something for it meanwhile.
pub type SharedAppender = Arc<Mutex<Appender>>;

/// To the appender.
pub struct Results {
    appender: SharedAppender,
    handle: AppenderHandle,
    /// What came since the last rest, if that is few. The mutex is for the compiler: one thread has results.
    held: Mutex<Vec<Collated>>,
    many: AtomicBool,
}

impl Results {
    fn held(&self) -> MutexGuard<'_, Vec<Collated>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `handle` is the appender's.
    #[must_use]
    pub fn new(appender: SharedAppender, handle: AppenderHandle) -> Results {
        Results { appender, handle, held: Mutex::default(), many: AtomicBool::new(false) }
    }
}

impl Outlet for Results {
    fn emit(&self, collated: Collated) {
        let mut held = self.held();
        let ends =
            matches!(&collated, Collated::Ended { shapes, .. } if shapes.len() > APPENDED_HERE_MAX);
        held.push(collated);
        if self.many.load(Ordering::Relaxed) || ends || held.len() > APPENDED_HERE_MAX {
            self.many.store(true, Ordering::Relaxed);
            held.drain(..).for_each(|one| self.handle.collated(one));
        }
    }

    fn rest(&self) {
        self.many.store(false, Ordering::Relaxed);
        let mut held = self.held();
        if held.is_empty() {
            return;
        }
        // Whoever has it may be at an fsync.
        let mine = self.appender.try_lock().ok().filter(|appender| appender.commands.is_empty());
        let Some(mut appender) = mine else {
            held.drain(..).for_each(|one| self.handle.collated(one));
            return;
        };
        if let Err(error) = appender.append(held.drain(..)) {
            appender.failed = Some(error);
            drop(appender);
            // Closed means that the process is ending.
            _ = self.handle.commands.blocking_send(Command::Failed);
        }
    }
}

/// Lets everybody go who waits for an appender that has ended, however it did: for an answer, or for room.
struct Abandon<'a>(&'a Mutex<Appender>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        let mut appender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        appender.commands.close();
        // Those too that have their room already, and send in a moment.
        while appender.commands.blocking_recv().is_some() {}
        appender.syncs.clear();
        appender.begun.clear();
        appender.loads.clear();
    }
}

impl Appender {
    /// Runs on a thread of its own until every handle is gone or a write fails.
    pub fn run(appender: &Mutex<Appender>) -> Result<(), FrameError> {
        let waker = unpark::waker();
        let _abandon = Abandon(appender);
        loop {
            let mut this = appender.lock().unwrap_or_else(PoisonError::into_inner);
            match this.commands.poll_recv(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(command)) => {
                    // What failed must not be taken for written by what comes next.
                    if let Some(error) = this.failed.take() {
                        return Err(error);
                    }
                    this.take(command).and_then(|()| this.turn())?;
                }
                Poll::Ready(None) => {
                    let reached = this.reached;
                    return this.file.sync(reached);
                }
                Poll::Pending => {
                    drop(this);
                    std::thread::park();
                }
            }
        }
    }

    /// Appends results, nothing that was sent before being still to come.
    fn append(&mut self, mut results: impl Iterator<Item = Collated>) -> Result<(), FrameError> {
        if self.commands.is_closed() || self.failed.is_some() {
            // A write has failed, and the process is about to end.
            return Ok(());
        }
        results.try_for_each(|one| self.collated(one))?;
        self.publish()
    }
}

#[cfg(test)]
mod tests;
