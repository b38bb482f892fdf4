//! How much is on its way to the appender: a bound in postings, where a channel's is in messages.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::COLLATED_POSTINGS_MAX;

/// What is on its way in all.
#[derive(Debug, Default)]
pub(super) struct Scale {
    postings: Mutex<usize>,
    less: Condvar,
}

/// A message's share; given back when dropped, also with a queue that nobody reads any more.
#[derive(Debug)]
pub struct Load {
    postings: usize,
    scale: Arc<Scale>,
}

impl Scale {
    /// Waits until so many more may go. A message that is too large by itself goes alone.
    pub fn load(self: &Arc<Scale>, postings: usize) -> Load {
        let full = |all: &mut usize| *all > 0 && *all + postings > COLLATED_POSTINGS_MAX;
        let all = self.less.wait_while(self.all(), full);
        *all.unwrap_or_else(PoisonError::into_inner) += postings;
        Load { postings, scale: Arc::clone(self) }
    }

    /// The share of a message without postings.
    pub fn nothing(self: &Arc<Scale>) -> Load {
        Load { postings: 0, scale: Arc::clone(self) }
    }

    fn all(&self) -> MutexGuard<'_, usize> {
        self.postings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        *self.scale.all() -= self.postings;
        self.scale.less.notify_all();
    }
}
