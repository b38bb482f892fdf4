//! Transactions that were streamed and may not be visible yet.
//!
//! Postgres streams a commit once it is flushed, *before* snapshots see it (a synchronous standby
//! may hold it up for long). A shape that is added in between finds the transaction neither in its
//! snapshot nor in the stream after it; so the commits are remembered until a snapshot has seen
//! them, and matched for such a shape from the change log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use brooklet_sql::Lsn;

use super::visibility::Visibility;
use crate::change_log::StoredCommit;

/// The commits no snapshot has seen yet, as far as we know; in stream order.
#[derive(Default)]
pub struct RecentCommits {
    commits: Mutex<VecDeque<StoredCommit>>,
}

impl RecentCommits {
    /// Starts with what the change log holds.
    #[must_use]
    pub fn new(commits: Vec<StoredCommit>) -> RecentCommits {
        RecentCommits { commits: Mutex::new(commits.into()) }
    }

    /// Starts with those of `commits` that are of the history that went on from `begin`.
    #[must_use]
    pub fn since(begin: Lsn, mut commits: Vec<StoredCommit>) -> RecentCommits {
        commits.retain(|commit| commit.lsn >= begin);
        RecentCommits::new(commits)
    }

    /// Remembers a commit.
    pub fn push(&self, commit: StoredCommit) {
        self.commits().push_back(commit);
    }

    /// Forgets all: they are of a history that did not go on.
    pub fn clear(&self) {
        self.commits().clear();
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commits().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits().is_empty()
    }

    /// The first one that is remembered.
    #[must_use]
    pub fn oldest(&self) -> Option<Lsn> {
        self.commits().front().map(|commit| commit.lsn)
    }

    /// Forgets what a snapshot has seen: every later one sees it too.
    pub fn forget_visible(&self, visibility: &Visibility) {
        self.commits().retain(|commit| !visibility.contains(commit.xid));
    }

    /// The commits up to `until`, in stream order. To be asked *before* a snapshot is taken: what was
    /// forgotten by then is visible in it, what is forgotten meanwhile may not be.
    #[must_use]
    pub fn up_to(&self, until: Lsn) -> Vec<StoredCommit> {
        self.commits().iter().filter(|commit| commit.lsn <= until).copied().collect()
    }

    fn commits(&self) -> MutexGuard<'_, VecDeque<StoredCommit>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
